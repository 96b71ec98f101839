/* What the fuzz targets share.
 *
 * Each fuzz_NAME.c is a libFuzzer target for one room's parser; linked with standalone.c instead it
 * needs no libFuzzer. corpus/NAME/ holds its seeds. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/span.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline struct span fuzz_text(const uint8_t *data, size_t size)
{
    return span_make((const char *)data, size);
}

/* A property that holds for every input. */
#define FUZZ_REQUIRE(property)                                                                     \
    do {                                                                                           \
        if (!(property)) {                                                                         \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #property);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static inline bool fuzz_within(struct span part, struct span whole)
{
    return part.len == 0 || ((uintptr_t)part.text >= (uintptr_t)whole.text &&
                             (uintptr_t)part.text + part.len <= (uintptr_t)whole.text + whole.len);
}

static inline bool fuzz_same(const struct buf *a, const struct buf *b)
{
    return buf_error(a) == 0 && buf_error(b) == 0 && span_equal(buf_span(a), buf_span(b));
}
