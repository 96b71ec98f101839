/* Reading directories.
 *
 * A listing is made whole when it is read from its beginning, and then kept for the handle: offsets
 * are places in it. It is made at the first readdir, not at opendir, because Dovecot takes the
 * directory's mtime between the two and believes the listing to be at least as new. */
#include "fuse/dirs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fuse/layout.h"
#include "store/list.h"

struct dir_handle {
    pthread_mutex_t lock;
    struct dir_list list;
    uint64_t own_ino;
    uint64_t parent_ino;
};

/* Before the entries of the list. */
enum { DOT, DOT_DOT, DOTS };

static struct dir_handle *handle_of(const struct fuse_file_info *fi)
{
    return (struct dir_handle *)(uintptr_t)fi->fh;
}

static uint64_t shown_ino(const struct fs *fs, dev_t device, ino_t inode)
{
    const struct stat st = {.st_dev = device, .st_ino = inode};
    return store_shown_ino(fs->store, &st);
}

int dir_open(struct fs *fs, const struct caller *caller, struct node *node,
             struct fuse_file_info *fi)
{
    char path[PATH_MAX];
    struct stat st;
    int error = node_reach(fs, caller, node, path, &st);
    if (error == 0 && fs->control_layout)
        error = layout_may_list(fs, caller, node);
    if (error != 0)
        return error;
    dev_t parent_device;
    ino_t parent_inode;
    error = node_directory_path(fs->nodes, node, path, &parent_device, &parent_inode);
    if (error != 0)
        return error;
    struct dir_handle *handle = calloc(1, sizeof(*handle));
    if (handle == NULL)
        return -ENOMEM;
    pthread_mutex_init(&handle->lock, NULL);
    handle->list = DIR_LIST_EMPTY;
    fs_show(fs, node, &st);
    handle->own_ino = st.st_ino;
    handle->parent_ino = shown_ino(fs, parent_device, parent_inode);
    fi->fh = (uintptr_t)handle;
    return 0;
}

void dir_release(struct fuse_file_info *fi)
{
    struct dir_handle *handle = handle_of(fi);
    pthread_mutex_destroy(&handle->lock);
    dir_list_release(&handle->list);
    free(handle);
    fi->fh = 0;
}

static bool is_mailbox(const struct dir_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct dir_entry *entry = &list->entries[i];
        if (span_equals(dir_entry_name(list, entry), "cur") &&
            (entry->type == DT_DIR || entry->type == DT_UNKNOWN))
            return true;
    }
    return false;
}

static void show_inodes(const struct fs *fs, dev_t device, struct dir_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        list->entries[i].ino = shown_ino(fs, device, list->entries[i].ino);
}

static int list_cur(struct fs *fs, const struct caller *caller, const struct directory *dir,
                    struct dir_list *list_r)
{
    int error = message_list(fs->bridge, caller, &dir->mailbox, list_r);
    if (error == 0)
        show_inodes(fs, dir->node->device, list_r);
    return error;
}

static int list_new(struct fs *fs, const struct caller *caller, const struct directory *dir,
                    struct dir_list *list_r)
{
    int error = message_list_new(fs->bridge, caller, &dir->mailbox, list_r);
    if (error == -ENOTDIR) /* of no mailbox */
        error = store_list(fs->store, dir->path, list_r);
    if (error == 0)
        show_inodes(fs, dir->node->device, list_r);
    return error;
}

static int list_other(struct fs *fs, const struct caller *caller, const struct directory *dir,
                      struct dir_list *list_r)
{
    int error = store_list(fs->store, dir->path, list_r);
    if (error != 0)
        return error;
    bool has_control_files = is_mailbox(list_r);
    show_inodes(fs, dir->node->device, list_r);
    if (fs->control_layout)
        error = layout_list(fs, caller, dir, list_r);
    if (error == 0 && has_control_files)
        error = control_list(fs->bridge, caller, &dir->place, list_r);
    return error;
}

/* Makes the listing anew. */
static int list(struct fs *fs, const struct caller *caller, struct node *node,
                struct dir_handle *handle)
{
    DIR_LIST_AUTO fresh = DIR_LIST_EMPTY;
    struct directory dir;
    int error = directory_locate(fs, node, &dir);
    if (error != 0)
        return error;
    if (node->role == ROLE_CUR && !fs->control_layout)
        error = list_cur(fs, caller, &dir, &fresh);
    else if (node->role == ROLE_NEW && !fs->control_layout)
        error = list_new(fs, caller, &dir, &fresh);
    else
        error = list_other(fs, caller, &dir, &fresh);
    if (error != 0)
        return error;
    dir_list_release(&handle->list);
    handle->list = fresh;
    fresh = DIR_LIST_EMPTY;
    return 0;
}

/* 0 when it does not fit. */
static size_t add_entry(fuse_req_t req, const struct dir_handle *handle, size_t at, char *out,
                        size_t size)
{
    const char *name;
    struct stat st = {0};
    if (at < DOTS) {
        name = at == DOT ? "." : "..";
        st.st_ino = at == DOT ? handle->own_ino : handle->parent_ino;
        st.st_mode = S_IFDIR;
    } else {
        const struct dir_entry *entry = &handle->list.entries[at - DOTS];
        name = dir_entry_name(&handle->list, entry).text;
        st.st_ino = entry->ino;
        st.st_mode = DTTOIF(entry->type);
    }
    size_t needed = fuse_add_direntry(req, out, size, name, &st, (off_t)(at + 1));
    return needed <= size ? needed : 0;
}

ssize_t dir_read(fuse_req_t req, struct fs *fs, const struct caller *caller, struct node *node,
                 const struct fuse_file_info *fi, char *out, size_t size, off_t offset)
{
    struct dir_handle *handle = handle_of(fi);
    int error = 0;
    size_t done = 0;
    pthread_mutex_lock(&handle->lock);
    if (offset == 0)
        error = list(fs, caller, node, handle);
    if (error == 0 && offset >= 0) {
        for (size_t at = (size_t)offset; at < handle->list.count + DOTS; at++) {
            size_t len = add_entry(req, handle, at, out + done, size - done);
            if (len == 0)
                break;
            done += len;
        }
    }
    pthread_mutex_unlock(&handle->lock);
    return error != 0 ? error : (ssize_t)done;
}

int dir_sync(struct fs *fs, const struct caller *caller, struct node *node, bool data_only)
{
    struct directory dir;
    int error = directory_locate(fs, node, &dir);
    if (error != 0)
        return error;
    AUTO_FD fd = store_open(fs->store, dir.path, O_RDONLY | O_DIRECTORY, 0);
    error = fd < 0 ? fd : store_fsync(fs->store, fd, data_only);
    if (error == 0 && (node->role == ROLE_CUR || node->role == ROLE_NEW))
        error = message_sync(fs->bridge, caller, &dir.mailbox);
    return error;
}

int dir_prove_sizes(struct fs *fs, const struct caller *caller, struct node *node,
                    struct command_prove_sizes *command)
{
    if (command->limit < 1 || command->limit > COMMAND_MOST_MESSAGES)
        return -EINVAL;
    struct directory dir;
    struct sizes_proven proven;
    int error = directory_locate(fs, node, &dir);
    if (error == 0)
        error = sizes_prove(fs->bridge, caller, &dir.place, command->limit, &proven);
    if (error != 0)
        return error;
    command->tried = (uint32_t)proven.tried;
    command->read = (uint32_t)proven.read;
    command->left = (uint32_t)proven.left;
    command->bytes = proven.bytes;
    return 0;
}
