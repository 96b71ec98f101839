/* base/utf8. */
#include "testing.h"

#include "base/utf8.h"

static void assert_next(struct span text, size_t expected_len, uint32_t expected_code)
{
    struct span s = exact(text);
    uint32_t code = 0;
    assert_int_equal(utf8_next(s, &code), expected_len);
    assert_int_equal(code, expected_code);
    exact_free(s);
}

static void reads_characters(void **state)
{
    (void)state;
    assert_next(TEXT("a"), 1, 'a');
    assert_next(TEXT("\0"), 1, 0);
    assert_next(TEXT("\xc3\xbcx"), 2, 0xFC);
    assert_next(TEXT("\xe6\x97\xa5"), 3, 0x65E5);
    assert_next(TEXT("\xf0\x9f\x93\xac"), 4, 0x1F4EC);
    assert_next(TEXT("\xf4\x8f\xbf\xbf"), 4, 0x10FFFF);
    assert_next(TEXT("\xc2\x80"), 2, 0x80);
    assert_next(TEXT("\xe0\xa0\x80"), 3, 0x800);
    assert_next(TEXT("\xf0\x90\x80\x80"), 4, 0x10000);
}

static void refuses_what_is_none(void **state)
{
    (void)state;
    const struct span none[] = {TEXT(""),
                                TEXT("\x80"),
                                TEXT("\xc0\x80"),
                                TEXT("\xc1\xbf"),
                                TEXT("\xc3"),
                                TEXT("\xc3("),
                                TEXT("\xe0\x9f\xbf"),
                                TEXT("\xe6\x97"),
                                TEXT("\xed\xa0\x80"),
                                TEXT("\xed\xbf\xbf"),
                                TEXT("\xf0\x8f\xbf\xbf"),
                                TEXT("\xf4\x90\x80\x80"),
                                TEXT("\xf5\x80\x80\x80"),
                                TEXT("\xff"),
                                TEXT("\xf0\x9f\x93")};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        assert_next(none[i], 0, 0);
    assert_true(utf8_is_valid(TEXT("")));
    assert_true(utf8_is_valid(TEXT("Entw\xc3\xbcrfe \xf0\x9f\x93\xac")));
    assert_false(utf8_is_valid(TEXT("Entw\xfcrfe")));
}

static void writes_what_it_read(void **state)
{
    (void)state;
    for (uint32_t code = 0x800; code < 0x10000; code += 0x11) {
        const char bytes[] = {(char)(0xE0 | code >> 12), (char)(0x80 | (code >> 6 & 0x3F)),
                              (char)(0x80 | (code & 0x3F))};
        uint32_t read = 0;
        bool surrogate = code >= 0xD800 && code <= 0xDFFF;
        assert_int_equal(utf8_next(span_make(bytes, 3), &read), surrogate ? 0 : 3);
        assert_int_equal(read, surrogate ? 0 : code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_characters),
        cmocka_unit_test(refuses_what_is_none),
        cmocka_unit_test(writes_what_it_read),
    };
    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
