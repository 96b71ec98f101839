#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "courier/lockfile.h"
#include "store/file.h"

/* More than a pid and a host name: not a lock of either server. */
#define LOCK_CONTENT_LIMIT 1024

int lock_path(struct buf *out, const char *mailbox)
{
    return store_join(out, mailbox, "tmp/courier.lock");
}

/* Links FROM onto the lock PATH; the link count decides. */
static int link_onto_lock(struct store *store, const char *path, const char *from,
                          struct stat *st_r)
{
    struct stat before;
    int result = store_stat(store, from, &before);
    if (result < 0)
        return result;
    int linked = store_link(store, from, path);
    result = linked < 0 ? store_stat_now(store, from, st_r) : store_stat(store, from, st_r);
    if (result < 0 && linked == 0) { /* it is taken: nobody else would let it go */
        *st_r = before;
        return 0;
    }
    if (result < 0)
        return result;
    if (st_r->st_nlink == before.st_nlink + 1)
        return 0;
    return linked < 0 ? linked : -EEXIST;
}

/* Writes CONTENT to the new file PATH. It is closed before it gets the lock's name, because only
 * then other clients of an NFS server see the content, and because the client would keep a file that
 * is open when its name goes, under another one. */
static int write_unique(struct store *store, const char *path, struct span content)
{
    AUTO_FD fd = store_open(store, path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0)
        return fd;
    ssize_t written = store_pwrite(store, fd, content.text, content.len, 0);
    int result = written < 0 ? (int)written : 0;
    if (written >= 0 && (size_t)written != content.len)
        result = -ENOSPC;
    /* On NFS this is when a full disk shows. */
    if (close(steal_fd(&fd)) < 0 && result == 0)
        result = -errno;
    if (result < 0)
        (void)store_unlink(store, path);
    return result;
}

int lock_take_at(struct store *store, const char *mailbox, const char *path, pid_t pid,
                 struct lock_identity *lock_r)
{
    BUF_AUTO unique = BUF_EMPTY;
    BUF_AUTO content = BUF_EMPTY;
    lockfile_format(&content, pid, store->hostname);
    int result = buf_error(&content);
    if (result == 0)
        result = store_unique_path(store, mailbox, "courierlock", &unique);
    if (result == 0)
        result = write_unique(store, unique.data, buf_span(&content));
    if (result < 0)
        return result;
    struct stat st;
    result = link_onto_lock(store, path, unique.data, &st);
    if (result == 0)
        *lock_r = (struct lock_identity){st.st_dev, st.st_ino, pid, st.st_ctim};
    (void)store_unlink(store, unique.data); /* one name too many in tmp does no harm */
    return result;
}

int lock_take(struct store *store, const char *mailbox, pid_t pid, struct lock_identity *lock_r)
{
    BUF_AUTO path = BUF_EMPTY;
    int result = lock_path(&path, mailbox);
    return result < 0 ? result : lock_take_at(store, mailbox, path.data, pid, lock_r);
}

int lock_take_by_link(struct store *store, const char *mailbox, const char *from,
                      struct lock_identity *lock_r)
{
    BUF_AUTO content = BUF_EMPTY;
    BUF_AUTO path = BUF_EMPTY;
    struct stat st;
    int result = store_read_file(store, from, LOCK_CONTENT_LIMIT, &content, &st);
    if (result == 0)
        result = lock_path(&path, mailbox);
    if (result == 0)
        result = link_onto_lock(store, path.data, from, &st);
    if (result == 0)
        *lock_r = (struct lock_identity){
            st.st_dev, st.st_ino, (pid_t)lockfile_local_pid(buf_span(&content), store->hostname),
            st.st_ctim};
    return result;
}

int lock_still_ours(struct store *store, const char *mailbox, const struct lock_identity *lock)
{
    BUF_AUTO path = BUF_EMPTY;
    BUF_AUTO content = BUF_EMPTY;
    struct stat st = {0};
    int result = lock_path(&path, mailbox);
    /* Reading opens the file, which on NFS asks the server; a stat would not. */
    if (result == 0)
        result = store_read_file(store, path.data, LOCK_CONTENT_LIMIT, &content, &st);
    if (result == -ENOENT || result == -EFBIG || result == -EINVAL)
        return -ENOLCK;
    if (result < 0)
        return result;
    bool ours = st.st_dev == lock->device && st.st_ino == lock->inode &&
                lockfile_local_pid(buf_span(&content), store->hostname) == lock->pid;
    return ours ? 0 : -ENOLCK;
}

int lock_release(struct store *store, const char *mailbox, const struct lock_identity *lock)
{
    int result = lock_still_ours(store, mailbox, lock);
    if (result == -ENOLCK)
        return 0;
    BUF_AUTO path = BUF_EMPTY;
    if (result == 0)
        result = lock_path(&path, mailbox);
    if (result == 0)
        result = store_unlink(store, path.data);
    return result == -ENOENT ? 0 : result;
}

int lock_touch(struct store *store, const char *mailbox)
{
    BUF_AUTO path = BUF_EMPTY;
    int result = lock_path(&path, mailbox);
    if (result < 0)
        return result;
    const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
    return store_utimens(store, path.data, now);
}

/* Courier's rule: a lock of this host is stale when its process is gone, whatever its age; any
 * other when it is old. */
bool lock_is_stale(const struct store *store, struct span content, const struct stat *st,
                   pid_t asker)
{
    long pid = lockfile_local_pid(content, store->hostname);
    if (pid != 0)
        return pid == asker || (kill((pid_t)pid, 0) < 0 && errno == ESRCH);
    return time(NULL) - st->st_mtim.tv_sec > LOCKFILE_STALE_SECONDS;
}

/* ---- breaking -------------------------------------------------------------------------------- */

/* What is to be broken: a lock that is stale for ASKER, or, if LEFT is given, this very lock. */
struct breaking {
    pid_t asker;
    const struct lock_identity *left;
};

static bool is_to_break(const struct store *store, const struct breaking *breaking,
                        struct span content, const struct stat *st)
{
    const struct lock_identity *left = breaking->left;
    if (left == NULL)
        return lock_is_stale(store, content, st, breaking->asker);
    return lockfile_local_pid(content, store->hostname) == left->pid &&
           (left->inode == 0 || (st->st_dev == left->device && st->st_ino == left->inode));
}

/* 0 if the open lock is to be broken; -EBUSY if not. */
static int judge(struct store *store, int fd, const struct breaking *breaking, struct stat *st_r)
{
    BUF_AUTO content = BUF_EMPTY;
    int result = store_read_opened(store, fd, LOCK_CONTENT_LIMIT, &content, st_r);
    if (result == -EFBIG) { /* nobody's content: judged by its age */
        result = 0;
        buf_clear(&content);
    }
    if (result < 0)
        return result;
    return is_to_break(store, breaking, buf_span(&content), st_r) ? 0 : -EBUSY;
}

/* Keeps every other courierfs from breaking this file until FD is closed. */
static int exclude_others(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &whole) == 0)
        return 0;
    /* Any other error: a server that has no such locks. Courier breaks without one, too. */
    return errno == EAGAIN || errno == EACCES ? -EBUSY : 0;
}

/* Writes this process into the open lock. In between it is empty and young, which is no stale lock
 * to anybody. */
static int adopt(struct store *store, int fd)
{
    BUF_AUTO content = BUF_EMPTY;
    lockfile_format(&content, getpid(), store->hostname);
    int result = buf_error(&content);
    if (result == 0)
        result = store_ftruncate(store, fd, 0);
    if (result < 0)
        return result;
    ssize_t written = store_pwrite(store, fd, content.data, content.len, 0);
    if (written < 0)
        return (int)written;
    return store_fsync(store, fd, true);
}

/* Another user's lock cannot be written to. It is moved away, judged again there by what came along,
 * and linked back if it was a living one. */
static int break_by_rename(struct store *store, const char *mailbox, const char *path,
                           const struct breaking *breaking)
{
    BUF_AUTO aside = BUF_EMPTY;
    struct stat st;
    AUTO_FD fd = store_open(store, path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0)
        return fd;
    int result = judge(store, fd, breaking, &st);
    if (result == 0)
        result = store_unique_path(store, mailbox, "stalelock", &aside);
    if (result == 0)
        result = store_rename(store, path, aside.data, 0);
    if (result < 0)
        return result;
    AUTO_FD moved = store_open(store, aside.data, O_RDONLY | O_NONBLOCK, 0);
    result = moved < 0 ? moved : judge(store, moved, breaking, &st);
    if (result == -EBUSY)
        (void)store_link(store, aside.data, path);
    (void)store_unlink(store, aside.data);
    return result;
}

static int break_lock(struct store *store, const char *mailbox, const struct breaking *breaking)
{
    BUF_AUTO path = BUF_EMPTY;
    int result = lock_path(&path, mailbox);
    if (result < 0)
        return result;
    AUTO_FD fd = store_open(store, path.data, O_RDWR | O_NONBLOCK, 0);
    if (fd == -EACCES)
        return break_by_rename(store, mailbox, path.data, breaking);
    if (fd < 0)
        return fd;
    struct stat st;
    result = exclude_others(fd);
    if (result == 0)
        result = judge(store, fd, breaking, &st);
    if (result == 0)
        result = adopt(store, fd);
    if (result < 0)
        return result;
    const struct lock_identity adopted = {st.st_dev, st.st_ino, getpid(), {0}};
    return lock_release(store, mailbox, &adopted);
}

int lock_break_stale(struct store *store, const char *mailbox, pid_t asker)
{
    const struct breaking breaking = {.asker = asker};
    return break_lock(store, mailbox, &breaking);
}

int lock_break_left(struct store *store, const char *mailbox, const struct lock_identity *left)
{
    const struct breaking breaking = {.left = left};
    int result = break_lock(store, mailbox, &breaking);
    return result == -EBUSY ? -ENOENT : result;
}
