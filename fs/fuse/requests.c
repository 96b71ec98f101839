/* The kernel's requests. Each handler takes on the caller's rights, calls one function and replies
 * once. */
#include "fuse/requests.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fuse/attr.h"
#include "fuse/dirs.h"
#include "fuse/files.h"
#include "fuse/names.h"

_Static_assert(sizeof(fuse_ino_t) >= sizeof(uintptr_t), "a node's number is its address");
_Static_assert(FUSE_ROOT_ID == 1, "which no address is");

static struct fs *fs_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

static struct node *node_of(fuse_req_t req, fuse_ino_t ino)
{
    if (ino == FUSE_ROOT_ID)
        return node_table_root(fs_of(req)->nodes);
    return (struct node *)(uintptr_t)ino;
}

static void counted(fuse_req_t req, enum request request)
{
    atomic_fetch_add_explicit(&fs_of(req)->requests[request], 1, memory_order_relaxed);
}

/* From here on the thread acts as the process that asks. 0, or -errno: then nothing may be done. */
static int begin(fuse_req_t req, enum request request, struct caller *caller_r)
{
    counted(req, request);
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    caller_r->uid = ctx->uid;
    caller_r->gid = ctx->gid;
    caller_r->pid = ctx->pid;
    caller_r->group_count = -1;
    return caller_become(caller_r);
}

static void reply(fuse_req_t req, int error)
{
    fuse_reply_err(req, -error);
}

/* A reply that did not reach the kernel leaves its reference with us. */
static void reply_entry(fuse_req_t req, int error, const struct fuse_entry_param *entry)
{
    if (error != 0)
        reply(req, error);
    else {
        struct fs *fs = fs_of(req);
        struct node *node = node_of(req, entry->ino);
        if (fuse_reply_entry(req, entry) == -ENOENT)
            node_unref(fs->nodes, node, 1);
    }
}

static void reply_attr(fuse_req_t req, int error, struct node *node, const struct stat *st)
{
    if (error != 0)
        reply(req, error);
    else
        fuse_reply_attr(req, st, fs_attr_timeout(fs_of(req), node));
}

static void reply_data(fuse_req_t req, ssize_t len, const char *data)
{
    if (len < 0)
        reply(req, (int)len);
    else
        fuse_reply_buf(req, data, (size_t)len);
}

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
    (void)userdata;
    /* Dovecot does not look at what it lists; its names carry the sizes. */
    conn->want &= ~(unsigned)(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
    /* Writes must be below before fsync, rename and close return. */
    conn->want &= ~(unsigned)FUSE_CAP_WRITEBACK_CACHE;
    conn->want |= conn->capable & FUSE_CAP_PARALLEL_DIROPS;
    conn->time_gran = 1;
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct caller caller;
    struct fuse_entry_param entry;
    int error = begin(req, REQUEST_LOOKUP, &caller);
    if (error == 0)
        error = lookup_name(fs_of(req), &caller, node_of(req, parent), name, &entry);
    reply_entry(req, error, &entry);
}

static void on_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
    counted(req, REQUEST_FORGET);
    node_unref(fs_of(req)->nodes, node_of(req, ino), nlookup);
    fuse_reply_none(req);
}

static void on_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    counted(req, REQUEST_FORGET);
    for (size_t i = 0; i < count; i++)
        node_unref(fs_of(req)->nodes, node_of(req, forgets[i].ino), forgets[i].nlookup);
    fuse_reply_none(req);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct caller caller;
    struct stat st;
    struct node *node = node_of(req, ino);
    int error = begin(req, REQUEST_GETATTR, &caller);
    if (error == 0)
        error = attr_get(fs_of(req), &caller, node, fi, &st);
    reply_attr(req, error, node, &st);
}

static void on_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *wanted, int to_set,
                       struct fuse_file_info *fi)
{
    struct caller caller;
    struct stat st;
    struct node *node = node_of(req, ino);
    int error = begin(req, REQUEST_SETATTR, &caller);
    if (error == 0)
        error = attr_set(fs_of(req), &caller, node, wanted, to_set, fi, &st);
    reply_attr(req, error, node, &st);
}

static void on_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct caller caller;
    char path[PATH_MAX];
    char target[PATH_MAX + 1];
    ssize_t len = begin(req, REQUEST_READLINK, &caller);
    if (len == 0)
        len = node_path(fs_of(req)->nodes, node_of(req, ino), path);
    if (len == 0)
        len = store_readlink(fs_of(req)->store, path, target, PATH_MAX);
    if (len < 0) {
        reply(req, fs_is_gone((int)len) ? -ESTALE : (int)len);
        return;
    }
    target[len] = '\0';
    fuse_reply_readlink(req, target);
}

static void on_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
    struct caller caller;
    struct fuse_entry_param entry;
    int error = begin(req, REQUEST_MAKE, &caller);
    if (error == 0)
        error = names_mknod(fs_of(req), &caller, node_of(req, parent), name, mode, device, &entry);
    reply_entry(req, error, &entry);
}

static void on_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct caller caller;
    struct fuse_entry_param entry;
    int error = begin(req, REQUEST_MAKE, &caller);
    if (error == 0)
        error = names_mkdir(fs_of(req), &caller, node_of(req, parent), name, mode, &entry);
    reply_entry(req, error, &entry);
}

static void on_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    struct caller caller;
    struct fuse_entry_param entry;
    int error = begin(req, REQUEST_MAKE, &caller);
    if (error == 0)
        error = names_symlink(fs_of(req), &caller, target, node_of(req, parent), name, &entry);
    reply_entry(req, error, &entry);
}

static void on_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
    struct caller caller;
    struct fuse_entry_param entry;
    int error = begin(req, REQUEST_MAKE, &caller);
    if (error == 0)
        error = names_link(fs_of(req), &caller, node_of(req, ino), node_of(req, new_parent),
                           new_name, &entry);
    reply_entry(req, error, &entry);
}

static void on_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct caller caller;
    int error = begin(req, REQUEST_UNLINK, &caller);
    if (error == 0)
        error = names_unlink(fs_of(req), &caller, node_of(req, parent), name);
    reply(req, error);
}

static void on_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct caller caller;
    int error = begin(req, REQUEST_RMDIR, &caller);
    if (error == 0)
        error = names_rmdir(fs_of(req), &caller, node_of(req, parent), name);
    reply(req, error);
}

static void on_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                      const char *new_name, unsigned flags)
{
    struct caller caller;
    int error = begin(req, REQUEST_RENAME, &caller);
    if (error == 0)
        error = names_rename(fs_of(req), &caller, node_of(req, parent), name,
                             node_of(req, new_parent), new_name, flags);
    reply(req, error);
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct caller caller;
    struct fs *fs = fs_of(req);
    int error = begin(req, REQUEST_OPEN, &caller);
    if (error == 0)
        error = file_open(fs, &caller, node_of(req, ino), fi);
    if (error != 0)
        reply(req, error);
    else if (fuse_reply_open(req, fi) == -ENOENT)
        file_release(fs, fi);
}

static void on_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                      struct fuse_file_info *fi)
{
    struct caller caller;
    struct fuse_entry_param entry;
    struct fs *fs = fs_of(req);
    int error = begin(req, REQUEST_CREATE, &caller);
    if (error == 0)
        error = file_create(fs, &caller, node_of(req, parent), name, mode, fi, &entry);
    if (error != 0) {
        reply(req, error);
    } else if (fuse_reply_create(req, &entry, fi) == -ENOENT) {
        file_release(fs, fi);
        node_unref(fs->nodes, (struct node *)(uintptr_t)entry.ino, 1);
    }
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *fi)
{
    (void)ino;
    struct caller caller;
    AUTO_FREE char *data = malloc(size);
    ssize_t len = data != NULL ? begin(req, REQUEST_READ, &caller) : -ENOMEM;
    if (len == 0)
        len = file_read(fs_of(req), &caller, fi, data, size, offset);
    reply_data(req, len, data);
}

static void on_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
                     struct fuse_file_info *fi)
{
    (void)ino;
    struct caller caller;
    ssize_t len = begin(req, REQUEST_WRITE, &caller);
    if (len == 0)
        len = file_write(fs_of(req), &caller, fi, bytes, size, offset);
    if (len < 0)
        reply(req, (int)len);
    else
        fuse_reply_write(req, (size_t)len);
}

static void on_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    struct caller caller;
    int error = begin(req, REQUEST_FLUSH, &caller);
    if (error == 0)
        error = file_flush(fs_of(req), &caller, fi);
    reply(req, error);
}

/* No process asks for this one. */
static void on_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    counted(req, REQUEST_RELEASE);
    file_release(fs_of(req), fi);
    reply(req, 0);
}

static void on_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
    (void)ino;
    struct caller caller;
    int error = begin(req, REQUEST_FSYNC, &caller);
    if (error == 0)
        error = file_sync(fs_of(req), &caller, fi, data_only != 0);
    reply(req, error);
}

static void on_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t len,
                         struct fuse_file_info *fi)
{
    (void)ino;
    struct caller caller;
    int error = begin(req, REQUEST_FALLOCATE, &caller);
    if (error == 0)
        error = file_allocate(fs_of(req), fi, mode, offset, len);
    reply(req, error);
}

static void on_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct caller caller;
    int error = begin(req, REQUEST_OPENDIR, &caller);
    if (error == 0)
        error = dir_open(fs_of(req), &caller, node_of(req, ino), fi);
    if (error != 0)
        reply(req, error);
    else if (fuse_reply_open(req, fi) == -ENOENT)
        dir_release(fi);
}

static void on_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                       struct fuse_file_info *fi)
{
    struct caller caller;
    AUTO_FREE char *data = malloc(size);
    ssize_t len = data != NULL ? begin(req, REQUEST_READDIR, &caller) : -ENOMEM;
    if (len == 0)
        len = dir_read(req, fs_of(req), &caller, node_of(req, ino), fi, data, size, offset);
    reply_data(req, len, data);
}

static void on_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    counted(req, REQUEST_RELEASEDIR);
    dir_release(fi);
    reply(req, 0);
}

static void on_fsyncdir(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
    (void)fi;
    struct caller caller;
    int error = begin(req, REQUEST_FSYNCDIR, &caller);
    if (error == 0)
        error = dir_sync(fs_of(req), &caller, node_of(req, ino), data_only != 0);
    reply(req, error);
}

static void on_statfs(fuse_req_t req, fuse_ino_t ino)
{
    (void)ino;
    struct caller caller;
    struct statvfs st;
    int error = begin(req, REQUEST_STATFS, &caller);
    if (error == 0)
        error = store_statvfs(fs_of(req)->store, &st);
    if (error != 0)
        reply(req, error);
    else
        fuse_reply_statfs(req, &st);
}

/* Size 0 asks how long the answer would be. */
static void reply_extended(fuse_req_t req, ssize_t len, const char *data, size_t size)
{
    if (len >= 0 && size == 0)
        fuse_reply_xattr(req, (size_t)len);
    else
        reply_data(req, len, data);
}

static void on_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct caller caller;
    AUTO_FREE char *value = size > 0 ? malloc(size) : NULL;
    ssize_t len = size > 0 && value == NULL ? -ENOMEM : begin(req, REQUEST_XATTR, &caller);
    if (len == 0)
        len = attr_get_extended(fs_of(req), node_of(req, ino), name, value, size);
    reply_extended(req, len, value, size);
}

static void on_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct caller caller;
    AUTO_FREE char *names = size > 0 ? malloc(size) : NULL;
    ssize_t len = size > 0 && names == NULL ? -ENOMEM : begin(req, REQUEST_XATTR, &caller);
    if (len == 0)
        len = attr_list_extended(fs_of(req), node_of(req, ino), names, size);
    reply_extended(req, len, names, size);
}

static void on_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                        size_t size, int flags)
{
    struct caller caller;
    int error = begin(req, REQUEST_XATTR, &caller);
    if (error == 0)
        error = attr_set_extended(fs_of(req), node_of(req, ino), name, value, size, flags);
    reply(req, error);
}

static void on_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct caller caller;
    int error = begin(req, REQUEST_XATTR, &caller);
    if (error == 0)
        error = attr_remove_extended(fs_of(req), node_of(req, ino), name);
    reply(req, error);
}

static void on_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned command, void *arg,
                     struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
                     size_t out_size)
{
    (void)arg;
    (void)fi;
    struct caller caller;
    struct command_prove_sizes prove;
    int error = begin(req, REQUEST_IOCTL, &caller);
    if (error == 0 && ((flags & FUSE_IOCTL_DIR) == 0 || command != COMMAND_PROVE_SIZES ||
                       in_size != sizeof(prove) || out_size != sizeof(prove)))
        error = -ENOTTY;
    if (error == 0) {
        memcpy(&prove, in, sizeof(prove));
        error = dir_prove_sizes(fs_of(req), &caller, node_of(req, ino), &prove);
    }
    if (error != 0)
        reply(req, error);
    else
        fuse_reply_ioctl(req, 0, &prove, sizeof(prove));
}

/* No getlk, setlk and flock: the kernel keeps locks itself, for this mount. No access: the mount
 * has default_permissions. */
const struct fuse_lowlevel_ops request_ops = {
    .init = on_init,
    .lookup = on_lookup,
    .forget = on_forget,
    .forget_multi = on_forget_multi,
    .getattr = on_getattr,
    .setattr = on_setattr,
    .readlink = on_readlink,
    .mknod = on_mknod,
    .mkdir = on_mkdir,
    .symlink = on_symlink,
    .link = on_link,
    .unlink = on_unlink,
    .rmdir = on_rmdir,
    .rename = on_rename,
    .open = on_open,
    .create = on_create,
    .read = on_read,
    .write = on_write,
    .flush = on_flush,
    .release = on_release,
    .fsync = on_fsync,
    .fallocate = on_fallocate,
    .opendir = on_opendir,
    .readdir = on_readdir,
    .releasedir = on_releasedir,
    .fsyncdir = on_fsyncdir,
    .statfs = on_statfs,
    .getxattr = on_getxattr,
    .listxattr = on_listxattr,
    .setxattr = on_setxattr,
    .removexattr = on_removexattr,
    .ioctl = on_ioctl,
};
