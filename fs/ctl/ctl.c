#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>
#include "ctl/visible.h"

void ctl_cannot(const char *what, const char *path, int error)
{
    BUF_AUTO shown = BUF_EMPTY;
    visible_add(&shown, span_of(path));
    fprintf(stderr, "courierctl: cannot %s '%.*s': %s\n", what, SPAN_FMT(buf_span(&shown)),
            strerror(-error));
}

int ctl_usage(const char *synopsis)
{
    fprintf(stderr, "courierctl: usage: courierctl %s\n", synopsis);
    return 1;
}
