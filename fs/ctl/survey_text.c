/* The report for a terminal. */
#include <inttypes.h>
#include <string.h>
#include "ctl/survey_report.h"
#include "ctl/visible.h"

#define EXAMPLES_SHOWN 10
#define WIDTH 79

static void add_title(struct buf *out, const char *title)
{
    buf_printf(out, "\n%s\n", title);
}

/* "  label      12,345  remark" */
static void add_row(struct buf *out, const char *label, uint64_t number, const char *remark)
{
    BUF_AUTO digits = BUF_EMPTY;
    report_add_number(&digits, number);
    buf_printf(out, "  %-34s %15.*s", label, (int)digits.len, digits.data);
    if (remark != NULL)
        buf_printf(out, "  %s", remark);
    buf_add_char(out, '\n');
}

static void add_row_unless_zero(struct buf *out, const char *label, uint64_t number,
                                const char *remark)
{
    if (number > 0)
        add_row(out, label, number, remark);
}

/* TEXT in lines that are not too long; plain ASCII of ours. */
static void add_wrapped(struct buf *out, const char *indent, const char *text)
{
    size_t room = WIDTH - strlen(indent);
    while (*text != '\0') {
        size_t len = strlen(text);
        if (len > room) {
            len = room;
            while (len > 0 && text[len] != ' ')
                len--;
            if (len == 0)
                len = room;
        }
        buf_printf(out, "%s%.*s\n", indent, (int)len, text);
        text += len;
        while (*text == ' ')
            text++;
    }
}

static void add_histogram(const struct survey_report *report, enum survey_histogram histogram,
                          struct buf *out)
{
    const struct histogram_about *about = histogram_about(histogram);
    const uint64_t *values = report->figures->histogram[histogram];
    if (report_sum(report->figures, histogram) == 0)
        return;
    add_title(out, about->title);
    for (size_t bin = 0; about->labels[bin] != NULL; bin++)
        add_row_unless_zero(out, about->labels[bin], values[bin], NULL);
}

static void add_head(const struct survey_report *report, struct buf *out)
{
    buf_add_string(out, "Survey of ");
    visible_add(out, span_of(report->store));
    buf_add_char(out, '\n');
    report_add_time(out, report->started);
    buf_add_string(out, ", ");
    report_add_duration(out, report->seconds);
    buf_printf(out, ", %u jobs\n", report->options->jobs);
    if (!report->complete)
        buf_add_string(out, "STOPPED before the end: the figures are of a part of the store\n");
}

static void add_store(const struct survey_report *report, struct buf *out)
{
    const struct survey_figures *figures = report->figures;
    BUF_AUTO bytes = BUF_EMPTY;
    report_add_bytes(&bytes, figures->bytes);
    add_title(out, "Store");
    add_row(out, "users", figures->users, NULL);
    add_row(out, "mailboxes", figures->mailboxes, NULL);
    add_row(out, "messages", figures->messages, NULL);
    add_row_unless_zero(out, "  of these still in new/", figures->messages_new, NULL);
    add_row_unless_zero(out, "  of these not looked at", figures->messages_not_looked_at,
                        "(--quick)");
    add_row(out, "bytes", figures->bytes, buf_terminate(&bytes) == 0 ? bytes.data : NULL);
    add_row(out, "uid databases", figures->uid_databases, NULL);
    add_row(out, "POP3 lists", figures->pop3_users, NULL);
    add_row(out, "mailboxes with keywords", figures->mailboxes_with_keywords, NULL);
    add_row(out, "messages with keywords", figures->messages_with_keywords, NULL);
    add_row_unless_zero(out, "most keywords in a mailbox", figures->most_keywords, NULL);
    add_row(out, "subscriptions", figures->subscriptions, NULL);
    add_row(out, "lists of rights", figures->acl_files, NULL);
    add_row_unless_zero(out, "  not Courier's default", figures->acl_not_default, NULL);
    add_row_unless_zero(out, "  that name others than the owner", figures->acl_for_others, NULL);
    add_row_unless_zero(out, "  of folders that do not exist", figures->acl_of_missing_folders,
                        NULL);
    add_row_unless_zero(out, "lines in shared-maildirs", figures->shared_maildirs, NULL);
    add_row_unless_zero(out, "old shared folders subscribed to", figures->shared_folders, NULL);
    add_row(out, "quota files", figures->quota_files, NULL);
    add_row_unless_zero(out, "  with a limit", figures->quota_limited, NULL);
    add_row_unless_zero(out, "  over it", figures->quota_exceeded, NULL);
    add_row_unless_zero(out, "locks in use", figures->locks_in_use, NULL);
    add_row_unless_zero(out, "mailboxes converted already", figures->converted, NULL);
    add_row_unless_zero(out, "mailboxes with files of courierfs", figures->seen_by_courierfs, NULL);
    add_row_unless_zero(out, "mailboxes with files of Dovecot", figures->dovecot_mailboxes, NULL);
    add_row_unless_zero(out, "  that agree with Courier's", figures->dovecot_agrees, NULL);
    add_row_unless_zero(out, "  that do not", figures->dovecot_differs, NULL);
    add_row_unless_zero(out, "  without any of Courier's", figures->dovecot_only, NULL);
}

static void add_encoding(const struct survey_report *report, struct buf *out)
{
    const char *advice = report_encoding_advice(report);
    if (advice != NULL)
        add_wrapped(out, "  ", advice);
}

static void add_largest(const struct survey_report *report, struct buf *out)
{
    if (report->figures->top_count == 0)
        return;
    add_title(out, "Largest folders");
    for (size_t i = 0; i < report->figures->top_count; i++) {
        const struct largest_folder *folder = &report->figures->top[i];
        BUF_AUTO messages = BUF_EMPTY;
        BUF_AUTO bytes = BUF_EMPTY;
        report_add_number(&messages, folder->messages);
        report_add_bytes(&bytes, folder->bytes);
        buf_printf(out, "  %12.*s %10.*s  ", (int)messages.len, messages.data, (int)bytes.len,
                   bytes.data);
        visible_add(out, span_of(folder->path));
        buf_add_char(out, '\n');
    }
}

static void add_estimate(const struct survey_report *report, struct buf *out)
{
    const struct survey_estimate *estimate = &report->estimate;
    BUF_AUTO method = BUF_EMPTY;
    report_add_method(report, &method);
    add_title(out, "Estimates");
    buf_add_string(out, "  cache      ");
    report_add_bytes(out, estimate->cache_bytes);
    buf_add_string(out, " if all mailboxes are in it (cachesize=)\n  conversion ");
    report_add_duration(out, estimate->reading_seconds + estimate->writing_seconds);
    buf_add_char(out, '\n');
    if (buf_terminate(&method) == 0)
        add_wrapped(out, "  ", method.data);
    buf_printf(out, "  measured   %.0f directories, %.0f control files, %.0f messages looked at\n",
               estimate->listings_per_second, estimate->files_per_second,
               estimate->looks_per_second);
    buf_add_string(out, "             a second and job\n");
}

static void add_settings(const struct survey_report *report, struct buf *out)
{
    if (report->options->config == NULL)
        return;
    buf_add_string(out, "\nCourier's settings in ");
    visible_add(out, span_of(report->options->config));
    buf_add_char(out, '\n');
    for (size_t i = 0; i < SURVEY_SETTINGS; i++) {
        const struct survey_setting *setting = &report->settings[i];
        buf_printf(out, "  %s ", setting->name);
        visible_add(out, span_of(setting->value != NULL ? setting->value : "(not set)"));
        buf_add_char(out, '\n');
    }
}

static void add_example(const struct finding *finding, struct buf *out)
{
    buf_add_string(out, "      ");
    visible_add(out, span_of(finding->path));
    if (finding->line > 0)
        buf_printf(out, " line %u", finding->line);
    buf_add_string(out, ": ");
    visible_add(out, span_of(finding->why));
    if (finding->text_len > 0) {
        buf_add_string(out, ": '");
        visible_add(out, span_make(finding->text, finding->text_len));
        buf_add_string(out, finding->cut ? "...'" : "'");
    }
    if (finding->count > 1) {
        buf_add_string(out, " (and ");
        report_add_number(out, finding->count - 1);
        buf_add_string(out, " more in this mailbox)");
    }
    buf_add_char(out, '\n');
}

static void add_group(const struct survey_report *report, enum finding_kind kind, struct buf *out)
{
    const struct finding_group *group = &report->findings->groups[kind];
    const struct finding_about *about = finding_about(kind);
    uint64_t shown = 0;
    buf_printf(out, "\n  %s: ", about->title);
    report_add_number(out, group->count);
    if (report->figures->places[kind] > 0 && report->figures->places[kind] < group->count) {
        buf_add_string(out, ", in ");
        report_add_number(out, report->figures->places[kind]);
        buf_add_string(out, report->figures->places[kind] == 1 ? " mailbox" : " mailboxes");
    }
    buf_printf(out, "  [%s]\n", about->id);
    add_wrapped(out, "    ", about->advice);
    for (size_t i = 0; i < group->kept_count && i < EXAMPLES_SHOWN; i++) {
        add_example(&group->kept[i], out);
        shown += group->kept[i].count;
    }
    if (shown < group->count) {
        buf_add_string(out, "      ... and ");
        report_add_number(out, group->count - shown);
        buf_add_string(out, " more (--list FILE writes down all)\n");
    }
}

static void add_groups(const struct survey_report *report, bool blocks, const char *title,
                       struct buf *out)
{
    if (report_count_kinds(report, blocks) == 0)
        return;
    add_title(out, title);
    for (int kind = 0; kind < FINDING_COUNT; kind++) {
        if (report->findings->groups[kind].count > 0 &&
            finding_about((enum finding_kind)kind)->blocks == blocks)
            add_group(report, (enum finding_kind)kind, out);
    }
}

static void add_verdict(const struct survey_report *report, struct buf *out)
{
    size_t kinds = report_count_kinds(report, true);
    buf_add_char(out, '\n');
    if (!report->complete)
        buf_add_string(out, "The survey was stopped: what it did not see may block a migration.\n");
    if (kinds > 0)
        buf_printf(out, "%zu kind%s of things block%s a migration.\n", kinds, kinds == 1 ? "" : "s",
                   kinds == 1 ? "s" : "");
    else if (report->complete)
        buf_add_string(out, "Nothing blocks a migration.\n");
}

void survey_write_text(const struct survey_report *report, struct buf *out)
{
    add_head(report, out);
    add_store(report, out);
    for (int histogram = 0; histogram < HISTOGRAM_COUNT; histogram++) {
        add_histogram(report, (enum survey_histogram)histogram, out);
        if (histogram == BY_ENCODING)
            add_encoding(report, out);
    }
    add_largest(report, out);
    add_estimate(report, out);
    add_settings(report, out);
    add_groups(report, false, "WORTH KNOWING", out);
    add_groups(report, true, "WHAT BLOCKS A MIGRATION", out);
    add_verdict(report, out);
}
