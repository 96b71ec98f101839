/* maildirsize: what a maildir may hold, and what it holds.
 *
 *     10000000S,1000C        the limit: S bytes, C messages; nothing = none
 *               123            1      a change: bytes and messages, either may be negative
 *
 * Courier adds a line for each change, and counts anew when the file is large, old or over the limit. */
#pragma once

#include <stdint.h>
#include "base/buf.h"
#include "base/complaint.h"

struct quota_file {
    bool limited;
    uint64_t limit_bytes;    /* 0 = none */
    uint64_t limit_messages; /* 0 = none */
    int64_t bytes;           /* the sums */
    int64_t messages;
};

/* Complains about a limit that is none and about lines without two numbers, and passes over these. */
void quota_file_parse(struct span text, const struct complaints *complaints,
                      struct quota_file *quota_r);
