#include "dovecot/acl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {
    [DOVECOT_ACL_ANYONE] = "anyone", [DOVECOT_ACL_AUTHENTICATED] = "authenticated",
    [DOVECOT_ACL_GROUP] = "group=",  [DOVECOT_ACL_OWNER] = "owner",
    [DOVECOT_ACL_USER] = "user=",    [DOVECOT_ACL_GROUP_OVERRIDE] = "group-override=",
};

/* In the order of the bits. */
static const char *const right_names[] = {
    "lookup", "read",    "write",  "write-seen", "write-deleted", "insert",
    "post",   "expunge", "create", "delete",     "admin",
};

static bool has_name(enum dovecot_acl_kind kind)
{
    return kind == DOVECOT_ACL_GROUP || kind == DOVECOT_ACL_USER ||
           kind == DOVECOT_ACL_GROUP_OVERRIDE;
}

static struct span after(struct span s, size_t count)
{
    return span_make(s.text + count, s.len - count);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct span without_blanks(struct span s)
{
    while (s.len > 0 && is_blank(s.text[0]))
        s = after(s, 1);
    return s;
}

bool dovecot_acl_parse_identifier(struct span text, enum dovecot_acl_kind *kind_r,
                                  struct span *name_r)
{
    if (span_equals(text, "anonymous"))
        text = span_of("anyone");
    for (int i = DOVECOT_ACL_ANYONE; i <= DOVECOT_ACL_GROUP_OVERRIDE; i++) {
        enum dovecot_acl_kind kind = (enum dovecot_acl_kind)i;
        if (has_name(kind) ? !span_starts(text, kind_names[i]) : !span_equals(text, kind_names[i]))
            continue;
        *kind_r = kind;
        *name_r = after(text, strlen(kind_names[i]));
        return true;
    }
    return false;
}

/* Cuts an identifier in quotes off LINE, which begins with the quote: a backslash goes before any
 * character. */
static bool cut_quoted(struct span *line, struct buf *storage, struct span *identifier_r)
{
    size_t start = storage->len;
    size_t i = 1;
    for (; i < line->len && line->text[i] != '"'; i++) {
        if (line->text[i] == '\\' && i + 1 < line->len)
            i++;
        buf_add_char(storage, line->text[i]);
    }
    bool ends = i < line->len && (i + 1 == line->len || line->text[i + 1] == ' ');
    *identifier_r = span_make(storage->data + start, storage->len - start);
    *line = ends ? after(*line, i + 1) : *line;
    return ends;
}

static bool parse_letters(struct span *text, unsigned *rights)
{
    for (; text->len > 0 && !is_blank(text->text[0]) && text->text[0] != ':';
         *text = after(*text, 1)) {
        const char *found =
            memchr(DOVECOT_ACL_LETTERS, text->text[0], sizeof(DOVECOT_ACL_LETTERS) - 1);
        if (found == NULL)
            return false;
        *rights |= 1U << (found - DOVECOT_ACL_LETTERS);
    }
    *text = without_blanks(*text);
    return true;
}

static void parse_names(struct span text, unsigned *rights)
{
    while (text.len > 0) {
        size_t len = 0;
        while (len < text.len && !is_blank(text.text[len]) && text.text[len] != ',')
            len++;
        for (size_t i = 0; i < sizeof(right_names) / sizeof(right_names[0]); i++) {
            if (span_equals(span_make(text.text, len), right_names[i]))
                *rights |= 1U << i;
        }
        text = after(text, len < text.len ? len + 1 : len);
    }
}

static bool parse_rights(struct span text, unsigned *rights)
{
    text = without_blanks(text);
    if (!parse_letters(&text, rights))
        return false;
    if (text.len == 0)
        return true;
    if (text.text[0] != ':')
        return false;
    parse_names(after(text, 1), rights);
    return true;
}

static bool parse_line(struct span text, struct buf *storage, struct dovecot_acl_line *line_r)
{
    *line_r = (struct dovecot_acl_line){.kind = DOVECOT_ACL_ANYONE};
    struct span identifier;
    if (text.text[0] == '"') {
        if (!cut_quoted(&text, storage, &identifier))
            return false;
    } else {
        identifier = span_until(text, ' ', &text);
    }
    line_r->negative = span_starts(identifier, "-");
    if (line_r->negative)
        identifier = after(identifier, 1);
    return dovecot_acl_parse_identifier(identifier, &line_r->kind, &line_r->name) &&
           parse_rights(text, &line_r->rights);
}

static size_t count_lines(struct span text)
{
    size_t count = 1;
    for (size_t i = 0; i < text.len; i++)
        count += text.text[i] == '\n';
    return count;
}

int dovecot_acl_parse(struct span text, struct dovecot_acl *acl_r)
{
    *acl_r = (struct dovecot_acl){.lines = calloc(count_lines(text), sizeof(*acl_r->lines))};
    struct span line;
    bool complete;
    int result = acl_r->lines == NULL ? -ENOMEM : 0;
    /* Room for all at once, so that no name moves. */
    if (result == 0)
        result = buf_reserve(&acl_r->storage, text.len);
    while (result == 0 && span_next_line(&text, &line, &complete)) {
        if (line.len > 0 && line.text[line.len - 1] == '\r')
            line.len--;
        line = span_until(line, '\0', NULL);
        if (line.len == 0 || line.text[0] == '#')
            continue;
        if (parse_line(line, &acl_r->storage, &acl_r->lines[acl_r->count]))
            acl_r->count++;
        else
            result = -EINVAL;
    }
    if (result < 0)
        dovecot_acl_release(acl_r);
    return result;
}

void dovecot_acl_release(struct dovecot_acl *acl)
{
    free(acl->lines);
    buf_release(&acl->storage);
    *acl = (struct dovecot_acl){.lines = NULL};
}

void dovecot_acl_format_identifier(struct buf *out, enum dovecot_acl_kind kind, struct span name)
{
    buf_add_string(out, kind_names[kind]);
    buf_add_span(out, name);
}

static void add_escaped(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.text[i] == '"' || text.text[i] == '\\' || text.text[i] == '\'')
            buf_add_char(out, '\\');
        buf_add_char(out, text.text[i]);
    }
}

void dovecot_acl_format_line(struct buf *out, const struct dovecot_acl_line *line)
{
    bool quoted = line->name.len > 0 && memchr(line->name.text, ' ', line->name.len) != NULL;
    if (quoted)
        buf_add_char(out, '"');
    if (line->negative)
        buf_add_char(out, '-');
    buf_add_string(out, kind_names[line->kind]);
    if (quoted)
        add_escaped(out, line->name);
    else
        buf_add_span(out, line->name);
    if (quoted)
        buf_add_char(out, '"');
    buf_add_char(out, ' ');
    for (size_t i = 0; i < sizeof(DOVECOT_ACL_LETTERS) - 1; i++) {
        if ((line->rights & 1U << i) != 0)
            buf_add_char(out, DOVECOT_ACL_LETTERS[i]);
    }
    buf_add_char(out, '\n');
}
