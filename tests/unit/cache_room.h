/* A room with a cache in it, for the tests of the cache. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/cache.h"
#include "cache/internal.h"

#define LIMIT ((size_t)1 << 20)
#define BOOT "11111111-1111-1111-1111-111111111111\n"
#define OTHER_BOOT "22222222-2222-2222-2222-222222222222\n"

struct room {
    char dir[64];
    pthread_mutex_t lock;
    unsigned lines, errors;
    char last[512];
    struct cache *cache;
};

static inline void take_line(void *arg, bool is_error, const char *text)
{
    struct room *room = arg;

    pthread_mutex_lock(&room->lock);
    room->lines++;
    room->errors += is_error;
    snprintf(room->last, sizeof(room->last), "%s", text);
    pthread_mutex_unlock(&room->lock);
}

static inline int enter(void **state)
{
    struct room *room = calloc(1, sizeof(*room));
    assert_non_null(room);
    pthread_mutex_init(&room->lock, NULL);
    strcpy(room->dir, "/tmp/test_cache.XXXXXX");
    assert_non_null(mkdtemp(room->dir));
    *state = room;
    return 0;
}

static inline const char *path_in(const struct room *room, const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", room->dir, name);
    return path;
}

static inline int leave(void **state)
{
    static const char *const names[] = {CACHE_FILE_NAME, CACHE_FILE_NAME "-lock", CACHE_RECORD_NAME,
                                        CACHE_DAMAGED_NAME};
    struct room *room = *state;

    cache_close(room->cache);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(path_in(room, names[i]));
    assert_int_equal(rmdir(room->dir), 0);
    free(room);
    return 0;
}

static inline void open_with(struct room *room, size_t limit, const char *boot_id)
{
    assert_int_equal(cache_open_at_boot(room->dir, limit, boot_id, take_line, room, &room->cache),
                     0);
}

static inline void open_cache(struct room *room)
{
    open_with(room, LIMIT, BOOT);
}

static inline void close_cache(struct room *room)
{
    cache_close(room->cache);
    room->cache = NULL;
}

static inline struct cache_key key_of(unsigned number)
{
    return cache_key_of(&number, sizeof(number));
}

/* A blob that its number and length determine. */
static inline char *make_blob(unsigned number, size_t len)
{
    char *blob = malloc(len + 1);
    uint64_t word = number * UINT64_C(0x9e3779b97f4a7c15) + 1;

    assert_non_null(blob);
    for (size_t i = 0; i < len; i++) {
        word = word * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        blob[i] = (char)(word >> 56);
    }
    return blob;
}

static inline void put(struct room *room, unsigned number, size_t len)
{
    char *blob = make_blob(number, len);

    cache_put(room->cache, key_of(number), blob, len);
    free(blob);
}

/* Returns whether it is there; then it is what was put. */
static inline bool has(struct room *room, unsigned number, size_t len)
{
    void *got = NULL;
    size_t got_len = 12345;

    if (cache_get(room->cache, key_of(number), &got, &got_len) == 0) {
        assert_null(got);
        assert_int_equal(got_len, 12345);
        return false;
    }
    char *blob = make_blob(number, len);
    assert_int_equal(got_len, len);
    assert_memory_equal(got, blob, len);
    free(blob);
    free(got);
    return true;
}

static inline struct cache_figures figures(struct room *room)
{
    struct cache_figures f;

    cache_figures(room->cache, &f);
    return f;
}

static inline size_t file_size(struct room *room)
{
    struct stat st;

    assert_int_equal(stat(path_in(room, CACHE_FILE_NAME), &st), 0);
    return (size_t)st.st_size;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)
