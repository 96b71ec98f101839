/* A user: a maildir, its folders, and what lies beside them. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "bridge/aside.h"
#include "courier/folder_name.h"
#include "ctl/survey_mailbox.h"
#include "store/file.h"

static const struct {
    const char *name;
    bool is_directory;
} parts[PART_COUNT] = {
    [PART_CUR] = {"cur", true},
    [PART_NEW] = {"new", true},
    [PART_TMP] = {"tmp", true},
    [PART_UIDDB] = {"courierimapuiddb", false},
    [PART_SIZELIST] = {"courierpop3dsizelist", false},
    [PART_KEYWORDS] = {"courierimapkeywords", true},
    [PART_SUBSCRIBED] = {"courierimapsubscribed", false},
    [PART_ACL] = {"courierimapacl", false},
    [PART_HIERARCHY_ACL] = {"courierimaphieracl", true},
    [PART_QUOTA] = {"maildirsize", false},
    [PART_SHARED_MAILDIRS] = {"shared-maildirs", false},
    [PART_SHARED_FOLDERS] = {"shared-folders", true},
    [PART_ASIDE] = {ASIDE_DIRECTORY, true},
    [PART_COURIERFS_KEYWORDS] = {"courierfs-keywords", false},
    [PART_COURIERFS_UIDLIST] = {"courierfs-uidlist", false},
    [PART_DOVECOT_UIDLIST] = {"dovecot-uidlist", false},
    [PART_DOVECOT_SUBSCRIPTIONS] = {"subscriptions", false},
    [PART_DOVECOT_OTHER] = {"dovecot", false}, /* only the beginning */
};

static enum mailbox_part part_of(struct span name)
{
    for (int part = 0; part < PART_DOVECOT_OTHER; part++) {
        if (span_equals(name, parts[part].name))
            return (enum mailbox_part)part;
    }
    return span_starts(name, parts[PART_DOVECOT_OTHER].name) ? PART_DOVECOT_OTHER : PART_COUNT;
}

bool survey_may_hold_users(struct span name)
{
    return !span_starts(name, ".") && part_of(name) == PART_COUNT;
}

/* What the listing of a mailbox's directory shows. */
static void find_parts(struct mailbox_survey *mailbox, const struct dir_list *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        enum mailbox_part part = part_of(dir_entry_name(entries, &entries->entries[i]));
        unsigned char type = entries->entries[i].type;
        if (part != PART_COUNT &&
            (!parts[part].is_directory || type == DT_DIR || type == DT_UNKNOWN))
            mailbox->has[part] = true;
    }
    mailbox->st = entries->dir;
}

/* Of many fields, most of them zero: not for the stack of a worker that is deep in a tree. */
static struct mailbox_survey *mailbox_new(struct survey_worker *worker, struct user_survey *user,
                                          const char *path, const struct dir_list *entries)
{
    struct mailbox_survey *mailbox = calloc(1, sizeof(*mailbox));
    if (mailbox == NULL) {
        survey_check(worker->survey, -ENOMEM);
        return NULL;
    }
    mailbox->worker = worker;
    mailbox->figures = &worker->figures;
    mailbox->store = &worker->survey->store;
    mailbox->user = user;
    mailbox->path = path;
    find_parts(mailbox, entries);
    return mailbox;
}

/* ---- folders --------------------------------------------------------------------------------- */

static void look_at_folder_name(struct survey_worker *worker, const char *path, struct span name)
{
    enum folder_encoding encoding = folder_encoding(span_make(name.text + 1, name.len - 1));
    worker->figures.histogram[BY_ENCODING][encoding]++;
    if (encoding == FOLDER_INVALID)
        survey_found(worker, FINDING_FOLDER_INVALID, path, span_of(""), "not UTF-8");
    else if (encoding == FOLDER_UTF7)
        survey_found(worker, FINDING_FOLDER_UTF7, path, span_of(""), "modified UTF-7");
}

/* 0 or -errno: the directory of the folder PATH. */
static int list_folder(struct survey_worker *worker, const char *path, struct dir_list *entries_r)
{
    int error = store_list(&worker->survey->store, path, entries_r);
    if (survey_become_owner(worker, path, error))
        error = store_list(&worker->survey->store, path, entries_r);
    return error;
}

static void survey_folder(struct survey_worker *worker, struct user_survey *user, const char *path,
                          struct span name)
{
    DIR_LIST_AUTO entries = DIR_LIST_EMPTY;
    int error = list_folder(worker, path, &entries);
    if (error < 0) {
        survey_cannot(worker, path, error);
        return;
    }
    AUTO_FREE struct mailbox_survey *mailbox = mailbox_new(worker, user, path, &entries);
    if (mailbox == NULL)
        return;
    if (!mailbox->has[PART_CUR] || !mailbox->has[PART_NEW]) {
        survey_found(worker, FINDING_FOLDER_BROKEN, path, span_of(""), "without cur or new");
        return;
    }
    look_at_folder_name(worker, path, name);
    mailbox_look_at_owner(mailbox, NULL, &entries.dir);
    survey_mailbox(mailbox);
}

/* NAME begins with a dot. */
static void survey_dot(struct survey_worker *worker, struct user_survey *user, const char *maildir,
                       struct span name, unsigned char type)
{
    BUF_AUTO path = BUF_EMPTY;
    if (survey_check(worker->survey, store_join(&path, maildir, name.text)) < 0)
        return;
    type = survey_type(worker, path.data, type);
    if (span_starts(name, "..")) {
        /* Courier does not list these. */
        if (span_equals(name, "..DOVECOT-TRASHED"))
            survey_found(worker, FINDING_DOVECOT_LEFT, path.data, span_of(""), "of a deletion");
    } else if (type == DT_LNK) {
        survey_look_at_link(worker, path.data);
    } else if (type == DT_DIR) {
        struct survey_identity before = worker->acting;
        survey_folder(worker, user, path.data, name);
        survey_act_as(worker, before);
    } else {
        survey_found(worker, FINDING_FOLDER_BROKEN, path.data, span_of(""), "not a directory");
    }
}

/* ---- the user -------------------------------------------------------------------------------- */

static void survey_inbox(struct survey_worker *worker, struct user_survey *user, const char *path,
                         const struct dir_list *entries)
{
    AUTO_FREE struct mailbox_survey *inbox = mailbox_new(worker, user, path, entries);
    if (inbox == NULL)
        return;
    inbox->is_inbox = true;
    if (entries->dir.st_uid == 0)
        mailbox_found(inbox, FINDING_OWNER_ROOT, NULL, 0, span_of(""), "belongs to root");
    survey_mailbox(inbox);
}

void survey_user(struct survey_worker *worker, const char *path, const struct dir_list *entries)
{
    struct user_survey user = {.st = entries->dir};
    atomic_fetch_add_explicit(&worker->survey->users, 1, memory_order_relaxed);
    survey_inbox(worker, &user, path, entries);
    for (size_t i = 0; i < entries->count && !atomic_load(&worker->survey->stopped); i++) {
        struct span name = dir_entry_name(entries, &entries->entries[i]);
        if (span_starts(name, "."))
            survey_dot(worker, &user, path, name, entries->entries[i].type);
    }
    worker->figures.users++;
    worker->figures.histogram[BY_USER_BYTES][bin_of_user_bytes(user.bytes)]++;
    worker->figures.histogram[BY_SERVER][bin_of_servers(user.imap, user.pop3)]++;
}
