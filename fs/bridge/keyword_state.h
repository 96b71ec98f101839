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
    int64_t loaded_at;          /* clock_milliseconds() */
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
    size_t pending;  /* update files that nobody merged yet */
    size_t outlived; /* that were merged in earlier periods, and say what the list says */
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

/* ---- within the keyword files ---------------------------------------------------------------- */

#define KEYWORD_LETTERS_FILE "courierfs-keywords"
#define KEYWORD_DIRECTORY "courierimapkeywords"
/* Of Courier's merges: .N.BASE was merged in the period N - 1. */
#define KEYWORD_PERIOD_SECONDS 300

/* The keywords of one message as Courier has them, split by what the letters can say. */
struct message_keywords {
    uint32_t letters;
    struct buf extra;
};

/* Like keywords_load, but the lock does not matter. */
int keywords_read(struct mailbox *mailbox);
struct keyword_entry *keyword_find(const struct keyword_state *state, struct span base);
/* The entry of BASE, made if there is none; NULL = out of memory. */
struct keyword_entry *keyword_need(struct keyword_state *state, struct span base);
struct span keyword_entry_base(const void *owner, uint32_t position);
/* What the entry contributes to state->shown: taken off before, and added after, it changes. */
uint64_t keyword_share(const struct keyword_state *state, const struct keyword_entry *entry);
/* Adds a name of Courier's, as a letter if it has one. */
void message_keywords_add(struct keyword_state *state, struct message_keywords *keywords,
                          struct span name);
/* Makes KEYWORDS the message's. Takes over keywords->extra. 0 or -ENOMEM. */
int keyword_put(struct keyword_state *state, struct span base, struct message_keywords *keywords);
void keyword_forget_all(struct keyword_state *state);
/* Reads an update file of the mailbox into KEYWORDS. -ENOENT if it is not there. */
int keyword_update_read(struct mailbox *mailbox, struct span file_name,
                        struct message_keywords *keywords);

/* Reads the letters' names from the mailbox. 0 also if there are none; -errno. */
int keyword_letters_read(struct mailbox *mailbox);
/* Writes LETTERS, whose spans may point into the old text, and reads them again. The file's mtime
 * becomes now, at least AT_LEAST, and a second more than it was. The lock is held. */
int keyword_letters_write(struct mailbox *mailbox, const struct letter_names *letters,
                          time_t at_least);

/* keyword_merge.c: does Courier's merge if many update files wait for it, or have outlived it. The lock is
 * held. */
int keywords_merge(struct mailbox *mailbox);
