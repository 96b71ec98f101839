/* Message file names, as far as both servers agree on them.
 *
 * Orders as in Courier 5.0.13, imapd (fnamcmp) and courierpop3d (cmpmsgs). */
#pragma once

#include "base/span.h"

/* The base name: up to the first ':' (the whole name if there is none). */
struct span name_base(struct span file_name);

/* The decimal number at the start, as C's atol: white space and a sign allowed, no digits = 0, cut
 * to what 64 bits hold. */
int64_t name_number(struct span file_name);

/* Courier's order for new UIDs: the number at the start, then the names up to the first ':' as
 * unsigned bytes; a prefix sorts first. As in Courier the difference of two numbers is cut to 32
 * bits, so beyond 2^31 the order contradicts itself: sort with sort_stable() only. */
int name_compare_imap(struct span a, struct span b);

/* courierpop3d's order: the number, then whole names as signed bytes, ':' as itself; equal (0) only
 * when both are at a ':' or both at their end. */
int name_compare_pop3(struct span a, struct span b);
