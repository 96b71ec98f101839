#include "base/span.h"

#include <string.h>

struct span span_of(const char *terminated)
{
    return (struct span){terminated, strlen(terminated)};
}

struct span span_make(const char *text, size_t len)
{
    return (struct span){text, len};
}

bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.text, b.text, a.len) == 0);
}

bool span_equals(struct span a, const char *terminated)
{
    return span_equal(a, span_of(terminated));
}

bool span_starts(struct span a, const char *prefix)
{
    size_t len = strlen(prefix);
    return a.len >= len && (len == 0 || memcmp(a.text, prefix, len) == 0);
}

int span_compare(struct span a, struct span b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common == 0 ? 0 : memcmp(a.text, b.text, common);
    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

int span_compare_nocase(struct span a, struct span b)
{
    for (size_t i = 0; i < a.len && i < b.len; i++) {
        int order = lower(a.text[i]) - lower(b.text[i]);
        if (order != 0)
            return order;
    }
    return (a.len > b.len) - (a.len < b.len);
}

bool span_next_line(struct span *rest, struct span *line_r, bool *complete_r)
{
    if (rest->len == 0)
        return false;
    const char *lf = memchr(rest->text, '\n', rest->len);
    size_t len = lf == NULL ? rest->len : (size_t)(lf - rest->text);
    size_t taken = len + (lf != NULL);
    *line_r = span_make(rest->text, len);
    *complete_r = lf != NULL;
    *rest = span_make(rest->text + taken, rest->len - taken);
    return true;
}

struct span span_until(struct span s, char c, struct span *rest_r)
{
    const char *found = s.len == 0 ? NULL : memchr(s.text, c, s.len);
    size_t len = found == NULL ? s.len : (size_t)(found - s.text);
    if (rest_r != NULL)
        *rest_r = found == NULL ? span_make(NULL, 0) : span_make(found + 1, s.len - len - 1);
    return span_make(s.text, len);
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool span_to_u64(struct span s, uint64_t *value_r)
{
    uint64_t value = 0;
    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(s.text[i]))
            return false;
        if (__builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.text[i] - '0'), &value))
            return false;
    }
    *value_r = value;
    return true;
}

bool span_scan_u64(struct span *s, uint64_t *value_r)
{
    uint64_t value = 0;
    bool negative = false, overflow = false;
    size_t at = 0;
    while (at < s->len && is_blank(s->text[at]))
        at++;
    if (at < s->len && (s->text[at] == '+' || s->text[at] == '-'))
        negative = s->text[at++] == '-';
    size_t digits = at;
    for (; at < s->len && is_digit(s->text[at]); at++)
        overflow = __builtin_mul_overflow(value, 10U, &value) ||
                   __builtin_add_overflow(value, (uint64_t)(s->text[at] - '0'), &value) || overflow;
    if (at == digits)
        return false;
    if (overflow)
        *value_r = UINT64_MAX;
    else
        *value_r = negative ? -value : value;
    *s = span_make(s->text + at, s->len - at);
    return true;
}
