#include "fuse/attr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fuse/control.h"
#include "fuse/files.h"
#include "fuse/status.h"

/* A file without a name, or one whose name is another's by now, is still there for whoever has it
 * open: the kernel's fstat does not say which descriptor it is for. */
static int stat_open(struct fs *fs, struct node *node, struct stat *st_r)
{
    struct open_file *file = open_file_of(fs->nodes, node);
    if (file == NULL)
        return -ESTALE;
    int error = store_fstat(fs->store, file->fd, st_r);
    open_file_unref(file);
    return error;
}

static int stat_node(struct fs *fs, const struct caller *caller, struct node *node,
                     struct stat *st_r)
{
    char path[PATH_MAX];
    int error = node_reach(fs, caller, node, path, st_r);
    return error == -ESTALE ? stat_open(fs, node, st_r) : error;
}

static int show_store(struct fs *fs, const struct caller *caller, struct node *node,
                      struct stat *st)
{
    int error = 0;
    if (node->role == ROLE_CUR || node->role == ROLE_NEW) {
        struct directory dir;
        error = directory_locate(fs, node, &dir);
        if (error == 0)
            error = message_dir_times(fs->bridge, caller, &dir.mailbox, node->role == ROLE_CUR, st);
    }
    fs_show(fs, node, st);
    return error;
}

int attr_get(struct fs *fs, const struct caller *caller, struct node *node,
             const struct fuse_file_info *fi, struct stat *st_r)
{
    switch (node->kind) {
    case NODE_CONTROL:
        return control_attr(node->control, caller, st_r);
    case NODE_STATUS:
        status_stat(st_r);
        return 0;
    case NODE_STORE:
        break;
    }
    int fd = fi != NULL ? file_descriptor(fi) : -1;
    int error = fd >= 0 ? store_fstat(fs->store, fd, st_r) : stat_node(fs, caller, node, st_r);
    return error != 0 ? error : show_store(fs, caller, node, st_r);
}

void attr_times(const struct stat *wanted, int to_set, struct timespec times_r[2])
{
    times_r[0] = wanted->st_atim;
    times_r[1] = wanted->st_mtim;
    if ((to_set & FUSE_SET_ATTR_ATIME_NOW) != 0)
        times_r[0].tv_nsec = UTIME_NOW;
    else if ((to_set & FUSE_SET_ATTR_ATIME) == 0)
        times_r[0].tv_nsec = UTIME_OMIT;
    if ((to_set & FUSE_SET_ATTR_MTIME_NOW) != 0)
        times_r[1].tv_nsec = UTIME_NOW;
    else if ((to_set & FUSE_SET_ATTR_MTIME) == 0)
        times_r[1].tv_nsec = UTIME_OMIT;
}

/* Dovecot changes owner and mode to what they are in order to flush the caches of NFS. */
static int set_owner(struct fs *fs, const char *path, const struct stat *now,
                     const struct stat *wanted, int to_set)
{
    uid_t uid = (uid_t)-1;
    gid_t gid = (gid_t)-1;
    if ((to_set & FUSE_SET_ATTR_UID) != 0 && wanted->st_uid != now->st_uid)
        uid = wanted->st_uid;
    if ((to_set & FUSE_SET_ATTR_GID) != 0 && wanted->st_gid != now->st_gid)
        gid = wanted->st_gid;
    if (uid == (uid_t)-1 && gid == (gid_t)-1)
        return 0;
    return store_chown(fs->store, path, uid, gid);
}

static int set_mode(struct fs *fs, const char *path, const struct stat *now,
                    const struct stat *wanted, int to_set)
{
    const mode_t bits = 07777;
    if ((to_set & FUSE_SET_ATTR_MODE) == 0 || (wanted->st_mode & bits) == (now->st_mode & bits))
        return 0;
    return store_chmod(fs->store, path, wanted->st_mode & bits);
}

static int set_times(struct fs *fs, const char *path, const struct stat *wanted, int to_set)
{
    if ((to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME)) == 0)
        return 0;
    struct timespec times[2];
    attr_times(wanted, to_set, times);
    return store_utimens(fs->store, path, times);
}

/* The size first, as it moves the mtime; the mode after the owner, as chown clears its bits. */
static int set_store(struct fs *fs, const char *path, const struct stat *now,
                     const struct stat *wanted, int to_set)
{
    int error = 0;
    if ((to_set & FUSE_SET_ATTR_SIZE) != 0)
        error = store_truncate(fs->store, path, wanted->st_size);
    if (error == 0)
        error = set_owner(fs, path, now, wanted, to_set);
    if (error == 0)
        error = set_mode(fs, path, now, wanted, to_set);
    if (error == 0)
        error = set_times(fs, path, wanted, to_set);
    return error;
}

int attr_set(struct fs *fs, const struct caller *caller, struct node *node,
             const struct stat *wanted, int to_set, const struct fuse_file_info *fi,
             struct stat *st_r)
{
    if (node->kind == NODE_CONTROL)
        return control_set_attr(node->control, caller, wanted, to_set, st_r);
    if (node->kind == NODE_STATUS)
        return to_set == 0 ? attr_get(fs, caller, node, fi, st_r) : -EPERM;
    const int settable = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID |
                         FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME;
    int fd = fi != NULL ? file_descriptor(fi) : -1;
    int error = 0;
    if (fd >= 0 && (to_set & FUSE_SET_ATTR_SIZE) != 0) {
        error = store_ftruncate(fs->store, fd, wanted->st_size);
        to_set &= ~FUSE_SET_ATTR_SIZE;
    }
    if (error == 0 && (to_set & settable) != 0) {
        char path[PATH_MAX];
        struct stat now;
        error = node_reach(fs, caller, node, path, &now);
        if (error == 0)
            error = set_store(fs, path, &now, wanted, to_set);
    }
    return error != 0 ? error : attr_get(fs, caller, node, fi, st_r);
}

/* ---- extended attributes ---- */

static bool is_users(const char *name)
{
    return strncmp(name, "user.", 5) == 0;
}

static int extended_path(struct fs *fs, struct node *node, const char *name, char path[PATH_MAX])
{
    if (!fs->has_xattr)
        return -ENOSYS;
    if (node->kind != NODE_STORE || (name != NULL && !is_users(name)))
        return -EOPNOTSUPP;
    return node_path(fs->nodes, node, path);
}

ssize_t attr_get_extended(struct fs *fs, struct node *node, const char *name, void *value,
                          size_t size)
{
    char path[PATH_MAX];
    int error = extended_path(fs, node, name, path);
    return error != 0 ? error : store_getxattr(fs->store, path, name, value, size);
}

/* Keeps the names that can be asked for. */
static size_t keep_users(char *names, size_t size)
{
    size_t kept = 0;
    for (size_t at = 0; at < size;) {
        size_t len = strnlen(names + at, size - at) + 1;
        if (is_users(names + at)) {
            memmove(names + kept, names + at, len);
            kept += len;
        }
        at += len;
    }
    return kept;
}

ssize_t attr_list_extended(struct fs *fs, struct node *node, char *names, size_t size)
{
    char path[PATH_MAX];
    int error = extended_path(fs, node, NULL, path);
    if (error != 0)
        return error;
    AUTO_FREE char *all = malloc(XATTR_LIST_MAX);
    if (all == NULL)
        return -ENOMEM;
    ssize_t len = store_listxattr(fs->store, path, all, XATTR_LIST_MAX);
    if (len < 0)
        return len;
    size_t kept = keep_users(all, (size_t)len);
    if (size == 0)
        return (ssize_t)kept;
    if (kept > size)
        return -ERANGE;
    memcpy(names, all, kept);
    return (ssize_t)kept;
}

int attr_set_extended(struct fs *fs, struct node *node, const char *name, const void *value,
                      size_t size, int flags)
{
    char path[PATH_MAX];
    int error = extended_path(fs, node, name, path);
    return error != 0 ? error : store_setxattr(fs->store, path, name, value, size, flags);
}

int attr_remove_extended(struct fs *fs, struct node *node, const char *name)
{
    char path[PATH_MAX];
    int error = extended_path(fs, node, name, path);
    return error != 0 ? error : store_removexattr(fs->store, path, name);
}
