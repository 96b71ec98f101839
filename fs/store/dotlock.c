#include "store/dotlock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "courier/lockfile.h"
#include "store/file.h"

#define CONTENT_LIMIT 1024

static void remove_stale(struct store *store, const char *path)
{
    BUF_AUTO content = BUF_EMPTY;
    struct stat st;
    if (store_read_file(store, path, CONTENT_LIMIT, &content, &st) == 0 &&
        lock_is_stale(store, buf_span(&content), &st, 0))
        (void)store_unlink(store, path);
}

int dotlock_take(struct store *store, const char *path, struct lock_identity *lock_r)
{
    BUF_AUTO content = BUF_EMPTY;
    struct stat st;
    lockfile_format(&content, getpid(), store->hostname);
    int result = buf_error(&content);
    if (result < 0)
        return result;
    AUTO_FD fd = store_open(store, path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd == -EEXIST)
        remove_stale(store, path);
    if (fd < 0)
        return fd;
    ssize_t written = store_pwrite(store, fd, content.data, content.len, 0);
    result = written < 0 ? (int)written : store_fstat(store, fd, &st);
    if (result == 0 && (size_t)written != content.len)
        result = -ENOSPC;
    if (result < 0)
        (void)store_unlink(store, path);
    else
        *lock_r = (struct lock_identity){st.st_dev, st.st_ino, getpid()};
    return result;
}

int dotlock_release(struct store *store, const char *path, const struct lock_identity *lock)
{
    struct stat st;
    int result = store_stat_now(store, path, &st);
    if (result == 0 && st.st_dev == lock->device && st.st_ino == lock->inode)
        result = store_unlink(store, path);
    return result == -ENOENT ? 0 : result;
}
