/* The locks held through this mount, written down where a dead daemon's successor finds them.
 *
 * Courier waits for ever for a lock whose pid is alive on its host, and the pid in the lock is
 * Dovecot's. If the daemon dies, its mount is gone, Dovecot cannot release anything, and may live
 * on for hours. So each lock stands in a small mapped file of the state directory from before it is
 * taken until after it is released. The mapping outlives the process without any system call; it
 * needs no sync, because a machine that crashed has no living pid either. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct held_locks;

struct held_lock_note {
    const char *mailbox; /* path in the store */
    pid_t pid;
    uint64_t pid_start; /* of the process that asked, see process_start */
    uid_t uid;
    gid_t gid;
};

/* Maps STATE_DIR/locks, made if missing or of another size. 0 or -errno. */
int held_locks_open(const char *state_dir, struct held_locks **locks_r);
void held_locks_close(struct held_locks *locks);

/* Writes a lock down. The slot (>= 0), or -ENOLCK when the table is full, -ENAMETOOLONG. */
int held_locks_add(struct held_locks *locks, const struct held_lock_note *note);
void held_locks_remove(struct held_locks *locks, int slot);

/* Kills the processes that hold locks; not DAEMON, which stands for those it cannot name. For a process
 * that has this mapping and nothing else of the daemon's. */
void held_locks_kill_owners(struct held_locks *locks, pid_t daemon);

/* Calls VISIT for each lock that stands there, and forgets it if the answer is true. Before the
 * first add only. */
void held_locks_visit(struct held_locks *locks,
                      bool (*visit)(void *arg, const struct held_lock_note *note), void *arg);
