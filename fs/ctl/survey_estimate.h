/* What a store will cost, estimated from what a survey counted and how long that took. */
#pragma once

#include "ctl/survey.h"

/* Bytes of disk that the cache takes for a mailbox whose uidlist has LENGTH bytes, as measured; on the
 * average, for LMDB packs pages with what comes. */
uint64_t estimate_cache_entry(uint64_t uidlist_length);

struct survey_estimate {
    uint64_t cache_bytes;
    /* Rates of one worker, as measured; 0 = nothing was measured. */
    double listings_per_second; /* directories */
    double looks_per_second;    /* at messages */
    double files_per_second;    /* control files read */
    /* A conversion with as many jobs as the survey had. */
    double
        reading_seconds; /* listing and reading what the survey has listed and read, as measured */
    double writing_seconds; /* as assumed by the options */
};

void survey_estimate(const struct survey_figures *figures, const struct survey_options *options,
                     struct survey_estimate *estimate_r);
