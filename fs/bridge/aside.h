/* Whose files count in a mailbox: Courier's or Dovecot's. The essay is in aside.c. */
#pragma once

#include "bridge/mailbox.h"

/* The directory in a converted mailbox that holds Courier's files, and the one of them whose being
 * there says that it is converted. */
#define ASIDE_DIRECTORY "courierfs-aside"
#define ASIDE_MARK ASIDE_DIRECTORY "/courierimapuiddb"

/* Sets mailbox->converted; where that changes, everything made from the other side's files is
 * forgotten. Asks only if the directory changed since the last time; if NOW, in any case, and the
 * server instead of what NFS remembers. Acts as the current thread's caller. 0 or -errno, with
 * mailbox->converted as it was. */
int aside_look(struct mailbox *mailbox, bool now);

/* The directory itself; all act as the current thread's caller. */

/* Courier's files besides the uid database, and ours, the Nth of them; NULL after the last. */
const char *aside_courier_name(size_t n);
/* Dovecot's files likewise. */
const char *aside_dovecot_name(size_t n);

/* Makes it. 0 also if it is there; -errno. */
int aside_make(struct mailbox *mailbox);
/* 0 with *there_r: whether NAME is in it. */
int aside_has(struct mailbox *mailbox, const char *name, bool *there_r);
/* Moves NAME of the mailbox into it. 1; 0: the mailbox has none; -errno. */
int aside_put(struct mailbox *mailbox, const char *name);
/* Moves NAME out of it into the mailbox. 1; 0: there is none; -errno. */
int aside_take(struct mailbox *mailbox, const char *name);
/* Moves NAME out of it where another NAME is in the way, which is set aside as NAME.strange. As
 * aside_take. */
int aside_exchange(struct mailbox *mailbox, const char *name);
/* Makes moves durable. */
int aside_sync(struct mailbox *mailbox);
