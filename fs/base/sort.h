/* sort: a stable merge sort.
 *
 * Same steps as the qsort of the GNU C library on Debian 12 (halves, the left one wins when equal),
 * so for an order that contradicts itself, as Courier's order of names can, the result is the one
 * that Courier gets. Any COMPARE is safe: nothing is read out of bounds, and n log n calls are
 * enough. */
#pragma once

#include <stddef.h>

/* 0 or -ENOMEM, then nothing has moved. */
int sort_stable(void *items, size_t count, size_t size, int (*compare)(const void *, const void *));
