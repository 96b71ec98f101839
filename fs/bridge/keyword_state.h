/* The keywords of one mailbox: which letter is which name, and which message has which.
 *
 * Courier keeps names by message in courierimapkeywords/; Dovecot keeps letters in file names and
 * the letters' names in dovecot-keywords. Numbers in Courier's ":list" mean nothing outside one
 * version of that file, so they cannot become letters. The letters are therefore given out once, in
 * the order of the names, and written down in the mailbox as `courierfs-keywords` (in Dovecot's own
 * format): every node reads the same file, and it is changed only under Courier's lock. A letter is
 * never taken back or renumbered, as Dovecot never does it either.
 *
 * A message with more keywords than letters can say keeps the rest untouched: `extra` names them,
 * and every update written for the message repeats them. */
#pragma once

#include "base/buf.h"
#include "bridge/base_map.h"
#include "dovecot/keywords.h"
#include "store/file.h"

struct keyword_entry {
    size_t base_offset; /* into names */
    uint32_t base_len;
    uint32_t letters; /* bits 0 to 25 */
    uint32_t unnamed; /* letters Dovecot put into the name before it said what they mean */
    char *extra;      /* names without a letter, LF behind each; NULL = none */
};

struct keyword_state {
    bool loaded;
    struct signature directory; /* of courierimapkeywords */
    struct signature mapping;   /* of courierfs-keywords */
    struct buf mapping_text;
    struct stat mapping_stat;
    struct letter_names letters; /* spans into mapping_text */
    struct buf names;            /* base names of the entries */
    struct keyword_entry *entries;
    size_t count;
    size_t capacity;
    struct base_map bases;
    uint64_t shown; /* changes when any message's keywords do; 0 = none has any */
    bool told_too_many;
    bool unassigned; /* some name has no letter although one is free */
};

struct mailbox;

/* Brings the state up to date with Courier's files, unless the lock is held on this mount: then the
 * view is frozen. 0 or -errno. */
int keywords_load(struct mailbox *mailbox);

/* The letters to show behind the flags of the message. */
uint32_t keywords_letters(const struct keyword_state *state, struct span base);

/* Makes LETTERS the message's: the difference to what is shown now is written to an update file for
 * Courier, before any name changes. Letters whose name is not known yet wait for it. 0 or -errno.
 */
int keywords_set(struct mailbox *mailbox, struct span base, uint32_t letters);

void keyword_state_release(struct keyword_state *state);
