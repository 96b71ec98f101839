#include "dovecot/keywords.h"

#include <string.h>

/* What is wrong with LINE, or NULL. */
static const char *add_line(struct letter_names *names, struct span line)
{
    struct span name;
    uint64_t index;
    struct span digits = span_until(line, ' ', &name);
    if (!span_to_u64(digits, &index) || index >= LETTER_COUNT)
        return "no letter has this index";
    if (name.len == 0 || memchr(name.text, '\0', name.len) != NULL ||
        memchr(name.text, '\r', name.len) != NULL)
        return "no keyword";
    if (letter_names_find(names, name) >= 0)
        return "another line has the same keyword";
    bool again = names->name[index].len > 0;
    names->name[index] = name;
    return again ? "replaces a line with the same index" : NULL;
}

void letter_names_parse(struct span text, const struct complaints *complaints,
                        struct letter_names *names_r)
{
    struct span line;
    bool complete;
    memset(names_r, 0, sizeof(*names_r));
    for (unsigned number = 1; span_next_line(&text, &line, &complete); number++) {
        struct span content = line;
        if (content.len > 0 && content.text[content.len - 1] == '\r')
            content.len--;
        const char *why = add_line(names_r, content);
        if (why != NULL)
            complain(complaints, number, line, why);
    }
}

void letter_names_format(const struct letter_names *names, struct buf *out)
{
    for (int i = 0; i < LETTER_COUNT; i++) {
        if (names->name[i].len == 0)
            continue;
        buf_printf(out, "%d ", i);
        buf_add_span(out, names->name[i]);
        buf_add_char(out, '\n');
    }
}

int letter_names_find(const struct letter_names *names, struct span name)
{
    for (int i = 0; i < LETTER_COUNT; i++)
        if (name.len > 0 && names->name[i].len == name.len &&
            span_compare_nocase(names->name[i], name) == 0)
            return i;
    return -1;
}

int letter_names_free(const struct letter_names *names)
{
    for (int i = 0; i < LETTER_COUNT; i++)
        if (names->name[i].len == 0)
            return i;
    return -1;
}
