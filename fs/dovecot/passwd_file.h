/* passwd-file: Dovecot's accounts in a text file (2.3.19, seen).
 *
 *     USER:{SCHEME}HASH:UID:GID:GECOS:HOME:SHELL:KEY=VALUE KEY=VALUE...
 *
 * Nothing can be escaped: a ':' ends a column and a line end the line, wherever they come from; a
 * blank ends an extra field. So what is given here must not contain them, or somebody else's text
 * could become a column of its own (another uid, say). `%` begins a variable in extra fields, and
 * only there. An account with uid or gid 0 is an error for Dovecot, and does not exist. A home with
 * "/./" in it would be a chroot. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct passwd_file_field {
    const char *prefix;   /* KEY= and what precedes the value */
    struct span value;    /* as it is: `%` stays `%` */
    struct span template; /* follows it; Dovecot expands variables in it */
};

struct passwd_file_account {
    struct span user;
    const char *scheme; /* NULL: no password lets anybody in */
    struct span hash;
    uint32_t uid, gid;
    struct span gecos; /* Dovecot does not look at it; left out if it cannot be held */
    struct span home;
    const struct passwd_file_field *fields; /* those without a value are left out */
    size_t field_count;
    const char *comment; /* in a line of its own before it; may be NULL */
};

/* Appends the account. NULL, or why Dovecot's file cannot hold it, with nothing appended. */
const char *passwd_file_add(const struct passwd_file_account *account, struct buf *out);
