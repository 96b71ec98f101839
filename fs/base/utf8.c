#include "base/utf8.h"

/* Bytes of a character that begins with this one; 0 = none does. */
static size_t length_of(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xC2)
        return 0;
    return first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
}

size_t utf8_next(struct span s, uint32_t *code_r)
{
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (s.len == 0)
        return 0;
    unsigned char first = (unsigned char)s.text[0];
    size_t len = length_of(first);
    if (len == 0 || len > s.len)
        return 0;
    uint32_t code = len == 1 ? first : first & (0x7FU >> len);
    for (size_t i = 1; i < len; i++) {
        unsigned char next = (unsigned char)s.text[i];
        if ((next & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (next & 0x3F);
    }
    if (code < lowest[len] || (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF)
        return 0;
    *code_r = code;
    return len;
}

bool utf8_is_valid(struct span s)
{
    uint32_t code;
    while (s.len > 0) {
        size_t len = utf8_next(s, &code);
        if (len == 0)
            return false;
        s = span_make(s.text + len, s.len - len);
    }
    return true;
}
