#include "ctl/survey_estimate.h"

#include "bridge/mailbox.h"

/* Of LMDB, for each entry: its key, its facts, its place in the order of use, and its share of pages that
 * are not full. */
#define ENTRY_OVERHEAD 170
/* Blobs are cut into pieces of half a page, and the last piece wastes what no other fits into. Measured
 * with blobs of one size and of random sizes from 300 bytes to 100 kB (tests/unit/test_survey.c). */
#define WASTED_OF_FIRST_PAGE 5 /* a fifth */
#define FIRST_PAGE 4096
#define WASTED_OF_ALL 30

/* A rename takes this part of what a file takes that is written, synced, renamed, and its directory
 * synced. */
#define RENAMES_PER_FILE 5

uint64_t estimate_cache_entry(uint64_t uidlist_length)
{
    uint64_t blob = view_remembered_size(uidlist_length);
    uint64_t first = blob < FIRST_PAGE ? blob : FIRST_PAGE;
    return ENTRY_OVERHEAD + blob + blob / WASTED_OF_ALL + first / WASTED_OF_FIRST_PAGE;
}

static double rate(uint64_t count, uint64_t ns)
{
    return ns == 0 ? 0 : (double)count * 1e9 / (double)ns;
}

void survey_estimate(const struct survey_figures *figures, const struct survey_options *options,
                     struct survey_estimate *estimate_r)
{
    double jobs = options->jobs;
    double durable = (double)figures->files_to_write;
    /* The lock of each mailbox is made, linked and removed. */
    double names =
        (double)figures->names_to_change + 2 * (double)(figures->mailboxes - figures->converted);
    *estimate_r = (struct survey_estimate){
        .cache_bytes = figures->cache_bytes,
        .listings_per_second = rate(figures->listings, figures->listing_ns),
        .looks_per_second = rate(figures->looks, figures->looking_ns),
        .files_per_second = rate(figures->files_read, figures->reading_ns),
        .reading_seconds = (double)(figures->listing_ns + figures->reading_ns) / 1e9 / jobs,
        .writing_seconds = (durable + names / RENAMES_PER_FILE) * options->write_ms / 1e3 / jobs,
    };
}
