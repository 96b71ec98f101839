/* The sizes that Dovecot shows of messages, proven by reading them. */
#pragma once

#include "bridge/mailbox.h"
#include "dovecot/virtual_size.h"

/* Reads the file PATH of the store. 0 or -errno; -ESTALE if it has not the length that it says, or has
 * another in the end. */
int message_read_size(struct store *store, const char *path, struct virtual_size *size_r);

/* The proven size of the message with this UID, which waits to be shown; false if there is none. */
bool proven_size_of(const struct mailbox *mailbox, uint32_t uid, uint64_t *size_r);

/* Somebody is about to prove more: the mailbox stays in memory. */
bool sizes_are_being_proven(const struct mailbox *mailbox);

void proven_sizes_release(struct proven_sizes *proven);
