#include "ctl/survey_report.h"

#include <inttypes.h>
#include "courier/folder_name.h"

void report_add_number(struct buf *out, uint64_t number)
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%" PRIu64, number);
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            buf_add_char(out, ',');
        buf_add_char(out, digits[i]);
    }
}

void report_add_bytes(struct buf *out, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB", "PB", "EB"};
    double amount = (double)bytes;
    size_t unit = 0;
    while (amount >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        amount /= 1000;
        unit++;
    }
    buf_printf(out, unit == 0 || amount >= 99.95 ? "%.0f %s" : "%.1f %s", amount, units[unit]);
}

void report_add_duration(struct buf *out, double seconds)
{
    uint64_t whole = (uint64_t)(seconds + 0.5);
    if (seconds < 9.95)
        buf_printf(out, "%.1f s", seconds);
    else if (whole < 60)
        buf_printf(out, "%" PRIu64 " s", whole);
    else if (whole < 3600)
        buf_printf(out, "%" PRIu64 " min %" PRIu64 " s", whole / 60, whole % 60);
    else if (whole < 86400)
        buf_printf(out, "%" PRIu64 " h %" PRIu64 " min", whole / 3600, whole / 60 % 60);
    else
        buf_printf(out, "%" PRIu64 " days %" PRIu64 " h", whole / 86400, whole / 3600 % 24);
}

void report_add_time(struct buf *out, time_t when)
{
    struct tm tm;
    char text[40];
    if (gmtime_r(&when, &tm) != NULL &&
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm) > 0)
        buf_add_string(out, text);
}

uint64_t report_sum(const struct survey_figures *figures, enum survey_histogram histogram)
{
    uint64_t sum = 0;
    for (size_t bin = 0; bin < HISTOGRAM_BINS; bin++)
        sum += figures->histogram[histogram][bin];
    return sum;
}

size_t report_count_kinds(const struct survey_report *report, bool blocks)
{
    size_t kinds = 0;
    for (int kind = 0; kind < FINDING_COUNT; kind++)
        kinds += report->findings->groups[kind].count > 0 &&
                 finding_about((enum finding_kind)kind)->blocks == blocks;
    return kinds;
}

bool survey_blocks(const struct survey_report *report)
{
    return !report->complete || report_count_kinds(report, true) > 0;
}

void report_add_method(const struct survey_report *report, struct buf *out)
{
    const struct survey_estimate *estimate = &report->estimate;
    buf_add_string(out, "To list and read what this survey listed and read took it ");
    report_add_duration(out, estimate->reading_seconds);
    buf_printf(out, " with %u jobs (measured). To write ", report->options->jobs);
    report_add_number(out, report->figures->files_to_write);
    buf_add_string(out, " files, to rename ");
    report_add_number(out, report->figures->names_to_change);
    buf_add_string(out, " messages that have keywords, and to lock each mailbox will take ");
    report_add_duration(out, estimate->writing_seconds);
    buf_printf(out,
               ", if a file takes %g ms until it is safe on the disk and a name a fifth of that "
               "(assumed; --write-time says otherwise).",
               report->options->write_ms);
}

const char *report_encoding_advice(const struct survey_report *report)
{
    const uint64_t *folders = report->figures->histogram[BY_ENCODING];
    if (report_sum(report->figures, BY_ENCODING) == 0)
        return NULL;
    if (folders[FOLDER_UTF7] == 0)
        return folders[FOLDER_UTF8] > 0
                   ? "Dovecot needs :UTF-8 in mail_location, as in the example configuration."
                   : "With :UTF-8 in mail_location or without, Dovecot shows the same names; new "
                     "ones "
                     "that Courier 5 makes need it.";
    if (folders[FOLDER_UTF8] > 0)
        return "Both encodings are there. With :UTF-8 in mail_location Dovecot opens all folders, "
               "and "
               "calls the old ones as Courier 5 does; without it, those in UTF-8 are listed but "
               "cannot "
               "be opened.";
    return "All are modified UTF-7, as a Courier before 5.0 makes them: leave :UTF-8 out of "
           "mail_location, unless Courier 5 serves them as they are.";
}
