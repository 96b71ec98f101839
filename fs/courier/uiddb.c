#include "courier/uiddb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/sort.h"
#include "courier/name.h"

#define VERSION 1

/* A line while the file is being judged. */
struct item {
    int64_t number; /* name_number(base) */
    struct span base;
    uint32_t uid;
    unsigned line; /* in the file */
    bool unseen;   /* by Courier: the last line, without its LF */
    bool dropped;
    bool ambiguous;
};

struct parse {
    const struct complaints *complaints;
    bool strip_cr;
    uint32_t highest;
    struct item *items;
    size_t count, capacity;
    struct uiddb *db;
};

static int refuse(const struct parse *parse, unsigned line, struct span text, const char *why)
{
    complain(parse->complaints, line, text, why);
    return -EUCLEAN;
}

static void repair(struct parse *parse, unsigned repair, unsigned line, struct span text,
                   const char *why)
{
    parse->db->repairs |= repair;
    complain(parse->complaints, line, text, why);
}

static bool cut_cr(struct span *line)
{
    if (line->len == 0 || line->text[line->len - 1] != '\r')
        return false;
    line->len--;
    return true;
}

static int parse_header(struct parse *parse, struct span line, bool complete)
{
    struct span rest = span_until(line, '\0', NULL);
    uint64_t version, uidvalidity, uidnext;
    if (!complete || !span_scan_u64(&rest, &version) || version != VERSION ||
        !span_scan_u64(&rest, &uidvalidity) || !span_scan_u64(&rest, &uidnext))
        return refuse(parse, 1, line, "no header '1 UIDVALIDITY NEXTUID'");
    if (uidvalidity == 0 || uidvalidity > UINT32_MAX)
        return refuse(parse, 1, line, "UIDVALIDITY is 0 or beyond 32 bits");
    if (uidnext > (uint64_t)UIDDB_HIGHEST_UID + 1)
        return refuse(parse, 1, line, "NEXTUID is beyond what Dovecot accepts");
    parse->db->uidvalidity = (uint32_t)uidvalidity;
    parse->db->uidnext = (uint32_t)uidnext;
    parse->strip_cr = cut_cr(&line);
    if (parse->strip_cr)
        repair(parse, UIDDB_CRLF, 1, line, "lines end in CR LF");
    return 0;
}

static int add_item(struct parse *parse, struct item item)
{
    if (parse->count == parse->capacity) {
        size_t capacity = parse->capacity == 0 ? 64 : parse->capacity * 2;
        struct item *items = reallocarray(parse->items, capacity, sizeof(*items));
        if (items == NULL)
            return -ENOMEM;
        parse->items = items;
        parse->capacity = capacity;
    }
    parse->items[parse->count++] = item;
    return 0;
}

/* LINE is "UID NAME"; false if Courier passes over it, as if it were not there. */
static bool split_line(struct span line, uint64_t *uid_r, struct span *name_r)
{
    struct span text = span_until(line, '\0', NULL);
    struct span digits = span_until(text, ' ', name_r);
    return digits.len < text.len && span_scan_u64(&digits, uid_r);
}

static int parse_line(struct parse *parse, unsigned number, struct span line, bool complete)
{
    struct span name, text = line;
    uint64_t uid;
    if (parse->strip_cr)
        cut_cr(&text);
    if (!complete)
        repair(parse, UIDDB_NO_FINAL_LF, number, line, "the last line has no newline");
    if (!split_line(text, &uid, &name)) {
        repair(parse, UIDDB_IGNORED_LINES, number, line, "not 'UID NAME'");
        return 0;
    }
    if (uid == 0 || uid > UIDDB_HIGHEST_UID)
        return refuse(parse, number, line, "UID is 0 or beyond what Dovecot accepts");
    if (uid > parse->highest)
        parse->highest = (uint32_t)uid;
    struct span base = name_base(name);
    struct item item = {.number = name_number(base), .base = base, .uid = (uint32_t)uid};
    item.line = number;
    item.unseen = !complete;
    /* Dropped, but for Courier's search it is there. */
    item.dropped = base.len == 0 || memchr(base.text, '/', base.len) != NULL;
    if (item.dropped)
        repair(parse, UIDDB_IGNORED_LINES, number, line, "no file name");
    else if (base.text + base.len != text.text + text.len)
        repair(parse, UIDDB_NAME_WITH_FLAGS, number, line, "the name has flags");
    return add_item(parse, item);
}

static int parse_lines(struct parse *parse, struct span text)
{
    struct span line;
    bool complete;
    if (!span_next_line(&text, &line, &complete))
        return refuse(parse, 0, text, "the file is empty");
    int rc = parse_header(parse, line, complete);
    for (unsigned number = 2; rc == 0 && span_next_line(&text, &line, &complete); number++)
        rc = parse_line(parse, number, line, complete);
    return rc;
}

/* An order without contradictions in which equal names are neighbours, earlier lines first. */
static int compare_names(const void *a, const void *b)
{
    const struct item *x = *(const struct item *const *)a, *y = *(const struct item *const *)b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return span_compare(x->base, y->base);
}

/* name_compare_imap() without reading the numbers again. */
static int compare_as_courier(const void *a, const void *b)
{
    const struct item *x = *(const struct item *const *)a, *y = *(const struct item *const *)b;
    uint64_t difference = (uint64_t)x->number - (uint64_t)y->number;
    if (difference != 0)
        return (int)(int32_t)(uint32_t)difference;
    return span_compare(x->base, y->base);
}

static int compare_uids(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return (x->uid > y->uid) - (x->uid < y->uid);
}

/* Lines as Courier holds them when it looks for a name: the file backwards, then sorted. */
struct courier_lines {
    struct item **items;
    size_t count;
};

static int sort_as_courier(const struct parse *parse, struct courier_lines *lines)
{
    for (size_t i = parse->count; i > 0; i--)
        if (!parse->items[i - 1].unseen)
            lines->items[lines->count++] = &parse->items[i - 1];
    return sort_stable(lines->items, lines->count, sizeof(struct item *), compare_as_courier);
}

/* Courier's binary search; NULL if it ends without a hit. */
static struct item *find_as_courier(const struct courier_lines *lines, struct item *name)
{
    size_t low = 0, high = lines->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_as_courier(&lines->items[middle], &name);
        if (order == 0)
            return lines->items[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* SAME holds COUNT lines of one name, the earliest first. Courier's search may fail, or hit another
 * name, only where its order contradicts itself: then the earliest is as good as any. */
static void keep_one(struct parse *parse, struct item **same, size_t count,
                     const struct courier_lines *lines)
{
    struct item *kept = find_as_courier(lines, same[0]);
    if (kept == NULL || !span_equal(kept->base, same[0]->base))
        kept = same[0];
    for (size_t i = 0; i < count; i++) {
        if (same[i] == kept)
            continue;
        same[i]->dropped = true;
        repair(parse, UIDDB_SAME_NAME, same[i]->line, same[i]->base,
               "another line for the same file is the one that Courier keeps");
    }
}

static size_t count_same(struct item **names, size_t count)
{
    size_t same = 1;
    while (same < count && compare_names(&names[0], &names[same]) == 0)
        same++;
    return same;
}

/* NAMES are sorted by compare_names(); LINES has room for all. */
static int keep_one_each(struct parse *parse, struct item **names, size_t count,
                         struct courier_lines *lines)
{
    for (size_t i = 0, same; i < count; i += same) {
        same = count_same(names + i, count - i);
        if (same == 1)
            continue;
        int rc = lines->count == 0 ? sort_as_courier(parse, lines) : 0;
        if (rc < 0)
            return rc;
        keep_one(parse, names + i, same, lines);
    }
    return 0;
}

static int drop_same_names(struct parse *parse)
{
    size_t count = 0;
    struct courier_lines lines = {calloc(parse->count + 1, sizeof(struct item *)), 0};
    struct item **names = calloc(parse->count + 1, sizeof(struct item *));
    int rc = -ENOMEM;
    if (names == NULL || lines.items == NULL)
        goto out;
    for (size_t i = 0; i < parse->count; i++)
        if (!parse->items[i].dropped)
            names[count++] = &parse->items[i];
    rc = sort_stable(names, count, sizeof(struct item *), compare_names);
    if (rc == 0)
        rc = keep_one_each(parse, names, count, &lines);
out:
    free(names);
    free(lines.items);
    return rc;
}

static void remove_dropped(struct parse *parse)
{
    size_t kept = 0;
    for (size_t i = 0; i < parse->count; i++)
        if (!parse->items[i].dropped)
            parse->items[kept++] = parse->items[i];
    parse->count = kept;
}

static int sort_by_uid(struct parse *parse)
{
    size_t i = 1;
    while (i < parse->count && parse->items[i - 1].uid <= parse->items[i].uid)
        i++;
    if (i >= parse->count)
        return 0;
    parse->db->repairs |= UIDDB_UNSORTED;
    return sort_stable(parse->items, parse->count, sizeof(struct item), compare_uids);
}

/* The items are sorted by UID. */
static void find_ambiguous(struct parse *parse)
{
    struct item *items = parse->items;
    for (size_t i = 1; i < parse->count; i++)
        if (items[i - 1].uid == items[i].uid)
            items[i - 1].ambiguous = items[i].ambiguous = true;
    for (size_t i = 0; i < parse->count; i++)
        if (items[i].ambiguous)
            repair(parse, UIDDB_SAME_UID, items[i].line, items[i].base,
                   "another file has the same UID");
}

static int compare_lines(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return (x->line > y->line) - (x->line < y->line);
}

/* Moves the items into db->lines, or the ambiguous ones into db->ambiguous. */
static int take_items(struct parse *parse, bool ambiguous, struct uiddb_line **lines_r,
                      size_t *count_r)
{
    struct uiddb_line *lines = calloc(parse->count + 1, sizeof(*lines));
    size_t count = 0;
    if (lines == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < parse->count; i++)
        if (parse->items[i].ambiguous == ambiguous)
            lines[count++] = (struct uiddb_line){parse->items[i].uid, parse->items[i].base};
    *lines_r = lines;
    *count_r = count;
    return 0;
}

static int take_lines(struct parse *parse)
{
    int rc = take_items(parse, false, &parse->db->lines, &parse->db->count);
    if (rc < 0 || !(parse->db->repairs & UIDDB_SAME_UID))
        return rc;
    rc = sort_stable(parse->items, parse->count, sizeof(struct item), compare_lines);
    if (rc < 0)
        return rc;
    return take_items(parse, true, &parse->db->ambiguous, &parse->db->ambiguous_count);
}

static void raise_next(struct parse *parse, struct span text)
{
    if (parse->db->uidnext > parse->highest)
        return;
    repair(parse, UIDDB_NEXT_TOO_LOW, 1, span_until(text, '\n', NULL),
           "NEXTUID is not above every UID");
    parse->db->uidnext = parse->highest + 1;
}

static int judge(struct parse *parse, struct span text)
{
    int rc = parse_lines(parse, text);
    if (rc == 0)
        rc = drop_same_names(parse);
    if (rc < 0)
        return rc;
    raise_next(parse, text);
    remove_dropped(parse);
    rc = sort_by_uid(parse);
    if (rc < 0)
        return rc;
    find_ambiguous(parse);
    return take_lines(parse);
}

int uiddb_parse(struct span text, const struct complaints *complaints, struct uiddb *db_r)
{
    memset(db_r, 0, sizeof(*db_r));
    struct parse parse = {.complaints = complaints, .db = db_r};
    int rc = judge(&parse, text);
    free(parse.items);
    if (rc < 0)
        uiddb_release(db_r);
    return rc;
}

void uiddb_format_line(struct buf *out, uint32_t uid, struct span base)
{
    buf_add_number(out, uid);
    buf_add_char(out, ' ');
    buf_add_span(out, base);
    buf_add_char(out, '\n');
}

void uiddb_format(const struct uiddb *db, struct buf *out)
{
    buf_printf(out, "%d %" PRIu32 " %" PRIu32 "\n", VERSION, db->uidvalidity, db->uidnext);
    for (size_t i = 0; i < db->count; i++)
        uiddb_format_line(out, db->lines[i].uid, db->lines[i].base);
}

void uiddb_point_into(struct uiddb *db, struct span text)
{
    struct span line;
    bool complete;
    span_next_line(&text, &line, &complete);
    for (size_t i = 0; i < db->count && span_next_line(&text, &line, &complete); i++)
        db->lines[i].base =
            span_make(line.text + line.len - db->lines[i].base.len, db->lines[i].base.len);
    free(db->ambiguous);
    db->ambiguous = NULL;
    db->ambiguous_count = 0;
    db->repairs = 0;
}

void uiddb_release(struct uiddb *db)
{
    free(db->lines);
    free(db->ambiguous);
    memset(db, 0, sizeof(*db));
}
