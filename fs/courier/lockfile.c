#include "courier/lockfile.h"

#include <limits.h>

void lockfile_format(struct buf *out, long pid, const char *hostname)
{
    buf_printf(out, "%ld:%s", pid, hostname);
}

long lockfile_local_pid(struct span content, const char *hostname)
{
    struct span host;
    struct span digits = span_until(content, ':', &host);
    uint64_t pid;
    if (digits.len == content.len || !span_to_u64(digits, &pid) || pid > INT_MAX)
        return 0;
    return span_equals(host, hostname) ? (long)pid : 0;
}
