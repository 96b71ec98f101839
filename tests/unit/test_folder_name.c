/* courier/folder_name. */
#include "testing.h"

#include "courier/folder_name.h"

static void tells_encodings_apart(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum folder_encoding encoding;
    } cases[] = {
        {"Sent", FOLDER_ASCII},
        {"to do.x-y", FOLDER_ASCII},
        {"", FOLDER_ASCII},
        {"ctl\x01x", FOLDER_ASCII},
        {"Entw\xc3\xbcrfe", FOLDER_UTF8},
        {"R&D", FOLDER_UTF8},
        {"a&b-c", FOLDER_UTF8},
        {"&", FOLDER_UTF8},
        {"x&-&", FOLDER_UTF8},
        {"&APw", FOLDER_UTF8},
        {"&AGE-", FOLDER_UTF8}, /* "a" needs no encoding */
        {"&APx-", FOLDER_UTF8}, /* bits are left over */
        {"&AP-", FOLDER_UTF8},  /* half a character */
        {"&2Dw-", FOLDER_UTF8}, /* half a pair */
        {"&3Tw-", FOLDER_UTF8}, /* the other half */
        {"&A/w-", FOLDER_UTF8}, /* no digit */
        {"\xc3\xbc&APw-", FOLDER_UTF8},
        {"Entw&APw-rfe", FOLDER_UTF7},
        {"R&-D", FOLDER_UTF7},
        {"&ZeVnLIqe-", FOLDER_UTF7},
        {"&BB8EPgRIBEIEMA-", FOLDER_UTF7},
        {"&2D3c7A-", FOLDER_UTF7}, /* a pair */
        {"&AMU- - &AOU-ngstr&APY-m", FOLDER_UTF7},
        {"&,,0-", FOLDER_UTF7}, /* as Dovecot writes what it cannot read */
        {"bad\xff\xfename", FOLDER_INVALID},
        {"cut\xc3", FOLDER_INVALID},
        {"latin\xfc", FOLDER_INVALID},
        {"\xed\xa0\x80", FOLDER_INVALID},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct span name = exact(span_of(cases[i].name));
        if (folder_encoding(name) != cases[i].encoding)
            fail_msg("'%.*s' is %d", SPAN_FMT(name), folder_encoding(name));
        exact_free(name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tells_encodings_apart)};
    return cmocka_run_group_tests_name("folder_name", tests, NULL, NULL);
}
