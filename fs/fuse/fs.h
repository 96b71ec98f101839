/* The file system: what every request needs, and the few words the handlers share. */
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "bridge/bridge.h"
#include "fuse/nodes.h"
#include "store/caller.h"
#include "store/store.h"

/* What the kernel asks, as the counters tell it apart. */
enum request {
    REQUEST_LOOKUP,
    REQUEST_FORGET,
    REQUEST_GETATTR,
    REQUEST_SETATTR,
    REQUEST_READLINK,
    REQUEST_MAKE, /* mknod, mkdir, symlink, link */
    REQUEST_UNLINK,
    REQUEST_RMDIR,
    REQUEST_RENAME,
    REQUEST_OPEN,
    REQUEST_CREATE,
    REQUEST_READ,
    REQUEST_WRITE,
    REQUEST_FLUSH,
    REQUEST_RELEASE,
    REQUEST_FSYNC,
    REQUEST_FALLOCATE,
    REQUEST_OPENDIR,
    REQUEST_READDIR,
    REQUEST_RELEASEDIR,
    REQUEST_FSYNCDIR,
    REQUEST_STATFS,
    REQUEST_XATTR,
    REQUEST_IOCTL,
    REQUEST_COUNT
};

struct fs {
    struct store *store;
    struct bridge *bridge;
    struct node_table *nodes;
    double attr_timeout; /* seconds, of what does not change behind our back */
    bool has_xattr;      /* the store keeps extended attributes */
    bool control_layout; /* the mount is for Dovecot's CONTROL=: layout.c */
    atomic_uint_least64_t requests[REQUEST_COUNT];
};

/* The name of a counter, for reports. */
const char *fs_request_name(enum request request);

/* Looks at the store's root; takes over neither. 0 or -errno. */
int fs_init(struct fs *fs, struct store *store, struct bridge *bridge, double attr_timeout,
            bool control_layout);
void fs_release(struct fs *fs);

/* Seconds for which the kernel may believe an answer. */
double fs_entry_timeout(const struct fs *fs, const struct node *node);
double fs_attr_timeout(const struct fs *fs, const struct node *node);

/* Fills in an entry for NODE, whose reference becomes the kernel's. ST is the store's (or the
 * bridge's); its inode number is changed to the one shown. */
void fs_entry(const struct fs *fs, struct node *node, const struct stat *st,
              struct fuse_entry_param *entry_r);

/* Mixed into the number of a ROLE_INBOX: programs that walk a tree take two directories of one number
 * for a loop. */
#define FS_OTHER_INO ((uint64_t)1 << 62)

/* What the kernel is shown of NODE, a file of the store. */
void fs_show(const struct fs *fs, const struct node *node, struct stat *st);

/* Nothing is there any more under a name that was once looked up: the kernel should look again. */
bool fs_is_gone(int error);
