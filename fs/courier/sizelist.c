#include "courier/sizelist.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "courier/name.h"

#define VERSION 3

struct parse {
    const struct complaints *complaints;
    struct sizelist *list;
    size_t capacity;
};

static int refuse(const struct parse *parse, unsigned line, struct span text, const char *why)
{
    complain(parse->complaints, line, text, why);
    return -EUCLEAN;
}

/* LINE behind its '/'. */
static int parse_header(struct parse *parse, struct span line)
{
    struct sizelist *list = parse->list;
    struct span rest = span_until(line, '\0', NULL);
    uint64_t version;
    if (!span_scan_u64(&rest, &version) || !span_scan_u64(&rest, &list->next))
        return refuse(parse, 1, line, "no header '/VERSION NEXT UIDVALIDITY'");
    if (version < 1 || version > VERSION)
        return refuse(parse, 1, line, "unknown version");
    list->version = (unsigned)version;
    if (!span_scan_u64(&rest, &list->uidvalidity))
        list->uidvalidity = 0;
    return 0;
}

/* Cuts what follows the last space off S. */
static bool cut_last_word(struct span *s, struct span *word_r)
{
    const char *space = s->len == 0 ? NULL : memrchr(s->text, ' ', s->len);
    if (space == NULL)
        return false;
    size_t before = (size_t)(space - s->text);
    *word_r = span_make(space + 1, s->len - before - 1);
    s->len = before;
    return true;
}

static bool cut_colon(struct span *s)
{
    if (s->len == 0 || s->text[0] != ':')
        return false;
    *s = span_make(s->text + 1, s->len - 1);
    return true;
}

/* NUMBERS is "SIZE N:UIDV:UTF8", or without ":UTF8". */
static bool scan_numbers(struct span numbers, struct sizelist_entry *entry)
{
    uint64_t utf8 = 0;
    if (!span_scan_u64(&numbers, &entry->size) || !span_scan_u64(&numbers, &entry->n) ||
        !cut_colon(&numbers) || !span_scan_u64(&numbers, &entry->uidv))
        return false;
    if (numbers.len > 0 && !(cut_colon(&numbers) && span_scan_u64(&numbers, &utf8)))
        return false;
    entry->utf8 = utf8 != 0;
    return true;
}

static bool parse_current(struct span line, struct sizelist_entry *entry)
{
    struct span size, uid;
    const char *end = line.text + line.len;
    if (!cut_last_word(&line, &uid) || !cut_last_word(&line, &size))
        return false;
    entry->name = line;
    return scan_numbers(span_make(size.text, (size_t)(end - size.text)), entry);
}

static bool parse_version_1(struct span line, struct sizelist_entry *entry)
{
    struct span size, uid;
    if (!cut_last_word(&line, &uid) || !cut_last_word(&line, &size))
        return false;
    entry->name = line;
    return span_to_u64(size, &entry->size) && span_to_u64(uid, &entry->n);
}

static bool parse_version_0(struct span line, struct sizelist_entry *entry)
{
    struct span size;
    if (!cut_last_word(&line, &size))
        return false;
    entry->name = line;
    return span_to_u64(size, &entry->size);
}

static bool parse_entry(unsigned version, struct span line, struct sizelist_entry *entry)
{
    bool readable = version == 0   ? parse_version_0(line, entry)
                    : version == 1 ? parse_version_1(line, entry)
                                   : parse_current(line, entry);
    if (!readable)
        return false;
    const char *slash =
        entry->name.len == 0 ? NULL : memrchr(entry->name.text, '/', entry->name.len);
    if (slash != NULL) {
        size_t skipped = (size_t)(slash - entry->name.text) + 1;
        entry->name = span_make(slash + 1, entry->name.len - skipped);
    }
    return entry->name.len > 0;
}

static int add_entry(struct parse *parse, struct sizelist_entry entry)
{
    struct sizelist *list = parse->list;
    if (list->count == parse->capacity) {
        size_t capacity = parse->capacity == 0 ? 64 : parse->capacity * 2;
        struct sizelist_entry *entries = reallocarray(list->entries, capacity, sizeof(*entries));
        if (entries == NULL)
            return -ENOMEM;
        list->entries = entries;
        parse->capacity = capacity;
    }
    list->entries[list->count++] = entry;
    return 0;
}

static int parse_line(struct parse *parse, unsigned number, struct span line, bool complete)
{
    struct sizelist_entry entry = {.n = 0};
    struct span text = span_until(line, '\0', NULL);
    if (text.len > 0 && text.text[text.len - 1] == '\r')
        text.len--;
    if (text.len < line.len)
        parse->list->lossy = true;
    bool readable = parse_entry(parse->list->version, text, &entry);
    if (!readable)
        complain(parse->complaints, number, line, "cannot be read, skipped");
    else if (!complete)
        complain(parse->complaints, number, line, "the last line has no newline");
    if (!readable || !complete)
        parse->list->rewrite = true;
    return readable ? add_entry(parse, entry) : 0;
}

static int parse_lines(struct parse *parse, struct span text)
{
    struct span line, rest = text;
    bool complete;
    unsigned number = 1;
    int rc = 0;
    parse->list->next = 1;
    if (span_starts(text, "/") && span_next_line(&rest, &line, &complete)) {
        number = 2;
        rc = parse_header(parse, span_make(line.text + 1, line.len - 1));
    }
    for (; rc == 0 && span_next_line(&rest, &line, &complete); number++)
        rc = parse_line(parse, number, line, complete);
    if (rc == 0 && parse->list->version == 0 && parse->list->count == 0 && text.len > 0)
        return refuse(parse, 0, span_until(text, '\n', NULL), "not a list of sizes");
    return rc;
}

static int raise_next(struct parse *parse, struct span text)
{
    struct sizelist *list = parse->list;
    uint64_t highest = 0;
    for (size_t i = 0; i < list->count; i++)
        if (list->entries[i].uidv == list->uidvalidity && list->entries[i].n > highest)
            highest = list->entries[i].n;
    if (highest == UINT64_MAX)
        return refuse(parse, 0, span_until(text, '\n', NULL), "no number is left");
    if (list->version < 2)
        list->rewrite = true;
    if (list->next > highest)
        return 0;
    complain(parse->complaints, 1, span_until(text, '\n', NULL), "NEXT is not above every number");
    list->rewrite = true;
    list->next = highest + 1;
    return 0;
}

int sizelist_parse(struct span text, const struct complaints *complaints, struct sizelist *list_r)
{
    memset(list_r, 0, sizeof(*list_r));
    struct parse parse = {.complaints = complaints, .list = list_r};
    int rc = parse_lines(&parse, text);
    if (rc == 0)
        rc = raise_next(&parse, text);
    if (rc < 0)
        sizelist_release(list_r);
    return rc;
}

static void format_header(const struct sizelist *list, struct buf *out)
{
    buf_printf(out, "/%d %" PRIu64, VERSION, list->next);
    if (list->uidvalidity != 0)
        buf_printf(out, " %" PRIu64, list->uidvalidity);
    buf_add_char(out, '\n');
}

static void format_entries(const struct sizelist_entry *entries, size_t count, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct sizelist_entry *entry = &entries[i];
        buf_add_span(out, entry->name);
        buf_add_char(out, ' ');
        buf_add_number(out, entry->size);
        buf_add_char(out, ' ');
        buf_add_number(out, entry->n);
        buf_add_char(out, ':');
        buf_add_number(out, entry->uidv);
        buf_add_string(out, entry->utf8 ? ":1\n" : ":0\n");
    }
}

void sizelist_format(const struct sizelist *list, struct buf *out)
{
    format_header(list, out);
    format_entries(list->entries, list->count, out);
}

/* Whether the lines of what LIST was parsed from can stand in a file of version 3 as they are. */
static bool is_verbatim(const struct sizelist *list)
{
    return list->version == VERSION && !list->rewrite && !list->lossy;
}

/* What follows the header of a list that has one. */
static struct span behind_header(struct span text)
{
    span_until(text, '\n', &text);
    return text;
}

void sizelist_format_longer(const struct sizelist *list, struct span text,
                            const struct sizelist_entry *more, size_t count, struct buf *out)
{
    format_header(list, out);
    if (is_verbatim(list))
        buf_add_span(out, behind_header(text));
    else
        format_entries(list->entries, list->count, out);
    format_entries(more, count, out);
}

int sizelist_extend(struct sizelist *list, struct span before, struct span after,
                    const struct sizelist_entry *more, size_t count)
{
    if (!is_verbatim(list))
        return -EAGAIN;
    struct sizelist_entry *entries =
        reallocarray(list->entries, list->count + count + 1, sizeof(*entries));
    if (entries == NULL)
        return -ENOMEM;
    list->entries = entries;
    const char *old = behind_header(before).text;
    const char *new = behind_header(after).text;
    for (size_t i = 0; i < list->count; i++)
        entries[i].name.text = new + (entries[i].name.text - old);
    const char *at = new + behind_header(before).len;
    for (size_t i = 0; i < count; i++) {
        size_t len = more[i].name.len;
        entries[list->count] = more[i];
        entries[list->count++].name.text = at;
        at = strchr(at + len, '\n') + 1;
    }
    return 0;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x21 && c <= 0x7E && c != '\'' && c != '"' && c != '+';
}

static const char hex[] = "0123456789ABCDEF";

static void add_escaped(struct buf *out, struct span base)
{
    for (size_t i = 0; i < base.len; i++) {
        unsigned char c = (unsigned char)base.text[i];
        if (is_plain(c)) {
            buf_add_char(out, (char)c);
        } else {
            const char escaped[3] = {'+', hex[c >> 4], hex[c & 15]};
            buf_add(out, escaped, sizeof(escaped));
        }
    }
}

void sizelist_uidl(const struct sizelist_entry *entry, struct buf *out)
{
    if (entry->n == 0) {
        add_escaped(out, name_base(entry->name));
        return;
    }
    buf_printf(out, "UID%" PRIu64, entry->n);
    if (entry->uidv != 0)
        buf_printf(out, "-%" PRIu64, entry->uidv);
}

static bool is_escaped(struct span uidl, struct span base)
{
    size_t at = 0;
    for (size_t i = 0; i < base.len; i++) {
        unsigned char c = (unsigned char)base.text[i];
        if (is_plain(c)) {
            if (at >= uidl.len || uidl.text[at++] != (char)c)
                return false;
            continue;
        }
        if (uidl.len - at < 3 || uidl.text[at] != '+' || uidl.text[at + 1] != hex[c >> 4] ||
            uidl.text[at + 2] != hex[c & 15])
            return false;
        at += 3;
    }
    return at == uidl.len;
}

/* A number as it is printed, not 0. */
static bool printed_number(struct span s, uint64_t *value_r)
{
    return s.len > 0 && s.text[0] != '0' && span_to_u64(s, value_r);
}

static bool is_pair(struct span uidl, uint64_t *n_r, uint64_t *uidv_r)
{
    uint64_t n, uidv = 0;
    if (!span_starts(uidl, "UID"))
        return false;
    struct span rest, numbers = span_make(uidl.text + 3, uidl.len - 3);
    struct span first = span_until(numbers, '-', &rest);
    if (!printed_number(first, &n))
        return false;
    if (first.len < numbers.len && !printed_number(rest, &uidv))
        return false;
    *n_r = n;
    *uidv_r = uidv;
    return true;
}

bool sizelist_uidl_to_pair(struct span uidl, struct span base, uint64_t *n_r, uint64_t *uidv_r)
{
    if (is_pair(uidl, n_r, uidv_r))
        return true;
    if (base.len == 0 || !is_escaped(uidl, base))
        return false;
    *n_r = 0;
    *uidv_r = 0;
    return true;
}

void sizelist_release(struct sizelist *list)
{
    free(list->entries);
    memset(list, 0, sizeof(*list));
}
