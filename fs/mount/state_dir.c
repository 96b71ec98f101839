#include "mount/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

#define LOCK_RETRY_MS 20
#define LOCK_PATIENCE_MS 5000

/* Makes the directories above PATH. Errors show when PATH itself is made. */
static void make_parents(const char *path)
{
    AUTO_FREE char *copy = strdup(path);
    if (copy == NULL)
        return;
    for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(copy, 0755);
        *slash = '/';
    }
}

void state_dir_add_name(struct buf *out, const char *store, const char *who)
{
    buf_printf(out, "/var/cache/courierfs/%s%s", who, who[0] == '\0' ? "" : "-");
    for (const char *at = store + 1; *at != '\0'; at++)
        buf_add_char(out, *at == '/' ? '-' : *at);
}

static int open_checked(const char *path)
{
    make_parents(path);
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        log_error("cannot make state directory '%s': %s", path, strerror(errno));
        return -1;
    }
    AUTO_FD fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        log_error("cannot open state directory '%s': %s", path, strerror(errno));
        return -1;
    }
    if (st.st_uid != geteuid()) {
        log_error("state directory '%s' belongs to another user", path);
        return -1;
    }
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        log_error("state directory '%s' can be written by others", path);
        return -1;
    }
    return steal_fd(&fd);
}

/* umount(8) is back before the daemon has ended: the next mount waits for it. */
static int wait_for_lock(int lock)
{
    const struct timespec pause = {.tv_nsec = LOCK_RETRY_MS * 1000000L};
    int result = flock(lock, LOCK_EX | LOCK_NB);
    for (int i = 0; result < 0 && errno == EWOULDBLOCK && i < LOCK_PATIENCE_MS / LOCK_RETRY_MS;
         i++) {
        nanosleep(&pause, NULL);
        result = flock(lock, LOCK_EX | LOCK_NB);
    }
    return result;
}

int state_dir_take(const char *path)
{
    AUTO_FD dir = open_checked(path);
    if (dir < 0)
        return -1;
    AUTO_FD lock = openat(dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (lock < 0) {
        log_error("cannot open '%s/lock': %s", path, strerror(errno));
        return -1;
    }
    if (wait_for_lock(lock) < 0) {
        if (errno == EWOULDBLOCK)
            log_error("state directory '%s' is in use by another mount", path);
        else
            log_error("cannot lock '%s/lock': %s", path, strerror(errno));
        return -1;
    }
    return steal_fd(&lock);
}
