/* fs/bridge/acl_map: whoever somebody is, neither server's file gives him more than the other's. */
#include "acl_rules.h"

#include "bridge/acl_map.h"

#define PATH "example.org/ann/Maildir/.A"

static const char *const identifiers[] = {
    "anyone",  "user=bob",      "owner", "group=g",          "user=ann",
    "group=h", "authenticated", "junk",  "group-override=g", "administrators",
};

static void add_random_lines(struct buf *out, const char *letters, size_t kinds)
{
    for (size_t i = 0; i < kinds; i++) {
        for (int negative = 0; negative < 2; negative++) {
            if (chance(negative ? 4 : 2) != 0)
                continue;
            buf_printf(out, "%s%s ", negative ? "-" : "", identifiers[i]);
            for (const char *c = letters; *c != '\0'; c++) {
                if (chance(2) == 0)
                    buf_add_char(out, *c);
            }
            buf_add_char(out, '\n');
        }
    }
}

/* Dovecot's lines likewise, those that are not refused. */
static void random_dovecot(struct acl *acl)
{
    *acl = (struct acl){.entries = NULL};
    BUF_AUTO text = BUF_EMPTY;
    add_random_lines(&text, "lrwp", 6);
    if (chance(8) == 0)
        buf_add_string(&text, "-group-override=g w\n");
    /* Names point into the text: take those that live as long as the program. */
    ACL_AUTO read = {.entries = NULL};
    assert_int_equal(acl_read_dovecot(buf_span(&text), &read), 0);
    for (size_t i = 0; i < read.count; i++) {
        static const char *const names[] = {"", "ann", "bob", "g", "h"};
        for (size_t n = 0; n < 5; n++) {
            struct acl_entry *entry;
            if (!span_equals(read.entries[i].name, names[n]))
                continue;
            assert_int_equal(acl_get(acl, read.entries[i].kind, span_of(names[n]), &entry), 0);
            struct span name = entry->name;
            *entry = read.entries[i];
            entry->name = name;
            if (entry->kind == DOVECOT_ACL_ANYONE)
                acl_set_not_allowed(entry, 0);
        }
    }
}

/* What Dovecot is shown gives nobody more than Courier does; its own `p` for the owner aside. */
static void shows_no_more(void **state)
{
    (void)state;
    chance_start("acl shown");
    for (int round = 0; round < 30000; round++) {
        BUF_AUTO text = BUF_EMPTY;
        add_random_lines(&text, "lrwcap", 10);
        assert_int_equal(buf_terminate(&text), 0);
        ACL_AUTO courier = {.entries = NULL};
        ACL_AUTO shown = {.entries = NULL};
        const char *terminated = text.data == NULL ? "" : text.data;
        assert_int_equal(acl_read_courier(span_of(terminated), &courier), 0);
        assert_int_equal(acl_present(&courier, PATH, &shown), 0);
        for (size_t i = 0; i < PERSONS; i++) {
            struct person person = person_of(i);
            unsigned may = courier_grants(terminated, &person);
            may |= person.is_owner ? DOVECOT_ACL_POST : 0;
            unsigned more = dovecot_grants(&shown, &person) & ~may;
            if (more != 0)
                tell("shown", i, more, terminated, &shown);
        }
    }
}

/* Applies Dovecot's change to Courier's text. */
static void record(const char *text, const struct acl *before, const struct acl *after,
                   struct acl *wanted, struct buf *out)
{
    ACL_AUTO courier = {.entries = NULL};
    ACL_AUTO changed = {.entries = NULL};
    assert_int_equal(acl_read_courier(span_of(text), &courier), 0);
    assert_int_equal(acl_words(&courier, PATH, wanted), 0);
    assert_int_equal(acl_merge(wanted, before, after), 0);
    assert_int_equal(acl_to_courier(&courier, wanted, PATH, &changed), 0);
    assert_int_equal(acl_edit_courier(span_of(text), &courier, &changed, out), 0);
    assert_int_equal(buf_terminate(out), 0);
}

#define DEFAULT "owner aceilrstwx\nadministrators aceilrstwx\n"

/* A first Dovecot file gives nobody more under Courier; what is always the owner's aside. */
static void records_no_more(void **state)
{
    (void)state;
    chance_start("acl recorded");
    for (int round = 0; round < 30000; round++) {
        ACL_AUTO none = {.entries = NULL};
        ACL_AUTO written = {.entries = NULL};
        ACL_AUTO wanted = {.entries = NULL};
        BUF_AUTO text = BUF_EMPTY;
        random_dovecot(&written);
        record(DEFAULT, &none, &written, &wanted, &text);
        for (size_t i = 0; i < PERSONS; i++) {
            struct person person = person_of(i);
            unsigned may = dovecot_grants(&wanted, &person);
            may |= person.is_owner ? OWNERS : 0;
            unsigned more = courier_grants(text.data, &person) & ~may;
            if (more != 0)
                tell("recorded", i, more, text.data, &wanted);
        }
        assert_non_null(strstr(text.data, "administrators aceilrstwx\n"));
    }
}

/* A change to any file of Courier's gives nobody what neither he had nor Dovecot's file says. */
static void changes_no_more(void **state)
{
    (void)state;
    chance_start("acl changed");
    for (int round = 0; round < 30000; round++) {
        BUF_AUTO before = BUF_EMPTY;
        BUF_AUTO text = BUF_EMPTY;
        add_random_lines(&before, "lrw", 10);
        assert_int_equal(buf_terminate(&before), 0);
        const char *terminated = before.data == NULL ? "" : before.data;
        ACL_AUTO courier = {.entries = NULL};
        ACL_AUTO shown = {.entries = NULL};
        ACL_AUTO written = {.entries = NULL};
        ACL_AUTO wanted = {.entries = NULL};
        assert_int_equal(acl_read_courier(span_of(terminated), &courier), 0);
        assert_int_equal(acl_present(&courier, PATH, &shown), 0);
        random_dovecot(&written);
        record(terminated, &shown, &written, &wanted, &text);
        for (size_t i = 0; i < PERSONS; i++) {
            struct person person = person_of(i);
            unsigned may = dovecot_grants(&wanted, &person) | courier_grants(terminated, &person);
            may |= person.is_owner ? OWNERS : 0;
            unsigned more = courier_grants(text.data, &person) & ~may;
            if (more != 0)
                tell(terminated, i, more, text.data, &wanted);
        }
    }
}

/* Byte for byte. */
static void keeps_what_nobody_changed(void **state)
{
    (void)state;
    chance_start("acl kept");
    for (int round = 0; round < 10000; round++) {
        BUF_AUTO before = BUF_EMPTY;
        BUF_AUTO text = BUF_EMPTY;
        ACL_AUTO courier = {.entries = NULL};
        ACL_AUTO shown = {.entries = NULL};
        ACL_AUTO wanted = {.entries = NULL};
        add_random_lines(&before, "lrwap9", 10);
        assert_int_equal(buf_terminate(&before), 0);
        const char *terminated = before.data == NULL ? "" : before.data;
        assert_int_equal(acl_read_courier(span_of(terminated), &courier), 0);
        assert_int_equal(acl_present(&courier, PATH, &shown), 0);
        record(terminated, &shown, &shown, &wanted, &text);
        assert_string_equal(text.data, terminated);
    }
}

static void assert_recorded(const char *text, const char *written, const char *expected)
{
    ACL_AUTO courier = {.entries = NULL};
    ACL_AUTO shown = {.entries = NULL};
    ACL_AUTO after = {.entries = NULL};
    ACL_AUTO wanted = {.entries = NULL};
    BUF_AUTO out = BUF_EMPTY;
    assert_int_equal(acl_read_courier(span_of(text), &courier), 0);
    assert_int_equal(acl_present(&courier, PATH, &shown), 0);
    assert_int_equal(acl_read_dovecot(span_of(written), &after), 0);
    record(text, &shown, &after, &wanted, &out);
    assert_string_equal(out.data, expected);
}

static void assert_shown(const char *text, const char *expected)
{
    ACL_AUTO courier = {.entries = NULL};
    ACL_AUTO shown = {.entries = NULL};
    BUF_AUTO out = BUF_EMPTY;
    assert_int_equal(acl_read_courier(span_of(text), &courier), 0);
    assert_int_equal(acl_present(&courier, PATH, &shown), 0);
    assert_int_equal(acl_format_dovecot(&shown, &out), 0);
    assert_span(buf_span(&out), span_of(expected));
}

#define OWNER "owner lrwstipekxa\n"

static void shows_the_usual(void **state)
{
    (void)state;
    assert_shown(DEFAULT "user=bob lrs\n-user=eve w\n", OWNER "user=bob lrs\n-user=eve w\n");
    assert_shown("owner alr\nanyone lr\nuser=bob c\n-user=bob r\n",
                 "anyone lr\nowner lrpa\nuser=bob lk\n-user=bob r\n");
    assert_shown("owner alr\nanyone l\nuser=bob rs\n-user=bob ls\n",
                 "anyone l\nowner lrpa\nuser=bob rs\n-user=bob ls\n");
    assert_shown(DEFAULT "group=g w\nanonymous l\nanyone r\nauthenticated lrw\n",
                 "anyone lr\ngroup=g lrw\n" OWNER);
    assert_shown(DEFAULT "-group=g w\nuser=bob lw\n-user=eve r\n",
                 OWNER "user=bob lw\n-user=eve r\n-group-override=g rw\n");
    assert_shown("anyone lr\nanonymous w\nanonymous s\nanyone l\n", "anyone ls\nowner lspa\n");
    assert_shown("junk\ngroup=administrators l\n-administrators a\n", "owner pa\n");
}

static void records_the_usual(void **state)
{
    (void)state;
    assert_recorded(DEFAULT, OWNER "user=bob lrs\n", DEFAULT "user=bob lrs\n");
    assert_recorded(DEFAULT "user=bob lrs\n", OWNER, DEFAULT);
    assert_recorded(DEFAULT "user=bob 9lrs\njunk x\n", OWNER "user=bob lrs\n-user=eve w\n",
                    DEFAULT "user=bob 9lrs\njunk x\n-user=eve w\n");
    /* Not what anyone may. */
    assert_recorded(DEFAULT "anyone lr\n", OWNER "anyone lr\nuser=bob kw\n",
                    DEFAULT "anyone lr\nuser=bob cw\n-user=bob lr\ncourierfs:user=bob lr\n");
    /* What a line said by way of anyone it still says. */
    assert_recorded(DEFAULT "anyone lr\nuser=bob w\n", OWNER "anyone l\nuser=bob lrw\n",
                    DEFAULT "anyone l\nuser=bob rw\n");
    assert_recorded(DEFAULT "anyone lr\nuser=bob w\n", OWNER "anyone lrs\nuser=bob lrw\n",
                    DEFAULT "anyone lrs\nuser=bob w\n-user=bob s\ncourierfs:user=bob s\n");
    /* The owner: not without `l` and `a`, all rights without a line. */
    assert_recorded(DEFAULT, "owner r\n", "owner alr\nadministrators aceilrstwx\n");
    assert_recorded("owner alr\n", "user=bob l\n", "owner aceilrstwx\nuser=bob l\n");
    assert_recorded(DEFAULT, OWNER "user=ann@example.org lra\n",
                    DEFAULT "user=ann@example.org alr\n-user=ann@example.org ceistwx\n"
                            "courierfs:user=ann@example.org ceistwx\n");
    /* Courier's `-group` has two names, of which it is shown by the second. */
    assert_recorded(DEFAULT, OWNER "-group=g w\n",
                    DEFAULT "-group=g w\ncourierfs:group=g w\ncourierfs:-group=g w\n");
    assert_recorded(DEFAULT, OWNER "-group-override=g w\n", DEFAULT "-group=g w\n");
    assert_recorded(DEFAULT "-group=g w\n", OWNER "-group-override=g w\n", DEFAULT "-group=g w\n");
    assert_recorded(DEFAULT "-group=g w\n", OWNER "-group=g s\n-group-override=g w\n",
                    DEFAULT "-group=g sw\ncourierfs:group=g s\ncourierfs:-group=g s\n");
    assert_recorded(DEFAULT "-group=g w\n", OWNER, DEFAULT);
    /* Judges, who may not post as anyone may. */
    assert_recorded(DEFAULT "anyone li\n", OWNER "anyone li\ngroup=g lrs\n",
                    DEFAULT "anyone li\ngroup=g lrs\n-group=g i\ncourierfs:group=g i\n");
    assert_recorded(DEFAULT "anyone li\ngroup=g lrs\n-group=g iw\n",
                    "anyone li\ngroup=g lrsi\n" OWNER "-group-override=g iw\n",
                    DEFAULT "anyone li\ngroup=g ilrs\n-group=g iw\n");
}

/* What Dovecot wrote over what it was shown. */
static int record_result(const char *text, const char *written)
{
    ACL_AUTO courier = {.entries = NULL};
    ACL_AUTO shown = {.entries = NULL};
    ACL_AUTO after = {.entries = NULL};
    ACL_AUTO wanted = {.entries = NULL};
    ACL_AUTO changed = {.entries = NULL};
    assert_int_equal(acl_read_courier(span_of(text), &courier), 0);
    assert_int_equal(acl_present(&courier, PATH, &shown), 0);
    assert_int_equal(acl_words(&courier, PATH, &wanted), 0);
    int result = acl_read_dovecot(span_of(written), &after);
    if (result == 0)
        result = acl_merge(&wanted, &shown, &after);
    return result < 0 ? result : acl_to_courier(&courier, &wanted, PATH, &changed);
}

static void refuses_what_courier_has_no_words_for(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "\"user=two words\" l\n",   "user=a\tb l\n",
        "group=administrators l\n", "-group-override=administrators l\n",
        "authenticated l\n",        "-authenticated l\n",
        "group-override=g l\n",     "-anyone l\n",
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_int_equal(record_result(DEFAULT, refused[i]), -EINVAL);
    assert_int_equal(record_result(DEFAULT "-anyone lr\n", OWNER "-owner lr\n-anyone l\n"), 0);
    BUF_AUTO many = BUF_EMPTY;
    for (int i = 0; i < 2000; i++)
        buf_printf(&many, "user=u%d l\n", i);
    ACL_AUTO courier = {.entries = NULL};
    assert_int_equal(acl_read_courier(buf_span(&many), &courier), -EFBIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_the_usual),
        cmocka_unit_test(records_the_usual),
        cmocka_unit_test(refuses_what_courier_has_no_words_for),
        cmocka_unit_test(shows_no_more),
        cmocka_unit_test(records_no_more),
        cmocka_unit_test(changes_no_more),
        cmocka_unit_test(keeps_what_nobody_changed),
    };
    return cmocka_run_group_tests_name("acl map", tests, NULL, NULL);
}
