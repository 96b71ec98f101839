/* fs/dovecot/keywords. */
#include "testing.h"

#include "dovecot/keywords.h"

static struct heard heard;

static void assert_read_as(struct span text, size_t complaints, const char *expected)
{
    struct letter_names names;
    struct span copy = exact(text);
    BUF_AUTO out = BUF_EMPTY;
    memset(&heard, 0, sizeof(heard));
    letter_names_parse(copy, LISTENER(&heard), &names);
    assert_int_equal(heard.count, complaints);
    letter_names_format(&names, &out);
    assert_span(buf_span(&out), span_of(expected));
    exact_free(copy);
}

static void reads_and_writes(void **state)
{
    (void)state;
    assert_read_as(TEXT("0 $MDNSent\n1 Junk\n25 with space \xc3\xa9\n"), 0,
                   "0 $MDNSent\n1 Junk\n25 with space \xc3\xa9\n");
    assert_read_as(TEXT("7 b\r\n3 a"), 0, "3 a\n7 b\n");
    assert_read_as(TEXT(""), 0, "");
}

static void skips_damaged_lines(void **state)
{
    (void)state;
    assert_read_as(
        TEXT(
            "8 a\r\r\n26 a\n-1 b\nx c\n\n5\n6 \n 7 d\n4x e\n99999999999999999999 e\n3 f\0g\n4 h\n"),
        11, "4 h\n");
    assert_true(heard_of(&heard, 2, "index"));
    assert_true(heard_of(&heard, 1, "no keyword"));
}

static void reads_equal_lines_as_dovecot_does(void **state)
{
    (void)state;
    assert_read_as(TEXT("0 Junk\n0 Other\n1 oTHER\n2 Fine\n2 fine\n"), 3, "0 Other\n2 Fine\n");
    assert_true(heard_of(&heard, 2, "same index"));
    assert_true(heard_of(&heard, 3, "same keyword"));
    assert_true(heard_of(&heard, 5, "same keyword"));
}

static void finds_names_and_room(void **state)
{
    (void)state;
    struct letter_names names;
    letter_names_parse(TEXT("0 Junk\n2 Foo\n"), NULL, &names);
    assert_int_equal(letter_names_find(&names, TEXT("FOO")), 2);
    assert_int_equal(letter_names_find(&names, TEXT("Junk")), 0);
    assert_int_equal(letter_names_find(&names, TEXT("Jun")), -1);
    assert_int_equal(letter_names_find(&names, TEXT("")), -1);
    assert_int_equal(letter_names_free(&names), 1);
    for (int i = 0; i < LETTER_COUNT; i++)
        names.name[i] = TEXT("x");
    assert_int_equal(letter_names_free(&names), -1);
}

static void survives_random_files(void **state)
{
    (void)state;
    chance_start("dovecot-keywords");
    for (int round = 0; round < 5000; round++) {
        BUF_AUTO text = BUF_EMPTY;
        BUF_AUTO once = BUF_EMPTY;
        BUF_AUTO twice = BUF_EMPTY;
        struct letter_names names, again;
        for (size_t i = chance(30); i > 0; i--)
            buf_printf(&text, "%zu keyword%zu\n", chance(27), chance(40));
        chance_damage(&text);
        struct span copy = exact(buf_span(&text));
        letter_names_parse(copy, NULL, &names);
        for (int i = 0; i < LETTER_COUNT; i++)
            assert_true(lies_within(names.name[i], copy));
        letter_names_format(&names, &once);
        memset(&heard, 0, sizeof(heard));
        letter_names_parse(buf_span(&once), LISTENER(&heard), &again);
        assert_int_equal(heard.count, 0);
        letter_names_format(&again, &twice);
        assert_span(buf_span(&twice), buf_span(&once));
        exact_free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes),
        cmocka_unit_test(skips_damaged_lines),
        cmocka_unit_test(reads_equal_lines_as_dovecot_does),
        cmocka_unit_test(finds_names_and_room),
        cmocka_unit_test(survives_random_files),
    };
    return cmocka_run_group_tests_name("dovecot keywords", tests, NULL, NULL);
}
