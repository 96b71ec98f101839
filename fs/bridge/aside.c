/* Whose files count.
 *
 * `courierctl convert` turns a mailbox from Courier's into Dovecot's while both servers and any
 * number of mounts may be at work on it. Everybody must agree, at every moment and after any crash,
 * whose files name the messages. One rename decides it: the uid database moves from the mailbox into
 * its directory courierfs-aside. Before it Dovecot's files, however complete, are nothing; after it
 * Courier's are. (convert.c does it, revert.c moves it back.)
 *
 * A converted mailbox is an ordinary directory to the mount: its dovecot-uidlist is the store's file,
 * its lock is Dovecot's own dotlock, names in `cur` are shown as they are. What the mount still does
 * is to show the attributes of those files without any delay, so that Dovecots of several nodes agree.
 *
 * A folder that Dovecot makes in a converted account has neither side's files. It is Dovecot's if the
 * account's INBOX is: which is therefore converted after, and reverted after, all its folders.
 *
 * When is it asked? The switch changes the mailbox's directory, which is looked at anyway; and at the
 * grant of the lock it is asked strictly, because there a wrong answer would make a new uid database.
 * A node that learns it late shows what was true until then, and can give out no UID: the lock that it
 * needs is another file by then, and who asks for the wrong one is sent away (lock_create, and
 * control_confirm_lock for the way back). */
#include "bridge/aside.h"

#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "bridge/sources.h"

/* 0 with *there_r; -errno. */
static int is_there(struct store *store, const char *dir, const char *name, bool *there_r)
{
    BUF_AUTO path = BUF_EMPTY;
    struct stat st;
    int result = store_join(&path, dir, name);
    if (result == 0)
        result = store_stat(store, path.data, &st);
    *there_r = result == 0;
    return result == -ENOENT || result == -ENOTDIR ? 0 : result;
}

static int has_mark(struct store *store, const char *dir, bool now, bool *there_r)
{
    BUF_AUTO aside = BUF_EMPTY;
    int result = now ? store_join(&aside, dir, ASIDE_DIRECTORY) : 0;
    if (result == 0 && now)
        result = store_ask_again(store, dir);
    if (result == 0 && now)
        result = store_ask_again(store, aside.data);
    if (result == -ENOENT || result == -ENOTDIR) {
        *there_r = false;
        return 0;
    }
    return result < 0 ? result : is_there(store, dir, ASIDE_MARK, there_r);
}

/* The mailbox that PATH, a folder's, belongs to. 0 or -ENOMEM. */
static int add_account(struct buf *out, const char *path)
{
    const char *slash = strrchr(path, '/');
    buf_add(out, slash == NULL ? "." : path, slash == NULL ? 1 : (size_t)(slash - path));
    return buf_terminate(out);
}

/* *certain_r: whether the answer stays true as long as the mailbox's directory does not change. */
static int ask(struct mailbox *mailbox, bool now, bool *converted_r, bool *certain_r)
{
    struct store *store = mailbox->bridge->store;
    bool has_database = false;
    *certain_r = true;
    int result = has_mark(store, mailbox->path, now, converted_r);
    if (result < 0 || *converted_r || mailbox_is_inbox(mailbox))
        return result;
    result = is_there(store, mailbox->path, "courierimapuiddb", &has_database);
    if (result < 0 || has_database)
        return result;
    *certain_r = false;
    BUF_AUTO account = BUF_EMPTY;
    result = add_account(&account, mailbox->path);
    return result < 0 ? result : has_mark(store, account.data, now, converted_r);
}

/* Dovecot writes a new subscriptions or ACL file without the lock of the uidlist; what it has begun is
 * put into the real file when it is done (control_rename). */
static bool is_being_written(enum control_kind kind)
{
    return kind == CONTROL_SUBSCRIPTIONS_LOCK || kind == CONTROL_ACL_LOCK;
}

static void forget_all(struct mailbox *mailbox)
{
    for (int kind = 0; kind < CONTROL_KIND_COUNT; kind++) {
        if (!is_being_written((enum control_kind)kind))
            mailbox_set_file(mailbox, (enum control_kind)kind, NULL);
    }
    mailbox_forget_view(mailbox);
    view_forget(mailbox->bridge, &mailbox->dir);
    keyword_state_release(&mailbox->keywords);
    mailbox->keywords = (struct keyword_state){.loaded = false};
    dir_list_release(&mailbox->cur);
    dir_list_release(&mailbox->moved);
    dir_list_release(&mailbox->saved);
    mailbox->cur_listed = false;
    arrivals_forget(mailbox);
    buf_release(&mailbox->deleted);
    mailbox->seen = (struct sources_seen){.hash = {0}};
    mailbox->cur_complete = CUR_COMPLETE_UNKNOWN;
    mailbox->entered_uid = mailbox->unread_uid = 0;
    mailbox->highest_next = 0;
    mailbox->cache_asked = false;
    mailbox->cache_outdated = false;
}

int aside_look(struct mailbox *mailbox, bool now)
{
    const struct signature dir = signature_of_stat(&mailbox->dir);
    if (!now && mailbox->side_known && signature_unchanged(&mailbox->side_seen, &dir))
        return 0;
    bool converted = false;
    bool certain = false;
    int result = ask(mailbox, now, &converted, &certain);
    if (result < 0)
        return result;
    if (converted != mailbox->converted)
        forget_all(mailbox);
    mailbox->converted = converted;
    /* What is asked NOW may be newer than the directory's last stat. */
    mailbox->side_known = certain && !now;
    mailbox->side_seen = dir;
    return 0;
}

/* ---- the directory --------------------------------------------------------------------------- */

const char *aside_courier_name(size_t n)
{
    static const char *const names[] = {
        "courierpop3dsizelist",  KEYWORD_DIRECTORY,    "courierimapacl", "courierimaphieracl",
        "courierimapsubscribed", KEYWORD_LETTERS_FILE, KEYS_FILE,
    };
    return n < sizeof(names) / sizeof(names[0]) ? names[n] : NULL;
}

const char *aside_dovecot_name(size_t n)
{
    static const char *const names[] = {
        "dovecot-uidlist",
        "dovecot-keywords",
        "subscriptions",
        "dovecot-acl",
    };
    return n < sizeof(names) / sizeof(names[0]) ? names[n] : NULL;
}

int aside_make(struct mailbox *mailbox)
{
    BUF_AUTO path = BUF_EMPTY;
    int result = store_join(&path, mailbox->path, ASIDE_DIRECTORY);
    if (result == 0)
        result = store_mkdir(mailbox->bridge->store, path.data, mailbox->dir.st_mode & 0777);
    return result == -EEXIST ? 0 : result;
}

/* NAME's path in the mailbox and in the directory, terminated. */
static int both_paths(const struct mailbox *mailbox, const char *name, struct buf *own_r,
                      struct buf *aside_r)
{
    BUF_AUTO below = BUF_EMPTY;
    int result = store_join(&below, ASIDE_DIRECTORY, name);
    if (result == 0)
        result = store_join(own_r, mailbox->path, name);
    return result < 0 ? result : store_join(aside_r, mailbox->path, below.data);
}

int aside_has(struct mailbox *mailbox, const char *name, bool *there_r)
{
    BUF_AUTO own = BUF_EMPTY;
    BUF_AUTO aside = BUF_EMPTY;
    int result = both_paths(mailbox, name, &own, &aside);
    return result < 0 ? result : is_there(mailbox->bridge->store, ".", aside.data, there_r);
}

int aside_put(struct mailbox *mailbox, const char *name)
{
    BUF_AUTO own = BUF_EMPTY;
    BUF_AUTO aside = BUF_EMPTY;
    int result = both_paths(mailbox, name, &own, &aside);
    if (result == 0)
        result = store_rename(mailbox->bridge->store, own.data, aside.data, 0);
    return result == -ENOENT ? 0 : result < 0 ? result : 1;
}

int aside_take(struct mailbox *mailbox, const char *name)
{
    BUF_AUTO own = BUF_EMPTY;
    BUF_AUTO aside = BUF_EMPTY;
    int result = both_paths(mailbox, name, &own, &aside);
    if (result == 0)
        result = store_rename(mailbox->bridge->store, aside.data, own.data, 0);
    return result == -ENOENT ? 0 : result < 0 ? result : 1;
}

int aside_exchange(struct mailbox *mailbox, const char *name)
{
    BUF_AUTO own = BUF_EMPTY;
    BUF_AUTO aside = BUF_EMPTY;
    BUF_AUTO strange = BUF_EMPTY;
    int result = both_paths(mailbox, name, &own, &aside);
    if (result == 0) {
        buf_printf(&strange, "%s.strange", aside.data);
        result = buf_terminate(&strange);
    }
    if (result == 0)
        result = store_rename(mailbox->bridge->store, own.data, strange.data, 0);
    return result < 0 ? result : aside_take(mailbox, name);
}

int aside_sync(struct mailbox *mailbox)
{
    BUF_AUTO path = BUF_EMPTY;
    int result = store_join(&path, mailbox->path, ASIDE_DIRECTORY);
    if (result == 0)
        result = store_sync_directory(mailbox->bridge->store, path.data);
    if (result == 0)
        result = store_sync_directory(mailbox->bridge->store, mailbox->path);
    return result;
}
