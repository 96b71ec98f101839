#include "bridge/held_locks.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/process.h"

#define SLOT_COUNT 1024

struct slot {
    int used;
    int pid;
    unsigned uid;
    unsigned gid;
    uint64_t pid_start;
    char mailbox[PATH_MAX];
};

struct held_locks {
    pthread_mutex_t mutex;
    struct slot *slots;
};

int held_locks_open(const char *state_dir, struct held_locks **locks_r)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/locks", state_dir) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    size_t size = SLOT_COUNT * sizeof(struct slot);
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if ((size_t)st.st_size != size && ftruncate(fd, 0) < 0)
        return -errno;
    /* Not sparse: writing to a page of it that the full disk has no block for would be SIGBUS. */
    int error = posix_fallocate(fd, 0, (off_t)size);
    if (error != 0)
        return -error;
    struct held_locks *locks = calloc(1, sizeof(*locks));
    if (locks == NULL)
        return -ENOMEM;
    locks->slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (locks->slots == MAP_FAILED) {
        error = errno;
        free(locks);
        return -error;
    }
    pthread_mutex_init(&locks->mutex, NULL);
    *locks_r = locks;
    return 0;
}

void held_locks_close(struct held_locks *locks)
{
    if (locks == NULL)
        return;
    munmap(locks->slots, SLOT_COUNT * sizeof(struct slot));
    pthread_mutex_destroy(&locks->mutex);
    free(locks);
}

int held_locks_add(struct held_locks *locks, const struct held_lock_note *note)
{
    if (strlen(note->mailbox) >= PATH_MAX)
        return -ENAMETOOLONG;
    int found = -ENOLCK;
    pthread_mutex_lock(&locks->mutex);
    for (int i = 0; i < SLOT_COUNT && found < 0; i++) {
        struct slot *slot = &locks->slots[i];
        if (__atomic_load_n(&slot->used, __ATOMIC_ACQUIRE) != 0)
            continue;
        memcpy(slot->mailbox, note->mailbox, strlen(note->mailbox) + 1);
        slot->pid = note->pid;
        slot->pid_start = note->pid_start;
        slot->uid = note->uid;
        slot->gid = note->gid;
        /* Last: a slot in use is complete. */
        __atomic_store_n(&slot->used, 1, __ATOMIC_RELEASE);
        found = i;
    }
    pthread_mutex_unlock(&locks->mutex);
    return found;
}

void held_locks_remove(struct held_locks *locks, int slot)
{
    __atomic_store_n(&locks->slots[slot].used, 0, __ATOMIC_RELEASE);
}

void held_locks_kill_owners(struct held_locks *locks, pid_t daemon)
{
    for (int i = 0; i < SLOT_COUNT; i++) {
        const struct slot *slot = &locks->slots[i];
        bool used = __atomic_load_n(&slot->used, __ATOMIC_ACQUIRE) != 0;
        if (used && slot->pid > 0 && slot->pid != daemon &&
            process_start(slot->pid) == slot->pid_start)
            kill(slot->pid, SIGKILL);
    }
}

void held_locks_visit(struct held_locks *locks,
                      bool (*visit)(void *arg, const struct held_lock_note *note), void *arg)
{
    for (int i = 0; i < SLOT_COUNT; i++) {
        struct slot *slot = &locks->slots[i];
        if (slot->used == 0)
            continue;
        slot->mailbox[PATH_MAX - 1] = '\0';
        struct held_lock_note note = {.mailbox = slot->mailbox,
                                      .pid = slot->pid,
                                      .pid_start = slot->pid_start,
                                      .uid = slot->uid,
                                      .gid = slot->gid};
        if (visit(arg, &note))
            slot->used = 0;
    }
}
