#include "courier/userdb.h"

#include <string.h>

/* Courier's programs keep such numbers in 64 bits with a sign. */
#define LARGEST_QUOTA ((uint64_t)INT64_MAX)

/* "5000=": where the account with this uid is written down. */
static bool is_way_back(struct span name)
{
    uint64_t uid;
    return name.len > 0 && name.text[name.len - 1] == '=' &&
           span_to_u64(span_make(name.text, name.len - 1), &uid);
}

/* Whether there is an account in LINE; if there is none, *why_r says why, or is NULL for what needs
 * no complaint. */
static bool split(struct span line, struct userdb_account *account_r, const char **why_r)
{
    *why_r = NULL;
    if (line.len == 0 || line.text[0] == '#')
        return false;
    if (memchr(line.text, '\t', line.len) == NULL)
        *why_r = "no TAB: no account, for Courier neither";
    account_r->name = span_until(line, '\t', &account_r->fields);
    if (*why_r == NULL && account_r->name.len == 0)
        *why_r = "an account without a name";
    return *why_r == NULL && !is_way_back(account_r->name);
}

bool userdb_next(struct span *rest, unsigned *line, const struct complaints *complaints,
                 struct userdb_account *account_r)
{
    struct span text;
    bool complete;
    const char *why;
    while (span_next_line(rest, &text, &complete)) {
        account_r->line = ++*line;
        if (span_equals(text, ".")) {
            complain(complaints, *line, span_make(NULL, 0), "a dot: Courier reads no further");
            *rest = span_make(NULL, 0);
            return false;
        }
        if (split(text, account_r, &why))
            return true;
        if (why != NULL)
            complain(complaints, *line, span_make(NULL, 0), why);
    }
    return false;
}

/* NAME and VALUE of one piece. */
static void split_piece(struct span piece, struct span *name_r, struct span *value_r,
                        bool *has_value_r)
{
    *name_r = span_until(piece, '=', value_r);
    *has_value_r = name_r->len < piece.len;
}

bool userdb_next_field(struct span *fields, struct span *name_r, struct span *value_r,
                       bool *has_value_r)
{
    if (fields->len == 0)
        return false;
    split_piece(span_until(*fields, '|', fields), name_r, value_r, has_value_r);
    return true;
}

bool userdb_is_password(struct span name)
{
    return name.len >= 2 && memcmp(name.text + name.len - 2, "pw", 2) == 0;
}

bool userdb_field(struct span fields, const char *name, struct span *value_r)
{
    struct span found;
    bool has_value, secret = userdb_is_password(span_of(name));
    while (userdb_next_field(&fields, &found, value_r, &has_value)) {
        if (span_equals(found, name) && (has_value || !secret))
            return true;
    }
    *value_r = span_make(NULL, 0);
    return false;
}

bool userdb_next_option(struct span *options, struct span *word_r, struct span *value_r)
{
    bool has_value;
    while (options->len > 0) {
        split_piece(span_until(*options, ',', options), word_r, value_r, &has_value);
        if (word_r->len > 0)
            return true;
    }
    return false;
}

static bool has_word(struct span options, struct span word)
{
    struct span found, value;
    while (userdb_next_option(&options, &found, &value)) {
        if (span_equal(found, word))
            return true;
    }
    return false;
}

void userdb_merge_options(struct span options, struct span defaults, struct buf *out)
{
    struct span word, value;
    buf_add_span(out, options);
    while (userdb_next_option(&defaults, &word, &value)) {
        if (has_word(options, word))
            continue;
        buf_add_char(out, ',');
        buf_add_span(out, word);
        buf_add_char(out, '=');
        buf_add_span(out, value);
    }
}

static bool is_yes(char c)
{
    return c == 't' || c == 'T' || c == 'y' || c == 'Y';
}

bool userdb_option(struct span options, const char *word)
{
    struct span found, value;
    uint64_t number;
    while (userdb_next_option(&options, &found, &value)) {
        if (!span_equals(found, word))
            continue;
        return value.len == 0 || is_yes(value.text[0]) ||
               (span_scan_u64(&value, &number) && number != 0);
    }
    return false;
}

bool userdb_quota(struct span text, struct userdb_quota *quota_r)
{
    *quota_r = (struct userdb_quota){.bytes = 0};
    while (text.len > 0) {
        size_t digits = 0;
        while (digits < text.len && text.text[digits] >= '0' && text.text[digits] <= '9')
            digits++;
        char unit = digits > 0 && digits < text.len ? text.text[digits] : '\0';
        uint64_t number = 0;
        if ((unit == 'S' || unit == 'C') &&
            (!span_to_u64(span_make(text.text, digits), &number) || number > LARGEST_QUOTA))
            return false;
        if (unit == 'S')
            quota_r->bytes = number;
        if (unit == 'C')
            quota_r->messages = number;
        size_t taken = digits < text.len ? digits + 1 : digits;
        text = span_make(text.text + taken, text.len - taken);
    }
    return true;
}
