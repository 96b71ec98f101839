/* Rights of one mailbox as both servers' files have them. Pure: no I/O. */
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
    /* Notes in Courier's file, see the essay of acl.c. */
    unsigned ours; /* those of not_allowed that no `-` line of Dovecot's stands for */
    unsigned said; /* those of a group's that Dovecot's `-group=` line says */
};

/* Names point into the text that was read. */
struct acl {
    struct acl_entry *entries;
    size_t count;
    size_t capacity;
};

#define ACL_NO_NAME ((struct span){"", 0})

#define ACL_AUTO __attribute__((cleanup(acl_release))) struct acl

void acl_release(struct acl *acl);

int acl_copy(const struct acl *from, struct acl *copy_r);

/* The entry, or NULL. */
struct acl_entry *acl_find(const struct acl *acl, enum dovecot_acl_kind kind, struct span name);
/* Finds or makes it. 0, -ENOMEM, or -EFBIG for more identifiers than anybody needs. */
int acl_get(struct acl *acl, enum dovecot_acl_kind kind, struct span name,
            struct acl_entry **entry_r);

void acl_set_rights(struct acl_entry *entry, unsigned rights);
/* No rights: no line. */
void acl_set_not_allowed(struct acl_entry *entry, unsigned rights);
/* But for notes. NULL is an entry without lines. */
bool acl_same_lines(const struct acl_entry *a, const struct acl_entry *b);

/* What all entries of KIND give, or take away, together. */
unsigned acl_all_rights(const struct acl *acl, enum dovecot_acl_kind kind);
unsigned acl_all_not_allowed(const struct acl *acl, enum dovecot_acl_kind kind);

/* The members of this group may everything under Courier, whatever its file says. */
bool acl_is_administrators(enum dovecot_acl_kind kind, struct span name);

/* Courier's file as it is; `administrators` and what Courier does not know is left out. */
int acl_read_courier(struct span text, struct acl *acl_r);
/* Dovecot's file as it is. -EINVAL if Dovecot would refuse it, or if Courier's file could not hold a
 * name in it. */
int acl_read_dovecot(struct span text, struct acl *acl_r);
/* Appends Dovecot's file, in Dovecot's order. 0 or -ENOMEM. */
int acl_format_dovecot(const struct acl *acl, struct buf *out);

/* Appends Courier's file TEXT, which was read as BEFORE, with the lines changed that AFTER has
 * otherwise. 0 or -ENOMEM. */
int acl_edit_courier(struct span text, const struct acl *before, const struct acl *after,
                     struct buf *out);
