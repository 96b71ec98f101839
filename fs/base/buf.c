#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST 64

int buf_reserve(struct buf *b, size_t len)
{
    if (b->failed)
        return -ENOMEM;
    if (len <= b->capacity)
        return 0;
    size_t capacity = b->capacity < SMALLEST ? SMALLEST : b->capacity;
    while (capacity < len) {
        if (__builtin_mul_overflow(capacity, 2U, &capacity))
            capacity = len;
    }
    char *data = realloc(b->data, capacity);
    if (data == NULL) {
        b->failed = true;
        return -ENOMEM;
    }
    b->data = data;
    b->capacity = capacity;
    return 0;
}

/* Room for MORE bytes behind what is there. */
static int reserve_more(struct buf *b, size_t more)
{
    size_t len;
    if (__builtin_add_overflow(b->len, more, &len)) {
        b->failed = true;
        return -ENOMEM;
    }
    return buf_reserve(b, len);
}

void buf_add(struct buf *b, const void *bytes, size_t len)
{
    if (len == 0 || reserve_more(b, len) < 0)
        return;
    memcpy(b->data + b->len, bytes, len);
    b->len += len;
}

void buf_add_span(struct buf *b, struct span s)
{
    buf_add(b, s.text, s.len);
}

void buf_add_string(struct buf *b, const char *terminated)
{
    buf_add(b, terminated, strlen(terminated));
}

void buf_add_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_add_number(struct buf *b, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    buf_add(b, digits + at, sizeof(digits) - at);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0 || reserve_more(b, (size_t)len + 1) < 0) {
        b->failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf(b->data + b->len, (size_t)len + 1, format, args);
    va_end(args);
    b->len += (size_t)len;
}

int buf_terminate(struct buf *b)
{
    int rc = reserve_more(b, 1);
    if (rc < 0)
        return rc;
    b->data[b->len] = '\0';
    return 0;
}

struct span buf_span(const struct buf *b)
{
    return span_make(b->data, b->len);
}

int buf_error(const struct buf *b)
{
    return b->failed ? -ENOMEM : 0;
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}

void buf_release(struct buf *b)
{
    free(b->data);
    *b = BUF_EMPTY;
}
