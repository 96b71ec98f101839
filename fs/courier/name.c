#include "courier/name.h"

struct span name_base(struct span file_name)
{
    return span_until(file_name, ':', NULL);
}

int64_t name_number(struct span file_name)
{
    int64_t number = 0;
    bool negative = false;
    size_t at = 0;
    while (at < file_name.len && (file_name.text[at] == ' ' ||
                                  (file_name.text[at] >= '\t' && file_name.text[at] <= '\r')))
        at++;
    if (at < file_name.len && (file_name.text[at] == '+' || file_name.text[at] == '-'))
        negative = file_name.text[at++] == '-';
    for (; at < file_name.len && file_name.text[at] >= '0' && file_name.text[at] <= '9'; at++) {
        int64_t digit = file_name.text[at] - '0';
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, negative ? -digit : digit, &number))
            return negative ? INT64_MIN : INT64_MAX;
    }
    return number;
}

int name_compare_imap(struct span a, struct span b)
{
    /* Unsigned, so that the difference wraps instead of overflowing. */
    uint64_t difference = (uint64_t)name_number(a) - (uint64_t)name_number(b);
    if (difference != 0)
        return (int)(int32_t)(uint32_t)difference;
    return span_compare(name_base(a), name_base(b));
}

/* The end of a name counts as NUL, which is above the bytes from 0x80 on. */
static signed char signed_byte(struct span s, size_t at)
{
    return at < s.len ? (signed char)s.text[at] : '\0';
}

int name_compare_pop3(struct span a, struct span b)
{
    int64_t number_a = name_number(a), number_b = name_number(b);
    if (number_a != number_b)
        return number_a < number_b ? -1 : 1;
    for (size_t at = 0; at < a.len || at < b.len; at++) {
        signed char byte_a = signed_byte(a, at), byte_b = signed_byte(b, at);
        if (byte_a == ':' && byte_b == ':')
            return 0;
        if (byte_a != byte_b)
            return byte_a < byte_b ? -1 : 1;
    }
    return 0;
}
