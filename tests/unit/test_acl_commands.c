/* fs/bridge/acl_map, one SETACL after the other: whatever Dovecot's clients say, and in whatever
 * order, Courier gives nobody more than a Dovecot without us would after the same commands. */
#include "acl_rules.h"

#include "bridge/acl_map.h"

#define PATH "example.org/ann/Maildir/.A"
#define DEFAULT "owner aceilrstwx\nadministrators aceilrstwx\n"
#define LETTERS ((unsigned)(DOVECOT_ACL_LOOKUP | DOVECOT_ACL_READ | DOVECOT_ACL_WRITE))
#define COMMANDS 9

enum mode { REPLACE, ADD, REMOVE, DELETE };

struct command {
    enum dovecot_acl_kind kind;
    const char *name;
    bool negative;
    enum mode mode;
    unsigned rights;
};

static struct command random_command(void)
{
    static const struct command whom[] = {
        {.kind = DOVECOT_ACL_ANYONE, .name = ""},
        {.kind = DOVECOT_ACL_OWNER, .name = ""},
        {.kind = DOVECOT_ACL_USER, .name = "bob"},
        {.kind = DOVECOT_ACL_USER, .name = "cem"},
        {.kind = DOVECOT_ACL_GROUP, .name = "g"},
        {.kind = DOVECOT_ACL_GROUP, .name = "h"},
        {.kind = DOVECOT_ACL_GROUP_OVERRIDE, .name = "g"},
    };
    struct command command = whom[chance(sizeof(whom) / sizeof(whom[0]))];
    command.negative = command.kind == DOVECOT_ACL_GROUP_OVERRIDE || chance(3) == 0;
    command.mode = (enum mode)chance(DELETE + 1);
    command.rights = (unsigned)chance(LETTERS + 1) & LETTERS;
    return command;
}

static void describe(const struct command *command, struct buf *out)
{
    static const char *const modes[] = {"", "+", "-", "DELETE "};
    buf_printf(out, "%s%s%s%s", modes[command->mode], command->negative ? "-" : "",
               command->kind == DOVECOT_ACL_ANYONE           ? "anyone"
               : command->kind == DOVECOT_ACL_OWNER          ? "owner"
               : command->kind == DOVECOT_ACL_GROUP          ? "$"
               : command->kind == DOVECOT_ACL_GROUP_OVERRIDE ? "!$"
                                                             : "",
               command->name);
    buf_add_char(out, ' ');
    for (unsigned i = 0; DOVECOT_ACL_LETTERS[i] != '\0'; i++) {
        if ((command->rights & 1U << i) != 0)
            buf_add_char(out, DOVECOT_ACL_LETTERS[i]);
    }
    buf_add_string(out, "; ");
}

static bool modify(bool *has, unsigned *rights, enum mode mode, unsigned said)
{
    bool had = *has;
    unsigned before = *rights;
    switch (mode) {
    case REPLACE:
        *rights = said;
        *has = true;
        break;
    case ADD:
        *rights |= said;
        *has = true;
        break;
    case REMOVE:
        *rights &= ~said;
        break;
    case DELETE:
        *rights = 0;
        *has = false;
        return had;
    }
    return *rights != before;
}

static void make(struct acl *list, enum dovecot_acl_kind kind, struct span name,
                 struct acl_entry **entry_r)
{
    assert_int_equal(acl_get(list, kind, name, entry_r), 0);
}

/* The owner cannot take from himself the right to change the list. */
static unsigned keep_admin(const struct acl *list, const struct command *command)
{
    const struct acl_entry *owner = acl_find(list, DOVECOT_ACL_OWNER, ACL_NO_NAME);
    const struct acl_entry *ann = acl_find(list, DOVECOT_ACL_USER, span_of("ann"));
    bool named = (owner != NULL && owner->has) || (ann != NULL && ann->has);
    switch (command->mode) {
    case REPLACE:
        return command->rights | DOVECOT_ACL_ADMIN;
    case ADD:
        return named ? command->rights : DOVECOT_ACL_ALL;
    case REMOVE:
        return command->rights & ~(unsigned)DOVECOT_ACL_ADMIN;
    case DELETE:
        break;
    }
    return 0;
}

/* What Dovecot makes of its list. False if it does not write it. */
static bool obey(struct acl *list, const struct command *command)
{
    unsigned said = command->rights;
    bool owner = command->kind == DOVECOT_ACL_OWNER ||
                 (command->kind == DOVECOT_ACL_USER && strcmp(command->name, "ann") == 0);
    if (owner && !command->negative)
        said = keep_admin(list, command);
    struct acl_entry *entry;
    make(list, command->kind, span_of(command->name), &entry);
    struct acl_entry changed = *entry;
    bool changes = command->negative
                       ? modify(&changed.has_negative, &changed.not_allowed, command->mode, said)
                       : modify(&changed.has, &changed.rights, command->mode, said);
    if (changes)
        *entry = changed;
    return changes;
}

/* Dovecot with us, and one without. */
struct site {
    struct buf courier; /* the file */
    struct acl plain;
    struct buf history;
};

/* As it comes through the mount; false if it was refused. */
static bool command_mount(struct site *site, const struct command *command)
{
    ACL_AUTO courier = {.entries = NULL};
    ACL_AUTO shown = {.entries = NULL};
    ACL_AUTO edited = {.entries = NULL};
    ACL_AUTO after = {.entries = NULL};
    ACL_AUTO wanted = {.entries = NULL};
    ACL_AUTO changed = {.entries = NULL};
    BUF_AUTO written = BUF_EMPTY;
    BUF_AUTO text = BUF_EMPTY;
    assert_int_equal(acl_read_courier(buf_span(&site->courier), &courier), 0);
    assert_int_equal(acl_present(&courier, PATH, &shown), 0);
    assert_int_equal(acl_copy(&shown, &edited), 0);
    int result = 0;
    if (obey(&edited, command)) {
        assert_int_equal(acl_format_dovecot(&edited, &written), 0);
        assert_int_equal(acl_read_dovecot(buf_span(&written), &after), 0);
        assert_int_equal(acl_words(&courier, PATH, &wanted), 0);
        result = acl_merge(&wanted, &shown, &after);
    } else {
        assert_int_equal(acl_copy(&shown, &wanted), 0);
    }
    if (result == 0)
        result = acl_to_courier(&courier, &wanted, PATH, &changed);
    if (result == -EINVAL)
        return false;
    assert_int_equal(result, 0);
    assert_int_equal(acl_edit_courier(buf_span(&site->courier), &courier, &changed, &text), 0);
    buf_clear(&site->courier);
    buf_add_span(&site->courier, buf_span(&text));
    assert_int_equal(buf_terminate(&site->courier), 0);
    return true;
}

static void tell_of(struct site *site, const char *wrong, size_t person, const struct acl *shown)
{
    buf_add_string(&site->history, "\n\nDovecot alone:\n");
    assert_int_equal(acl_format_dovecot(&site->plain, &site->history), 0);
    buf_add_string(&site->history, "\nCourier:\n");
    buf_add_span(&site->history, buf_span(&site->courier));
    assert_int_equal(buf_terminate(&site->history), 0);
    tell(wrong, person, 0, site->history.data, shown);
}

static void judge(struct site *site)
{
    ACL_AUTO courier = {.entries = NULL};
    ACL_AUTO shown = {.entries = NULL};
    assert_int_equal(acl_read_courier(buf_span(&site->courier), &courier), 0);
    assert_int_equal(acl_present(&courier, PATH, &shown), 0);
    for (size_t i = 0; i < PERSONS; i++) {
        struct person person = person_of(i);
        unsigned always = person.is_owner ? OWNERS : 0;
        unsigned said = dovecot_grants(&site->plain, &person);
        unsigned by_courier = courier_grants(site->courier.data, &person);
        unsigned by_dovecot = dovecot_grants(&shown, &person);
        const char *wrong = NULL;
        if ((by_courier & ~(said | always)) != 0)
            wrong = "Courier gives more";
        else if ((by_dovecot & ~(by_courier | always)) != 0)
            wrong = "Dovecot gives more";
        else if (!person.is_owner && !person.in_g && !person.in_h && by_courier != said)
            wrong = "Courier gives less";
        else if (!person.is_owner && !person.in_g && !person.in_h && by_dovecot != said)
            wrong = "Dovecot gives less";
        if (wrong != NULL)
            tell_of(site, wrong, i, &shown);
    }
}

static void gives_no_more_than_a_dovecot_without_us(void **state)
{
    (void)state;
    chance_start("acl commands");
    for (int round = 0; round < 20000; round++) {
        struct site site = {.plain = {.entries = NULL}};
        buf_add_string(&site.courier, DEFAULT);
        assert_int_equal(buf_terminate(&site.courier), 0);
        for (size_t count = 1 + chance(COMMANDS); count > 0; count--) {
            struct command command = random_command();
            describe(&command, &site.history);
            assert_int_equal(buf_terminate(&site.history), 0);
            if (command_mount(&site, &command))
                obey(&site.plain, &command);
            judge(&site);
        }
        acl_release(&site.plain);
        buf_release(&site.courier);
        buf_release(&site.history);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_no_more_than_a_dovecot_without_us),
    };
    return cmocka_run_group_tests_name("acl commands", tests, NULL, NULL);
}
