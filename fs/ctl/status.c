#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "ctl/ctl.h"
#include "fuse/status.h"

int ctl_status(int argc, char **argv)
{
    if (argc != 2)
        return ctl_usage("status MOUNTPOINT");
    const char *mountpoint = argv[1];
    BUF_AUTO path = BUF_EMPTY;
    buf_printf(&path, "%s/%s", mountpoint, STATUS_NAME);
    if (buf_terminate(&path) != 0) {
        ctl_cannot("open", mountpoint, -ENOMEM);
        return 1;
    }
    AUTO_FD fd = open(path.data, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        ctl_cannot("open", path.data, -errno);
        return 1;
    }
    char text[4096];
    ssize_t got;
    while ((got = read(fd, text, sizeof(text))) > 0)
        fwrite(text, 1, (size_t)got, stdout);
    if (got < 0) {
        ctl_cannot("read", path.data, -errno);
        return 1;
    }
    return 0;
}
