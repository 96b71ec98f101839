/* The cache's blob of one mailbox: what was shown, and of what. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "bridge/mailbox.h"

/* 2: SEEN says what the list was compared with; before, it could say what was merely there. */
#define BLOB_VERSION 2U

struct blob {
    uint32_t version;
    uint32_t size; /* of this struct: another build's layout is no blob of ours */
    struct sources_seen seen;
    uint64_t ino;
    struct timespec mtime;
    uint32_t generation;
    uint32_t highest_next;
    uint32_t uid;
    uint32_t gid;
    uint32_t mode;
};

size_t view_remembered_size(size_t text_length)
{
    return sizeof(struct blob) + text_length;
}

/* Device and inode find the entry; UIDVALIDITY is in the text and compared with the uid database's,
 * because a folder that was deleted and made anew can have the same inode. */
static struct cache_key key_of(dev_t device, ino_t inode)
{
    uint64_t identity[2] = {device, inode};
    return cache_key_of(identity, sizeof(identity));
}

void view_forget(struct bridge *bridge, const struct stat *dir)
{
    if (bridge->cache != NULL)
        cache_drop(bridge->cache, key_of(dir->st_dev, dir->st_ino));
}

void view_recall(struct mailbox *mailbox)
{
    if (mailbox->bridge->cache == NULL)
        return;
    AUTO_FREE void *bytes = NULL;
    size_t len = 0;
    if (cache_get(mailbox->bridge->cache, key_of(mailbox->device, mailbox->inode), &bytes, &len) !=
        1)
        return;
    struct blob blob;
    if (len < sizeof(blob))
        return;
    memcpy(&blob, bytes, sizeof(blob));
    if (blob.version != BLOB_VERSION || blob.size != sizeof(blob))
        return;
    struct control_file *file;
    if (control_file_new(mailbox, CONTROL_UIDLIST, blob.ino, &file) < 0)
        return;
    buf_add(&file->content, (const char *)bytes + sizeof(blob), len - sizeof(blob));
    if (buf_error(&file->content) < 0 || view_init(&mailbox->view, &file->content) < 0) {
        control_unref(file);
        return;
    }
    file->mtime = blob.mtime;
    file->uid = blob.uid;
    file->gid = blob.gid;
    file->mode = blob.mode;
    mailbox->order_unsure = true;
    mailbox->recalled = true;
    mailbox->seen = blob.seen;
    mailbox->generation = blob.generation;
    mailbox->highest_next = blob.highest_next;
    mailbox_set_file(mailbox, CONTROL_UIDLIST, file);
}

/* A mailbox at work changes many times a minute; the cache gets the result. */
#define REMEMBER_SECONDS 5

void view_remember(struct mailbox *mailbox, bool now)
{
    const struct control_file *file = mailbox->file[CONTROL_UIDLIST];
    if (mailbox->bridge->cache == NULL || !mailbox->cache_outdated || file == NULL ||
        mailbox->view_outdated)
        return;
    if (mailbox->cache_due == 0)
        mailbox->cache_due = time(NULL) + REMEMBER_SECONDS;
    if (!now && time(NULL) < mailbox->cache_due)
        return;
    mailbox->cache_due = 0;
    struct blob blob;
    memset(&blob, 0, sizeof(blob)); /* padding too: the blob has a checksum */
    blob.version = BLOB_VERSION;
    blob.size = sizeof(blob);
    blob.seen = mailbox->seen;
    blob.ino = file->ino;
    blob.mtime = file->mtime;
    blob.generation = mailbox->generation;
    blob.highest_next = mailbox->highest_next;
    blob.uid = file->uid;
    blob.gid = file->gid;
    blob.mode = file->mode;
    BUF_AUTO bytes = BUF_EMPTY;
    buf_add(&bytes, &blob, sizeof(blob));
    buf_add_span(&bytes, buf_span(&file->content));
    if (buf_error(&bytes) == 0)
        cache_put(mailbox->bridge->cache, key_of(mailbox->device, mailbox->inode), bytes.data,
                  bytes.len);
    mailbox->cache_outdated = false;
}
