/* The report as one page: it may be sent around, opened from a disk, printed.
 *
 * Nothing in it is fetched and nothing runs; its own policy forbids both, in case an escape were ever
 * missing. It is XML, too, so that a test can read it with any parser. */
#include <inttypes.h>
#include <stdio.h>
#include "courier/folder_name.h"
#include "ctl/survey_report.h"
#include "ctl/survey_style.h"
#include "ctl/survey_svg.h"
#include "ctl/visible.h"

#define EXAMPLES_SHOWN 25

static void add_text(struct buf *out, const char *text)
{
    visible_add_html(out, span_of(text));
}

static void add_head(const struct survey_report *report, struct buf *out)
{
    buf_add_string(out,
                   "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n"
                   "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                   "<meta http-equiv=\"Content-Security-Policy\" "
                   "content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n"
                   "<title>Survey of ");
    add_text(out, report->store);
    /* In a style sheet '&' and '<' are what they are for HTML, and not for XML: there are none. */
    buf_add_string(out, "</title>\n<style>" SURVEY_STYLE "</style></head>\n<body><main>\n"
                        "<header><p class=\"kicker\">Before the migration from Courier to "
                        "Dovecot</p><h1>");
    add_text(out, report->store);
    buf_add_string(out, "</h1><p class=\"soft\">Surveyed ");
    report_add_time(out, report->started);
    buf_add_string(out, " in ");
    report_add_duration(out, report->seconds);
    buf_printf(out, " with %u jobs, by courierctl survey. Nothing was changed.</p></header>\n",
               report->options->jobs);
}

/* ---- the verdict ----------------------------------------------------------------------------- */

static void add_kinds(struct buf *out, size_t kinds, const char *one, const char *several)
{
    buf_printf(out, "%zu %s", kinds, kinds == 1 ? one : several);
}

static void add_verdict(const struct survey_report *report, struct buf *out)
{
    size_t blocking = report_count_kinds(report, true);
    size_t notes = report_count_kinds(report, false);
    bool stop = survey_blocks(report);
    buf_printf(out,
               "<section class=\"verdict%s\"><svg class=\"mark\" viewBox=\"0 0 32 32\" "
               "aria-hidden=\"true\"><circle cx=\"16\" cy=\"16\" r=\"16\"/><path d=\"%s\"/></svg>"
               "<div><strong>",
               stop ? " stop" : "", stop ? "M16 8v10M16 24v.1" : "M9 16.5l5 5 9-10");
    if (blocking > 0)
        add_kinds(out, blocking, "kind of thing blocks a migration",
                  "kinds of things block a migration");
    else
        buf_add_string(out, report->complete ? "Nothing blocks a migration"
                                             : "The survey was stopped before its end");
    buf_add_string(out, "</strong><p>");
    if (!report->complete)
        buf_add_string(out, "All figures are of that part of the store that was seen. ");
    if (notes == 0)
        buf_add_string(out, "Nothing else was found that one should know.");
    else
        add_kinds(out, notes, "other kind of finding is worth knowing.",
                  "other kinds of findings are worth knowing.");
    buf_add_string(out, "</p></div></section>\n");
}

/* ---- tiles ----------------------------------------------------------------------------------- */

static void add_tile(struct buf *out, const struct buf *value, const char *label)
{
    buf_add_string(out, "<div class=\"tile\"><b>");
    visible_add_html(out, buf_span(value));
    buf_printf(out, "</b><span>%s</span></div>\n", label);
}

static void add_number_tile(struct buf *out, uint64_t number, const char *label)
{
    BUF_AUTO value = BUF_EMPTY;
    report_add_number(&value, number);
    add_tile(out, &value, label);
}

static void add_tiles(const struct survey_report *report, struct buf *out)
{
    const struct survey_figures *figures = report->figures;
    BUF_AUTO bytes = BUF_EMPTY;
    BUF_AUTO cache = BUF_EMPTY;
    BUF_AUTO time = BUF_EMPTY;
    report_add_bytes(&bytes, figures->bytes);
    report_add_bytes(&cache, report->estimate.cache_bytes);
    report_add_duration(&time, report->estimate.reading_seconds + report->estimate.writing_seconds);
    buf_add_string(out, "<section class=\"tiles\">\n");
    add_number_tile(out, figures->users, "users");
    add_number_tile(out, figures->mailboxes, "mailboxes");
    add_number_tile(out, figures->messages, "messages");
    add_tile(out, &bytes, "of mail");
    add_number_tile(out, figures->pop3_users, "users of POP3");
    add_number_tile(out, figures->mailboxes_with_keywords, "mailboxes with keywords");
    if (figures->converted > 0)
        add_number_tile(out, figures->converted, "mailboxes converted already");
    add_tile(out, &cache, "cache, estimated");
    add_tile(out, &time, "conversion, estimated");
    buf_add_string(out, "</section>\n");
}

/* ---- plots ----------------------------------------------------------------------------------- */

static void open_card(struct buf *out, const char *class_name, const char *title)
{
    buf_printf(out, "<section class=\"card%s\"><h3>%s</h3>\n", class_name, title);
}

static void close_card(struct buf *out, const char *caption)
{
    if (caption != NULL)
        buf_printf(out, "<p>%s</p>", caption);
    buf_add_string(out, "</section>\n");
}

/* From the bin FIRST on; a caption of ours, which needs no escape. */
static void add_bars(const struct survey_report *report, enum survey_histogram histogram,
                     size_t first, unsigned warn, unsigned bad, const char *caption,
                     struct buf *out)
{
    const struct histogram_about *about = histogram_about(histogram);
    struct svg_plot plot = {.title = about->title,
                            .labels = about->labels + first,
                            .values = report->figures->histogram[histogram] + first,
                            .count = histogram_bins(histogram) - first,
                            .total = report_sum(report->figures, histogram),
                            .warn = warn >> first,
                            .bad = bad >> first};
    open_card(out, "", about->title);
    svg_add_bars(out, &plot);
    close_card(out, caption);
}

static void add_sizes(const struct survey_report *report, struct buf *out)
{
    const uint64_t *values = report->figures->histogram[BY_MESSAGES];
    size_t count = histogram_bins(BY_MESSAGES);
    while (count > 8 && values[count - 1] == 0)
        count--;
    struct svg_plot plot = {.title = histogram_about(BY_MESSAGES)->title,
                            .labels = histogram_about(BY_MESSAGES)->short_labels,
                            .values = values,
                            .count = count,
                            .total = report->figures->mailboxes};
    open_card(out, " wide", "Mailboxes by number of messages");
    svg_add_columns(out, &plot);
    close_card(out, "How many mailboxes have as many messages as is written below, or more, up to "
                    "the next figure to the right. Each step is twice the one before.");
}

static void add_plots(const struct survey_report *report, struct buf *out)
{
    BUF_AUTO keywords = BUF_EMPTY;
    const struct survey_figures *figures = report->figures;
    report_add_number(&keywords, figures->histogram[BY_KEYWORDS][0]);
    buf_printf(&keywords,
               " more have none. %" PRIu64 " is the most; Dovecot can show 26 in a mailbox.",
               figures->most_keywords);
    buf_add_string(out, "<h2>The store</h2>\n<div class=\"grid\">\n");
    add_sizes(report, out);
    add_bars(report, BY_AGE, 0, 1U << 8, 0, NULL, out);
    add_bars(report, BY_USER_BYTES, 0, 0, 0, NULL, out);
    add_bars(report, BY_SERVER, 0, 0, 0,
             "Who has a uid database has used IMAP, who has a POP3 list has used POP3.", out);
    add_bars(report, BY_ENCODING, 0, 1U << FOLDER_UTF7, 1U << FOLDER_INVALID,
             report_encoding_advice(report), out);
    add_bars(
        report, BY_POP3_AGE, 0, 0, 0,
        "Courier writes the list anew when a client meets new or deleted mail: about when POP3 "
        "was last of use to somebody.",
        out);
    add_bars(report, BY_KEYWORDS, 1, 1U << 5, 0,
             buf_terminate(&keywords) == 0 ? keywords.data : NULL, out);
    buf_add_string(out, "</div>\n");
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void add_number_cell(struct buf *out, uint64_t number)
{
    buf_add_string(out, "<td class=\"n\">");
    report_add_number(out, number);
    buf_add_string(out, "</td>");
}

static void add_row(struct buf *out, const char *label, uint64_t number)
{
    buf_printf(out, "<tr><td>%s</td>", label);
    add_number_cell(out, number);
    buf_add_string(out, "</tr>\n");
}

/* Of what the row above counts. */
static void add_part(struct buf *out, const char *label, uint64_t number)
{
    buf_printf(out, "<tr><td class=\"part\">%s</td>", label);
    add_number_cell(out, number);
    buf_add_string(out, "</tr>\n");
}

/* Nobody needs to know of versions that are not there. */
static void add_version(const struct survey_report *report, size_t bin, struct buf *out)
{
    uint64_t lists = report->figures->histogram[BY_POP3_VERSION][bin];
    if (bin > 0 && lists == 0)
        return;
    add_part(out, histogram_about(BY_POP3_VERSION)->labels[bin], lists);
}

static void add_others(const struct survey_report *report, struct buf *out)
{
    const struct survey_figures *figures = report->figures;
    buf_add_string(out, "<h2>What else there is</h2>\n<div class=\"grid\">\n");
    open_card(out, "", "Sharing and limits");
    buf_add_string(out, "<table>");
    add_row(out, "Subscriptions", figures->subscriptions);
    add_row(out, "Lists of rights", figures->acl_files);
    add_part(out, "not Courier's default", figures->acl_not_default);
    add_part(out, "for others than the owner", figures->acl_for_others);
    add_row(out, "Lines in shared-maildirs", figures->shared_maildirs);
    add_row(out, "Old shared folders subscribed to", figures->shared_folders);
    add_row(out, "Quota files", figures->quota_files);
    add_part(out, "with a limit", figures->quota_limited);
    add_part(out, "over it", figures->quota_exceeded);
    buf_add_string(out, "</table></section>\n");
    open_card(out, "", "Files of the servers");
    buf_add_string(out, "<table>");
    add_row(out, "Courier's uid databases", figures->uid_databases);
    add_row(out, "Messages in them", figures->uid_lines);
    add_row(out, "POP3 lists", figures->pop3_users);
    for (size_t bin = 0; histogram_about(BY_POP3_VERSION)->labels[bin] != NULL; bin++)
        add_version(report, bin, out);
    add_row(out, "Messages in POP3 lists", figures->pop3_entries);
    add_row(out, "Messages with keywords", figures->messages_with_keywords);
    add_row(out, "Messages still in new", figures->messages_new);
    add_row(out, "Mailboxes with files of courierfs", figures->seen_by_courierfs);
    add_row(out, "Mailboxes with files of a Dovecot", figures->dovecot_mailboxes);
    add_part(out, "that agree with Courier's", figures->dovecot_agrees);
    add_part(out, "that do not", figures->dovecot_differs + figures->dovecot_only);
    buf_add_string(out, "</table></section>\n</div>\n");
}

static void add_largest(const struct survey_report *report, struct buf *out)
{
    const struct survey_figures *figures = report->figures;
    if (figures->top_count == 0)
        return;
    buf_add_string(out, "<h2>Largest folders</h2>\n<section class=\"card scroll\"><table>"
                        "<tr><th>Folder</th><th class=\"n\">Messages</th><th class=\"meter\"></th>"
                        "<th class=\"n\">Size</th></tr>\n");
    for (size_t i = 0; i < figures->top_count; i++) {
        const struct largest_folder *folder = &figures->top[i];
        buf_add_string(out, "<tr><td class=\"path\">");
        add_text(out, folder->path);
        buf_add_string(out, "</td><td class=\"n\">");
        report_add_number(out, folder->messages);
        buf_printf(out,
                   "</td><td class=\"meter\"><div style=\"width:%.1f%%\"></div></td>"
                   "<td class=\"n\">",
                   100 * (double)folder->messages / (double)figures->top[0].messages);
        report_add_bytes(out, folder->bytes);
        buf_add_string(out, "</td></tr>\n");
    }
    buf_add_string(out, "</table></section>\n");
}

/* ---- findings -------------------------------------------------------------------------------- */

static void add_overview_row(const struct survey_report *report, enum finding_kind kind,
                             struct buf *out)
{
    const struct finding_about *about = finding_about(kind);
    buf_printf(out, "<tr%s><td><span class=\"dot\"></span><a href=\"#%s\">",
               about->blocks ? " class=\"blocks\"" : "", about->id);
    add_text(out, about->title);
    buf_printf(out,
               "</a></td><td class=\"level\"><span class=\"tag\">%s</span></td><td class=\"n\">",
               about->blocks ? "blocks" : "worth knowing");
    report_add_number(out, report->findings->groups[kind].count);
    buf_add_string(out, "</td><td class=\"n\">");
    if (report->figures->places[kind] > 0)
        report_add_number(out, report->figures->places[kind]);
    buf_add_string(out, "</td></tr>\n");
}

static void add_overview(const struct survey_report *report, struct buf *out)
{
    buf_add_string(out, "<h2>Findings</h2>\n");
    if (report_count_kinds(report, true) + report_count_kinds(report, false) == 0) {
        buf_add_string(out, "<section class=\"card\">Nothing was found that an administrator "
                            "would have to know.</section>\n");
        return;
    }
    buf_add_string(out, "<section class=\"card scroll\"><table><tr><th>What</th>"
                        "<th class=\"level\"></th>"
                        "<th class=\"n\">Findings</th><th class=\"n\">Mailboxes</th></tr>\n");
    for (int kind = 0; kind < FINDING_COUNT; kind++) {
        if (report->findings->groups[kind].count > 0)
            add_overview_row(report, (enum finding_kind)kind, out);
    }
    buf_add_string(out, "</table></section>\n");
}

static void add_example(const struct finding *finding, struct buf *out)
{
    buf_add_string(out, "<tr><td class=\"path\">");
    add_text(out, finding->path);
    buf_add_string(out, "</td><td class=\"n\">");
    if (finding->line > 0)
        buf_printf(out, "%u", finding->line);
    buf_add_string(out, "</td><td>");
    add_text(out, finding->why);
    if (finding->count > 1) {
        buf_add_string(out, " <span class=\"soft\">(and ");
        report_add_number(out, finding->count - 1);
        buf_add_string(out, " more in this mailbox)</span>");
    }
    if (finding->text_len > 0) {
        buf_add_string(out, "<br/><span class=\"path\">");
        visible_add_html(out, span_make(finding->text, finding->text_len));
        buf_add_string(out, finding->cut ? "&#8230;</span>" : "</span>");
    }
    buf_add_string(out, "</td></tr>\n");
}

static void add_examples(const struct finding_group *group, bool open, struct buf *out)
{
    uint64_t shown = 0;
    buf_printf(out, "<details%s><summary>", open ? " open=\"open\"" : "");
    report_add_number(out, group->kept_count < EXAMPLES_SHOWN ? group->kept_count : EXAMPLES_SHOWN);
    buf_add_string(out, group->kept_count == 1 ? " place" : " places");
    buf_add_string(out, "</summary><div class=\"scroll\"><table><tr><th>Where</th>"
                        "<th class=\"n\">Line</th><th>What</th></tr>\n");
    for (size_t i = 0; i < group->kept_count && i < EXAMPLES_SHOWN; i++) {
        add_example(&group->kept[i], out);
        shown += group->kept[i].count;
    }
    buf_add_string(out, "</table></div>");
    if (shown < group->count) {
        buf_add_string(out, "<p>");
        report_add_number(out, group->count - shown);
        buf_add_string(out, " more are not shown; --list FILE writes down all.</p>");
    }
    buf_add_string(out, "</details>");
}

static void add_group(const struct survey_report *report, enum finding_kind kind, struct buf *out)
{
    const struct finding_group *group = &report->findings->groups[kind];
    const struct finding_about *about = finding_about(kind);
    buf_printf(out, "<section class=\"card finding%s\" id=\"%s\"><h3>",
               about->blocks ? " blocks" : "", about->id);
    add_text(out, about->title);
    buf_printf(out, "<span class=\"tag\">%s</span></h3><p class=\"advice\">",
               about->blocks ? "blocks" : "worth knowing");
    add_text(out, about->advice);
    buf_add_string(out, "</p>");
    if (group->kept_count > 0)
        add_examples(group, about->blocks, out);
    buf_add_string(out, "</section>\n");
}

static void add_groups(const struct survey_report *report, bool blocks, const char *title,
                       struct buf *out)
{
    if (report_count_kinds(report, blocks) == 0)
        return;
    buf_printf(out, "<h2>%s</h2>\n", title);
    for (int kind = 0; kind < FINDING_COUNT; kind++) {
        if (report->findings->groups[kind].count > 0 &&
            finding_about((enum finding_kind)kind)->blocks == blocks)
            add_group(report, (enum finding_kind)kind, out);
    }
}

/* ---- how ------------------------------------------------------------------------------------- */

static void add_settings(const struct survey_report *report, struct buf *out)
{
    if (report->options->config == NULL)
        return;
    buf_add_string(out, "<p>Courier's settings in <span class=\"path\">");
    add_text(out, report->options->config);
    buf_add_string(out, "</span>:");
    for (size_t i = 0; i < SURVEY_SETTINGS; i++) {
        const struct survey_setting *setting = &report->settings[i];
        buf_printf(out, "%s <span class=\"path\">%s=", i == 0 ? "" : ",", setting->name);
        add_text(out, setting->value != NULL ? setting->value : "(not set)");
        buf_add_string(out, "</span>");
    }
    buf_add_string(out, ".</p>");
}

static void add_method(const struct survey_report *report, struct buf *out)
{
    const struct survey_estimate *estimate = &report->estimate;
    BUF_AUTO method = BUF_EMPTY;
    report_add_method(report, &method);
    buf_add_string(out, "<h2>How it was estimated</h2>\n<section class=\"card\">"
                        "<p><b>Conversion.</b> ");
    visible_add_html(out, buf_span(&method));
    buf_printf(out,
               "</p><p><b>Measured.</b> A job listed %.0f directories, read %.0f control files, "
               "or looked at %.0f messages a second.</p><p><b>Cache.</b> ",
               estimate->listings_per_second, estimate->files_per_second,
               estimate->looks_per_second);
    report_add_bytes(out, estimate->cache_bytes);
    buf_add_string(out, " hold what Dovecot is shown of every mailbox; the option cachesize= sets "
                        "the limit. Less costs time, and nothing else.</p>");
    if (report->options->quick)
        buf_add_string(out, "<p><b>Quick.</b> Messages with a size in their name were not looked "
                            "at: sizes and ages are those of the names.</p>");
    add_settings(report, out);
    buf_add_string(out, "</section>\n");
}

void survey_write_html(const struct survey_report *report, struct buf *out)
{
    add_head(report, out);
    add_verdict(report, out);
    add_tiles(report, out);
    add_overview(report, out);
    add_plots(report, out);
    add_others(report, out);
    add_largest(report, out);
    add_groups(report, true, "What blocks a migration", out);
    add_groups(report, false, "Worth knowing", out);
    add_method(report, out);
    buf_add_string(out,
                   "<footer>Written by courierctl survey. Bytes of file names and files that "
                   "are no printable text are shown as \\xNN.</footer>\n</main></body></html>\n");
}
