/* courierctl survey: what a migration will meet in a store.
 *
 * It reads only, and it may run for days beside servers at work. So:
 *
 *   - No lock is taken, nothing is opened for writing, and the store's calls refuse to write. (That a
 *     directory was read may show in its atime.) A report that would be written into the store is
 *     refused.
 *   - What it sees is a store in motion. A file that vanishes between a listing and the look at it was
 *     moved or deleted, which is no finding. Two names of one message are two files only if both are
 *     still there.
 *   - Its memory does not grow with the store. Directories above the maildirs are read as a stream,
 *     twice: to know how many they have, for the progress, and to visit them. Work that waits for a
 *     worker has a fixed room; when that is full, whoever has more of it does it himself. A worker
 *     keeps the listings of one user's directory and one mailbox. Figures are counters, and of findings
 *     only examples are kept.
 *   - A directory that root may not read (an NFS export with root_squash) is read as its owner. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "ctl/survey_figures.h"
#include "store/list.h"

struct survey_options {
    const char *path; /* the store */
    const char *html; /* files to write, or NULL */
    const char *list;
    const char *config; /* Courier's imapd, or NULL */
    bool json;
    bool quick;         /* messages with a size in their name are not looked at */
    bool read_messages; /* to prove what names say of their sizes */
    unsigned jobs;
    unsigned top;
    double write_ms; /* what writing a file durably is assumed to take */
};

struct survey;

/* Whom the store's calls of a thread are made as. */
struct survey_identity {
    uid_t uid; /* 0 = the program's own */
    gid_t gid;
};

struct survey_worker {
    struct survey *survey;
    pthread_t thread;
    struct survey_identity acting;
    struct survey_figures figures;
};

#define SURVEY_QUEUE_ROOM 512

/* A directory that waits for a worker. */
struct survey_task {
    const char *path;
    double share; /* of the whole survey */
    unsigned depth;
    struct survey_identity acting;
};

struct survey {
    struct store store;
    const struct survey_options *options;
    struct findings findings;
    struct survey_worker *workers;
    size_t worker_count;
    int worker_ended; /* an eventfd: 1 for each */
    time_t started;

    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t changed;
    struct survey_task queue[SURVEY_QUEUE_ROOM];
    size_t queued;
    size_t busy; /* workers that may still add to the queue */
    double done; /* 0 to 1 */

    atomic_bool stopped;
    atomic_int error; /* -errno that ended it */
    /* For the progress. */
    atomic_uint_least64_t users;
    atomic_uint_least64_t mailboxes;
    atomic_uint_least64_t messages;
};

/* survey_walk.c: starts the workers. FINDINGS' list may be NULL. 0 or -errno with nothing started. */
int survey_start(struct survey *survey, const struct survey_options *options, FILE *list);
/* Makes the workers end soon. */
void survey_stop(struct survey *survey);
double survey_done(struct survey *survey);
/* Waits for the workers; *figures_r is what they found. 0, or the -errno that ended the survey. The store
 * and the findings stay until survey_release. */
int survey_finish(struct survey *survey, struct survey_figures *figures_r);
void survey_release(struct survey *survey);

/* Ends the survey for want of memory or the like. ERROR is 0 or -errno; answers it. */
int survey_check(struct survey *survey, int error);
/* What cannot be read is a finding, unless it is gone. */
void survey_cannot(struct survey_worker *worker, const char *path, int error);
/* If root may not read PATH: becomes its owner, once. */
bool survey_become_owner(struct survey_worker *worker, const char *path, int error);

void survey_act_as(struct survey_worker *worker, struct survey_identity identity);
/* A finding outside of any mailbox. */
void survey_found(struct survey_worker *worker, enum finding_kind kind, const char *path,
                  struct span text, const char *why);
/* What a symbolic link in the place of a directory is. */
void survey_look_at_link(struct survey_worker *worker, const char *path);
/* TYPE is what a listing said; DT_UNKNOWN makes it look. */
unsigned char survey_type(struct survey_worker *worker, const char *path, unsigned char type);

/* survey_user.c: a maildir with its folders; ENTRIES is the listing of its directory. */
void survey_user(struct survey_worker *worker, const char *path, const struct dir_list *entries);
/* Whether a directory with this name in a maildir can have maildirs below it. */
bool survey_may_hold_users(struct span name);
