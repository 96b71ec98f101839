/* courierctl's commands. Each answers the exit status; when that is 1, it told why. */
#pragma once

/* "courierctl: cannot open 'path': reason" on standard error. ERROR is -errno. */
void ctl_cannot(const char *what, const char *path, int error);

int ctl_status(const char *mountpoint);
int ctl_survey(const char *store);
