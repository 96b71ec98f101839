/* fs/base/buf. */
#include "testing.h"

static void grows(void **state)
{
    (void)state;
    BUF_AUTO b = BUF_EMPTY;
    assert_int_equal(buf_span(&b).len, 0);
    buf_add(&b, NULL, 0);
    assert_null(b.data);
    for (int i = 0; i < 10000; i++)
        buf_add_char(&b, (char)('a' + i % 26));
    assert_int_equal(b.len, 10000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(b.data[i], 'a' + i % 26);
    assert_int_equal(buf_error(&b), 0);
}

static void takes_all_kinds(void **state)
{
    (void)state;
    BUF_AUTO b = BUF_EMPTY;
    buf_add_string(&b, "one ");
    buf_add_span(&b, TEXT("t\0wo"));
    buf_add_span(&b, span_make(NULL, 0));
    buf_add_number(&b, 0);
    buf_add_number(&b, UINT64_MAX);
    buf_printf(&b, " %d %s", 3, "four");
    buf_printf(&b, "%s", "");
    assert_span(buf_span(&b), TEXT("one t\0wo018446744073709551615 3 four"));
}

static void terminates_without_counting(void **state)
{
    (void)state;
    BUF_AUTO b = BUF_EMPTY;
    assert_int_equal(buf_terminate(&b), 0);
    assert_string_equal(b.data, "");
    for (int i = 0; i < 200; i++) {
        buf_add_char(&b, 'x');
        assert_int_equal(buf_terminate(&b), 0);
        assert_int_equal(strlen(b.data), b.len);
    }
}

/* A request that cannot be met is to fail as without the sanitizer. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void remembers_failure(void **state)
{
    (void)state;
    BUF_AUTO b = BUF_EMPTY;
    buf_add_string(&b, "kept");
    assert_int_equal(buf_reserve(&b, (size_t)PTRDIFF_MAX + 1), -ENOMEM);
    assert_int_equal(buf_error(&b), -ENOMEM);
    buf_add_string(&b, "ignored");
    buf_printf(&b, "%d", 1);
    assert_int_equal(buf_terminate(&b), -ENOMEM);
    assert_span(buf_span(&b), TEXT("kept"));
    buf_clear(&b);
    assert_int_equal(buf_error(&b), 0);
    buf_add_string(&b, "again");
    assert_span(buf_span(&b), TEXT("again"));
}

static void refuses_an_overflowing_length(void **state)
{
    (void)state;
    BUF_AUTO b = BUF_EMPTY;
    buf_add_string(&b, "kept");
    buf_add(&b, "x", SIZE_MAX - 1);
    assert_int_equal(buf_error(&b), -ENOMEM);
    assert_span(buf_span(&b), TEXT("kept"));
}

static void releases(void **state)
{
    (void)state;
    struct buf b = BUF_EMPTY;
    buf_add_string(&b, "text");
    buf_release(&b);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows),
        cmocka_unit_test(takes_all_kinds),
        cmocka_unit_test(terminates_without_counting),
        cmocka_unit_test(remembers_failure),
        cmocka_unit_test(refuses_an_overflowing_length),
        cmocka_unit_test(releases),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
