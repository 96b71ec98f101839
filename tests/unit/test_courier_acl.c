/* fs/courier/acl. */
#include "testing.h"

#include "courier/acl.h"

/* Each line that counts as "IDENTIFIER|RIGHTS,". */
static void assert_read_as(struct span text, const char *expected)
{
    struct span copy = exact(text), rest = copy, identifier, rights;
    BUF_AUTO out = BUF_EMPTY;
    while (courier_acl_next(&rest, &identifier, &rights)) {
        assert_true(lies_within(identifier, copy) && lies_within(rights, copy));
        buf_add_span(&out, identifier);
        buf_add_char(&out, '|');
        buf_add_span(&out, rights);
        buf_add_char(&out, ',');
    }
    assert_span(buf_span(&out), span_of(expected));
    exact_free(copy);
}

static void reads_lines(void **state)
{
    (void)state;
    assert_read_as(TEXT(""), "");
    assert_read_as(TEXT("owner aceilrstwx\n-user=eve w\nanyone lr"),
                   "owner|aceilrstwx,-user=eve|w,anyone|lr,");
    assert_read_as(TEXT("anyone   lr\njunk\nuser=a b c\n"), "anyone|lr,junk|,user=a|b c,");
    assert_read_as(TEXT("\n lr\nuser=\tx lr\n\r\n"), "");
    assert_read_as(TEXT("user=a l\0r\nuser=b\0 x\n"), "user=a|l,user=b|,");
}

static void assert_edited(const char *text, const struct courier_acl_change *changes, size_t count,
                          const char *expected)
{
    BUF_AUTO out = BUF_EMPTY;
    courier_acl_edit(span_of(text), changes, count, &out);
    assert_int_equal(buf_error(&out), 0);
    assert_span(buf_span(&out), span_of(expected));
}

/* Courier's buffer ends within them. */
static void reads_long_lines(void **state)
{
    (void)state;
    BUF_AUTO text = BUF_EMPTY;
    buf_add_string(&text, "-user=bob");
    while (text.len < 8191)
        buf_add_char(&text, ' ');
    buf_add_string(&text, "lr\nanyone l\n");
    assert_read_as(buf_span(&text), "-user=bob|,lr|,anyone|l,");
    const struct courier_acl_change changes[] = {
        {.identifier = TEXT("-user=bob"), .removed = true},
        {.identifier = TEXT("lr"), .rights = courier_acl_rights(TEXT("w"))},
    };
    assert_edited(buf_terminate(&text) == 0 ? text.data : "", changes, 2, "lr w\nanyone l\n");
}

static void reads_rights(void **state)
{
    (void)state;
    assert_int_equal(courier_acl_rights(TEXT("")), 0);
    assert_int_equal(courier_acl_rights(TEXT("acdk9 Z\0\r")), 3);
    assert_int_equal(courier_acl_rights(TEXT(COURIER_ACL_LETTERS)), (1 << 11) - 1);
}

static void edits(void **state)
{
    (void)state;
    const struct courier_acl_change changes[] = {
        {.identifier = TEXT("user=bob"), .rights = courier_acl_rights(TEXT("wrl"))},
        {.identifier = TEXT("-user=bob"), .removed = true},
        {.identifier = TEXT("anyone"), .rights = 0},
    };
    assert_edited("", changes, 3, "user=bob lrw\nanyone \n");
    assert_edited("owner  a9\nuser=bob s\n-user=bob x\n junk\nuser=bob t\nanyone l", changes, 3,
                  "owner  a9\nuser=bob lrw\n junk\nanyone \n");
    assert_edited("owner a", changes, 2, "owner a\nuser=bob lrw\n");
    assert_edited("owner a", changes, 0, "owner a");
    assert_edited("owner a\n-user=bob r", changes + 1, 1, "owner a\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_lines),
        cmocka_unit_test(reads_long_lines),
        cmocka_unit_test(reads_rights),
        cmocka_unit_test(edits),
    };
    return cmocka_run_group_tests_name("courier acl", tests, NULL, NULL);
}
