/* The store: the only room that touches the mail site's files.
 *
 * Every path is relative to the store's root ("." is the root itself) and every call is made with
 * the credentials the current thread has taken on with caller_become(). No call follows a symbolic
 * link in the last component. All functions return 0 (or a count or descriptor) or -errno.
 *
 * The calls go through one table, so that a test can put a slow, failing or counting store in the
 * place of the real one. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <time.h>
#include "base/buf.h"

struct store;

/* As the offset of a write: at the end of the file, wherever that is at the moment. (O_APPEND at
 * open would do the same to writes that must not move: those of mapped pages.) */
#define STORE_AT_END ((off_t)-1)

/* What getdents() fills in; the C library has no name for it. */
struct linux_dirent {
    uint64_t d_ino;
    int64_t d_off;
    unsigned short d_reclen;
    unsigned char d_type;
    char d_name[];
};

struct store_ops {
    int (*open)(struct store *store, const char *path, int flags, mode_t mode);
    int (*stat)(struct store *store, const char *path, struct stat *st_r);
    ssize_t (*readlink)(struct store *store, const char *path, char *out, size_t size);
    int (*mknod)(struct store *store, const char *path, mode_t mode, dev_t device);
    int (*mkdir)(struct store *store, const char *path, mode_t mode);
    int (*symlink)(struct store *store, const char *target, const char *path);
    int (*link)(struct store *store, const char *from, const char *to);
    int (*unlink)(struct store *store, const char *path);
    int (*rmdir)(struct store *store, const char *path);
    int (*rename)(struct store *store, const char *from, const char *to, unsigned flags);
    int (*chmod)(struct store *store, const char *path, mode_t mode);
    int (*chown)(struct store *store, const char *path, uid_t uid, gid_t gid);
    int (*truncate)(struct store *store, const char *path, off_t size);
    int (*utimens)(struct store *store, const char *path, const struct timespec times[2]);
    int (*statvfs)(struct store *store, struct statvfs *st_r);
    ssize_t (*getxattr)(struct store *store, const char *path, const char *name, void *value,
                        size_t size);
    ssize_t (*listxattr)(struct store *store, const char *path, char *names, size_t size);
    int (*setxattr)(struct store *store, const char *path, const char *name, const void *value,
                    size_t size, int flags);
    int (*removexattr)(struct store *store, const char *path, const char *name);
    /* On descriptors that open() gave. */
    ssize_t (*pread)(struct store *store, int fd, void *out, size_t size, off_t offset);
    ssize_t (*pwrite)(struct store *store, int fd, const void *bytes, size_t size, off_t offset);
    ssize_t (*getdents)(struct store *store, int fd, void *out, size_t size);
    int (*fstat)(struct store *store, int fd, struct stat *st_r);
    int (*ftruncate)(struct store *store, int fd, off_t size);
    int (*fallocate)(struct store *store, int fd, int mode, off_t offset, off_t len);
    int (*fsync)(struct store *store, int fd, bool data_only);
};

/* One counter for each entry of the table, in its order. */
enum store_call {
    STORE_OPEN,
    STORE_STAT,
    STORE_READLINK,
    STORE_MKNOD,
    STORE_MKDIR,
    STORE_SYMLINK,
    STORE_LINK,
    STORE_UNLINK,
    STORE_RMDIR,
    STORE_RENAME,
    STORE_CHMOD,
    STORE_CHOWN,
    STORE_TRUNCATE,
    STORE_UTIMENS,
    STORE_STATVFS,
    STORE_XATTR,
    STORE_READ,
    STORE_WRITE,
    STORE_GETDENTS,
    STORE_FSTAT,
    STORE_FTRUNCATE,
    STORE_FALLOCATE,
    STORE_FSYNC,
    STORE_CALL_COUNT
};

struct store {
    const struct store_ops *ops;
    char *root_path;    /* absolute */
    int root_fd;        /* O_PATH */
    dev_t root_device;  /* inode numbers of other devices are mixed with theirs */
    bool read_only;     /* every call that would write answers -EROFS */
    char hostname[256]; /* gethostname(), as both servers write it into locks */
    atomic_uint_least64_t calls[STORE_CALL_COUNT];
};

extern const struct store_ops store_posix_ops;

/* The name of a counter, for reports. */
const char *store_call_name(enum store_call call);

/* Opens PATH, which must be a directory. 0, or -errno with nothing open. */
int store_init(struct store *store, const char *path, bool read_only);
void store_release(struct store *store);

int store_open(struct store *store, const char *path, int flags, mode_t mode);
int store_stat(struct store *store, const char *path, struct stat *st_r);
ssize_t store_readlink(struct store *store, const char *path, char *out, size_t size);
int store_mknod(struct store *store, const char *path, mode_t mode, dev_t device);
int store_mkdir(struct store *store, const char *path, mode_t mode);
int store_symlink(struct store *store, const char *target, const char *path);
int store_link(struct store *store, const char *from, const char *to);
int store_unlink(struct store *store, const char *path);
int store_rmdir(struct store *store, const char *path);
int store_rename(struct store *store, const char *from, const char *to, unsigned flags);
int store_chmod(struct store *store, const char *path, mode_t mode);
int store_chown(struct store *store, const char *path, uid_t uid, gid_t gid);
int store_truncate(struct store *store, const char *path, off_t size);
int store_utimens(struct store *store, const char *path, const struct timespec times[2]);
int store_statvfs(struct store *store, struct statvfs *st_r);
ssize_t store_getxattr(struct store *store, const char *path, const char *name, void *value,
                       size_t size);
ssize_t store_listxattr(struct store *store, const char *path, char *names, size_t size);
int store_setxattr(struct store *store, const char *path, const char *name, const void *value,
                   size_t size, int flags);
int store_removexattr(struct store *store, const char *path, const char *name);
ssize_t store_pread(struct store *store, int fd, void *out, size_t size, off_t offset);
ssize_t store_pwrite(struct store *store, int fd, const void *bytes, size_t size, off_t offset);
ssize_t store_getdents(struct store *store, int fd, void *out, size_t size);
int store_fstat(struct store *store, int fd, struct stat *st_r);
int store_ftruncate(struct store *store, int fd, off_t size);
int store_fallocate(struct store *store, int fd, int mode, off_t offset, off_t len);
int store_fsync(struct store *store, int fd, bool data_only);

/* The inode number to show for a file of the store: its own, or mixed with its device's number if
 * it is not on the root's device. */
uint64_t store_shown_ino(const struct store *store, const struct stat *st);
