/* Dovecot's lock of a converted mailbox, dovecot-uidlist.lock, with PID:HOSTNAME in it. Dovecot (2.3.19)
 * makes it by an exclusive create; whoever is killed before he has written to it keeps all others waiting
 * for two minutes, so here it is linked to its name when it is written, as Courier's. It is stale by the
 * same rule as that one (lock.h); Dovecot looks for changes during 120 s where we look at the age. */
#pragma once

#include "store/lock.h"

/* Takes the lock PATH in MAILBOX. 0 with *lock_r what was taken; -EEXIST: somebody has it (a stale one was
 * removed: try again). */
int dotlock_take(struct store *store, const char *mailbox, const char *path,
                 struct lock_identity *lock_r);
/* Removes it if it is stale. */
void dotlock_break_stale(struct store *store, const char *path);
/* Removes it if it is this one. 0 also if it is not. */
int dotlock_release(struct store *store, const char *path, const struct lock_identity *lock);
