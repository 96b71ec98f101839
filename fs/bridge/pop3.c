/* UIDLs meet in Courier's list.
 *
 * The problem. courierpop3d gives each message a UIDL at the first login after its arrival and
 * keeps it in courierpop3dsizelist; Dovecot makes UIDLs from UIDs. A client must see one UIDL for
 * ever, whichever server it meets. For a message that is in Courier's list Courier's UIDL is shown
 * (key P). For any other, Dovecot's UID<uid>-<uidvalidity> is entered in the list, in the only
 * place where Courier will find it: as that entry's N and UIDV.
 *
 * When. Before Dovecot can show the UIDL: whenever the view has a message that the list lacks. Only
 * for a mailbox that is used by POP3: its list is there, or Dovecot's POP3 server opens it now.
 *
 * The race. Courier replaces the list at any login without any lock. So: read the old list, write
 * the new one under a unique name and sync it, read the old one again, and exchange the two names
 * in one step; then look at what came out. If it is not the version that was read, Courier wrote in
 * between: exchange back and begin again. Where the store cannot exchange names (NFS) the last look
 * is right before the rename; what Courier writes in that moment is lost for its new messages,
 * which it enters again at its next login as it does after its own races. Under other numbers, and
 * theirs must name no other message: so a list that is put in place by a rename leaves out some
 * numbers, as many as Courier may have given out in such a moment.
 *
 * Courier can also have entered a message between our making of the view and this: then the view shows
 * another UIDL than the list. So nothing is entered unless the list is the very one that the view was
 * made of; else the view is made anew first (uidlist_settle_uidls in present.c).
 *
 * A message that is renamed while it is looked for is looked for again: left out, it would be shown with
 * a UIDL that Courier does not know. One that cannot be read is left out, and tried again at the next
 * occasion.
 *
 * A message that had a pair and lost its entry (Courier overwrote the list from an older copy) gets
 * the same pair again: the view remembers what was shown.
 *
 * The sizes are computed as Courier does (seen with 5.0.13): bytes plus the number of LFs, a CR at
 * the very end not counted; UTF8 = 1 when a header has 8-bit bytes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "bridge/sources.h"
#include "courier/name.h"

#define ATTEMPTS 10
#define LIST_LIMIT ((size_t)256 << 20)
#define READ_SIZE (64 * 1024)
#define LISTINGS 4
/* After so many `cur` is listed. */
#define WRONG_GUESSES 3
/* More messages than a login of Courier's commonly meets anew; few enough never to run out of them. */
#define NUMBERS_LEFT_OUT 100
#define NOT_IN_USE 2

bool pop3_is_caller(struct mailbox *mailbox, const struct caller *caller)
{
    if (caller->pid == 0 || !mailbox_is_inbox(mailbox))
        return false;
    char path[64];
    char name[32] = "";
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)caller->pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    bool is_pop3 = fgets(name, sizeof(name), file) != NULL && strcmp(name, "pop3\n") == 0;
    fclose(file);
    if (is_pop3)
        mailbox->used_by_pop3 = true;
    return is_pop3;
}

/* ---- what Courier computes of a message ------------------------------------------------------ */

struct scan {
    uint64_t size;
    bool utf8;
    bool in_header;
    bool line_empty; /* nothing but CR in this line so far */
    char last;
};

static void scan_bytes(struct scan *scan, const char *bytes, size_t len)
{
    scan->size += len;
    for (size_t i = 0; i < len; i++) {
        char c = bytes[i];
        if (c == '\n') {
            scan->size++;
            if (scan->line_empty)
                scan->in_header = false;
            scan->line_empty = true;
        } else if (c != '\r') {
            scan->line_empty = false;
            if (scan->in_header && ((unsigned char)c & 0x80) != 0)
                scan->utf8 = true;
        }
    }
    if (len > 0)
        scan->last = bytes[len - 1];
}

static int scan_message(struct store *store, const char *path, struct scan *scan)
{
    *scan = (struct scan){.in_header = true, .line_empty = true};
    AUTO_FD fd = store_open(store, path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0)
        return fd;
    AUTO_FREE char *block = malloc(READ_SIZE);
    if (block == NULL)
        return -ENOMEM;
    for (off_t at = 0;;) {
        ssize_t got = store_pread(store, fd, block, READ_SIZE, at);
        if (got < 0)
            return (int)got;
        if (got == 0)
            break;
        scan_bytes(scan, block, (size_t)got);
        at += got;
    }
    if (scan->last == '\r')
        scan->size--;
    return 0;
}

/* ---- the list -------------------------------------------------------------------------------- */

/* A name that was right without a listing. */
struct guess {
    struct guess *next;
    char name[];
};

/* What is entered in one attempt. */
struct edition {
    struct sources *sources; /* with the list as it was read */
    uint32_t entered_to;     /* every message up to this UID is in it */
    /* What shall be written: another header, the entries that there are, which are the sources', */
    struct sizelist list;
    struct sizelist_entry *more; /* and new ones, whose names are in what follows. */
    size_t count;
    struct dir_list cur[LISTINGS];
    size_t listings;
    struct guess *guessed;
    unsigned wrong_guesses;
    uint32_t unread_uid;
};

static void edition_release(struct edition *edition)
{
    free(edition->more);
    for (size_t i = 0; i < edition->listings; i++)
        dir_list_release(&edition->cur[i]);
    while (edition->guessed != NULL) {
        struct guess *next = edition->guessed->next;
        free(edition->guessed);
        edition->guessed = next;
    }
    sources_give_back(&edition->sources);
}

#define EDITION_AUTO __attribute__((cleanup(edition_release))) struct edition

static struct span list_text(const struct edition *edition)
{
    return buf_span(&edition->sources->text[SOURCE_SIZELIST]);
}

/* 1: to go on with; 0: a list of a Courier nobody here knows, which stays as it is; else -errno. */
static int read_edition(struct mailbox *mailbox, struct edition *edition)
{
    int result = sources_load(mailbox, &edition->sources);
    if (result < 0)
        return result;
    if (!edition->sources->present[SOURCE_SIZELIST] && list_text(edition).len > 0)
        return 0;
    edition->list = edition->sources->list;
    if (edition->list.next == 0)
        edition->list.next = 1;
    return 1;
}

/* The pair whose UIDL is what the view shows for RECORD; false if no pair makes that text. */
static bool pair_of_record(const struct mailbox *mailbox, const struct uidlist_record *record,
                           struct sizelist_entry *entry)
{
    struct span uidl;
    if (uidlist_find_key(record->keys, 'P', &uidl))
        return sizelist_uidl_to_pair(uidl, record->base, &entry->n, &entry->uidv);
    entry->n = record->uid;
    entry->uidv = mailbox->view.uidvalidity;
    return true;
}

static int list_again(const struct mailbox *mailbox, struct edition *edition)
{
    BUF_AUTO path = BUF_EMPTY;
    struct dir_list *cur = &edition->cur[edition->listings];
    *cur = DIR_LIST_EMPTY;
    edition->listings++;
    int result = store_join(&path, mailbox->path, "cur");
    return result < 0 ? result : store_list_messages(mailbox->bridge->store, path.data, cur);
}

/* Reads the message BASE if it has no flags, as one has that was just delivered. 1 with ENTRY's name,
 * size and utf8; 0: there is no such file, or it cannot be read; -ENOMEM. */
static int read_without_flags(const struct mailbox *mailbox, struct edition *edition,
                              struct span base, struct sizelist_entry *entry)
{
    const char *const no_flags = ":2,";
    size_t size = base.len + strlen(no_flags) + 1;
    AUTO_FREE struct guess *guess = malloc(sizeof(*guess) + size);
    if (guess == NULL)
        return -ENOMEM;
    snprintf(guess->name, size, "%.*s%s", SPAN_FMT(base), no_flags);
    BUF_AUTO path = BUF_EMPTY;
    struct scan scan;
    buf_printf(&path, "%s/cur/%s", mailbox->path, guess->name);
    if (buf_terminate(&path) < 0)
        return -ENOMEM;
    if (scan_message(mailbox->bridge->store, path.data, &scan) < 0) {
        edition->wrong_guesses++;
        return 0;
    }
    entry->name = span_of(guess->name);
    entry->size = scan.size;
    entry->utf8 = scan.utf8;
    guess->next = edition->guessed;
    edition->guessed = steal_pointer(&guess);
    return 1;
}

/* Reads the message BASE, whatever its flags become meanwhile. 1 with ENTRY's name, size and utf8; 0: it
 * is not there; -EAGAIN: it is renamed all the time; or -errno, *unread_r set if that is the message's
 * own. */
static int read_message(const struct mailbox *mailbox, struct edition *edition, struct span base,
                        struct sizelist_entry *entry, bool *unread_r)
{
    int result = 0;
    if (edition->listings == 0 && edition->wrong_guesses < WRONG_GUESSES)
        result = read_without_flags(mailbox, edition, base, entry);
    if (result == 0 && edition->listings == 0)
        result = list_again(mailbox, edition);
    while (result == 0) {
        const struct dir_list *cur = &edition->cur[edition->listings - 1];
        const struct dir_entry *file = dir_list_find_base(cur, base);
        if (file == NULL)
            return 0;
        BUF_AUTO path = BUF_EMPTY;
        struct scan scan;
        entry->name = dir_entry_name(cur, file);
        buf_printf(&path, "%s/cur/%.*s", mailbox->path, SPAN_FMT(entry->name));
        if (buf_terminate(&path) < 0)
            return -ENOMEM;
        result = scan_message(mailbox->bridge->store, path.data, &scan);
        if (result == 0) {
            entry->size = scan.size;
            entry->utf8 = scan.utf8;
            return 1;
        }
        *unread_r = result != -ENOENT && result != -ESTALE && result != -ENOMEM;
        if (*unread_r || result == -ENOMEM)
            return result;
        result = edition->listings == LISTINGS ? -EAGAIN : list_again(mailbox, edition);
    }
    return result;
}

/* Enters the message of RECORD. 0 also if it must be left out. */
static int enter(const struct mailbox *mailbox, struct edition *edition,
                 const struct uidlist_record *record)
{
    struct sizelist *list = &edition->list;
    struct sizelist_entry entry = {.size = 0};
    bool unread = false;
    if (!pair_of_record(mailbox, record, &entry))
        return 0;
    int result = read_message(mailbox, edition, record->base, &entry, &unread);
    if (unread) {
        if (record->uid > mailbox->unread_uid)
            log_warning("cannot read '%s/cur/%.*s' to enter it in courierpop3dsizelist: %s",
                        mailbox->path, SPAN_FMT(entry.name), strerror(-result));
        edition->unread_uid = record->uid;
        return 0;
    }
    if (result <= 0)
        return result;
    struct sizelist_entry *grown =
        reallocarray(edition->more, edition->count + 1, sizeof(*edition->more));
    if (grown == NULL)
        return -ENOMEM;
    edition->more = grown;
    edition->more[edition->count++] = entry;
    if (entry.uidv == list->uidvalidity && entry.n >= list->next)
        list->next = entry.n + 1;
    return 0;
}

/* Adds every message of the view that has a file and no entry. */
static int complete(const struct mailbox *mailbox, struct edition *edition)
{
    int result = 0;
    size_t from = view_position_above(&mailbox->view, edition->entered_to);
    for (size_t i = from; i < mailbox->view.count && result == 0; i++) {
        struct uidlist_record record = view_record_at(&mailbox->view, i);
        if (sources_list_entry(edition->sources, record.base) == NULL)
            result = enter(mailbox, edition, &record);
    }
    return result;
}

/* Whether the list at PATH is the one that was read. Courier never changes a list, it makes a new file;
 * and a rename changes a file's ctime, which is therefore not asked. */
static bool is_same_list(struct store *store, const char *path, const struct edition *edition)
{
    const struct stat *old = &edition->sources->st[SOURCE_SIZELIST];
    struct stat st;
    if (edition->sources->seen.signature[SOURCE_SIZELIST].settled &&
        store_stat_now(store, path, &st) == 0 && st.st_dev == old->st_dev &&
        st.st_ino == old->st_ino && st.st_size == old->st_size &&
        st.st_mtim.tv_sec == old->st_mtim.tv_sec && st.st_mtim.tv_nsec == old->st_mtim.tv_nsec)
        return true;
    BUF_AUTO text = BUF_EMPTY;
    return store_read_file(store, path, LIST_LIMIT, &text, &st) == 0 &&
           span_equal(buf_span(&text), list_text(edition));
}

/* Puts the draft in the list's place unless the list is another than the edition was made from.
 * 0, -EAGAIN if it is, or -errno. */
static int exchange(struct mailbox *mailbox, struct draft *draft, const struct edition *edition)
{
    struct store *home = mailbox->bridge->home;
    BUF_AUTO path = BUF_EMPTY;
    int result = store_join(&path, mailbox->path, source_name(SOURCE_SIZELIST));
    if (result < 0)
        return result;
    if (!edition->sources->present[SOURCE_SIZELIST]) {
        /* Link, because it never replaces a list that came into being meanwhile. */
        result = store_link(home, draft->path.data, path.data);
        return result == -EEXIST ? -EAGAIN : result;
    }
    if (!is_same_list(home, path.data, edition))
        return -EAGAIN;
    if (mailbox->bridge->cannot_exchange)
        return draft_install(home, draft, mailbox->path, path.data);
    result = store_rename(home, draft->path.data, path.data, RENAME_EXCHANGE);
    if (result == -EINVAL) {
        mailbox->bridge->cannot_exchange = true;
        return -EAGAIN;
    }
    if (result == -ENOENT)
        return -EAGAIN;
    if (result < 0)
        return result;
    if (!is_same_list(home, draft->path.data, edition)) {
        result = store_rename(home, draft->path.data, path.data, RENAME_EXCHANGE);
        return result < 0 ? result : -EAGAIN;
    }
    return store_sync_directory(home, mailbox->path);
}

/* One attempt. 0: every message is in the list (but unread ones); NOT_IN_USE: nothing was done, the list is
 * of a Courier that nobody here knows, or nobody uses POP3; 1: nothing was done, the list is not the one
 * that the view was made of; -EAGAIN: Courier was quicker. */
static int attempt(struct mailbox *mailbox)
{
    EDITION_AUTO edition = {.listings = 0};
    int result = read_edition(mailbox, &edition);
    if (result <= 0)
        return result < 0 ? result : NOT_IN_USE;
    const struct sources *sources = edition.sources;
    bool exists = sources->present[SOURCE_SIZELIST];
    if (sources->seen.hash[SOURCE_SIZELIST] != mailbox->seen.hash[SOURCE_SIZELIST])
        return 1;
    if (exists && sources->seen.hash[SOURCE_SIZELIST] == mailbox->entered_list)
        edition.entered_to = mailbox->entered_uid;
    bool in_use = edition.list.count > 0 || mailbox->used_by_pop3;
    if (!in_use)
        return NOT_IN_USE;
    if (edition.list.uidvalidity == 0)
        edition.list.uidvalidity = (uint64_t)time(NULL);
    result = complete(mailbox, &edition);
    mailbox->unread_uid = edition.unread_uid;
    if (result < 0 || (edition.count == 0 && !edition.list.rewrite))
        return result;
    if (mailbox->bridge->cannot_exchange)
        edition.list.next += NUMBERS_LEFT_OUT;
    BUF_AUTO text = BUF_EMPTY;
    sizelist_format_longer(&edition.list, list_text(&edition), edition.more, edition.count, &text);
    result = buf_error(&text);
    if (result < 0)
        return result;
    home_begin(mailbox);
    struct draft draft;
    result = draft_write(mailbox->bridge->home, mailbox->path, buf_span(&text),
                         exists ? &sources->st[SOURCE_SIZELIST] : NULL, &draft);
    if (result == 0)
        result = exchange(mailbox, &draft, &edition);
    draft_discard(mailbox->bridge->home, &draft);
    home_end(mailbox);
    if (result < 0)
        return result;
    sources_list_written(edition.sources, &edition.list, &text, edition.more, edition.count);
    /* It says what the view says. */
    mailbox->seen.hash[SOURCE_SIZELIST] = edition.sources->seen.hash[SOURCE_SIZELIST];
    return 0;
}

int pop3_enter_messages(struct mailbox *mailbox)
{
    const struct view *view = &mailbox->view;
    if (!mailbox_is_inbox(mailbox) || view->count == 0)
        return 0;
    if (mailbox->seen.hash[SOURCE_SIZELIST] == 0 && !mailbox->used_by_pop3)
        return 0;
    uint32_t last_uid = view->records[view->count - 1].uid;
    if (mailbox->entered_uid == last_uid && mailbox->entered_list != 0 &&
        mailbox->entered_list == mailbox->seen.hash[SOURCE_SIZELIST])
        return 0;
    int result = -EAGAIN;
    for (int i = 0; i < ATTEMPTS && result == -EAGAIN; i++)
        result = attempt(mailbox);
    if (result < 0)
        log_error("cannot replace '%s/courierpop3dsizelist': %s", mailbox->path, strerror(-result));
    if (result != 0)
        return result == NOT_IN_USE ? 0 : result;
    mailbox->entered_uid = mailbox->unread_uid == 0 ? last_uid : 0;
    mailbox->entered_list = mailbox->seen.hash[SOURCE_SIZELIST];
    return 0;
}
