#include "fuse/fs.h"

#include <errno.h>

static const char *const request_names[REQUEST_COUNT] = {
    [REQUEST_LOOKUP] = "lookup",       [REQUEST_FORGET] = "forget",
    [REQUEST_GETATTR] = "getattr",     [REQUEST_SETATTR] = "setattr",
    [REQUEST_READLINK] = "readlink",   [REQUEST_MAKE] = "make",
    [REQUEST_UNLINK] = "unlink",       [REQUEST_RMDIR] = "rmdir",
    [REQUEST_RENAME] = "rename",       [REQUEST_OPEN] = "open",
    [REQUEST_CREATE] = "create",       [REQUEST_READ] = "read",
    [REQUEST_WRITE] = "write",         [REQUEST_FLUSH] = "flush",
    [REQUEST_RELEASE] = "release",     [REQUEST_FSYNC] = "fsync",
    [REQUEST_FALLOCATE] = "fallocate", [REQUEST_OPENDIR] = "opendir",
    [REQUEST_READDIR] = "readdir",     [REQUEST_RELEASEDIR] = "releasedir",
    [REQUEST_FSYNCDIR] = "fsyncdir",   [REQUEST_STATFS] = "statfs",
    [REQUEST_XATTR] = "xattr",         [REQUEST_IOCTL] = "ioctl",
};

const char *fs_request_name(enum request request)
{
    return request_names[request];
}

int fs_init(struct fs *fs, struct store *store, struct bridge *bridge, double attr_timeout,
            bool control_layout)
{
    /* By its descriptor: on an NFS export root may not be allowed to look into it. */
    struct stat root;
    int error = store_fstat(store, store->root_fd, &root);
    if (error != 0)
        return error;
    *fs = (struct fs){.store = store,
                      .bridge = bridge,
                      .attr_timeout = attr_timeout,
                      .control_layout = control_layout};
    fs->nodes = node_table_new(&root, control_layout);
    fs->has_xattr = store_listxattr(store, ".", NULL, 0) != -EOPNOTSUPP;
    return fs->nodes != NULL ? 0 : -ENOMEM;
}

void fs_release(struct fs *fs)
{
    node_table_free(fs->nodes);
    fs->nodes = NULL;
}

static double at_most_one_second(const struct fs *fs)
{
    return fs->attr_timeout < 1.0 ? fs->attr_timeout : 1.0;
}

double fs_entry_timeout(const struct fs *fs, const struct node *node)
{
    /* A message's name must go as soon as another server gives it other flags: Dovecot takes a STORE
     * for done, and renames nothing, when the file has the name that it should get. */
    if (node->kind != NODE_STORE || node->role == ROLE_CONTROL || node->role == ROLE_MESSAGE)
        return 0;
    return node->role == ROLE_FILE ? at_most_one_second(fs) : fs->attr_timeout;
}

double fs_attr_timeout(const struct fs *fs, const struct node *node)
{
    if (node->kind != NODE_STORE)
        return 0;
    enum node_role role = node->role;
    switch (role) {
    case ROLE_CUR:
    case ROLE_NEW:
        /* Dovecot sees new mail and changed flags by these times. */
    case ROLE_CONTROL:
        return 0;
    case ROLE_DIR:
    case ROLE_TMP:
    case ROLE_INBOX:
    case ROLE_MESSAGE:
        return fs->attr_timeout;
    case ROLE_FILE:
        break;
    }
    return at_most_one_second(fs);
}

void fs_show(const struct fs *fs, const struct node *node, struct stat *st)
{
    st->st_ino = store_shown_ino(fs->store, st);
    if (node->role == ROLE_INBOX)
        st->st_ino ^= FS_OTHER_INO;
}

void fs_entry(const struct fs *fs, struct node *node, const struct stat *st,
              struct fuse_entry_param *entry_r)
{
    *entry_r = (struct fuse_entry_param){
        .ino = (uintptr_t)node,
        .generation = node->generation,
        .attr = *st,
        .attr_timeout = fs_attr_timeout(fs, node),
        .entry_timeout = fs_entry_timeout(fs, node),
    };
    if (node->kind == NODE_STORE)
        fs_show(fs, node, &entry_r->attr);
}

bool fs_is_gone(int error)
{
    return error == -ENOENT || error == -ENOTDIR || error == -ESTALE;
}
