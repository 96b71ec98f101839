/* Which UIDs the messages of an mbox have.
 *
 * The problem. X-UID travels: a message that was saved to another mbox, or sent on, may bring the UID
 * that it had elsewhere. So a number counts only where UW-IMAP itself wrote it: the mbox says its
 * UIDVALIDITY, and the number is above that of the message before and not above the last UID given out.
 * Any other message is new: it gets the next UID, and since UIDs rise with the position in the mbox, so
 * do all that come after it. c-client (2007f) and Dovecot 2.3.19 give the same numbers, seen, with these
 * differences: after a number that is not above the one before c-client also takes a new UIDVALIDITY;
 * c-client believes a number above the last, whoever wrote it (X-UID: 4294967290 in a mail from
 * anywhere), Dovecot gives such a message the next UID, or with several of them takes them for one.
 *
 * Rejected: keeping every number that is not there twice. A UID that was told for one message, and
 * deleted, could come back with another. */
#pragma once

#include "uwimap/meta.h"

/* The highest that both servers can give (see courier/uiddb.h). */
#define MBOX_HIGHEST_UID 4294967293U

struct mbox_uids {
    uint32_t uidvalidity; /* 0: the mbox does not say */
    uint32_t last;        /* given out, ever */
    uint32_t previous;    /* of the message before */
    size_t fresh;         /* messages that got a new one */
    size_t refused;       /* those of them that had an X-UID */
};

/* FIRST is the first message, or the internal one. */
void mbox_uids_start(struct mbox_uids *uids, const struct mbox_meta *first);

/* The UID of the next message; 0 if there is none left to give. */
uint32_t mbox_uids_next(struct mbox_uids *uids, const struct mbox_meta *meta);
