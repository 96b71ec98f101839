#include "ctl/survey_svg.h"

#include <inttypes.h>
#include "ctl/survey_report.h"
#include "ctl/visible.h"

static uint64_t largest(const struct svg_plot *plot)
{
    uint64_t value = 1;
    for (size_t i = 0; i < plot->count; i++)
        value = plot->values[i] > value ? plot->values[i] : value;
    return value;
}

/* Something is seen of everything that is not 0. */
static double length_of(uint64_t value, uint64_t most, double room)
{
    double length = room * (double)value / (double)most;
    return value > 0 && length < 2 ? 2 : length;
}

static const char *class_of(const struct svg_plot *plot, size_t i)
{
    if ((plot->bad >> i & 1) != 0)
        return "bar bad";
    return (plot->warn >> i & 1) != 0 ? "bar warn" : "bar";
}

static void open_svg(struct buf *out, const struct svg_plot *plot, unsigned width, unsigned height)
{
    buf_printf(out, "<svg viewBox=\"0 0 %u %u\" role=\"img\" aria-label=\"", width, height);
    visible_add_html(out, span_of(plot->title));
    buf_add_string(out, "\">\n");
}

/* What a pointer that rests there is told. */
static void add_tip(struct buf *out, const struct svg_plot *plot, size_t i)
{
    buf_add_string(out, "<title>");
    visible_add_html(out, span_of(plot->labels[i]));
    buf_add_string(out, ": ");
    report_add_number(out, plot->values[i]);
    buf_add_string(out, "</title>");
}

static void add_share(struct buf *out, uint64_t value, uint64_t total)
{
    double percent = total == 0 ? 0 : 100 * (double)value / (double)total;
    if (value > 0 && percent < 0.1)
        buf_add_string(out, "&lt; 0.1 %");
    else
        buf_printf(out, percent > 0 && percent < 9.95 ? "%.1f %%" : "%.0f %%", percent);
}

/* ---- bars ------------------------------------------------------------------------------------ */

#define BARS_WIDTH 460
#define ROW 26
#define LABEL_END 128
#define BAR_START 138
#define BAR_ROOM 170.0
#define VALUE_END 404
#define SHARE_END 458

static void add_bar_text(struct buf *out, const char *class_name, int x, unsigned top)
{
    buf_printf(out, "<text class=\"%s\" x=\"%d\" y=\"%u\">", class_name, x, top + 17);
}

static void add_bar(struct buf *out, const struct svg_plot *plot, size_t i, uint64_t most)
{
    unsigned top = (unsigned)i * ROW;
    double length = length_of(plot->values[i], most, BAR_ROOM);
    buf_add_string(out, plot->values[i] == 0 ? "<g class=\"zero\">" : "<g>");
    add_bar_text(out, "label", LABEL_END, top);
    visible_add_html(out, span_of(plot->labels[i]));
    buf_printf(out,
               "</text><rect class=\"track\" x=\"%d\" y=\"%u\" width=\"%.0f\" height=\"16\" "
               "rx=\"3\"/><rect class=\"%s\" x=\"%d\" y=\"%u\" width=\"%.1f\" height=\"16\" "
               "rx=\"3\"/>",
               BAR_START, top + 5, BAR_ROOM, class_of(plot, i), BAR_START, top + 5, length);
    add_bar_text(out, "value", VALUE_END, top);
    report_add_number(out, plot->values[i]);
    buf_add_string(out, "</text>");
    if (plot->values[i] > 0) {
        add_bar_text(out, "value share", SHARE_END, top);
        add_share(out, plot->values[i], plot->total);
        buf_add_string(out, "</text>");
    }
    add_tip(out, plot, i);
    buf_add_string(out, "</g>\n");
}

void svg_add_bars(struct buf *out, const struct svg_plot *plot)
{
    open_svg(out, plot, BARS_WIDTH, (unsigned)plot->count * ROW + 4);
    for (size_t i = 0; i < plot->count; i++)
        add_bar(out, plot, i, largest(plot));
    buf_add_string(out, "</svg>\n");
}

/* ---- columns --------------------------------------------------------------------------------- */

#define COLUMNS_WIDTH 960
#define COLUMNS_HEIGHT 250
#define BASELINE 214
#define COLUMN_ROOM 182.0

/* "1,234" or "12.3k", for a narrow place. */
static void add_short_number(struct buf *out, uint64_t value)
{
    static const char units[] = {'k', 'M', 'G'};
    double amount = (double)value;
    size_t unit = 0;
    if (value < 10000) {
        report_add_number(out, value);
        return;
    }
    for (amount /= 1000; amount >= 999.5 && unit + 1 < sizeof(units); unit++)
        amount /= 1000;
    buf_printf(out, amount < 99.95 ? "%.1f%c" : "%.0f%c", amount, units[unit]);
}

static void add_column(struct buf *out, const struct svg_plot *plot, size_t i, double width,
                       uint64_t most)
{
    double left = (double)i * width;
    double height = length_of(plot->values[i], most, COLUMN_ROOM);
    buf_printf(out,
               "<g><rect class=\"hover\" x=\"%.1f\" y=\"0\" width=\"%.1f\" height=\"%d\"/>"
               "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"2\"/>",
               left, width, BASELINE, class_of(plot, i), left + width * 0.09, BASELINE - height,
               width * 0.82, height);
    if (plot->values[i] > 0) {
        buf_printf(out, "<text class=\"count\" x=\"%.1f\" y=\"%.1f\">", left + width / 2,
                   BASELINE - height - 7);
        add_short_number(out, plot->values[i]);
        buf_add_string(out, "</text>");
    }
    buf_printf(out, "<text class=\"tick\" x=\"%.1f\" y=\"%d\">", left + width / 2, BASELINE + 19);
    visible_add_html(out, span_of(plot->labels[i]));
    buf_add_string(out, "</text>");
    add_tip(out, plot, i);
    buf_add_string(out, "</g>\n");
}

void svg_add_columns(struct buf *out, const struct svg_plot *plot)
{
    double width = COLUMNS_WIDTH / (double)(plot->count > 0 ? plot->count : 1);
    open_svg(out, plot, COLUMNS_WIDTH, COLUMNS_HEIGHT);
    for (size_t i = 0; i < plot->count; i++)
        add_column(out, plot, i, width, largest(plot));
    buf_printf(out, "<path class=\"axis\" d=\"M0 %d.5H%d\"/>\n</svg>\n", BASELINE, COLUMNS_WIDTH);
}
