#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

void ctl_cannot(const char *what, const char *path, int error)
{
    fprintf(stderr, "courierctl: cannot %s '%s': %s\n", what, path, strerror(-error));
}

int ctl_usage(const char *synopsis)
{
    fprintf(stderr, "courierctl: usage: courierctl %s\n", synopsis);
    return 1;
}
