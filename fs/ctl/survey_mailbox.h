/* One mailbox under survey. */
#pragma once

#include "base/complaint.h"
#include "courier/uiddb.h"
#include "ctl/survey.h"

/* What lies in a mailbox's directory, by the name's place in survey_user.c's table. */
enum mailbox_part {
    PART_CUR,
    PART_NEW,
    PART_TMP,
    PART_UIDDB,
    PART_SIZELIST,
    PART_KEYWORDS,
    PART_SUBSCRIBED,
    PART_ACL,
    PART_HIERARCHY_ACL,
    PART_QUOTA,
    PART_SHARED_MAILDIRS,
    PART_SHARED_FOLDERS,
    PART_ASIDE,
    PART_COURIERFS_KEYWORDS,
    PART_COURIERFS_UIDLIST,
    PART_DOVECOT_UIDLIST,
    PART_DOVECOT_SUBSCRIPTIONS,
    PART_DOVECOT_OTHER, /* dovecot* */
    PART_COUNT
};

/* Of all folders of one user. */
struct user_survey {
    struct stat st; /* of the maildir */
    uint64_t bytes;
    bool imap;
    bool pop3;
    bool converted; /* the INBOX is */
};

/* Findings of one kind, which may be as many as there are messages: the first one is kept. */
struct tally {
    uint64_t count;
    struct buf path;
    struct buf why;
};

struct mailbox_survey {
    struct survey_worker *worker;
    struct survey_figures *figures; /* the worker's */
    struct store *store;
    struct user_survey *user;
    const char *path; /* below the store */
    bool is_inbox;
    bool has[PART_COUNT];
    struct stat st; /* of its directory */
    bool converted;
    time_t now;
    struct dir_list cur;
    struct dir_list new;
    uint64_t messages;
    uint64_t bytes;
    uint64_t names_length;   /* of the base names */
    uint64_t uidlist_length; /* of what Dovecot would be shown, about */
    struct buf uiddb_text;
    struct uiddb uiddb;
    bool uiddb_usable;
    bool found[FINDING_COUNT];
    struct tally tallies[FINDING_COUNT];
};

/* survey_mailbox.c */

/* What comes before `converted` is set, all else is zero. */
void survey_mailbox(struct mailbox_survey *mailbox);

/* A finding at the file NAME of the mailbox (NULL: the mailbox itself). */
void mailbox_found(struct mailbox_survey *mailbox, enum finding_kind kind, const char *name,
                   unsigned line, struct span text, const char *why);
/* One of many: NAME in PART (cur or new). */
void mailbox_tally(struct mailbox_survey *mailbox, enum finding_kind kind, const char *part,
                   const char *name, const char *why, ...) __attribute__((format(printf, 5, 6)));
/* What a time says of the clocks. */
void mailbox_look_at_clock(struct mailbox_survey *mailbox, const char *name, const struct stat *st);
/* Lists the directory NAME of the mailbox; false if there is none, or it cannot be read. */
bool mailbox_list(struct mailbox_survey *mailbox, const char *name, struct dir_list *list_r);
/* Reads a file of the mailbox; false if there is none, or it cannot be read, which is then reported. */
bool mailbox_read(struct mailbox_survey *mailbox, const char *name, struct buf *out,
                  struct stat *st_r);
/* The same of a file that must belong to the mailbox's user; *st_r may be NULL. */
bool mailbox_read_own(struct mailbox_survey *mailbox, const char *name, struct buf *out,
                      struct stat *st_r);
/* A finding if it belongs to somebody else than the mailbox does. */
void mailbox_look_at_owner(struct mailbox_survey *mailbox, const char *name, const struct stat *st);
uint64_t survey_nanoseconds(void);

/* survey_files.c: Courier's control files. survey_keywords.c and survey_dovecot.c likewise. */
void survey_files(struct mailbox_survey *mailbox);
void survey_keywords(struct mailbox_survey *mailbox);
void survey_dovecot(struct mailbox_survey *mailbox);
/* tmp/courier.lock */
void survey_lock(struct mailbox_survey *mailbox);

/* Complaints of a parser, kept until it is known what they amount to. */
#define COMPLAINTS_KEPT 20

struct complaint_list {
    struct complaints complaints; /* to give to the parser */
    size_t count;                 /* also of those not kept */
    struct {
        unsigned line;
        struct span text;
        const char *why;
    } kept[COMPLAINTS_KEPT];
};

void complaint_list_init(struct complaint_list *list);
/* Reports them as findings of KIND in the file NAME. The parsed text must still be there. */
void mailbox_report(struct mailbox_survey *mailbox, enum finding_kind kind, const char *name,
                    const struct complaint_list *list);
