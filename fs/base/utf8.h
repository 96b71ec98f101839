/* UTF-8, one character at a time. */
#pragma once

#include <stdint.h>
#include "base/span.h"

/* How many bytes the character at the start of S has; 0 if there is none, or what is there is not UTF-8
 * (cut off, too long a form, a surrogate, beyond U+10FFFF). */
size_t utf8_next(struct span s, uint32_t *code_r);

bool utf8_is_valid(struct span s);
