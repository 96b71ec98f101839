/* The mount's life. */
#pragma once

#include "mount/options.h"

/* Mounts, serves until it is unmounted or told to end by a signal, and leaves nothing behind. The
 * program's exit status; when that is not 0, a line was logged. */
int session_run(const struct options *options);
