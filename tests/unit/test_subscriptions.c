/* fs/dovecot/subscriptions. */
#include "testing.h"

#include "dovecot/subscriptions.h"

/* EXPECTED is the file in version 1. */
static void assert_read_as(struct span text, const char *expected)
{
    struct subscriptions subscriptions;
    struct span copy = exact(text);
    BUF_AUTO out = BUF_EMPTY;
    assert_int_equal(subscriptions_parse(copy, &subscriptions), 0);
    for (size_t i = 0; i < subscriptions.count; i++)
        subscriptions_format_name(&out, subscriptions.names[i]);
    assert_span(buf_span(&out), span_of(expected));
    subscriptions_release(&subscriptions);
    assert_null(subscriptions.names);
    exact_free(copy);
}

static void reads_version_1(void **state)
{
    (void)state;
    assert_read_as(TEXT(""), "");
    assert_read_as(TEXT("INBOX\nA.B&AOQ-\nwith space\n"), "INBOX\nA.B&AOQ-\nwith space\n");
    assert_read_as(TEXT("A\r\nB"), "A\nB\n");
    assert_read_as(TEXT("\nA\n\r\nB\n\n"), "A\nB\n");
    assert_read_as(TEXT("A\tB\n"), "A\tB\n");
    assert_read_as(TEXT("a\0b\nA\nx\ry\n"), "A\n");
}

static void reads_version_2(void **state)
{
    (void)state;
    assert_read_as(TEXT("V\t2\n\n"), "");
    assert_read_as(TEXT("V\t2\n\nINBOX\nA\tB\tC\nD"), "INBOX\nA.B.C\nD\n");
    assert_read_as(TEXT("V\t2\n\na\001tb\n\001"
                        "1x\n"),
                   "a\tb\n\001x\n");
    assert_read_as(TEXT("V\t2\n\na\001xb\nc\001\n"), "axb\nc\001\n");
    assert_read_as(TEXT("V\t2\n\na\001"
                        "0b\na\001nb\na\001rb\n\nA\r\n"),
                   "A\n");
}

/* Anything but the exact header is version 1. */
static void tells_versions_apart(void **state)
{
    (void)state;
    assert_read_as(TEXT("V\t2\nA\tB\n"), "V\t2\nA\tB\n");
    assert_read_as(TEXT("V\t2\n"), "V\t2\n");
    assert_read_as(TEXT("V\t3\n\nA\tB\n"), "V\t3\nA\tB\n");
    assert_read_as(TEXT("V"), "V\n");
}

static void survives_random_files(void **state)
{
    (void)state;
    chance_start("subscriptions");
    for (int round = 0; round < 5000; round++) {
        BUF_AUTO text = BUF_EMPTY;
        BUF_AUTO once = BUF_EMPTY;
        BUF_AUTO twice = BUF_EMPTY;
        struct subscriptions subscriptions, again;
        if (chance(2))
            buf_add_string(&text, "V\t2\n\n");
        for (size_t i = chance(10); i > 0; i--)
            buf_printf(&text, "folder%zu\t\001%csub\n", chance(100), "01trnx\t"[chance(7)]);
        chance_damage(&text);
        struct span copy = exact(buf_span(&text));
        assert_int_equal(subscriptions_parse(copy, &subscriptions), 0);
        for (size_t i = 0; i < subscriptions.count; i++) {
            assert_true(lies_within(subscriptions.names[i], copy) ||
                        lies_within(subscriptions.names[i], buf_span(&subscriptions.storage)));
            subscriptions_format_name(&once, subscriptions.names[i]);
        }
        assert_int_equal(subscriptions_parse(buf_span(&once), &again), 0);
        assert_int_equal(again.count, subscriptions.count);
        for (size_t i = 0; i < again.count; i++)
            subscriptions_format_name(&twice, again.names[i]);
        assert_span(buf_span(&twice), buf_span(&once));
        subscriptions_release(&again);
        subscriptions_release(&subscriptions);
        exact_free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_version_1),
        cmocka_unit_test(reads_version_2),
        cmocka_unit_test(tells_versions_apart),
        cmocka_unit_test(survives_random_files),
    };
    return cmocka_run_group_tests_name("subscriptions", tests, NULL, NULL);
}
