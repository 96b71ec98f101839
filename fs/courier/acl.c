#include "courier/acl.h"

#include <stdlib.h>
#include <string.h>

bool courier_acl_is_identifier(struct span identifier)
{
    for (size_t i = 0; i < identifier.len; i++) {
        if ((unsigned char)identifier.text[i] <= ' ')
            return false;
    }
    return identifier.len > 0;
}

/* Courier reads lines by fgets into BUFSIZ bytes: what is longer counts as several lines. */
#define PIECE_LIMIT 8191

/* Like span_next_line, but cuts off what Courier reads at once. */
static bool next_piece(struct span *rest, struct span *piece_r, bool *complete_r)
{
    struct span after = *rest;
    if (!span_next_line(&after, piece_r, complete_r))
        return false;
    if (piece_r->len >= PIECE_LIMIT) {
        piece_r->len = PIECE_LIMIT;
        *complete_r = false;
        after = span_make(rest->text + PIECE_LIMIT, rest->len - PIECE_LIMIT);
    }
    *rest = after;
    return true;
}

/* Courier reads C strings: a NUL ends the line. */
static bool split(struct span line, struct span *identifier_r, struct span *rights_r)
{
    line = span_until(line, '\0', NULL);
    *identifier_r = span_until(line, ' ', rights_r);
    while (rights_r->len > 0 && rights_r->text[0] == ' ')
        *rights_r = span_make(rights_r->text + 1, rights_r->len - 1);
    return courier_acl_is_identifier(*identifier_r);
}

bool courier_acl_next(struct span *rest, struct span *identifier_r, struct span *rights_r)
{
    struct span line;
    bool complete;
    while (next_piece(rest, &line, &complete)) {
        if (split(line, identifier_r, rights_r))
            return true;
    }
    return false;
}

unsigned courier_acl_rights(struct span letters)
{
    unsigned rights = 0;
    for (size_t i = 0; i < letters.len; i++) {
        const char *found =
            memchr(COURIER_ACL_LETTERS, letters.text[i], sizeof(COURIER_ACL_LETTERS) - 1);
        if (found != NULL)
            rights |= 1U << (found - COURIER_ACL_LETTERS);
    }
    return rights;
}

static void add_line(const struct courier_acl_change *change, struct buf *out)
{
    buf_add_span(out, change->identifier);
    buf_add_char(out, ' ');
    for (size_t i = 0; i < sizeof(COURIER_ACL_LETTERS) - 1; i++) {
        if ((change->rights & 1U << i) != 0)
            buf_add_char(out, COURIER_ACL_LETTERS[i]);
    }
    buf_add_char(out, '\n');
}

/* The change that concerns LINE, or COUNT. */
static size_t find_change(struct span line, const struct courier_acl_change *changes, size_t count)
{
    struct span identifier;
    struct span rights;
    if (!split(line, &identifier, &rights))
        return count;
    for (size_t i = 0; i < count; i++) {
        if (span_equal(changes[i].identifier, identifier))
            return i;
    }
    return count;
}

void courier_acl_edit(struct span text, const struct courier_acl_change *changes, size_t count,
                      struct buf *out)
{
    size_t start = out->len;
    bool *made = calloc(count + 1, sizeof(*made));
    if (made == NULL) {
        out->failed = true;
        return;
    }
    struct span line;
    bool complete;
    while (next_piece(&text, &line, &complete)) {
        size_t at = find_change(line, changes, count);
        if (at == count)
            buf_add(out, line.text, line.len + complete);
        else if (!changes[at].removed && !made[at])
            add_line(&changes[at], out);
        made[at] = true;
    }
    for (size_t i = 0; i < count; i++) {
        if (made[i] || changes[i].removed)
            continue;
        if (out->len > start && out->data[out->len - 1] != '\n')
            buf_add_char(out, '\n');
        add_line(&changes[i], out);
    }
    free(made);
}
