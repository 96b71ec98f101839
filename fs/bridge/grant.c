/* What happens when the lock is granted (uidlist_lock.c), before Dovecot is told that it has it:
 *
 *   1. Courier's files are read again. A cached copy is not believed here.
 *   2. The messages in `new` are moved to `cur`, as Courier does at each scan.
 *   3. Every file in `cur` that has no UID gets one, in Courier's order; the uid database is made
 *      if there is none. A `cur` where every file had one, and which did not change since, is not
 *      listed for it (cur_complete.c): there only what was moved can lack one.
 *   4. What Courier would trip over is mended: a NEXTUID that is too low, lines that end in CR LF.
 *   5. The view is brought up to date and then stays as it is until the lock is released, because
 *      Dovecot reads the list now and appends "the next UID" later.
 *
 * Why Dovecot shall find nothing left to number. It would do so in its own order, and before a
 * message's UIDL is bound. And it takes a failure badly (2.3.19, its source and seen with a failing
 * fdatasync): when its list cannot be written while it syncs a mailbox, it forgets the list and goes
 * on as if every message were gone. Its index then has them expunged for ever, and at the next sync
 * each gets a new UID. A full disk must therefore fail here, where it costs the lock and nothing
 * else. For the same reason lists are shown without their dead lines before there are so many of
 * them that Dovecot would rewrite the list for it (present.c); and mail that is delivered while the
 * lock is held waits for the next one (message_list_new).
 *
 * \Recent is what Dovecot calls a message that it meets in `new`. So it is shown the names of what
 * was moved there, once, and of what it saved itself a moment ago; it tries to move them, and takes it
 * that another process was quicker. */
#include <errno.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "base/sort.h"
#include "bridge/aside.h"
#include "bridge/sources.h"
#include "courier/name.h"

/* Courier's UIDVALIDITY of a new uid database (seen: the file's mtime minus this). */
#define COURIER_EPOCH 1000000000

/* ---- step 2 to 4 ----------------------------------------------------------------------------- */

static struct span db_base(const void *owner, uint32_t position)
{
    const struct uiddb *db = owner;
    return db->lines[position].base;
}

static int map_lines(const struct uiddb *db, struct base_map *map)
{
    int result = base_map_init(map, db->count, db_base, db);
    for (size_t i = 0; result == 0 && i < db->count; i++)
        result = base_map_put(map, (uint32_t)i);
    return result;
}

static int compare_lines(const void *a, const void *b)
{
    const struct uiddb_line *x = a;
    const struct uiddb_line *y = b;
    if (x->uid != y->uid)
        return x->uid < y->uid ? -1 : 1;
    return span_compare(x->base, y->base);
}

/* A UID that two lines claim belongs to the one message that still exists. If both exist neither
 * may keep it, because clients know either under it: they are left without a line. */
static int settle_ambiguous(struct mailbox *mailbox, struct uiddb *db, const struct dir_list *cur)
{
    size_t room = db->count + db->ambiguous_count + 1;
    struct uiddb_line *lines = realloc(db->lines, room * sizeof(*lines));
    if (lines == NULL)
        return -ENOMEM;
    db->lines = lines;
    struct uiddb_line *ambiguous = db->ambiguous;
    if (db->ambiguous_count > 0)
        qsort(ambiguous, db->ambiguous_count, sizeof(*ambiguous), compare_lines);
    for (size_t start = 0, end; start < db->ambiguous_count; start = end) {
        size_t living = 0;
        const struct uiddb_line *last = NULL;
        for (end = start; end < db->ambiguous_count && ambiguous[end].uid == ambiguous[start].uid;
             end++) {
            if (dir_list_find_base(cur, ambiguous[end].base) != NULL) {
                living++;
                last = &ambiguous[end];
            }
        }
        if (living == 1)
            lines[db->count++] = *last;
        else if (living > 1)
            log_warning("'%s/courierimapuiddb': UID %u names %zu messages; they get other ones",
                        mailbox->path, ambiguous[start].uid, living);
    }
    qsort(lines, db->count, sizeof(*lines), compare_lines);
    return 0;
}

static int compare_uid(const void *key, const void *line)
{
    uint32_t uid = *(const uint32_t *)key;
    const struct uiddb_line *other = line;
    return uid < other->uid ? -1 : uid > other->uid;
}

/* Takes out the lines of messages that were unlinked through this mount and are not in cur: the very
 * lines, UID and base name, that were shown then. A message that came back, or got another UID,
 * keeps its line. */
static size_t drop_deleted(struct mailbox *mailbox, struct uiddb *db, const struct dir_list *cur)
{
    struct span rest = buf_span(&mailbox->deleted);
    struct span text;
    bool complete;
    size_t dropped = 0;
    while (span_next_line(&rest, &text, &complete)) {
        uint64_t number;
        struct span base;
        if (!span_to_u64(span_until(text, ' ', &base), &number))
            continue;
        uint32_t uid = (uint32_t)number;
        struct uiddb_line *line =
            bsearch(&uid, db->lines, db->count, sizeof(*db->lines), compare_uid);
        if (line == NULL || !span_equal(line->base, base) || dir_list_find_base(cur, base) != NULL)
            continue;
        line->base.text = NULL;
        dropped++;
    }
    if (dropped == 0)
        return 0;
    size_t kept = 0;
    for (size_t i = 0; i < db->count; i++) {
        if (db->lines[i].base.text != NULL)
            db->lines[kept++] = db->lines[i];
    }
    db->count = kept;
    return dropped;
}

/* Whether so many messages were deleted that the uid database is worth a rewrite for it. */
static bool many_deleted(const struct mailbox *mailbox, const struct uiddb *db)
{
    size_t deleted = 0;
    for (size_t i = 0; i < mailbox->deleted.len; i++)
        deleted += mailbox->deleted.data[i] == '\n';
    return deleted * DEAD_LINES_SHARE >= db->count && deleted > 0;
}

static bool may_have_uid(const struct dir_list *cur, const struct dir_entry *entry)
{
    /* DT_DIR: Courier gives it a UID, Dovecot moves it away; it is no message. */
    return entry->type != 4 && cur->names.data[entry->name_offset] != '.';
}

static int compare_claims(const void *a, const void *b)
{
    const struct uid_claim *x = a;
    const struct uid_claim *y = b;
    return name_compare_imap(x->base, y->base);
}

/* The files of cur without a line, in Courier's order, numbered from NEXTUID. */
static int claims_for_unknown(const struct uiddb *db, const struct dir_list *cur,
                              struct uid_claim **claims_r, size_t *count_r)
{
    struct base_map known;
    int result = map_lines(db, &known);
    if (result < 0)
        return result;
    struct uid_claim *claims = calloc(cur->count + 1, sizeof(*claims));
    size_t count = 0;
    for (size_t i = 0; claims != NULL && i < cur->count; i++) {
        struct span base = name_base(dir_entry_name(cur, &cur->entries[i]));
        if (may_have_uid(cur, &cur->entries[i]) && base_map_find(&known, base) == BASE_MAP_NONE)
            claims[count++].base = base;
    }
    base_map_release(&known);
    if (claims == NULL)
        return -ENOMEM;
    if (count > UIDDB_HIGHEST_UID - db->uidnext) {
        free(claims);
        return -EOVERFLOW;
    }
    sort_stable(claims, count, sizeof(*claims), compare_claims);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && span_equal(claims[i].base, claims[kept - 1].base))
            continue;
        claims[kept] = claims[i];
        claims[kept].uid = db->uidnext + (uint32_t)kept;
        kept++;
    }
    *claims_r = claims;
    *count_r = kept;
    return 0;
}

static void begin_uiddb(const struct mailbox *mailbox, struct uiddb *db)
{
    uint32_t uidvalidity = (uint32_t)(time(NULL) - COURIER_EPOCH);
    /* The uid database that was here a moment ago must not come back under the same name. */
    if (mailbox->view.uidvalidity >= uidvalidity)
        uidvalidity = mailbox->view.uidvalidity + 1;
    db->uidvalidity = uidvalidity;
    db->uidnext = 1;
}

static void log_repairs(const struct mailbox *mailbox, const struct uiddb *db)
{
    static const struct {
        unsigned bit;
        const char *what;
    } repairs[] = {
        {UIDDB_NEXT_TOO_LOW, "NEXTUID was not above every UID"},
        {UIDDB_SAME_NAME, "a message had two lines"},
        {UIDDB_SAME_UID, "a UID had two lines"},
        {UIDDB_NO_FINAL_LF, "the last line had no end"},
        {UIDDB_CRLF, "lines ended in CR LF"},
        {UIDDB_NAME_WITH_FLAGS, "names carried flags"},
    };
    for (size_t i = 0; i < sizeof(repairs) / sizeof(repairs[0]); i++) {
        if (db->repairs & repairs[i].bit)
            log_info("'%s/courierimapuiddb' mended: %s", mailbox->path, repairs[i].what);
    }
}

/* Whether all files of cur had UIDs when it looked like this. */
static int needs_listing(const struct mailbox *mailbox, const struct sources *sources,
                         const char *cur_path, bool *needs_r)
{
    struct stat st;
    int result = store_stat_now(mailbox->bridge->store, cur_path, &st);
    if (result < 0)
        return result;
    const struct signature now = signature_of_stat(&st);
    *needs_r = !sources->present[SOURCE_UIDDB] || sources->db.repairs != 0 || sources->must_write ||
               !cur_is_complete(mailbox, &now, sources->seen.hash[SOURCE_UIDDB]);
    return 0;
}

/* 0 with the name of ENTRY, which was in `new`, added to OUT; -ENOENT if it is not in `cur` as it would be
 * if we had moved it: another program did. */
static int add_moved(const struct mailbox *mailbox, const char *cur_path,
                     const struct dir_list *list, const struct dir_entry *entry,
                     struct dir_list *out)
{
    struct span name = dir_entry_name(list, entry);
    BUF_AUTO path = BUF_EMPTY;
    struct stat st;
    buf_printf(&path, "%s/%.*s%s", cur_path, SPAN_FMT(name),
               name_base(name).len == name.len ? ":2," : "");
    int result = buf_terminate(&path);
    if (result == 0)
        result = store_stat(mailbox->bridge->store, path.data, &st);
    return result < 0 ? result : dir_list_add(out, name, entry->ino, entry->type);
}

/* What was moved to `cur` just now, as a listing. -ENOENT: another program had a hand in it. */
static int look_at_moved(const struct mailbox *mailbox, const char *path, struct dir_list *cur)
{
    int result = 0;
    for (size_t i = 0; i < mailbox->moved.count && result == 0; i++)
        result = add_moved(mailbox, path, &mailbox->moved, &mailbox->moved.entries[i], cur);
    return result;
}

/* UIDs for what was moved to a `cur` that was complete. */
static int complete_moved(struct mailbox *mailbox, struct sources *sources,
                          const struct dir_list *moved)
{
    AUTO_FREE struct uid_claim *claims = NULL;
    size_t count = 0;
    int result = claims_for_unknown(&sources->db, moved, &claims, &count);
    return result < 0 ? result : uids_record_in_cur(mailbox, sources, claims, count);
}

static int complete_cur(struct mailbox *mailbox, struct sources *sources, const char *path,
                        struct dir_list *cur)
{
    int result =
        store_list_messages_at(mailbox->bridge->store, path, lock_store_time(mailbox), cur);
    if (result < 0)
        return result;
    if (!sources->present[SOURCE_UIDDB])
        begin_uiddb(mailbox, &sources->db);
    log_repairs(mailbox, &sources->db);
    sources->must_write |= sources->db.ambiguous_count > 0;
    result = settle_ambiguous(mailbox, &sources->db, cur);
    AUTO_FREE struct uid_claim *claims = NULL;
    size_t count = 0;
    if (result == 0)
        result = claims_for_unknown(&sources->db, cur, &claims, &count);
    bool writes = count > 0 || sources->db.repairs != 0 || many_deleted(mailbox, &sources->db);
    if (result == 0 && writes) {
        sources->must_write |= drop_deleted(mailbox, &sources->db, cur) > 0;
        buf_clear(&mailbox->deleted);
    }
    if (result == 0)
        result = uids_record_in_cur(mailbox, sources, claims, count);
    if (result < 0)
        return result;
    cur_listed_complete(mailbox, &cur->dir, sources->seen.hash[SOURCE_UIDDB]);
    return 0;
}

/* Dovecot was shown a next UID that the uid database does not know of: it was restored from a
 * backup, or what Dovecot gave out could not be recorded. Courier must not give it out either. */
static void raise_next(const struct mailbox *mailbox, struct sources *sources)
{
    if (mailbox->view.uidvalidity == sources->db.uidvalidity &&
        mailbox->highest_next > sources->db.uidnext) {
        sources->db.uidnext = mailbox->highest_next;
        sources->must_write = true;
    }
}

static bool is_any(const void *arg, struct span base)
{
    (void)arg;
    (void)base;
    return true;
}

#define NEW_LISTINGS 3

/* Step 2. new_time is not newer than the last listing: what came after that listing shows as a change
 * to Dovecot once the lock is gone. */
static int empty_new(struct mailbox *mailbox)
{
    struct stat dir = {0};
    int moved = 1;
    for (int i = 0; moved > 0 && i < NEW_LISTINGS; i++) {
        moved = move_new_to_cur(mailbox, is_any, NULL, &mailbox->moved, &dir);
        mailbox->new_time = dir.st_mtim;
    }
    return moved < 0 ? moved : 0;
}

/* Steps 2 to 4. Where nothing came to `cur` but what is moved there now, it is not listed. */
static int give_uids(struct mailbox *mailbox, struct sources *sources, struct dir_list *cur)
{
    BUF_AUTO path = BUF_EMPTY;
    bool needed = true;
    int result = store_join(&path, mailbox->path, "cur");
    if (result == 0)
        result = needs_listing(mailbox, sources, path.data, &needed);
    if (result == 0)
        result = empty_new(mailbox);
    if (result < 0)
        return result;
    if (!needed && mailbox->moved.count == 0)
        return 0;
    if (!needed) {
        result = look_at_moved(mailbox, path.data, cur);
        if (result == 0)
            return complete_moved(mailbox, sources, cur);
        if (result != -ENOENT)
            return result;
        dir_list_release(cur);
    }
    return complete_cur(mailbox, sources, path.data, cur);
}

/* More than these are not looked for one by one: then Dovecot may as well list `cur`. */
#define SHOWN_SAVED 16

/* A Dovecot that saved messages, which were moved to `cur` when their UIDs were recorded, looks for them in
 * `new` next, and lists all of `cur` for what it misses there. So it, and nobody else, is shown them like
 * those that were moved now. Not what has flags or keywords by now: Dovecot takes it that what is in
 * `new` has none, and would not look at `cur` for them. */
static int show_saved(struct mailbox *mailbox)
{
    if (mailbox->saved_by != mailbox->lock.pid)
        return 0;
    DIR_LIST_AUTO saved = mailbox->saved;
    mailbox->saved = DIR_LIST_EMPTY;
    BUF_AUTO path = BUF_EMPTY;
    int result = store_join(&path, mailbox->path, "cur");
    size_t count = saved.count > SHOWN_SAVED ? 0 : saved.count;
    for (size_t i = 0; i < count && result == 0; i++) {
        const struct dir_entry *entry = &saved.entries[i];
        if (keywords_letters(&mailbox->keywords, name_base(dir_entry_name(&saved, entry))) != 0)
            continue;
        result = add_moved(mailbox, path.data, &saved, entry, &mailbox->moved);
        if (result == -ENOENT)
            result = 0;
    }
    return result;
}

int grant_prepare(struct mailbox *mailbox, const struct caller *caller)
{
    bool is_pop3 = pop3_is_caller(mailbox, caller);
    if (!mailbox->cache_asked) {
        mailbox->cache_asked = true;
        view_recall(mailbox);
    }
    SOURCES_AUTO sources = NULL;
    DIR_LIST_AUTO cur = DIR_LIST_EMPTY; /* holds the names that the sources come to point to */
    /* NFS may remember that there was no uid database, which another server has made since; or that
     * there was one, which courierctl has set aside. */
    int result = aside_look(mailbox, true);
    if (result == 0 && mailbox->converted)
        result = -EEXIST;
    if (result == 0)
        result = sources_load(mailbox, &sources);
    if (result == 0 && sources->present[SOURCE_UIDDB])
        raise_next(mailbox, sources);
    if (result == 0)
        result = give_uids(mailbox, sources, &cur);
    if (result == 0)
        result = uidlist_present(mailbox, sources);
    mailbox->lock.first_next = view_implied_next(&mailbox->view);
    mailbox->lock.uiddb_hash = sources == NULL ? 0 : sources->seen.hash[SOURCE_UIDDB];
    sources_give_back(&sources);
    if (result == 0)
        result = keywords_at_grant(mailbox);
    if (result == 0)
        result = uidlist_settle_uidls(mailbox);
    if (result == 0 && is_pop3 && mailbox->order_unsure)
        result = uidlist_settle_order(mailbox);
    return result < 0 ? result : show_saved(mailbox);
}
