#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "store/caller.h"

static const char *const call_names[STORE_CALL_COUNT] = {
    [STORE_OPEN] = "open",           [STORE_STAT] = "stat",       [STORE_READLINK] = "readlink",
    [STORE_MKNOD] = "mknod",         [STORE_MKDIR] = "mkdir",     [STORE_SYMLINK] = "symlink",
    [STORE_LINK] = "link",           [STORE_UNLINK] = "unlink",   [STORE_RMDIR] = "rmdir",
    [STORE_RENAME] = "rename",       [STORE_CHMOD] = "chmod",     [STORE_CHOWN] = "chown",
    [STORE_TRUNCATE] = "truncate",   [STORE_UTIMENS] = "utimens", [STORE_STATVFS] = "statvfs",
    [STORE_XATTR] = "xattr",         [STORE_READ] = "read",       [STORE_WRITE] = "write",
    [STORE_GETDENTS] = "getdents",   [STORE_FSTAT] = "fstat",     [STORE_FTRUNCATE] = "ftruncate",
    [STORE_FALLOCATE] = "fallocate", [STORE_FSYNC] = "fsync",
};

const char *store_call_name(enum store_call call)
{
    return call_names[call];
}

int store_init(struct store *store, const char *path, bool read_only)
{
    memset(store, 0, sizeof(*store));
    store->root_fd = -1;
    AUTO_FREE char *root_path = realpath(path, NULL);
    if (root_path == NULL)
        return -errno;
    AUTO_FD root_fd = open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    if (root_fd < 0 || fstat(root_fd, &st) < 0 ||
        gethostname(store->hostname, sizeof(store->hostname) - 1) < 0)
        return -errno;
    store->ops = &store_posix_ops;
    store->root_path = steal_pointer(&root_path);
    store->root_fd = steal_fd(&root_fd);
    store->root_device = st.st_dev;
    store->read_only = read_only;
    return 0;
}

void store_release(struct store *store)
{
    if (store->root_fd >= 0)
        close(store->root_fd);
    store->root_fd = -1;
    free(steal_pointer(&store->root_path));
}

/* The groups of a process are remembered for a second: before a refusal is believed, they are
 * looked at again. */
#define WITH_PRESENT_GROUPS(call)                                                                  \
    __extension__({                                                                                \
        __auto_type answer_ = (call);                                                              \
        if ((answer_ == -EACCES || answer_ == -EPERM) && caller_renew_groups())                    \
            answer_ = (call);                                                                      \
        answer_;                                                                                   \
    })

static void counted(struct store *store, enum store_call call)
{
    atomic_fetch_add_explicit(&store->calls[call], 1, memory_order_relaxed);
}

/* For every call that would change the store: counted only when it is made. */
static int may_write(struct store *store, enum store_call call)
{
    if (store->read_only)
        return -EROFS;
    counted(store, call);
    return 0;
}

int store_open(struct store *store, const char *path, int flags, mode_t mode)
{
    if (!store->read_only) {
        counted(store, STORE_OPEN);
        return WITH_PRESENT_GROUPS(store->ops->open(store, path, flags, mode));
    }
    if ((flags & O_ACCMODE) != O_RDONLY || (flags & (O_TRUNC | O_EXCL)) != 0)
        return -EROFS;
    /* What is there can be opened; only making it is refused. */
    counted(store, STORE_OPEN);
    int fd = WITH_PRESENT_GROUPS(store->ops->open(store, path, flags & ~O_CREAT, mode));
    return fd == -ENOENT && (flags & O_CREAT) != 0 ? -EROFS : fd;
}

int store_stat(struct store *store, const char *path, struct stat *st_r)
{
    counted(store, STORE_STAT);
    return WITH_PRESENT_GROUPS(store->ops->stat(store, path, st_r));
}

ssize_t store_readlink(struct store *store, const char *path, char *out, size_t size)
{
    counted(store, STORE_READLINK);
    return WITH_PRESENT_GROUPS(store->ops->readlink(store, path, out, size));
}

int store_mknod(struct store *store, const char *path, mode_t mode, dev_t device)
{
    int error = may_write(store, STORE_MKNOD);
    return error != 0 ? error : WITH_PRESENT_GROUPS(store->ops->mknod(store, path, mode, device));
}

int store_mkdir(struct store *store, const char *path, mode_t mode)
{
    int error = may_write(store, STORE_MKDIR);
    return error != 0 ? error : WITH_PRESENT_GROUPS(store->ops->mkdir(store, path, mode));
}

int store_symlink(struct store *store, const char *target, const char *path)
{
    int error = may_write(store, STORE_SYMLINK);
    return error != 0 ? error : WITH_PRESENT_GROUPS(store->ops->symlink(store, target, path));
}

int store_link(struct store *store, const char *from, const char *to)
{
    int error = may_write(store, STORE_LINK);
    return error != 0 ? error : WITH_PRESENT_GROUPS(store->ops->link(store, from, to));
}

int store_unlink(struct store *store, const char *path)
{
    int error = may_write(store, STORE_UNLINK);
    return error != 0 ? error : WITH_PRESENT_GROUPS(store->ops->unlink(store, path));
}

int store_rmdir(struct store *store, const char *path)
{
    int error = may_write(store, STORE_RMDIR);
    return error != 0 ? error : WITH_PRESENT_GROUPS(store->ops->rmdir(store, path));
}

int store_rename(struct store *store, const char *from, const char *to, unsigned flags)
{
    int error = may_write(store, STORE_RENAME);
    return error != 0 ? error : WITH_PRESENT_GROUPS(store->ops->rename(store, from, to, flags));
}

int store_chmod(struct store *store, const char *path, mode_t mode)
{
    int error = may_write(store, STORE_CHMOD);
    return error != 0 ? error : WITH_PRESENT_GROUPS(store->ops->chmod(store, path, mode));
}

int store_chown(struct store *store, const char *path, uid_t uid, gid_t gid)
{
    int error = may_write(store, STORE_CHOWN);
    return error != 0 ? error : WITH_PRESENT_GROUPS(store->ops->chown(store, path, uid, gid));
}

int store_truncate(struct store *store, const char *path, off_t size)
{
    int error = may_write(store, STORE_TRUNCATE);
    return error != 0 ? error : WITH_PRESENT_GROUPS(store->ops->truncate(store, path, size));
}

int store_utimens(struct store *store, const char *path, const struct timespec times[2])
{
    int error = may_write(store, STORE_UTIMENS);
    return error != 0 ? error : WITH_PRESENT_GROUPS(store->ops->utimens(store, path, times));
}

int store_statvfs(struct store *store, struct statvfs *st_r)
{
    counted(store, STORE_STATVFS);
    return store->ops->statvfs(store, st_r);
}

ssize_t store_getxattr(struct store *store, const char *path, const char *name, void *value,
                       size_t size)
{
    counted(store, STORE_XATTR);
    return WITH_PRESENT_GROUPS(store->ops->getxattr(store, path, name, value, size));
}

ssize_t store_listxattr(struct store *store, const char *path, char *names, size_t size)
{
    counted(store, STORE_XATTR);
    return WITH_PRESENT_GROUPS(store->ops->listxattr(store, path, names, size));
}

int store_setxattr(struct store *store, const char *path, const char *name, const void *value,
                   size_t size, int flags)
{
    int error = may_write(store, STORE_XATTR);
    return error != 0
               ? error
               : WITH_PRESENT_GROUPS(store->ops->setxattr(store, path, name, value, size, flags));
}

int store_removexattr(struct store *store, const char *path, const char *name)
{
    int error = may_write(store, STORE_XATTR);
    return error != 0 ? error : WITH_PRESENT_GROUPS(store->ops->removexattr(store, path, name));
}

ssize_t store_pread(struct store *store, int fd, void *out, size_t size, off_t offset)
{
    counted(store, STORE_READ);
    return store->ops->pread(store, fd, out, size, offset);
}

ssize_t store_pwrite(struct store *store, int fd, const void *bytes, size_t size, off_t offset)
{
    int error = may_write(store, STORE_WRITE);
    return error != 0 ? error : store->ops->pwrite(store, fd, bytes, size, offset);
}

ssize_t store_getdents(struct store *store, int fd, void *out, size_t size)
{
    counted(store, STORE_GETDENTS);
    return store->ops->getdents(store, fd, out, size);
}

int store_fstat(struct store *store, int fd, struct stat *st_r)
{
    counted(store, STORE_FSTAT);
    return store->ops->fstat(store, fd, st_r);
}

int store_ftruncate(struct store *store, int fd, off_t size)
{
    int error = may_write(store, STORE_FTRUNCATE);
    return error != 0 ? error : store->ops->ftruncate(store, fd, size);
}

int store_fallocate(struct store *store, int fd, int mode, off_t offset, off_t len)
{
    int error = may_write(store, STORE_FALLOCATE);
    return error != 0 ? error : store->ops->fallocate(store, fd, mode, offset, len);
}

int store_fsync(struct store *store, int fd, bool data_only)
{
    counted(store, STORE_FSYNC);
    return store->ops->fsync(store, fd, data_only);
}

uint64_t store_shown_ino(const struct store *store, const struct stat *st)
{
    if (st->st_dev == store->root_device)
        return st->st_ino;
    return st->st_ino ^ XXH3_64bits(&st->st_dev, sizeof(st->st_dev));
}
