/* span: a piece of text that somebody else owns.
 *
 * All format code works on spans, so that parsing copies nothing and cannot run past the end. A
 * span is not terminated. Pure: no I/O, no allocation. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
    const char *text;
    size_t len;
};

/* Prints a span with "%.*s". */
#define SPAN_FMT(s) (int)((s).len > INT32_MAX ? INT32_MAX : (s).len), (s).text

struct span span_of(const char *terminated);
struct span span_make(const char *text, size_t len);
bool span_equal(struct span a, struct span b);
bool span_equals(struct span a, const char *terminated);
bool span_starts(struct span a, const char *prefix);
/* Like memcmp on the common part; the shorter one sorts first. */
int span_compare(struct span a, struct span b);
/* ASCII letters compare without case. */
int span_compare_nocase(struct span a, struct span b);

/* Cuts the next line off REST: *line_r is without its LF, *complete_r says whether there was an LF.
 * False when REST is empty. */
bool span_next_line(struct span *rest, struct span *line_r, bool *complete_r);

/* The part before the first C, or the whole; *rest_r (may be NULL) is what follows C, or empty. */
struct span span_until(struct span s, char c, struct span *rest_r);

/* Reads decimal digits only, the whole span, no sign, no overflow beyond 64 bits. */
bool span_to_u64(struct span s, uint64_t *value_r);

/* Cuts a number off the start of *S as sscanf's %lu does, which both Couriers use: white space, a
 * sign, digits; a minus sign wraps around, too many digits give UINT64_MAX. False if there is no
 * digit; *S is then unchanged. */
bool span_scan_u64(struct span *s, uint64_t *value_r);
