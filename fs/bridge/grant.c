/* The two locks are one.
 *
 * What Dovecot calls dovecot-uidlist.lock is Courier's tmp/courier.lock in the store (store/lock.h
 * says how that is taken). Dovecot's exclusive create, or its link() onto the name, is granted only
 * with Courier's lock in hand, in the name of the calling process. So while Dovecot holds its lock
 * no Courier anywhere gives out a UID, and the other way round.
 *
 * At the grant, before Dovecot is told that it has the lock:
 *
 *   1. Courier's files are read again. A cached copy is not believed here.
 *   2. A message in `new` that has a line in the uid database is moved to `cur`: Courier would drop
 *      the line at its next scan.
 *   3. Every file in `cur` that has no UID gets one, in Courier's order; the uid database is made
 *      if there is none. Dovecot would number them too, but in its own order, and before a
 *      message's UIDL is bound; in a mailbox only Courier's POP3 knew, the UIDLs told would be
 *      wrong.
 *   4. What Courier would trip over is mended: a NEXTUID that is too low, lines that end in CR LF.
 *   5. The view is brought up to date and then stays as it is until the lock is released, because
 *      Dovecot reads the list now and appends "the next UID" later.
 *
 * At the release what was written is recorded first (if Dovecot did not sync), then the lock goes.
 *
 * Who may unlink the lock. Its owner: that is the release. Anybody, when the owner is dead:
 * Dovecot's rule for stale locks looks at the pid in it, as Courier's does. Otherwise the unlink is
 * an attempt to break a lock that is not held on this mount: that is granted by Courier's rule
 * only. Dovecot's own rule would break a living lock of this host after two minutes without change;
 * a Courier that scans a huge folder may hold one longer, and two programs giving out UIDs at once
 * is the one thing this file system exists to prevent, so it is refused with EBUSY.
 *
 * A daemon that dies leaves locks whose pid is alive (Dovecot's). Each lock is therefore noted in
 * the state directory (held_locks.h) before it is taken, and the next daemon releases what it finds
 * there: whoever held it cannot do anything any more, its mount is gone. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "base/sort.h"
#include "bridge/held_locks.h"
#include "bridge/sources.h"
#include "courier/name.h"
#include "store/lock.h"

/* Other hosts take a lock for stale when it is 120 s old. */
#define TOUCH_SECONDS 30
/* Lines of deleted messages do no harm; fewer than this are left for the next rewrite. */
#define DELETED_MANY 32
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

static bool has_line(const void *arg, struct span base)
{
    return base_map_find(arg, base) != BASE_MAP_NONE;
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
    return deleted >= DELETED_MANY && deleted * 4 >= db->count;
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
    for (size_t i = 0; i < count; i++)
        claims[i].uid = db->uidnext + (uint32_t)i;
    *claims_r = claims;
    *count_r = count;
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
    struct signature now = SIGNATURE_ABSENT;
    int result = store_ask_again(mailbox->bridge->store, cur_path);
    if (result == 0)
        result = signature_take(mailbox->bridge->store, cur_path, &now);
    *needs_r = !sources->present[SOURCE_UIDDB] || sources->db.repairs != 0 || sources->must_write ||
               mailbox->cur_complete_uiddb != sources->seen.hash[SOURCE_UIDDB] ||
               !signature_unchanged(&mailbox->cur_complete, &now);
    return result;
}

static int complete_cur(struct mailbox *mailbox, struct sources *sources, struct dir_list *cur)
{
    BUF_AUTO path = BUF_EMPTY;
    bool needed = false;
    int result = store_join(&path, mailbox->path, "cur");
    if (result == 0)
        result = needs_listing(mailbox, sources, path.data, &needed);
    if (result < 0 || !needed)
        return result;
    result = store_list_messages(mailbox->bridge->store, path.data, cur);
    if (result < 0)
        return result;
    if (!sources->present[SOURCE_UIDDB])
        begin_uiddb(mailbox, &sources->db);
    log_repairs(mailbox, &sources->db);
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
    struct uid_outcome outcome;
    if (result == 0)
        result = uids_record_in(mailbox, sources, claims, count, 0, &outcome);
    if (result < 0)
        return result;
    mailbox->cur_complete = signature_of_stat(&cur->dir);
    mailbox->cur_complete_uiddb = sources->seen.hash[SOURCE_UIDDB];
    return 0;
}

static bool is_any(const void *arg, struct span base)
{
    (void)arg;
    (void)base;
    return true;
}

/* Step 2. For Dovecot's POP3 server everything moves, as courierpop3d moves it at login: so that
 * its messages get UIDs, and their places in the order, as Courier would give them. */
static int move_from_new(struct mailbox *mailbox, const struct uiddb *db, bool is_pop3)
{
    if (is_pop3)
        return move_new_to_cur(mailbox, is_any, NULL);
    if (db->count == 0)
        return 0;
    struct base_map known;
    int result = map_lines(db, &known);
    if (result == 0)
        result = move_new_to_cur(mailbox, has_line, &known);
    base_map_release(&known);
    return result;
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

static int prepare(struct mailbox *mailbox, const struct caller *caller)
{
    bool is_pop3 = pop3_is_caller(mailbox, caller);
    if (!mailbox->cache_asked) {
        mailbox->cache_asked = true;
        view_recall(mailbox);
    }
    SOURCES_AUTO sources;
    DIR_LIST_AUTO cur = DIR_LIST_EMPTY; /* holds the names that the sources come to point to */
    /* NFS may remember that there was no uid database, which another server has made since. */
    int result = store_ask_again(mailbox->bridge->store, mailbox->path);
    if (result == 0)
        result = sources_load(mailbox, &sources);
    if (result == 0 && sources.present[SOURCE_UIDDB])
        raise_next(mailbox, &sources);
    if (result == 0)
        result = move_from_new(mailbox, &sources.db, is_pop3);
    if (result == 0)
        result = complete_cur(mailbox, &sources, &cur);
    if (result == 0)
        result = uidlist_present(mailbox, &sources);
    if (result == 0)
        result = keywords_at_grant(mailbox);
    if (result == 0)
        result = pop3_enter_messages(mailbox);
    if (result == 0 && is_pop3 && mailbox->order_unsure)
        result = uidlist_settle_order(mailbox);
    return result;
}

/* ---- who holds it ---------------------------------------------------------------------------- */

/* When the process was started, in ticks since boot; 0 if it is not there. */
static uint64_t start_of_process(pid_t pid)
{
    char path[64];
    char line[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    size_t len = fread(line, 1, sizeof(line) - 1, file);
    fclose(file);
    line[len] = '\0';
    const char *at = strrchr(line, ')'); /* the name may hold anything */
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at == NULL ? 0 : strtoull(at + 1, NULL, 10);
}

static bool owner_lives(const struct held_lock *lock)
{
    if (lock->pid == 0)
        return true; /* of another pid namespace: cannot be known */
    return start_of_process(lock->pid) == lock->pid_start;
}

static void let_go(struct mailbox *mailbox)
{
    struct bridge *bridge = mailbox->bridge;
    struct held_lock *lock = &mailbox->lock;
    home_begin(mailbox);
    int result = lock_release(bridge->home, mailbox->path, lock->device, lock->inode);
    home_end(mailbox);
    if (result < 0)
        log_error("cannot release '%s/tmp/courier.lock': %s", mailbox->path, strerror(-result));
    held_locks_remove(bridge->held_locks, lock->slot);
    *lock = (struct held_lock){.held = false};
    mailbox_set_file(mailbox, CONTROL_UIDLIST_LOCK, NULL);
    struct control_file *list = mailbox->file[CONTROL_UIDLIST];
    if (list != NULL)
        buf_clear(&list->pending);
    keywords_forget_unnamed(mailbox);
}

void lock_abandon(struct mailbox *mailbox)
{
    if (!mailbox->lock.held)
        return;
    (void)caller_become_owner(mailbox->lock.uid, mailbox->lock.gid);
    let_go(mailbox);
}

/* Another program took the lock away: what its owner writes now will not be recorded. */
static void lose(struct mailbox *mailbox)
{
    log_error("'%s': the lock was taken away from process %d", mailbox->path,
              (int)mailbox->lock.pid);
    lock_abandon(mailbox);
}

void lock_housekeeping(struct mailbox *mailbox, time_t now)
{
    struct held_lock *lock = &mailbox->lock;
    if (!lock->held)
        return;
    if (!owner_lives(lock)) {
        log_info("'%s': process %d died with the lock; released", mailbox->path, (int)lock->pid);
        lock_abandon(mailbox);
        return;
    }
    if (now - lock->touched < TOUCH_SECONDS)
        return;
    (void)caller_become_owner(lock->uid, lock->gid);
    home_begin(mailbox);
    int result = lock_still_ours(mailbox->bridge->home, mailbox->path, lock->device, lock->inode);
    if (result == 0)
        (void)lock_touch(mailbox->bridge->home, mailbox->path);
    home_end(mailbox);
    lock->touched = now;
    if (result == -ENOLCK)
        lose(mailbox);
}

/* ---- the three requests ---------------------------------------------------------------------- */

static int take(struct mailbox *mailbox, pid_t pid, const char *link_from, struct stat *st_r)
{
    struct bridge *bridge = mailbox->bridge;
    home_begin(mailbox);
    int result = link_from == NULL
                     ? lock_take(bridge->home, mailbox->path, pid, st_r)
                     : lock_take_by_link(bridge->home, mailbox->path, link_from, st_r);
    /* A stale lock is broken as Courier would; but the caller comes again to take it. A Courier
     * that judged the same lock unlinks the name twice, and by then it has done so. */
    if (result == -EEXIST)
        (void)lock_break_stale(bridge->home, mailbox->path);
    home_end(mailbox);
    return result;
}

int lock_lookup(struct mailbox *mailbox, struct control_file **file_r)
{
    struct store *home = mailbox->bridge->home;
    BUF_AUTO path = BUF_EMPTY;
    BUF_AUTO content = BUF_EMPTY;
    struct stat st = {0};
    int result = lock_path(&path, mailbox->path);
    home_begin(mailbox);
    if (result == 0)
        result = store_read_file(home, path.data, 1024, &content, &st);
    home_end(mailbox);
    const struct held_lock *held = &mailbox->lock;
    bool lost =
        held->held && (result == -ENOENT ||
                       (result == 0 && (st.st_dev != held->device || st.st_ino != held->inode)));
    if (lost) {
        lose(mailbox);
        (void)caller_become(&mailbox->acting);
    }
    if (result == -ENOENT)
        mailbox_set_file(mailbox, CONTROL_UIDLIST_LOCK, NULL);
    if (result < 0)
        return result;
    /* A stale lock is not there: Dovecot would watch it for two minutes before it tries to create
     * its own, which is when it is broken. */
    if (!mailbox->lock.held && lock_is_stale(home, buf_span(&content), &st))
        return -ENOENT;
    struct control_file *file = mailbox->file[CONTROL_UIDLIST_LOCK];
    uint64_t ino = store_shown_ino(home, &st);
    if (file == NULL || file->ino != ino) {
        result = control_file_new(mailbox, CONTROL_UIDLIST_LOCK, ino, &file);
        if (result < 0)
            return result;
        mailbox_set_file(mailbox, CONTROL_UIDLIST_LOCK, file);
    }
    buf_release(&file->content);
    file->content = content;
    content = BUF_EMPTY;
    file->mtime = st.st_mtim;
    control_file_take_owner(file, &st);
    *file_r = control_ref(file);
    return 0;
}

int lock_create(struct mailbox *mailbox, const struct caller *caller, const char *link_from,
                struct control_file **file_r)
{
    struct bridge *bridge = mailbox->bridge;
    struct held_lock *lock = &mailbox->lock;
    if (lock->held) {
        if (owner_lives(lock))
            return -EEXIST;
        lock_abandon(mailbox);
        (void)caller_become(&mailbox->acting);
    }
    /* A caller of another pid namespace has no number here; the daemon's stands for it. */
    pid_t pid = caller->pid != 0 ? caller->pid : getpid();
    struct held_lock_note note = {mailbox->path, pid, mailbox->acting.uid, mailbox->acting.gid};
    int slot = held_locks_add(bridge->held_locks, &note);
    if (slot < 0)
        return slot;
    struct stat st;
    int result = take(mailbox, pid, link_from, &st);
    if (result < 0) {
        held_locks_remove(bridge->held_locks, slot);
        return result;
    }
    *lock = (struct held_lock){.held = true,
                               .pid = caller->pid,
                               .pid_start = start_of_process(caller->pid),
                               .device = st.st_dev,
                               .inode = st.st_ino,
                               .uid = mailbox->acting.uid,
                               .gid = mailbox->acting.gid,
                               .touched = time(NULL),
                               .slot = slot};
    result = prepare(mailbox, caller);
    if (result == 0)
        result = lock_lookup(mailbox, file_r);
    if (result < 0) {
        (void)caller_become(&mailbox->acting);
        if (lock->held)
            let_go(mailbox);
    }
    return result;
}

int lock_unlink(struct mailbox *mailbox, const struct caller *caller)
{
    struct held_lock *lock = &mailbox->lock;
    if (!lock->held) {
        home_begin(mailbox);
        int result = lock_break_stale(mailbox->bridge->home, mailbox->path);
        home_end(mailbox);
        if (result == 0)
            mailbox_set_file(mailbox, CONTROL_UIDLIST_LOCK, NULL);
        return result;
    }
    if (caller->pid != lock->pid) {
        if (owner_lives(lock))
            return -EBUSY;
        lock_abandon(mailbox);
        return 0;
    }
    int result = uidlist_record_pending(mailbox);
    if (lock->held)
        let_go(mailbox);
    return result;
}

int lock_set_times(struct mailbox *mailbox, const struct timespec times[2])
{
    BUF_AUTO path = BUF_EMPTY;
    int result = lock_path(&path, mailbox->path);
    home_begin(mailbox);
    if (result == 0)
        result = store_utimens(mailbox->bridge->home, path.data, times);
    home_end(mailbox);
    mailbox->lock.touched = time(NULL);
    return result;
}
