#include "store/dotlock.h"

#include <errno.h>
#include <unistd.h>
#include "store/file.h"

#define CONTENT_LIMIT 1024

void dotlock_break_stale(struct store *store, const char *path)
{
    BUF_AUTO content = BUF_EMPTY;
    struct stat st;
    if (store_read_file(store, path, CONTENT_LIMIT, &content, &st) == 0 &&
        lock_is_stale(store, buf_span(&content), &st, 0))
        (void)store_unlink(store, path);
}

int dotlock_take(struct store *store, const char *mailbox, const char *path,
                 struct lock_identity *lock_r)
{
    int result = lock_take_at(store, mailbox, path, getpid(), lock_r);
    if (result == -EEXIST)
        dotlock_break_stale(store, path);
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
