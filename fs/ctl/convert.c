#include <errno.h>
#include <string.h>

#include "bridge/convert.h"
#include "ctl/ctl.h"
#include "ctl/migration.h"

/* Folders that appear while an account is converted are looked for so often. */
#define LISTINGS 5

static const char *reason(int error)
{
    switch (error) {
    case -EBUSY:
        return "somebody holds its lock";
    case -EEXIST:
        return "a dovecot-uidlist is there that names messages otherwise (--overwrite replaces it)";
    case -EAGAIN:
        return "it is changed all the time";
    default:
        return strerror(-error);
    }
}

struct account {
    struct migration *migration;
    const char *path;
    bool closed; /* to Courier */
    bool failed;
};

static void note(struct migration *migration, const char *path, const struct conversion *done)
{
    if (done->already) {
        migration->unchanged++;
        return;
    }
    migration->mailboxes++;
    migration->messages += done->messages;
    migration_note(
        migration, path,
        "UIDVALIDITY %u, next UID %u, %zu messages, %zu with keywords, %zu names changed, "
        "%zu with UIDLs of their own",
        done->uidvalidity, done->uidnext, done->messages, done->keywords, done->renamed,
        done->uidls);
    if (done->unsaid > 0)
        migration_note(
            migration, path,
            "%zu messages have keywords beyond the 26 that Dovecot can hold; these stay in "
            "courierfs-aside",
            done->unsaid);
}

static int close_account(struct account *account)
{
    struct migration *migration = account->migration;
    if (account->closed || migration->options.dry_run)
        return 0;
    struct caller caller;
    struct place place;
    int result = migration_place(migration, account->path, &caller, &place);
    if (result == 0)
        result = account_close_to_courier(migration->bridge, &caller, &place);
    account->closed = result == 0;
    return result;
}

/* For the INBOX, with its lock held: whether no folder is Courier's any more. */
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
        else if (result == 0 && !converted)
            result = -EAGAIN;
    }
    return result;
}

/* 0; -EAGAIN: an INBOX got a new folder; other errors were told. */
static int convert(struct account *account, const char *path, bool is_inbox)
{
    struct migration *migration = account->migration;
    const struct conversion_options options = {
        .overwrite = migration->options.overwrite,
        .dry_run = migration->options.dry_run,
        .before_switch = is_inbox ? check_folders : NULL,
        .arg = account,
    };
    struct caller caller;
    struct place place;
    struct conversion done;
    int result = close_account(account);
    if (result == 0)
        result = migration_place(migration, path, &caller, &place);
    if (result == 0)
        result = mailbox_convert(migration->bridge, &caller, &place, &options, &done);
    if (result == 0)
        note(migration, path, &done);
    else if (!is_inbox && (result == -ENOENT || result == -ENOTDIR || result == -ESTALE))
        result = 0; /* deleted meanwhile */
    else if (!(is_inbox && result == -EAGAIN))
        migration_fail(migration, path, "%s", reason(result));
    return result;
}

/* The folders that nothing hinders, children first: a folder without rights of its own has its parent's
 * until it is converted, so where a child fails its parents wait. 0; 1: not all; -EINTR. */
static int convert_folders(struct account *account)
{
    struct migration *migration = account->migration;
    PATH_LIST_AUTO folders = {.paths = NULL};
    PATH_LIST_AUTO failed = {.paths = NULL};
    int result = account_folders(&migration->store, account->path, &folders);
    if (result < 0)
        migration_fail(migration, account->path, "%s", strerror(-result));
    for (size_t i = 0; result == 0 && i < folders.count; i++) {
        const char *path = folders.paths[i];
        size_t len = strlen(path);
        bool waits = false;
        for (size_t j = 0; j < failed.count && !waits; j++)
            waits = strncmp(failed.paths[j], path, len) == 0 && failed.paths[j][len] == '.';
        if (!migration_pace(migration))
            result = -EINTR;
        else if (waits || convert(account, path, false) < 0)
            result = path_list_add(&failed, path);
    }
    return result < 0 ? result : failed.count > 0;
}

static void convert_account(struct migration *migration, const char *path)
{
    struct account account = {.migration = migration, .path = path};
    int result = -EAGAIN;
    for (int i = 0; result == -EAGAIN && i < LISTINGS; i++) {
        result = convert_folders(&account);
        if (result == 0)
            result = migration_pace(migration) ? convert(&account, path, true) : -EINTR;
    }
    if (result == -EAGAIN)
        migration_fail(migration, path, "%s", reason(result));
}

int ctl_convert(int argc, char **argv)
{
    struct migration migration = {.verb = "convert",
                                  .done = "converted",
                                  .same = "were so already",
                                  .faults = "failed",
                                  .work = convert_account};
    return migration_run(&migration, argc, argv, "no");
}
