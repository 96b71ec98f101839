/* Sizes of messages, read before Dovecot asks for them. It works through the mount, whose daemon has the
 * cache: here is only decided which mailboxes, and how fast. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/ctl.h"
#include "ctl/migration.h"
#include "fuse/commands.h"
#include "fuse/status.h"

/* With one request, so that it takes a moment only. */
#define MESSAGES 64
/* For a lock of Dovecot's to be let go: so often, so long each time. */
#define ATTEMPTS 100
static const struct timespec pause_for_lock = {.tv_nsec = 100000000};

static const char *reason(int error)
{
    switch (error) {
    case -EOPNOTSUPP:
        return "the mount has no cache that could keep what is read";
    case -EBUSY:
        return "somebody holds its lock all the time";
    default:
        return strerror(-error);
    }
}

/* Waits until so many messages might have been read. False: stop. */
static bool pace(struct migration *migration, unsigned count)
{
    bool go_on = migration_pace(migration); /* a mailbox without any counts as one */
    for (unsigned i = 1; i < count && go_on; i++)
        go_on = migration_pace(migration);
    return go_on;
}

/* 0, 1 if it was interrupted, or -errno. *read_r counts messages. */
static int warm(struct migration *migration, int fd, size_t *read_r)
{
    double rate = migration->options.rate;
    struct command_prove_sizes command = {.tried = 0};
    int attempts = 0;
    do {
        if (!pace(migration, command.tried))
            return 1;
        command.limit = rate > 0 && rate < MESSAGES ? (unsigned)rate + 1 : MESSAGES;
        int error = ioctl(fd, COMMAND_PROVE_SIZES, &command) < 0 ? -errno : 0;
        if (error == -EBUSY && attempts++ < ATTEMPTS) {
            clock_nanosleep(CLOCK_MONOTONIC, 0, &pause_for_lock, NULL);
            command.tried = 0;
            command.left = 1;
            continue;
        }
        if (error < 0)
            return error;
        *read_r += command.read;
    } while (command.left > 0);
    return 0;
}

static void warm_mailbox(struct migration *migration, const char *path)
{
    struct caller caller;
    struct place place;
    size_t read = 0;
    int result = migration_place(migration, path, &caller, &place);
    if (result == 0) {
        AUTO_FD fd = store_open(&migration->store, path, O_RDONLY | O_DIRECTORY, 0);
        result = fd < 0 ? fd : warm(migration, fd, &read);
    }
    migration->messages += read;
    if (result == 0 && read > 0) {
        migration->mailboxes++;
        migration_note(migration, path, "%zu messages", read);
    } else if (result == 0 || result == -ENOTDIR) {
        /* A converted one has a list of Dovecot's own. */
        migration->unchanged++;
    } else if (result < 0 && result != -ENOENT && result != -ESTALE) {
        migration_fail(migration, path, "%s", reason(result));
    }
}

static void warm_account(struct migration *migration, const char *path)
{
    PATH_LIST_AUTO folders = {.paths = NULL};
    int result = account_folders(&migration->store, path, &folders);
    if (result < 0)
        migration_fail(migration, path, "%s", strerror(-result));
    warm_mailbox(migration, path); /* first: it is the one that POP3 opens */
    for (size_t i = 0; i < folders.count; i++)
        warm_mailbox(migration, folders.paths[i]);
}

static int check_mount(struct migration *migration)
{
    struct stat st;
    if (store_stat(&migration->store, STATUS_NAME, &st) == 0)
        return 0;
    fprintf(stderr, "courierctl: cannot warm '%s': this is no mount of courierfs\n",
            migration->options.store);
    return -1;
}

int ctl_warm(int argc, char **argv)
{
    struct migration migration = {
        .verb = "warm",
        .done = "read",
        .same = "had nothing to read",
        .faults = "failed",
        .check = check_mount,
        .work = warm_account,
        .reads_only = true,
        .without_bridge = true,
    };
    return migration_run(&migration, argc, argv, "");
}
