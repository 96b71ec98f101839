/* The real store: a directory of the kernel's. */
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"

static int result(int answer)
{
    return answer < 0 ? -errno : answer;
}

static ssize_t count(ssize_t answer)
{
    return answer < 0 ? -errno : answer;
}

static int posix_open(struct store *store, const char *path, int flags, mode_t mode)
{
    return result(openat(store->root_fd, path, flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, mode));
}

static int posix_stat(struct store *store, const char *path, struct stat *st_r)
{
    return result(fstatat(store->root_fd, path, st_r, AT_SYMLINK_NOFOLLOW));
}

static ssize_t posix_readlink(struct store *store, const char *path, char *out, size_t size)
{
    return count(readlinkat(store->root_fd, path, out, size));
}

static int posix_mknod(struct store *store, const char *path, mode_t mode, dev_t device)
{
    return result(mknodat(store->root_fd, path, mode, device));
}

static int posix_mkdir(struct store *store, const char *path, mode_t mode)
{
    return result(mkdirat(store->root_fd, path, mode));
}

static int posix_symlink(struct store *store, const char *target, const char *path)
{
    return result(symlinkat(target, store->root_fd, path));
}

static int posix_link(struct store *store, const char *from, const char *to)
{
    return result(linkat(store->root_fd, from, store->root_fd, to, 0));
}

static int posix_unlink(struct store *store, const char *path)
{
    return result(unlinkat(store->root_fd, path, 0));
}

static int posix_rmdir(struct store *store, const char *path)
{
    return result(unlinkat(store->root_fd, path, AT_REMOVEDIR));
}

static int posix_rename(struct store *store, const char *from, const char *to, unsigned flags)
{
    if (flags == 0)
        return result(renameat(store->root_fd, from, store->root_fd, to));
    return result(renameat2(store->root_fd, from, store->root_fd, to, flags));
}

static int posix_chmod(struct store *store, const char *path, mode_t mode)
{
    /* The C library goes through an O_PATH descriptor for this flag and refuses links. */
    return result(fchmodat(store->root_fd, path, mode, AT_SYMLINK_NOFOLLOW));
}

static int posix_chown(struct store *store, const char *path, uid_t uid, gid_t gid)
{
    return result(fchownat(store->root_fd, path, uid, gid, AT_SYMLINK_NOFOLLOW));
}

static int posix_truncate(struct store *store, const char *path, off_t size)
{
    /* There is no truncateat; O_NONBLOCK, lest a FIFO of that name keeps us waiting. */
    AUTO_FD fd = posix_open(store, path, O_WRONLY | O_NONBLOCK, 0);
    if (fd < 0)
        return fd;
    return result(ftruncate(fd, size));
}

static int posix_utimens(struct store *store, const char *path, const struct timespec times[2])
{
    return result(utimensat(store->root_fd, path, times, AT_SYMLINK_NOFOLLOW));
}

static int posix_statvfs(struct store *store, struct statvfs *st_r)
{
    return result(fstatvfs(store->root_fd, st_r));
}

/* There are no *at calls for extended attributes. */
static int absolute(const struct store *store, const char *path, char out[PATH_MAX])
{
    int len = snprintf(out, PATH_MAX, "%s/%s", store->root_path, path);
    return len < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static ssize_t posix_getxattr(struct store *store, const char *path, const char *name, void *value,
                              size_t size)
{
    char whole[PATH_MAX];
    int error = absolute(store, path, whole);
    return error != 0 ? error : count(lgetxattr(whole, name, value, size));
}

static ssize_t posix_listxattr(struct store *store, const char *path, char *names, size_t size)
{
    char whole[PATH_MAX];
    int error = absolute(store, path, whole);
    return error != 0 ? error : count(llistxattr(whole, names, size));
}

static int posix_setxattr(struct store *store, const char *path, const char *name,
                          const void *value, size_t size, int flags)
{
    char whole[PATH_MAX];
    int error = absolute(store, path, whole);
    return error != 0 ? error : result(lsetxattr(whole, name, value, size, flags));
}

static int posix_removexattr(struct store *store, const char *path, const char *name)
{
    char whole[PATH_MAX];
    int error = absolute(store, path, whole);
    return error != 0 ? error : result(lremovexattr(whole, name));
}

static ssize_t posix_pread(struct store *store, int fd, void *out, size_t size, off_t offset)
{
    (void)store;
    return count(pread(fd, out, size, offset));
}

static ssize_t posix_pwrite(struct store *store, int fd, const void *bytes, size_t size,
                            off_t offset)
{
    (void)store;
    if (offset != STORE_AT_END)
        return count(pwrite(fd, bytes, size, offset));
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    return count(pwritev2(fd, &piece, 1, 0, RWF_APPEND));
}

static ssize_t posix_getdents(struct store *store, int fd, void *out, size_t size)
{
    (void)store;
    return count(syscall(SYS_getdents64, fd, out, size));
}

static int posix_fstat(struct store *store, int fd, struct stat *st_r)
{
    (void)store;
    return result(fstat(fd, st_r));
}

static int posix_ftruncate(struct store *store, int fd, off_t size)
{
    (void)store;
    return result(ftruncate(fd, size));
}

static int posix_fallocate_range(struct store *store, int fd, int mode, off_t offset, off_t len)
{
    (void)store;
    return result(fallocate(fd, mode, offset, len));
}

static int posix_fsync(struct store *store, int fd, bool data_only)
{
    (void)store;
    return result(data_only ? fdatasync(fd) : fsync(fd));
}

const struct store_ops store_posix_ops = {
    .open = posix_open,
    .stat = posix_stat,
    .readlink = posix_readlink,
    .mknod = posix_mknod,
    .mkdir = posix_mkdir,
    .symlink = posix_symlink,
    .link = posix_link,
    .unlink = posix_unlink,
    .rmdir = posix_rmdir,
    .rename = posix_rename,
    .chmod = posix_chmod,
    .chown = posix_chown,
    .truncate = posix_truncate,
    .utimens = posix_utimens,
    .statvfs = posix_statvfs,
    .getxattr = posix_getxattr,
    .listxattr = posix_listxattr,
    .setxattr = posix_setxattr,
    .removexattr = posix_removexattr,
    .pread = posix_pread,
    .pwrite = posix_pwrite,
    .getdents = posix_getdents,
    .fstat = posix_fstat,
    .ftruncate = posix_ftruncate,
    .fallocate = posix_fallocate_range,
    .fsync = posix_fsync,
};
