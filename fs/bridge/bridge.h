/* The bridge: what Dovecot sees from what Courier has, and back.
 *
 * The room fuse/ knows nodes, handles and replies; it asks here for everything in a mailbox that is
 * not simply a file of the store:
 *
 *   control files  dovecot-uidlist, dovecot-keywords, subscriptions, dovecot-acl, their locks and
 *                  .tmp names, found in a mailbox's directory; they have no file of that name in
 *                  the store
 *   messages       the names in `cur`, which carry keyword letters on the mount only
 *
 * Every function acts on the store as the current thread's caller (caller_become() was called with
 * CALLER by the room above); where CALLER is root, control files are written as the owner of the
 * mailbox's directory, so that nothing in the store ever belongs to root. All return 0 or -errno
 * and never reply to anyone. Paths are relative to the store's root. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include "base/buf.h"
#include "store/caller.h"
#include "store/list.h"
#include "store/store.h"

struct bridge;
struct control_file;

/* A directory of the store: where it is now, and which it is. */
struct place {
    const char *path;
    dev_t device;
    ino_t inode;
};

enum control_kind {
    CONTROL_NONE,
    CONTROL_UIDLIST,
    CONTROL_UIDLIST_LOCK,
    CONTROL_UIDLIST_TMP,
    CONTROL_KEYWORDS,
    CONTROL_KEYWORDS_LOCK,
    CONTROL_SUBSCRIPTIONS,
    CONTROL_SUBSCRIPTIONS_LOCK,
    CONTROL_ACL,
    CONTROL_ACL_LOCK,
    CONTROL_ACL_LIST, /* an ordinary file, which is not shown once it is old: see acl.c */
};

struct bridge_options {
    const char *state_dir;
    bool use_cache;
    size_t cache_size; /* bytes */
};

/* Opens the cache, releases the locks that a dead daemon left, starts the housekeeper thread.
 * 0 or -errno (a line was logged). STORE must outlive the bridge. */
int bridge_init(struct store *store, const struct bridge_options *options,
                struct bridge **bridge_r);
/* Releases every lock still held; stops the housekeeper. */
void bridge_free(struct bridge *bridge);
/* For a child of the daemon after the daemon's death: kills the processes that hold locks. */
void bridge_kill_lock_owners(struct bridge *bridge, pid_t daemon);

/* 0 if DIR is a mailbox, with whether it is an INBOX (or no folder); -ENOTDIR if it is none; another
 * -errno: that could not be learned. */
int mailbox_check(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                  bool *is_inbox_r);

/* What `courierctl status` shows, appended as text. */
void bridge_status(struct bridge *bridge, struct buf *out);

/* ---- control files -------------------------------------------------------------------------- */

/* Whether NAME is a control file's, wherever it lies. */
enum control_kind control_kind_of(struct span name);

/* The control file KIND of the mailbox at DIR as it is at this moment. *file_r carries a reference;
 * the same object is answered as long as it is the same generation (same inode).
 * -ENOENT: not there now. -EIO: the mailbox is refused (logged once). -ENOTDIR: DIR is no mailbox
 * (it has no cur): the name is then an ordinary one of the store. */
int control_lookup(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                   enum control_kind kind, struct control_file **file_r);

/* open(O_CREAT) of a name that control_lookup did not find, or of the .tmp names, which are made
 * empty if they are there (O_TRUNC). -EEXIST with exclusive. For UIDLIST_LOCK this takes Courier's
 * lock (see uidlist_lock.c). -EPERM for names nobody but courierfs makes. */
int control_create(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                   enum control_kind kind, bool exclusive, mode_t mode,
                   struct control_file **file_r);

/* link() of the store's file FROM onto a lock's name: the same request as exclusive create. */
int control_link(struct bridge *bridge, const struct caller *caller, const char *from,
                 const struct place *dir, enum control_kind kind, struct control_file **file_r);

/* Unlink. UIDLIST_LOCK: what was written is recorded, then Courier's lock is released; or a stale
 * lock is broken. UIDLIST, KEYWORDS, SUBSCRIPTIONS and ACL: nothing of Courier's changes, a new
 * generation is shown next. */
int control_unlink(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                   enum control_kind kind);

/* Rename within one directory: UIDLIST_TMP to UIDLIST, KEYWORDS_LOCK to KEYWORDS, SUBSCRIPTIONS_LOCK
 * to SUBSCRIPTIONS, ACL_LOCK to ACL record the content; -EPERM for any other pair. The object of the
 * old name becomes the one of the new name. A uidlist that cannot be recorded ends the process that
 * wrote it (uidlist_lock.c). */
int control_rename(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                   enum control_kind from, enum control_kind to);

/* Makes a listing of DIR, as the store has it, name the control files that are there now and no
 * others. 0 or -ENOMEM; in a DIR that is refused there are none, and one that is no mailbox, or a
 * converted one, is left as it is. */
int control_list(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                 struct dir_list *list);

/* For a dovecot-uidlist.lock that was made in the store, at PATH, because control_create or
 * control_link answered -ENOTDIR. 0: it is the lock. -EEXIST: the mailbox is not, or not any more, a
 * converted one; the file is gone again. */
int control_confirm_lock(struct bridge *bridge, const struct caller *caller,
                         const struct place *dir, const char *path);

uint64_t control_ino(const struct control_file *file); /* never changes for one object */
int control_stat(struct control_file *file, const struct caller *caller, struct stat *st_r);
ssize_t control_read(struct control_file *file, const struct caller *caller, void *out, size_t size,
                     off_t offset);
ssize_t control_write(struct control_file *file, const struct caller *caller, const void *bytes,
                      size_t size, off_t offset);
int control_truncate(struct control_file *file, const struct caller *caller, off_t size);
/* Records what was written: fsync and fdatasync. */
int control_sync(struct control_file *file, const struct caller *caller);
int control_utimens(struct control_file *file, const struct caller *caller,
                    const struct timespec times[2]);
struct control_file *control_ref(struct control_file *file);
void control_unref(struct control_file *file);

/* ---- sizes ---------------------------------------------------------------------------------- */

/* What became of one request. */
struct sizes_proven {
    size_t tried;   /* messages, in order of UID */
    size_t read;    /* of these: their sizes are known now */
    size_t left;    /* not tried yet in this mailbox; not 0 while there is something to be shown */
    uint64_t bytes; /* read */
};

/* Reads up to LIMIT messages of the mailbox at DIR whose sizes neither names nor dovecot-uidlist say, so
 * that the list says them (sizes.c). Ask again until none is left. Nobody waits for it. 0, with nothing
 * tried where there is no uid database; -EBUSY: all were read, but the lock is held and the list may not
 * change: ask again; -ENOTDIR: no mailbox, or a converted one; -EOPNOTSUPP: there is no cache that would
 * keep them; or another -errno. */
int sizes_prove(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                size_t limit, struct sizes_proven *result_r);

/* ---- messages ------------------------------------------------------------------------------- */

/* MAILBOX is the mailbox's directory, not cur. */

/* The store's name in `cur` of what is called SHOWN on the mount, appended to store_name_r.
 * A SHOWN without ':' finds the message with that base name under whatever flags it has now, unless
 * EXACT. -ENOENT. *st_r is the file's. */
int message_find(struct bridge *bridge, const struct caller *caller, const struct place *mailbox,
                 struct span shown, bool exact, struct buf *store_name_r, struct stat *st_r);

/* `cur` as the mount shows it: names with letters. */
int message_list(struct bridge *bridge, const struct caller *caller, const struct place *mailbox,
                 struct dir_list *list_r);

/* `new`. -ENOTDIR: MAILBOX is none. */
int message_list_new(struct bridge *bridge, const struct caller *caller,
                     const struct place *mailbox, struct dir_list *list_r);

/* Changes the times in *st, the stat in the store of `cur` or of `new`, to what is shown: those of
 * `cur` also move when a keyword does; those of `new` stay while CALLER has the lock, as its listing
 * does, and are left alone in a directory of that name that is no mailbox's. */
int message_dir_times(struct bridge *bridge, const struct caller *caller,
                      const struct place *mailbox, bool is_cur, struct stat *st);

/* Rename where the source, the target or both lie in the `cur` of a mailbox. FROM_MAILBOX is NULL
 * if the source is not in a cur: then FROM is a path in the store; else it is a shown name and must
 * be exact. TO likewise. Letters of the new name are recorded as keywords, and that it has none; but
 * a new name without letters leaves the keywords of a message alone that comes from the mailbox's
 * `new`. *store_name_r: the store's name of the target (a name in cur, or the path). */
int message_rename(struct bridge *bridge, const struct caller *caller,
                   const struct place *from_mailbox, const char *from,
                   const struct place *to_mailbox, const char *to, unsigned flags,
                   struct buf *store_name_r);

/* Called after a rename of the store's path FROM to NAME in `new`. */
int message_arrived(struct bridge *bridge, const struct caller *caller, const struct place *mailbox,
                    const char *from, struct span name);

/* Called when `cur` or `new` is synced: the UIDs of what was put there are recorded (arrivals.c). */
int message_sync(struct bridge *bridge, const struct caller *caller, const struct place *mailbox);

/* Unlink of the exact shown name in cur. */
int message_unlink(struct bridge *bridge, const struct caller *caller, const struct place *mailbox,
                   struct span shown);

/* The store's name for a new file SHOWN in cur (open O_CREAT, link, mknod): letters are recorded as
 * keywords before the file is made. Appended to store_name_r. */
int message_create_name(struct bridge *bridge, const struct caller *caller,
                        const struct place *mailbox, struct span shown, struct buf *store_name_r);

/* Called before a directory is renamed through the mount: what is derived from the path (the
 * mailbox GUID) is written down first, so that it survives. */
int mailbox_before_rename(struct bridge *bridge, const struct caller *caller,
                          const struct place *mailbox);
