/* What is written in tmp/courier.lock: "PID:HOSTNAME" without newline.
 *
 * Courier 5.0.13, seen: only a content that is exactly PID:HOSTNAME of this host lets it ask
 * whether the pid lives. Anything else (other host, empty, a newline at the end, pid 0) is judged
 * by age. */
#pragma once

#include <stdint.h>
#include "base/buf.h"

/* Seconds after which a lock of another host (or one that cannot be read) is stale. */
#define LOCKFILE_STALE_SECONDS 120

void lockfile_format(struct buf *out, long pid, const char *hostname);

/* The pid if the content is PID:HOSTNAME of exactly this host and PID is a number above 0; else 0.
 */
long lockfile_local_pid(struct span content, const char *hostname);
