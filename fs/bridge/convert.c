/* One mailbox becomes Dovecot's.
 *
 * The problem. What a client holds (UIDVALIDITY, UIDs, UIDLs, keywords) must be the same before and
 * after, whoever is connected meanwhile, wherever a crash stops it; and nobody may ever see half of
 * either side.
 *
 * So nothing is computed here. Under Courier's lock, taken as Dovecot takes it through the mount, all
 * files get their UIDs (grant.c), and then Dovecot's files are written with what the mount shows at
 * this moment: a session on a mount reads the same bytes before and after. In this order:
 *
 *   1. names in `cur` get the letters of their keywords. Courier does not see them;
 *   2. dovecot-keywords, dovecot-acl, subscriptions, dovecot-uidlist are written, each durably. The
 *      mount hides them, Courier ignores them;
 *   3. the uid database moves into courierfs-aside: from here on the mailbox is Dovecot's (aside.c);
 *   4. Courier's other files follow, and names that lost their letters meanwhile get them again.
 *
 * A crash before 3 leaves Courier's mailbox, in which the next attempt finds some work done; one after
 * it leaves Dovecot's, complete, with leftovers that the next attempt takes away. If a session changes
 * flags meanwhile (Courier, without a lock) a name is gone when it is renamed: the listing is repeated.
 *
 * Rejected: a list of steps to be replayed after a crash (a mailbox would be nobody's until somebody
 * replays it); writing from the parsed uid database directly (two programs that must agree for ever on
 * UIDLs, order and keyword letters are one too many). */
#include "bridge/convert.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "bridge/aside.h"
#include "bridge/cur_names.h"
#include "bridge/sources.h"

/* A lock of a host that died is stale after two minutes. */
#define LOCK_PATIENCE 150
#define LOCK_RETRY_MS 100

/* ---- Dovecot's files ------------------------------------------------------------------------- */

/* Owner and mode of what Dovecot would make here. */
static struct stat made_here(const struct mailbox *mailbox)
{
    struct stat st = mailbox->dir;
    st.st_mode &= 0666;
    return st;
}

static int write_file(struct mailbox *mailbox, const char *name, struct span content)
{
    BUF_AUTO there = BUF_EMPTY;
    struct stat st;
    if (home_read(mailbox, name, &there, &st) == 0 && span_equal(buf_span(&there), content))
        return 0;
    const struct stat like = made_here(mailbox);
    return home_replace(mailbox, name, content, &like, NULL, NULL, NULL);
}

/* Whether a dovecot-uidlist that is there names every message as the view does, or not at all. */
static int check_earlier_list(struct mailbox *mailbox)
{
    BUF_AUTO text = BUF_EMPTY;
    struct stat st;
    int result = home_read(mailbox, "dovecot-uidlist", &text, &st);
    if (result == -ENOENT)
        return 0;
    if (result < 0)
        return result;
    struct view earlier;
    result = view_init(&earlier, &text);
    if (result == -EUCLEAN)
        return 0; /* Dovecot itself would not believe it */
    if (result < 0)
        return result;
    if (earlier.uidvalidity != mailbox->view.uidvalidity && earlier.count > 0)
        result = -EEXIST;
    for (size_t i = 0; result == 0 && i < earlier.count; i++) {
        const struct uidlist_record record = view_record_at(&earlier, i);
        struct uidlist_record now;
        if (view_find_base(&mailbox->view, record.base, &now) && now.uid != record.uid)
            result = -EEXIST;
    }
    view_release(&earlier);
    return result;
}

/* The list as it is shown, without the lines of messages that are gone. */
static int format_list(struct mailbox *mailbox, const struct dir_list *cur, struct buf *out,
                       struct conversion *done)
{
    struct span rest = buf_span(mailbox->view.text);
    struct span line;
    bool complete;
    BUF_AUTO scratch = BUF_EMPTY;
    struct uidlist_header header;
    if (!span_next_line(&rest, &line, &complete))
        return -EIO;
    int result = uidlist_parse_header(line, &scratch, &header);
    if (result < 0)
        return result;
    uint32_t implied = view_implied_next(&mailbox->view);
    if (implied > header.uidnext)
        header.uidnext = implied;
    uidlist_format_header(out, &header);
    done->uidvalidity = header.uidvalidity;
    done->uidnext = header.uidnext;
    for (size_t i = 0; i < mailbox->view.count; i++) {
        const struct uidlist_record record = view_record_at(&mailbox->view, i);
        struct span uidl;
        if (dir_list_find_base(cur, record.base) == NULL)
            continue;
        uidlist_format_record(out, &record);
        done->messages++;
        done->uidls += uidlist_find_key(record.keys, 'P', &uidl);
    }
    return buf_error(out);
}

/* Writes what a lookup answers under the file's own name. Where nothing is shown, what an earlier
 * attempt left must not begin to count: it is set aside. */
static int write_shown(struct mailbox *mailbox, const char *name, int shown,
                       struct control_file *file)
{
    if (shown == -ENOENT || shown == -ENOTDIR) {
        int moved = aside_put(mailbox, name);
        return moved < 0 ? moved : 0;
    }
    if (shown < 0)
        return shown;
    int result = write_file(mailbox, name, buf_span(&file->content));
    control_unref(file);
    return result;
}

static int write_files(struct mailbox *mailbox, struct span list)
{
    struct control_file *file = NULL;
    int shown = 0;
    int result = aside_make(mailbox);
    if (result == 0) {
        shown = keywords_lookup(mailbox, &file);
        result = write_shown(mailbox, "dovecot-keywords", shown, file);
    }
    if (result == 0) {
        shown = acl_lookup(mailbox, &file);
        result = write_shown(mailbox, "dovecot-acl", shown, file);
    }
    if (result == 0 && mailbox_is_inbox(mailbox)) {
        shown = subscriptions_lookup(mailbox, &file);
        result = write_shown(mailbox, "subscriptions", shown, file);
    }
    if (result == 0)
        result = write_file(mailbox, "dovecot-uidlist", list);
    return result;
}

static void count_keywords(const struct mailbox *mailbox, const struct dir_list *cur,
                           struct conversion *done)
{
    for (size_t i = 0; i < mailbox->keywords.count; i++) {
        const struct keyword_entry *entry = &mailbox->keywords.entries[i];
        struct span base = keyword_entry_base(&mailbox->keywords, (uint32_t)i);
        if (dir_list_find_base(cur, base) == NULL)
            continue;
        done->keywords += entry->letters != 0 || entry->extra != NULL;
        done->unsaid += entry->extra != NULL;
    }
}

/* ---- setting aside --------------------------------------------------------------------------- */

/* What is left of Courier's, and of ours, in a mailbox that is Dovecot's. What is set aside already and
 * comes again was made by a Courier that was started afterwards: it stays where it is, to be seen. */
static int set_leftovers_aside(struct mailbox *mailbox)
{
    size_t moved = 0;
    const char *name;
    for (size_t i = 0; (name = aside_courier_name(i)) != NULL; i++) {
        bool there = false;
        int result = aside_has(mailbox, name, &there);
        if (result == 0 && !there)
            result = aside_put(mailbox, name);
        if (result < 0)
            return result;
        moved += result > 0;
    }
    return moved > 0 ? aside_sync(mailbox) : 0;
}

/* Dovecot's list of folders that others may see: it makes a new one. */
static int drop_acl_list(struct mailbox *mailbox)
{
    BUF_AUTO path = BUF_EMPTY;
    int result = store_join(&path, mailbox->path, "dovecot-acl-list");
    if (result == 0 && mailbox_is_inbox(mailbox))
        result = store_unlink(mailbox->bridge->store, path.data);
    return result == -ENOENT ? 0 : result;
}

/* A dry run leaves mail in new/, which a real one moves, and numbers, when it takes the lock. */
static int count_new(struct mailbox *mailbox, struct conversion *done)
{
    DIR_LIST_AUTO list = DIR_LIST_EMPTY;
    BUF_AUTO path = BUF_EMPTY;
    int result = store_join(&path, mailbox->path, "new");
    if (result == 0)
        result = store_list_messages(mailbox->bridge->store, path.data, &list);
    for (size_t i = 0; result == 0 && i < list.count; i++) {
        bool counts = dir_entry_name(&list, &list.entries[i]).text[0] != '.';
        done->messages += counts;
        done->uidnext += counts;
    }
    return result;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* 0, -EBUSY, or -errno. */
static int take_lock(struct mailbox *mailbox, const struct caller *caller)
{
    const struct timespec pause = {.tv_nsec = LOCK_RETRY_MS * 1000000L};
    int result = -EEXIST;
    for (int i = 0; result == -EEXIST && i < LOCK_PATIENCE * 1000 / LOCK_RETRY_MS; i++) {
        struct control_file *file;
        if (i > 0)
            nanosleep(&pause, NULL);
        result = lock_create(mailbox, caller, NULL, &file);
        if (result == 0)
            control_unref(file);
        else if (result == -EEXIST && mailbox->converted)
            return 0;
    }
    return result == -EEXIST ? -EBUSY : result;
}

static int switch_over(struct mailbox *mailbox, const struct conversion_options *options)
{
    int result = 0;
    if (options->before_switch != NULL)
        result = options->before_switch(options->arg);
    if (result == 0)
        result = caller_become(&mailbox->acting);
    if (result == 0)
        result = lock_still_ours(mailbox->bridge->store, mailbox->path, &mailbox->lock.identity);
    if (result == 0)
        result = aside_put(mailbox, source_name(SOURCE_UIDDB));
    return result < 0 ? result : aside_sync(mailbox);
}

static int convert_locked(struct mailbox *mailbox, const struct conversion_options *options,
                          struct conversion *done)
{
    DIR_LIST_AUTO cur = DIR_LIST_EMPTY;
    BUF_AUTO path = BUF_EMPTY;
    BUF_AUTO list = BUF_EMPTY;
    int result = uidlist_settle_order(mailbox);
    if (result == 0)
        result = cur_list(mailbox, &path, &cur);
    if (result == 0)
        result = format_list(mailbox, &cur, &list, done);
    if (result == 0)
        count_keywords(mailbox, &cur, done);
    if (result == 0 && !options->overwrite)
        result = check_earlier_list(mailbox);
    if (result == 0 && options->dry_run)
        return count_new(mailbox, done);
    if (result == 0)
        result = cur_rename_all(mailbox, true, &done->renamed);
    if (result == 0)
        result = write_files(mailbox, buf_span(&list));
    if (result == 0)
        result = drop_acl_list(mailbox);
    if (result == 0)
        result = switch_over(mailbox, options);
    if (result == 0)
        result = set_leftovers_aside(mailbox);
    if (result == 0)
        result = cur_rename_all(mailbox, true, &done->renamed);
    return result;
}

int mailbox_convert(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                    const struct conversion_options *options, struct conversion *done_r)
{
    struct mailbox *mailbox;
    *done_r = (struct conversion){.already = false};
    int result = mailbox_enter(bridge, caller, dir, &mailbox);
    if (result < 0)
        return result;
    if (!mailbox->converted)
        result = take_lock(mailbox, caller);
    if (result == 0 && !mailbox->converted) {
        result = convert_locked(mailbox, options, done_r);
        int released = lock_unlink(mailbox, caller);
        if (result == 0)
            result = released;
        if (result == 0 && !options->dry_run)
            result = aside_look(mailbox, true);
    } else if (result == 0) {
        done_r->already = true;
        if (!options->dry_run)
            result = set_leftovers_aside(mailbox);
    }
    mailbox_leave(mailbox);
    return result;
}

int mailbox_is_converted(struct bridge *bridge, const struct caller *caller,
                         const struct place *dir, bool *converted_r)
{
    struct mailbox *mailbox;
    int result = mailbox_enter(bridge, caller, dir, &mailbox);
    if (result < 0)
        return result;
    result = aside_look(mailbox, true);
    *converted_r = mailbox->converted;
    mailbox_leave(mailbox);
    return result;
}

/* ---- Courier's log-in ------------------------------------------------------------------------ */

/* Courier 5.0.13, imapd and courierpop3d alike, runs this at each log-in, after its greeting is due and
 * before any command, with the client as standard output; what it answers with its exit status is
 * ignored (seen). So it says why, and ends the server. */
static const char closing_text[] =
    "#!/bin/sh\n"
    "# Made by courierctl convert. This account's mailboxes are Dovecot's now: Courier must not\n"
    "# serve them any more, it would give every message a new UID. courierctl revert takes this "
    "away.\n"
    "case $(cat /proc/$PPID/comm) in\n"
    "courierpop3d) printf -- '-ERR [SYS/PERM] This account was converted to Dovecot.\\r\\n' ;;\n"
    "*) printf '* BYE This account was converted to Dovecot.\\r\\n' ;;\n"
    "esac\n"
    "kill -9 $PPID\n";

#define LOGIN_HOOK "loginexec"

static int is_closed(struct mailbox *mailbox, bool *closed_r, bool *there_r)
{
    BUF_AUTO text = BUF_EMPTY;
    struct stat st;
    int result = home_read(mailbox, LOGIN_HOOK, &text, &st);
    *there_r = result != -ENOENT;
    *closed_r = result == 0 && span_equals(buf_span(&text), closing_text);
    return result == -ENOENT || result == -EFBIG || result == -EINVAL ? 0 : result;
}

int account_close_to_courier(struct bridge *bridge, const struct caller *caller,
                             const struct place *dir)
{
    struct mailbox *mailbox;
    int result = mailbox_enter(bridge, caller, dir, &mailbox);
    if (result < 0)
        return result;
    bool closed = false;
    bool there = false;
    result = is_closed(mailbox, &closed, &there);
    if (result == 0 && there && !closed)
        result = aside_make(mailbox);
    if (result == 0 && there && !closed)
        result = aside_put(mailbox, LOGIN_HOOK);
    if (result >= 0 && !closed) {
        struct stat like = mailbox->dir;
        like.st_mode &= 0777;
        result = home_replace(mailbox, LOGIN_HOOK, span_of(closing_text), &like, NULL, NULL, NULL);
    }
    mailbox_leave(mailbox);
    return result;
}

int account_open_to_courier(struct bridge *bridge, const struct caller *caller,
                            const struct place *dir)
{
    struct mailbox *mailbox;
    int result = mailbox_enter(bridge, caller, dir, &mailbox);
    if (result < 0)
        return result;
    bool closed = false;
    bool there = false;
    BUF_AUTO hook = BUF_EMPTY;
    BUF_AUTO former = BUF_EMPTY;
    result = is_closed(mailbox, &closed, &there);
    if (result == 0)
        result = store_join(&hook, mailbox->path, LOGIN_HOOK);
    if (result == 0)
        result = store_join(&former, mailbox->path, ASIDE_DIRECTORY "/" LOGIN_HOOK);
    if (result == 0 && closed)
        result = store_rename(bridge->store, former.data, hook.data, 0);
    if (result == -ENOENT)
        result = store_unlink(bridge->store, hook.data);
    mailbox_leave(mailbox);
    return result;
}
