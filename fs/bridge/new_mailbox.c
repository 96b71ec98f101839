#include "bridge/new_mailbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "courier/keywords.h"
#include "courier/uiddb.h"
#include "dovecot/virtual_size.h"
#include "store/file.h"
#include "store/list.h"

#define WORK_NAME "courierfs-import."
#define PIECE ((size_t)1 << 18)
/* A work directory has cur, new, tmp and courierimapkeywords, and these only files. */
#define WORK_DEPTH 2

struct entered {
    size_t name; /* in names */
    size_t len;
    uint32_t uid;
    size_t first_keyword; /* in numbers */
    size_t keyword_count;
};

struct new_mailbox {
    struct store *store;
    struct buf target, above, work; /* terminated paths; above is the directory of both */
    bool is_folder, appeared;
    char host[256];
    int fd; /* of the message that is being written, or -1 */
    struct buf pending;
    struct virtual_size size;
    time_t latest; /* the number in the last name */
    struct entered *entered;
    size_t count, capacity;
    struct buf names; /* base names */
    struct keyword_list keywords;
    size_t number_count, number_capacity;
};

/* ---- the work directory ---- */

static int in_work(const struct new_mailbox *mailbox, const char *name, struct buf *out)
{
    return store_join(out, mailbox->work.data, name);
}

static int remove_tree(struct store *store, const char *path, int depth)
{
    DIR_LIST_AUTO list = DIR_LIST_EMPTY;
    int result = store_list(store, path, &list);
    for (size_t i = 0; i < list.count && result == 0; i++) {
        BUF_AUTO below = BUF_EMPTY;
        result = store_join(&below, path, list.names.data + list.entries[i].name_offset);
        if (result == 0)
            result = store_unlink(store, below.data);
        if ((result == -EISDIR || result == -EPERM) && depth > 0)
            result = remove_tree(store, below.data, depth - 1);
    }
    return result < 0 ? result : store_rmdir(store, path);
}

/* "courierfs-import.NAME.PID@HOST": whether that process of this host is dead. (Ours has made none yet.) */
static bool is_left_behind(const struct new_mailbox *mailbox, struct span name)
{
    struct span host, rest = name;
    uint64_t pid;
    if (!span_starts(name, WORK_NAME))
        return false;
    struct span before = span_until(rest, '@', &host);
    while (before.len > 0 && before.text[before.len - 1] >= '0' &&
           before.text[before.len - 1] <= '9')
        before.len--;
    struct span digits =
        span_make(before.text + before.len, (size_t)(host.text - 1 - before.text) - before.len);
    return host.len > 0 && span_equals(host, mailbox->host) && span_to_u64(digits, &pid) &&
           pid < INT32_MAX &&
           ((pid_t)pid == getpid() || (kill((pid_t)pid, 0) < 0 && errno == ESRCH));
}

static int remove_left_behind(struct new_mailbox *mailbox)
{
    DIR_LIST_AUTO list = DIR_LIST_EMPTY;
    int result = store_list(mailbox->store, mailbox->above.data, &list);
    for (size_t i = 0; i < list.count && result == 0; i++) {
        if (!is_left_behind(mailbox, dir_entry_name(&list, &list.entries[i])))
            continue;
        BUF_AUTO path = BUF_EMPTY;
        result =
            store_join(&path, mailbox->above.data, list.names.data + list.entries[i].name_offset);
        if (result == 0)
            result = remove_tree(mailbox->store, path.data, WORK_DEPTH);
    }
    return result;
}

/* Names may have only what hosts are called by. */
static void take_host(struct new_mailbox *mailbox)
{
    snprintf(mailbox->host, sizeof(mailbox->host), "%s", mailbox->store->hostname);
    for (char *c = mailbox->host; *c != '\0'; c++) {
        if (strchr("/:,@", *c) != NULL)
            *c = '_';
    }
}

static int find_places(struct new_mailbox *mailbox, const char *target)
{
    const char *slash = strrchr(target, '/');
    const char *name = slash == NULL ? target : slash + 1;
    mailbox->is_folder = name[0] == '.';
    buf_add_string(&mailbox->target, target);
    if (slash != NULL)
        buf_add(&mailbox->above, target, (size_t)(slash - target));
    if (mailbox->is_folder && slash != NULL)
        buf_add_char(&mailbox->above, '/');
    buf_add_string(&mailbox->above, mailbox->is_folder ? "tmp" : slash == NULL ? "." : "");
    if (buf_terminate(&mailbox->target) < 0 || buf_terminate(&mailbox->above) < 0)
        return -ENOMEM;
    BUF_AUTO work = BUF_EMPTY;
    buf_printf(&work, WORK_NAME "%s.%ld@%s", name, (long)getpid(), mailbox->host);
    if (buf_terminate(&work) < 0)
        return -ENOMEM;
    return store_join(&mailbox->work, mailbox->above.data, work.data);
}

static int make_directories(struct new_mailbox *mailbox)
{
    static const char *const below[] = {"cur", "new", "tmp"};
    int result = store_mkdir(mailbox->store, mailbox->work.data, 0700);
    for (size_t i = 0; i < 3 && result == 0; i++) {
        BUF_AUTO path = BUF_EMPTY;
        result = in_work(mailbox, below[i], &path);
        if (result == 0)
            result = store_mkdir(mailbox->store, path.data, 0700);
    }
    return result;
}

int new_mailbox_begin(struct store *store, const char *target, struct new_mailbox **mailbox_r)
{
    struct stat st;
    struct new_mailbox *mailbox = calloc(1, sizeof(*mailbox));
    *mailbox_r = mailbox;
    if (mailbox == NULL)
        return -ENOMEM;
    mailbox->store = store;
    mailbox->fd = -1;
    take_host(mailbox);
    int result = find_places(mailbox, target);
    if (result == 0)
        result = store_stat(store, mailbox->target.data, &st);
    if (result != -ENOENT)
        return result == 0 ? -EEXIST : result;
    result = remove_left_behind(mailbox);
    return result < 0 ? result : make_directories(mailbox);
}

/* ---- messages ---- */

static int flush_pending(struct new_mailbox *mailbox)
{
    size_t done = 0;
    while (done < mailbox->pending.len) {
        ssize_t wrote = store_pwrite(mailbox->store, mailbox->fd, mailbox->pending.data + done,
                                     mailbox->pending.len - done, STORE_AT_END);
        if (wrote <= 0)
            return wrote == 0 ? -EIO : (int)wrote;
        done += (size_t)wrote;
    }
    buf_clear(&mailbox->pending);
    return 0;
}

static int open_message(struct new_mailbox *mailbox)
{
    BUF_AUTO path = BUF_EMPTY;
    int result = in_work(mailbox, "tmp/message", &path);
    if (result == 0)
        result = store_open(mailbox->store, path.data, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (result < 0)
        return result;
    mailbox->fd = result;
    mailbox->size = (struct virtual_size){0};
    return 0;
}

int new_mailbox_write(struct new_mailbox *mailbox, struct span piece)
{
    int result = mailbox->fd < 0 ? open_message(mailbox) : 0;
    if (result < 0)
        return result;
    virtual_size_add(&mailbox->size, piece.text, piece.len);
    buf_add_span(&mailbox->pending, piece);
    if (buf_error(&mailbox->pending) < 0)
        return -ENOMEM;
    return mailbox->pending.len < PIECE ? 0 : flush_pending(mailbox);
}

/* S and W are proven: every byte of the file went through new_mailbox_write. */
static int close_message(struct new_mailbox *mailbox, const struct new_message *message,
                         struct entered *entered)
{
    BUF_AUTO from = BUF_EMPTY;
    BUF_AUTO to = BUF_EMPTY;
    const struct timespec times[2] = {{.tv_sec = message->date}, {.tv_sec = message->date}};
    if (message->date > mailbox->latest)
        mailbox->latest = message->date;
    entered->name = mailbox->names.len;
    buf_printf(&mailbox->names, "%jd.I%08zuP%ldT%jd.%s,S=%ju,W=%ju", (intmax_t)mailbox->latest,
               mailbox->count, (long)getpid(), (intmax_t)time(NULL), mailbox->host,
               (uintmax_t)mailbox->size.bytes, (uintmax_t)mailbox->size.size);
    entered->len = mailbox->names.len - entered->name;
    if (buf_error(&mailbox->names) < 0)
        return -ENOMEM;
    struct span base = span_make(mailbox->names.data + entered->name, entered->len);
    buf_printf(&to, "%s/cur/%.*s:2,%s", mailbox->work.data, SPAN_FMT(base), message->flags);
    int result = buf_terminate(&to);
    if (result == 0)
        result = in_work(mailbox, "tmp/message", &from);
    if (result == 0)
        result = flush_pending(mailbox);
    if (result == 0)
        result = store_utimens(mailbox->store, from.data, times);
    if (result == 0)
        result = store_fsync(mailbox->store, mailbox->fd, false);
    close(mailbox->fd);
    mailbox->fd = -1;
    return result < 0 ? result : store_rename(mailbox->store, from.data, to.data, 0);
}

/* ---- keywords ---- */

static int keyword_number(struct keyword_list *list, struct span name, uint32_t *number_r)
{
    BUF_AUTO clean = BUF_EMPTY;
    keyword_add_clean(&clean, name);
    if (buf_terminate(&clean) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < list->name_count; i++) {
        if (span_compare_nocase(list->names[i], buf_span(&clean)) == 0) {
            *number_r = (uint32_t)i;
            return 0;
        }
    }
    struct span *names = reallocarray(list->names, list->name_count + 1, sizeof(*names));
    if (names == NULL)
        return -ENOMEM;
    list->names = names;
    *number_r = (uint32_t)list->name_count;
    names[list->name_count++] = buf_span(&clean);
    clean = BUF_EMPTY; /* the list's now */
    return 0;
}

static int add_number(struct new_mailbox *mailbox, struct entered *entered, uint32_t number)
{
    struct keyword_list *list = &mailbox->keywords;
    for (size_t i = 0; i < entered->keyword_count; i++) {
        if (list->numbers[entered->first_keyword + i] == number)
            return 0;
    }
    if (mailbox->number_count == mailbox->number_capacity) {
        size_t capacity = mailbox->number_capacity == 0 ? 64 : mailbox->number_capacity * 2;
        uint32_t *numbers = reallocarray(list->numbers, capacity, sizeof(*numbers));
        if (numbers == NULL)
            return -ENOMEM;
        list->numbers = numbers;
        mailbox->number_capacity = capacity;
    }
    list->numbers[mailbox->number_count++] = number;
    entered->keyword_count++;
    return 0;
}

static int take_keywords(struct new_mailbox *mailbox, struct span names, struct entered *entered)
{
    int result = 0;
    entered->first_keyword = mailbox->number_count;
    while (names.len > 0 && result == 0) {
        uint32_t number;
        struct span name = span_until(names, ' ', &names);
        if (name.len == 0)
            continue;
        result = keyword_number(&mailbox->keywords, name, &number);
        if (result == 0)
            result = add_number(mailbox, entered, number);
    }
    return result;
}

int new_mailbox_enter(struct new_mailbox *mailbox, const struct new_message *message)
{
    struct entered entered = {.uid = message->uid};
    int result =
        new_mailbox_write(mailbox, span_of("")); /* of an empty message nothing was written */
    if (result == 0)
        result = close_message(mailbox, message, &entered);
    if (result == 0)
        result = take_keywords(mailbox, message->keywords, &entered);
    if (result < 0)
        return result;
    if (mailbox->count == mailbox->capacity) {
        size_t capacity = mailbox->capacity == 0 ? 256 : mailbox->capacity * 2;
        struct entered *more = reallocarray(mailbox->entered, capacity, sizeof(*more));
        if (more == NULL)
            return -ENOMEM;
        mailbox->entered = more;
        mailbox->capacity = capacity;
    }
    mailbox->entered[mailbox->count++] = entered;
    return 0;
}

/* ---- Courier's files ---- */

static int write_file(struct new_mailbox *mailbox, const char *name, struct span text)
{
    struct draft draft = {.path = BUF_EMPTY};
    BUF_AUTO target = BUF_EMPTY;
    int result = in_work(mailbox, name, &target);
    if (result == 0)
        result = draft_write(mailbox->store, mailbox->work.data, text, NULL, &draft);
    if (result == 0)
        result = draft_install(mailbox->store, &draft, mailbox->work.data, target.data);
    draft_discard(mailbox->store, &draft);
    return result;
}

static int write_uids(struct new_mailbox *mailbox, uint32_t uidvalidity, uint32_t uidnext)
{
    BUF_AUTO text = BUF_EMPTY;
    const struct uiddb head = {.uidvalidity = uidvalidity, .uidnext = uidnext};
    uiddb_format(&head, &text);
    for (size_t i = 0; i < mailbox->count; i++) {
        const struct entered *entered = &mailbox->entered[i];
        uiddb_format_line(&text, entered->uid,
                          span_make(mailbox->names.data + entered->name, entered->len));
    }
    if (buf_error(&text) < 0)
        return -ENOMEM;
    return write_file(mailbox, "courierimapuiddb", buf_span(&text));
}

static int write_keywords(struct new_mailbox *mailbox)
{
    struct keyword_list *list = &mailbox->keywords;
    BUF_AUTO directory = BUF_EMPTY;
    BUF_AUTO text = BUF_EMPTY;
    list->messages = calloc(mailbox->count + 1, sizeof(*list->messages));
    if (list->messages == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < mailbox->count; i++) {
        const struct entered *entered = &mailbox->entered[i];
        if (entered->keyword_count > 0)
            list->messages[list->message_count++] = (struct keyword_message){
                .base = span_make(mailbox->names.data + entered->name, entered->len),
                .indexes = list->numbers + entered->first_keyword,
                .count = entered->keyword_count};
    }
    int result = in_work(mailbox, "courierimapkeywords", &directory);
    if (result == 0)
        result = store_mkdir(mailbox->store, directory.data, 0700);
    keyword_list_format(list, &text);
    if (result == 0)
        result = buf_error(&text);
    if (result == 0)
        result = write_file(mailbox, "courierimapkeywords/:list", buf_span(&text));
    return result < 0 ? result : store_sync_directory(mailbox->store, directory.data);
}

static int appear(struct new_mailbox *mailbox)
{
    BUF_AUTO cur = BUF_EMPTY;
    BUF_AUTO place = BUF_EMPTY;
    int result = in_work(mailbox, "cur", &cur);
    if (result == 0)
        result = store_sync_directory(mailbox->store, cur.data);
    if (result == 0)
        result = store_sync_directory(mailbox->store, mailbox->work.data);
    /* Onto a directory that is not empty this fails, whoever made that. */
    if (result == 0)
        result = store_rename(mailbox->store, mailbox->work.data, mailbox->target.data, 0);
    if (result == -ENOTEMPTY)
        result = -EEXIST;
    if (result < 0)
        return result;
    mailbox->appeared = true;
    const char *slash = strrchr(mailbox->target.data, '/');
    if (slash == NULL)
        return store_sync_directory(mailbox->store, ".");
    buf_add(&place, mailbox->target.data, (size_t)(slash - mailbox->target.data));
    result = buf_terminate(&place);
    return result < 0 ? result : store_sync_directory(mailbox->store, place.data);
}

int new_mailbox_finish(struct new_mailbox *mailbox, uint32_t uidvalidity, uint32_t uidnext,
                       const char *note, struct span text)
{
    int result = write_uids(mailbox, uidvalidity, uidnext);
    if (result == 0 && mailbox->keywords.name_count > 0)
        result = write_keywords(mailbox);
    if (result == 0 && mailbox->is_folder)
        result = write_file(mailbox, "maildirfolder", span_of(""));
    if (result == 0)
        result = write_file(mailbox, note, text);
    return result < 0 ? result : appear(mailbox);
}

void new_mailbox_release(struct new_mailbox *mailbox)
{
    if (mailbox == NULL)
        return;
    if (mailbox->fd >= 0)
        close(mailbox->fd);
    if (!mailbox->appeared && mailbox->work.len > 0)
        (void)remove_tree(mailbox->store, mailbox->work.data, WORK_DEPTH);
    for (size_t i = 0; i < mailbox->keywords.name_count; i++)
        free((char *)(uintptr_t)mailbox->keywords.names[i].text);
    keyword_list_release(&mailbox->keywords);
    free(mailbox->entered);
    buf_release(&mailbox->target);
    buf_release(&mailbox->above);
    buf_release(&mailbox->work);
    buf_release(&mailbox->pending);
    buf_release(&mailbox->names);
    free(mailbox);
}
