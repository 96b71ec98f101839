/* fs/courier/userdb, fs/dovecot/passwd_file and the way between them, fs/bridge/mail_user. */
#include "testing.h"

#include "bridge/mail_user.h"
#include "courier/userdb.h"
#include "dovecot/passwd_file.h"

static void reads_accounts(void **state)
{
    (void)state;
    struct heard heard = {.count = 0};
    struct span text = exact(TEXT("# joe\tuid=1\n\njoe\tuid=5|gid=6\nno tab here\n\tuid=5\n"
                                  "5000=\tjoe\nann\t\nlast\tuid=7\n.\nnever\tuid=8\n"));
    struct span rest = text;
    struct userdb_account account;
    unsigned line = 0;
    static const struct {
        const char *name, *fields;
        unsigned line;
    } expected[] = {{"joe", "uid=5|gid=6", 3}, {"ann", "", 7}, {"last", "uid=7", 8}};
    for (size_t i = 0; i < 3; i++) {
        assert_true(userdb_next(&rest, &line, LISTENER(&heard), &account));
        assert_span(account.name, span_of(expected[i].name));
        assert_span(account.fields, span_of(expected[i].fields));
        assert_int_equal(account.line, expected[i].line);
    }
    assert_false(userdb_next(&rest, &line, LISTENER(&heard), &account));
    assert_int_equal(heard.count, 3);
    assert_true(heard_of(&heard, 4, "no TAB"));
    assert_true(heard_of(&heard, 5, "without a name"));
    assert_true(heard_of(&heard, 9, "no further"));
    for (size_t i = 0; i < heard.count; i++)
        assert_int_equal(heard.said[i].text.len, 0); /* it could be a password */
    exact_free(text);
}

static void finds_fields(void **state)
{
    (void)state;
    struct span fields = TEXT("uid=5|systempw|systempw=x|uid=6|home=/a=b|imappw="), value;
    assert_true(userdb_field(fields, "uid", &value));
    assert_span(value, TEXT("5"));
    assert_true(userdb_field(fields, "systempw", &value));
    assert_span(value, TEXT("x"));
    assert_true(userdb_field(fields, "home", &value));
    assert_span(value, TEXT("/a=b"));
    assert_true(userdb_field(fields, "imappw", &value));
    assert_span(value, TEXT(""));
    assert_false(userdb_field(fields, "pop3pw", &value));
}

static void reads_options(void **state)
{
    (void)state;
    struct span options =
        TEXT("disableimap=1,disablepop3=0,,wbnochangepass,disableshared=yes,x=no");
    assert_true(userdb_option(options, "disableimap"));
    assert_false(userdb_option(options, "disablepop3"));
    assert_true(userdb_option(options, "wbnochangepass"));
    assert_true(userdb_option(options, "disableshared"));
    assert_false(userdb_option(options, "x"));
    assert_false(userdb_option(options, "other"));
    BUF_AUTO merged = BUF_EMPTY;
    userdb_merge_options(TEXT("disableimap=0"), TEXT("disableimap=1,disablepop3=1"), &merged);
    assert_span(buf_span(&merged), TEXT("disableimap=0,disablepop3=1"));
}

static void reads_quotas(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool right;
        uint64_t bytes, messages;
    } cases[] = {
        {"10000000S,1000C", true, 10000000, 1000},
        {"1000C", true, 0, 1000},
        {"5S6S", true, 6, 0},
        {"10000000", true, 0, 0},
        {"", true, 0, 0},
        {"S,C", true, 0, 0},
        {"9223372036854775807S", true, INT64_MAX, 0},
        {"9223372036854775808S", false, 0, 0},
        {"99999999999999999999999S", false, 0, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct userdb_quota quota;
        assert_int_equal(userdb_quota(span_of(cases[i].text), &quota), cases[i].right);
        if (cases[i].right) {
            assert_int_equal(quota.bytes, cases[i].bytes);
            assert_int_equal(quota.messages, cases[i].messages);
        }
    }
}

/* ---- as Dovecot sees it ---- */

#define HASH "$1$lY6sU8P/$zfhb.PJhxR9rxEPPSZsIx/"
#define CRAM "9f327e249f327e249f327e249f327e249f327e249f327e249f327e249f327e24"
#define BASE "uid=5|gid=6|home=/m/a|"

static const struct mail_user_settings imap = {.service = MAIL_USER_IMAP},
                                       pop3 = {.service = MAIL_USER_POP3},
                                       both = {.service = MAIL_USER_EVERY_SERVICE},
                                       cram = {.service = MAIL_USER_IMAP, .prefer_cram_md5 = true};

static void assert_becomes(const struct mail_user_settings *settings, const char *fields,
                           const char *expected)
{
    struct heard heard = {.count = 0};
    BUF_AUTO out = BUF_EMPTY;
    const struct userdb_account account = {TEXT("a@x"), span_of(fields), 1};
    assert_int_equal(mail_user_to_dovecot(settings, &account, TEXT(""), LISTENER(&heard), &out), 0);
    assert_span(buf_span(&out), span_of(expected));
}

static void assert_refused(const struct mail_user_settings *settings, const char *fields,
                           const char *word)
{
    struct heard heard = {.count = 0};
    BUF_AUTO out = BUF_EMPTY;
    const struct userdb_account account = {TEXT("a@x"), span_of(fields), 3};
    assert_int_equal(mail_user_to_dovecot(settings, &account, TEXT(""), LISTENER(&heard), &out),
                     -EINVAL);
    assert_int_equal(out.len, 0);
    assert_true(heard_of(&heard, 3, word));
}

static void chooses_passwords(void **state)
{
    (void)state;
    assert_becomes(&both, BASE "systempw=" HASH, "a@x:{CRYPT}" HASH ":5:6::/m/a::\n");
    assert_becomes(&imap, BASE "systempw=x|imappw=" HASH, "a@x:{CRYPT}" HASH ":5:6::/m/a::\n");
    assert_becomes(&pop3, BASE "systempw=zz|imappw=" HASH, "a@x:{CRYPT}zz:5:6::/m/a::\n");
    assert_becomes(&pop3, BASE "imappw=" HASH, "a@x:{CRYPT}*:5:6::/m/a::\n");
    assert_becomes(&imap, BASE "systempw=zz|imappw=", "a@x:{CRYPT}*:5:6::/m/a::\n");
    assert_becomes(&imap, BASE "hmac-md5pw=" CRAM, "a@x:{CRAM-MD5}" CRAM ":5:6::/m/a::\n");
    assert_becomes(&imap, BASE "systempw=zz|hmac-md5pw=" CRAM, "a@x:{CRYPT}zz:5:6::/m/a::\n");
    assert_becomes(&cram, BASE "systempw=zz|hmac-md5pw=" CRAM,
                   "a@x:{CRAM-MD5}" CRAM ":5:6::/m/a::\n");
    assert_becomes(&imap, BASE "systempw={SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
                   "a@x:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=:5:6::/m/a::\n");
    /* What Courier never took Dovecot must not begin to take. */
    assert_becomes(&imap, BASE "systempw={PLAIN}open", "a@x:{CRYPT}*:5:6::/m/a::\n");
    assert_becomes(&imap, BASE "systempw={SHA}short", "a@x:{CRYPT}*:5:6::/m/a::\n");
    assert_becomes(&imap, BASE "options=disableimap=1|systempw=zz",
                   "# a@x: IMAP is disabled\na@x:{CRYPT}*:5:6::/m/a::\n");
    assert_refused(&both, BASE "systempw=zz|imappw=yy", "--service");
    assert_refused(&both, BASE "options=disablepop3=1|systempw=zz", "--service");
}

static void finds_directories(void **state)
{
    (void)state;
    assert_becomes(&imap, "uid=5|gid=6|home=//m/./a/|mail=Maildir", "a@x:{CRYPT}*:5:6::/m/a::\n");
    assert_becomes(&imap, BASE "mail=/m/a/Maildir/", "a@x:{CRYPT}*:5:6::/m/a::\n");
    assert_becomes(&imap, BASE "mail=Mail%d",
                   "a@x:{CRYPT}*:5:6::/m/a::userdb_mail=maildir:/m/a/Mail%%d\n");
    const struct mail_user_move moves[] = {{TEXT("/m"), TEXT("/srv/mail")}};
    const struct mail_user_settings moved = {.service = MAIL_USER_IMAP,
                                             .moves = moves,
                                             .move_count = 1,
                                             .mail_suffix = TEXT(":INDEX=/i/%u")};
    assert_becomes(&moved, BASE "mail=/m/b",
                   "a@x:{CRYPT}*:5:6::/srv/mail/a::userdb_mail=maildir:/srv/mail/b:INDEX=/i/%u\n");
    assert_becomes(&moved, BASE "mail=/mm/b",
                   "a@x:{CRYPT}*:5:6::/srv/mail/a::userdb_mail=maildir:/mm/b:INDEX=/i/%u\n");
    assert_becomes(
        &moved, BASE "mail=../../etc",
        "a@x:{CRYPT}*:5:6::/srv/mail/a::userdb_mail=maildir:/m/a/../../etc:INDEX=/i/%u\n");
    assert_refused(&imap, "uid=5|gid=6|home=m", "absolute");
    assert_refused(&imap, BASE "mail=/m:x", "':'");
    assert_refused(&imap, BASE "mail=/m x", "blank");
}

static void says_the_rest(void **state)
{
    (void)state;
    assert_becomes(&imap, BASE "quota=10S,2C|options=group=g,group=h|fullname=Ann A",
                   "a@x:{CRYPT}*:5:6:Ann A:/m/a::userdb_quota_rule=*:storage=10B:messages=2 "
                   "userdb_acl_groups=g,h\n");
    assert_becomes(&imap, "gid=6|home=/m/a", ""); /* no account */
    assert_refused(&imap, "uid=0|gid=6|home=/m/a", "uid or gid");
    assert_refused(&imap, "uid=5|gid=6x|home=/m/a", "uid or gid");
    assert_refused(&imap, BASE "systempw=a:0:0", "hash");
    assert_refused(&imap, "uid=5|gid=6|home=/m/a:0:0", "home");
    assert_refused(&imap, BASE "options=group=a b", "groups");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_accounts),    cmocka_unit_test(finds_fields),
        cmocka_unit_test(reads_options),     cmocka_unit_test(reads_quotas),
        cmocka_unit_test(chooses_passwords), cmocka_unit_test(finds_directories),
        cmocka_unit_test(says_the_rest),
    };
    return cmocka_run_group_tests_name("userdb", tests, NULL, NULL);
}
