#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "mount/background.h"
#include "mount/options.h"
#include "mount/session.h"

static const char help[] =
    "usage: courierfs [-f] STORE MOUNTPOINT [-o option,...]\n"
    "\n"
    "Shows the Courier maildirs in STORE at MOUNTPOINT, with Dovecot's control files.\n"
    "\n"
    "  -f                     stay in the foreground, log to standard error\n"
    "  -o state=DIR           node-local state (default: below /var/cache/courierfs)\n"
    "  -o ro                  never write to the store\n"
    "  -o nocache             work without the cache\n"
    "  -o cachesize=SIZE      limit of the cache, with K, M or G (default 1G)\n"
    "  -o attr_timeout=SEC    how long the kernel may keep attributes (default 10)\n"
    "\n"
    "Options of fstab and mount(8), such as noatime, nofail or _netdev, are accepted too.\n";

static int run(const struct options *options)
{
    if (!options->foreground) {
        int error = background_start();
        if (error != 0) {
            log_error("cannot start: %s", strerror(-error));
            return 1;
        }
    }
    /* The place it was started from can be unmounted. */
    if (chdir("/") < 0)
        log_warning("cannot change to '/'");
    return session_run(options);
}

int main(int argc, char **argv)
{
    struct options options = OPTIONS_DEFAULT;
    int status = 1;
    if (options_read(&options, argc, argv)) {
        if (options.help)
            status = fputs(help, stdout) < 0 ? 1 : 0;
        else
            status = run(&options);
    }
    options_release(&options);
    return status;
}
