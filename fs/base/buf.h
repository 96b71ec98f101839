/* buf: bytes that grow.
 *
 * A failed allocation is remembered, later additions do nothing, and the one question at the end is
 * buf_error(). So writers of formats need no check for each piece. `data` may be NULL while len is
 * 0, and is never terminated. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/span.h"

struct buf {
    char *data;
    size_t len;
    size_t capacity;
    bool failed;
};

#define BUF_EMPTY ((struct buf){NULL, 0, 0, false})
/* Frees itself at the end of its scope. */
#define BUF_AUTO __attribute__((cleanup(buf_release))) struct buf

void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_add_span(struct buf *b, struct span s);
void buf_add_string(struct buf *b, const char *terminated);
void buf_add_char(struct buf *b, char c);
/* In decimal digits. */
void buf_add_number(struct buf *b, uint64_t number);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Makes room for LEN bytes in all; 0 or -ENOMEM. */
int buf_reserve(struct buf *b, size_t len);
/* Appends a terminating NUL that is not counted in len; 0 or -ENOMEM. */
int buf_terminate(struct buf *b);
struct span buf_span(const struct buf *b);
/* 0, or -ENOMEM if any addition failed. */
int buf_error(const struct buf *b);
void buf_clear(struct buf *b);   /* empty, memory kept, failure forgotten */
void buf_release(struct buf *b); /* empty, memory freed */
