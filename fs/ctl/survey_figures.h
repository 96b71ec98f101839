/* What a survey counts. Each worker has figures of its own; they are added up at the end. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include "ctl/survey_findings.h"

/* Every count, with its name in the JSON report. */
#define SURVEY_COUNTS(COUNT)                                                                       \
    COUNT(users)                                                                                   \
    COUNT(mailboxes)                                                                               \
    COUNT(messages)                                                                                \
    COUNT(bytes)                                                                                   \
    COUNT(messages_new)           /* still in new/ */                                              \
    COUNT(messages_not_looked_at) /* their size is the one in their name (--quick) */              \
    COUNT(uid_databases)                                                                           \
    COUNT(uid_lines)                                                                               \
    COUNT(mailboxes_with_keywords)                                                                 \
    COUNT(messages_with_keywords)                                                                  \
    COUNT(keyword_updates) /* that no Courier has merged into its list yet */                      \
    COUNT(pop3_users)                                                                              \
    COUNT(pop3_entries)                                                                            \
    COUNT(subscriptions)                                                                           \
    COUNT(acl_files)                                                                               \
    COUNT(acl_not_default)                                                                         \
    COUNT(acl_for_others)         /* that name users, groups or anyone */                          \
    COUNT(acl_of_missing_folders) /* in courierimaphieracl/ */                                     \
    COUNT(shared_maildirs)        /* lines in files of that name */                                \
    COUNT(shared_folders)         /* old shared folders that somebody subscribed to */             \
    COUNT(quota_files)                                                                             \
    COUNT(quota_limited)                                                                           \
    COUNT(quota_exceeded)                                                                          \
    COUNT(converted) /* mailboxes with Courier's files set aside */                                \
    COUNT(seen_by_courierfs)                                                                       \
    COUNT(dovecot_mailboxes) /* with Dovecot's files and not converted */                          \
    COUNT(dovecot_agrees)                                                                          \
    COUNT(dovecot_differs)                                                                         \
    COUNT(dovecot_only)                                                                            \
    COUNT(locks_in_use)                                                                            \
    COUNT(listings) /* of directories in mailboxes */                                              \
    COUNT(listing_ns)                                                                              \
    COUNT(files_read) /* control files */                                                          \
    COUNT(bytes_read)                                                                              \
    COUNT(reading_ns)                                                                              \
    COUNT(looks) /* at messages */                                                                 \
    COUNT(looking_ns)                                                                              \
    COUNT(messages_read)  /* (--read-messages) */                                                  \
    COUNT(cache_bytes)    /* estimated */                                                          \
    COUNT(files_to_write) /* by a conversion */                                                    \
    COUNT(names_to_change)

enum survey_histogram {
    BY_MESSAGES,     /* mailboxes, by how many they have */
    BY_USER_BYTES,   /* users */
    BY_AGE,          /* messages */
    BY_POP3_AGE,     /* POP3 users, by when their list was last written */
    BY_SERVER,       /* users, by what they have used */
    BY_KEYWORDS,     /* mailboxes */
    BY_ENCODING,     /* folders */
    BY_POP3_VERSION, /* POP3 lists */
    HISTOGRAM_COUNT
};

#define HISTOGRAM_BINS 24

struct histogram_about {
    const char *id;
    const char *title;
    const char *const *labels;       /* NULL at the end */
    const char *const *short_labels; /* as many, for a narrow place; NULL = none */
};

const struct histogram_about *histogram_about(enum survey_histogram histogram);
size_t histogram_bins(enum survey_histogram histogram);

/* The bins for values. */
size_t bin_of_messages(uint64_t messages);
size_t bin_of_user_bytes(uint64_t bytes);
size_t bin_of_age(time_t when, time_t now);
size_t bin_of_pop3_age(time_t when, time_t now);
size_t bin_of_keywords(uint64_t keywords);
size_t bin_of_servers(bool imap, bool pop3);

struct largest_folder {
    const char *path;
    uint64_t messages;
    uint64_t bytes;
};

struct survey_figures {
#define DECLARE(name) uint64_t name;
    SURVEY_COUNTS(DECLARE)
#undef DECLARE
    uint64_t histogram[HISTOGRAM_COUNT][HISTOGRAM_BINS];
    uint64_t places[FINDING_COUNT]; /* mailboxes and directories with at least one such finding */
    /* The highest values. */
    uint64_t most_keywords;
    uint64_t clock_ahead; /* seconds by which a change lies after the moment it was looked at */
    time_t newest_change; /* 0 = none seen */
    /* The largest folders, the largest first; `top_limit` at most. */
    struct largest_folder *top;
    size_t top_count;
    size_t top_limit;
};

/* 0 or -ENOMEM. */
int figures_init(struct survey_figures *figures, size_t top_limit);
/* Takes note of a folder, if it is one of the largest. 0 or -ENOMEM. */
int figures_add_folder(struct survey_figures *figures, const char *path, uint64_t messages,
                       uint64_t bytes);
/* Adds MORE, which keeps what it has. 0 or -ENOMEM. */
int figures_add(struct survey_figures *figures, const struct survey_figures *more);
void figures_release(struct survey_figures *figures);
