/* fs/dovecot/letters. */
#include "testing.h"

#include "dovecot/letters.h"

#define ALL ((1U << 26) - 1)

static uint32_t bits(const char *letters)
{
    uint32_t set = 0;
    for (; *letters != '\0'; letters++)
        set |= 1U << (*letters - 'a');
    return set;
}

static void reads_letters(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"1.a:2,", ""},       {"1.a:2,Sab", "ab"},
        {"1.a:2,zS", "z"},    {"1.a", ""},
        {"abc", ""},          {"1.a:1,ab", ""},
        {"1.a:2", ""},        {"1.a:x", ""},
        {"1.a:2,Sa,bc", "a"}, {"1.a:1,b:2,Sq", "q"},
        {"1.a:2,Sa:x", ""},   {"", ""},
        {"1.a:2,~{`A", ""},   {":2,a", "a"},
        {"1.a:2,aaa", "a"},   {"1.a:2,abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct span name = exact(span_of(cases[i][0]));
        assert_int_equal(letters_of(name), bits(cases[i][1]));
        exact_free(name);
    }
}

static void assert_shown(const char *stored, const char *letters, const char *shown)
{
    BUF_AUTO out = BUF_EMPTY;
    struct span name = exact(span_of(stored));
    letters_show(&out, name, bits(letters));
    assert_span(buf_span(&out), span_of(shown));
    exact_free(name);
}

static void shows_names(void **state)
{
    (void)state;
    assert_shown("1.a:2,S", "", "1.a:2,S");
    assert_shown("1.a:2,S", "ba", "1.a:2,Sab");
    assert_shown("1.a:2,", "z", "1.a:2,z");
    assert_shown("1.a", "", "1.a");
    assert_shown("1.a", "c", "1.a:2,c");
    assert_shown("1.a:2,Fz,x", "q", "1.a:2,Fq,x");
    assert_shown("1.a:2,abS", "", "1.a:2,S"); /* as courierpop3d leaves it */
    assert_shown("1.a:1,SF", "q", "1.a:1,SF");
    assert_shown("1.a:x", "q", "1.a:x");
    assert_shown("1.a:", "q", "1.a:");
    assert_shown("x:1,b:2,S", "q", "x:1,b:2,Sq");
    assert_shown("1.a:2,S:x", "q", "1.a:2,S:x");
}

static void strips_names(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"1.a:2,Sab", "1.a:2,S"},   {"1.a:2,ab", "1.a:2,"},       {"abc", "abc"},
        {"1.a:1,ab", "1.a:1,ab"},   {"1.a:2,aFb,c", "1.a:2,F,c"}, {"", ""},
        {"x:1,b:2,Sq", "x:1,b:2,S"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        BUF_AUTO out = BUF_EMPTY;
        letters_strip(&out, span_of(cases[i][0]));
        assert_span(buf_span(&out), span_of(cases[i][1]));
    }
}

/* What is shown carries the letters, and stripped it is the store's name without lower case. */
static void undoes_random_names(void **state)
{
    (void)state;
    static const char bytes[] = "a1.:::2,,FSz~";
    chance_start("letters");
    for (int round = 0; round < 50000; round++) {
        BUF_AUTO name = BUF_EMPTY;
        BUF_AUTO shown = BUF_EMPTY;
        BUF_AUTO plain = BUF_EMPTY;
        BUF_AUTO stripped = BUF_EMPTY;
        BUF_AUTO again = BUF_EMPTY;
        uint32_t letters = (uint32_t)chance(ALL);
        for (size_t i = chance(12); i > 0; i--)
            buf_add_char(&name, bytes[chance(sizeof(bytes) - 1)]);
        if (chance(2))
            buf_add_string(&name, ":2,S");
        struct span stored = exact(buf_span(&name));
        letters_show(&shown, stored, letters);
        letters_show(&plain, stored, 0);
        letters_strip(&stripped, buf_span(&shown));
        letters_show(&again, buf_span(&stripped), letters);
        assert_span(buf_span(&again), buf_span(&shown));
        assert_int_equal(letters_of(buf_span(&plain)), 0);
        assert_true(letters_of(buf_span(&shown)) == letters || plain.len == shown.len);
        if (plain.len != 0 && memchr(plain.data, ':', plain.len) != NULL)
            assert_span(buf_span(&stripped), buf_span(&plain));
        exact_free(stored);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_letters),
        cmocka_unit_test(shows_names),
        cmocka_unit_test(strips_names),
        cmocka_unit_test(undoes_random_names),
    };
    return cmocka_run_group_tests_name("letters", tests, NULL, NULL);
}
