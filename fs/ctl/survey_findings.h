/* What a survey found that an administrator should know, by kind.
 *
 * All of it is counted; of each kind only some are kept as examples, so that a store that is broken
 * everywhere takes no more memory than one that is not. Every single one goes to a file on request. */
#pragma once

#include <pthread.h>
#include <stdio.h>
#include "base/buf.h"

/* In the order in which they are reported: first those that block a migration. */
enum finding_kind {
    FINDING_UNREADABLE,
    FINDING_UIDDB_REFUSED,
    FINDING_SIZELIST_REFUSED,
    FINDING_CONTROL_NO_FILE,
    FINDING_KEYWORD_LOOP,
    FINDING_WRONG_W,
    FINDING_FOLDER_INVALID,
    FINDING_SYMLINK_AWAY,
    FINDING_OWNER_ROOT,
    FINDING_LOCK_FUTURE,
    FINDING_CLOCK,
    FINDING_LOCKS_OFF,
    FINDING_UIDDB_DAMAGED,
    FINDING_NEXT_UID,
    FINDING_SAME_UID,
    FINDING_SIZELIST_DAMAGED,
    FINDING_SIZELIST_OLD,
    FINDING_KEYWORDS_DAMAGED,
    FINDING_KEYWORDS_MANY,
    FINDING_KEYWORDS_OFF,
    FINDING_SUBSCRIPTIONS_DAMAGED,
    FINDING_SUBSCRIPTIONS_SHARED,
    FINDING_ACL_DAMAGED,
    FINDING_ACL_LARGE,
    FINDING_QUOTA_DAMAGED,
    FINDING_SHARED_OLD,
    FINDING_WRONG_S,
    FINDING_FOREIGN_FLAGS,
    FINDING_ODD_NAME,
    FINDING_ODD_FLAGS,
    FINDING_DIRECTORY,
    FINDING_NO_FILE,
    FINDING_SAME_BASE,
    FINDING_FAR_NUMBERS,
    FINDING_FOLDER_UTF7,
    FINDING_FOLDER_BROKEN,
    FINDING_SYMLINK,
    FINDING_OWNER_MIXED,
    FINDING_DOVECOT_DIFFERS,
    FINDING_DOVECOT_ONLY,
    FINDING_DOVECOT_LEFT,
    FINDING_LOCK_STALE,
    FINDING_LOCK_HELD,
    FINDING_CLOCK_SLIGHT,
    FINDING_FUTURE,
    FINDING_CONFIG_UNCLEAR,
    FINDING_COUNT
};

struct finding_about {
    const char *id;
    bool blocks;
    const char *title;  /* "uid databases that ..." */
    const char *advice; /* what it means, and what to do */
};

struct finding {
    const char *path; /* below the store */
    unsigned line;    /* 0 = the file as a whole */
    const char *text; /* what is there; need not be terminated */
    size_t text_len;
    bool cut; /* there was more of it */
    const char *why;
    uint64_t count; /* findings of this kind in the same mailbox, this one included */
};

#define FINDINGS_KEPT 100

struct finding_group {
    uint64_t count;
    struct finding kept[FINDINGS_KEPT];
    size_t kept_count;
};

struct findings {
    pthread_mutex_t mutex;
    FILE *list;  /* every finding, one a line; NULL = nobody wants it */
    bool failed; /* an example could not be kept for want of memory */
    struct finding_group groups[FINDING_COUNT];
};

const struct finding_about *finding_about(enum finding_kind kind);

void findings_init(struct findings *findings, FILE *list);
/* Any thread may add. As many findings as it says, of which this is the first one; kept if there is
 * room. */
void findings_add(struct findings *findings, enum finding_kind kind, const struct finding *first);
/* A line of the list; nothing without one. */
void findings_write(struct findings *findings, enum finding_kind kind,
                    const struct finding *finding);
/* Sorts the examples by path and line, when nobody adds any more. */
void findings_sort(struct findings *findings);
void findings_release(struct findings *findings);
