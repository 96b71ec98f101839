/* The way between the rights of Courier's file and those of Dovecot's. Pure: no I/O. What is shown
 * and recorded, and why, is in the essay of acl.c. PATH is the mailbox's: it tells which users may be
 * its owner. */
#pragma once

#include "bridge/acl_list.h"

/* What Dovecot is shown of COURIER's lines: nobody may more by it than by Courier's rule. 0,
 * -ENOMEM or -EFBIG. */
int acl_present(const struct acl *courier, const char *path, struct acl *shown_r);

/* The same without what `-group-override` lines repeat of others: changes are made to this. */
int acl_words(const struct acl *courier, const char *path, struct acl *words_r);

/* Makes to TARGET the changes that lead from BEFORE to AFTER, letter by letter. -EINVAL if Courier's
 * file has no words for one. */
int acl_merge(struct acl *target, const struct acl *before, const struct acl *after);

/* Courier's lines for which the words would be WANTED, where COURIER are the present ones: nobody
 * may more by Courier's rule than by Dovecot's on WANTED, except that the owner always may `l` and
 * `a`, and that what COURIER gave to an identifier that nobody changed is not taken away. -EINVAL
 * if WANTED has a name that Courier's file cannot hold, or that of its administrators. */
int acl_to_courier(const struct acl *courier, const struct acl *wanted, const char *path,
                   struct acl *courier_r);

/* Whether a directory above the mailbox is called like the user, or like what is before his @. */
bool acl_may_be_owner(struct span user, const char *path);

/* What `-` lines of other kinds take from whoever ENTRY is about, unless he is in a group. */
unsigned acl_taken_by_others(const struct acl *courier, const struct acl_entry *entry,
                             const char *path);
