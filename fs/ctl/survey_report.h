/* A survey's result, and those who write it down. */
#pragma once

#include "base/buf.h"
#include "ctl/survey_estimate.h"

/* A setting of Courier's, if its configuration was given. */
struct survey_setting {
    const char *name;
    const char *value; /* NULL = not set */
};

#define SURVEY_SETTINGS 3

struct survey_report {
    const char *store; /* absolute */
    const struct survey_options *options;
    const struct survey_figures *figures;
    const struct findings *findings;
    struct survey_estimate estimate;
    struct survey_setting settings[SURVEY_SETTINGS];
    time_t started;
    double seconds;
    bool complete; /* false: it was stopped */
};

/* Whether something found blocks a migration, or the survey is not complete. */
bool survey_blocks(const struct survey_report *report);

/* For a terminal; JSON; and one HTML page that needs nothing else. Each appends to OUT, whose buf_error()
 * tells of failure. Whatever a store's users put into names comes out harmless (visible.h). */
void survey_write_text(const struct survey_report *report, struct buf *out);
void survey_write_json(const struct survey_report *report, struct buf *out);
void survey_write_html(const struct survey_report *report, struct buf *out);

/* What they share: "12,345"; "1.2 GB"; "about 3 h 5 min"; a date and time of UTC. */
void report_add_number(struct buf *out, uint64_t number);
void report_add_bytes(struct buf *out, uint64_t bytes);
void report_add_duration(struct buf *out, double seconds);
void report_add_time(struct buf *out, time_t when);
uint64_t report_sum(const struct survey_figures *figures, enum survey_histogram histogram);
/* How many kinds of findings there are that block, or that do not. */
size_t report_count_kinds(const struct survey_report *report, bool blocks);
/* How the time of a conversion was estimated; two sentences. */
void report_add_method(const struct survey_report *report, struct buf *out);
/* What the encodings of the folder names mean for Dovecot's :UTF-8; NULL if there are no folders. */
const char *report_encoding_advice(const struct survey_report *report);
