/* fs/courier/keywords. What "seen" says was observed with Courier 5.0.13. */
#include "testing.h"

#include "courier/keywords.h"

#define NAMES "k0\nk1\nk2\nk3\n\n"

static struct heard heard;

static int parse(struct span text, struct keyword_list *list, struct span *text_r)
{
    memset(&heard, 0, sizeof(heard));
    *text_r = exact(text);
    return keyword_list_parse(*text_r, LISTENER(&heard), list);
}

static void assert_read_as(struct span text, bool stale, struct span expected)
{
    struct keyword_list list;
    struct span copy;
    BUF_AUTO out = BUF_EMPTY;
    assert_int_equal(parse(text, &list, &copy), 0);
    assert_int_equal(list.stale, stale);
    assert_int_equal(heard.count > 0, stale);
    keyword_list_format(&list, &out);
    assert_span(buf_span(&out), expected);
    keyword_list_release(&list);
    exact_free(copy);
}

static void reads_and_writes(void **state)
{
    (void)state;
    struct span copy, text = TEXT("$MDNSent\nbar-BAZ\nFoo\n\n1700000001.a:0 2 1\n1700000002.b:1\n");
    struct keyword_list list;
    assert_int_equal(parse(text, &list, &copy), 0);
    assert_false(list.stale);
    assert_int_equal(list.name_count, 3);
    assert_span(list.names[2], TEXT("Foo"));
    assert_int_equal(list.message_count, 2);
    assert_span(list.messages[0].base, TEXT("1700000001.a"));
    assert_int_equal(list.messages[0].count, 3);
    assert_int_equal(list.messages[0].indexes[0], 0);
    assert_int_equal(list.messages[0].indexes[1], 2);
    assert_int_equal(list.messages[0].indexes[2], 1);
    assert_int_equal(list.messages[1].indexes[0], 1);
    keyword_list_release(&list);
    assert_null(list.messages);
    exact_free(copy);
    assert_read_as(text, false, text);
}

static void keeps_names_as_they_are(void **state)
{
    (void)state;
    struct span odd = TEXT("Junk\njunk\nwith space\r\n\\Seen\n\n1.a:0 1 2 3\n");
    assert_read_as(odd, false, odd);
}

static void reads_files_without_names(void **state)
{
    (void)state;
    assert_read_as(TEXT(""), false, TEXT(""));
    assert_read_as(TEXT("\n"), false, TEXT(""));
    assert_read_as(TEXT("\n1.a:0\n"), true, TEXT(""));
    assert_read_as(TEXT("k0\nk1"), false, TEXT("k0\nk1\n\n"));
}

/* Each of these was seen to mean what is expected here. */
static void reads_numbers_as_courier_does(void **state)
{
    (void)state;
    assert_read_as(TEXT(NAMES "1.a:2,S:0 1\n"), false, TEXT(NAMES "1.a:2 1\n"));
    assert_read_as(TEXT(NAMES "1.a:2,S\n"), false, TEXT(NAMES "1.a:2\n"));
    assert_read_as(TEXT(NAMES "1.a:x\n"), false, TEXT(NAMES "1.a:0\n"));
    assert_read_as(TEXT(NAMES "1.a:1x 9 -1 3\n"), true, TEXT(NAMES "1.a:1 3\n"));
    assert_true(heard_of(&heard, 6, "number"));
    assert_read_as(TEXT(NAMES "1.a:\t1\t3\n"), false, TEXT(NAMES "1.a:1\n"));
    assert_read_as(TEXT(NAMES "1.a:4294967297\n"), false, TEXT(NAMES "1.a:1\n"));
    assert_read_as(TEXT(NAMES "1.a:0,1,2\n"), false, TEXT(NAMES "1.a:0\n"));
    assert_read_as(TEXT(NAMES "1.a: 1  2\r\n"), false, TEXT(NAMES "1.a:1 2\n"));
    assert_read_as(TEXT(NAMES "1.a:2"), false, TEXT(NAMES "1.a:2\n"));
    assert_read_as(TEXT(NAMES "1.a:0 0 1\n"), false, TEXT(NAMES "1.a:0 1\n"));
    assert_read_as(TEXT(NAMES "1.a:\n"), false, TEXT(NAMES));
    assert_read_as(TEXT("k0\nk1\0zz\n\n1.a:0 1\n"), true, TEXT("k0\nk1\n\n1.a:0 1\n"));
    assert_read_as(TEXT("k0\n\0zz\nk2\n\n1.a:0 1\n"), true, TEXT("k0\n\n1.a:0\n"));
}

static void takes_the_last_line_of_a_message(void **state)
{
    (void)state;
    assert_read_as(TEXT(NAMES "1.a:0 1\n2.b:1\n1.a:2\n"), true, TEXT(NAMES "2.b:1\n1.a:2\n"));
    assert_read_as(TEXT(NAMES "1.a:0 1\n1.a:\n"), true, TEXT(NAMES));
    assert_read_as(TEXT(NAMES "1.a:0\n1.a:1\n1.a:2\n1.a:3\n"), true, TEXT(NAMES "1.a:3\n"));
}

static void ignores_lines_without_a_message(void **state)
{
    (void)state;
    assert_read_as(TEXT(NAMES ":1\n1.a\n\n2.b:1\n"), true, TEXT(NAMES "2.b:1\n"));
    assert_int_equal(heard.count, 3);
    assert_true(heard_of(&heard, 6, "BASE"));
    assert_true(heard_of(&heard, 7, "BASE"));
    assert_true(heard_of(&heard, 8, "BASE"));
}

static void assert_update(struct span text, size_t count, const char *const *names)
{
    struct span copy = exact(text), rest = copy, name;
    for (size_t i = 0; i < count; i++) {
        assert_true(keyword_update_next(&rest, &name));
        assert_span(name, span_of(names[i]));
    }
    assert_false(keyword_update_next(&rest, &name));
    assert_false(keyword_update_next(&rest, &name));
    exact_free(copy);
}

static void reads_updates(void **state)
{
    (void)state;
    static const char *const plain[] = {"one", "two"}, *const cr[] = {"one\r", "two"},
                             *const nul[] = {"one", "t"};
    assert_update(TEXT("one\ntwo\n"), 2, plain);
    assert_update(TEXT("one\ntwo"), 2, plain);
    assert_update(TEXT("one\ntwo\n\nthree\n"), 2, plain);
    assert_update(TEXT("one\r\ntwo\n"), 2, cr);
    assert_update(TEXT("one\nt\0wo\n\0three\nfour\n"), 2, nul);
    assert_update(TEXT(""), 0, NULL);
    assert_update(TEXT("\none\n"), 0, NULL);
}

static void cleans_names(void **state)
{
    (void)state;
    static const struct {
        struct span dirty, clean;
    } cases[] = {
        {{"kwB with space", 14}, {"kwB_with_space", 14}},
        {{"\\Seen", 5}, {"_Seen", 5}},
        {{" \"%()*\\]{", 9}, {"_________", 9}},
        {{"[}~!#$&'+,-./:;<=>?@^_`|", 24}, {"[}~!#$&'+,-./:;<=>?@^_`|", 24}},
        {{"\xc3\xa9\r\t\x01\x7f", 6}, {"\xc3\xa9\r\t\x01\x7f", 6}},
        {{"a\nb\0c", 5}, {"a_b_c", 5}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        BUF_AUTO out = BUF_EMPTY;
        keyword_add_clean(&out, cases[i].dirty);
        assert_span(buf_span(&out), cases[i].clean);
    }
}

static void tells_files_apart(void **state)
{
    (void)state;
    struct span base;
    uint64_t period;
    assert_int_equal(keyword_file_kind(TEXT(":list"), &base, &period), KEYWORD_FILE_LIST);
    assert_int_equal(keyword_file_kind(TEXT("1700000001.a"), &base, &period), KEYWORD_FILE_PENDING);
    assert_span(base, TEXT("1700000001.a"));
    assert_int_equal(keyword_file_kind(TEXT(".5984471.1700000001.a"), &base, &period),
                     KEYWORD_FILE_MERGED);
    assert_span(base, TEXT("1700000001.a"));
    assert_int_equal(period, 5984471);
    assert_int_equal(keyword_file_kind(TEXT(".18446744073709551615.b"), &base, &period),
                     KEYWORD_FILE_MERGED);
    assert_true(period == UINT64_MAX);
    static const char *const other[] = {"",
                                        ".",
                                        "..",
                                        ":",
                                        ":listing",
                                        "1.a:2,S",
                                        ".tmp.1.2.h",
                                        ".5.1.a:2,S",
                                        ".0.1.a",
                                        ".005.1.a",
                                        ".5x.1.a",
                                        ".5.",
                                        ".5",
                                        ".5..hidden",
                                        ". 5.1.a",
                                        ".+5.1.a",
                                        ".-5.1.a",
                                        "..1.a",
                                        ".18446744073709551616.b"};
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        struct span name = exact(span_of(other[i]));
        if (keyword_file_kind(name, &base, &period) != KEYWORD_FILE_OTHER)
            fail_msg("'%s' is taken for a file of Courier's", other[i]);
        exact_free(name);
    }
}

static void assert_sound(const struct keyword_list *list, struct span text)
{
    for (size_t i = 0; i < list->name_count; i++)
        assert_true(list->names[i].len > 0 && lies_within(list->names[i], text));
    for (size_t i = 0; i < list->message_count; i++) {
        const struct keyword_message *message = &list->messages[i];
        assert_true(message->base.len > 0 && lies_within(message->base, text));
        for (size_t j = 0; j < i; j++)
            assert_false(span_equal(message->base, list->messages[j].base));
        for (size_t j = 0; j < message->count; j++)
            assert_true(message->indexes[j] < list->name_count);
    }
}

static void survives_random_files(void **state)
{
    (void)state;
    chance_start("keywords");
    for (int round = 0; round < 5000; round++) {
        BUF_AUTO text = BUF_EMPTY;
        BUF_AUTO once = BUF_EMPTY;
        BUF_AUTO twice = BUF_EMPTY;
        struct keyword_list list, again;
        size_t names = 1 + chance(30), messages = chance(10);
        for (size_t i = 0; i < names; i++)
            buf_printf(&text, "keyword%zu\n", i);
        buf_add_char(&text, '\n');
        for (size_t i = 0; i < messages; i++)
            buf_printf(&text, "17000000%02zu.a:%zu %zu\n", i, chance(names), chance(names));
        assert_int_equal(keyword_list_parse(buf_span(&text), NULL, &list), 0);
        assert_false(list.stale);
        assert_int_equal(list.message_count, messages);
        keyword_list_release(&list);
        chance_damage(&text);
        struct span copy = exact(buf_span(&text));
        assert_int_equal(keyword_list_parse(copy, NULL, &list), 0);
        assert_sound(&list, copy);
        keyword_list_format(&list, &once);
        assert_int_equal(keyword_list_parse(buf_span(&once), NULL, &again), 0);
        assert_false(again.stale);
        keyword_list_format(&again, &twice);
        assert_span(buf_span(&twice), buf_span(&once));
        keyword_list_release(&again);
        keyword_list_release(&list);
        exact_free(copy);
    }
}

static void stays_quick(void **state)
{
    (void)state;
    BUF_AUTO text = BUF_EMPTY;
    struct keyword_list list;
    for (int i = 0; i < 100000; i++)
        buf_printf(&text, "keyword%d\n", i);
    buf_add_char(&text, '\n');
    for (int i = 0; i < 100000; i++)
        buf_printf(&text, "1700000000.M%d:%d %d %d\n", i % 50000, i, i / 2, i / 3);
    buf_add_string(&text, "1.a:");
    for (int i = 0; i < 10000000; i++)
        buf_add_string(&text, "1 ");
    double start = cpu_seconds();
    assert_int_equal(keyword_list_parse(buf_span(&text), NULL, &list), 0);
    assert_true(cpu_seconds() - start < 5);
    assert_int_equal(list.message_count, 50001);
    assert_int_equal(list.messages[50000].count, 1);
    keyword_list_release(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes),
        cmocka_unit_test(keeps_names_as_they_are),
        cmocka_unit_test(reads_files_without_names),
        cmocka_unit_test(reads_numbers_as_courier_does),
        cmocka_unit_test(takes_the_last_line_of_a_message),
        cmocka_unit_test(ignores_lines_without_a_message),
        cmocka_unit_test(reads_updates),
        cmocka_unit_test(cleans_names),
        cmocka_unit_test(tells_files_apart),
        cmocka_unit_test(survives_random_files),
        cmocka_unit_test(stays_quick),
    };
    return cmocka_run_group_tests_name("courier keywords", tests, NULL, NULL);
}
