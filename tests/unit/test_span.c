/* fs/base/span and fs/base/sort. */
#include "testing.h"

#include "base/sort.h"

static void compares(void **state)
{
    (void)state;
    assert_true(span_equal(TEXT("a\0b"), TEXT("a\0b")));
    assert_false(span_equal(TEXT("a\0b"), TEXT("a\0c")));
    assert_true(span_equal(span_make(NULL, 0), TEXT("")));
    assert_true(span_equals(TEXT("abc"), "abc"));
    assert_false(span_equals(TEXT("abc"), "ab"));
    assert_true(span_starts(TEXT("abc"), "ab"));
    assert_true(span_starts(span_make(NULL, 0), ""));
    assert_false(span_starts(TEXT("a"), "ab"));
    assert_true(span_compare(TEXT("a"), TEXT("ab")) < 0);
    assert_true(span_compare(TEXT("a\xff"), TEXT("ab")) > 0);
    assert_int_equal(span_compare(span_make(NULL, 0), span_make(NULL, 0)), 0);
    assert_int_equal(span_compare_nocase(TEXT("JuNk"), TEXT("jUnK")), 0);
    assert_true(span_compare_nocase(TEXT("Junk"), TEXT("junkier")) < 0);
    assert_true(span_compare_nocase(TEXT("\xc3\x84"), TEXT("\xc3\xa4")) != 0);
    assert_true(span_compare_nocase(TEXT("[a"), TEXT("{A")) != 0);
}

static void cuts_lines(void **state)
{
    (void)state;
    struct span text = exact(TEXT("one\n\nlast")), rest = text, line;
    bool complete;
    assert_true(span_next_line(&rest, &line, &complete));
    assert_span(line, TEXT("one"));
    assert_true(complete);
    assert_true(span_next_line(&rest, &line, &complete));
    assert_span(line, TEXT(""));
    assert_true(span_next_line(&rest, &line, &complete));
    assert_span(line, TEXT("last"));
    assert_false(complete);
    assert_false(span_next_line(&rest, &line, &complete));
    exact_free(text);
    rest = span_make(NULL, 0);
    assert_false(span_next_line(&rest, &line, &complete));
}

static void cuts_at_a_character(void **state)
{
    (void)state;
    struct span rest;
    assert_span(span_until(TEXT("a:b:c"), ':', &rest), TEXT("a"));
    assert_span(rest, TEXT("b:c"));
    assert_span(span_until(TEXT("abc"), ':', &rest), TEXT("abc"));
    assert_span(rest, TEXT(""));
    assert_span(span_until(TEXT("abc:"), ':', NULL), TEXT("abc"));
    assert_span(span_until(span_make(NULL, 0), ':', &rest), TEXT(""));
}

static void reads_numbers(void **state)
{
    (void)state;
    uint64_t value;
    assert_true(span_to_u64(TEXT("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    assert_true(span_to_u64(TEXT("009"), &value));
    assert_int_equal(value, 9);
    assert_false(span_to_u64(TEXT("18446744073709551616"), &value));
    assert_false(span_to_u64(TEXT(""), &value));
    assert_false(span_to_u64(TEXT("-1"), &value));
    assert_false(span_to_u64(TEXT("+1"), &value));
    assert_false(span_to_u64(TEXT(" 1"), &value));
    assert_false(span_to_u64(TEXT("1\0"), &value));
}

/* Against the C library itself. */
static void scans_like_scanf(void **state)
{
    (void)state;
    static const char *const texts[] = {"12",
                                        "  12x",
                                        "+12",
                                        "-12 5",
                                        "\t\n\v\f\r9",
                                        "",
                                        "-",
                                        "+ 1",
                                        "x",
                                        "--1",
                                        "007",
                                        "- 1",
                                        "-0",
                                        "18446744073709551615",
                                        "18446744073709551616",
                                        "999999999999999999999999999",
                                        "-99999999999999999999999"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        unsigned long expected = 0;
        uint64_t value = 0;
        int used = 0;
        struct span copy = exact(span_of(texts[i])), rest = copy;
        bool found = sscanf(texts[i], "%lu%n", &expected, &used) == 1;
        assert_int_equal(span_scan_u64(&rest, &value), found);
        if (found) {
            assert_true(value == expected);
            assert_int_equal(copy.len - rest.len, used);
        } else {
            assert_int_equal(rest.len, copy.len);
        }
        exact_free(copy);
    }
}

struct pair {
    int key, place;
};

static int compare_keys(const void *a, const void *b)
{
    return ((const struct pair *)a)->key - ((const struct pair *)b)->key;
}

static int compare_at_random(const void *a, const void *b)
{
    (void)a;
    (void)b;
    return (int)chance(3) - 1;
}

static void sorts_and_keeps_equals_in_order(void **state)
{
    (void)state;
    struct pair pairs[300];
    chance_start("sort");
    for (size_t round = 0; round < 200; round++) {
        size_t count = chance(300);
        for (size_t i = 0; i < count; i++)
            pairs[i] = (struct pair){(int)chance(40), (int)i};
        assert_int_equal(sort_stable(pairs, count, sizeof(pairs[0]), compare_keys), 0);
        for (size_t i = 1; i < count; i++)
            assert_true(pairs[i - 1].key < pairs[i].key ||
                        (pairs[i - 1].key == pairs[i].key && pairs[i - 1].place < pairs[i].place));
    }
}

static void survives_an_order_without_sense(void **state)
{
    (void)state;
    struct pair pairs[300];
    int seen[300] = {0};
    for (int i = 0; i < 300; i++)
        pairs[i] = (struct pair){0, i};
    assert_int_equal(sort_stable(pairs, 300, sizeof(pairs[0]), compare_at_random), 0);
    for (int i = 0; i < 300; i++)
        seen[pairs[i].place]++;
    for (int i = 0; i < 300; i++)
        assert_int_equal(seen[i], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares),
        cmocka_unit_test(cuts_lines),
        cmocka_unit_test(cuts_at_a_character),
        cmocka_unit_test(reads_numbers),
        cmocka_unit_test(scans_like_scanf),
        cmocka_unit_test(sorts_and_keeps_equals_in_order),
        cmocka_unit_test(survives_an_order_without_sense),
    };
    return cmocka_run_group_tests_name("span", tests, NULL, NULL);
}
