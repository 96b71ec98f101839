/* Text that anybody may have put into a file or its name, made harmless.
 *
 * File names are bytes: a name can hold what moves a terminal's cursor, what ends an HTML element or a
 * JSON string, or what turns the direction of writing. All reports of courierctl print such text
 * through these functions only. */
#pragma once

#include "base/buf.h"

/* For terminals: what is printable UTF-8 stays; every other byte, and characters that draw nothing or
 * change how others are drawn, become \xNN; a backslash is doubled. One line, whatever TEXT is. */
void visible_add(struct buf *out, struct span text);

/* The same for HTML and SVG, in elements and in quoted attributes. */
void visible_add_html(struct buf *out, struct span text);

/* A JSON string with its quotes, of printable ASCII and what is printable of UTF-8. A byte that is not
 * UTF-8 becomes \udc80 to \udcff, which Python's os.fsencode() turns back. */
void visible_add_json(struct buf *out, struct span text);
