#include "dovecot/letters.h"

#include <string.h>

#define INFO ":2,"

/* A file name in three parts; flags and tail are empty without ":2,". */
struct parts {
    struct span head;  /* up to and with the ":2,", or the whole name */
    struct span flags; /* up to the next ',' */
    struct span tail;  /* that ',' and what follows */
    bool has_info;     /* there is a ':' */
    bool has_flags;    /* it is ":2," */
};

static struct parts split(struct span name)
{
    struct parts parts = {.head = name};
    const char *colon = name.len == 0 ? NULL : memrchr(name.text, ':', name.len);
    if (colon == NULL)
        return parts;
    parts.has_info = true;
    size_t before = (size_t)(colon - name.text);
    struct span info = span_make(colon, name.len - before);
    parts.has_flags = span_starts(info, INFO);
    if (!parts.has_flags)
        return parts;
    parts.head.len = before + strlen(INFO);
    struct span rest = span_make(name.text + parts.head.len, name.len - parts.head.len);
    parts.flags = span_until(rest, ',', NULL);
    parts.tail = span_make(rest.text + parts.flags.len, rest.len - parts.flags.len);
    return parts;
}

static bool is_letter(char c)
{
    return c >= 'a' && c <= 'z';
}

static void add_without_letters(struct buf *out, struct span flags)
{
    for (size_t i = 0; i < flags.len; i++)
        if (!is_letter(flags.text[i]))
            buf_add_char(out, flags.text[i]);
}

uint32_t letters_of(struct span name)
{
    struct span flags = split(name).flags;
    uint32_t letters = 0;
    for (size_t i = 0; i < flags.len; i++)
        if (is_letter(flags.text[i]))
            letters |= 1U << (flags.text[i] - 'a');
    return letters;
}

void letters_show(struct buf *out, struct span store_name, uint32_t letters)
{
    struct parts parts = split(store_name);
    buf_add_span(out, parts.head);
    if (!parts.has_flags && (parts.has_info || letters == 0))
        return;
    if (!parts.has_flags)
        buf_add_string(out, INFO);
    add_without_letters(out, parts.flags);
    for (int i = 0; i < 26; i++)
        if (letters & 1U << i)
            buf_add_char(out, (char)('a' + i));
    buf_add_span(out, parts.tail);
}

void letters_strip(struct buf *out, struct span shown_name)
{
    struct parts parts = split(shown_name);
    buf_add_span(out, parts.head);
    add_without_letters(out, parts.flags);
    buf_add_span(out, parts.tail);
}
