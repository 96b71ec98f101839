/* Presenting dovecot-uidlist.
 *
 * The problem. Dovecot keeps the list open and asks only two things: has the inode changed, has the
 * size? Another inode: it reads all again. Same inode, more bytes: it reads on from its last offset
 * and trusts everything before it. Anything else under one inode makes it see a broken list, and
 * then it expunges, renumbers, and unlinks the file. Yet Courier's uid database, from which the
 * list is made, is a new file at each change, in which lines also vanish.
 *
 * So a list is shown in generations. A generation is one inode; its text is only ever appended to.
 * New messages with UIDs above the last one shown become appended lines. A message that vanished
 * stays as a dead line: Dovecot finds out by listing cur, and a line without a file does no harm,
 * while a new inode would make every session read the whole list again. A new generation is made
 * when the text before the end would have to be different:
 *
 *   - UIDVALIDITY or the mailbox GUID changed;
 *   - a base name has another UID, or a UID has another base name;
 *   - a UID appeared below the last one shown;
 *   - NEXTUID rose beyond what the lines imply: the header says N, and Dovecot must not give out
 *     what Courier skipped;
 *   - Courier's POP3 list says another UIDL for a message than the line (or its absence) says, or
 *     another node wrote another key. A UIDL that vanished from Courier's list is no change: the
 *     one that was shown stays, because a client has seen it;
 *   - the list comes from the cache, to be shown for the first time since the mount, and its header
 *     does not say the next UID (a session that outlived the old mount reads it from its start);
 *   - a fifth of the lines are dead: Dovecot would rewrite the list for a quarter (grant.c says why
 *     it shall not);
 *   - Dovecot's POP3 server opens the list, and lines that were appended since O was last given out
 *     are not at their place in Courier's order. (Nobody else asks for O, so nobody else pays.)
 *
 * Races. While a process on this mount holds the lock, Courier gives out no UIDs and the view is
 * frozen (control.c does not come here). Without the lock the uid database may be replaced at any
 * moment, which is a rename: one reading sees one version. A version read is never older than one
 * read before, so UIDs never go backwards; N is kept at its highest value, whatever an
 * administrator restored from a backup.
 *
 * W (the size that IMAP shows) is carried from one generation to the next, because a message file
 * never changes; it is lost with the cache, which costs Dovecot one reading of the message (or
 * courierctl, see sizes.c). S is never shown: a wrong one is fatal, a right one gains nothing.
 *
 * Rejected: one inode number with changing text (all of the above); a new inode for each change
 * (Dovecot would read 6 MB for each new mail in a large folder); taking lines out as soon as
 * Courier does (its own scan misses files that are being renamed; see store/list.h). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include "base/cleanup.h"
#include "bridge/sizes.h"
#include "bridge/sources.h"
#include "courier/name.h"

void add_format_uidl(struct buf *out, uint32_t uid, uint32_t uidvalidity)
{
    buf_add_string(out, "UID");
    buf_add_number(out, uid);
    buf_add_char(out, '-');
    buf_add_number(out, uidvalidity);
}

/* Appends the UIDL the message must be shown with: Courier's, else one Dovecot set, else the one
 * shown so far. False if nothing says anything: then the format applies. */
static bool add_wanted_uidl(const struct mailbox *mailbox, const struct sources *sources,
                            uint32_t uid, struct span base, struct buf *out)
{
    const struct sizelist_entry *entry = sources_list_entry(sources, base);
    if (entry != NULL) {
        sizelist_uidl(entry, out);
        return true;
    }
    struct uidlist_record record;
    struct span uidl;
    if (view_find_base(&sources->keys, base, &record) &&
        uidlist_find_key(record.keys, 'P', &uidl)) {
        buf_add_span(out, uidl);
        return true;
    }
    if (mailbox->view.uidvalidity == sources->db.uidvalidity &&
        view_find_base(&mailbox->view, base, &record) && record.uid == uid &&
        uidlist_find_key(record.keys, 'P', &uidl)) {
        buf_add_span(out, uidl);
        return true;
    }
    return false;
}

/* Whether Dovecot can have this base name in its list. Courier knows such messages, too; Dovecot
 * leaves files with such names alone. */
static bool is_presentable(struct span base)
{
    return base.len > 0 && memchr(base.text, '\r', base.len) == NULL &&
           memchr(base.text, '\0', base.len) == NULL && memchr(base.text, '/', base.len) == NULL;
}

/* Keys that Courier has no home for, except P. */
static bool is_kept_key(char key)
{
    return key != 'P' && key != 'W' && key != 'S' && key != 'O';
}

struct line_maker {
    const struct mailbox *mailbox;
    const struct sources *sources;
    bool same_keys;  /* the view was made with these very UIDLs and other keys */
    struct buf uidl; /* scratch */
    struct buf keys; /* scratch */
    struct buf format;
};

static void line_maker_release(struct line_maker *maker)
{
    buf_release(&maker->uidl);
    buf_release(&maker->keys);
    buf_release(&maker->format);
}

#define LINE_MAKER_AUTO __attribute__((cleanup(line_maker_release))) struct line_maker

/* The wanted UIDL in maker->uidl, and whether it is another than the format's. */
static bool wants_own_uidl(struct line_maker *maker, uint32_t uid, struct span base, bool *wanted_r)
{
    buf_clear(&maker->uidl);
    buf_clear(&maker->format);
    *wanted_r = add_wanted_uidl(maker->mailbox, maker->sources, uid, base, &maker->uidl);
    add_format_uidl(&maker->format, uid, maker->sources->db.uidvalidity);
    return *wanted_r && !span_equal(buf_span(&maker->uidl), buf_span(&maker->format));
}

/* The message's size as it was shown so far, or as it was proven since. */
static void add_size(const struct mailbox *mailbox, uint32_t uid, struct span base,
                     struct buf *keys)
{
    struct uidlist_record before;
    struct span shown;
    uint64_t proven;
    char digits[24];
    if (view_find_base(&mailbox->view, base, &before) && before.uid == uid &&
        uidlist_find_key(before.keys, 'W', &shown)) {
        uidlist_add_key(keys, 0, 'W', shown);
    } else if (proven_size_of(mailbox, uid, &proven)) {
        snprintf(digits, sizeof(digits), "%" PRIu64, proven);
        uidlist_add_key(keys, 0, 'W', span_of(digits));
    }
}

/* Appends the message's line. ORDER 0 = none. */
static void add_line(struct line_maker *maker, struct buf *out, uint32_t uid, struct span base,
                     uint32_t order)
{
    if (!is_presentable(base))
        return;
    struct buf *keys = &maker->keys;
    buf_clear(keys);
    bool wanted;
    if (wants_own_uidl(maker, uid, base, &wanted))
        uidlist_add_key(keys, 0, 'P', buf_span(&maker->uidl));
    struct uidlist_record kept;
    bool has_kept = view_find_base(&maker->sources->keys, base, &kept);
    struct span value;
    char digits[12];
    if (order != 0) {
        snprintf(digits, sizeof(digits), "%u", order);
        uidlist_add_key(keys, 0, 'O', span_of(digits));
    } else if (has_kept && !maker->sources->present[SOURCE_SIZELIST] &&
               uidlist_find_key(kept.keys, 'O', &value)) {
        uidlist_add_key(keys, 0, 'O', value);
    }
    add_size(maker->mailbox, uid, base, keys);
    if (has_kept) {
        struct span rest = kept.keys;
        char key;
        while (uidlist_next_key(&rest, &key, &value)) {
            if (is_kept_key(key))
                uidlist_add_key(keys, 0, key, value);
        }
    }
    uidlist_format_record(out, &(struct uidlist_record){uid, buf_span(keys), base});
    if (buf_error(keys) < 0 || buf_error(&maker->uidl) < 0)
        out->failed = true;
}

/* Whether the shown line still says what it must. */
static bool line_agrees(struct line_maker *maker, const struct uidlist_record *shown, uint32_t uid,
                        struct span base)
{
    if (!span_equal(shown->base, base))
        return false;
    if (maker->same_keys)
        return true;
    bool wanted;
    (void)wants_own_uidl(maker, uid, base, &wanted);
    struct span shown_uidl;
    if (!uidlist_find_key(shown->keys, 'P', &shown_uidl))
        shown_uidl = buf_span(&maker->format);
    if (wanted && !span_equal(buf_span(&maker->uidl), shown_uidl))
        return false;
    struct uidlist_record kept;
    if (!view_find_base(&maker->sources->keys, base, &kept))
        return true;
    struct span rest = kept.keys;
    struct span value;
    struct span shown_value;
    char key;
    while (uidlist_next_key(&rest, &key, &value)) {
        if (is_kept_key(key) &&
            (!uidlist_find_key(shown->keys, key, &shown_value) || !span_equal(value, shown_value)))
            return false;
    }
    return true;
}

/* What must happen so that the view agrees with the sources. */
struct verdict {
    bool new_generation;
    size_t append_from; /* first line of the uid database that is to be appended */
};

static struct verdict compare(struct line_maker *maker, uint32_t next)
{
    const struct view *view = &maker->mailbox->view;
    const struct uiddb *db = &maker->sources->db;
    struct verdict verdict = {.new_generation = false, .append_from = db->count};
    const struct verdict anew = {.new_generation = true};
    char guid[UIDLIST_GUID_LEN + 1];
    sources_guid(maker->mailbox, maker->sources, guid);
    if (view->uidvalidity != db->uidvalidity || strcmp(view->guid, guid) != 0)
        return anew;

    size_t dead = 0;
    size_t shown = 0;
    for (size_t i = 0; i < db->count; i++) {
        const struct uiddb_line *line = &db->lines[i];
        if (!is_presentable(line->base))
            continue;
        while (shown < view->count && view->records[shown].uid < line->uid) {
            dead++;
            shown++;
        }
        if (shown == view->count) {
            verdict.append_from = i;
            break;
        }
        if (view->records[shown].uid > line->uid)
            return anew;
        struct uidlist_record record = view_record_at(view, shown++);
        if (!line_agrees(maker, &record, line->uid, line->base))
            return anew;
    }
    dead += view->count - shown;
    if (dead > 0 && dead * DEAD_LINES_SHARE >= view->count)
        return anew;

    uint32_t implied = view_implied_next(view);
    for (size_t i = verdict.append_from; i < db->count; i++) {
        struct uidlist_record record;
        if (!is_presentable(db->lines[i].base))
            continue;
        if (view_find_base(view, db->lines[i].base, &record))
            return anew; /* the base name got another UID */
        implied = db->lines[i].uid + 1;
    }
    if (next > implied)
        return anew;
    return verdict;
}

/* ---- POP3 order ------------------------------------------------------------------------------ */

struct ordered {
    struct span name;
    uint32_t position; /* in the uid database */
};

static int compare_pop3(const void *a, const void *b)
{
    const struct ordered *x = a;
    const struct ordered *y = b;
    int order = name_compare_pop3(x->name, y->name);
    if (order != 0)
        return order;
    return x->position < y->position ? -1 : 1;
}

/* The place of each message (counting from 1) in Courier's POP3 order, in the uid database's order;
 * *orders_r is NULL if that is the order of the UIDs, or Courier's POP3 does not know the mailbox.
 * A message that is not in the size list is taken to have a ':' in its name, as it has once its
 * flags were set or Courier saw it. */
static int pop3_orders(const struct sources *sources, uint32_t **orders_r)
{
    const struct uiddb *db = &sources->db;
    *orders_r = NULL;
    if (!sources->present[SOURCE_SIZELIST] || db->count < 2)
        return 0;
    BUF_AUTO made_names = BUF_EMPTY;
    size_t room = 0;
    for (size_t i = 0; i < db->count; i++)
        room += db->lines[i].base.len + 1;
    int result = buf_reserve(&made_names, room); /* so that the spans stay valid */
    if (result < 0)
        return result;
    AUTO_FREE struct ordered *messages = calloc(db->count, sizeof(*messages));
    if (messages == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < db->count; i++) {
        messages[i].position = (uint32_t)i;
        const struct sizelist_entry *entry = sources_list_entry(sources, db->lines[i].base);
        if (entry != NULL) {
            messages[i].name = entry->name;
            continue;
        }
        size_t start = made_names.len;
        buf_add_span(&made_names, db->lines[i].base);
        buf_add_char(&made_names, ':');
        messages[i].name = span_make(made_names.data + start, made_names.len - start);
    }
    qsort(messages, db->count, sizeof(*messages), compare_pop3);
    bool differs = false;
    for (size_t i = 0; i < db->count && !differs; i++)
        differs = messages[i].position != i;
    if (!differs)
        return 0;
    uint32_t *orders = calloc(db->count, sizeof(*orders));
    if (orders == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < db->count; i++)
        orders[messages[i].position] = (uint32_t)i + 1;
    *orders_r = orders;
    return 0;
}

/* A message as Dovecot's POP3 sorts it: those with O first, by O; then the others, by UID. */
struct sorted {
    uint64_t key;
    uint32_t position; /* in the uid database */
};

static int compare_sorted(const void *a, const void *b)
{
    const struct sorted *x = a;
    const struct sorted *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

static int shown_order_agrees(const struct mailbox *mailbox, const struct sources *sources,
                              bool *agrees_r)
{
    const struct uiddb *db = &sources->db;
    *agrees_r = true;
    AUTO_FREE uint32_t *orders = NULL;
    int result = pop3_orders(sources, &orders);
    AUTO_FREE struct sorted *shown = calloc(db->count + 1, sizeof(*shown));
    if (result == 0 && shown == NULL)
        result = -ENOMEM;
    if (result < 0)
        return result;
    for (size_t i = 0; i < db->count; i++) {
        struct uidlist_record record;
        struct span digits;
        uint64_t order;
        shown[i] = (struct sorted){((uint64_t)1 << 32) + db->lines[i].uid, (uint32_t)i};
        if (view_find_uid(&mailbox->view, db->lines[i].uid, &record) &&
            uidlist_find_key(record.keys, 'O', &digits) && span_to_u64(digits, &order))
            shown[i].key = order;
    }
    qsort(shown, db->count, sizeof(*shown), compare_sorted);
    for (size_t i = 0; i < db->count && *agrees_r; i++) {
        uint32_t wanted = orders == NULL ? shown[i].position : orders[shown[i].position] - 1;
        *agrees_r = wanted == i;
    }
    return 0;
}

/* ---- generations ----------------------------------------------------------------------------- */

/* The first generation after a mount or a lost cache has the same inode and times on every node and
 * every time, so that nothing moves when nothing changed; later ones are salted by their number. */
static uint64_t generation_ino(const struct mailbox *mailbox, const struct buf *text)
{
    struct {
        uint64_t device, inode, generation;
    } identity = {mailbox->device, mailbox->inode, mailbox->generation};
    uint64_t seed = XXH3_64bits(&identity, sizeof(identity));
    return XXH3_64bits_withSeed(text->data, text->len, seed) | ((uint64_t)1 << 63);
}

static struct timespec first_mtime(const struct sources *sources, const struct buf *text)
{
    struct timespec latest = {0};
    for (int kind = 0; kind < SOURCE_COUNT; kind++) {
        if (sources->present[kind] && sources->st[kind].st_mtim.tv_sec > latest.tv_sec)
            latest = sources->st[kind].st_mtim;
    }
    latest.tv_nsec = (long)(XXH3_64bits(text->data, text->len) % 1000000000U);
    return latest;
}

static int make_text(struct line_maker *maker, uint32_t next, struct buf *text)
{
    const struct uiddb *db = &maker->sources->db;
    char guid[UIDLIST_GUID_LEN + 1];
    sources_guid(maker->mailbox, maker->sources, guid);
    uidlist_format_header(text, &(struct uidlist_header){.uidvalidity = db->uidvalidity,
                                                         .uidnext = next,
                                                         .guid = span_of(guid)});
    AUTO_FREE uint32_t *orders = NULL;
    int result = pop3_orders(maker->sources, &orders);
    if (result < 0)
        return result;
    for (size_t i = 0; i < db->count; i++)
        add_line(maker, text, db->lines[i].uid, db->lines[i].base, orders == NULL ? 0 : orders[i]);
    return buf_error(text);
}

static int new_generation(struct line_maker *maker, struct mailbox *mailbox, uint32_t next)
{
    BUF_AUTO text = BUF_EMPTY;
    int result = make_text(maker, next, &text);
    if (result < 0)
        return result;
    struct control_file *file;
    uint64_t ino = generation_ino(mailbox, &text);
    result = control_file_new(mailbox, CONTROL_UIDLIST, ino, &file);
    if (result < 0)
        return result;
    struct control_file *previous = mailbox->file[CONTROL_UIDLIST];
    file->mtime = mailbox->generation == 0
                      ? first_mtime(maker->sources, &text)
                      : time_after(previous == NULL ? (struct timespec){0} : previous->mtime);
    control_file_take_owner(file, &maker->sources->st[SOURCE_UIDDB]);
    file->content = text;
    text = BUF_EMPTY;
    mailbox_forget_view(mailbox);
    result = view_init(&mailbox->view, &file->content);
    if (result < 0) {
        control_unref(file);
        return result == -EUCLEAN ? -EIO : result;
    }
    mailbox_set_file(mailbox, CONTROL_UIDLIST, file);
    mailbox->order_unsure = !maker->sources->present[SOURCE_SIZELIST];
    mailbox->entered_uid = 0; /* it may have messages below the last */
    mailbox->generation++;
    atomic_fetch_add(&mailbox->bridge->generations_made, 1);
    return 0;
}

static int append_lines(struct line_maker *maker, struct mailbox *mailbox, size_t from)
{
    const struct uiddb *db = &maker->sources->db;
    struct control_file *file = mailbox->file[CONTROL_UIDLIST];
    control_file_take_owner(file, &maker->sources->st[SOURCE_UIDDB]);
    if (from == db->count)
        return 0;
    BUF_AUTO lines = BUF_EMPTY;
    for (size_t i = from; i < db->count; i++)
        add_line(maker, &lines, db->lines[i].uid, db->lines[i].base, 0);
    int result = buf_error(&lines);
    if (result == 0)
        result = buf_reserve(&file->content, file->content.len + lines.len);
    if (result < 0)
        return result;
    size_t end = file->content.len;
    buf_add_span(&file->content, buf_span(&lines));
    file->mtime = time_after(file->mtime);
    mailbox->order_unsure = true;
    return view_extend(&mailbox->view, end);
}

int uidlist_present(struct mailbox *mailbox, const struct sources *sources)
{
    uint32_t next = sources->db.uidnext;
    if (mailbox->view.uidvalidity == sources->db.uidvalidity && mailbox->highest_next > next)
        next = mailbox->highest_next;
    LINE_MAKER_AUTO maker = {.mailbox = mailbox, .sources = sources};
    struct verdict verdict = {.new_generation = true};
    bool has_view = mailbox->file[CONTROL_UIDLIST] != NULL && !mailbox->view_outdated;
    /* Where Dovecot wrote a whole list itself the hash of the uid database is 0. */
    maker.same_keys = mailbox->seen.hash[SOURCE_UIDDB] != 0 &&
                      mailbox->seen.hash[SOURCE_SIZELIST] == sources->seen.hash[SOURCE_SIZELIST] &&
                      mailbox->seen.hash[SOURCE_KEYS] == sources->seen.hash[SOURCE_KEYS];
    if (has_view)
        verdict = compare(&maker, next);
    /* Sessions that outlived the mount read a recalled list from its start and know a next UID
     * already: its header must not say a lower one, as that of a list with appended lines does. */
    if (mailbox->recalled &&
        (verdict.append_from < sources->db.count || mailbox->view.uidnext != next))
        verdict.new_generation = true;
    int result = verdict.new_generation ? new_generation(&maker, mailbox, next)
                                        : append_lines(&maker, mailbox, verdict.append_from);
    if (result < 0) {
        mailbox->view_outdated = true;
        return result;
    }
    if (verdict.new_generation || verdict.append_from < sources->db.count)
        mailbox->cache_outdated = true;
    mailbox->view_outdated = false;
    mailbox->recalled = false;
    if (!verdict.new_generation &&
        mailbox->seen.hash[SOURCE_SIZELIST] != sources->seen.hash[SOURCE_SIZELIST])
        mailbox->order_unsure = true;
    mailbox->highest_next = next;
    mailbox->seen = sources->seen;
    return 0;
}

static bool same_content(const struct mailbox *mailbox, const struct sources *sources)
{
    for (int kind = 0; kind < SOURCE_COUNT; kind++) {
        if (mailbox->seen.hash[kind] != sources->seen.hash[kind])
            return false;
    }
    return true;
}

int uidlist_refresh(struct mailbox *mailbox)
{
    if (!mailbox->cache_asked) {
        mailbox->cache_asked = true;
        view_recall(mailbox);
    }
    bool has_view = mailbox->file[CONTROL_UIDLIST] != NULL && !mailbox->view_outdated;
    if (has_view) {
        bool changed;
        int result = sources_changed(mailbox, &changed);
        if (result < 0 || (!changed && !mailbox->recalled))
            return result;
    }
    SOURCES_AUTO sources = NULL;
    int result = sources_load(mailbox, &sources);
    if (result < 0)
        return result;
    if (!sources->present[SOURCE_UIDDB]) {
        mailbox_set_file(mailbox, CONTROL_UIDLIST, NULL);
        mailbox_forget_view(mailbox);
        return -ENOENT;
    }
    if (has_view && !mailbox->recalled && same_content(mailbox, sources)) {
        mailbox->seen = sources->seen;
        return 0;
    }
    return uidlist_present(mailbox, sources);
}

int uidlist_show_anew(struct mailbox *mailbox)
{
    SOURCES_AUTO sources = NULL;
    int result = sources_load(mailbox, &sources);
    if (result == 0 && !sources->present[SOURCE_UIDDB])
        result = -ENOENT;
    if (result < 0)
        return result;
    mailbox->view_outdated = true;
    return uidlist_present(mailbox, sources);
}

int uidlist_settle_order(struct mailbox *mailbox)
{
    SOURCES_AUTO sources = NULL;
    int result = sources_load(mailbox, &sources);
    bool agrees = true;
    if (result == 0 && sources->present[SOURCE_UIDDB] && sources->present[SOURCE_SIZELIST])
        result = shown_order_agrees(mailbox, sources, &agrees);
    if (result < 0)
        return result;
    mailbox->order_unsure = false;
    if (agrees)
        return 0;
    mailbox->view_outdated = true;
    return uidlist_present(mailbox, sources);
}

#define SETTLING_ATTEMPTS 10

int uidlist_settle_uidls(struct mailbox *mailbox)
{
    for (int i = 0; i < SETTLING_ATTEMPTS; i++) {
        int result = pop3_enter_messages(mailbox);
        if (result <= 0)
            return result;
        SOURCES_AUTO sources = NULL;
        result = sources_load(mailbox, &sources);
        if (result == 0 && sources->present[SOURCE_UIDDB])
            result = uidlist_present(mailbox, sources);
        if (result < 0)
            return result;
    }
    return -EIO;
}
