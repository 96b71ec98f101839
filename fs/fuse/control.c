#include "fuse/control.h"

#include <errno.h>
#include <fcntl.h>

#include "fuse/attr.h"

int control_attr(struct control_file *file, const struct caller *caller, struct stat *st_r)
{
    int error = control_stat(file, caller, st_r);
    if (error == 0)
        st_r->st_ino = control_ino(file);
    return error;
}

/* Takes over the reference on FILE. */
static int enter(struct fs *fs, const struct caller *caller, struct control_file *file,
                 struct fuse_entry_param *entry_r)
{
    struct stat st;
    int error = control_attr(file, caller, &st);
    if (error != 0) {
        control_unref(file);
        return error;
    }
    struct node *node = node_get_control(fs->nodes, file);
    if (node == NULL)
        return -ENOMEM;
    fs_entry(fs, node, &st, entry_r);
    return 0;
}

int control_find(struct fs *fs, const struct caller *caller, const struct slot *slot,
                 struct fuse_entry_param *entry_r)
{
    struct control_file *file;
    int error = control_lookup(fs->bridge, caller, &slot->dir.place, slot->control, &file);
    return error != 0 ? error : enter(fs, caller, file, entry_r);
}

/* What was not there a moment ago may be there by now: open(O_CREAT) takes either. */
static int create_or_find(struct fs *fs, const struct caller *caller, const struct slot *slot,
                          int flags, mode_t mode, struct control_file **file_r)
{
    bool exclusive = (flags & O_EXCL) != 0;
    int error = control_create(fs->bridge, caller, &slot->dir.place, slot->control, exclusive, mode,
                               file_r);
    if (error != -EEXIST || exclusive)
        return error;
    error = control_lookup(fs->bridge, caller, &slot->dir.place, slot->control, file_r);
    if (error != 0 || (flags & O_TRUNC) == 0)
        return error;
    error = control_truncate(*file_r, caller, 0);
    if (error != 0)
        control_unref(*file_r);
    return error;
}

int control_make(struct fs *fs, const struct caller *caller, const struct slot *slot, int flags,
                 mode_t mode, struct control_file **file_r, struct fuse_entry_param *entry_r)
{
    struct control_file *file;
    int error = create_or_find(fs, caller, slot, flags, mode, &file);
    if (error != 0)
        return error;
    error = enter(fs, caller, control_ref(file), entry_r);
    if (error != 0)
        control_unref(file);
    else
        *file_r = file;
    return error;
}

int control_make_link(struct fs *fs, const struct caller *caller, const char *from,
                      const struct slot *slot, struct fuse_entry_param *entry_r)
{
    struct control_file *file;
    int error = control_link(fs->bridge, caller, from, &slot->dir.place, slot->control, &file);
    return error != 0 ? error : enter(fs, caller, file, entry_r);
}

int control_remove(struct fs *fs, const struct caller *caller, const struct slot *slot)
{
    return control_unlink(fs->bridge, caller, &slot->dir.place, slot->control);
}

int control_owns(struct fs *fs, const struct caller *caller, const struct slot *slot)
{
    if (slot->kind != SLOT_CONTROL || slot->control == CONTROL_ACL_LIST)
        return -ENOTDIR;
    struct control_file *file;
    int error = control_lookup(fs->bridge, caller, &slot->dir.place, slot->control, &file);
    if (error == 0)
        control_unref(file);
    return error == -ENOTDIR ? -ENOTDIR : 0;
}

int control_move(struct fs *fs, const struct caller *caller, const struct slot *from,
                 const struct slot *to, unsigned flags)
{
    bool same_dir = from->dir.node == to->dir.node;
    bool is_list = from->control == CONTROL_ACL_LIST || to->control == CONTROL_ACL_LIST;
    if (from->kind == SLOT_CONTROL && to->kind == SLOT_CONTROL && same_dir && flags == 0 &&
        !is_list)
        return control_rename(fs->bridge, caller, &from->dir.place, from->control, to->control);
    if (control_owns(fs, caller, from) == -ENOTDIR && control_owns(fs, caller, to) == -ENOTDIR)
        return -ENOTDIR;
    return -EPERM;
}

int control_set_attr(struct control_file *file, const struct caller *caller,
                     const struct stat *wanted, int to_set, struct stat *st_r)
{
    int error = 0;
    if ((to_set & FUSE_SET_ATTR_SIZE) != 0)
        error = control_truncate(file, caller, wanted->st_size);
    if (error == 0 && (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME)) != 0) {
        struct timespec times[2];
        attr_times(wanted, to_set, times);
        error = control_utimens(file, caller, times);
    }
    return error != 0 ? error : control_attr(file, caller, st_r);
}
