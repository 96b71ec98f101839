#include "fuse/names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "fuse/control.h"

/* Where a new name will lie. A control file's is refused: those are made by create and link only.
 * *store_name gets the name in the store, terminated: in cur a message's is another one. */
static int new_name(struct fs *fs, const struct caller *caller, struct node *dir, const char *name,
                    bool is_file, struct slot *slot_r, struct buf *store_name,
                    char path_r[PATH_MAX])
{
    int error = slot_locate(fs, caller, dir, name, slot_r);
    if (error == 0)
        error = slot_may_change(slot_r);
    if (error == 0 && control_owns(fs, caller, slot_r) == 0)
        error = -EPERM;
    if (error != 0)
        return error;
    if (slot_r->kind == SLOT_MESSAGE && is_file)
        error = message_create_name(fs->bridge, caller, &slot_r->dir.mailbox, span_of(name),
                                    store_name);
    else
        buf_add_string(store_name, name);
    if (error == 0)
        error = buf_terminate(store_name);
    return error != 0 ? error : directory_child(&slot_r->dir, store_name->data, path_r);
}

static int make_control(struct fs *fs, const struct caller *caller, struct node *dir,
                        const char *name, mode_t mode, struct fuse_entry_param *entry_r)
{
    struct slot slot;
    int error = slot_locate(fs, caller, dir, name, &slot);
    if (error != 0)
        return error;
    if (slot.kind != SLOT_CONTROL)
        return -ENOTDIR;
    struct control_file *file;
    error = control_make(fs, caller, &slot, O_EXCL, mode, &file, entry_r);
    if (error == 0)
        control_unref(file);
    return error;
}

int names_mknod(struct fs *fs, const struct caller *caller, struct node *dir, const char *name,
                mode_t mode, dev_t device, struct fuse_entry_param *entry_r)
{
    int error = S_ISREG(mode) ? make_control(fs, caller, dir, name, mode, entry_r) : -ENOTDIR;
    if (error != -ENOTDIR)
        return error;
    struct slot slot;
    char path[PATH_MAX];
    BUF_AUTO store_name = BUF_EMPTY;
    error = new_name(fs, caller, dir, name, S_ISREG(mode), &slot, &store_name, path);
    if (error == 0)
        error = store_mknod(fs->store, path, mode, device);
    return error != 0 ? error
                      : lookup_enter(fs, caller, &slot.dir, buf_span(&store_name), NULL, entry_r);
}

int names_mkdir(struct fs *fs, const struct caller *caller, struct node *dir, const char *name,
                mode_t mode, struct fuse_entry_param *entry_r)
{
    struct slot slot;
    char path[PATH_MAX];
    BUF_AUTO store_name = BUF_EMPTY;
    int error = new_name(fs, caller, dir, name, false, &slot, &store_name, path);
    if (error == 0)
        error = store_mkdir(fs->store, path, mode);
    return error != 0 ? error
                      : lookup_enter(fs, caller, &slot.dir, buf_span(&store_name), NULL, entry_r);
}

int names_symlink(struct fs *fs, const struct caller *caller, const char *target, struct node *dir,
                  const char *name, struct fuse_entry_param *entry_r)
{
    struct slot slot;
    char path[PATH_MAX];
    BUF_AUTO store_name = BUF_EMPTY;
    int error = new_name(fs, caller, dir, name, false, &slot, &store_name, path);
    if (error == 0)
        error = store_symlink(fs->store, target, path);
    return error != 0 ? error
                      : lookup_enter(fs, caller, &slot.dir, buf_span(&store_name), NULL, entry_r);
}

static int link_control(struct fs *fs, const struct caller *caller, const char *from,
                        struct node *dir, const char *name, struct fuse_entry_param *entry_r)
{
    struct slot slot;
    int error = slot_locate(fs, caller, dir, name, &slot);
    if (error != 0)
        return error;
    if (slot.kind != SLOT_CONTROL)
        return -ENOTDIR;
    return control_make_link(fs, caller, from, &slot, entry_r);
}

int names_link(struct fs *fs, const struct caller *caller, struct node *node, struct node *dir,
               const char *name, struct fuse_entry_param *entry_r)
{
    if (node->kind != NODE_STORE)
        return -EPERM;
    char from[PATH_MAX];
    struct stat st;
    int error = node_reach(fs, caller, node, from, &st);
    if (error == 0)
        error = link_control(fs, caller, from, dir, name, entry_r);
    if (error != -ENOTDIR)
        return error;
    struct slot slot;
    char path[PATH_MAX];
    BUF_AUTO store_name = BUF_EMPTY;
    error = new_name(fs, caller, dir, name, true, &slot, &store_name, path);
    if (error == 0)
        error = store_link(fs->store, from, path);
    if (error == 0 && slot.control == CONTROL_UIDLIST_LOCK)
        error = control_confirm_lock(fs->bridge, caller, &slot.dir.place, path);
    return error != 0 ? error
                      : lookup_enter(fs, caller, &slot.dir, buf_span(&store_name), NULL, entry_r);
}

static int unlink_slot(struct fs *fs, const struct caller *caller, const struct slot *slot)
{
    if (slot->kind == SLOT_MESSAGE)
        return message_unlink(fs->bridge, caller, &slot->dir.mailbox, span_of(slot->name));
    char path[PATH_MAX];
    int error = directory_child(&slot->dir, slot->name, path);
    return error != 0 ? error : store_unlink(fs->store, path);
}

int names_unlink(struct fs *fs, const struct caller *caller, struct node *dir, const char *name)
{
    struct slot slot;
    int error = slot_locate(fs, caller, dir, name, &slot);
    if (error == 0)
        error = slot_may_change(&slot);
    if (error != 0)
        return error;
    if (slot.kind == SLOT_CONTROL) {
        error = control_remove(fs, caller, &slot);
        if (error != -ENOTDIR)
            return error;
    }
    error = unlink_slot(fs, caller, &slot);
    if (error == 0)
        node_removed(fs->nodes, dir, span_of(name));
    return error;
}

int names_rmdir(struct fs *fs, const struct caller *caller, struct node *dir, const char *name)
{
    struct slot slot;
    char path[PATH_MAX];
    int error = slot_locate(fs, caller, dir, name, &slot);
    if (error == 0)
        error = slot_may_change(&slot);
    if (error == -EPERM && (slot.kind == SLOT_DIRECTORY || slot.kind == SLOT_INBOX))
        error = -ENOTEMPTY; /* which is all the same to Dovecot */
    if (error == 0)
        error = directory_child(&slot.dir, name, path);
    if (error == 0)
        error = store_rmdir(fs->store, path);
    if (error == 0)
        node_removed(fs->nodes, dir, span_of(name));
    return error;
}

/* ---- rename ---- */

/* Whether the name is a directory's, as far as the kernel was told; if so, it is about to move. */
static int before_move(struct fs *fs, const struct caller *caller, const struct slot *slot,
                       const char *path, bool *is_dir_r)
{
    struct node *node = node_find(fs->nodes, slot->dir.node, span_of(slot->name));
    *is_dir_r = node != NULL && node->type == S_IFDIR;
    int error = 0;
    if (*is_dir_r) {
        const struct place place = {path, node->device, node->inode};
        error = mailbox_before_rename(fs->bridge, caller, &place);
    }
    if (node != NULL)
        node_unref(fs->nodes, node, 1);
    return error;
}

static int move_message(struct fs *fs, const struct caller *caller, const struct slot *from,
                        const char *from_path, const struct slot *to, const char *to_path,
                        unsigned flags)
{
    bool to_cur = to->dir.is_cur;
    BUF_AUTO store_name = BUF_EMPTY;
    int error =
        message_rename(fs->bridge, caller, from->dir.is_cur ? &from->dir.mailbox : NULL,
                       from->dir.is_cur ? from->name : from_path, to_cur ? &to->dir.mailbox : NULL,
                       to_cur ? to->name : to_path, flags, &store_name);
    if (error == 0)
        node_moved(fs->nodes, from->dir.node, span_of(from->name), to->dir.node,
                   to_cur ? buf_span(&store_name) : span_of(to->name),
                   (flags & RENAME_EXCHANGE) != 0);
    return error;
}

static int move_file(struct fs *fs, const struct caller *caller, const struct slot *from,
                     const char *from_path, const struct slot *to, const char *to_path,
                     unsigned flags)
{
    int error = store_rename(fs->store, from_path, to_path, flags);
    if (error == 0 && to->dir.node->role == ROLE_NEW)
        error = message_arrived(fs->bridge, caller, &to->dir.mailbox, from_path, span_of(to->name));
    if (error == 0)
        node_moved(fs->nodes, from->dir.node, span_of(from->name), to->dir.node, span_of(to->name),
                   (flags & RENAME_EXCHANGE) != 0);
    return error;
}

int names_rename(struct fs *fs, const struct caller *caller, struct node *from_dir,
                 const char *from, struct node *to_dir, const char *to, unsigned flags)
{
    if ((flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0)
        return -EINVAL;
    struct slot source;
    struct slot target;
    int error = slot_locate(fs, caller, from_dir, from, &source);
    if (error == 0)
        error = slot_locate(fs, caller, to_dir, to, &target);
    if (error != 0)
        return error;
    if (source.kind == SLOT_DIRECTORY && target.kind == SLOT_DIRECTORY)
        return -ENOENT; /* it has moved already: layout.c */
    error = slot_may_change(&source);
    if (error == 0)
        error = slot_may_change(&target);
    if (error != 0)
        return error;
    if (source.kind == SLOT_CONTROL || target.kind == SLOT_CONTROL) {
        error = control_move(fs, caller, &source, &target, flags);
        if (error != -ENOTDIR)
            return error;
    }

    char from_path[PATH_MAX];
    char to_path[PATH_MAX];
    error = directory_child(&source.dir, from, from_path);
    if (error == 0)
        error = directory_child(&target.dir, to, to_path);
    bool is_dir = false;
    bool is_other_dir = false;
    if (error == 0)
        error = before_move(fs, caller, &source, from_path, &is_dir);
    if (error == 0 && (flags & RENAME_EXCHANGE) != 0)
        error = before_move(fs, caller, &target, to_path, &is_other_dir);
    if (error != 0)
        return error;
    bool in_cur = source.kind == SLOT_MESSAGE || target.kind == SLOT_MESSAGE;
    if (in_cur && !is_dir && !is_other_dir)
        return move_message(fs, caller, &source, from_path, &target, to_path, flags);
    return move_file(fs, caller, &source, from_path, &target, to_path, flags);
}
