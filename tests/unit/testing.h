/* What the unit tests share: exact-size copies, a listener for complaints, replayable chance. */
#pragma once

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/complaint.h"
#include "base/span.h"

#define HEARD_ROOM 16

struct heard {
    size_t count;
    struct {
        unsigned line;
        struct span text;
        const char *why;
    } said[HEARD_ROOM];
};

static inline void hear(void *arg, unsigned line, struct span text, const char *why)
{
    struct heard *heard = arg;
    if (heard->count < HEARD_ROOM) {
        heard->said[heard->count].line = line;
        heard->said[heard->count].text = text;
        heard->said[heard->count].why = why;
    }
    heard->count++;
}

#define LISTENER(heard) (&(struct complaints){hear, heard})

/* Whether LINE was complained about, with WORD in the reason. */
static inline bool heard_of(const struct heard *heard, unsigned line, const char *word)
{
    for (size_t i = 0; i < heard->count && i < HEARD_ROOM; i++)
        if (heard->said[i].line == line && strstr(heard->said[i].why, word) != NULL)
            return true;
    return false;
}

/* TEXT in memory of exactly its size, so that the sanitizer sees every byte read beyond it. */
static inline struct span exact(struct span text)
{
    char *copy = malloc(text.len == 0 ? 1 : text.len);
    assert_non_null(copy);
    if (text.len > 0)
        memcpy(copy, text.text, text.len);
    return span_make(copy, text.len);
}

static inline void exact_free(struct span text)
{
    free((void *)(uintptr_t)text.text);
}

/* A string literal with its NUL bytes. */
#define TEXT(literal) span_make("" literal, sizeof(literal) - 1)

#define assert_span(actual, expected)                                                              \
    do {                                                                                           \
        struct span actual_ = (actual), expected_ = (expected);                                    \
        if (!span_equal(actual_, expected_))                                                       \
            fail_msg("'%.*s' instead of '%.*s'", SPAN_FMT(actual_), SPAN_FMT(expected_));          \
    } while (0)

static uint64_t chance_state = 1;

/* The next run with COURIERFS_SEED set to what is printed is the same. */
static inline void chance_start(const char *what)
{
    const char *given = getenv("COURIERFS_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed =
        given != NULL ? strtoull(given, NULL, 10) : (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec;
    print_message("%s: COURIERFS_SEED=%" PRIu64 "\n", what, seed);
    chance_state = seed * 2 + 1;
}

/* 0 to BELOW - 1. */
static inline size_t chance(size_t below)
{
    chance_state ^= chance_state << 13;
    chance_state ^= chance_state >> 7;
    chance_state ^= chance_state << 17;
    return (size_t)(chance_state >> 11) % below;
}

/* Damages TEXT in a few places. */
static inline void chance_damage(struct buf *text)
{
    static const char likely[] = "\n\n  ::09-,./\r\tS";
    for (size_t i = chance(8); i > 0 && text->len > 0; i--) {
        size_t at = chance(text->len);
        switch (chance(4)) {
        case 0:
            text->data[at] = (char)chance(256);
            break;
        case 1: /* with its NUL */
            text->data[at] = likely[chance(sizeof(likely))];
            break;
        case 2:
            memmove(text->data + at, text->data + at + 1, text->len - at - 1);
            text->len--;
            break;
        default:
            text->len -= chance(3) == 0 ? chance(text->len) : 0;
            break;
        }
    }
}

/* Whether PART lies within WHOLE. */
static inline bool lies_within(struct span part, struct span whole)
{
    return part.len == 0 || ((uintptr_t)part.text >= (uintptr_t)whole.text &&
                             (uintptr_t)part.text + part.len <= (uintptr_t)whole.text + whole.len);
}

static inline double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}
