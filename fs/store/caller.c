#include "store/caller.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

#define NOBODY 65534
#define UNCHANGED ((uid_t)-1) /* to the kernel: leave this id as it is */

/* What this thread acts as. A thread starts with what its creator had at that moment, and libfuse's
 * workers create each other: so nothing is known at first. */
enum acting_as { AS_UNKNOWN, AS_CALLER, AS_DAEMON };

static _Thread_local enum acting_as acting;
static _Thread_local struct caller acting_caller;
static _Thread_local bool groups_are_found; /* acting_caller's, by find_groups() */

/* The supplementary groups of processes seen lately. */
#define GROUP_SLOTS 256
#define GROUP_LIFETIME_NS 1000000000

struct group_slot {
    int64_t until; /* 0: empty */
    struct caller caller;
};

static struct group_slot group_slots[GROUP_SLOTS];
static pthread_mutex_t group_mutex = PTHREAD_MUTEX_INITIALIZER;

/* The C library's wrappers change every thread; these change the calling one. */

static int raw_setresuid(uid_t real, uid_t effective, uid_t saved)
{
#ifdef SYS_setresuid32
    return (int)syscall(SYS_setresuid32, real, effective, saved);
#else
    return (int)syscall(SYS_setresuid, real, effective, saved);
#endif
}

static int raw_setresgid(gid_t real, gid_t effective, gid_t saved)
{
#ifdef SYS_setresgid32
    return (int)syscall(SYS_setresgid32, real, effective, saved);
#else
    return (int)syscall(SYS_setresgid, real, effective, saved);
#endif
}

static int raw_setgroups(int group_count, const gid_t *groups)
{
#ifdef SYS_setgroups32
    return (int)syscall(SYS_setgroups32, (size_t)group_count, groups);
#else
    return (int)syscall(SYS_setgroups, (size_t)group_count, groups);
#endif
}

/* The real uid never changes, so it tells what the daemon is in every thread. */
static bool daemon_is_root(void)
{
    return getuid() == 0;
}

/* Effective root again, which is needed for any other change. */
static int regain_root(void)
{
    if (acting != AS_DAEMON && raw_setresuid(UNCHANGED, 0, UNCHANGED) < 0)
        return -errno;
    return 0;
}

static int change_to(uid_t uid, gid_t gid, int group_count, const gid_t *groups)
{
    int error = regain_root();
    if (error != 0)
        return error;
    acting = AS_UNKNOWN;
    if (raw_setgroups(group_count, groups) < 0 || raw_setresgid(UNCHANGED, gid, UNCHANGED) < 0 ||
        (uid != 0 && raw_setresuid(UNCHANGED, uid, UNCHANGED) < 0))
        return -errno;
    return 0;
}

static int refuse(int error)
{
    if (change_to(NOBODY, NOBODY, 0, NULL) != 0)
        acting = AS_UNKNOWN;
    return error;
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static size_t group_slot_of(const struct caller *caller)
{
    return ((size_t)caller->pid * 31 + (size_t)caller->uid * 7 + caller->gid) % GROUP_SLOTS;
}

static bool same_process(const struct caller *a, const struct caller *b)
{
    return a->pid == b->pid && a->uid == b->uid && a->gid == b->gid;
}

static bool recall_groups(struct caller *caller)
{
    bool found = false;
    pthread_mutex_lock(&group_mutex);
    const struct group_slot *slot = &group_slots[group_slot_of(caller)];
    if (slot->until > now_ns() && same_process(&slot->caller, caller)) {
        *caller = slot->caller;
        found = true;
    }
    pthread_mutex_unlock(&group_mutex);
    return found;
}

static void remember_groups(const struct caller *caller)
{
    pthread_mutex_lock(&group_mutex);
    struct group_slot *slot = &group_slots[group_slot_of(caller)];
    slot->caller = *caller;
    slot->until = now_ns() + GROUP_LIFETIME_NS;
    pthread_mutex_unlock(&group_mutex);
}

static void forget_groups(const struct caller *caller)
{
    pthread_mutex_lock(&group_mutex);
    group_slots[group_slot_of(caller)].until = 0;
    pthread_mutex_unlock(&group_mutex);
}

/* Reads the "Groups:" line of /proc/PID/status. A process that is gone has no groups: it gets fewer
 * rights, never more, and so does one with more groups than we take. */
static void read_groups(struct caller *caller)
{
    caller->group_count = 0;
    if (caller->pid <= 0)
        return;
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)caller->pid);
    AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    char text[8192];
    size_t len = 0;
    ssize_t got;
    while (len < sizeof(text) - 1 && (got = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)got;
    text[len] = '\0';
    const char *at = strstr(text, "\nGroups:");
    if (at == NULL)
        return;
    at += strlen("\nGroups:");
    while (caller->group_count < CALLER_MAX_GROUPS) {
        while (*at == ' ' || *at == '\t')
            at++;
        char *end;
        unsigned long group = strtoul(at, &end, 10);
        /* A number at the very end may be cut off. */
        if (end == at || *end == '\0')
            return;
        caller->groups[caller->group_count++] = (gid_t)group;
        at = end;
    }
}

static int find_groups(struct caller *caller)
{
    if (recall_groups(caller))
        return 0;
    /* Another user's /proc entry may be hidden from this one. */
    int error = regain_root();
    if (error != 0)
        return error;
    if (acting != AS_DAEMON)
        acting = AS_UNKNOWN;
    read_groups(caller);
    remember_groups(caller);
    return 0;
}

static bool same_rights(const struct caller *a, const struct caller *b)
{
    return a->uid == b->uid && a->gid == b->gid && a->group_count == b->group_count &&
           memcmp(a->groups, b->groups, (size_t)a->group_count * sizeof(a->groups[0])) == 0;
}

int caller_become(const struct caller *caller)
{
    if (!daemon_is_root())
        return 0;
    /* An id of -1 would mean "no change" to the kernel, which is root. */
    if (caller->uid == UNCHANGED || caller->gid == UNCHANGED)
        return refuse(-EPERM);
    struct caller wanted = *caller;
    if (wanted.group_count < 0) {
        int error = find_groups(&wanted);
        if (error != 0)
            return refuse(error);
    }
    if (acting == AS_CALLER && same_rights(&wanted, &acting_caller)) {
        acting_caller.pid = wanted.pid;
        groups_are_found = caller->group_count < 0;
        return 0;
    }
    int error = change_to(wanted.uid, wanted.gid, wanted.group_count, wanted.groups);
    if (error != 0)
        return refuse(error);
    acting_caller = wanted;
    groups_are_found = caller->group_count < 0;
    acting = AS_CALLER;
    return 0;
}

bool caller_renew_groups(void)
{
    if (acting != AS_CALLER || !groups_are_found)
        return false;
    const struct caller former = acting_caller;
    struct caller process = {.uid = former.uid, .gid = former.gid, .pid = former.pid};
    process.group_count = -1;
    forget_groups(&process);
    return caller_become(&process) == 0 && !same_rights(&former, &acting_caller);
}

int caller_become_owner(uid_t uid, gid_t gid)
{
    const struct caller owner = {.uid = uid, .gid = gid, .group_count = 0};
    return caller_become(&owner);
}

void caller_become_daemon(void)
{
    if (!daemon_is_root() || acting == AS_DAEMON)
        return;
    if (change_to(0, getgid(), 0, NULL) == 0)
        acting = AS_DAEMON;
}
