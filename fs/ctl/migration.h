/* The frame of convert, verify, revert and warm: options, the accounts that are meant, several at a time,
 * the journal, progress on a terminal, and the report at the end. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "bridge/bridge.h"
#include "ctl/accounts.h"
#include "store/caller.h"

/* What was given on the command line. */
struct migration_options {
    unsigned jobs;
    double rate; /* mailboxes a second (warm: messages); 0 = as fast as it goes */
    bool dry_run;
    bool overwrite;
    bool identity;         /* verify: only what nobody may ever change */
    const char *journal;   /* NULL = the default */
    const char *state_dir; /* NULL = the default */
    const char *from;      /* a file with accounts, one a line; NULL = none */
    const char *store;
    char **patterns;
    int pattern_count;
};

struct migration {
    struct migration_options options;
    const char *verb;                          /* "convert" */
    const char *done;                          /* "converted" */
    const char *same;                          /* "were so already" */
    const char *faults;                        /* "failed" */
    int (*check)(struct migration *migration); /* may be NULL; -1: do nothing, it told why */
    void (*work)(struct migration *migration, const char *account);
    bool reads_only;     /* the store is opened so */
    bool without_bridge; /* the store is a mount, whose daemon has one */

    struct store store;
    struct bridge *bridge;
    struct path_list accounts;
    FILE *journal;
    pthread_mutex_t mutex; /* the journal, the terminal, and what follows */
    size_t next_account;
    size_t finished_accounts;
    struct timespec next_start; /* of a mailbox, by the rate */
    struct timespec began;
    time_t shown_at;
    bool show_progress;
    atomic_size_t mailboxes;
    atomic_size_t unchanged;
    atomic_size_t messages;
    atomic_size_t failures;
};

/* Runs the command. FLAGS are the options it takes besides the common ones, as getopt letters: "n"
 * --dry-run, "o" --overwrite, "i" --identity. The exit status. */
int migration_run(struct migration *migration, int argc, char **argv, const char *flags);

/* Who a worker is for the mailbox at PATH, and which directory that is: its owner. *place_r keeps PATH.
 * 0 or -errno. */
int migration_place(struct migration *migration, const char *path, struct caller *caller_r,
                    struct place *place_r);
/* Waits until the rate allows one more. False if the run was interrupted: stop. */
bool migration_pace(struct migration *migration);
/* One line of the journal, and of standard output if it is not a terminal's progress: TEXT about PATH. */
void migration_note(struct migration *migration, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for what went wrong: also on standard error, and the run's status will be 1. */
void migration_fail(struct migration *migration, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A difference that verify found: on standard output, and in the journal; the status will be 1. */
void migration_differs(struct migration *migration, const char *path, const char *text);
