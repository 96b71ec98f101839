/* The names in `cur`: letters on the mount, none in the store. In a converted mailbox they are the
 * store's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "bridge/mailbox.h"
#include "courier/name.h"
#include "courier/uiddb.h"
#include "dovecot/letters.h"

/* Appends the path of NAME in the mailbox's cur, terminated. */
static int add_path(struct buf *out, const struct mailbox *mailbox, struct span name)
{
    if (strcmp(mailbox->path, ".") != 0)
        buf_printf(out, "%s/", mailbox->path);
    buf_printf(out, "cur/%.*s", SPAN_FMT(name));
    return buf_terminate(out);
}

static int stat_name(struct mailbox *mailbox, struct span name, struct stat *st_r)
{
    BUF_AUTO path = BUF_EMPTY;
    int result = add_path(&path, mailbox, name);
    return result < 0 ? result : store_stat(mailbox->bridge->store, path.data, st_r);
}

/* FRESH: as Courier has them now, not a moment ago. */
static int load_letters(struct mailbox *mailbox, bool fresh)
{
    int64_t now = clock_milliseconds();
    if (mailbox->converted || (!fresh && now - mailbox->keywords_looked_at < LOOK_MILLISECONDS))
        return 0;
    mailbox->keywords_looked_at = INT64_MIN / 2;
    int result = keywords_load(mailbox);
    if (result == 0)
        mailbox->keywords_looked_at = now;
    return result;
}

static void add_shown_name(struct buf *out, const struct mailbox *mailbox, struct span name)
{
    if (mailbox->converted)
        buf_add_span(out, name);
    else
        letters_show(out, name, keywords_letters(&mailbox->keywords, name_base(name)));
}

static void add_store_name(struct buf *out, const struct mailbox *mailbox, struct span shown)
{
    if (mailbox->converted)
        buf_add_span(out, shown);
    else
        letters_strip(out, shown);
}

/* Whether the store's NAME is shown as SHOWN at this moment. */
static bool is_shown_as(const struct mailbox *mailbox, struct span name, struct span shown)
{
    BUF_AUTO would_show = BUF_EMPTY;
    add_shown_name(&would_show, mailbox, name);
    return span_equal(buf_span(&would_show), shown);
}

static int list_cur(struct mailbox *mailbox)
{
    BUF_AUTO path = BUF_EMPTY;
    int result = store_join(&path, mailbox->path, "cur");
    if (result < 0)
        return result;
    dir_list_release(&mailbox->cur);
    result = store_list_messages_at(mailbox->bridge->store, path.data, lock_store_time(mailbox),
                                    &mailbox->cur);
    mailbox->cur_listed = result == 0;
    mailbox->foreign_letters = false;
    for (size_t i = 0; result == 0 && i < mailbox->cur.count && !mailbox->foreign_letters; i++)
        mailbox->foreign_letters =
            letters_of(dir_entry_name(&mailbox->cur, &mailbox->cur.entries[i])) != 0;
    return result;
}

/* Where the last listing saw the message with this base name, if it still is there. */
static int find_as_listed(struct mailbox *mailbox, struct span base, struct buf *store_name_r,
                          struct stat *st_r)
{
    const struct dir_entry *entry =
        mailbox->cur_listed ? dir_list_find_base(&mailbox->cur, base) : NULL;
    if (entry == NULL)
        return -ENOENT;
    struct span name = dir_entry_name(&mailbox->cur, entry);
    int result = stat_name(mailbox, name, st_r);
    if (result < 0)
        return result;
    buf_add_span(store_name_r, name);
    return buf_terminate(store_name_r);
}

/* The same, or else by a new listing. */
static int find_by_base(struct mailbox *mailbox, struct span base, struct buf *store_name_r,
                        struct stat *st_r)
{
    int result = find_as_listed(mailbox, base, store_name_r, st_r);
    if (result != -ENOENT)
        return result;
    result = list_cur(mailbox);
    return result < 0 ? result : find_as_listed(mailbox, base, store_name_r, st_r);
}

static int find(struct mailbox *mailbox, struct span shown, bool exact, struct buf *store_name_r,
                struct stat *st_r)
{
    int result = load_letters(mailbox, exact);
    if (result < 0)
        return result;
    bool by_base = !exact && name_base(shown).len == shown.len;
    /* Most messages have flags: their bare name would be asked for in vain. */
    if (by_base)
        result = find_as_listed(mailbox, shown, store_name_r, st_r);
    if (by_base && result != -ENOENT)
        return result;
    BUF_AUTO name = BUF_EMPTY;
    add_store_name(&name, mailbox, shown);
    result = buf_error(&name);
    if (result == 0)
        result = stat_name(mailbox, buf_span(&name), st_r);
    if (result == 0) {
        if (!is_shown_as(mailbox, buf_span(&name), shown))
            return -ENOENT;
        buf_add_span(store_name_r, buf_span(&name));
        return buf_terminate(store_name_r);
    }
    if (result != -ENOENT)
        return result;
    /* The store's name may have lower-case letters that are not shown. */
    bool by_letters = !mailbox->converted && (!mailbox->cur_listed || mailbox->foreign_letters);
    if (!by_base && !by_letters)
        return -ENOENT;
    result = find_by_base(mailbox, name_base(shown), store_name_r, st_r);
    if (result == 0 && !by_base && !is_shown_as(mailbox, buf_span(store_name_r), shown))
        result = -ENOENT;
    return result;
}

int message_find(struct bridge *bridge, const struct caller *caller, const struct place *place,
                 struct span shown, bool exact, struct buf *store_name_r, struct stat *st_r)
{
    struct mailbox *mailbox;
    int result = mailbox_enter(bridge, caller, place, &mailbox);
    if (result < 0)
        return result;
    result = find(mailbox, shown, exact, store_name_r, st_r);
    mailbox_leave(mailbox);
    return result;
}

static int add_shown(const struct mailbox *mailbox, struct dir_list *list)
{
    BUF_AUTO shown = BUF_EMPTY;
    for (size_t i = 0; i < mailbox->cur.count; i++) {
        const struct dir_entry *entry = &mailbox->cur.entries[i];
        struct span name = dir_entry_name(&mailbox->cur, entry);
        buf_clear(&shown);
        add_shown_name(&shown, mailbox, name);
        int result = buf_error(&shown);
        if (result == 0)
            result = dir_list_add(list, buf_span(&shown), entry->ino, entry->type);
        if (result < 0)
            return result;
    }
    list->dir = mailbox->cur.dir;
    return 0;
}

static bool is_owner(const struct mailbox *mailbox, const struct caller *caller)
{
    return mailbox->lock.held && mailbox->lock.pid == caller->pid;
}

/* CALLER changed cur, by a name there. */
static void note_change(struct mailbox *mailbox, const struct caller *caller)
{
    if (is_owner(mailbox, caller))
        mailbox->lock.cur_touched = true;
}

int message_list(struct bridge *bridge, const struct caller *caller, const struct place *place,
                 struct dir_list *list_r)
{
    struct mailbox *mailbox;
    *list_r = DIR_LIST_EMPTY;
    int result = mailbox_enter(bridge, caller, place, &mailbox);
    if (result < 0)
        return result;
    result = load_letters(mailbox, true);
    if (result == 0)
        result = list_cur(mailbox);
    if (result == 0 && is_owner(mailbox, caller) && !mailbox->converted)
        cur_listing_shown(mailbox);
    if (result == 0)
        result = add_shown(mailbox, list_r);
    mailbox_leave(mailbox);
    if (result < 0)
        dir_list_release(list_r);
    return result;
}

/* While the lock is held, its owner sees `new` as it was at the grant: see grant.c. */
static bool sees_new_of_grant(const struct mailbox *mailbox, const struct caller *caller)
{
    return is_owner(mailbox, caller) && !mailbox->bridge->store->read_only;
}

/* What was moved out of `new` at the grant, once. What has no UID all the same is gone by now. */
static int list_moved(struct mailbox *mailbox, struct dir_list *list_r)
{
    int result = 0;
    for (size_t i = 0; i < mailbox->moved.count && result == 0; i++) {
        const struct dir_entry *entry = &mailbox->moved.entries[i];
        struct span name = dir_entry_name(&mailbox->moved, entry);
        struct uidlist_record record;
        if (view_find_base(&mailbox->view, name_base(name), &record))
            result = dir_list_add(list_r, name, entry->ino, entry->type);
    }
    dir_list_release(&mailbox->moved);
    return result;
}

int message_list_new(struct bridge *bridge, const struct caller *caller, const struct place *place,
                     struct dir_list *list_r)
{
    struct mailbox *mailbox;
    *list_r = DIR_LIST_EMPTY;
    int result = mailbox_enter(bridge, caller, place, &mailbox);
    if (result < 0)
        return result;
    BUF_AUTO path = BUF_EMPTY;
    if (sees_new_of_grant(mailbox, caller)) {
        result = list_moved(mailbox, list_r);
    } else {
        result = store_join(&path, mailbox->path, "new");
        if (result == 0)
            result = store_list_messages(bridge->store, path.data, list_r);
    }
    mailbox_leave(mailbox);
    if (result < 0)
        dir_list_release(list_r);
    return result;
}

/* Dovecot asks only whether a time differs, not whether it is later. */
int message_dir_times(struct bridge *bridge, const struct caller *caller, const struct place *place,
                      bool is_cur, struct stat *st)
{
    struct mailbox *mailbox;
    int result = mailbox_enter(bridge, caller, place, &mailbox);
    if (result < 0)
        return result == -ENOTDIR && !is_cur ? 0 : result;
    if (mailbox->converted) {
        result = 0;
    } else if (is_cur) {
        result = load_letters(mailbox, true);
        uint64_t shown = mailbox->keywords.shown % 1000000000U;
        if (result == 0)
            st->st_mtim.tv_nsec = (long)(((uint64_t)st->st_mtim.tv_nsec + shown) % 1000000000U);
    } else if (sees_new_of_grant(mailbox, caller)) {
        st->st_mtim = mailbox->new_time;
    }
    mailbox_leave(mailbox);
    return result;
}

/* ---- changes --------------------------------------------------------------------------------- */

static int name_target(const struct mailbox *mailbox, struct span shown, struct buf *store_name_r)
{
    add_store_name(store_name_r, mailbox, shown);
    return buf_terminate(store_name_r);
}

static int prepare_target(struct mailbox *mailbox, struct span shown, struct buf *store_name_r)
{
    int result = 0;
    if (!mailbox->converted)
        result = keywords_set(mailbox, name_base(shown), letters_of(shown));
    return result < 0 ? result : name_target(mailbox, shown, store_name_r);
}

static int is_below_new(const struct mailbox *mailbox, const char *path, bool *answer_r)
{
    BUF_AUTO start = BUF_EMPTY;
    int result = store_join(&start, mailbox->path, "new/");
    if (result == 0)
        *answer_r = strncmp(path, start.data, strlen(start.data)) == 0;
    return result;
}

/* The exact store path of what is called SHOWN. */
static int find_source(struct mailbox *mailbox, struct span shown, struct buf *path_r)
{
    BUF_AUTO name = BUF_EMPTY;
    struct stat st;
    int result = find(mailbox, shown, true, &name, &st);
    return result < 0 ? result : add_path(path_r, mailbox, buf_span(&name));
}

/* FROM_NEW: out of this mailbox's `new`, where the message may be no more: for a second the kernel believes in
 * the name that was saved there, though we have moved it and somebody has set keywords since. So the
 * rename is first, which finds nothing then. No letters say nothing of keywords there. */
static int rename_into(struct mailbox *mailbox, const char *from_path, bool from_new,
                       struct span to, unsigned flags, struct buf *store_name_r)
{
    BUF_AUTO path = BUF_EMPTY;
    int result = from_new ? name_target(mailbox, to, store_name_r)
                          : prepare_target(mailbox, to, store_name_r);
    if (result == 0)
        result = add_path(&path, mailbox, buf_span(store_name_r));
    /* Where only letters changed there is nothing to rename. */
    if (result == 0 && strcmp(from_path, path.data) != 0)
        result = store_rename(mailbox->bridge->store, from_path, path.data, flags);
    if (result == 0 && from_new && letters_of(to) != 0 && !mailbox->converted)
        result = keywords_set(mailbox, name_base(to), letters_of(to));
    return result;
}

int message_rename(struct bridge *bridge, const struct caller *caller,
                   const struct place *from_mailbox, const char *from,
                   const struct place *to_mailbox, const char *to, unsigned flags,
                   struct buf *store_name_r)
{
    BUF_AUTO from_path = BUF_EMPTY;
    int result;
    if (from_mailbox != NULL) {
        struct mailbox *mailbox;
        result = mailbox_enter(bridge, caller, from_mailbox, &mailbox);
        if (result < 0)
            return result;
        result = find_source(mailbox, span_of(from), &from_path);
        mailbox_leave(mailbox);
    } else {
        buf_add_string(&from_path, from);
        result = buf_terminate(&from_path);
    }
    if (result < 0)
        return result;
    if (to_mailbox == NULL) {
        buf_add_string(store_name_r, to);
        result = buf_terminate(store_name_r);
        return result < 0 ? result : store_rename(bridge->store, from_path.data, to, flags);
    }
    struct mailbox *mailbox;
    result = mailbox_enter(bridge, caller, to_mailbox, &mailbox);
    if (result < 0)
        return result;
    bool from_new = false;
    if (from_mailbox == NULL)
        result = is_below_new(mailbox, from_path.data, &from_new);
    if (result == 0)
        result = rename_into(mailbox, from_path.data, from_new, span_of(to), flags, store_name_r);
    if (result == 0 && !mailbox->converted)
        result = arrivals_note(mailbox, caller, from_path.data, span_of(to));
    note_change(mailbox, caller);
    mailbox_leave(mailbox);
    return result;
}

int message_unlink(struct bridge *bridge, const struct caller *caller, const struct place *place,
                   struct span shown)
{
    struct mailbox *mailbox;
    int result = mailbox_enter(bridge, caller, place, &mailbox);
    if (result < 0)
        return result;
    BUF_AUTO path = BUF_EMPTY;
    result = find_source(mailbox, shown, &path);
    if (result == 0)
        result = store_unlink(bridge->store, path.data);
    note_change(mailbox, caller);
    struct uidlist_record record;
    if (result == 0 && view_find_base(&mailbox->view, name_base(shown), &record))
        uiddb_format_line(&mailbox->deleted, record.uid, record.base);
    mailbox_leave(mailbox);
    return result;
}

int message_create_name(struct bridge *bridge, const struct caller *caller,
                        const struct place *place, struct span shown, struct buf *store_name_r)
{
    struct mailbox *mailbox;
    int result = mailbox_enter(bridge, caller, place, &mailbox);
    if (result < 0)
        return result;
    result = prepare_target(mailbox, shown, store_name_r);
    mailbox_leave(mailbox);
    return result;
}

int message_arrived(struct bridge *bridge, const struct caller *caller, const struct place *place,
                    const char *from, struct span name)
{
    struct mailbox *mailbox;
    int result = mailbox_enter(bridge, caller, place, &mailbox);
    if (result < 0)
        return result == -ENOTDIR ? 0 : result;
    if (!mailbox->converted)
        result = arrivals_note(mailbox, caller, from, name);
    mailbox_leave(mailbox);
    return result;
}

int message_sync(struct bridge *bridge, const struct caller *caller, const struct place *place)
{
    struct mailbox *mailbox;
    int result = mailbox_enter(bridge, caller, place, &mailbox);
    if (result < 0)
        return result == -ENOTDIR ? 0 : result;
    if (!mailbox->converted)
        result = arrivals_record(mailbox, caller);
    mailbox_leave(mailbox);
    return result;
}
