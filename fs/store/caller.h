/* Whose rights a thread uses on the store.
 *
 * A worker thread takes on the uid, gid and groups of the process whose request it serves, with raw
 * system calls, because the C library's wrappers would change all threads. Only the effective ids
 * change: the effective capabilities go with them, and root's can be taken back. When the daemon
 * does not run as root nothing is ever changed: all calls are the daemon user's. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#define CALLER_MAX_GROUPS 64

struct caller {
    uid_t uid;
    gid_t gid;
    pid_t pid;       /* as the mount's pid namespace sees it; 0 = unknown */
    int group_count; /* -1: not asked for yet, see caller_become */
    gid_t groups[CALLER_MAX_GROUPS];
};

/* Makes the calling thread act as CALLER until the next call. Does nothing if it does already. With
 * group_count -1 the supplementary groups are read from /proc/PID/status, remembered for a second
 * for the same (pid, uid, gid). 0 or -errno (the thread then acts as nobody who owns anything:
 * requests must be refused). */
int caller_become(const struct caller *caller);

/* Reads the groups of the process that the thread acts for once more. True if they had changed, and
 * the thread has the new ones now: what was refused can be tried again. */
bool caller_renew_groups(void);

/* As caller_become, for plain ids with no supplementary groups. */
int caller_become_owner(uid_t uid, gid_t gid);

/* Back to the daemon's own credentials. */
void caller_become_daemon(void);
