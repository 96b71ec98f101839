/* Dovecot's `dovecot-acl` (Dovecot 2.3.19 acl-api.c, acl-backend-vfile.c, and seen).
 *
 * One "IDENTIFIER [LETTERS] [:NAME...]" a line; empty ones and those that begin with # are none.
 * IDENTIFIER is a kind below, possibly with a `-` before it; one with blanks is in quotes. Lines of
 * the same kind and name are united. Dovecot refuses the whole file for one line that it does not
 * understand, and then grants nothing to anybody.
 *
 * What somebody may do: the kinds are gone through in the order below, and each one that fits
 * *replaces* what the earlier ones gave; `-` lines likewise replace earlier `-` lines only, so these
 * last until then. Several groups of one person are united. The owner begins with all rights, and
 * the kinds before `owner` do not concern him. */
#pragma once

#include <stdbool.h>
#include "base/buf.h"

enum dovecot_acl_kind {
    DOVECOT_ACL_ANYONE, /* also called anonymous */
    DOVECOT_ACL_AUTHENTICATED,
    DOVECOT_ACL_GROUP, /* group=NAME */
    DOVECOT_ACL_OWNER,
    DOVECOT_ACL_USER,           /* user=NAME */
    DOVECOT_ACL_GROUP_OVERRIDE, /* group-override=NAME */
};

enum dovecot_acl_right {
    DOVECOT_ACL_LOOKUP = 1U << 0,
    DOVECOT_ACL_READ = 1U << 1,
    DOVECOT_ACL_WRITE = 1U << 2,
    DOVECOT_ACL_SEEN = 1U << 3,
    DOVECOT_ACL_DELETED = 1U << 4,
    DOVECOT_ACL_INSERT = 1U << 5,
    DOVECOT_ACL_POST = 1U << 6,
    DOVECOT_ACL_EXPUNGE = 1U << 7,
    DOVECOT_ACL_CREATE = 1U << 8,
    DOVECOT_ACL_DELETE = 1U << 9,
    DOVECOT_ACL_ADMIN = 1U << 10,
    DOVECOT_ACL_ALL = (1U << 11) - 1,
};

/* The letters, the Nth one for bit N. */
#define DOVECOT_ACL_LETTERS "lrwstipekxa"

struct dovecot_acl_line {
    enum dovecot_acl_kind kind;
    struct span name; /* of a user or group, else empty */
    bool negative;
    unsigned rights;
};

struct dovecot_acl {
    struct dovecot_acl_line *lines; /* names point into the text or `storage` */
    size_t count;
    struct buf storage; /* names that were in quotes */
};

/* 0, -EINVAL for a file that Dovecot refuses, or -ENOMEM; nothing to release unless 0. Rights with
 * names of their own, which only a plugin could know, are left out. */
int dovecot_acl_parse(struct span text, struct dovecot_acl *acl_r);
void dovecot_acl_release(struct dovecot_acl *acl);

/* Appends one line. */
void dovecot_acl_format_line(struct buf *out, const struct dovecot_acl_line *line);

/* Appends "user=NAME" and the like, without '-' or quotes. */
void dovecot_acl_format_identifier(struct buf *out, enum dovecot_acl_kind kind, struct span name);
/* False if TEXT is none of the identifiers above. */
bool dovecot_acl_parse_identifier(struct span text, enum dovecot_acl_kind *kind_r,
                                  struct span *name_r);
