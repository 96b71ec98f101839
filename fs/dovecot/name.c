#include "dovecot/name.h"

#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads digits off REST; wraps around. */
static uint64_t read_number(struct span *rest)
{
    uint64_t number = 0;
    while (rest->len > 0 && is_digit(rest->text[0])) {
        number = number * 10 + (uint64_t)(rest->text[0] - '0');
        *rest = span_make(rest->text + 1, rest->len - 1);
    }
    return number;
}

/* The microseconds: the digits after the first 'M' of the part behind the seconds. */
static bool read_microseconds(struct span rest, uint64_t *microseconds_r)
{
    if (rest.len == 0 || rest.text[0] != '.')
        return false;
    rest = span_make(rest.text + 1, rest.len - 1);
    while (rest.len > 0 && rest.text[0] != '.' && rest.text[0] != ':') {
        bool found = rest.text[0] == 'M';
        rest = span_make(rest.text + 1, rest.len - 1);
        if (found) {
            *microseconds_r = read_number(&rest);
            return true;
        }
    }
    return false;
}

int name_compare_dovecot(struct span a, struct span b)
{
    uint64_t seconds_a = read_number(&a);
    uint64_t seconds_b = read_number(&b);
    if (seconds_a != seconds_b)
        return seconds_a < seconds_b ? -1 : 1;
    uint64_t a_microseconds;
    uint64_t b_microseconds;
    if (read_microseconds(a, &a_microseconds) && read_microseconds(b, &b_microseconds) &&
        a_microseconds != b_microseconds)
        return a_microseconds < b_microseconds ? -1 : 1;
    return span_compare(span_until(a, ':', NULL), span_until(b, ':', NULL));
}

bool name_size(struct span file_name, char key, uint64_t *size_r)
{
    const char start[] = {',', key, '='};
    struct span rest = file_name;
    while (rest.len >= sizeof(start)) {
        if (memcmp(rest.text, start, sizeof(start)) != 0) {
            rest = span_make(rest.text + 1, rest.len - 1);
            continue;
        }
        rest = span_make(rest.text + sizeof(start), rest.len - sizeof(start));
        *size_r = read_number(&rest);
        return rest.len == 0 || rest.text[0] == ',' || rest.text[0] == ':';
    }
    return false;
}
