#include <errno.h>
#include <string.h>

#include "bridge/convert.h"
#include "ctl/ctl.h"
#include "ctl/migration.h"

struct teller {
    struct migration *migration;
    const char *path;
};

static void tell(void *arg, const char *text)
{
    const struct teller *teller = arg;
    migration_differs(teller->migration, teller->path, text);
}

static void verify(struct migration *migration, const char *path)
{
    struct teller teller = {migration, path};
    struct caller caller;
    struct place place;
    struct verification found = {.converted = false};
    int result = migration_place(migration, path, &caller, &place);
    if (result == 0)
        result = mailbox_verify(migration->bridge, &caller, &place, migration->options.identity,
                                tell, &teller, &found);
    if (result < 0) {
        migration_fail(migration, path, "%s", strerror(-result));
        return;
    }
    migration->mailboxes++;
    migration->messages += found.messages;
    migration->unchanged += found.differences == 0;
}

static void verify_account(struct migration *migration, const char *path)
{
    PATH_LIST_AUTO mailboxes = {.paths = NULL};
    int result = account_folders(&migration->store, path, &mailboxes);
    if (result == 0)
        result = path_list_add(&mailboxes, path);
    if (result < 0)
        migration_fail(migration, path, "%s", strerror(-result));
    for (size_t i = 0; i < mailboxes.count && migration_pace(migration); i++)
        verify(migration, mailboxes.paths[i]);
}

int ctl_verify(int argc, char **argv)
{
    struct migration migration = {.verb = "verify",
                                  .done = "compared",
                                  .same = "agree",
                                  .faults = "differences",
                                  .work = verify_account,
                                  .reads_only = true};
    return migration_run(&migration, argc, argv, "i");
}
