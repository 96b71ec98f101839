/* fs/dovecot/acl. */
#include "testing.h"

#include "dovecot/acl.h"

/* EXPECTED is the file as Dovecot would write it, but for the order; NULL: refused. */
static void assert_read_as(struct span text, const char *expected)
{
    struct dovecot_acl acl;
    struct span copy = exact(text);
    BUF_AUTO out = BUF_EMPTY;
    int result = dovecot_acl_parse(copy, &acl);
    assert_int_equal(result, expected != NULL ? 0 : -EINVAL);
    for (size_t i = 0; result == 0 && i < acl.count; i++) {
        assert_true(lies_within(acl.lines[i].name, copy) ||
                    lies_within(acl.lines[i].name, buf_span(&acl.storage)));
        dovecot_acl_format_line(&out, &acl.lines[i]);
    }
    if (result == 0)
        assert_span(buf_span(&out), span_of(expected));
    dovecot_acl_release(&acl);
    exact_free(copy);
}

static void reads_identifiers(void **state)
{
    (void)state;
    assert_read_as(TEXT(""), "");
    assert_read_as(TEXT("owner lr\nanyone l\nauthenticated r\nanonymous s\n"),
                   "owner lr\nanyone l\nauthenticated r\nanyone s\n");
    assert_read_as(TEXT("user=bob l\ngroup=g r\ngroup-override=h s\n-user=bob w\n-anyone x"),
                   "user=bob l\ngroup=g r\ngroup-override=h s\n-user=bob w\n-anyone x\n");
    assert_read_as(TEXT("user= l\nuser=group=x l\n"), "user= l\nuser=group=x l\n");
    assert_read_as(TEXT("\"user=two words\" l\n\"-user=a\\\"b c\\\\\" r\n\"owner\" a\n"),
                   "\"user=two words\" l\n\"-user=a\\\"b c\\\\\" r\nowner a\n");
}

static void reads_rights(void **state)
{
    (void)state;
    assert_read_as(TEXT("# comment\n\nowner akxeilprwts\r\n"), "owner lrwstipekxa\n");
    assert_read_as(TEXT("anyone\nowner \nuser=a  \t l\n"), "anyone \nowner \nuser=a l\n");
    assert_read_as(TEXT("anyone l :read,post  custom write-seen\n"), "anyone lrsp\n");
    assert_read_as(TEXT("anyone l:admin\nowner :\n"), "anyone la\nowner \n");
}

static void refuses_what_dovecot_refuses(void **state)
{
    (void)state;
    assert_read_as(TEXT("bogus lr\n"), NULL);
    assert_read_as(TEXT("owner lr\nanyone lq\n"), NULL);
    assert_read_as(TEXT("anyone lr p\n"), NULL);
    assert_read_as(TEXT("\"user=x lr\n"), NULL);
    assert_read_as(TEXT("\"user=x\"lr\n"), NULL);
    assert_read_as(TEXT("ownerx l\n"), NULL);
    assert_read_as(TEXT(" owner l\n"), NULL);
    assert_read_as(TEXT("administrators l\n"), NULL);
}

static void survives_random_files(void **state)
{
    (void)state;
    static const char *const likely[] = {"owner ", "-user=bob ", "lrw",  "\"group=a b\" ",
                                         ":read ", "anyone ",    "\n",   "\n#",
                                         "\\\"",   "kxa",        "\r\n", "group-override=g "};
    chance_start("dovecot acl");
    for (int round = 0; round < 5000; round++) {
        BUF_AUTO text = BUF_EMPTY;
        BUF_AUTO once = BUF_EMPTY;
        BUF_AUTO twice = BUF_EMPTY;
        struct dovecot_acl acl, again;
        for (size_t i = chance(12); i > 0; i--)
            buf_add_string(&text, likely[chance(12)]);
        chance_damage(&text);
        struct span copy = exact(buf_span(&text));
        if (dovecot_acl_parse(copy, &acl) == 0) {
            for (size_t i = 0; i < acl.count; i++)
                dovecot_acl_format_line(&once, &acl.lines[i]);
            assert_int_equal(dovecot_acl_parse(buf_span(&once), &again), 0);
            assert_int_equal(again.count, acl.count);
            for (size_t i = 0; i < again.count; i++)
                dovecot_acl_format_line(&twice, &again.lines[i]);
            assert_span(buf_span(&twice), buf_span(&once));
            dovecot_acl_release(&again);
        }
        dovecot_acl_release(&acl);
        exact_free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_identifiers),
        cmocka_unit_test(reads_rights),
        cmocka_unit_test(refuses_what_dovecot_refuses),
        cmocka_unit_test(survives_random_files),
    };
    return cmocka_run_group_tests_name("dovecot acl", tests, NULL, NULL);
}
