#include "store/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"

#define SETTLING_SECONDS 2

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

struct signature signature_of_stat(const struct stat *st)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (struct signature){
        .present = true,
        .device = st->st_dev,
        .inode = st->st_ino,
        .size = st->st_size,
        .mtime = st->st_mtim,
        .ctime = st->st_ctim,
        .settled = now.tv_sec - st->st_mtim.tv_sec > SETTLING_SECONDS &&
                   now.tv_sec - st->st_ctim.tv_sec > SETTLING_SECONDS,
    };
}

static bool is_later(struct timespec a, struct timespec b)
{
    return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

void signature_settle(struct signature *signature, struct timespec then)
{
    if (signature->present && is_later(then, signature->mtime) && is_later(then, signature->ctime))
        signature->settled = true;
}

int signature_take(struct store *store, const char *path, struct signature *signature_r)
{
    struct stat st;
    int result = store_stat(store, path, &st);
    if (result == -ENOENT || result == -ENOTDIR) {
        *signature_r = SIGNATURE_ABSENT;
        return 0;
    }
    if (result == 0)
        *signature_r = signature_of_stat(&st);
    return result;
}

bool signature_same(const struct signature *then, const struct signature *now)
{
    if (then->present != now->present)
        return false;
    if (!now->present)
        return true;
    return then->device == now->device && then->inode == now->inode && then->size == now->size &&
           same_time(then->mtime, now->mtime) && same_time(then->ctime, now->ctime);
}

bool signature_unchanged(const struct signature *then, const struct signature *now)
{
    return then->settled && signature_same(then, now);
}

int store_stat_now(struct store *store, const char *path, struct stat *st_r)
{
    AUTO_FD fd = store_open(store, path, O_RDONLY | O_NONBLOCK, 0);
    if (fd == -EACCES)
        return store_stat(store, path, st_r);
    return fd < 0 ? fd : store_fstat(store, fd, st_r);
}

int store_ask_again(struct store *store, const char *path)
{
    AUTO_FD fd = store_open(store, path, O_RDONLY | O_DIRECTORY, 0);
    return fd < 0 && fd != -EACCES ? fd : 0;
}

int store_read_opened(struct store *store, int fd, size_t limit, struct buf *out, struct stat *st_r)
{
    int result = store_fstat(store, fd, st_r);
    if (result < 0)
        return result;
    if (!S_ISREG(st_r->st_mode))
        return -EINVAL;
    size_t start = out->len;
    for (;;) {
        size_t have = out->len - start;
        size_t left = (size_t)st_r->st_size > have ? (size_t)st_r->st_size - have : 0;
        size_t want = left + 1; /* one more shows growth */
        if (have + left > limit)
            return -EFBIG;
        result = buf_reserve(out, out->len + want);
        if (result < 0)
            return result;
        ssize_t got = store_pread(store, fd, out->data + out->len, want, (off_t)have);
        if (got < 0)
            return (int)got;
        out->len += (size_t)got;
        if (out->len - start > limit)
            return -EFBIG;
        if (got == 0 || out->len - start == (size_t)st_r->st_size)
            return 0;
    }
}

int store_read_file(struct store *store, const char *path, size_t limit, struct buf *out,
                    struct stat *st_r)
{
    /* O_NONBLOCK: a FIFO put there by another user must not hold a thread. */
    AUTO_FD fd = store_open(store, path, O_RDONLY | O_NONBLOCK, 0);
    return fd < 0 ? fd : store_read_opened(store, fd, limit, out, st_r);
}

int store_join(struct buf *out, const char *dir, const char *name)
{
    if (strcmp(dir, ".") != 0) {
        buf_add_string(out, dir);
        buf_add_char(out, '/');
    }
    buf_add_string(out, name);
    return buf_terminate(out);
}

int store_unique_path(struct store *store, const char *mailbox, const char *what, struct buf *out)
{
    static atomic_uint counter; /* distinguishes the threads of this process */
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (strcmp(mailbox, ".") != 0)
        buf_printf(out, "%s/", mailbox);
    buf_printf(out, "tmp/%lld.M%ldP%d_%s_%u.%s", (long long)now.tv_sec, now.tv_nsec / 1000,
               (int)getpid(), what, atomic_fetch_add(&counter, 1), store->hostname);
    return buf_terminate(out);
}

static int write_all(struct store *store, int fd, struct span content)
{
    for (size_t at = 0; at < content.len;) {
        ssize_t put = store_pwrite(store, fd, content.text + at, content.len - at, (off_t)at);
        if (put < 0)
            return (int)put;
        if (put == 0)
            return -EIO;
        at += (size_t)put;
    }
    return 0;
}

/* The mode of a new file in a mailbox: what its directory grants, for reading and writing. */
static int default_mode(struct store *store, const char *mailbox, mode_t *mode_r)
{
    struct stat dir;
    int result = store_stat(store, mailbox, &dir);
    if (result == 0)
        *mode_r = dir.st_mode & 0666;
    return result;
}

int draft_write(struct store *store, const char *mailbox, struct span content,
                const struct stat *like, struct draft *draft_r)
{
    *draft_r = (struct draft){.path = BUF_EMPTY};
    mode_t mode = 0;
    int result = 0;
    if (like != NULL)
        mode = like->st_mode & 07777;
    else
        result = default_mode(store, mailbox, &mode);
    if (result == 0)
        result = store_unique_path(store, mailbox, "courierfs", &draft_r->path);
    if (result < 0) {
        buf_release(&draft_r->path);
        return result;
    }
    AUTO_FD fd = store_open(store, draft_r->path.data, O_WRONLY | O_CREAT | O_EXCL, mode);
    if (fd < 0) {
        buf_release(&draft_r->path);
        return fd;
    }
    result = write_all(store, fd, content);
    if (result == 0 && like != NULL) {
        /* Another owner is kept where the caller may; it is no reason to fail where not. */
        if (like->st_uid != geteuid() || like->st_gid != getegid())
            (void)store_chown(store, draft_r->path.data, like->st_uid, like->st_gid);
    }
    if (result == 0)
        result = store_fsync(store, fd, false);
    if (result == 0)
        result = store_fstat(store, fd, &draft_r->st);
    if (result < 0)
        draft_discard(store, draft_r);
    return result;
}

int store_sync_directory(struct store *store, const char *path)
{
    AUTO_FD fd = store_open(store, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    int result = store_fsync(store, fd, false);
    /* Some file systems have nothing to sync for a directory. */
    return result == -EINVAL ? 0 : result;
}

int draft_install(struct store *store, struct draft *draft, const char *mailbox, const char *target)
{
    int result = store_rename(store, draft->path.data, target, 0);
    if (result < 0)
        return result;
    buf_release(&draft->path);
    return store_sync_directory(store, mailbox);
}

void draft_discard(struct store *store, struct draft *draft)
{
    if (draft->path.len > 0)
        (void)store_unlink(store, draft->path.data);
    buf_release(&draft->path);
}
