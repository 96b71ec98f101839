/* Other processes of this host. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* When the process was started, in ticks since boot; 0 if it is not there. Tells a process from a later
 * one with the same number. */
uint64_t process_start(pid_t pid);
