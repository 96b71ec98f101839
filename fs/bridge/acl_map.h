/* Rights of one mailbox as both servers' files have them, and the way between the two. Pure: no
 * I/O. What is shown and recorded, and why, is in the essay of acl.c. */
#pragma once

#include <stdbool.h>
#include "base/buf.h"
#include "dovecot/acl.h"

/* The lines of one identifier. Rights are Dovecot's bits. */
struct acl_entry {
    enum dovecot_acl_kind kind;
    struct span name;
    bool has;             /* there is a line */
    bool has_negative;    /* there is a line with '-' */
    unsigned rights;      /* of the former, 0 without it */
    unsigned not_allowed; /* of the latter */
};

/* Names point into the text that was read. */
struct acl {
    struct acl_entry *entries;
    size_t count;
    size_t capacity;
};

#define ACL_AUTO __attribute__((cleanup(acl_release))) struct acl

void acl_release(struct acl *acl);

/* The entry, or NULL. */
struct acl_entry *acl_find(const struct acl *acl, enum dovecot_acl_kind kind, struct span name);
/* Finds or makes it. 0, -ENOMEM, or -EFBIG for more identifiers than anybody needs. */
int acl_get(struct acl *acl, enum dovecot_acl_kind kind, struct span name,
            struct acl_entry **entry_r);

/* Courier's file as it is; `administrators` and what else Dovecot has no word for is left out. */
int acl_read_courier(struct span text, struct acl *acl_r);
/* Dovecot's file as it is. -EINVAL if Dovecot would refuse it, or if Courier's file could not hold a
 * name in it. */
int acl_read_dovecot(struct span text, struct acl *acl_r);
/* Appends Dovecot's file, in Dovecot's order. 0 or -ENOMEM. */
int acl_format_dovecot(const struct acl *acl, struct buf *out);

/* What Dovecot is shown of COURIER's lines: nobody may more by it than by Courier's rule. 0,
 * -ENOMEM or -EFBIG. */
int acl_present(const struct acl *courier, struct acl *shown_r);

/* Makes to TARGET the changes that lead from BEFORE to AFTER, letter by letter. */
int acl_merge(struct acl *target, const struct acl *before, const struct acl *after);

/* Courier's lines for which Dovecot's would be WANTED, where COURIER are the present ones: nobody
 * may more by Courier's rule than by Dovecot's on WANTED, except that the owner always may `a`, and
 * that what COURIER gave to an identifier that nobody changed is not taken away. `user=` lines that
 * PATH, the mailbox's, makes look like the owner's are taken to concern him, too. -EINVAL if WANTED
 * has a name that Courier's file cannot hold. */
int acl_to_courier(const struct acl *courier, const struct acl *wanted, const char *path,
                   struct acl *courier_r);

/* Appends Courier's file TEXT, which was read as BEFORE, with the lines changed that AFTER has
 * otherwise. 0 or -ENOMEM. */
int acl_edit_courier(struct span text, const struct acl *before, const struct acl *after,
                     struct buf *out);
