/* One mailbox becomes Courier's again.
 *
 * Dovecot may have worked for weeks: there are messages, keywords, subscriptions, rights of which
 * Courier's files, set aside, know nothing. The rules by which such things reach Courier's files are the
 * mount's own. So the files set aside are put back into their places first, and then Dovecot's files
 * are recorded as if Dovecot had written them through the mount a moment ago. Only the uid database is
 * made otherwise: for what was given out since, Dovecot's list is the authority, whatever became of
 * UIDVALIDITY and UIDs.
 *
 * Both locks are held, Dovecot's own and Courier's. In this order:
 *
 *   1. Courier's files return, all but the uid database. The mailbox stays Dovecot's (aside.c);
 *   2. subscriptions, rights, keywords, keys, the POP3 list are recorded in them. Every message that
 *      has a UID is moved to `cur`, since Courier forgets the UIDs of what lies in `new`;
 *   3. the new uid database is written into courierfs-aside and moves out of it: from here on the
 *      mailbox is Courier's;
 *   4. Dovecot's files are set aside, and letters taken out of names.
 *
 * A crash before 3 leaves Dovecot's mailbox, in which Dovecot may go on; the next attempt records the
 * difference. The POP3 list gets every message, with the UIDL that Dovecot shows, also where Courier's
 * POP3 never was: Dovecot's may have been, meanwhile. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "bridge/aside.h"
#include "bridge/convert.h"
#include "bridge/cur_names.h"
#include "bridge/sources.h"
#include "courier/name.h"
#include "dovecot/letters.h"
#include "store/dotlock.h"

#define LOCK_PATIENCE 150
#define DOVECOTS_LOCK "dovecot-uidlist.lock"
#define LOCK_RETRY_MS 100
/* Courier's UIDVALIDITY of a new uid database is the time less this (seen). */
#define COURIER_EPOCH 1000000000

/* ---- the locks ------------------------------------------------------------------------------- */

struct locks {
    struct buf path; /* of Dovecot's, terminated */
    struct lock_identity dovecot;
    bool has_dovecot;
};

static int try_both(struct mailbox *mailbox, const struct caller *caller, struct locks *locks)
{
    struct store *store = mailbox->bridge->store;
    int result = 0;
    if (!locks->has_dovecot)
        result = dotlock_take(store, mailbox->path, locks->path.data, &locks->dovecot);
    if (result < 0)
        return result;
    locks->has_dovecot = true;
    return lock_acquire(mailbox, caller, NULL);
}

static int take_locks(struct mailbox *mailbox, const struct caller *caller, struct locks *locks)
{
    const struct timespec pause = {.tv_nsec = LOCK_RETRY_MS * 1000000L};
    int result = store_join(&locks->path, mailbox->path, DOVECOTS_LOCK);
    if (result == 0)
        result = try_both(mailbox, caller, locks);
    for (int i = 0; result == -EEXIST && i < LOCK_PATIENCE * 1000 / LOCK_RETRY_MS; i++) {
        nanosleep(&pause, NULL);
        result = try_both(mailbox, caller, locks);
    }
    return result == -EEXIST ? -EBUSY : result;
}

static void release_locks(struct mailbox *mailbox, const struct caller *caller, struct locks *locks)
{
    if (mailbox->lock.held)
        (void)lock_unlink(mailbox, caller);
    if (locks->has_dovecot)
        (void)dotlock_release(mailbox->bridge->store, locks->path.data, &locks->dovecot);
    buf_release(&locks->path);
}

/* ---- 1: Courier's files return --------------------------------------------------------------- */

/* What a Courier made that was started by mistake gives way. */
static int return_files(struct mailbox *mailbox)
{
    const char *name;
    int result = 0;
    for (size_t i = 0; result >= 0 && (name = aside_courier_name(i)) != NULL; i++) {
        result = aside_take(mailbox, name);
        if (result != -ENOTEMPTY && result != -EEXIST)
            continue;
        log_warning("'%s/%s' was made after the conversion; it is set aside", mailbox->path, name);
        result = aside_exchange(mailbox, name);
    }
    return result < 0 ? result : 0;
}

/* ---- 2: what Dovecot did is recorded --------------------------------------------------------- */

/* Gives the mailbox the written file KIND with the content of Dovecot's file NAME. 1; 0: there is no such
 * file; -errno. */
static int present_as_written(struct mailbox *mailbox, const char *name, enum control_kind kind)
{
    struct control_file *file;
    int result = control_file_new(mailbox, kind, bridge_new_ino(mailbox->bridge), &file);
    if (result < 0)
        return result;
    struct stat st = {0};
    result = home_read(mailbox, name, &file->content, &st);
    file->mtime = st.st_mtim;
    if (result < 0) {
        control_unref(file);
        return result == -ENOENT ? 0 : result;
    }
    mailbox_set_file(mailbox, kind, file);
    return 1;
}

static int record_subscriptions(struct mailbox *mailbox)
{
    if (!mailbox_is_inbox(mailbox))
        return 0;
    struct control_file *shown;
    int result = subscriptions_lookup(mailbox, &shown);
    if (result == 0)
        control_unref(shown);
    else if (result != -ENOENT)
        return result;
    result = present_as_written(mailbox, "subscriptions", CONTROL_SUBSCRIPTIONS_LOCK);
    if (result == 1)
        result = subscriptions_record(mailbox);
    mailbox_set_file(mailbox, CONTROL_SUBSCRIPTIONS_LOCK, NULL);
    return result;
}

static int record_rights(struct mailbox *mailbox)
{
    int result = acl_lock_made(mailbox);
    if (result == 0)
        result = present_as_written(mailbox, "dovecot-acl", CONTROL_ACL_LOCK);
    if (result == 1)
        result = span_equal(buf_span(&mailbox->file[CONTROL_ACL_LOCK]->content),
                            buf_span(&mailbox->acl_base))
                     ? 0
                     : acl_record(mailbox);
    mailbox_set_file(mailbox, CONTROL_ACL_LOCK, NULL);
    return result;
}

/* The letters that mean the same here as LETTERS do by Dovecot's file; *lost counts those without. */
static uint32_t translate(const struct keyword_state *state, const struct letter_names *names,
                          uint32_t letters, size_t *lost)
{
    uint32_t translated = 0;
    for (int bit = 0; bit < LETTER_COUNT; bit++) {
        if ((letters & ((uint32_t)1 << bit)) == 0 || names->name[bit].len == 0)
            continue;
        int letter = letter_names_find(&state->letters, names->name[bit]);
        if (letter >= 0)
            translated |= (uint32_t)1 << letter;
        else
            (*lost)++;
    }
    return translated;
}

static int record_keywords(struct mailbox *mailbox, const struct dir_list *cur,
                           struct reversal *done)
{
    int result = present_as_written(mailbox, "dovecot-keywords", CONTROL_KEYWORDS_LOCK);
    bool any = result == 1;
    BUF_AUTO text = BUF_EMPTY;
    struct letter_names names = {0};
    if (any) {
        buf_add_span(&text, buf_span(&mailbox->file[CONTROL_KEYWORDS_LOCK]->content));
        result = keywords_record(mailbox);
        letter_names_parse(buf_span(&text), NULL, &names);
    }
    mailbox_set_file(mailbox, CONTROL_KEYWORDS_LOCK, NULL);
    if (result == 0)
        result = keywords_read(mailbox);
    for (size_t i = 0; result == 0 && i < cur->count; i++) {
        struct span name = dir_entry_name(cur, &cur->entries[i]);
        uint32_t letters =
            translate(&mailbox->keywords, &names, letters_of(name), &done->lost_keywords);
        result = keywords_set(mailbox, name_base(name), letters);
    }
    if (result == 0)
        result = keywords_merge(mailbox);
    return result;
}

static bool has_uid(const void *arg, struct span base)
{
    struct uidlist_record record;
    return view_find_base(arg, base, &record);
}

/* The keys that Courier has no home for, the mailbox's GUID, and the UIDLs. */
static int record_keys(struct mailbox *mailbox, struct reversal *done)
{
    const struct view *view = &mailbox->view;
    SOURCES_AUTO sources = NULL;
    AUTO_FREE struct uid_claim *claims = calloc(view->count + 1, sizeof(*claims));
    int result = sources_load(mailbox, &sources);
    if (result == 0 && claims == NULL)
        result = -ENOMEM;
    if (result < 0)
        return result;
    for (size_t i = 0; i < view->count; i++) {
        const struct uidlist_record record = view_record_at(view, i);
        struct sizelist_entry entry;
        struct span uidl;
        claims[i] = (struct uid_claim){record.uid, record.base, record.keys};
        done->uidls += mailbox_is_inbox(mailbox);
        if (mailbox_is_inbox(mailbox) && uidlist_find_key(record.keys, 'P', &uidl))
            done->foreign_uidls += !sizelist_uidl_to_pair(uidl, record.base, &entry.n, &entry.uidv);
    }
    sources->db.uidvalidity = view->uidvalidity;
    sources->db.uidnext = done->uidnext;
    sources->must_write = true; /* though it is not written from here */
    result = keys_record(mailbox, sources, claims, view->count);
    if (result == 0)
        result = keys_record_guid(mailbox, sources, span_of(view->guid));
    mailbox->seen = sources->seen;
    mailbox->used_by_pop3 = mailbox_is_inbox(mailbox);
    sources_give_back(&sources);
    if (result == 0)
        result = pop3_enter_messages(mailbox);
    /* Left out, it would get another UIDL. */
    if (result == 0 && mailbox->unread_uid != 0)
        result = -EIO;
    return result == 1 ? -EAGAIN : result;
}

/* ---- 3: the uid database --------------------------------------------------------------------- */

/* Formats it from the messages that are there. */
static int format_database(const struct mailbox *mailbox, const struct dir_list *cur,
                           struct reversal *done, struct buf *out)
{
    const struct view *view = &mailbox->view;
    AUTO_FREE struct uiddb_line *lines = calloc(view->count + 1, sizeof(*lines));
    if (lines == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < view->count; i++) {
        const struct uidlist_record record = view_record_at(view, i);
        if (dir_list_find_base(cur, record.base) != NULL)
            lines[done->messages++] = (struct uiddb_line){record.uid, record.base};
    }
    const struct uiddb db = {.uidvalidity = view->uidvalidity,
                             .uidnext = done->uidnext,
                             .lines = lines,
                             .count = done->messages};
    uiddb_format(&db, out);
    return buf_error(out);
}

static int switch_back(struct mailbox *mailbox, const struct conversion_options *options,
                       bool was_converted, struct span database)
{
    struct stat like = mailbox->dir;
    like.st_mode &= 0666;
    int result = options->before_switch == NULL ? 0 : options->before_switch(options->arg);
    if (result == 0)
        result = caller_become(&mailbox->acting);
    if (result < 0)
        return result;
    if (!was_converted)
        return home_replace(mailbox, source_name(SOURCE_UIDDB), database, &like, NULL, NULL, NULL);
    result = home_replace(mailbox, ASIDE_MARK, database, &like, NULL, NULL, NULL);
    if (result == 0)
        result = lock_still_ours(mailbox->bridge->store, mailbox->path, &mailbox->lock.identity);
    if (result == 0)
        result = aside_take(mailbox, source_name(SOURCE_UIDDB));
    return result < 0 ? result : aside_sync(mailbox);
}

static int set_dovecots_aside(struct mailbox *mailbox)
{
    const char *name;
    int result = 0;
    for (size_t i = 0; result >= 0 && (name = aside_dovecot_name(i)) != NULL; i++) {
        if (mailbox_is_inbox(mailbox) || strcmp(name, "subscriptions") != 0)
            result = aside_put(mailbox, name);
    }
    return result < 0 ? result : aside_sync(mailbox);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int revert_locked(struct mailbox *mailbox, const struct conversion_options *options,
                         bool was_converted, struct reversal *done)
{
    DIR_LIST_AUTO cur = DIR_LIST_EMPTY;
    BUF_AUTO cur_path = BUF_EMPTY;
    BUF_AUTO database = BUF_EMPTY;
    size_t renamed = 0;
    done->uidvalidity = mailbox->view.uidvalidity;
    done->uidnext = view_implied_next(&mailbox->view);
    int result = return_files(mailbox);
    if (result == 0)
        result = move_new_to_cur(mailbox, has_uid, &mailbox->view, NULL, NULL);
    if (result >= 0)
        result = cur_list(mailbox, &cur_path, &cur);
    if (result == 0)
        result = record_subscriptions(mailbox);
    if (result == 0)
        result = record_rights(mailbox);
    if (result == 0)
        result = record_keywords(mailbox, &cur, done);
    if (result == 0)
        result = record_keys(mailbox, done);
    if (result == 0)
        result = format_database(mailbox, &cur, done, &database);
    /* That it is there tells finish() of a crash after the switch, also where nothing was converted. */
    if (result == 0)
        result = aside_make(mailbox);
    if (result == 0)
        result = switch_back(mailbox, options, was_converted, buf_span(&database));
    if (result == 0)
        result = set_dovecots_aside(mailbox);
    if (result == 0)
        result = cur_rename_all(mailbox, false, &renamed);
    return result;
}

/* A list for a folder that Dovecot made and never opened: nobody was told anything of it. */
static int invent_list(struct buf *text)
{
    uidlist_format_header(
        text, &(struct uidlist_header){.uidvalidity = (uint32_t)(time(NULL) - COURIER_EPOCH),
                                       .uidnext = 1});
    return buf_error(text);
}

/* 1: Dovecot's files count, TEXT is its list; 0: there is nothing to do; -errno. */
static int read_list(struct mailbox *mailbox, struct buf *text, bool *marked_r)
{
    struct stat st;
    struct signature database = SIGNATURE_ABSENT;
    struct signature list = SIGNATURE_ABSENT;
    int result = aside_has(mailbox, source_name(SOURCE_UIDDB), marked_r);
    if (result == 0)
        result = home_signature(mailbox, source_name(SOURCE_UIDDB), &database);
    if (result == 0)
        result = home_signature(mailbox, source_name(SOURCE_SIZELIST), &list);
    if (result < 0)
        return result;
    /* Courier's, or known to its POP3 server only. */
    if (!*marked_r && (database.present || list.present))
        return 0;
    result = home_read(mailbox, "dovecot-uidlist", text, &st);
    if (result == -ENOENT && *marked_r)
        result = -EUCLEAN;
    else if (result == -ENOENT)
        result = mailbox->converted ? invent_list(text) : 1;
    else if (result == 0)
        return 1;
    return result == 0 ? 1 : result < 0 ? result : 0;
}

static int revert(struct mailbox *mailbox, const struct caller *caller,
                  const struct conversion_options *options, struct reversal *done)
{
    struct locks locks = {.path = BUF_EMPTY};
    BUF_AUTO text = BUF_EMPTY;
    bool marked = false;
    int result = take_locks(mailbox, caller, &locks);
    if (result == 0)
        result = read_list(mailbox, &text, &marked);
    done->already = result == 0;
    if (result == 1) {
        mailbox_forget_view(mailbox);
        result = view_init(&mailbox->view, &text);
        if (result == 0)
            result = revert_locked(mailbox, options, marked, done);
        mailbox_forget_view(mailbox);
    }
    release_locks(mailbox, caller, &locks);
    return result;
}

/* What a crash after the switch left. */
static int finish(struct mailbox *mailbox)
{
    BUF_AUTO lock = BUF_EMPTY;
    bool begun = false;
    size_t renamed = 0;
    int result = store_join(&lock, mailbox->path, DOVECOTS_LOCK);
    if (result == 0)
        result = aside_has(mailbox, ".", &begun);
    if (result == 0 && begun)
        dotlock_break_stale(mailbox->bridge->store, lock.data);
    if (result == 0 && begun)
        result = set_dovecots_aside(mailbox);
    if (result == 0 && begun)
        result = cur_rename_all(mailbox, false, &renamed);
    return result;
}

int mailbox_revert(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                   const struct conversion_options *options, struct reversal *done_r)
{
    struct mailbox *mailbox;
    *done_r = (struct reversal){.already = false};
    int result = mailbox_enter(bridge, caller, dir, &mailbox);
    if (result < 0)
        return result;
    BUF_AUTO text = BUF_EMPTY;
    bool marked = false;
    result = read_list(mailbox, &text, &marked);
    if (result == 0) {
        done_r->already = true;
        result = finish(mailbox);
    } else if (result == 1) {
        result = revert(mailbox, caller, options, done_r);
    }
    if (result == 0)
        result = aside_look(mailbox, true);
    mailbox_leave(mailbox);
    return result;
}
