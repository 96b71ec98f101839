/* Dovecot's lock of a converted mailbox, dovecot-uidlist.lock, taken as Dovecot (2.3.19) takes it: an
 * exclusive create, PID:HOSTNAME in it. It is stale by the same rule as Courier's (lock.h); Dovecot looks
 * for changes during 120 s where we look at the age. */
#pragma once

#include "store/lock.h"

/* 0 with *lock_r what was taken; -EEXIST: somebody has it (a stale one was removed: try again). */
int dotlock_take(struct store *store, const char *path, struct lock_identity *lock_r);
/* Removes it if it is this one. 0 also if it is not. */
int dotlock_release(struct store *store, const char *path, const struct lock_identity *lock);
