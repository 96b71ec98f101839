/* The messages of a mailbox, and what its parts have in common. */
#include "ctl/survey_mailbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "bridge/aside.h"
#include "bridge/sizes.h"
#include "courier/name.h"
#include "ctl/survey_estimate.h"
#include "dovecot/letters.h"
#include "dovecot/name.h"
#include "store/file.h"

/* As of the daemon (bridge/home.c). */
#define CONTROL_LIMIT ((size_t)256 << 20)
/* Clocks that agree within this many seconds disturb nobody. */
#define CLOCK_TOLERANCE 2
/* A time that lies further ahead was set by somebody; it says nothing of the clock. */
#define CLOCK_BELIEVED 86400

uint64_t survey_nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* A message under examination. */
struct message {
    const char *part;
    struct span name;
    const char *path;
    struct stat st;
    bool seen; /* st is its stat */
};

/* ---- findings -------------------------------------------------------------------------------- */

static int path_in_mailbox(const struct mailbox_survey *mailbox, const char *name, struct buf *path)
{
    if (name != NULL)
        return store_join(path, mailbox->path, name);
    buf_add_string(path, mailbox->path);
    return buf_terminate(path);
}

static void note_kind(struct mailbox_survey *mailbox, enum finding_kind kind)
{
    if (!mailbox->found[kind])
        mailbox->figures->places[kind]++;
    mailbox->found[kind] = true;
}

void mailbox_found(struct mailbox_survey *mailbox, enum finding_kind kind, const char *name,
                   unsigned line, struct span text, const char *why)
{
    struct findings *findings = &mailbox->worker->survey->findings;
    BUF_AUTO path = BUF_EMPTY;
    if (survey_check(mailbox->worker->survey, path_in_mailbox(mailbox, name, &path)) < 0)
        return;
    struct finding finding = {.path = path.data,
                              .line = line,
                              .text = text.text,
                              .text_len = text.len,
                              .why = why,
                              .count = 1};
    note_kind(mailbox, kind);
    findings_write(findings, kind, &finding);
    findings_add(findings, kind, &finding);
}

void mailbox_tally(struct mailbox_survey *mailbox, enum finding_kind kind, const char *part,
                   const char *name, const char *why, ...)
{
    struct findings *findings = &mailbox->worker->survey->findings;
    struct tally *tally = &mailbox->tallies[kind];
    if (tally->count++ > 0 && findings->list == NULL)
        return;
    char explained[160];
    va_list args;
    va_start(args, why);
    vsnprintf(explained, sizeof(explained), why, args);
    va_end(args);
    BUF_AUTO path = BUF_EMPTY;
    int error = store_join(&path, mailbox->path, part);
    if (error == 0) {
        buf_printf(&path, "/%s", name);
        error = buf_terminate(&path);
    }
    if (survey_check(mailbox->worker->survey, error) < 0)
        return;
    struct finding finding = {.path = path.data, .text = "", .why = explained};
    findings_write(findings, kind, &finding);
    if (tally->count > 1)
        return;
    tally->path = path;
    path = BUF_EMPTY;
    buf_add_string(&tally->why, explained);
    survey_check(mailbox->worker->survey, buf_terminate(&tally->why));
}

static void report_tallies(struct mailbox_survey *mailbox)
{
    for (int kind = 0; kind < FINDING_COUNT; kind++) {
        struct tally *tally = &mailbox->tallies[kind];
        struct finding first = {
            .path = tally->path.data, .text = "", .why = tally->why.data, .count = tally->count};
        if (first.path != NULL && first.why != NULL) {
            note_kind(mailbox, (enum finding_kind)kind);
            findings_add(&mailbox->worker->survey->findings, (enum finding_kind)kind, &first);
        }
        buf_release(&tally->path);
        buf_release(&tally->why);
    }
}

static void keep_complaint(void *arg, unsigned line, struct span text, const char *why)
{
    struct complaint_list *list = arg;
    if (list->count < COMPLAINTS_KEPT) {
        list->kept[list->count].line = line;
        list->kept[list->count].text = text;
        list->kept[list->count].why = why;
    }
    list->count++;
}

void complaint_list_init(struct complaint_list *list)
{
    list->complaints = (struct complaints){keep_complaint, list};
    list->count = 0;
}

void mailbox_report(struct mailbox_survey *mailbox, enum finding_kind kind, const char *name,
                    const struct complaint_list *list)
{
    size_t kept = list->count < COMPLAINTS_KEPT ? list->count : COMPLAINTS_KEPT;
    for (size_t i = 0; i < kept; i++)
        mailbox_found(mailbox, kind, name, list->kept[i].line, list->kept[i].text,
                      list->kept[i].why);
    if (list->count > kept) {
        char why[64];
        snprintf(why, sizeof(why), "%zu more lines of this file", list->count - kept);
        mailbox_found(mailbox, kind, name, 0, span_of(""), why);
    }
}

/* What is gone was moved or deleted meanwhile. */
static bool is_failure(struct mailbox_survey *mailbox, int error)
{
    if (error == -ENOMEM)
        survey_check(mailbox->worker->survey, error);
    return error < 0 && error != -ENOMEM && error != -ENOENT && error != -ESTALE;
}

static void mailbox_cannot(struct mailbox_survey *mailbox, const char *name, int error)
{
    if (is_failure(mailbox, error))
        mailbox_found(mailbox, FINDING_UNREADABLE, name, 0, span_of(""), strerror(-error));
}

static void message_cannot(struct mailbox_survey *mailbox, const struct message *message, int error)
{
    if (is_failure(mailbox, error))
        mailbox_tally(mailbox, FINDING_UNREADABLE, message->part, message->name.text, "%s",
                      strerror(-error));
}

/* ---- looking --------------------------------------------------------------------------------- */

void mailbox_look_at_clock(struct mailbox_survey *mailbox, const char *name, const struct stat *st)
{
    time_t now = time(NULL);
    time_t ahead = st->st_ctim.tv_sec - now;
    if (ahead > 0 && ahead < CLOCK_BELIEVED && (uint64_t)ahead > mailbox->figures->clock_ahead)
        mailbox->figures->clock_ahead = (uint64_t)ahead;
    if (ahead < CLOCK_BELIEVED && st->st_ctim.tv_sec > mailbox->figures->newest_change)
        mailbox->figures->newest_change = st->st_ctim.tv_sec;
    if (st->st_mtim.tv_sec - now > CLOCK_TOLERANCE && !mailbox->found[FINDING_FUTURE]) {
        char why[64];
        snprintf(why, sizeof(why), "%" PRId64 " seconds ahead",
                 (int64_t)(st->st_mtim.tv_sec - now));
        mailbox_found(mailbox, FINDING_FUTURE, name, 0, span_of(""), why);
    }
}

void mailbox_look_at_owner(struct mailbox_survey *mailbox, const char *name, const struct stat *st)
{
    char why[80];
    if (st->st_uid == mailbox->user->st.st_uid || mailbox->user->st.st_uid == 0)
        return;
    snprintf(why, sizeof(why), "belongs to %ju, the maildir to %ju", (uintmax_t)st->st_uid,
             (uintmax_t)mailbox->user->st.st_uid);
    mailbox_found(mailbox, st->st_uid == 0 ? FINDING_OWNER_ROOT : FINDING_OWNER_MIXED, name, 0,
                  span_of(""), why);
}

bool mailbox_list(struct mailbox_survey *mailbox, const char *name, struct dir_list *list_r)
{
    BUF_AUTO path = BUF_EMPTY;
    uint64_t start = survey_nanoseconds();
    int error = path_in_mailbox(mailbox, name, &path);
    if (error == 0)
        error = store_list_names(mailbox->store, path.data, list_r);
    mailbox->figures->listing_ns += survey_nanoseconds() - start;
    mailbox->figures->listings++;
    if (error < 0) {
        mailbox_cannot(mailbox, name, error);
        return false;
    }
    mailbox_look_at_owner(mailbox, name, &list_r->dir);
    mailbox_look_at_clock(mailbox, name, &list_r->dir);
    return true;
}

static bool is_no_file(int error)
{
    return error == -EINVAL || error == -ELOOP || error == -EISDIR || error == -ENXIO;
}

bool mailbox_read(struct mailbox_survey *mailbox, const char *name, struct buf *out,
                  struct stat *st_r)
{
    BUF_AUTO path = BUF_EMPTY;
    uint64_t start = survey_nanoseconds();
    int error = path_in_mailbox(mailbox, name, &path);
    if (error == 0)
        error = store_read_file(mailbox->store, path.data, CONTROL_LIMIT, out, st_r);
    mailbox->figures->reading_ns += survey_nanoseconds() - start;
    if (is_no_file(error)) {
        mailbox_found(mailbox, FINDING_CONTROL_NO_FILE, name, 0, span_of(""), "not a regular file");
        return false;
    }
    if (error != 0) {
        mailbox_cannot(mailbox, name, error);
        return false;
    }
    mailbox->figures->files_read++;
    mailbox->figures->bytes_read += out->len;
    return true;
}

bool mailbox_read_own(struct mailbox_survey *mailbox, const char *name, struct buf *out,
                      struct stat *st_r)
{
    struct stat st;
    if (!mailbox_read(mailbox, name, out, &st))
        return false;
    mailbox_look_at_owner(mailbox, name, &st);
    if (st_r != NULL)
        *st_r = st;
    return true;
}

/* ---- messages -------------------------------------------------------------------------------- */

static void look_at_name(struct mailbox_survey *mailbox, const struct message *message)
{
    const char *name = message->name.text;
    const char *colon = strrchr(name, ':');
    if (name[0] == '.' || name[0] == ':')
        mailbox_tally(mailbox, FINDING_ODD_NAME, message->part, name, "begins with '%c'", name[0]);
    else if (strpbrk(name, "\n\r") != NULL)
        mailbox_tally(mailbox, FINDING_ODD_NAME, message->part, name, "has a line end in it");
    if (colon != NULL && strncmp(colon, ":2,", 3) != 0)
        mailbox_tally(mailbox, FINDING_ODD_FLAGS, message->part, name, "'%.20s'", colon);
    uint32_t letters = letters_of(message->name);
    if (letters != 0 && !mailbox->converted)
        mailbox_tally(mailbox, FINDING_FOREIGN_FLAGS, message->part, name, "%d letters",
                      __builtin_popcount(letters));
}

/* CLAIMED stands behind ",W=". */
static void look_at_virtual_size(struct mailbox_survey *mailbox, const struct message *message,
                                 uint64_t claimed)
{
    uint64_t bytes = (uint64_t)message->st.st_size;
    struct virtual_size real;
    const char *name = message->name.text;
    if (claimed < bytes || claimed > 2 * bytes) {
        mailbox_tally(mailbox, FINDING_WRONG_W, message->part, name,
                      "says W=%" PRIu64 ", impossible with %" PRIu64 " bytes", claimed, bytes);
        return;
    }
    if (!mailbox->worker->survey->options->read_messages)
        return;
    int error = message_read_size(mailbox->store, message->path, &real);
    if (error < 0) {
        message_cannot(mailbox, message, error);
        return;
    }
    mailbox->figures->messages_read++;
    if (real.size != claimed)
        mailbox_tally(mailbox, FINDING_WRONG_W, message->part, name,
                      "says W=%" PRIu64 ", is %" PRIu64, claimed, real.size);
}

static void look_at_sizes(struct mailbox_survey *mailbox, const struct message *message)
{
    uint64_t bytes = (uint64_t)message->st.st_size, claimed;
    if (name_size(message->name, 'S', &claimed) && claimed != bytes)
        mailbox_tally(mailbox, FINDING_WRONG_S, message->part, message->name.text,
                      "says S=%" PRIu64 ", has %" PRIu64 " bytes", claimed, bytes);
    if (name_size(message->name, 'W', &claimed))
        look_at_virtual_size(mailbox, message, claimed);
}

/* Into *message. 1; 0 if it is gone or no message, which is then reported. */
static int look_at_file(struct mailbox_survey *mailbox, struct message *message)
{
    uint64_t start = survey_nanoseconds();
    int error = store_stat(mailbox->store, message->path, &message->st);
    mailbox->figures->looking_ns += survey_nanoseconds() - start;
    mailbox->figures->looks++;
    message->seen = error == 0;
    if (error < 0) {
        message_cannot(mailbox, message, error);
        return 0;
    }
    if (S_ISDIR(message->st.st_mode)) {
        mailbox_tally(mailbox, FINDING_DIRECTORY, message->part, message->name.text, "a directory");
        return 0;
    }
    if (!S_ISREG(message->st.st_mode)) {
        mailbox_tally(mailbox, FINDING_NO_FILE, message->part, message->name.text, "%s",
                      S_ISLNK(message->st.st_mode) ? "a symbolic link" : "not a regular file");
        return 0;
    }
    if (message->st.st_uid != mailbox->user->st.st_uid && mailbox->user->st.st_uid != 0)
        mailbox_tally(mailbox, FINDING_OWNER_MIXED, message->part, message->name.text,
                      "belongs to %ju, the maildir to %ju", (uintmax_t)message->st.st_uid,
                      (uintmax_t)mailbox->user->st.st_uid);
    return 1;
}

/* The time in a name that a delivery gave it; 0 if there is none. */
static time_t time_of_name(struct span name)
{
    int64_t number = name_number(name);
    return number > 100000000 && number < 100000000000 ? (time_t)number : 0;
}

static void count_message(struct mailbox_survey *mailbox, const struct message *message)
{
    struct survey_figures *figures = mailbox->figures;
    uint64_t bytes = 0;
    if (message->seen)
        bytes = (uint64_t)message->st.st_size;
    else
        (void)name_size(message->name, 'S', &bytes);
    time_t when = message->seen ? message->st.st_mtim.tv_sec : time_of_name(message->name);
    if (when != 0)
        figures->histogram[BY_AGE][bin_of_age(when, mailbox->now)]++;
    figures->messages_not_looked_at += !message->seen;
    mailbox->messages++;
    mailbox->bytes += bytes;
    mailbox->names_length += name_base(message->name).len;
    atomic_fetch_add_explicit(&mailbox->worker->survey->messages, 1, memory_order_relaxed);
}

/* False if it is none. */
static bool survey_message(struct mailbox_survey *mailbox, struct message *message,
                           unsigned char type)
{
    uint64_t claimed;
    bool quick = mailbox->worker->survey->options->quick && type == DT_REG &&
                 name_size(message->name, 'S', &claimed);
    if (!quick && !look_at_file(mailbox, message))
        return false;
    look_at_name(mailbox, message);
    if (message->name.text[0] == '.')
        return false;
    if (message->seen)
        look_at_sizes(mailbox, message);
    count_message(mailbox, message);
    return true;
}

static uint64_t survey_part(struct mailbox_survey *mailbox, const char *part,
                            const struct dir_list *list)
{
    uint64_t messages = 0;
    BUF_AUTO path = BUF_EMPTY;
    if (survey_check(mailbox->worker->survey, store_join(&path, mailbox->path, part)) < 0)
        return 0;
    size_t stem = path.len;
    for (size_t i = 0; i < list->count && !atomic_load(&mailbox->worker->survey->stopped); i++) {
        struct message message = {.part = part, .name = dir_entry_name(list, &list->entries[i])};
        path.len = stem;
        buf_add_char(&path, '/');
        buf_add_span(&path, message.name);
        if (survey_check(mailbox->worker->survey, buf_terminate(&path)) < 0)
            return messages;
        message.path = path.data;
        messages += survey_message(mailbox, &message, list->entries[i].type);
    }
    return messages;
}

/* ---- names against each other ---------------------------------------------------------------- */

static int stat_name(struct mailbox_survey *mailbox, const char *part, struct span name,
                     struct stat *st_r)
{
    BUF_AUTO path = BUF_EMPTY;
    int error = store_join(&path, mailbox->path, part);
    buf_printf(&path, "/%s", name.text);
    if (error == 0)
        error = buf_terminate(&path);
    return error < 0 ? error : store_stat(mailbox->store, path.data, st_r);
}

/* Two names of one base are two messages only if both are there; a flag may have changed meanwhile. */
static void compare_two(struct mailbox_survey *mailbox, const char *part_a, struct span a,
                        const char *part_b, struct span b)
{
    struct stat st_a, st_b;
    if (a.text[0] == '.' || stat_name(mailbox, part_b, b, &st_b) != 0 ||
        stat_name(mailbox, part_a, a, &st_a) != 0)
        return;
    if (st_a.st_ino == st_b.st_ino && st_a.st_nlink < 2)
        return;
    mailbox_tally(mailbox, FINDING_SAME_BASE, part_b, b.text, "%s/%.60s is there, too", part_a,
                  a.text);
}

static void compare_within(struct mailbox_survey *mailbox, const char *part,
                           const struct dir_list *list)
{
    for (size_t i = 1; i < list->count; i++) {
        struct span before = dir_entry_name(list, &list->entries[i - 1]);
        struct span name = dir_entry_name(list, &list->entries[i]);
        if (span_equal(name_base(before), name_base(name)))
            compare_two(mailbox, part, before, part, name);
    }
}

static void compare_bases(struct mailbox_survey *mailbox)
{
    compare_within(mailbox, "cur", &mailbox->cur);
    compare_within(mailbox, "new", &mailbox->new);
    for (size_t i = 0; i < mailbox->new.count; i++) {
        struct span name = dir_entry_name(&mailbox->new, &mailbox->new.entries[i]);
        const struct dir_entry *same = dir_list_find_base(&mailbox->cur, name_base(name));
        if (same != NULL)
            compare_two(mailbox, "cur", dir_entry_name(&mailbox->cur, same), "new", name);
    }
}

static void compare_numbers(struct mailbox_survey *mailbox)
{
    const struct dir_list *const lists[] = {&mailbox->cur, &mailbox->new};
    struct span lowest = span_of(""), highest = span_of("");
    int64_t low = INT64_MAX, high = INT64_MIN;
    for (size_t which = 0; which < 2; which++) {
        for (size_t i = 0; i < lists[which]->count; i++) {
            struct span name = dir_entry_name(lists[which], &lists[which]->entries[i]);
            int64_t number = name_number(name);
            if (name.text[0] == '.')
                continue;
            if (number < low) {
                low = number;
                lowest = name;
            }
            if (number > high) {
                high = number;
                highest = name;
            }
        }
    }
    if (low > high || (uint64_t)high - (uint64_t)low <= INT32_MAX)
        return;
    BUF_AUTO text = BUF_EMPTY;
    buf_printf(&text, "%.70s and %.70s", lowest.text, highest.text);
    mailbox_found(mailbox, FINDING_FAR_NUMBERS, NULL, 0, buf_span(&text),
                  "Courier cannot put its names in order");
}

/* ---- the mailbox ----------------------------------------------------------------------------- */

static void list_messages(struct mailbox_survey *mailbox)
{
    /* In the order in which mail moves. */
    (void)mailbox_list(mailbox, "new", &mailbox->new);
    (void)mailbox_list(mailbox, "cur", &mailbox->cur);
}

static void count_mailbox(struct mailbox_survey *mailbox)
{
    struct survey *survey = mailbox->worker->survey;
    struct survey_figures *figures = mailbox->figures;
    figures->mailboxes++;
    figures->messages += mailbox->messages;
    figures->bytes += mailbox->bytes;
    figures->histogram[BY_MESSAGES][bin_of_messages(mailbox->messages)]++;
    mailbox->user->bytes += mailbox->bytes;
    if (!mailbox->converted)
        figures->cache_bytes += estimate_cache_entry(mailbox->uidlist_length);
    survey_check(survey,
                 figures_add_folder(figures, mailbox->path, mailbox->messages, mailbox->bytes));
    atomic_fetch_add_explicit(&survey->mailboxes, 1, memory_order_relaxed);
}

static void mailbox_release(struct mailbox_survey *mailbox)
{
    dir_list_release(&mailbox->cur);
    dir_list_release(&mailbox->new);
    uiddb_release(&mailbox->uiddb);
    buf_release(&mailbox->uiddb_text);
}

/* As bridge/aside.c decides whose files count. */
static bool is_converted(const struct mailbox_survey *mailbox)
{
    BUF_AUTO mark = BUF_EMPTY;
    struct stat st;
    if (mailbox->has[PART_ASIDE] && store_join(&mark, mailbox->path, ASIDE_MARK) == 0 &&
        store_stat(mailbox->store, mark.data, &st) == 0)
        return true;
    return !mailbox->is_inbox && !mailbox->has[PART_UIDDB] && mailbox->user->converted;
}

void survey_mailbox(struct mailbox_survey *mailbox)
{
    mailbox->now = time(NULL);
    mailbox->converted = is_converted(mailbox);
    if (mailbox->is_inbox)
        mailbox->user->converted = mailbox->converted;
    list_messages(mailbox);
    mailbox->figures->messages_new += survey_part(mailbox, "new", &mailbox->new);
    (void)survey_part(mailbox, "cur", &mailbox->cur);
    compare_bases(mailbox);
    compare_numbers(mailbox);
    survey_files(mailbox);
    survey_keywords(mailbox);
    survey_dovecot(mailbox);
    survey_lock(mailbox);
    count_mailbox(mailbox);
    report_tallies(mailbox);
    mailbox_release(mailbox);
}
