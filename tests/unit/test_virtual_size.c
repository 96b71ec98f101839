/* The size that Dovecot shows, of messages that were shown to Dovecot 2.3.19 (dovecot/virtual_size.h). */
#include "dovecot/virtual_size.h"

#include <string.h>
#include "testing.h"

static const struct {
    const char *text;
    size_t len;
    uint64_t size;
} cases[] = {
    {"", 0, 0},
    {"Subject: s\nFrom: a@b\n\nline1\nline2\n", 34, 39},
    {"Subject: s\nFrom: a@b\n\nline1\nline2", 33, 37},
    {"Subject: s\r\nFrom: a@b\r\n\r\nline1\r\nline2\r\n", 39, 39},
    {"Subject: s\r\nFrom: a@b\r\n\r\nline1\r\nline2", 37, 37},
    {"Subject: s\nFrom: a@b\n\nl1\r\nl2\nl3\r\n", 33, 37},
    {"Subject: s\nFrom: a@b\n\na\r\r\nb\n", 28, 32},
    {"Subject: s\n", 11, 12},
    {"a\0\n", 3, 4},
    {"\n\n\n", 3, 6},
    {"\r", 1, 1},
};

/* In pieces of each length: a CR LF may lie across two. */
static void counts_what_dovecot_shows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t piece = 1; piece <= cases[i].len + 1; piece++) {
            struct virtual_size size = {0};
            for (size_t at = 0; at < cases[i].len; at += piece) {
                size_t len = cases[i].len - at < piece ? cases[i].len - at : piece;
                virtual_size_add(&size, cases[i].text + at, len);
            }
            assert_int_equal(size.bytes, cases[i].len);
            assert_int_equal(size.size, cases[i].size);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_what_dovecot_shows),
    };
    return cmocka_run_group_tests_name("virtual_size", tests, NULL, NULL);
}
