/* Claims against a uid database: each rule of fs/bridge/record.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "bridge/sources.h"

#define UIDVALIDITY "700000000"

/* A mailbox whose view and uid database come from text; claims are uidlist lines. */
struct bench {
    struct mailbox mailbox;
    struct buf shown;
    struct buf database;
    struct uiddb db;
    struct claims_merged merged;
};

static void set_up(struct bench *bench, const char *database, const char *shown)
{
    memset(bench, 0, sizeof(*bench));
    bench->mailbox.path = strdup("joe/Maildir");
    buf_add_string(&bench->database, database);
    assert_int_equal(uiddb_parse(buf_span(&bench->database), NULL, &bench->db), 0);
    buf_add_string(&bench->shown, shown);
    assert_int_equal(view_init(&bench->mailbox.view, &bench->shown), 0);
}

static void tear_down(struct bench *bench)
{
    view_release(&bench->mailbox.view);
    uiddb_release(&bench->db);
    buf_release(&bench->shown);
    buf_release(&bench->database);
    free(bench->mailbox.path);
}

static void merge(struct bench *bench, const struct uid_claim *claims, size_t count)
{
    assert_int_equal(claims_merge(&bench->mailbox, &bench->db, claims, count, &bench->merged), 0);
}

static struct uid_claim claim(uint32_t uid, const char *base)
{
    return (struct uid_claim){.uid = uid, .base = span_of(base)};
}

static void expect_database(const struct bench *bench, const char *expected)
{
    BUF_AUTO text = BUF_EMPTY;
    uiddb_format(&bench->db, &text);
    assert_int_equal(buf_terminate(&text), 0);
    assert_string_equal(text.data, expected);
}

#define DATABASE "1 " UIDVALIDITY " 10\n3 a\n7 b\n"
#define SHOWN "3 V" UIDVALIDITY " N10 G00112233445566778899aabbccddeeff\n3 :a\n5 :gone\n7 :b\n"

static void test_known(void **state)
{
    (void)state;
    struct bench bench;
    set_up(&bench, DATABASE, SHOWN);
    const struct uid_claim claims[] = {claim(3, "a"), claim(7, "b")};
    merge(&bench, claims, 2);
    assert_int_equal(bench.merged.added + bench.merged.moved + bench.merged.refused, 0);
    expect_database(&bench, DATABASE);
    tear_down(&bench);
}

static void test_new(void **state)
{
    (void)state;
    struct bench bench;
    set_up(&bench, DATABASE, SHOWN);
    const struct uid_claim claims[] = {claim(10, "c"), claim(12, "d")};
    merge(&bench, claims, 2);
    assert_int_equal(bench.merged.added, 2);
    expect_database(&bench, "1 " UIDVALIDITY " 13\n3 a\n7 b\n10 c\n12 d\n");
    tear_down(&bench);
}

static void test_moved(void **state)
{
    (void)state;
    struct bench bench;
    set_up(&bench, DATABASE, SHOWN);
    const struct uid_claim claims[] = {claim(10, "a")};
    merge(&bench, claims, 1);
    assert_int_equal(bench.merged.moved, 1);
    expect_database(&bench, "1 " UIDVALIDITY " 11\n7 b\n10 a\n");
    tear_down(&bench);
}

/* A UID that may have named another message is nobody's. */
static void test_refused(void **state)
{
    (void)state;
    struct bench bench;
    set_up(&bench, DATABASE, SHOWN);
    const struct uid_claim claims[] = {claim(4, "c"), claim(5, "a"), claim(9, "b"),
                                       claim(4294967294U, "d")};
    merge(&bench, claims, 4);
    assert_int_equal(bench.merged.refused, 4);
    expect_database(&bench, DATABASE);
    tear_down(&bench);
}

static void test_dead_line_repeated(void **state)
{
    (void)state;
    struct bench bench;
    set_up(&bench, DATABASE, SHOWN);
    const struct uid_claim claims[] = {claim(3, "a"), claim(5, "gone"), claim(7, "b")};
    merge(&bench, claims, 3);
    assert_int_equal(bench.merged.refused, 0);
    expect_database(&bench, DATABASE);
    tear_down(&bench);
}

/* UIDs given out under this very lock change hands as Dovecot says. */
static void test_exchanged_under_the_lock(void **state)
{
    (void)state;
    struct bench bench;
    set_up(&bench, "1 " UIDVALIDITY " 12\n3 a\n7 b\n10 c\n11 d\n", SHOWN);
    bench.mailbox.lock.first_next = 10;
    const struct uid_claim claims[] = {claim(10, "d"), claim(11, "c")};
    merge(&bench, claims, 2);
    assert_int_equal(bench.merged.moved, 2);
    assert_int_equal(bench.merged.refused, 0);
    expect_database(&bench, "1 " UIDVALIDITY " 12\n3 a\n7 b\n10 d\n11 c\n");
    tear_down(&bench);
}

/* One that loses its UID so gets another; those from before the lock never do. */
static void test_clash_under_the_lock(void **state)
{
    (void)state;
    struct bench bench;
    set_up(&bench, "1 " UIDVALIDITY " 12\n3 a\n7 b\n10 c\n11 d\n", SHOWN);
    bench.mailbox.lock.first_next = 10;
    const struct uid_claim claims[] = {claim(7, "c"), claim(10, "e")};
    merge(&bench, claims, 2);
    assert_int_equal(bench.merged.added, 1);
    assert_int_equal(bench.merged.refused, 1);
    expect_database(&bench, "1 " UIDVALIDITY " 13\n3 a\n7 b\n10 e\n11 d\n12 c\n");
    tear_down(&bench);
}

/* Whatever is claimed: each UID and each base name stays once, and nothing from before NEXTUID
 * changes its message. */
static void test_random_batches(void **state)
{
    (void)state;
    const char *given = getenv("COURIERFS_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("replay with COURIERFS_SEED=%u\n", seed);
    static const char *const bases[] = {"a", "b", "c", "d", "e", "f", "gone"};
    for (int round = 0; round < 2000; round++) {
        struct bench bench;
        set_up(&bench, "1 " UIDVALIDITY " 12\n3 a\n7 b\n10 c\n11 d\n", SHOWN);
        bench.mailbox.lock.first_next = (uint32_t)(rand_r(&seed) % 2 == 0 ? 10 : 12);
        struct uid_claim claims[7];
        size_t count = (size_t)rand_r(&seed) % 7 + 1;
        uint32_t uid = 0;
        for (size_t i = 0; i < count; i++) {
            uid += 1 + (uint32_t)rand_r(&seed) % 5;
            claims[i] = claim(uid, bases[rand_r(&seed) % 7]);
        }
        merge(&bench, claims, count);
        for (size_t i = 0; i < bench.db.count; i++) {
            const struct uiddb_line *line = &bench.db.lines[i];
            assert_true(line->uid < bench.db.uidnext);
            for (size_t j = 0; j < i; j++) {
                assert_true(bench.db.lines[j].uid < line->uid);
                assert_false(span_equal(bench.db.lines[j].base, line->base));
            }
            if (line->uid == 3)
                assert_true(span_equals(line->base, "a"));
            if (line->uid == 7)
                assert_true(span_equals(line->base, "b"));
            assert_true(line->uid == 3 || line->uid == 7 ||
                        line->uid >= bench.mailbox.lock.first_next || line->uid == 10 ||
                        line->uid == 11);
        }
        tear_down(&bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_new),
        cmocka_unit_test(test_moved),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_dead_line_repeated),
        cmocka_unit_test(test_exchanged_under_the_lock),
        cmocka_unit_test(test_clash_under_the_lock),
        cmocka_unit_test(test_random_batches),
    };
    /* What is refused is logged, which is not what is tested here. */
    if (freopen("/dev/null", "w", stderr) == NULL)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
