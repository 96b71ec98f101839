/* The keeper: a process that sees to it that no Dovecot goes on when the daemon dies under it.
 *
 * The problem. Dovecot (2.3.19, on any file system) does not survive an error on its list: when a
 * sync cannot write dovecot-uidlist it takes the list in memory for empty, expunges every message
 * from its index, commits that, and gives each message a new UID at the next sync. A daemon that is
 * killed (by hand, by the kernel for want of memory, by a bug of its own) between Dovecot's write and
 * the answer is such an error: all calls on the mount fail at once.
 *
 * The step. The keeper is a child that holds a second descriptor of /dev/fuse. So the daemon's death
 * does not yet end the connection: whoever has asked waits on. Only a process that holds a lock
 * writes a list, and which ones do stands in shared memory (bridge/held_locks.h). These the keeper kills
 * with SIGKILL; then it exits, the last descriptor is closed, and the kernel fails all calls. A call
 * that fails in a process with a fatal signal never returns to it, so nothing is committed: to its
 * index it is as if Dovecot had been killed in the middle, which harms nobody. All other processes
 * see the errors of a dead mount.
 *
 * Who kills the daemon and the keeper together gets the errors alone, as before. */
#include "mount/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bridge/bridge.h"

/* Everything else that was open belongs to the daemon. */
static void close_all_but(int one, int other)
{
    int low = one < other ? one : other;
    int high = one < other ? other : one;
    if (low > 0)
        close_range(0, (unsigned)low - 1, 0);
    if (high > low + 1)
        close_range((unsigned)low + 1, (unsigned)high - 1, 0);
    close_range((unsigned)high + 1, ~0U, 0);
}

static _Noreturn void keep(int life, int fuse_fd, struct bridge *bridge, pid_t daemon)
{
    close_all_but(life, fuse_fd);
    prctl(PR_SET_NAME, "courierfs-keep");
    char byte;
    ssize_t got;
    do {
        got = read(life, &byte, 1);
    } while (got < 0 && errno == EINTR);
    if (got == 0)
        bridge_kill_lock_owners(bridge, daemon);
    _exit(0);
}

int keeper_start(struct keeper *keeper, int fuse_fd, struct bridge *bridge)
{
    *keeper = (struct keeper){0};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    pid_t daemon = getpid();
    pid_t child = fork();
    if (child < 0) {
        int error = errno;
        close(ends[0]);
        close(ends[1]);
        return -error;
    }
    if (child == 0)
        keep(ends[0], fuse_fd, bridge, daemon);
    close(ends[0]);
    *keeper = (struct keeper){.pid = child, .life = ends[1]};
    return 0;
}

void keeper_dismiss(struct keeper *keeper)
{
    if (keeper->pid == 0)
        return;
    while (write(keeper->life, "", 1) < 0 && errno == EINTR) {
    }
    close(keeper->life);
    while (waitpid(keeper->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    keeper->pid = 0;
}
