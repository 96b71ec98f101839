/* A mailbox of Courier's that is made whole, with the UIDs, flags and keywords that its messages have.
 *
 * It is made in a directory that no server looks at, and appears by one rename when everything in it is
 * durable; so it is there as a whole, or not at all. Whoever is interrupted leaves a directory that the
 * next one removes. Nothing is carried on in the middle: writing the messages again is cheap, and proving
 * which of them a power failure left whole is not.
 *
 * All functions act as the current thread's caller. Nobody else may know the mailbox yet, so there is no
 * lock. */
#pragma once

#include <time.h>

#include "store/store.h"

struct new_message {
    uint32_t uid;         /* above that of the message before */
    const char *flags;    /* as in names: "FS" */
    time_t date;          /* INTERNALDATE */
    struct span keywords; /* each with a blank behind it */
};

struct new_mailbox;

/* Begins the mailbox TARGET, relative to the store. A name that starts with a dot is a folder, and is
 * made in the tmp of the maildir above; any other, beside its place. *mailbox_r must be released. 0;
 * -EEXIST if the place is taken; or -errno. */
int new_mailbox_begin(struct store *store, const char *target, struct new_mailbox **mailbox_r);

/* A message: written in pieces, then entered. Names rise in the order of entering, so that Courier's POP3
 * numbers them so. 0 or -errno; after an error nothing but the release makes sense. */
int new_mailbox_write(struct new_mailbox *mailbox, struct span piece);
int new_mailbox_enter(struct new_mailbox *mailbox, const struct new_message *message);

/* Writes Courier's files and NOTE (a file of that name with that text), makes everything durable and
 * lets the mailbox appear. UIDNEXT is above every UID. 0; -EEXIST: the place was taken meanwhile; or
 * -errno. */
int new_mailbox_finish(struct new_mailbox *mailbox, uint32_t uidvalidity, uint32_t uidnext,
                       const char *note, struct span text);

/* Removes what did not appear. */
void new_mailbox_release(struct new_mailbox *mailbox);
