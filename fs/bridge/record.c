/* Recording UIDs.
 *
 * The problem. Dovecot gives out UIDs by itself: under its lock it takes the next ones, appends
 * lines to its list, syncs, and tells clients. Courier must know them before the first client does,
 * or it would give the same UIDs to other messages. And nothing Dovecot writes may take away or
 * change what Courier already told its own clients.
 *
 * The step. What Dovecot wrote is a batch of claims (UID, base name). Against the uid database,
 * read again under the lock, each claim is one of:
 *
 *   known     the same UID and base name are there: nothing to do;
 *   new       the base name is not there and the UID is NEXTUID or above: a line is added;
 *   moved     the base name is there under another UID, and the claimed one is NEXTUID or
 *             above: the line gets the new UID. Dovecot does this to a message whose UID its index
 *             has expunged: it never takes that one back, so refusing would never converge; and a
 *             UID that nobody was ever told harms no client;
 *             The same for any UID that was given out under the lock held now (arrivals.c);
 *   dead      the base name is not there, but the view shows this very line: a message that is
 *             gone, repeated by Dovecot's rewrite. Nothing to do;
 *   refused   all else: a UID below NEXTUID that the database does not have for this message may
 *             have named another one. It is logged, the process that claimed it is ended before it
 *             tells its client (uidlist_lock.c), and a fresh generation is shown.
 *
 * Then NEXTUID is put above every claim, the file is written under a unique name, synced, and
 * renamed. Only after that does fdatasync (or rename, or the unlock) return to Dovecot. For messages
 * that Dovecot itself stores this is still too late; arrivals.c says why, and records them earlier.
 *
 * Order of steps, and what a crash between them leaves:
 *
 *   1. Messages that are still in `new` are moved to `cur`. Courier drops a line whose file is
 *      not in cur at its next scan, and the message then gets another UID. Crash after this: the
 *      message lies in cur without a UID; whoever comes next gives it one. Nobody was told any.
 *   2. Keys without a home (message GUIDs, foreign UIDLs) go to our own file. Crash: keys of a
 *      message whose line is not there yet; they are found by base name and do no harm.
 *   3. The uid database is replaced. Crash before the rename: the old one is in place, Dovecot was
 *      told nothing. Crash after: the lines are there, Dovecot's clients were told nothing, but the
 *      message keeps this UID, which is what Dovecot would have told.
 *
 * Races. Courier's stale-lock breaking can take a lock away from a living process (see
 * store/lock.h). So immediately before the rename the lock must still be our inode and the uid
 * database the very file that was read, and that must be what it was when the lock was granted, or
 * what was written since; if not, nothing is written and the process that wrote is ended
 * (uidlist_lock.c says why it gets no error). tests/model shows what each of these looks prevents.
 *
 * A line is never taken out because Dovecot's text lacks it. The only lines that go are those of
 * messages that were unlinked through this mount (grant.c).
 *
 * Rejected: recording at the next read (the daemon may die first); trusting the view as the uid
 * database's content (a stolen lock makes it old); accepting lower unused UIDs (unused here is not
 * unused in a client's cache). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "bridge/sources.h"
#include "courier/name.h"
#include "store/lock.h"

/* ---- new to cur ------------------------------------------------------------------------------ */

/* Rename that never replaces a message. 1: it is not in `new` any more; 0: a message of that name is in
 * cur, there is nothing to do for us; -errno. */
static int move_message(struct mailbox *mailbox, struct span name)
{
    struct store *store = mailbox->bridge->store;
    BUF_AUTO from = BUF_EMPTY;
    BUF_AUTO to = BUF_EMPTY;
    bool has_info = name_base(name).len != name.len;
    buf_printf(&from, "%s/new/%.*s", mailbox->path, SPAN_FMT(name));
    buf_printf(&to, "%s/cur/%.*s%s", mailbox->path, SPAN_FMT(name), has_info ? "" : ":2,");
    if (buf_terminate(&from) < 0 || buf_terminate(&to) < 0)
        return -ENOMEM;
    int result = store_rename(store, from.data, to.data, RENAME_NOREPLACE);
    if (result == -EINVAL) { /* NFS has no such flag */
        struct stat st;
        result = store_stat(store, to.data, &st);
        if (result == 0)
            result = -EEXIST;
        else if (result == -ENOENT)
            result = store_rename(store, from.data, to.data, 0);
    }
    if (result == -EEXIST)
        return 0;
    mailbox->lock.cur_touched |= result == 0;
    return result == 0 || result == -ENOENT ? 1 : result;
}

int move_new_to_cur(struct mailbox *mailbox, bool (*needed)(const void *arg, struct span base),
                    const void *arg, struct dir_list *moved_r, struct stat *dir_r)
{
    struct store *store = mailbox->bridge->store;
    if (store->read_only)
        return 0;
    BUF_AUTO path = BUF_EMPTY;
    int result = store_join(&path, mailbox->path, "new");
    DIR_LIST_AUTO list = DIR_LIST_EMPTY;
    if (result == 0)
        result = store_list_messages_at(store, path.data, lock_store_time(mailbox), &list);
    int count = 0;
    for (size_t i = 0; result >= 0 && i < list.count; i++) {
        const struct dir_entry *entry = &list.entries[i];
        struct span name = dir_entry_name(&list, entry);
        if (name.text[0] == '.' || !needed(arg, name_base(name)))
            continue;
        result = move_message(mailbox, name);
        count += result > 0;
        if (result > 0 && moved_r != NULL)
            result = dir_list_add(moved_r, name, entry->ino, entry->type);
    }
    if (dir_r != NULL)
        *dir_r = list.dir;
    return result < 0 ? result : count;
}

/* ---- claims ---------------------------------------------------------------------------------- */

struct claims_by_base {
    const struct uid_claim *claims;
    struct base_map map;
};

static struct span claim_base(const void *owner, uint32_t position)
{
    const struct claims_by_base *by_base = owner;
    return by_base->claims[position].base;
}

static bool is_claimed(const void *arg, struct span base)
{
    const struct claims_by_base *by_base = arg;
    return base_map_find(&by_base->map, base) != BASE_MAP_NONE;
}

static int claims_move_to_cur(struct mailbox *mailbox, const struct uid_claim *claims, size_t count)
{
    struct claims_by_base by_base = {.claims = claims};
    int result = base_map_init(&by_base.map, count, claim_base, &by_base);
    for (size_t i = 0; result == 0 && i < count; i++)
        result = base_map_put(&by_base.map, (uint32_t)i);
    mailbox->saved_by = mailbox->lock.pid;
    if (result == 0)
        result = move_new_to_cur(mailbox, is_claimed, &by_base, &mailbox->saved, NULL);
    base_map_release(&by_base.map);
    return result < 0 ? result : 0;
}

/* ---- the write ------------------------------------------------------------------------------- */

/* Asked immediately before the uid database is replaced. */
static int check_before_commit(struct mailbox *mailbox, void *arg)
{
    const struct sources *sources = arg;
    int result = lock_still_ours(mailbox->bridge->home, mailbox->path, &mailbox->lock.identity);
    if (result == -ENOLCK) {
        log_error("'%s': the lock was taken away by another program; nothing is recorded",
                  mailbox->path);
        return -EIO;
    }
    struct signature now;
    if (result == 0)
        result = store_ask_again(mailbox->bridge->home, mailbox->path);
    if (result == 0)
        result = home_signature(mailbox, source_name(SOURCE_UIDDB), &now);
    if (result < 0)
        return result;
    if (!signature_same(&sources->seen.signature[SOURCE_UIDDB], &now)) {
        log_error("'%s': courierimapuiddb was replaced by a program without the lock; nothing is "
                  "recorded",
                  mailbox->path);
        return -EIO;
    }
    return 0;
}

int uiddb_commit(struct mailbox *mailbox, struct sources *sources)
{
    BUF_AUTO text = BUF_EMPTY;
    uiddb_format(&sources->db, &text);
    int result = buf_error(&text);
    if (result < 0)
        return result;
    const struct stat *like = sources->present[SOURCE_UIDDB] ? &sources->st[SOURCE_UIDDB] : NULL;
    struct stat st;
    result = home_replace(mailbox, source_name(SOURCE_UIDDB), buf_span(&text), like,
                          check_before_commit, sources, &st);
    if (result < 0)
        return result;
    uiddb_point_into(&sources->db, buf_span(&text));
    buf_release(&sources->text[SOURCE_UIDDB]);
    sources->text[SOURCE_UIDDB] = text;
    text = BUF_EMPTY;
    sources->present[SOURCE_UIDDB] = sources->parsed[SOURCE_UIDDB] = true;
    sources->must_write = false;
    sources->st[SOURCE_UIDDB] = st;
    sources->seen.signature[SOURCE_UIDDB] = signature_of_stat(&st);
    sources->uiddb_under = mailbox->lock.held ? mailbox->lock.number : 0;
    sources->seen.hash[SOURCE_UIDDB] =
        XXH3_64bits(sources->text[SOURCE_UIDDB].data, sources->text[SOURCE_UIDDB].len);
    /* The others of the sources may be newer than the view. */
    mailbox->seen.signature[SOURCE_UIDDB] = sources->seen.signature[SOURCE_UIDDB];
    mailbox->seen.hash[SOURCE_UIDDB] = sources->seen.hash[SOURCE_UIDDB];
    mailbox->lock.uiddb_hash = sources->seen.hash[SOURCE_UIDDB];
    return 0;
}

static int record(struct mailbox *mailbox, struct sources *sources, const struct uid_claim *claims,
                  size_t count, bool in_cur, uint32_t uidnext_floor, struct uid_outcome *outcome_r)
{
    *outcome_r = (struct uid_outcome){0};
    if (!mailbox->lock.held)
        return -ENOLCK;
    /* Since the grant nobody but us may have written it: what Dovecot numbers from, and which UIDs
     * may still change hands, would be wrong. */
    if (mailbox->lock.first_next != 0 &&
        mailbox->lock.uiddb_hash != sources->seen.hash[SOURCE_UIDDB]) {
        log_error("'%s': courierimapuiddb was replaced while the lock was held here; nothing is "
                  "recorded",
                  mailbox->path);
        return -EIO;
    }
    struct uiddb *db = &sources->db;
    struct claims_merged merge;
    int result = claims_merge(mailbox, db, claims, count, &merge);
    bool raise = uidnext_floor > db->uidnext && uidnext_floor <= UIDDB_HIGHEST_UID + 1;
    if (result < 0 || merge.added > 0 || merge.moved > 0 || raise)
        sources->must_write = true;
    if (result < 0)
        return result;
    outcome_r->refused = merge.refused;
    if (raise)
        db->uidnext = uidnext_floor;
    if (merge.added > 0)
        dir_list_release(&mailbox->saved);
    if (merge.added > 0 && !in_cur)
        result = claims_move_to_cur(mailbox, claims, count);
    if (result == 0)
        result = keys_record(mailbox, sources, claims, count);
    if (result == 0 && (sources->must_write || !sources->present[SOURCE_UIDDB] || db->repairs != 0))
        result = uiddb_commit(mailbox, sources);
    if (result < 0)
        return result;
    outcome_r->recorded = merge.added + merge.moved;
    atomic_fetch_add(&mailbox->bridge->uids_recorded, outcome_r->recorded);
    return 0;
}

int uids_record_in(struct mailbox *mailbox, struct sources *sources, const struct uid_claim *claims,
                   size_t count, uint32_t uidnext_floor, struct uid_outcome *outcome_r)
{
    return record(mailbox, sources, claims, count, false, uidnext_floor, outcome_r);
}

int uids_record_in_cur(struct mailbox *mailbox, struct sources *sources,
                       const struct uid_claim *claims, size_t count)
{
    struct uid_outcome outcome;
    return record(mailbox, sources, claims, count, true, 0, &outcome);
}

/* ---- what Dovecot wrote ---------------------------------------------------------------------- */

/* Dovecot writes a message's GUID, which is a file name, as it is: one with a space makes a line that
 * Dovecot itself cannot read again. */
static bool keys_are_sound(struct span keys)
{
    for (size_t i = 0; i < keys.len; i++) {
        if ((i == 0 || keys.text[i - 1] == ' ') && (keys.text[i] < 'A' || keys.text[i] > 'Z'))
            return false;
    }
    return true;
}

/* *sound_r: whether every line may be shown again as it is written. */
static int parse_claims(struct mailbox *mailbox, struct span text, struct uid_claim **claims_r,
                        size_t *count_r, bool *sound_r)
{
    *sound_r = true;
    size_t capacity = 0;
    size_t count = 0;
    AUTO_FREE struct uid_claim *claims = NULL;
    struct span line;
    bool complete;
    while (span_next_line(&text, &line, &complete)) {
        struct uidlist_record record;
        if (!complete || uidlist_parse_record(line, &record) < 0 ||
            (count > 0 && record.uid <= claims[count - 1].uid)) {
            log_error("'%s': Dovecot wrote a uidlist line that cannot be read: '%.*s'",
                      mailbox->path, (int)(line.len < 100 ? line.len : 100), line.text);
            return -EINVAL;
        }
        if (count == capacity) {
            capacity = capacity == 0 ? 16 : capacity * 2;
            struct uid_claim *grown = realloc(claims, capacity * sizeof(*grown));
            if (grown == NULL)
                return -ENOMEM;
            claims = grown;
        }
        claims[count] = (struct uid_claim){record.uid, record.base, record.keys};
        if (!keys_are_sound(record.keys)) {
            claims[count].keys = (struct span){0};
            *sound_r = false;
        }
        count++;
    }
    *claims_r = steal_pointer(&claims);
    *count_r = count;
    return 0;
}

/* The part of TEXT up to its last LF. */
static struct span complete_lines(struct span text)
{
    while (text.len > 0 && text.text[text.len - 1] != '\n')
        text.len--;
    return text;
}

/* The next UID after all claims, which are in order. */
static uint32_t next_after(const struct uid_claim *claims, size_t count)
{
    uint32_t last = count == 0 ? 0 : claims[count - 1].uid;
    return last > UIDDB_HIGHEST_UID ? 0 : last + 1;
}

/* What Dovecot wrote was not recorded. Should it live to remember the next UID that it had come to, it
 * would take a list with a lower one for broken; so the UIDs are skipped. */
static void skip_uids(struct mailbox *mailbox, uint32_t next)
{
    if (next > mailbox->highest_next && next <= UIDDB_HIGHEST_UID + 1)
        mailbox->highest_next = next;
    mailbox->view_outdated = true;
}

int uidlist_record_pending(struct mailbox *mailbox)
{
    struct control_file *file = mailbox->file[CONTROL_UIDLIST];
    if (file == NULL || file->pending.len == 0)
        return 0;
    struct span lines = complete_lines(buf_span(&file->pending));
    AUTO_FREE struct uid_claim *claims = NULL;
    size_t count = 0;
    bool sound;
    int result = parse_claims(mailbox, lines, &claims, &count, &sound);
    SOURCES_AUTO sources = NULL;
    int loaded = sources_load(mailbox, &sources);
    struct uid_outcome outcome = {0};
    if (result == 0)
        result = loaded;
    if (result == 0)
        result = uids_record_in(mailbox, sources, claims, count, 0, &outcome);
    if (result == 0)
        result = buf_reserve(&file->content, file->content.len + lines.len);
    if (result < 0) {
        buf_clear(&file->pending);
        skip_uids(mailbox, next_after(claims, count));
        return result;
    }
    size_t end = file->content.len;
    buf_add_span(&file->content, lines);
    memmove(file->pending.data, file->pending.data + lines.len, file->pending.len - lines.len);
    file->pending.len -= lines.len;
    file->mtime = time_after(file->mtime);
    mailbox->cache_outdated = true;
    mailbox->order_unsure = true;
    if (view_extend(&mailbox->view, end) < 0 || outcome.refused > 0 || !sound) {
        mailbox->view_outdated = true;
        return outcome.refused > 0 ? -EIO : 0;
    }
    uint32_t implied = view_implied_next(&mailbox->view);
    if (implied > mailbox->highest_next)
        mailbox->highest_next = implied;
    sources_give_back(&sources);
    /* 1: Courier wrote its list meanwhile. The view is made anew at the next look. */
    result = pop3_enter_messages(mailbox);
    return result < 0 ? result : 0;
}

/* Whether Dovecot may set UIDVALIDITY: only where no UID was ever given out. */
static bool may_take_uidvalidity(const struct uiddb *db)
{
    return db->count == 0 && db->ambiguous_count == 0 && db->uidnext == 1;
}

/* Records a whole list. *agrees_r: whether the text may be shown as it is. *next_r: the next UID by
 * the text, also on failure; 0 if it cannot be read. */
static int record_whole_list(struct mailbox *mailbox, struct span text, bool *agrees_r,
                             uint32_t *next_r)
{
    *next_r = 0;
    struct span header_line;
    bool complete;
    BUF_AUTO scratch = BUF_EMPTY;
    struct uidlist_header header;
    if (!span_next_line(&text, &header_line, &complete) || !complete ||
        uidlist_parse_header(header_line, &scratch, &header) < 0) {
        log_error("'%s': Dovecot wrote a uidlist without a readable header", mailbox->path);
        return -EINVAL;
    }
    AUTO_FREE struct uid_claim *claims = NULL;
    size_t count = 0;
    bool sound;
    int result = parse_claims(mailbox, text, &claims, &count, &sound);
    if (result < 0)
        return result;
    *next_r = next_after(claims, count);
    if (header.uidnext > *next_r)
        *next_r = header.uidnext;
    SOURCES_AUTO sources = NULL;
    result = sources_load(mailbox, &sources);
    if (result < 0)
        return result;
    if (header.uidvalidity != sources->db.uidvalidity) {
        if (!may_take_uidvalidity(&sources->db)) {
            log_warning("'%s': refused UIDVALIDITY %u: it is %u", mailbox->path, header.uidvalidity,
                        sources->db.uidvalidity);
            *agrees_r = false;
            return 0;
        }
        sources->db.uidvalidity = header.uidvalidity;
        sources->must_write = true;
    }
    struct uid_outcome outcome;
    result = uids_record_in(mailbox, sources, claims, count, header.uidnext, &outcome);
    *agrees_r = sound;
    if (result == 0 && outcome.refused > 0)
        result = -EIO;
    if (result == 0 && header.guid.len > 0)
        result = keys_record_guid(mailbox, sources, header.guid);
    return result;
}

/* The .tmp file becomes the current list in any case: Dovecot goes on with its descriptor, whose
 * size must be what it wrote. If the text does not agree with the uid database it is outdated from
 * the start, and the next lookup shows a fresh generation. */
int uidlist_record_rewrite(struct mailbox *mailbox)
{
    struct control_file *file = mailbox->file[CONTROL_UIDLIST_TMP];
    if (file == NULL)
        return -ENOENT;
    if (!mailbox->lock.held)
        return -EACCES;
    bool agrees = true;
    uint32_t next;
    int result = record_whole_list(mailbox, buf_span(&file->content), &agrees, &next);
    if (result < 0) {
        skip_uids(mailbox, next);
        return result;
    }
    struct control_file *before = mailbox->file[CONTROL_UIDLIST];
    if (before != NULL) {
        file->uid = before->uid;
        file->gid = before->gid;
        file->mode = before->mode;
    }
    file->kind = CONTROL_UIDLIST;
    mailbox->file[CONTROL_UIDLIST_TMP] = NULL;
    mailbox_forget_view(mailbox);
    result = view_init(&mailbox->view, &file->content);
    mailbox_set_file(mailbox, CONTROL_UIDLIST, file);
    mailbox->view_outdated = result < 0 || !agrees;
    mailbox->cache_outdated = true;
    mailbox->order_unsure = true;
    mailbox->generation++;
    if (result == 0 && agrees) {
        uint32_t implied = view_implied_next(&mailbox->view);
        if (implied > mailbox->highest_next)
            mailbox->highest_next = implied;
        /* Lines or keys that Dovecot left out are shown again. */
        mailbox->seen.hash[SOURCE_UIDDB] = 0;
        result = pop3_enter_messages(mailbox);
    }
    return result == -EUCLEAN || result > 0 ? 0 : result;
}
