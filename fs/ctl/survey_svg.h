/* Plots as inline SVG, with the page's style sheet for colours. */
#pragma once

#include <stdint.h>
#include "base/buf.h"

struct svg_plot {
    const char *title;         /* for those who do not see it */
    const char *const *labels; /* COUNT of them, and of the values */
    const uint64_t *values;
    size_t count;
    uint64_t total; /* what 100 % is */
    unsigned warn;  /* bit N: the Nth value is drawn as a warning ... */
    unsigned bad;   /* ... or as an error */
};

/* One horizontal bar a value, with its label, number and share. */
void svg_add_bars(struct buf *out, const struct svg_plot *plot);

/* One column a value, the label below, the number above. */
void svg_add_columns(struct buf *out, const struct svg_plot *plot);
