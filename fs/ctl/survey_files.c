/* Courier's control files in a mailbox. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/utf8.h"
#include "courier/acl.h"
#include "courier/lockfile.h"
#include "courier/quota.h"
#include "courier/sizelist.h"
#include "courier/subscribed.h"
#include "ctl/survey_mailbox.h"
#include "store/file.h"

static void count_bytes_of_number(uint64_t number, uint64_t *length)
{
    do
        ++*length;
    while ((number /= 10) > 0);
}

/* ---- the uid database ------------------------------------------------------------------------ */

/* "3 V1700000000 N12345 G0123456789abcdef0123456789abcdef" and its LF. */
#define UIDLIST_HEADER_LENGTH 56
/* Of a line with a UID that is still to be given out: "123 :" and LF. */
#define UIDLIST_LINE_LENGTH 6

static void look_at_uiddb(struct mailbox_survey *mailbox, const struct complaint_list *complaints)
{
    const struct uiddb *db = &mailbox->uiddb;
    mailbox_report(mailbox, FINDING_UIDDB_DAMAGED, "courierimapuiddb", complaints);
    if ((db->repairs & UIDDB_NEXT_TOO_LOW) != 0)
        mailbox_found(mailbox, FINDING_NEXT_UID, "courierimapuiddb", 1,
                      span_until(buf_span(&mailbox->uiddb_text), '\n', NULL),
                      "NEXTUID is not above every UID");
    for (size_t i = 0; i < db->ambiguous_count && i < COMPLAINTS_KEPT; i++) {
        char why[64];
        snprintf(why, sizeof(why), "UID %" PRIu32 " is another message's, too",
                 db->ambiguous[i].uid);
        mailbox_found(mailbox, FINDING_SAME_UID, "courierimapuiddb", 0, db->ambiguous[i].base, why);
    }
    mailbox->figures->uid_lines += db->count + db->ambiguous_count;
    mailbox->uiddb_usable = true;
    for (size_t i = 0; i < db->count; i++) {
        mailbox->uidlist_length += db->lines[i].base.len + 3;
        count_bytes_of_number(db->lines[i].uid, &mailbox->uidlist_length);
    }
}

static void survey_uiddb(struct mailbox_survey *mailbox)
{
    struct complaint_list complaints;
    struct stat st;
    mailbox->uidlist_length = UIDLIST_HEADER_LENGTH;
    if (mailbox->has[PART_UIDDB] &&
        mailbox_read_own(mailbox, "courierimapuiddb", &mailbox->uiddb_text, &st)) {
        mailbox_look_at_clock(mailbox, "courierimapuiddb", &st);
        complaint_list_init(&complaints);
        mailbox->figures->uid_databases++;
        mailbox->user->imap = mailbox->user->imap || mailbox->is_inbox;
        int error =
            uiddb_parse(buf_span(&mailbox->uiddb_text), &complaints.complaints, &mailbox->uiddb);
        if (error == -EUCLEAN)
            mailbox_report(mailbox, FINDING_UIDDB_REFUSED, "courierimapuiddb", &complaints);
        else if (survey_check(mailbox->worker->survey, error) == 0)
            look_at_uiddb(mailbox, &complaints);
    } else {
        mailbox->uidlist_length += mailbox->names_length + mailbox->messages * UIDLIST_LINE_LENGTH;
    }
    if (mailbox->converted)
        mailbox->user->imap = mailbox->user->imap || mailbox->is_inbox;
    else
        mailbox->figures->files_to_write++;
}

/* ---- POP3 ------------------------------------------------------------------------------------ */

/* The bin of BY_POP3_VERSION. */
static size_t bin_of_version(unsigned version)
{
    return version <= 3 ? 3 - version : 4;
}

static void look_at_sizelist(struct mailbox_survey *mailbox, const struct sizelist *list,
                             const struct complaint_list *complaints)
{
    mailbox->figures->pop3_entries += list->count;
    mailbox->figures->histogram[BY_POP3_VERSION][bin_of_version(list->version)]++;
    mailbox_report(mailbox, FINDING_SIZELIST_DAMAGED, "courierpop3dsizelist", complaints);
    if (list->version < 2 && list->count > 0) {
        char why[64];
        snprintf(why, sizeof(why), "version %u, %zu messages", list->version, list->count);
        mailbox_found(mailbox, FINDING_SIZELIST_OLD, "courierpop3dsizelist", 0, span_of(""), why);
    }
    for (size_t i = 0; i < list->count; i++) { /* " PUID12-1700000000" */
        mailbox->uidlist_length += 6;
        count_bytes_of_number(list->entries[i].n, &mailbox->uidlist_length);
        count_bytes_of_number(list->entries[i].uidv, &mailbox->uidlist_length);
    }
}

static void survey_sizelist(struct mailbox_survey *mailbox)
{
    BUF_AUTO text = BUF_EMPTY;
    struct complaint_list complaints;
    struct sizelist list;
    struct stat st;
    if (!mailbox->has[PART_SIZELIST] || !mailbox->is_inbox)
        return;
    mailbox->user->pop3 = true;
    mailbox->figures->pop3_users++;
    if (!mailbox_read_own(mailbox, "courierpop3dsizelist", &text, &st))
        return;
    mailbox_look_at_clock(mailbox, "courierpop3dsizelist", &st);
    mailbox->figures->histogram[BY_POP3_AGE][bin_of_pop3_age(st.st_mtim.tv_sec, mailbox->now)]++;
    complaint_list_init(&complaints);
    int error = sizelist_parse(buf_span(&text), &complaints.complaints, &list);
    if (error == -EUCLEAN) {
        mailbox->figures->histogram[BY_POP3_VERSION][4]++;
        mailbox_report(mailbox, FINDING_SIZELIST_REFUSED, "courierpop3dsizelist", &complaints);
    } else if (survey_check(mailbox->worker->survey, error) == 0) {
        look_at_sizelist(mailbox, &list, &complaints);
        sizelist_release(&list);
    }
}

/* ---- subscriptions --------------------------------------------------------------------------- */

static const char *subscription_trouble(struct span name)
{
    struct span dovecot_name;
    if (!utf8_is_valid(name))
        return "not UTF-8";
    if (memchr(name.text, '\0', name.len) != NULL || memchr(name.text, '\r', name.len) != NULL)
        return "has a control character in it";
    return subscribed_to_dovecot(name, &dovecot_name) ? NULL : "not INBOX nor below it";
}

static void survey_subscriptions(struct mailbox_survey *mailbox)
{
    BUF_AUTO text = BUF_EMPTY;
    if (!mailbox->has[PART_SUBSCRIBED] || !mailbox->is_inbox ||
        !mailbox_read_own(mailbox, "courierimapsubscribed", &text, NULL))
        return;
    struct complaint_list damaged, shared;
    struct span line, rest = buf_span(&text);
    bool complete;
    complaint_list_init(&damaged);
    complaint_list_init(&shared);
    for (unsigned number = 1; span_next_line(&rest, &line, &complete); number++) {
        struct span one = line, name;
        if (!subscribed_next(&one, &name))
            continue;
        bool is_shared = span_starts(name, "#shared.") || span_starts(name, "shared.");
        const char *trouble = subscription_trouble(name);
        mailbox->figures->subscriptions++;
        if (trouble != NULL)
            complain(is_shared ? &shared.complaints : &damaged.complaints, number, line, trouble);
    }
    mailbox_report(mailbox, FINDING_SUBSCRIPTIONS_DAMAGED, "courierimapsubscribed", &damaged);
    mailbox_report(mailbox, FINDING_SUBSCRIPTIONS_SHARED, "courierimapsubscribed", &shared);
    mailbox->figures->files_to_write += !mailbox->converted;
}

/* ---- rights ---------------------------------------------------------------------------------- */

/* Beyond these a list grants nobody anything through Dovecot (bridge/acl.c, bridge/acl_list.c). */
#define ACL_NAMES_LIMIT 1024
#define ACL_SIZE_LIMIT ((size_t)1 << 20)

static const char default_acl[] = "owner aceilrstwx\nadministrators aceilrstwx\n";

static const char *acl_line_trouble(struct span line)
{
    struct span rights, identifier = span_until(line, ' ', &rights);
    if (memchr(line.text, '\0', line.len) != NULL)
        return "has a NUL in it";
    if (!courier_acl_is_identifier(identifier))
        return "no name that Courier takes";
    if (identifier.len == line.len)
        return "no rights";
    return NULL;
}

static bool is_for_others(struct span identifier)
{
    if (span_starts(identifier, "-"))
        identifier = span_make(identifier.text + 1, identifier.len - 1);
    return !span_equals(identifier, "owner") && !span_equals(identifier, "administrators");
}

static void survey_acl(struct mailbox_survey *mailbox)
{
    BUF_AUTO text = BUF_EMPTY;
    if (!mailbox->has[PART_ACL] || !mailbox_read_own(mailbox, "courierimapacl", &text, NULL))
        return;
    struct complaint_list complaints;
    struct span identifier, line, rest = buf_span(&text);
    bool complete;
    size_t names = 0, others = 0;
    complaint_list_init(&complaints);
    for (unsigned number = 1; span_next_line(&rest, &line, &complete); number++) {
        const char *trouble = line.len == 0 ? NULL : acl_line_trouble(line);
        if (trouble != NULL)
            complain(&complaints.complaints, number, line, trouble);
    }
    rest = buf_span(&text);
    while (courier_acl_next(&rest, &identifier, &line)) {
        names++;
        others += is_for_others(identifier);
    }
    mailbox->figures->acl_files++;
    bool is_default = span_equals(buf_span(&text), default_acl);
    mailbox->figures->acl_not_default += !is_default;
    mailbox->figures->acl_for_others += others > 0;
    mailbox->figures->files_to_write += !is_default && !mailbox->converted;
    mailbox_report(mailbox, FINDING_ACL_DAMAGED, "courierimapacl", &complaints);
    if (names > ACL_NAMES_LIMIT || text.len > ACL_SIZE_LIMIT) {
        char why[64];
        snprintf(why, sizeof(why), "%zu names, %zu bytes", names, text.len);
        mailbox_found(mailbox, FINDING_ACL_LARGE, "courierimapacl", 0, span_of(""), why);
    }
}

/* ---- quota, shared folders ------------------------------------------------------------------- */

static bool exceeds(int64_t used, uint64_t limit)
{
    return limit > 0 && used > 0 && (uint64_t)used > limit;
}

static void survey_quota(struct mailbox_survey *mailbox)
{
    BUF_AUTO text = BUF_EMPTY;
    if (!mailbox->has[PART_QUOTA] || !mailbox->is_inbox ||
        !mailbox_read_own(mailbox, "maildirsize", &text, NULL))
        return;
    struct complaint_list complaints;
    struct quota_file quota;
    complaint_list_init(&complaints);
    quota_file_parse(buf_span(&text), &complaints.complaints, &quota);
    mailbox->figures->quota_files++;
    mailbox->figures->quota_limited += quota.limited;
    mailbox->figures->quota_exceeded +=
        exceeds(quota.bytes, quota.limit_bytes) || exceeds(quota.messages, quota.limit_messages);
    mailbox_report(mailbox, FINDING_QUOTA_DAMAGED, "maildirsize", &complaints);
}

/* shared-folders/NAME/FOLDER: what somebody subscribed to. */
static uint64_t count_shared_folders(struct mailbox_survey *mailbox)
{
    uint64_t folders = 0;
    DIR_LIST_AUTO owners = DIR_LIST_EMPTY;
    if (!mailbox_list(mailbox, "shared-folders", &owners))
        return 0;
    for (size_t i = 0; i < owners.count; i++) {
        BUF_AUTO name = BUF_EMPTY;
        DIR_LIST_AUTO list = DIR_LIST_EMPTY;
        buf_printf(&name, "shared-folders/%s", dir_entry_name(&owners, &owners.entries[i]).text);
        if (survey_check(mailbox->worker->survey, buf_terminate(&name)) < 0)
            break;
        if (owners.entries[i].type == DT_DIR && mailbox_list(mailbox, name.data, &list))
            folders += list.count;
    }
    return folders;
}

static void survey_shared(struct mailbox_survey *mailbox)
{
    BUF_AUTO text = BUF_EMPTY;
    struct span line, rest;
    bool complete;
    uint64_t lines = 0, folders = 0;
    if (!mailbox->is_inbox)
        return;
    if (mailbox->has[PART_SHARED_MAILDIRS] &&
        mailbox_read_own(mailbox, "shared-maildirs", &text, NULL)) {
        for (rest = buf_span(&text); span_next_line(&rest, &line, &complete);)
            lines += line.len > 0;
    }
    if (mailbox->has[PART_SHARED_FOLDERS])
        folders = count_shared_folders(mailbox);
    mailbox->figures->shared_maildirs += lines;
    mailbox->figures->shared_folders += folders;
    if (lines + folders > 0) {
        char why[80];
        snprintf(why, sizeof(why), "%" PRIu64 " lines, %" PRIu64 " folders subscribed to", lines,
                 folders);
        mailbox_found(mailbox, FINDING_SHARED_OLD, lines > 0 ? "shared-maildirs" : "shared-folders",
                      0, span_of(""), why);
    }
}

static void survey_hierarchy(struct mailbox_survey *mailbox)
{
    DIR_LIST_AUTO list = DIR_LIST_EMPTY;
    if (mailbox->is_inbox && mailbox->has[PART_HIERARCHY_ACL] &&
        mailbox_list(mailbox, "courierimaphieracl", &list))
        mailbox->figures->acl_of_missing_folders += list.count;
}

/* ---- the lock -------------------------------------------------------------------------------- */

/* A lock is held for less than that while servers are at work. */
#define LOCK_LONG_SECONDS 60

static void judge_lock(struct mailbox_survey *mailbox, struct span content, int64_t age)
{
    char why[96];
    long pid = lockfile_local_pid(content, mailbox->store->hostname);
    enum finding_kind kind = FINDING_COUNT;
    if (pid > 0) {
        if (kill((pid_t)pid, 0) != 0 && errno == ESRCH)
            kind = FINDING_LOCK_STALE;
        else if (age > LOCK_LONG_SECONDS)
            kind = FINDING_LOCK_HELD;
    } else if (age > LOCKFILE_STALE_SECONDS) {
        kind = FINDING_LOCK_STALE;
    } else if (age < -LOCK_LONG_SECONDS) {
        kind = FINDING_LOCK_FUTURE;
    }
    if (kind == FINDING_COUNT) {
        mailbox->figures->locks_in_use++;
        return;
    }
    snprintf(why, sizeof(why),
             age < 0 ? "%" PRId64 " seconds in the future" : "%" PRId64 " seconds old",
             age < 0 ? -age : age);
    mailbox_found(mailbox, kind, "tmp/courier.lock", 0, content, why);
}

void survey_lock(struct mailbox_survey *mailbox)
{
    BUF_AUTO content = BUF_EMPTY;
    struct stat st;
    if (!mailbox->has[PART_TMP])
        mailbox_found(mailbox, FINDING_FOLDER_BROKEN, NULL, 0, span_of(""), "without tmp");
    else if (mailbox_read(mailbox, "tmp/courier.lock", &content, &st))
        judge_lock(mailbox, buf_span(&content), (int64_t)(time(NULL) - st.st_mtim.tv_sec));
}

void survey_files(struct mailbox_survey *mailbox)
{
    survey_uiddb(mailbox);
    survey_sizelist(mailbox);
    survey_subscriptions(mailbox);
    survey_acl(mailbox);
    survey_hierarchy(mailbox);
    survey_quota(mailbox);
    survey_shared(mailbox);
    mailbox->figures->converted += mailbox->converted;
    mailbox->figures->seen_by_courierfs +=
        mailbox->has[PART_COURIERFS_KEYWORDS] || mailbox->has[PART_COURIERFS_UIDLIST];
}
