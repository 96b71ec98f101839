#include "fuse/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuse/control.h"
#include "fuse/status.h"

struct handle {
    /* One of the three. */
    struct open_file *file;
    struct control_file *control;
    struct buf text; /* the status as it was at open */

    atomic_bool written;
};

static struct handle *handle_of(const struct fuse_file_info *fi)
{
    return (struct handle *)(uintptr_t)fi->fh;
}

static struct handle *new_handle(struct fuse_file_info *fi)
{
    struct handle *handle = calloc(1, sizeof(*handle));
    fi->fh = (uintptr_t)handle;
    fi->noflush = (fi->flags & O_ACCMODE) == O_RDONLY;
    return handle;
}

int file_descriptor(const struct fuse_file_info *fi)
{
    const struct handle *handle = handle_of(fi);
    return handle != NULL && handle->file != NULL ? handle->file->fd : -1;
}

/* What is passed on to the store. The kernel has seen to the rest; O_APPEND is the writes' affair,
 * O_DIRECT would ask for aligned memory. O_NONBLOCK means nothing to a file, and saves us from
 * waiting for what replaced one. */
static int store_flags(int flags)
{
    int access = flags & O_ACCMODE;
    if (access == O_RDONLY && (flags & O_TRUNC) != 0)
        access = O_RDWR;
    return access | (flags & (O_SYNC | O_DSYNC | O_NOATIME)) | O_NONBLOCK;
}

/* Takes over FD, of a file of that size, also on failure. */
static int attach_store(struct fs *fs, struct node *node, int fd, off_t size,
                        struct fuse_file_info *fi)
{
    AUTO_FD own = fd;
    AUTO_FREE struct open_file *file = calloc(1, sizeof(*file));
    struct handle *handle = file != NULL ? new_handle(fi) : NULL;
    if (handle == NULL)
        return -ENOMEM;
    file->fd = steal_fd(&own);
    /* Messages never change: their pages stay good from one open to the next. */
    fi->keep_cache = node->role == ROLE_MESSAGE && (fi->flags & O_ACCMODE) == O_RDONLY;
    file->size = fi->keep_cache ? size : OPEN_FILE_SIZE_UNKNOWN;
    handle->file = file;
    open_file_enter(fs->nodes, node, steal_pointer(&file));
    return 0;
}

/* Takes over the reference on FILE, also on failure. */
static int attach_control(struct control_file *file, struct fuse_file_info *fi)
{
    struct handle *handle = new_handle(fi);
    if (handle == NULL) {
        control_unref(file);
        return -ENOMEM;
    }
    handle->control = file;
    fi->direct_io = 1;
    return 0;
}

static int open_status(struct fs *fs, struct fuse_file_info *fi)
{
    struct handle *handle = new_handle(fi);
    if (handle == NULL)
        return -ENOMEM;
    fi->direct_io = 1;
    int error = status_text(fs, &handle->text);
    if (error != 0)
        file_release(fs, fi);
    return error;
}

static int open_control(const struct caller *caller, struct node *node, struct fuse_file_info *fi)
{
    struct control_file *file = control_ref(node->control);
    int error = 0;
    if ((fi->flags & O_TRUNC) != 0)
        error = control_truncate(file, caller, 0);
    if (error != 0) {
        control_unref(file);
        return error;
    }
    return attach_control(file, fi);
}

/* The descriptor of what lies at PATH, if that is NODE's file; -ESTALE if it is another's. */
static int open_proven(struct fs *fs, const struct node *node, const char *path, int flags,
                       off_t *size_r)
{
    AUTO_FD fd = store_open(fs->store, path, store_flags(flags), 0);
    if (fd < 0)
        return fs_is_gone(fd) ? -ESTALE : fd;
    struct stat st;
    int error = store_fstat(fs->store, fd, &st);
    if (error != 0)
        return error;
    *size_r = st.st_size;
    return node_is(node, &st) ? steal_fd(&fd) : -ESTALE;
}

static int open_node(struct fs *fs, const struct caller *caller, struct node *node, int flags,
                     off_t *size_r)
{
    char path[PATH_MAX];
    int error = node_path(fs->nodes, node, path);
    if (error != 0)
        return error;
    int fd = open_proven(fs, node, path, flags, size_r);
    if (fd != -ESTALE)
        return fd;
    struct stat st;
    error = node_find_again(fs, caller, node, path, &st);
    return error != 0 ? error : open_proven(fs, node, path, flags, size_r);
}

static int open_store(struct fs *fs, const struct caller *caller, struct node *node,
                      struct fuse_file_info *fi)
{
    off_t size = 0;
    AUTO_FD fd = open_node(fs, caller, node, fi->flags, &size);
    if (fd < 0)
        return fd;
    /* Only now is it sure that it is the right file. */
    if ((fi->flags & O_TRUNC) != 0) {
        int error = store_ftruncate(fs->store, fd, 0);
        if (error != 0)
            return error;
    }
    return attach_store(fs, node, steal_fd(&fd), size, fi);
}

int file_open(struct fs *fs, const struct caller *caller, struct node *node,
              struct fuse_file_info *fi)
{
    switch (node->kind) {
    case NODE_STATUS:
        return open_status(fs, fi);
    case NODE_CONTROL:
        return open_control(caller, node, fi);
    case NODE_STORE:
        break;
    }
    return open_store(fs, caller, node, fi);
}

static int create_control(struct fs *fs, const struct caller *caller, const struct slot *slot,
                          mode_t mode, struct fuse_file_info *fi, struct fuse_entry_param *entry_r)
{
    struct control_file *file;
    int error = control_make(fs, caller, slot, fi->flags, mode, &file, entry_r);
    if (error != 0)
        return error;
    error = attach_control(file, fi);
    if (error != 0)
        node_unref(fs->nodes, (struct node *)(uintptr_t)entry_r->ino, 1);
    return error;
}

static int create_store(struct fs *fs, const struct caller *caller, const struct slot *slot,
                        const char *store_name, mode_t mode, struct fuse_file_info *fi,
                        struct fuse_entry_param *entry_r)
{
    char path[PATH_MAX];
    int error = directory_child(&slot->dir, store_name, path);
    if (error != 0)
        return error;
    int flags = store_flags(fi->flags) | O_CREAT | (fi->flags & (O_EXCL | O_TRUNC));
    AUTO_FD fd = store_open(fs->store, path, flags, mode);
    if (fd < 0)
        return fd;
    if (slot->control == CONTROL_UIDLIST_LOCK)
        error = control_confirm_lock(fs->bridge, caller, &slot->dir.place, path);
    if (error != 0)
        return error;
    struct stat st;
    error = store_fstat(fs->store, fd, &st);
    if (error == 0)
        error = lookup_enter(fs, caller, &slot->dir, span_of(store_name), &st, entry_r);
    if (error != 0)
        return error;
    struct node *node = (struct node *)(uintptr_t)entry_r->ino;
    error = attach_store(fs, node, steal_fd(&fd), st.st_size, fi);
    if (error != 0)
        node_unref(fs->nodes, node, 1);
    return error;
}

static int create_message(struct fs *fs, const struct caller *caller, const struct slot *slot,
                          mode_t mode, struct fuse_file_info *fi, struct fuse_entry_param *entry_r)
{
    BUF_AUTO store_name = BUF_EMPTY;
    int error = message_create_name(fs->bridge, caller, &slot->dir.mailbox, span_of(slot->name),
                                    &store_name);
    if (error == 0)
        error = buf_terminate(&store_name);
    return error != 0 ? error : create_store(fs, caller, slot, store_name.data, mode, fi, entry_r);
}

int file_create(struct fs *fs, const struct caller *caller, struct node *dir, const char *name,
                mode_t mode, struct fuse_file_info *fi, struct fuse_entry_param *entry_r)
{
    struct slot slot;
    int error = slot_locate(fs, caller, dir, name, &slot);
    if (error == 0)
        error = slot_may_change(&slot);
    if (error != 0)
        return error;
    if (slot.kind == SLOT_MESSAGE)
        return create_message(fs, caller, &slot, mode, fi, entry_r);
    if (slot.kind == SLOT_CONTROL) {
        error = create_control(fs, caller, &slot, mode, fi, entry_r);
        if (error != -ENOTDIR)
            return error;
    }
    return create_store(fs, caller, &slot, name, mode, fi, entry_r);
}

void file_release(struct fs *fs, struct fuse_file_info *fi)
{
    struct handle *handle = handle_of(fi);
    if (handle->file != NULL)
        open_file_close(fs->nodes, handle->file);
    if (handle->control != NULL)
        control_unref(handle->control);
    buf_release(&handle->text);
    free(handle);
    fi->fh = 0;
}

static ssize_t read_text(const struct buf *text, void *out, size_t size, off_t offset)
{
    if (offset < 0 || (size_t)offset >= text->len)
        return 0;
    size_t left = text->len - (size_t)offset;
    size_t len = left < size ? left : size;
    memcpy(out, text->data + offset, len);
    return (ssize_t)len;
}

/* The kernel takes a short answer for the end of the file: an error in the middle must not become
 * one, and the store is asked again unless what was read ends where the file is known to end. */
static ssize_t read_store(struct fs *fs, const struct open_file *file, char *out, size_t size,
                          off_t offset)
{
    size_t done = 0;
    while (done < size && (done == 0 || offset + (off_t)done != file->size)) {
        ssize_t got =
            store_pread(fs->store, file->fd, out + done, size - done, offset + (off_t)done);
        if (got < 0)
            return got;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

ssize_t file_read(struct fs *fs, const struct caller *caller, const struct fuse_file_info *fi,
                  void *out, size_t size, off_t offset)
{
    const struct handle *handle = handle_of(fi);
    if (handle->file != NULL)
        return read_store(fs, handle->file, out, size, offset);
    if (handle->control != NULL)
        return control_read(handle->control, caller, out, size, offset);
    return read_text(&handle->text, out, size, offset);
}

ssize_t file_write(struct fs *fs, const struct caller *caller, const struct fuse_file_info *fi,
                   const void *bytes, size_t size, off_t offset)
{
    struct handle *handle = handle_of(fi);
    atomic_store_explicit(&handle->written, true, memory_order_relaxed);
    if (handle->file != NULL) {
        /* The kernel's idea of where the end is may be a second old. */
        if ((fi->flags & O_APPEND) != 0 && !fi->writepage)
            offset = STORE_AT_END;
        return store_pwrite(fs->store, handle->file->fd, bytes, size, offset);
    }
    if (handle->control != NULL)
        return control_write(handle->control, caller, bytes, size, offset);
    return -EBADF;
}

int file_flush(struct fs *fs, const struct caller *caller, const struct fuse_file_info *fi)
{
    (void)fs;
    struct handle *handle = handle_of(fi);
    if (!atomic_load_explicit(&handle->written, memory_order_relaxed))
        return 0;
    if (handle->control != NULL)
        return control_sync(handle->control, caller);
    /* On NFS close() is what writes, and what says that the disk was full. */
    int copy = handle->file != NULL ? fcntl(handle->file->fd, F_DUPFD_CLOEXEC, 0) : -1;
    return copy >= 0 && close(copy) < 0 ? -errno : 0;
}

int file_sync(struct fs *fs, const struct caller *caller, const struct fuse_file_info *fi,
              bool data_only)
{
    const struct handle *handle = handle_of(fi);
    if (handle->control != NULL)
        return control_sync(handle->control, caller);
    return handle->file != NULL ? store_fsync(fs->store, handle->file->fd, data_only) : 0;
}

int file_allocate(struct fs *fs, const struct fuse_file_info *fi, int mode, off_t offset, off_t len)
{
    int fd = file_descriptor(fi);
    return fd >= 0 ? store_fallocate(fs->store, fd, mode, offset, len) : -EOPNOTSUPP;
}
