#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"status", ctl_status,
     "status MOUNTPOINT   what the daemon there has done: counters, cache, locks,\n"
     "                      refused mailboxes (root only)\n"},
    {"warm", ctl_warm,
     "warm MOUNTPOINT [ACCOUNT...]\n"
     "                      reads the sizes that Dovecot's POP3 server would ask for\n"},
    {"survey", ctl_survey,
     "survey STORE        what a migration will meet, and what blocks it; reads only\n"},
    {"convert", ctl_convert,
     "convert STORE [ACCOUNT...]\n"
     "                      writes Dovecot's files for real and sets Courier's aside\n"},
    {"verify", ctl_verify,
     "verify STORE [ACCOUNT...]\n"
     "                      Dovecot's files against Courier's, after a conversion\n"},
    {"revert", ctl_revert,
     "revert STORE [ACCOUNT...]\n"
     "                      back to Courier's files, with what Dovecot did since\n"},
    {"userdb", ctl_userdb,
     "userdb FILE         Courier's userdb (a file or directory) as a Dovecot passwd-file\n"},
    {"import-mbox", ctl_import_mbox,
     "import-mbox MBOX MAILDIR\n"
     "                      an mbox of UW-IMAP as a maildir of Courier's, UIDs kept\n"},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

/* What was printed is worth nothing if it did not arrive. */
static int finish(int status)
{
    if (fflush(stdout) == 0)
        return status;
    fprintf(stderr, "courierctl: cannot write to standard output\n");
    return 1;
}

static int print_help(void)
{
    printf("usage: courierctl COMMAND ...\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("  %s", commands[i].help);
    return finish(0);
}

int main(int argc, char **argv)
{
    if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0))
        return print_help();
    for (size_t i = 0; argc >= 2 && i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return finish(commands[i].run(argc - 1, argv + 1));
    }
    return ctl_usage("COMMAND ... (courierctl --help lists them)");
}
