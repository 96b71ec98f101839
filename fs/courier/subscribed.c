#include "courier/subscribed.h"

#include <stdlib.h>
#include <string.h>

#include "base/sort.h"

#define INBOX "INBOX"

static struct span without_cr(struct span line)
{
    if (line.len > 0 && line.text[line.len - 1] == '\r')
        line.len--;
    return line;
}

/* Whether NAME is the inbox or below it; *below_r is then what follows "INBOX". */
static bool in_inbox(struct span name, struct span *below_r)
{
    size_t len = strlen(INBOX);
    if (name.len < len || span_compare_nocase(span_make(name.text, len), span_of(INBOX)) != 0 ||
        (name.len > len && name.text[len] != '.'))
        return false;
    *below_r = span_make(name.text + len, name.len - len);
    return true;
}

static bool is_inbox(struct span name)
{
    return span_compare_nocase(name, span_of(INBOX)) == 0;
}

/* What neither file can hold within a name. */
static bool has_control(struct span name)
{
    return memchr(name.text, '\0', name.len) != NULL || memchr(name.text, '\r', name.len) != NULL;
}

bool subscribed_next(struct span *rest, struct span *name_r)
{
    bool complete;
    while (span_next_line(rest, name_r, &complete)) {
        *name_r = without_cr(*name_r);
        if (name_r->len > 0)
            return true;
    }
    return false;
}

bool subscribed_to_dovecot(struct span courier_name, struct span *dovecot_name_r)
{
    struct span below;
    if (!in_inbox(courier_name, &below) || has_control(courier_name))
        return false;
    if (below.len == 0) {
        *dovecot_name_r = span_of(INBOX);
        return true;
    }
    below = span_make(below.text + 1, below.len - 1);
    if (below.len == 0 || is_inbox(below))
        return false;
    *dovecot_name_r = below;
    return true;
}

void subscribed_from_dovecot(struct span dovecot_name, struct buf *out)
{
    buf_add_string(out, INBOX);
    if (is_inbox(dovecot_name))
        return;
    buf_add_char(out, '.');
    buf_add_span(out, dovecot_name);
}

static int compare_names(const void *a, const void *b)
{
    struct span x = without_cr(*(const struct span *)a), y = without_cr(*(const struct span *)b);
    bool x_in_inbox = in_inbox(x, &x), y_in_inbox = in_inbox(y, &y);
    if (x_in_inbox != y_in_inbox)
        return x_in_inbox ? -1 : 1;
    return span_compare(x, y);
}

/* Names that can be searched. */
struct names {
    struct span *sorted;
    size_t count;
};

static bool has(const struct names *names, struct span name)
{
    return names->count > 0 &&
           bsearch(&name, names->sorted, names->count, sizeof(name), compare_names) != NULL;
}

static int names_copy(const struct span *from, size_t count, struct names *names_r)
{
    names_r->sorted = calloc(count + 1, sizeof(*from));
    names_r->count = count;
    if (names_r->sorted == NULL)
        return -1;
    for (size_t i = 0; i < count; i++)
        names_r->sorted[i] = from[i];
    return sort_stable(names_r->sorted, count, sizeof(*from), compare_names);
}

/* Copies the lines of TEXT that are not in REMOVED; marks those of ADDED that are there. */
static void copy_lines(struct span text, const struct names *removed, const struct names *added,
                       bool *present, struct buf *out)
{
    struct span line;
    bool complete;
    while (span_next_line(&text, &line, &complete)) {
        if (has(removed, line))
            continue;
        buf_add(out, line.text, line.len + complete);
        const struct span *found = added->count == 0 ? NULL
                                                     : bsearch(&line, added->sorted, added->count,
                                                               sizeof(line), compare_names);
        if (found != NULL)
            present[found - added->sorted] = true;
    }
}

/* One of several equal names, the same for each of them. */
static size_t position(const struct names *names, struct span name)
{
    const struct span *found =
        bsearch(&name, names->sorted, names->count, sizeof(name), compare_names);
    return (size_t)(found - names->sorted);
}

static void add_name(struct span name, size_t start, struct buf *out)
{
    if (out->len > start && out->data[out->len - 1] != '\n')
        buf_add_char(out, '\n');
    buf_add_span(out, without_cr(name));
    buf_add_char(out, '\n');
}

void subscribed_edit(struct span text, const struct span *removed, size_t removed_count,
                     const struct span *added, size_t added_count, struct buf *out)
{
    struct names gone = {NULL, 0}, wanted = {NULL, 0};
    bool *present = calloc(added_count + 1, sizeof(*present));
    size_t start = out->len;
    if (present == NULL || names_copy(removed, removed_count, &gone) < 0 ||
        names_copy(added, added_count, &wanted) < 0) {
        out->failed = true;
        goto out;
    }
    copy_lines(text, &gone, &wanted, present, out);
    for (size_t i = 0; i < added_count; i++) {
        size_t at = position(&wanted, added[i]);
        if (!present[at])
            add_name(added[i], start, out);
        present[at] = true;
    }
out:
    free(present);
    free(gone.sorted);
    free(wanted.sorted);
}
