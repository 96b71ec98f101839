/* ctl/visible: hostile text in reports. */
#include "testing.h"

#include "ctl/visible.h"

typedef void add_fn(struct buf *out, struct span text);

static void assert_shown(add_fn *add, struct span text, const char *expected)
{
    BUF_AUTO out = BUF_EMPTY;
    struct span copy = exact(text);
    add(&out, copy);
    assert_span(buf_span(&out), span_of(expected));
    exact_free(copy);
}

static void terminals(void **state)
{
    (void)state;
    assert_shown(visible_add, TEXT("Entw\xc3\xbcrfe \xe6\x97\xa5 \xf0\x9f\x93\xac"),
                 "Entw\xc3\xbcrfe \xe6\x97\xa5 \xf0\x9f\x93\xac");
    assert_shown(visible_add, TEXT("\x1b[2J\x07\r\n\t\0\x7f"),
                 "\\x1b[2J\\x07\\x0d\\x0a\\x09\\x00\\x7f");
    assert_shown(visible_add, TEXT("a\\x1b"), "a\\\\x1b");
    assert_shown(visible_add, TEXT("\xff\xc3(\xc3"), "\\xff\\xc3(\\xc3");
    assert_shown(visible_add,
                 TEXT("\xc2\x9b"
                      "31m"),
                 "\\xc2\\x9b31m"); /* a CSI of eight bits */
    assert_shown(visible_add,
                 TEXT("\xe2\x80\xae"
                      "cba"),
                 "\\xe2\\x80\\xae"
                 "cba"); /* from right to left */
    assert_shown(visible_add, TEXT("\xef\xbb\xbf\xe2\x80\x8b"), "\\xef\\xbb\\xbf\\xe2\\x80\\x8b");
    assert_shown(visible_add, TEXT(""), "");
}

static void html(void **state)
{
    (void)state;
    assert_shown(visible_add_html, TEXT(".<script>alert(\"1\")</script> & 'x'"),
                 ".&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39;");
    assert_shown(visible_add_html, TEXT("\xff<\x01\xc3\xbc"), "\\xff&lt;\\x01\xc3\xbc");
}

static void json(void **state)
{
    (void)state;
    assert_shown(visible_add_json, TEXT(""), "\"\"");
    assert_shown(visible_add_json, TEXT("a\"b\\c\n\x1b\x7f\xc3\xbc"),
                 "\"a\\\"b\\\\c\\u000a\\u001b\\u007f\xc3\xbc\"");
    assert_shown(visible_add_json, TEXT("\xff\x80\xc2\x85\xe2\x80\xa8"),
                 "\"\\udcff\\udc80\\u0085\\u2028\"");
    assert_shown(visible_add_json, TEXT("\xf3\xa0\x80\x81"), "\"\\udb40\\udc01\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terminals),
        cmocka_unit_test(html),
        cmocka_unit_test(json),
    };
    return cmocka_run_group_tests_name("visible", tests, NULL, NULL);
}
