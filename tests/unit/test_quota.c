/* courier/quota. */
#include "testing.h"

#include "courier/quota.h"

static struct quota_file parse(struct span text, struct heard *heard)
{
    struct quota_file quota;
    struct span copy = exact(text);
    *heard = (struct heard){.count = 0};
    quota_file_parse(copy, LISTENER(heard), &quota);
    exact_free(copy);
    return quota;
}

static void reads_limits_and_sums(void **state)
{
    (void)state;
    struct heard heard;
    struct quota_file quota = parse(TEXT("10000000S,1000C\n"
                                         "         123            1\n"
                                         "         -83           -1\n"
                                         "5 7\n"),
                                    &heard);
    assert_int_equal(heard.count, 0);
    assert_true(quota.limited);
    assert_int_equal(quota.limit_bytes, 10000000);
    assert_int_equal(quota.limit_messages, 1000);
    assert_int_equal(quota.bytes, 45);
    assert_int_equal(quota.messages, 7);
}

static void no_limit_is_fine(void **state)
{
    (void)state;
    struct heard heard;
    static const char *const texts[] = {"", "\n", "0S\n1 1\n", "0S,0C"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_false(parse(span_of(texts[i]), &heard).limited);
        assert_int_equal(heard.count, 0);
    }
    assert_int_equal(parse(TEXT("5C"), &heard).limit_messages, 5);
    assert_int_equal(heard.count, 0);
}

static void complains_of_bad_lines(void **state)
{
    (void)state;
    struct heard heard;
    struct quota_file quota = parse(TEXT("what\n1\nx y\n5 6\n99999999999999999999 1\n"), &heard);
    assert_int_equal(heard.count, 4);
    assert_true(heard_of(&heard, 1, "limit") && heard_of(&heard, 2, "number"));
    assert_true(heard_of(&heard, 3, "number") && heard_of(&heard, 5, "number"));
    assert_int_equal(quota.bytes, 5);
    quota = parse(TEXT("100S,7X\n9223372036854775807 1\n9223372036854775807 1\n"), &heard);
    assert_int_equal(quota.limit_bytes, 100);
    assert_true(heard_of(&heard, 1, "limit") && heard_of(&heard, 3, "number"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_limits_and_sums),
        cmocka_unit_test(no_limit_is_fine),
        cmocka_unit_test(complains_of_bad_lines),
    };
    return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}
