#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"

static const char help[] =
    "usage: courierctl COMMAND ...\n"
    "\n"
    "  status MOUNTPOINT   what the daemon there has done: counters, cache, locks,\n"
    "                      refused mailboxes (root only)\n"
    "  survey STORE        counts users, mailboxes, messages and bytes; reads only\n";

static const struct command {
    const char *name;
    int (*run)(const char *operand);
} commands[] = {
    {"status", ctl_status},
    {"survey", ctl_survey},
};

void ctl_cannot(const char *what, const char *path, int error)
{
    fprintf(stderr, "courierctl: cannot %s '%s': %s\n", what, path, strerror(-error));
}

/* What was printed is worth nothing if it did not arrive. */
static int finish(int status)
{
    if (fflush(stdout) == 0)
        return status;
    fprintf(stderr, "courierctl: cannot write to standard output\n");
    return 1;
}

int main(int argc, char **argv)
{
    if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
        fputs(help, stdout);
        return finish(0);
    }
    for (size_t i = 0; argc == 3 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return finish(commands[i].run(argv[2]));
    }
    fprintf(stderr, "courierctl: usage: courierctl status MOUNTPOINT | survey STORE\n");
    return 1;
}
