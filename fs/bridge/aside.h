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
