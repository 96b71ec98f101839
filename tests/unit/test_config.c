/* courier/config. */
#include "testing.h"

#include "courier/config.h"

static void assert_setting(const char *content, enum config_setting setting, const char *value)
{
    struct span text = exact(span_of(content));
    struct span found = TEXT("");
    assert_int_equal(config_find(text, "IMAP_USELOCKS", &found), setting);
    assert_span(found, span_of(value));
    exact_free(text);
}

static void finds_settings(void **state)
{
    (void)state;
    assert_setting("", CONFIG_UNSET, "");
    assert_setting("# IMAP_USELOCKS=1\nIMAP_USELOCKSMITH=1\nX=IMAP_USELOCKS=1\n", CONFIG_UNSET, "");
    assert_setting("IMAP_USELOCKS=1\n", CONFIG_SET, "1");
    assert_setting("IMAP_USELOCKS=1", CONFIG_SET, "1");
    assert_setting("IMAP_USELOCKS=\n", CONFIG_SET, "");
    assert_setting("IMAP_USELOCKS=\"\"\n", CONFIG_SET, "");
    assert_setting("A=1\n  IMAP_USELOCKS=0 # not here\r\nB=2\n", CONFIG_SET, "0");
    assert_setting("IMAP_USELOCKS='a b'\n", CONFIG_SET, "a b");
    assert_setting("export IMAP_USELOCKS=\"1\"\n", CONFIG_SET, "1");
    assert_setting("IMAP_USELOCKS=1\nIMAP_USELOCKS=0\n", CONFIG_SET, "0");
}

static void says_what_it_cannot_read(void **state)
{
    (void)state;
    static const char *const unclear[] = {"IMAP_USELOCKS=$LOCKS",     "IMAP_USELOCKS=\"$LOCKS\"",
                                          "IMAP_USELOCKS=`cat x`",    "IMAP_USELOCKS=\"1",
                                          "IMAP_USELOCKS='1",         "IMAP_USELOCKS=1 imapd",
                                          "IMAP_USELOCKS=\"1\"\"0\"", "IMAP_USELOCKS=1;x"};
    for (size_t i = 0; i < sizeof(unclear) / sizeof(unclear[0]); i++)
        assert_setting(unclear[i], CONFIG_UNCLEAR, unclear[i]);
    assert_setting("IMAP_USELOCKS=$X\nIMAP_USELOCKS=1\n", CONFIG_SET, "1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_settings),
        cmocka_unit_test(says_what_it_cannot_read),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
