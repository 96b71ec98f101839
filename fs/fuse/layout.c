/* The layout for Dovecot's CONTROL=.
 *
 *     mail_location = maildir:/nfs/mail/%d/%n/Maildir:CONTROL=/srv/mail/%d/%n/Maildir:INDEX=...
 *
 * Dovecot then reads and moves mail in the store itself, without us, and looks for what it keeps about
 * it below CONTROL: in `.Folder/` for a folder, in `.INBOX/` for the INBOX, and `subscriptions` and
 * `dovecot-uidvalidity*` in CONTROL itself (2.3.19, seen with strace). The mailbox's own directory is
 * where these files are on an ordinary mount, so here
 *
 *   - directories have their places; a maildir has itself once more, as `.INBOX`;
 *   - control files are what they are on any mount;
 *   - of the store's files only those are there that Dovecot makes: temporary names for locks,
 *     `dovecot-uidvalidity`, Maildir++'s `maildirsize`, which Dovecot's quota looks for here, and the real
 *     control files of a converted mailbox;
 *   - `cur`, `new` and `tmp` are there and closed: a Dovecot that looks here for mail, because somebody
 *     forgot CONTROL=, must meet an error and not an empty mailbox.
 *
 * Nothing else is shown, since what Dovecot finds in the control directory of a folder that it deletes
 * it unlinks. And no directory is made, moved or removed: it is the mailbox. When Dovecot asks, it has
 * done so to the mailbox already, and what has that name by now may be another one.
 *
 * What stays as it is: the lock, the grant, recording, Courier's POP3 list. None of them needs Dovecot's
 * listings and renames to come by here. What is lost with these is in the README (Control files only). */
#include "fuse/layout.h"

#include <dirent.h>
#include <errno.h>

#include "store/list.h"

static bool is_dovecots(struct span name)
{
    static const char *const beginnings[] = {"dovecot", ".dovecot", "temp.", ".temp.",
                                             "maildirsize"};
    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
        if (span_starts(name, beginnings[i]))
            return true;
    }
    return false;
}

/* Whether DIR is the cur, new or tmp of a mailbox: 1, 0 or -errno. */
static int is_closed(struct fs *fs, const struct caller *caller, const struct directory *dir)
{
    enum node_role role = dir->node->role;
    if (role != ROLE_CUR && role != ROLE_NEW && role != ROLE_TMP)
        return 0;
    bool is_inbox;
    int result = mailbox_check(fs->bridge, caller, &dir->mailbox, &is_inbox);
    if (result == -ENOTDIR)
        return 0;
    return result == 0 ? 1 : result;
}

int layout_classify(struct fs *fs, const struct caller *caller, struct slot *slot)
{
    struct span name = span_of(slot->name);
    int result = is_closed(fs, caller, &slot->dir);
    if (result < 0)
        return result;
    if (result == 1)
        slot->kind = SLOT_CLOSED;
    else if ((slot->control = control_kind_of(name)) != CONTROL_NONE)
        slot->kind = SLOT_CONTROL;
    else if (is_dovecots(name))
        slot->kind = SLOT_FILE;
    else if (slot->dir.node->role == ROLE_INBOX)
        slot->kind = SLOT_HIDDEN;
    else
        slot->kind = span_equals(name, INBOX_NAME) ? SLOT_INBOX : SLOT_DIRECTORY;
    return 0;
}

/* 1 if DIR is a maildir that is no folder. */
static int has_inbox(struct fs *fs, const struct caller *caller, const struct directory *dir)
{
    bool is_inbox;
    int result = mailbox_check(fs->bridge, caller, &dir->place, &is_inbox);
    if (result == -ENOTDIR)
        return 0;
    return result < 0 ? result : is_inbox && dir->node->role != ROLE_INBOX;
}

int layout_lookup(struct fs *fs, const struct caller *caller, const struct slot *slot,
                  struct fuse_entry_param *entry_r)
{
    char child[PATH_MAX];
    const char *path = slot->dir.path;
    int result = 0;
    if (slot->kind == SLOT_INBOX) {
        result = has_inbox(fs, caller, &slot->dir);
        if (result < 1)
            return result < 0 ? result : -ENOENT;
    } else {
        result = directory_child(&slot->dir, slot->name, child);
        path = child;
    }
    if (result < 0)
        return result;
    struct stat st;
    result = store_stat(fs->store, path, &st);
    if (result < 0)
        return result;
    return S_ISDIR(st.st_mode)
               ? lookup_enter(fs, caller, &slot->dir, span_of(slot->name), &st, entry_r)
               : -ENOENT;
}

int layout_may_list(struct fs *fs, const struct caller *caller, struct node *node)
{
    struct directory dir;
    int result = directory_locate(fs, node, &dir);
    if (result == 0)
        result = is_closed(fs, caller, &dir);
    return result == 1 ? -EPERM : result;
}

/* Whether an entry of the store's listing stays in it: 1, 0 or -errno. */
static int stays(struct fs *fs, const struct directory *dir, const struct dir_list *list,
                 const struct dir_entry *entry)
{
    struct span name = dir_entry_name(list, entry);
    bool is_own = is_dovecots(name) || control_kind_of(name) != CONTROL_NONE;
    if (is_own || dir->node->role == ROLE_INBOX || entry->type != DT_UNKNOWN)
        return is_own || (dir->node->role != ROLE_INBOX && entry->type == DT_DIR);
    char path[PATH_MAX];
    struct stat st;
    int result = directory_child(dir, name.text, path);
    if (result < 0)
        return result;
    result = store_stat(fs->store, path, &st);
    if (result < 0)
        return fs_is_gone(result) ? 0 : result;
    return S_ISDIR(st.st_mode);
}

static uint64_t inbox_ino(const struct fs *fs, const struct node *maildir)
{
    const struct stat st = {.st_dev = maildir->device, .st_ino = maildir->inode};
    return store_shown_ino(fs->store, &st) ^ FS_OTHER_INO;
}

int layout_list(struct fs *fs, const struct caller *caller, const struct directory *dir,
                struct dir_list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        int result = stays(fs, dir, list, &list->entries[i]);
        if (result < 0)
            return result;
        if (result == 1)
            list->entries[kept++] = list->entries[i];
    }
    list->count = kept;
    int result = has_inbox(fs, caller, dir);
    if (result == 1)
        result = dir_list_add(list, span_of(INBOX_NAME), inbox_ino(fs, dir->node), DT_DIR);
    return result;
}
