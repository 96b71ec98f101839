/* Whole files of the store: read, recognised again, replaced. */
#pragma once

#include "store/store.h"

/* What a file was when it was looked at. Two equal signatures mean the same content if the first one
 * was taken long enough after the file's last change (see settled). */
struct signature {
    bool present; /* false: there was no such file */
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec mtime;
    struct timespec ctime;
    /* Taken more than two seconds after the mtime: a change within the same clock tick is excluded.
     * An unsettled signature must not be taken for an answer. */
    bool settled;
};

/* The signature of an absent file. */
#define SIGNATURE_ABSENT ((struct signature){.present = false, .settled = true})

struct signature signature_of_stat(const struct stat *st);
/* 0 also when the file is not there (ENOENT, ENOTDIR); else -errno. */
int signature_take(struct store *store, const char *path, struct signature *signature_r);
/* Settles a signature by the store's own clock, which said THEN before the file was looked at: what comes
 * after has at least that time. {0} = not known. */
void signature_settle(struct signature *signature, struct timespec then);
/* Same file, untouched, and THEN, when the content was read, was settled. */
bool signature_unchanged(const struct signature *then, const struct signature *now);
/* Same file, untouched as far as it shows. */
bool signature_same(const struct signature *then, const struct signature *now);

/* What NFS remembers, and how to make it ask. The NFS client answers stat(), and "there is no such
 * name", from memory: for up to a minute, whatever other clients do. An open asks the server about
 * the very file or directory that is opened (close-to-open consistency), and a directory that turns
 * out to have changed makes the client look up its names again. */

/* The stat of PATH as it is now; of one that cannot be read, what is remembered. */
int store_stat_now(struct store *store, const char *path, struct stat *st_r);
/* Makes the client look up names in the directory PATH again that came or went meanwhile. 0 also if
 * PATH cannot be read. */
int store_ask_again(struct store *store, const char *path);

/* Reads the regular file PATH whole and appends it to OUT. st_r is of the very file that was read.
 * -EFBIG if it has more than LIMIT bytes; -EINVAL if it is not a regular file. */
int store_read_file(struct store *store, const char *path, size_t limit, struct buf *out,
                    struct stat *st_r);
/* The same of a file that is open. */
int store_read_opened(struct store *store, int fd, size_t limit, struct buf *out,
                      struct stat *st_r);

/* A new version of a file, written and durable under a unique name in MAILBOX/tmp, to be put in its
 * place by rename. */
struct draft {
    struct buf path; /* terminated; empty when there is no draft */
    struct stat st;
};

/* Writes CONTENT. Owner and mode are those of LIKE if given, else the caller's and what the
 * mailbox's directory grants (0700 makes 0600). *draft_r must be discarded with draft_discard, also
 * after it was renamed. 0, or -errno with nothing left behind. */
int draft_write(struct store *store, const char *mailbox, struct span content,
                const struct stat *like, struct draft *draft_r);
/* Renames the draft onto TARGET and makes the rename durable. 0 or -errno. */
int draft_install(struct store *store, struct draft *draft, const char *mailbox,
                  const char *target);
/* Removes the file if it is still there under its unique name. */
void draft_discard(struct store *store, struct draft *draft);

/* A unique path in MAILBOX/tmp that names WHAT, terminated. 0 or -ENOMEM. */
int store_unique_path(struct store *store, const char *mailbox, const char *what, struct buf *out);

/* Makes changes of names in the directory PATH durable. */
int store_sync_directory(struct store *store, const char *path);

/* Joins with '/', terminated; a DIR of "." is left out. 0 or -ENOMEM. */
int store_join(struct buf *out, const char *dir, const char *name);
