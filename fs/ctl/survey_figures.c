#include "ctl/survey_figures.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DAY ((time_t)86400)
#define MEGABYTE UINT64_C(1000000)

static const char *const messages_labels[] = {"0",
                                              "1",
                                              "2-3",
                                              "4-7",
                                              "8-15",
                                              "16-31",
                                              "32-63",
                                              "64-127",
                                              "128-255",
                                              "256-511",
                                              "512-1023",
                                              "1024-2047",
                                              "2048-4095",
                                              "4096-8191",
                                              "8192-16383",
                                              "16384-32767",
                                              "32768-65535",
                                              "65536-131071",
                                              "131072-262143",
                                              "262144-524287",
                                              "524288-1048575",
                                              "1048576 or more",
                                              NULL};
/* The lower end of each. */
static const char *const messages_short_labels[] = {
    "0",  "1",  "2",  "4",   "8",   "16",  "32",   "64",   "128",  "256", "512", "1k",
    "2k", "4k", "8k", "16k", "33k", "66k", "131k", "262k", "524k", "1M",  NULL};
_Static_assert(sizeof(messages_labels) == sizeof(messages_short_labels), "one for each");
static const char *const user_bytes_labels[] = {"nothing",   "under 1 MB",     "1-10 MB",
                                                "10-100 MB", "100 MB to 1 GB", "1-10 GB",
                                                "10-100 GB", "over 100 GB",    NULL};
static const char *const age_labels[] = {
    "under a week", "under a month", "under 3 months", "under a year",  "1-2 years",
    "2-5 years",    "5-10 years",    "over 10 years",  "in the future", NULL};
static const char *const pop3_age_labels[] = {
    "under a day",  "under a week", "under a month", "under 3 months",
    "under a year", "1-3 years",    "over 3 years",  NULL};
static const char *const server_labels[] = {"IMAP and POP3", "IMAP only", "POP3 only",
                                            "neither yet", NULL};
static const char *const keywords_labels[] = {"none",  "1",          "2-5", "6-10",
                                              "11-26", "27 or more", NULL};
static const char *const encoding_labels[] = {"ASCII", "UTF-8", "modified UTF-7", "invalid", NULL};
static const char *const version_labels[] = {"/3 (Courier 5)",  "/2",       "/1",
                                             "without version", "unusable", NULL};

static const struct histogram_about histogram_abouts[HISTOGRAM_COUNT] = {
    [BY_MESSAGES] = {"mailboxes_by_messages", "Mailboxes by number of messages", messages_labels,
                     messages_short_labels},
    [BY_USER_BYTES] = {"users_by_bytes", "Users by size of their mail", user_bytes_labels, NULL},
    [BY_AGE] = {"messages_by_age", "Messages by age", age_labels, NULL},
    [BY_POP3_AGE] = {"pop3_users_by_age", "POP3 users by age of their list", pop3_age_labels, NULL},
    [BY_SERVER] = {"users_by_server", "Users by what they use", server_labels, NULL},
    [BY_KEYWORDS] = {"mailboxes_by_keywords", "Mailboxes by number of keywords", keywords_labels,
                     NULL},
    [BY_ENCODING] = {"folders_by_encoding", "Folder names by encoding", encoding_labels, NULL},
    [BY_POP3_VERSION] = {"pop3_lists_by_version", "POP3 lists by version", version_labels, NULL},
};

const struct histogram_about *histogram_about(enum survey_histogram histogram)
{
    return &histogram_abouts[histogram];
}

size_t histogram_bins(enum survey_histogram histogram)
{
    size_t bins = 0;
    while (histogram_abouts[histogram].labels[bins] != NULL)
        bins++;
    return bins;
}

size_t bin_of_messages(uint64_t messages)
{
    size_t last = sizeof(messages_labels) / sizeof(messages_labels[0]) - 2;
    size_t bin = messages == 0 ? 0 : 64 - (size_t)__builtin_clzll(messages);
    return bin < last ? bin : last;
}

size_t bin_of_user_bytes(uint64_t bytes)
{
    size_t last = sizeof(user_bytes_labels) / sizeof(user_bytes_labels[0]) - 2;
    size_t bin = bytes > 0;
    for (uint64_t limit = MEGABYTE; bin > 0 && bin < last && bytes >= limit; limit *= 10)
        bin++;
    return bin;
}

/* The first bin whose limit AGE is below; the limits' count if there is none. */
static size_t bin_below(time_t age, const time_t *limits, size_t count)
{
    size_t bin = 0;
    while (bin < count && age >= limits[bin])
        bin++;
    return bin;
}

size_t bin_of_age(time_t when, time_t now)
{
    static const time_t limits[] = {7 * DAY,   30 * DAY,   91 * DAY,  365 * DAY,
                                    730 * DAY, 1826 * DAY, 3652 * DAY};
    size_t count = sizeof(limits) / sizeof(limits[0]);
    return when > now + DAY ? count + 1 : bin_below(now - when, limits, count);
}

size_t bin_of_pop3_age(time_t when, time_t now)
{
    static const time_t limits[] = {DAY, 7 * DAY, 30 * DAY, 91 * DAY, 365 * DAY, 1096 * DAY};
    return bin_below(now - when, limits, sizeof(limits) / sizeof(limits[0]));
}

size_t bin_of_keywords(uint64_t keywords)
{
    static const time_t limits[] = {1, 2, 6, 11, 27};
    return bin_below(keywords > 27 ? 27 : (time_t)keywords, limits,
                     sizeof(limits) / sizeof(limits[0]));
}

size_t bin_of_servers(bool imap, bool pop3)
{
    if (imap)
        return pop3 ? 0 : 1;
    return pop3 ? 2 : 3;
}

int figures_init(struct survey_figures *figures, size_t top_limit)
{
    memset(figures, 0, sizeof(*figures));
    figures->top_limit = top_limit;
    figures->top = calloc(top_limit + 1, sizeof(*figures->top));
    return figures->top == NULL ? -ENOMEM : 0;
}

static bool is_larger(const struct largest_folder *a, const struct largest_folder *b)
{
    if (a->messages != b->messages)
        return a->messages > b->messages;
    return a->bytes != b->bytes ? a->bytes > b->bytes : strcmp(a->path, b->path) < 0;
}

int figures_add_folder(struct survey_figures *figures, const char *path, uint64_t messages,
                       uint64_t bytes)
{
    struct largest_folder folder = {path, messages, bytes};
    size_t at = figures->top_count;
    while (at > 0 && is_larger(&folder, &figures->top[at - 1]))
        at--;
    if (at == figures->top_limit || messages == 0)
        return 0;
    folder.path = strdup(path);
    if (folder.path == NULL)
        return -ENOMEM;
    /* There is room for one more than the limit. */
    memmove(&figures->top[at + 1], &figures->top[at],
            (figures->top_count - at) * sizeof(figures->top[0]));
    figures->top[at] = folder;
    figures->top_count++;
    if (figures->top_count > figures->top_limit)
        free((char *)figures->top[--figures->top_count].path);
    return 0;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

int figures_add(struct survey_figures *figures, const struct survey_figures *more)
{
#define ADD(name) figures->name += more->name;
    SURVEY_COUNTS(ADD)
#undef ADD
    for (size_t i = 0; i < HISTOGRAM_COUNT; i++) {
        for (size_t bin = 0; bin < HISTOGRAM_BINS; bin++)
            figures->histogram[i][bin] += more->histogram[i][bin];
    }
    for (size_t kind = 0; kind < FINDING_COUNT; kind++)
        figures->places[kind] += more->places[kind];
    figures->most_keywords = larger(figures->most_keywords, more->most_keywords);
    figures->clock_ahead = larger(figures->clock_ahead, more->clock_ahead);
    if (more->newest_change > figures->newest_change)
        figures->newest_change = more->newest_change;
    int result = 0;
    for (size_t i = 0; result == 0 && i < more->top_count; i++)
        result = figures_add_folder(figures, more->top[i].path, more->top[i].messages,
                                    more->top[i].bytes);
    return result;
}

void figures_release(struct survey_figures *figures)
{
    for (size_t i = 0; i < figures->top_count; i++)
        free((char *)figures->top[i].path);
    free(figures->top);
    memset(figures, 0, sizeof(*figures));
}
