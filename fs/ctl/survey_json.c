/* The JSON report. Strings are as in visible.h. */
#include <inttypes.h>
#include "ctl/survey_report.h"
#include "ctl/visible.h"

/* A comma before each element but the first. */
static void separate(struct buf *out, bool *first)
{
    buf_add_string(out, *first ? "\n" : ",\n");
    *first = false;
}

static void add_string_member(struct buf *out, const char *name, struct span value)
{
    buf_printf(out, "\"%s\": ", name);
    visible_add_json(out, value);
}

static void add_figures(const struct survey_figures *figures, struct buf *out)
{
    buf_add_string(out, "  \"figures\": {\n");
#define ADD(name) buf_printf(out, "    \"%s\": %" PRIu64 ",\n", #name, figures->name);
    SURVEY_COUNTS(ADD)
#undef ADD
    buf_printf(out, "    \"most_keywords\": %" PRIu64 ",\n", figures->most_keywords);
    buf_printf(out, "    \"clock_ahead_seconds\": %" PRIu64 ",\n", figures->clock_ahead);
    buf_printf(out, "    \"newest_change\": %" PRId64 "\n  },\n", (int64_t)figures->newest_change);
}

static void add_histogram(const struct survey_figures *figures, enum survey_histogram histogram,
                          struct buf *out)
{
    const struct histogram_about *about = histogram_about(histogram);
    bool first = true;
    buf_printf(out, "    \"%s\": {", about->id);
    for (size_t bin = 0; about->labels[bin] != NULL; bin++) {
        separate(out, &first);
        buf_printf(out, "      \"%s\": %" PRIu64, about->labels[bin],
                   figures->histogram[histogram][bin]);
    }
    buf_add_string(out, "\n    }");
}

static void add_histograms(const struct survey_figures *figures, struct buf *out)
{
    bool first = true;
    buf_add_string(out, "  \"histograms\": {");
    for (int histogram = 0; histogram < HISTOGRAM_COUNT; histogram++) {
        separate(out, &first);
        add_histogram(figures, (enum survey_histogram)histogram, out);
    }
    buf_add_string(out, "\n  },\n");
}

static void add_largest(const struct survey_figures *figures, struct buf *out)
{
    bool first = true;
    buf_add_string(out, "  \"largest_folders\": [");
    for (size_t i = 0; i < figures->top_count; i++) {
        const struct largest_folder *folder = &figures->top[i];
        separate(out, &first);
        buf_add_string(out, "    {");
        add_string_member(out, "path", span_of(folder->path));
        buf_printf(out, ", \"messages\": %" PRIu64 ", \"bytes\": %" PRIu64 "}", folder->messages,
                   folder->bytes);
    }
    buf_add_string(out, "\n  ],\n");
}

static void add_estimate(const struct survey_report *report, struct buf *out)
{
    const struct survey_estimate *estimate = &report->estimate;
    BUF_AUTO method = BUF_EMPTY;
    report_add_method(report, &method);
    buf_printf(out,
               "  \"estimate\": {\n"
               "    \"cache_bytes\": %" PRIu64 ",\n"
               "    \"conversion_seconds\": %.1f,\n"
               "    \"reading_seconds\": %.1f,\n"
               "    \"writing_seconds\": %.1f,\n"
               "    \"assumed_write_ms\": %g,\n"
               "    \"listings_per_second_and_job\": %.0f,\n"
               "    \"files_read_per_second_and_job\": %.0f,\n"
               "    \"messages_looked_at_per_second_and_job\": %.0f,\n    ",
               estimate->cache_bytes, estimate->reading_seconds + estimate->writing_seconds,
               estimate->reading_seconds, estimate->writing_seconds, report->options->write_ms,
               estimate->listings_per_second, estimate->files_per_second,
               estimate->looks_per_second);
    add_string_member(out, "method", buf_span(&method));
    buf_add_string(out, "\n  },\n");
}

static void add_settings(const struct survey_report *report, struct buf *out)
{
    if (report->options->config == NULL)
        return;
    buf_add_string(out, "  \"courier_config\": {");
    for (size_t i = 0; i < SURVEY_SETTINGS; i++) {
        const struct survey_setting *setting = &report->settings[i];
        buf_printf(out, i == 0 ? "\n    \"%s\": " : ",\n    \"%s\": ", setting->name);
        if (setting->value == NULL)
            buf_add_string(out, "null");
        else
            visible_add_json(out, span_of(setting->value));
    }
    buf_add_string(out, "\n  },\n");
}

static void add_example(const struct finding *finding, struct buf *out)
{
    buf_add_string(out, "        {");
    add_string_member(out, "path", span_of(finding->path));
    buf_printf(out, ", \"line\": %u, \"count\": %" PRIu64 ", ", finding->line, finding->count);
    add_string_member(out, "why", span_of(finding->why));
    buf_add_string(out, ", ");
    add_string_member(out, "text", span_make(finding->text, finding->text_len));
    buf_printf(out, ", \"text_is_cut\": %s}", finding->cut ? "true" : "false");
}

static void add_findings(const struct survey_report *report, struct buf *out)
{
    bool first = true;
    buf_add_string(out, "  \"findings\": [");
    for (int kind = 0; kind < FINDING_COUNT; kind++) {
        const struct finding_group *group = &report->findings->groups[kind];
        const struct finding_about *about = finding_about((enum finding_kind)kind);
        if (group->count == 0)
            continue;
        bool first_example = true;
        separate(out, &first);
        buf_printf(out,
                   "    {\"kind\": \"%s\", \"blocks\": %s, \"count\": %" PRIu64
                   ", \"places\": %" PRIu64 ",\n      ",
                   about->id, about->blocks ? "true" : "false", group->count,
                   report->figures->places[kind]);
        add_string_member(out, "title", span_of(about->title));
        buf_add_string(out, ",\n      ");
        add_string_member(out, "advice", span_of(about->advice));
        buf_add_string(out, ",\n      \"examples\": [");
        for (size_t i = 0; i < group->kept_count; i++) {
            separate(out, &first_example);
            add_example(&group->kept[i], out);
        }
        buf_add_string(out, "\n      ]}");
    }
    buf_add_string(out, "\n  ],\n");
}

void survey_write_json(const struct survey_report *report, struct buf *out)
{
    buf_add_string(out, "{\n  ");
    add_string_member(out, "store", span_of(report->store));
    buf_printf(out,
               ",\n  \"started\": %" PRId64 ",\n  \"seconds\": %.1f,\n  \"jobs\": %u,\n"
               "  \"complete\": %s,\n",
               (int64_t)report->started, report->seconds, report->options->jobs,
               report->complete ? "true" : "false");
    add_figures(report->figures, out);
    add_histograms(report->figures, out);
    add_largest(report->figures, out);
    add_estimate(report, out);
    add_settings(report, out);
    add_findings(report, out);
    buf_printf(out, "  \"blocks\": %s\n}\n", survey_blocks(report) ? "true" : "false");
}
