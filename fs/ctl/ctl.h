/* courierctl's commands. argv[0] is the command's own name, so that getopt_long works on the rest.
 * Each answers the exit status; when that is 1, it told why on standard error. */
#pragma once

/* "courierctl: cannot open 'path': reason" on standard error, the path made visible. ERROR is -errno. */
void ctl_cannot(const char *what, const char *path, int error);
/* "courierctl: usage: courierctl SYNOPSIS" on standard error; answers 1. */
int ctl_usage(const char *synopsis);

int ctl_status(int argc, char **argv);
int ctl_warm(int argc, char **argv);
int ctl_survey(int argc, char **argv);
int ctl_convert(int argc, char **argv);
int ctl_revert(int argc, char **argv);
int ctl_verify(int argc, char **argv);
int ctl_userdb(int argc, char **argv);
int ctl_import_mbox(int argc, char **argv);
