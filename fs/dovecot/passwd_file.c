#include "dovecot/passwd_file.h"

#include <inttypes.h>

/* What crypt(3) makes of no password. */
#define LOCKED "{CRYPT}*"

enum allowed { ALLOW_NEITHER = 0, ALLOW_BLANK = 1, ALLOW_COLON = 2 };

static bool can_hold(struct span text, unsigned allowed)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.text[i];
        if (c < ' ' || c == 0x7f || (c == ' ' && (allowed & ALLOW_BLANK) == 0) ||
            (c == ':' && (allowed & ALLOW_COLON) == 0))
            return false;
    }
    return true;
}

static const char *check_fields(const struct passwd_file_account *account)
{
    for (size_t i = 0; i < account->field_count; i++) {
        const struct passwd_file_field *field = &account->fields[i];
        if (!can_hold(field->value, ALLOW_COLON) || !can_hold(field->template, ALLOW_COLON))
            return "a blank or control character in its mail directory or groups";
    }
    return NULL;
}

static bool is_id(uint32_t id)
{
    return id != 0 && id != UINT32_MAX;
}

static bool is_chroot(struct span home)
{
    for (size_t i = 0; i + 3 <= home.len; i++) {
        if (span_starts(span_make(home.text + i, home.len - i), "/./"))
            return true;
    }
    return false;
}

static const char *check(const struct passwd_file_account *account)
{
    if (account->user.len == 0 || account->user.text[0] == '#' ||
        !can_hold(account->user, ALLOW_NEITHER))
        return "a name that Dovecot's file cannot hold";
    if (!can_hold(account->hash, ALLOW_NEITHER))
        return "a ':', blank or control character in its password hash";
    if (!is_id(account->uid) || !is_id(account->gid))
        return "a uid or gid that Dovecot does not take";
    if (account->home.len == 0 || account->home.text[0] != '/')
        return "a home that is no absolute path";
    if (!can_hold(account->home, ALLOW_BLANK))
        return "a ':' or control character in its home";
    if (is_chroot(account->home))
        return "\"/./\" in its home, which Dovecot takes for a chroot";
    return check_fields(account);
}

static void add_field(const struct passwd_file_field *field, bool first, struct buf *out)
{
    if (!first)
        buf_add_char(out, ' ');
    buf_add_string(out, field->prefix);
    for (size_t i = 0; i < field->value.len; i++) {
        if (field->value.text[i] == '%')
            buf_add_char(out, '%');
        buf_add_char(out, field->value.text[i]);
    }
    buf_add_span(out, field->template);
}

static void add_password(const struct passwd_file_account *account, struct buf *out)
{
    if (account->scheme == NULL) {
        buf_add_string(out, LOCKED);
        return;
    }
    buf_printf(out, "{%s}", account->scheme);
    buf_add_span(out, account->hash);
}

const char *passwd_file_add(const struct passwd_file_account *account, struct buf *out)
{
    const char *why = check(account);
    if (why != NULL)
        return why;
    if (account->comment != NULL) {
        buf_printf(out, "# ");
        buf_add_span(out, account->user);
        buf_printf(out, ": %s\n", account->comment);
    }
    buf_add_span(out, account->user);
    buf_add_char(out, ':');
    add_password(account, out);
    buf_printf(out, ":%" PRIu32 ":%" PRIu32 ":", account->uid, account->gid);
    if (can_hold(account->gecos, ALLOW_BLANK))
        buf_add_span(out, account->gecos);
    buf_add_char(out, ':');
    buf_add_span(out, account->home);
    buf_add_string(out, "::");
    bool first = true;
    for (size_t i = 0; i < account->field_count; i++) {
        if (account->fields[i].value.len == 0)
            continue;
        add_field(&account->fields[i], first, out);
        first = false;
    }
    buf_add_char(out, '\n');
    return NULL;
}
