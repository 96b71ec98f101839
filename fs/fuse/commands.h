/* What courierctl asks of the daemon, by ioctl on a directory of the mount. */
#pragma once

#include <stdint.h>
#include <sys/ioctl.h>

/* Sizes of messages: see sizes_prove. LIMIT is asked for, from 1 to COMMAND_MOST_MESSAGES; the rest is
 * the answer. Fails as sizes_prove does, and with EINVAL for another LIMIT. */
struct command_prove_sizes {
    uint32_t limit;
    uint32_t tried;
    uint32_t read;
    uint32_t left;
    uint64_t bytes;
};

#define COMMAND_MOST_MESSAGES 256U
#define COMMAND_PROVE_SIZES _IOWR('C', 1, struct command_prove_sizes)
