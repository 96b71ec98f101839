#include "courier/quota.h"

/* "NUMBER LETTER", as in "1000C". */
static bool parse_limit(struct span word, struct quota_file *quota)
{
    uint64_t number;
    if (word.len < 2 || !span_to_u64(span_make(word.text, word.len - 1), &number))
        return false;
    switch (word.text[word.len - 1]) {
    case 'S':
        quota->limit_bytes = number;
        break;
    case 'C':
        quota->limit_messages = number;
        break;
    default:
        return false;
    }
    quota->limited = quota->limited || number > 0;
    return true;
}

static bool parse_limits(struct span line, struct quota_file *quota)
{
    bool good = true;
    while (line.len > 0) {
        struct span word = span_until(line, ',', &line);
        good = parse_limit(word, quota) && good;
    }
    return good;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Like C's strtoll, but an overflow is no number. */
static bool scan_signed(struct span *rest, int64_t *value_r)
{
    size_t at = 0;
    while (at < rest->len && is_blank(rest->text[at]))
        at++;
    bool negative = at < rest->len && rest->text[at] == '-';
    at += negative;
    size_t digits = at;
    for (*value_r = 0; at < rest->len && rest->text[at] >= '0' && rest->text[at] <= '9'; at++) {
        int64_t digit = rest->text[at] - '0';
        if (__builtin_mul_overflow(*value_r, 10, value_r) ||
            __builtin_add_overflow(*value_r, negative ? -digit : digit, value_r))
            return false;
    }
    *rest = span_make(rest->text + at, rest->len - at);
    return at > digits;
}

static bool parse_change(struct span line, struct quota_file *quota)
{
    int64_t bytes, messages;
    if (!scan_signed(&line, &bytes) || !scan_signed(&line, &messages))
        return false;
    return !__builtin_add_overflow(quota->bytes, bytes, &quota->bytes) &&
           !__builtin_add_overflow(quota->messages, messages, &quota->messages);
}

void quota_file_parse(struct span text, const struct complaints *complaints,
                      struct quota_file *quota_r)
{
    struct span line;
    bool complete;
    *quota_r = (struct quota_file){.limited = false};
    for (unsigned number = 1; span_next_line(&text, &line, &complete); number++) {
        if (number == 1 && !parse_limits(line, quota_r))
            complain(complaints, number, line, "no limit like '10000000S,1000C'");
        else if (number > 1 && !parse_change(line, quota_r))
            complain(complaints, number, line, "not a number of bytes and one of messages");
    }
}
