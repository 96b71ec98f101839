/* What is known of cur: whether every file there has a UID. The essay is in cur_complete.c. All are called
 * with the mailbox's mutex held. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "store/file.h"

struct mailbox;

struct cur_complete {
    struct signature as; /* cur, when every file there had a UID ... */
    uint64_t uiddb;      /* ... by the uid database with this hash */
    bool by_us;          /* and has changed since, by us alone */
    int64_t listed_at;   /* when that was seen, in milliseconds of the monotonic clock */
};

#define CUR_COMPLETE_UNKNOWN ((struct cur_complete){.as = SIGNATURE_ABSENT})

/* Whether all files of a cur that looks like NOW have UIDs in the uid database with this hash. */
bool cur_is_complete(const struct mailbox *mailbox, const struct signature *now, uint64_t uiddb);

/* A listing, made when cur was as DIR says, showed that. */
void cur_listed_complete(struct mailbox *mailbox, const struct stat *dir, uint64_t uiddb);

/* Dovecot, who has the lock, was shown the mailbox's listing of cur: was it a complete one? */
void cur_listing_shown(struct mailbox *mailbox);

/* The lock is about to be released by its owner, to whom it was granted with a complete cur. */
void cur_was_ours(struct mailbox *mailbox);
