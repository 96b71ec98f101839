#include "fuse/lookup.h"

#include <errno.h>
#include <string.h>

#include "courier/name.h"
#include "fuse/control.h"
#include "fuse/layout.h"
#include "fuse/status.h"
#include "store/file.h"

int directory_locate(struct fs *fs, struct node *node, struct directory *dir_r)
{
    /* Not set as a whole: the two paths are large. */
    dir_r->node = node;
    dir_r->is_cur = node->role == ROLE_CUR;
    dir_r->place = (struct place){dir_r->path, node->device, node->inode};
    dir_r->mailbox.path = dir_r->mailbox_path;
    int error = node_directory_path(fs->nodes, node, dir_r->path, &dir_r->mailbox.device,
                                    &dir_r->mailbox.inode);
    enum node_role role = node->role;
    if (error != 0 || (role != ROLE_CUR && role != ROLE_NEW && role != ROLE_TMP))
        return error;
    const char *slash = strrchr(dir_r->path, '/');
    if (slash == NULL) {
        memcpy(dir_r->mailbox_path, ".", 2);
        return 0;
    }
    size_t len = (size_t)(slash - dir_r->path);
    memcpy(dir_r->mailbox_path, dir_r->path, len);
    dir_r->mailbox_path[len] = '\0';
    return 0;
}

static int classify(struct fs *fs, const struct caller *caller, struct slot *slot)
{
    slot->control = CONTROL_NONE;
    if (strncmp(slot->name, ".nfs", 4) == 0) {
        slot->kind = SLOT_HIDDEN;
    } else if (slot->dir.node == node_table_root(fs->nodes) &&
               strcmp(slot->name, STATUS_NAME) == 0) {
        slot->kind = SLOT_STATUS;
    } else if (fs->control_layout) {
        return layout_classify(fs, caller, slot);
    } else if (slot->dir.is_cur) {
        slot->kind = SLOT_MESSAGE;
    } else {
        slot->control = control_kind_of(span_of(slot->name));
        slot->kind = slot->control != CONTROL_NONE ? SLOT_CONTROL : SLOT_FILE;
    }
    return 0;
}

int slot_locate(struct fs *fs, const struct caller *caller, struct node *dir, const char *name,
                struct slot *slot_r)
{
    slot_r->name = name;
    int error = directory_locate(fs, dir, &slot_r->dir);
    return error != 0 ? error : classify(fs, caller, slot_r);
}

int directory_child(const struct directory *dir, const char *name, char path_r[PATH_MAX])
{
    size_t dir_len = strlen(dir->path);
    size_t name_len = strlen(name);
    if (dir_len + 1 + name_len >= PATH_MAX)
        return -ENAMETOOLONG;
    if (strcmp(dir->path, ".") == 0) {
        memcpy(path_r, name, name_len + 1);
        return 0;
    }
    memcpy(path_r, dir->path, dir_len);
    path_r[dir_len] = '/';
    memcpy(path_r + dir_len + 1, name, name_len + 1);
    return 0;
}

int slot_may_change(const struct slot *slot)
{
    switch (slot->kind) {
    case SLOT_FILE:
    case SLOT_MESSAGE:
    case SLOT_CONTROL:
        return 0;
    case SLOT_STATUS:
    case SLOT_HIDDEN:
    case SLOT_DIRECTORY:
    case SLOT_INBOX:
    case SLOT_CLOSED:
        break;
    }
    return -EPERM;
}

int lookup_enter(struct fs *fs, const struct caller *caller, const struct directory *dir,
                 struct span store_name, const struct stat *st, struct fuse_entry_param *entry_r)
{
    struct stat found;
    if (st == NULL) {
        char path[PATH_MAX];
        BUF_AUTO name = BUF_EMPTY;
        buf_add_span(&name, store_name);
        int error = buf_terminate(&name);
        if (error == 0)
            error = directory_child(dir, name.data, path);
        if (error == 0)
            error = store_stat(fs->store, path, &found);
        if (error != 0)
            return error;
        st = &found;
    }
    struct node *node = node_get(fs->nodes, dir->node, store_name, st);
    if (node == NULL)
        return -ENOMEM;
    struct stat shown = *st;
    if (node->role == ROLE_CUR || node->role == ROLE_NEW) {
        int error =
            message_dir_times(fs->bridge, caller, &dir->place, node->role == ROLE_CUR, &shown);
        if (error != 0) {
            node_unref(fs->nodes, node, 1);
            return error;
        }
    }
    fs_entry(fs, node, &shown, entry_r);
    return 0;
}

static int lookup_message(struct fs *fs, const struct caller *caller, const struct slot *slot,
                          struct fuse_entry_param *entry_r)
{
    BUF_AUTO store_name = BUF_EMPTY;
    struct stat st;
    struct span shown = span_of(slot->name);
    int error =
        message_find(fs->bridge, caller, &slot->dir.mailbox, shown, false, &store_name, &st);
    if (error == 0)
        error = lookup_enter(fs, caller, &slot->dir, buf_span(&store_name), &st, entry_r);
    return error;
}

static int lookup_file(struct fs *fs, const struct caller *caller, const struct slot *slot,
                       struct fuse_entry_param *entry_r)
{
    return lookup_enter(fs, caller, &slot->dir, span_of(slot->name), NULL, entry_r);
}

/* Dovecots of several nodes share it: what NFS remembers of it will not do. */
static int lookup_real_control(struct fs *fs, const struct caller *caller, const struct slot *slot,
                               struct fuse_entry_param *entry_r)
{
    char path[PATH_MAX];
    struct stat st;
    int error = directory_child(&slot->dir, slot->name, path);
    if (error == 0)
        error = store_stat_now(fs->store, path, &st);
    return error != 0 ? error
                      : lookup_enter(fs, caller, &slot->dir, span_of(slot->name), &st, entry_r);
}

int lookup_name(struct fs *fs, const struct caller *caller, struct node *dir, const char *name,
                struct fuse_entry_param *entry_r)
{
    struct slot slot;
    int error = slot_locate(fs, caller, dir, name, &slot);
    if (error != 0)
        return error;
    switch (slot.kind) {
    case SLOT_HIDDEN:
        return -ENOENT;
    case SLOT_CLOSED:
        return -EPERM;
    case SLOT_DIRECTORY:
    case SLOT_INBOX:
        return layout_lookup(fs, caller, &slot, entry_r);
    case SLOT_STATUS:
        status_entry(fs, entry_r);
        return 0;
    case SLOT_MESSAGE:
        return lookup_message(fs, caller, &slot, entry_r);
    case SLOT_CONTROL:
        error = control_find(fs, caller, &slot, entry_r);
        return error == -ENOTDIR ? lookup_real_control(fs, caller, &slot, entry_r) : error;
    case SLOT_FILE:
        break;
    }
    return lookup_file(fs, caller, &slot, entry_r);
}

bool node_is(const struct node *node, const struct stat *st)
{
    return node->device == st->st_dev && node->inode == st->st_ino &&
           node->type == (st->st_mode & S_IFMT);
}

int node_reach(struct fs *fs, const struct caller *caller, struct node *node, char path_r[PATH_MAX],
               struct stat *st_r)
{
    int error = node_path(fs->nodes, node, path_r);
    if (error == 0)
        error = store_stat(fs->store, path_r, st_r);
    if (error == 0 && node_is(node, st_r))
        return 0;
    if (error != 0 && !fs_is_gone(error))
        return error;
    return node_find_again(fs, caller, node, path_r, st_r);
}

/* In cur only the flags of a message change: its base name still leads to it. */
static int find_in_cur(struct fs *fs, const struct caller *caller, struct node *node,
                       struct node *cur, struct span name, char path_r[PATH_MAX], struct stat *st_r)
{
    struct directory dir;
    int error = directory_locate(fs, cur, &dir);
    if (error != 0)
        return error;
    BUF_AUTO store_name = BUF_EMPTY;
    error =
        message_find(fs->bridge, caller, &dir.mailbox, name_base(name), false, &store_name, st_r);
    if (error == 0 && !node_is(node, st_r))
        error = -ESTALE;
    if (error == 0)
        error = node_set_name(fs->nodes, node, cur, buf_span(&store_name));
    if (error == 0)
        error = buf_terminate(&store_name);
    if (error == 0)
        error = directory_child(&dir, store_name.data, path_r);
    return fs_is_gone(error) ? -ESTALE : error;
}

int node_find_again(struct fs *fs, const struct caller *caller, struct node *node,
                    char path_r[PATH_MAX], struct stat *st_r)
{
    if (node->role != ROLE_MESSAGE)
        return -ESTALE;
    struct node *parent;
    BUF_AUTO name = BUF_EMPTY;
    int error = node_parent(fs->nodes, node, &parent, &name);
    if (error != 0)
        return error;
    error = -ESTALE;
    if (parent->role == ROLE_CUR)
        error = find_in_cur(fs, caller, node, parent, buf_span(&name), path_r, st_r);
    node_unref(fs->nodes, parent, 1);
    return error;
}
