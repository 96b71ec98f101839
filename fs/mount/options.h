/* The command line: courierfs [-f] STORE MOUNTPOINT [-o option,...] */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include "base/buf.h"

struct options {
    bool foreground;
    bool read_only;
    bool use_cache;
    bool control_layout; /* for Dovecot's CONTROL= */
    size_t cache_size;
    double attr_timeout;
    char *store;       /* absolute, without symbolic links */
    char *mountpoint;  /* likewise */
    char *state_dir;   /* absolute */
    struct buf kernel; /* words for the kernel, ",word,word", terminated */
    bool help;         /* only that was asked for */
};

#define OPTIONS_DEFAULT                                                                            \
    ((struct options){.use_cache = true, .cache_size = (size_t)1 << 30, .attr_timeout = 10})

/* Reads the command line and looks at the two directories; changes nothing outside OPTIONS. False
 * when anything is wrong: one line was logged. */
bool options_read(struct options *options, int argc, char **argv);
void options_release(struct options *options);
