#include "bridge/mail_user.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "dovecot/passwd_file.h"

/* MAILDIRPATH in the configuration of Courier's servers. */
#define MAILDIR "Maildir"

struct conversion {
    const struct mail_user_settings *settings;
    const struct userdb_account *account;
    struct span shadow;
    const struct complaints *notes;
    struct buf options;
};

static void note(const struct conversion *job, struct span text, const char *why)
{
    complain(job->notes, job->account->line, text, why);
}

static int refuse(const struct conversion *job, const char *why)
{
    note(job, span_make(NULL, 0), why);
    return -EINVAL;
}

/* ---- passwords ---- */

static const struct service {
    const char *password;
    const char *cram_md5;
    const char *disabled;
    const char *disabled_without_tls;
    const char *comment;
} services[] = {
    [MAIL_USER_IMAP] = {"imappw", "imap-hmac-md5pw", "disableimap", "disableinsecureimap",
                        "IMAP is disabled"},
    [MAIL_USER_POP3] = {"pop3pw", "pop3-hmac-md5pw", "disablepop3", "disableinsecurepop3",
                        "POP3 is disabled"},
};

#define COMMON_PASSWORD "systempw"
#define COMMON_CRAM_MD5 "hmac-md5pw"

/* Courier's kinds of hashes that are not for crypt(3), Dovecot's names for them, and how they are
 * written. */
static const struct scheme {
    const char *prefix;
    const char *dovecot;
    size_t len;
    bool hex;
} schemes[] = {
    {"{MD5}", "LDAP-MD5", 24, false},  {"{MD5RAW}", "PLAIN-MD5", 32, true},
    {"{SHA}", "SHA", 28, false},       {"{SHA256}", "SHA256", 44, false},
    {"{SHA512}", "SHA512", 88, false}, {"{SSHA}", "SSHA", 32, false},
};

#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define BASE64 DIGITS LETTERS "+/="
#define CRAM_MD5_LEN 64

/* What a password is checked with; one without a scheme lets nobody in. */
struct login {
    const char *scheme;
    struct span hash;
};

static bool consists_of(struct span text, const char *characters)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.text[i] == '\0' || strchr(characters, text.text[i]) == NULL)
            return false;
    }
    return true;
}

/* Cuts PREFIX off, in any case. */
static bool cut_prefix(struct span *text, const char *prefix)
{
    size_t len = strlen(prefix);
    if (text->len < len || span_compare_nocase(span_make(text->text, len), span_of(prefix)) != 0)
        return false;
    *text = span_make(text->text + len, text->len - len);
    return true;
}

static struct login read_plain(struct span hash)
{
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        const struct scheme *scheme = &schemes[i];
        if (!cut_prefix(&hash, scheme->prefix))
            continue;
        bool right =
            hash.len == scheme->len && consists_of(hash, scheme->hex ? DIGITS "abcdef" : BASE64);
        return (struct login){right ? scheme->dovecot : NULL, hash};
    }
    cut_prefix(&hash, "{CRYPT}");
    bool right = hash.len > 0 && hash.text[0] != '{';
    return (struct login){right ? "CRYPT" : NULL, hash};
}

static struct login read_cram_md5(struct span hash)
{
    bool right = hash.len == CRAM_MD5_LEN && consists_of(hash, DIGITS "abcdefABCDEF");
    return (struct login){right ? "CRAM-MD5" : NULL, hash};
}

static bool find_password(const struct conversion *job, const char *field, struct span *value_r)
{
    return userdb_field(job->account->fields, field, value_r) ||
           userdb_field(job->shadow, field, value_r);
}

static bool is_disabled(const struct conversion *job, enum mail_user_service which)
{
    return userdb_option(buf_span(&job->options), services[which].disabled);
}

static struct login find_login(const struct conversion *job, enum mail_user_service which)
{
    const struct service *service = &services[which];
    struct span plain, cram;
    struct login login = {.scheme = NULL};
    if (is_disabled(job, which))
        return login;
    bool has_plain = find_password(job, service->password, &plain) ||
                     find_password(job, COMMON_PASSWORD, &plain);
    bool has_cram =
        find_password(job, service->cram_md5, &cram) || find_password(job, COMMON_CRAM_MD5, &cram);
    if (has_cram && (job->settings->prefer_cram_md5 || !has_plain))
        login = read_cram_md5(cram);
    if (has_plain && login.scheme == NULL)
        login = read_plain(plain);
    return login;
}

static bool same_login(const struct login *a, const struct login *b)
{
    if (a->scheme == NULL || b->scheme == NULL)
        return a->scheme == b->scheme;
    return strcmp(a->scheme, b->scheme) == 0 && span_equal(a->hash, b->hash);
}

static bool concerns(const struct conversion *job, enum mail_user_service which)
{
    return job->settings->service == MAIL_USER_EVERY_SERVICE || job->settings->service == which;
}

/* 0 or -EINVAL. */
static int choose_login(const struct conversion *job, struct login *login_r, const char **comment_r)
{
    *comment_r = NULL;
    for (enum mail_user_service which = MAIL_USER_IMAP; which <= MAIL_USER_POP3; which++) {
        if (concerns(job, which) && is_disabled(job, which))
            *comment_r =
                *comment_r == NULL ? services[which].comment : "IMAP and POP3 are disabled";
    }
    if (job->settings->service != MAIL_USER_EVERY_SERVICE) {
        *login_r = find_login(job, job->settings->service);
        return 0;
    }
    *login_r = find_login(job, MAIL_USER_IMAP);
    struct login other = find_login(job, MAIL_USER_POP3);
    if (!same_login(login_r, &other))
        return refuse(job, "its logins to IMAP and POP3 differ (see --service)");
    return 0;
}

/* ---- what goes unsaid ---- */

/* The first of these are used, or belong to the other service's file. */
static void note_password(const struct conversion *job, struct span field, bool cram_md5_used)
{
    for (size_t i = MAIL_USER_IMAP; i <= MAIL_USER_POP3; i++) {
        if (span_equals(field, services[i].password))
            return;
        if (span_equals(field, services[i].cram_md5) && !concerns(job, (enum mail_user_service)i))
            return;
    }
    if (span_equals(field, COMMON_PASSWORD))
        return;
    bool cram_md5 = span_equals(field, COMMON_CRAM_MD5) ||
                    span_equals(field, services[MAIL_USER_IMAP].cram_md5) ||
                    span_equals(field, services[MAIL_USER_POP3].cram_md5);
    if (cram_md5 && cram_md5_used)
        return;
    note(job, field, cram_md5 ? "not used (see --cram-md5)" : "a hash without an equivalent");
}

/* Nothing is shown that might be a hash and no name. */
static bool is_name(struct span field)
{
    return field.len <= 32 && consists_of(field, DIGITS "abcdefghijklmnopqrstuvwxyz-");
}

static void note_passwords(const struct conversion *job, struct span fields,
                           const struct login *login)
{
    struct span name, value;
    bool has_value;
    bool cram_md5_used = login->scheme != NULL && strcmp(login->scheme, "CRAM-MD5") == 0;
    while (userdb_next_field(&fields, &name, &value, &has_value)) {
        if (has_value && userdb_is_password(name) && is_name(name))
            note_password(job, name, cram_md5_used);
    }
}

/* What the options mean is told elsewhere, or nothing to anybody but sqwebmail. */
static bool has_equivalent(const struct conversion *job, struct span option)
{
    for (size_t i = MAIL_USER_IMAP; i <= MAIL_USER_POP3; i++) {
        if (span_equals(option, services[i].disabled))
            return true;
        if (span_equals(option, services[i].disabled_without_tls) &&
            !concerns(job, (enum mail_user_service)i))
            return true;
    }
    return span_equals(option, "group") || span_starts(option, "wb");
}

static void note_options(const struct conversion *job)
{
    struct span rest = buf_span(&job->options), word, value;
    while (userdb_next_option(&rest, &word, &value)) {
        if (!has_equivalent(job, word) && !span_equals(value, "0"))
            note(job, word, "an option without an equivalent");
    }
}

/* Names that nobody can log in with as Dovecot is delivered: its settings forbid other characters,
 * and look for a name in lower case. */
static void note_name(const struct conversion *job)
{
    struct span name = job->account->name;
    bool has_capitals = false;
    for (size_t i = 0; i < name.len; i++)
        has_capitals = has_capitals || (name.text[i] >= 'A' && name.text[i] <= 'Z');
    if (has_capitals)
        note(job, span_make(NULL, 0), "its name has capitals (Dovecot: auth_username_format = %u)");
    if (!consists_of(name, DIGITS LETTERS ".-_@"))
        note(job, span_make(NULL, 0), "its name needs Dovecot's auth_username_chars");
}

/* ---- directories ---- */

void mail_user_tidy_path(struct span path, struct buf *out)
{
    while (path.len > 0) {
        struct span part = span_until(path, '/', &path);
        if (part.len == 0 || span_equals(part, "."))
            continue;
        buf_add_char(out, '/');
        buf_add_span(out, part);
    }
}

static bool goes_up(struct span path)
{
    while (path.len > 0) {
        if (span_equals(span_until(path, '/', &path), ".."))
            return true;
    }
    return false;
}

static bool lies_below(struct span path, struct span directory)
{
    return path.len >= directory.len &&
           span_equal(span_make(path.text, directory.len), directory) &&
           (path.len == directory.len || path.text[directory.len] == '/');
}

/* Appends the tidy PATH as Dovecot knows it. Whether a move was found for it; one that goes up may
 * end anywhere, so there is none. */
static bool move(const struct mail_user_settings *settings, struct span path, struct buf *out)
{
    for (size_t i = 0; i < settings->move_count && !goes_up(path); i++) {
        const struct mail_user_move *change = &settings->moves[i];
        if (!lies_below(path, change->from))
            continue;
        buf_add_span(out, change->to);
        buf_add(out, path.text + change->from.len, path.len - change->from.len);
        return true;
    }
    buf_add_span(out, path);
    return false;
}

/* The home and the mail directory as Dovecot knows them. Of the latter nothing is left where it is
 * the home's Maildir. 0, -EINVAL or -ENOMEM. */
static int find_directories(const struct conversion *job, struct buf *home, struct buf *mail)
{
    BUF_AUTO from_home = BUF_EMPTY;
    BUF_AUTO tidy_home = BUF_EMPTY;
    BUF_AUTO tidy_mail = BUF_EMPTY;
    BUF_AUTO usual = BUF_EMPTY;
    struct span given, below;
    userdb_field(job->account->fields, "home", &given);
    if (!span_starts(given, "/"))
        return refuse(job, "its home is no absolute path");
    if (!userdb_field(job->account->fields, "mail", &below) || below.len == 0)
        below = span_of(MAILDIR);
    if (!span_starts(below, "/"))
        buf_add_span(&from_home, given);
    buf_add_char(&from_home, '/');
    buf_add_span(&from_home, below);
    mail_user_tidy_path(given, &tidy_home);
    mail_user_tidy_path(buf_span(&from_home), &tidy_mail);
    move(job->settings, buf_span(&tidy_home), home);
    if (!move(job->settings, buf_span(&tidy_mail), mail) && job->settings->move_count > 0)
        note(job, span_make(NULL, 0), "its mail directory is where no --replace leads");
    buf_add_span(&usual, buf_span(home));
    buf_add_string(&usual, "/" MAILDIR);
    if (from_home.failed || tidy_home.failed || tidy_mail.failed || mail->failed || usual.failed)
        return -ENOMEM;
    if (span_equal(buf_span(&usual), buf_span(mail)))
        buf_clear(mail);
    if (home->len == 0)
        buf_add_char(home, '/');
    /* It would begin one of Dovecot's own words about the directory. */
    if (span_until(buf_span(mail), ':', NULL).len < mail->len)
        return refuse(job, "a ':' in its mail directory");
    return buf_error(home);
}

/* ---- the rest ---- */

static void find_quota(const struct conversion *job, struct buf *rule)
{
    struct span text;
    struct userdb_quota quota;
    if (!userdb_field(job->account->fields, "quota", &text) || text.len == 0)
        return;
    if (!userdb_quota(text, &quota)) {
        note(job, text, "a quota beyond all bounds: none");
        return;
    }
    if (quota.bytes == 0 && quota.messages == 0) {
        if (!consists_of(text, "0SC,"))
            note(job, text, "a quota without numbers for S or C: none, for Courier neither");
        return;
    }
    buf_add_char(rule, '*');
    if (quota.bytes != 0)
        buf_printf(rule, ":storage=%" PRIu64 "B", quota.bytes);
    if (quota.messages != 0)
        buf_printf(rule, ":messages=%" PRIu64, quota.messages);
}

static void find_groups(const struct conversion *job, struct buf *groups)
{
    struct span rest = buf_span(&job->options), word, value;
    while (userdb_next_option(&rest, &word, &value)) {
        if (!span_equals(word, "group") || value.len == 0)
            continue;
        if (groups->len > 0)
            buf_add_char(groups, ',');
        buf_add_span(groups, value);
    }
}

static bool find_id(const struct conversion *job, const char *field, uint32_t *id_r)
{
    struct span text;
    uint64_t number;
    userdb_field(job->account->fields, field, &text);
    if (!span_to_u64(text, &number) || number == 0 || number >= UINT32_MAX)
        return false;
    *id_r = (uint32_t)number;
    return true;
}

/* Who has no number and home does not exist. */
static bool exists(struct span fields)
{
    struct span value;
    return userdb_field(fields, "uid", &value) && userdb_field(fields, "gid", &value) &&
           userdb_field(fields, "home", &value);
}

struct pieces {
    struct buf home, mail, quota, groups;
};

/* 0, -EINVAL or -ENOMEM. */
static int convert(const struct conversion *job, struct pieces *pieces, struct buf *out)
{
    struct login login = {.scheme = NULL};
    struct passwd_file_account line = {.user = job->account->name};
    if (!find_id(job, "uid", &line.uid) || !find_id(job, "gid", &line.gid))
        return refuse(job, "a uid or gid that is no number above 0");
    int result = find_directories(job, &pieces->home, &pieces->mail);
    if (result == 0)
        result = choose_login(job, &login, &line.comment);
    if (result < 0)
        return result;
    find_quota(job, &pieces->quota);
    find_groups(job, &pieces->groups);
    if (pieces->quota.failed || pieces->groups.failed)
        return -ENOMEM;
    const struct passwd_file_field fields[] = {
        {"userdb_mail=maildir:", buf_span(&pieces->mail), job->settings->mail_suffix},
        {"userdb_quota_rule=", buf_span(&pieces->quota), {NULL, 0}},
        {"userdb_acl_groups=", buf_span(&pieces->groups), {NULL, 0}},
    };
    if (!userdb_field(job->account->fields, "gecos", &line.gecos))
        userdb_field(job->account->fields, "fullname", &line.gecos);
    line.scheme = login.scheme;
    line.hash = login.hash;
    line.home = buf_span(&pieces->home);
    line.fields = fields;
    line.field_count = sizeof(fields) / sizeof(fields[0]);
    const char *why = passwd_file_add(&line, out);
    if (why != NULL)
        return refuse(job, why);
    note_name(job);
    note_passwords(job, job->account->fields, &login);
    note_passwords(job, job->shadow, &login);
    note_options(job);
    return buf_error(out);
}

int mail_user_to_dovecot(const struct mail_user_settings *settings,
                         const struct userdb_account *account, struct span shadow,
                         const struct complaints *notes, struct buf *out)
{
    struct conversion job = {settings, account, shadow, notes, BUF_EMPTY};
    struct pieces pieces = {BUF_EMPTY, BUF_EMPTY, BUF_EMPTY, BUF_EMPTY};
    struct span options;
    if (!exists(account->fields)) {
        note(&job, span_make(NULL, 0), "no uid, gid or home: no account, for Courier neither");
        return 0;
    }
    userdb_field(account->fields, "options", &options);
    userdb_merge_options(options, settings->default_options, &job.options);
    int result = job.options.failed ? -ENOMEM : convert(&job, &pieces, out);
    buf_release(&job.options);
    buf_release(&pieces.home);
    buf_release(&pieces.mail);
    buf_release(&pieces.quota);
    buf_release(&pieces.groups);
    return result;
}
