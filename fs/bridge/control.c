/* The control files by kind: which room's function answers which request. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "bridge/aside.h"
#include "bridge/mailbox.h"
#include "bridge/sources.h"

/* Larger than any list; a process that writes more into one is not Dovecot. */
#define WRITTEN_LIMIT ((size_t)256 << 20)

static const struct {
    const char *name;
    enum control_kind kind;
} names[] = {
    {"dovecot-uidlist", CONTROL_UIDLIST},
    {"dovecot-uidlist.lock", CONTROL_UIDLIST_LOCK},
    {"dovecot-uidlist.tmp", CONTROL_UIDLIST_TMP},
    {"dovecot-keywords", CONTROL_KEYWORDS},
    {"dovecot-keywords.lock", CONTROL_KEYWORDS_LOCK},
    {"subscriptions", CONTROL_SUBSCRIPTIONS},
    {"subscriptions.lock", CONTROL_SUBSCRIPTIONS_LOCK},
    {"dovecot-acl", CONTROL_ACL},
    {"dovecot-acl.lock", CONTROL_ACL_LOCK},
    {"dovecot-acl-list", CONTROL_ACL_LIST},
};

#define NAME_COUNT (sizeof(names) / sizeof(names[0]))

enum control_kind control_kind_of(struct span name)
{
    for (size_t i = 0; i < NAME_COUNT; i++) {
        if (span_equals(name, names[i].name))
            return names[i].kind;
    }
    return CONTROL_NONE;
}

/* The name of KIND, which is not CONTROL_NONE. */
static const char *control_name(enum control_kind kind)
{
    size_t i = 0;
    while (i < NAME_COUNT - 1 && names[i].kind != kind)
        i++;
    return names[i].name;
}

/* Files that live in memory from their creation until they are renamed or unlinked. */
static bool is_written_file(enum control_kind kind)
{
    return kind == CONTROL_UIDLIST_TMP || kind == CONTROL_KEYWORDS_LOCK ||
           kind == CONTROL_SUBSCRIPTIONS_LOCK || kind == CONTROL_ACL_LOCK;
}

static bool is_subscription(enum control_kind kind)
{
    return kind == CONTROL_SUBSCRIPTIONS || kind == CONTROL_SUBSCRIPTIONS_LOCK;
}

/* Folders have no subscriptions: there the name is an ordinary one; and in a converted mailbox all
 * are. */
static int enter(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                 enum control_kind kind, struct mailbox **mailbox_r)
{
    int result = mailbox_enter(bridge, caller, dir, mailbox_r);
    if (result < 0)
        return result;
    if ((*mailbox_r)->converted || (is_subscription(kind) && !mailbox_is_inbox(*mailbox_r))) {
        mailbox_leave(*mailbox_r);
        result = -ENOTDIR;
    }
    return result;
}

/* ---- lookup ---------------------------------------------------------------------------------- */

static int lookup_uidlist(struct mailbox *mailbox, const struct caller *caller,
                          struct control_file **file_r)
{
    /* Frozen while the lock is held here, except that what Dovecot spoiled is shown afresh. */
    bool frozen =
        mailbox->lock.held && mailbox->file[CONTROL_UIDLIST] != NULL && !mailbox->view_outdated;
    bool is_pop3 = pop3_is_caller(mailbox, caller);
    if (!frozen) {
        int result = uidlist_refresh(mailbox);
        /* Dovecot asks for the lock, is refused, looks for a list all the same, and takes a mailbox
         * without one for a new one: empty, with a UIDVALIDITY of its own making. */
        if (result == -ENOENT && mailbox->grant_failed)
            result = -EIO;
        if (result == 0)
            result = uidlist_settle_uidls(mailbox);
        if (result == 0 && is_pop3 && mailbox->order_unsure)
            result = uidlist_settle_order(mailbox);
        if (result < 0)
            return result;
    }
    *file_r = control_ref(mailbox->file[CONTROL_UIDLIST]);
    return 0;
}

static int lookup(struct mailbox *mailbox, const struct caller *caller, enum control_kind kind,
                  struct control_file **file_r)
{
    switch (kind) {
    case CONTROL_UIDLIST:
        return lookup_uidlist(mailbox, caller, file_r);
    case CONTROL_UIDLIST_LOCK:
        return lock_lookup(mailbox, caller, file_r);
    case CONTROL_KEYWORDS:
        return keywords_lookup(mailbox, file_r);
    case CONTROL_SUBSCRIPTIONS:
        return subscriptions_lookup(mailbox, file_r);
    case CONTROL_ACL:
        return acl_lookup(mailbox, file_r);
    case CONTROL_ACL_LIST:
        return acl_list_lookup(mailbox);
    case CONTROL_UIDLIST_TMP:
    case CONTROL_KEYWORDS_LOCK:
    case CONTROL_SUBSCRIPTIONS_LOCK:
    case CONTROL_ACL_LOCK:
        if (mailbox->file[kind] == NULL)
            return -ENOENT;
        *file_r = control_ref(mailbox->file[kind]);
        return 0;
    case CONTROL_NONE:
        break;
    }
    return -ENOTDIR;
}

int control_lookup(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                   enum control_kind kind, struct control_file **file_r)
{
    struct mailbox *mailbox;
    int result = enter(bridge, caller, dir, kind, &mailbox);
    if (result < 0)
        return result;
    result = lookup(mailbox, caller, kind, file_r);
    mailbox_leave(mailbox);
    return result;
}

static int add_if_there(struct mailbox *mailbox, const struct caller *caller,
                        enum control_kind kind, const char *name, struct dir_list *list)
{
    struct control_file *file;
    if (lookup(mailbox, caller, kind, &file) < 0)
        return 0;
    int result = dir_list_add(list, span_of(name), file->ino, 8 /* DT_REG */);
    control_unref(file);
    return result;
}

static void drop_control_names(struct dir_list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (control_kind_of(dir_entry_name(list, &list->entries[i])) == CONTROL_NONE)
            list->entries[kept++] = list->entries[i];
    }
    list->count = kept;
}

int control_list(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                 struct dir_list *list)
{
    struct mailbox *mailbox;
    int result = enter(bridge, caller, dir, CONTROL_NONE, &mailbox);
    if (result == -ENOTDIR)
        return 0;
    drop_control_names(list);
    if (result < 0)
        return 0;
    result = add_if_there(mailbox, caller, CONTROL_UIDLIST, "dovecot-uidlist", list);
    if (result == 0)
        result = add_if_there(mailbox, caller, CONTROL_KEYWORDS, "dovecot-keywords", list);
    if (result == 0 && mailbox_is_inbox(mailbox))
        result = add_if_there(mailbox, caller, CONTROL_SUBSCRIPTIONS, "subscriptions", list);
    if (result == 0)
        result = add_if_there(mailbox, caller, CONTROL_ACL, "dovecot-acl", list);
    mailbox_leave(mailbox);
    return result;
}

/* ---- create, link, unlink, rename ------------------------------------------------------------ */

static int create_written(struct mailbox *mailbox, const struct caller *caller,
                          enum control_kind kind, mode_t mode, uint64_t ino,
                          struct control_file **file_r)
{
    bool needs_lock = kind == CONTROL_UIDLIST_TMP || kind == CONTROL_KEYWORDS_LOCK;
    if (needs_lock && !(mailbox->lock.held && mailbox->lock.pid == caller->pid))
        return -EACCES;
    if (kind == CONTROL_SUBSCRIPTIONS_LOCK) {
        /* What Dovecot is shown from now on is what its changes are taken against. */
        struct control_file *shown;
        int result = subscriptions_lookup(mailbox, &shown);
        if (result == 0)
            control_unref(shown);
        else if (result != -ENOENT)
            return result;
    }
    int result = kind == CONTROL_ACL_LOCK ? acl_lock_made(mailbox) : 0;
    if (result < 0)
        return result;
    struct control_file *file;
    result = control_file_new(mailbox, kind, ino, &file);
    if (result < 0)
        return result;
    file->mode = mode & 0777;
    file->uid = mailbox->acting.uid;
    file->gid = mailbox->acting.gid;
    file->mtime = time_after((struct timespec){0});
    mailbox_set_file(mailbox, kind, file);
    *file_r = control_ref(file);
    return 0;
}

int control_create(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                   enum control_kind kind, bool exclusive, mode_t mode,
                   struct control_file **file_r)
{
    struct mailbox *mailbox;
    int result = enter(bridge, caller, dir, kind, &mailbox);
    if (result < 0)
        return result;
    if (kind == CONTROL_ACL_LIST)
        result = -ENOTDIR;
    else if (kind == CONTROL_UIDLIST_LOCK)
        result = lock_create(mailbox, caller, NULL, file_r);
    else if (!is_written_file(kind))
        result = -EPERM;
    else if (exclusive && mailbox->file[kind] != NULL)
        result = -EEXIST;
    else
        result = create_written(mailbox, caller, kind, mode, bridge_new_ino(bridge), file_r);
    if (result < 0 && kind == CONTROL_UIDLIST_TMP)
        lock_end_writer(mailbox, caller);
    mailbox_leave(mailbox);
    return result;
}

int control_file_reload(struct control_file *file)
{
    if (file->linked == NULL)
        return 0;
    struct stat st;
    buf_clear(&file->content);
    int result = store_read_file(file->mailbox->bridge->store, file->linked, WRITTEN_LIMIT,
                                 &file->content, &st);
    if (result == 0)
        file->mtime = st.st_mtim;
    return result;
}

/* Dovecot (dotlock_use_excl=no) makes a temporary file, links it to the lock's name, unlinks the
 * temporary name, and writes the new content through the descriptor it still has. So the file must
 * stay reachable: it gets one more name in tmp/, which goes when the lock does. */
static int link_written(struct mailbox *mailbox, const struct caller *caller, const char *from,
                        enum control_kind kind, struct control_file **file_r)
{
    struct store *store = mailbox->bridge->store;
    if (!is_written_file(kind) || kind == CONTROL_UIDLIST_TMP)
        return -EPERM;
    if (mailbox->file[kind] != NULL)
        return -EEXIST;
    BUF_AUTO name = BUF_EMPTY;
    struct stat st;
    int result = store_unique_path(store, mailbox->path, "linked", &name);
    if (result == 0)
        result = store_link(store, from, name.data);
    if (result == 0)
        result = store_stat(store, name.data, &st);
    if (result == 0)
        result =
            create_written(mailbox, caller, kind, st.st_mode, store_shown_ino(store, &st), file_r);
    if (result < 0)
        return result;
    (*file_r)->linked = steal_pointer(&name.data);
    name = BUF_EMPTY;
    return control_file_reload(*file_r);
}

/* Forgets a written file: it was recorded, or unlinked. */
static void end_written(struct mailbox *mailbox, enum control_kind kind)
{
    const struct control_file *file = mailbox->file[kind];
    if (file != NULL && file->linked != NULL)
        (void)store_unlink(mailbox->bridge->store, file->linked);
    mailbox_set_file(mailbox, kind, NULL);
}

int control_link(struct bridge *bridge, const struct caller *caller, const char *from,
                 const struct place *dir, enum control_kind kind, struct control_file **file_r)
{
    struct mailbox *mailbox;
    int result = enter(bridge, caller, dir, kind, &mailbox);
    if (result < 0)
        return result;
    if (kind == CONTROL_ACL_LIST)
        result = -ENOTDIR;
    else if (kind == CONTROL_UIDLIST_LOCK)
        result = lock_create(mailbox, caller, from, file_r);
    else
        result = link_written(mailbox, caller, from, kind, file_r);
    mailbox_leave(mailbox);
    return result;
}

int control_unlink(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                   enum control_kind kind)
{
    struct mailbox *mailbox;
    int result = enter(bridge, caller, dir, kind, &mailbox);
    if (result < 0)
        return result;
    if (kind == CONTROL_ACL_LIST) {
        result = -ENOTDIR;
    } else if (kind == CONTROL_UIDLIST_LOCK) {
        result = lock_unlink(mailbox, caller);
    } else if (kind == CONTROL_UIDLIST) {
        mailbox->view_outdated = true;
    } else {
        if (mailbox->file[kind] == NULL)
            result = is_written_file(kind) ? -ENOENT : 0;
        end_written(mailbox, kind);
    }
    mailbox_leave(mailbox);
    return result;
}

/* What was begun before the mailbox was converted becomes the real file NAME. */
static int put_into_real_file(struct mailbox *mailbox, enum control_kind from, const char *name)
{
    int result = control_file_reload(mailbox->file[from]);
    if (result == 0)
        result = home_replace(mailbox, name, buf_span(&mailbox->file[from]->content), NULL, NULL,
                              NULL, NULL);
    end_written(mailbox, from);
    return result;
}

static int record_rename(struct mailbox *mailbox, enum control_kind from, enum control_kind to)
{
    int result = 0;
    if (mailbox->file[from] != NULL)
        result = control_file_reload(mailbox->file[from]);
    if (result < 0)
        return result;
    if (from == CONTROL_UIDLIST_TMP && to == CONTROL_UIDLIST)
        return uidlist_record_rewrite(mailbox);
    if (from == CONTROL_KEYWORDS_LOCK && to == CONTROL_KEYWORDS)
        return keywords_record(mailbox);
    if (from == CONTROL_SUBSCRIPTIONS_LOCK && to == CONTROL_SUBSCRIPTIONS)
        return subscriptions_record(mailbox);
    if (from == CONTROL_ACL_LOCK && to == CONTROL_ACL)
        return acl_record(mailbox);
    return -EPERM;
}

int control_rename(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                   enum control_kind from, enum control_kind to)
{
    struct mailbox *mailbox;
    int result = mailbox_enter(bridge, caller, dir, &mailbox);
    if (result < 0)
        return result;
    bool is_ordinary = mailbox->converted || (is_subscription(from) && !mailbox_is_inbox(mailbox));
    if (is_ordinary) {
        result = mailbox->converted && mailbox->file[from] != NULL
                     ? put_into_real_file(mailbox, from, control_name(to))
                     : -ENOTDIR;
        mailbox_leave(mailbox);
        return result;
    }
    result = record_rename(mailbox, from, to);
    if (result < 0 && from == CONTROL_UIDLIST_TMP && result != -ESTALE)
        lock_end_writer(mailbox, caller);
    /* Also when it failed: Dovecot leaves the lock behind then, and would wait for it at its next
     * attempt. After ESTALE the kernel asks once more. */
    if (is_written_file(from) && from != CONTROL_UIDLIST_TMP && result != -ESTALE)
        end_written(mailbox, from);
    mailbox_leave(mailbox);
    return result;
}

int control_confirm_lock(struct bridge *bridge, const struct caller *caller,
                         const struct place *dir, const char *path)
{
    struct mailbox *mailbox;
    int result = mailbox_enter(bridge, caller, dir, &mailbox);
    if (result < 0)
        return result == -ENOTDIR ? 0 : result;
    result = aside_look(mailbox, true);
    if (result == 0 && !mailbox->converted) {
        (void)store_unlink(bridge->store, path);
        result = -EEXIST;
    }
    mailbox_leave(mailbox);
    return result;
}

/* ---- on one file ----------------------------------------------------------------------------- */

uint64_t control_ino(const struct control_file *file)
{
    return file->ino;
}

/* The lock's owner sees what it wrote and is not recorded yet. */
static size_t visible_size(const struct control_file *file, const struct caller *caller)
{
    const struct held_lock *lock = &file->mailbox->lock;
    bool owner = lock->held && lock->pid == caller->pid;
    return file->content.len + (owner ? file->pending.len : 0);
}

int control_stat(struct control_file *file, const struct caller *caller, struct stat *st_r)
{
    struct mailbox *mailbox = file->mailbox;
    int result = mailbox_resume(mailbox, caller);
    if (result < 0)
        return result;
    result = control_file_reload(file);
    memset(st_r, 0, sizeof(*st_r));
    st_r->st_ino = file->ino;
    st_r->st_mode = S_IFREG | file->mode;
    st_r->st_nlink = 1;
    st_r->st_uid = file->uid;
    st_r->st_gid = file->gid;
    st_r->st_size = (off_t)visible_size(file, caller);
    st_r->st_blksize = 4096;
    st_r->st_blocks = (st_r->st_size + 511) / 512;
    st_r->st_mtim = st_r->st_ctim = st_r->st_atim = file->mtime;
    mailbox_leave(mailbox);
    return result;
}

/* Copies what lies at OFFSET of PART, which begins at START of the file. */
static size_t copy_part(const struct buf *part, size_t start, char *out, size_t size, size_t offset)
{
    if (offset < start || offset - start >= part->len)
        return 0;
    size_t left = part->len - (offset - start);
    size_t len = size < left ? size : left;
    memcpy(out, part->data + (offset - start), len);
    return len;
}

ssize_t control_read(struct control_file *file, const struct caller *caller, void *out, size_t size,
                     off_t offset)
{
    struct mailbox *mailbox = file->mailbox;
    int result = mailbox_resume(mailbox, caller);
    if (result < 0)
        return result;
    result = control_file_reload(file);
    if (result < 0) {
        mailbox_leave(mailbox);
        return result;
    }
    size_t at = (size_t)offset;
    size_t done = copy_part(&file->content, 0, out, size, at);
    if (visible_size(file, caller) > file->content.len)
        done += copy_part(&file->pending, file->content.len, (char *)out + done, size - done,
                          at + done);
    mailbox_leave(mailbox);
    return (ssize_t)done;
}

/* Dovecot appends to its list, under the lock, and does nothing else to it. */
static int write_uidlist(struct mailbox *mailbox, struct control_file *file,
                         const struct caller *caller, const void *bytes, size_t size, off_t offset)
{
    if (!mailbox->lock.held || mailbox->lock.pid != caller->pid)
        return -EACCES;
    if (file != mailbox->file[CONTROL_UIDLIST] || mailbox->view_outdated)
        return -ESTALE; /* a descriptor of an earlier generation */
    if ((size_t)offset != file->content.len + file->pending.len)
        return -EPERM;
    buf_add(&file->pending, bytes, size);
    return buf_error(&file->pending);
}

static int write_buffer(struct control_file *file, const void *bytes, size_t size, off_t offset)
{
    size_t end = (size_t)offset + size;
    if (end > WRITTEN_LIMIT)
        return -EFBIG;
    int result = buf_reserve(&file->content, end);
    if (result < 0)
        return result;
    if ((size_t)offset > file->content.len)
        memset(file->content.data + file->content.len, 0, (size_t)offset - file->content.len);
    memcpy(file->content.data + offset, bytes, size);
    if (end > file->content.len)
        file->content.len = end;
    file->mtime = time_after(file->mtime);
    return 0;
}

ssize_t control_write(struct control_file *file, const struct caller *caller, const void *bytes,
                      size_t size, off_t offset)
{
    struct mailbox *mailbox = file->mailbox;
    int result = mailbox_resume(mailbox, caller);
    if (result < 0)
        return result;
    if (file->kind == CONTROL_UIDLIST)
        result = write_uidlist(mailbox, file, caller, bytes, size, offset);
    else if (is_written_file(file->kind))
        result = write_buffer(file, bytes, size, offset);
    else if (file->kind !=
             CONTROL_UIDLIST_LOCK) /* the lock's content was written when it was taken */
        result = -EPERM;
    if (result < 0 && (file->kind == CONTROL_UIDLIST || file->kind == CONTROL_UIDLIST_TMP))
        lock_end_writer(mailbox, caller);
    mailbox_leave(mailbox);
    return result < 0 ? result : (ssize_t)size;
}

int control_truncate(struct control_file *file, const struct caller *caller, off_t size)
{
    struct mailbox *mailbox = file->mailbox;
    int result = mailbox_resume(mailbox, caller);
    if (result < 0)
        return result;
    if (file->kind == CONTROL_UIDLIST_LOCK) {
        result = 0;
    } else if (!is_written_file(file->kind)) {
        result = -EPERM;
    } else if ((size_t)size < file->content.len) {
        file->content.len = (size_t)size;
        file->mtime = time_after(file->mtime);
    } else if ((size_t)size > file->content.len) {
        result = write_buffer(file, "", 0, size);
    }
    mailbox_leave(mailbox);
    return result;
}

int control_sync(struct control_file *file, const struct caller *caller)
{
    struct mailbox *mailbox = file->mailbox;
    int result = mailbox_resume(mailbox, caller);
    if (result < 0)
        return result;
    bool is_owner = mailbox->lock.held && mailbox->lock.pid == caller->pid;
    if (is_owner && file == mailbox->file[CONTROL_UIDLIST])
        result = uidlist_record_pending(mailbox);
    else if (file->kind == CONTROL_UIDLIST && lock_was_lost(mailbox, caller))
        result = -EIO;
    if (result < 0)
        lock_end_writer(mailbox, caller);
    mailbox_leave(mailbox);
    return result;
}

int control_utimens(struct control_file *file, const struct caller *caller,
                    const struct timespec times[2])
{
    struct mailbox *mailbox = file->mailbox;
    int result = mailbox_resume(mailbox, caller);
    if (result < 0)
        return result;
    bool is_lock = file->kind == CONTROL_UIDLIST_LOCK;
    if ((is_lock || is_written_file(file->kind)) && times[1].tv_nsec != UTIME_OMIT) {
        file->mtime = times[1];
        if (times[1].tv_nsec == UTIME_NOW)
            clock_gettime(CLOCK_REALTIME, &file->mtime);
        if (is_lock && mailbox->lock.held)
            result = lock_set_times(mailbox, times);
    }
    mailbox_leave(mailbox);
    return result;
}

/* ---- before a directory moves ---------------------------------------------------------------- */

int mailbox_before_rename(struct bridge *bridge, const struct caller *caller,
                          const struct place *place)
{
    struct mailbox *mailbox;
    int result = mailbox_enter(bridge, caller, place, &mailbox);
    if (result < 0)
        return result == -ENOTDIR ? 0 : result;
    if (!mailbox->converted && !bridge->store->read_only) {
        SOURCES_AUTO sources = NULL;
        result = sources_load(mailbox, &sources);
        if (result == 0 && sources->present[SOURCE_UIDDB])
            result = keys_fix_guid(mailbox, sources);
    }
    mailbox_leave(mailbox);
    return result;
}
