/* One of Courier's accounts (userdb) as Dovecot shall see it (passwd-file). Pure.
 *
 * What somebody can do with his account is what he could do with Courier, or less: whatever cannot
 * be said in Dovecot's file makes the account one that is refused, and what Dovecot has no word for
 * is told.
 *
 * *Passwords.* Courier compares a plain password with the service's own hash, else with the common
 * one; CRAM-MD5 has a hash besides, made from a password that need not be the same. A line of
 * Dovecot's has room for one. So the file for one service has that service's hash, a file for both
 * has only accounts whose services have the same one, and the settings say which hash is taken when
 * there are both kinds. Dovecot can check a plain password with that for CRAM-MD5, too; so it is
 * also taken when there is no other.
 *
 * Dovecot knows more kinds of hashes than Courier, by the same {PREFIX}. What never matched in Courier
 * must not begin to match: only what Courier knows is taken, in the form in which Courier makes it. An
 * account that cannot log in (a service disabled, no hash) stays in the file without a password:
 * mail is still delivered to it, and every file can serve as the userdb.
 *
 * *The mail directory.* Courier goes to the home and opens `mail` from there, by default Maildir.
 * Dovecot's mail_location can say that (maildir:~/Maildir), so the line says only what differs. */
#pragma once

#include "base/complaint.h"
#include "courier/userdb.h"

enum mail_user_service { MAIL_USER_EVERY_SERVICE, MAIL_USER_IMAP, MAIL_USER_POP3 };

/* A directory that Dovecot knows by another name. Both without a '/' at the end. */
struct mail_user_move {
    struct span from, to;
};

struct mail_user_settings {
    enum mail_user_service service;
    bool prefer_cram_md5;
    struct span default_options;        /* DEFAULTOPTIONS of authdaemonrc */
    const struct mail_user_move *moves; /* the first one that fits counts */
    size_t move_count;
    struct span mail_suffix; /* behind each mail directory; Dovecot expands variables in it */
};

/* Appends ACCOUNT's line; SHADOW holds further password fields. 0, -EINVAL if it cannot be converted,
 * or -ENOMEM. NOTES hears why, and what has no equivalent; no text that it gets is a password. */
int mail_user_to_dovecot(const struct mail_user_settings *settings,
                         const struct userdb_account *account, struct span shadow,
                         const struct complaints *notes, struct buf *out);

/* Appends the absolute PATH without "." and empty parts, and without a '/' at the end. */
void mail_user_tidy_path(struct span path, struct buf *out);
