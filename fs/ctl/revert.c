#include <errno.h>
#include <string.h>

#include "bridge/convert.h"
#include "ctl/ctl.h"
#include "ctl/migration.h"

/* Folders that appear while an account is reverted are looked for so often. */
#define LISTINGS 5

static const char *reason(int error)
{
    switch (error) {
    case -EBUSY:
        return "somebody holds its lock";
    case -EUCLEAN:
        return "its dovecot-uidlist is missing or damaged";
    case -EINVAL:
        return "its dovecot-acl says what Courier has no words for";
    case -EAGAIN:
        return "it is changed all the time";
    default:
        return strerror(-error);
    }
}

struct account {
    struct migration *migration;
    const char *path;
};

/* For the INBOX, with its lock held: whether every folder is Courier's. */
static int check_folders(void *arg)
{
    struct account *account = arg;
    struct migration *migration = account->migration;
    PATH_LIST_AUTO folders = {.paths = NULL};
    int result = account_folders(&migration->store, account->path, &folders);
    for (size_t i = 0; result == 0 && i < folders.count; i++) {
        struct caller caller;
        struct place place;
        bool converted = false;
        result = migration_place(migration, folders.paths[i], &caller, &place);
        if (result == 0)
            result = mailbox_is_converted(migration->bridge, &caller, &place, &converted);
        if (result == -ENOENT || result == -ENOTDIR || result == -ESTALE)
            result = 0; /* deleted meanwhile */
        else if (result == 0 && converted)
            result = -EAGAIN;
    }
    return result;
}

static void note(struct migration *migration, const char *path, const struct reversal *done)
{
    if (done->already) {
        migration->unchanged++;
        return;
    }
    migration->mailboxes++;
    migration->messages += done->messages;
    migration_note(migration, path, "UIDVALIDITY %u, next UID %u, %zu messages, %zu with UIDLs",
                   done->uidvalidity, done->uidnext, done->messages, done->uidls);
    if (done->foreign_uidls > 0)
        migration_note(migration, path,
                       "%zu messages have UIDLs that Courier cannot show: POP3 clients fetch them "
                       "again",
                       done->foreign_uidls);
    if (done->lost_keywords > 0)
        migration_note(migration, path, "%zu keywords of messages found no letter and are lost",
                       done->lost_keywords);
}

/* 0; -EAGAIN: an INBOX got a new folder; other errors were told. */
static int revert(struct account *account, const char *path, bool is_inbox)
{
    struct migration *migration = account->migration;
    const struct conversion_options options = {
        .before_switch = is_inbox ? check_folders : NULL,
        .arg = account,
    };
    struct caller caller;
    struct place place;
    struct reversal done;
    int result = migration_place(migration, path, &caller, &place);
    if (result == 0)
        result = mailbox_revert(migration->bridge, &caller, &place, &options, &done);
    if (result == 0)
        note(migration, path, &done);
    else if (!is_inbox && (result == -ENOENT || result == -ENOTDIR || result == -ESTALE))
        result = 0; /* deleted meanwhile */
    else if (!(is_inbox && result == -EAGAIN))
        migration_fail(migration, path, "%s", reason(result));
    return result;
}

/* 0; 1: not all, which was told; -EINTR. */
static int revert_folders(struct account *account)
{
    struct migration *migration = account->migration;
    PATH_LIST_AUTO folders = {.paths = NULL};
    bool failed = false;
    int result = account_folders(&migration->store, account->path, &folders);
    if (result < 0)
        migration_fail(migration, account->path, "%s", strerror(-result));
    for (size_t i = 0; result == 0 && i < folders.count; i++) {
        if (!migration_pace(migration))
            result = -EINTR;
        else
            failed |= revert(account, folders.paths[i], false) < 0;
    }
    return result < 0 ? result : failed;
}

static void open_account(struct account *account)
{
    struct migration *migration = account->migration;
    struct caller caller;
    struct place place;
    int result = migration_place(migration, account->path, &caller, &place);
    if (result == 0)
        result = account_open_to_courier(migration->bridge, &caller, &place);
    if (result < 0)
        migration_fail(migration, account->path, "%s", strerror(-result));
}

static void revert_account(struct migration *migration, const char *path)
{
    struct account account = {.migration = migration, .path = path};
    int result = -EAGAIN;
    for (int i = 0; result == -EAGAIN && i < LISTINGS; i++) {
        result = revert_folders(&account);
        if (result == 0)
            result = migration_pace(migration) ? revert(&account, path, true) : -EINTR;
    }
    if (result == -EAGAIN)
        migration_fail(migration, path, "%s", reason(result));
    if (result == 0)
        open_account(&account);
}

int ctl_revert(int argc, char **argv)
{
    struct migration migration = {.verb = "revert",
                                  .done = "reverted",
                                  .same = "were so already",
                                  .faults = "failed",
                                  .work = revert_account};
    return migration_run(&migration, argc, argv, "");
}
