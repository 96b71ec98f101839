/* The state directory: node-local, root's own, of one mount at a time. */
#pragma once

#include "base/buf.h"

/* Appends the default path for STORE, an absolute path; WHO (may be empty) tells several apart. */
void state_dir_add_name(struct buf *out, const char *store, const char *who);

/* Makes PATH if it is not there, checks that nobody else can write in it, and locks it; waits a few
 * seconds for another. The descriptor that holds the lock, or -1: one line was logged. */
int state_dir_take(const char *path);
