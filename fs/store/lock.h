/* Courier's lock of a mailbox, tmp/courier.lock, taken as Courier takes it.
 *
 * The problem. Whoever gives out UIDs must hold this lock. Courier (5.0.13, seen with strace)
 * writes PID:HOSTNAME to a unique file in tmp/, link()s it to the lock's name and believes it has
 * the lock if the unique file's link count is 2 then. It breaks a lock whose pid is dead on its own
 * host at once, waits for ever for a living one, and takes a lock of another host, or with content
 * it cannot read, for stale after 120 seconds. It unlinks a stale lock by name, twice, without
 * looking what it removes: between the two another program can take the lock and lose it again.
 *
 * What follows. (1) The content must name the process that works under the lock, not the daemon: a
 * daemon's pid would stay alive and block Courier for ever if that process died. (2) A lock can be
 * lost at any moment after somebody's crash; so whoever is about to make UIDs permanent looks once
 * more whether the lock is still the inode it made (lock_still_ours), immediately before the rename
 * that counts. (3) Breaking by name is wrong, and so is moving the lock away and looking what it was
 * (shown by tests/model): another may break the same lock, a third take the next one, and lose it for
 * a moment, in which a fourth comes in. So a stale lock is made a living one first, by writing the
 * daemon into the file that was judged, under an fcntl lock that keeps other courierfs away; from
 * then on nobody else breaks it, and it can be unlinked. A lock of our own whose process died is
 * released in the same way. (4) A lock held long is touched, so that other hosts see it young.
 *
 * Rejected: O_EXCL creation (Courier never reads locks made so differently, but on NFS it would see
 * the empty file and judge it by age, and a reader of the half-written content would think it
 * foreign); the daemon's own pid (see 1); trusting link()'s return value (over NFS the reply can be
 * lost although the link was made: only the link count tells).
 *
 * All functions act as the current thread's caller. MAILBOX is the mailbox's directory. */
#pragma once

#include "store/store.h"

/* Which lock one has: the file, and the process its content names. An inode number alone may have
 * been given to the next lock. */
struct lock_identity {
    dev_t device;
    ino_t inode;
    pid_t pid;
    struct timespec taken; /* when, by the store's clock; {0} = not known */
};

/* Takes the lock for the process PID. 0 with *lock_r what was taken; -EEXIST if somebody holds it
 * (whether stale or not); else -errno. */
int lock_take(struct store *store, const char *mailbox, pid_t pid, struct lock_identity *lock_r);

/* The same for a lock of another name, PATH in MAILBOX. */
int lock_take_at(struct store *store, const char *mailbox, const char *path, pid_t pid,
                 struct lock_identity *lock_r);

/* lock_take with the file FROM, which holds its PID:HOSTNAME already, in place of a unique file.
 * FROM stays. */
int lock_take_by_link(struct store *store, const char *mailbox, const char *from,
                      struct lock_identity *lock_r);

/* 0 if the lock is this one; -ENOLCK if it is gone or another's. Asks the server, not a cache. */
int lock_still_ours(struct store *store, const char *mailbox, const struct lock_identity *lock);

/* Removes the lock if it is this one. 0 also if it is not (then it was stolen and is another's now);
 * -errno if it could not be removed. */
int lock_release(struct store *store, const char *mailbox, const struct lock_identity *lock);

/* Makes the lock's mtime now. */
int lock_touch(struct store *store, const char *mailbox);

/* Whether a lock with this content and stat is stale by Courier's rule, for the process ASKER (0 =
 * nobody in particular): a lock that names the asker itself is one it has lost. */
bool lock_is_stale(const struct store *store, struct span content, const struct stat *st,
                   pid_t asker);

/* Removes the lock if it is stale by Courier's rule. 0: it is gone. -ENOENT: there is none. -EBUSY:
 * it is alive, and untouched; or another is breaking it. */
int lock_break_stale(struct store *store, const char *mailbox, pid_t asker);

/* Removes the lock if it is LEFT (inode 0: any), which names a process that has died or cannot reach
 * it any more, so that others may be breaking it at this moment. -ENOENT if there is no such lock. */
int lock_break_left(struct store *store, const char *mailbox, const struct lock_identity *left);

/* The path of the lock, terminated. */
int lock_path(struct buf *out, const char *mailbox);
