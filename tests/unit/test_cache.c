/* The cache: entries, eviction, limits, threads. */
#include "cache_room.h"

#include <sys/wait.h>

static void test_round_trip(void **state)
{
    static const size_t lens[] = {0, 1, 100, 1999, 2000, 2001, 4000, 4001, 100000, LIMIT / 4};
    const unsigned count = sizeof(lens) / sizeof(lens[0]);
    struct room *room = *state;

    open_cache(room);
    for (unsigned i = 0; i < count; i++) {
        assert_false(has(room, i, lens[i]));
        put(room, i, lens[i]);
        assert_true(has(room, i, lens[i]));
    }
    close_cache(room);
    open_cache(room);
    for (unsigned i = 0; i < count; i++)
        assert_true(has(room, i, lens[i]));

    struct cache_figures f = figures(room);
    assert_int_equal(f.entries, count);
    assert_int_equal(f.hits, count);
    assert_int_equal(f.misses, 0);
    assert_int_equal(f.evictions, 0);
    assert_int_equal(f.size_limit, LIMIT);
    assert_true(f.bytes_used > LIMIT / 4 && f.bytes_used < LIMIT);
    assert_int_equal(room->lines, 0);
}

static void test_files_are_private(void **state)
{
    static const char *const names[] = {CACHE_FILE_NAME, CACHE_FILE_NAME "-lock",
                                        CACHE_RECORD_NAME};
    struct room *room = *state;
    struct stat st;

    mode_t before = umask(0);
    open_cache(room);
    umask(before);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(stat(path_in(room, names[i]), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
}

static void test_replace(void **state)
{
    static const size_t lens[] = {20000, 10, 0, 90000, 4080};
    struct room *room = *state;
    void *got;
    size_t got_len;

    open_cache(room);
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        char *blob = make_blob((unsigned)i, lens[i]);
        cache_put(room->cache, key_of(7), blob, lens[i]);
        assert_int_equal(cache_get(room->cache, key_of(7), &got, &got_len), 1);
        assert_int_equal(got_len, lens[i]);
        assert_memory_equal(got, blob, got_len);
        free(got);
        free(blob);
        assert_int_equal(figures(room).entries, 1);
    }
    assert_true(figures(room).bytes_used < (size_t)20 * 4096);
}

static void test_drop(void **state)
{
    struct room *room = *state;

    open_cache(room);
    put(room, 1, 30000);
    put(room, 2, 300);
    cache_drop(room->cache, key_of(1));
    cache_drop(room->cache, key_of(3));
    assert_false(has(room, 1, 30000));
    assert_true(has(room, 2, 300));
    assert_int_equal(figures(room).entries, 1);
    assert_true(figures(room).bytes_used < (size_t)12 * 4096);
    assert_int_equal(room->lines, 0);
}

static void test_eviction_keeps_the_recently_used(void **state)
{
    struct room *room = *state;
    struct cache_figures f;

    open_cache(room);
    for (unsigned i = 0; i < 2000; i++) {
        put(room, i, 5000 + i % 3000);
        assert_true(has(room, i, 5000 + i % 3000));
        assert_true(has(room, 0, 5000));
        assert_true(has(room, 1 < i ? 1 : i, 5000 + (1 < i ? 1 : i)));
        assert_true(file_size(room) <= LIMIT);
    }
    f = figures(room);
    assert_true(f.entries > 60);
    assert_int_equal(f.entries + f.evictions, 2000);
    assert_int_equal(f.errors, 0);
    for (unsigned i = 1960; i < 2000; i++)
        assert_true(has(room, i, 5000 + i % 3000));
    assert_false(has(room, 1000, 6000));
    assert_int_equal(room->lines, 0);
}

static void test_order_of_use_survives_closing(void **state)
{
    struct room *room = *state;

    for (unsigned i = 0; i < 300; i++) {
        open_cache(room);
        put(room, i, 20000);
        assert_true(has(room, 0, 20000));
        close_cache(room);
    }
    open_cache(room);
    assert_true(has(room, 0, 20000));
    assert_true(has(room, 299, 20000));
    assert_false(has(room, 100, 20000));
}

static void test_hot_hits_write_nothing(void **state)
{
    struct room *room = *state;
    MDB_envinfo before, after;
    int status;

    /* The number of the last transaction tells, asked for by a process of its own. */
    open_cache(room);
    for (unsigned i = 0; i < 40; i++)
        put(room, i, 100);
    for (unsigned round = 0; round < 2; round++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t child = fork();
        if (child == 0) {
            MDB_env *env;
            MDB_envinfo info = {0};
            if (mdb_env_create(&env) == 0 &&
                mdb_env_open(env, path_in(room, CACHE_FILE_NAME),
                             MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK, 0) == 0)
                mdb_env_info(env, &info);
            _exit(write(fds[1], &info, sizeof(info)) != (ssize_t)sizeof(info));
        }
        assert_int_equal(read(fds[0], round == 0 ? &before : &after, sizeof(after)), sizeof(after));
        assert_int_equal(waitpid(child, &status, 0), child);
        close(fds[0]);
        close(fds[1]);
        for (unsigned i = 0; i < 1000; i++)
            assert_true(has(room, 35 + i % 5, 100));
    }
    assert_true(before.me_last_txnid > 40);
    assert_int_equal(before.me_last_txnid, after.me_last_txnid);
}

static void test_oversize_is_refused(void **state)
{
    struct room *room = *state;
    char *big = make_blob(1, LIMIT / 4 + 1);

    open_cache(room);
    put(room, 1, 100);
    put(room, 2, 100);
    cache_put(room->cache, key_of(1), big, LIMIT / 4 + 1);
    assert_false(has(room, 1, 100));
    assert_true(has(room, 2, 100));
    assert_int_equal(figures(room).evictions, 0);
    free(big);
}

/* Sizes from nothing to the largest, in random order: the file may never wedge itself. */
static void test_random_sizes_under_pressure(void **state)
{
    struct room *room = *state;
    unsigned seed = 20240817, kept = 0, rounds = 4000;

    print_message("seed %u\n", seed);
    open_cache(room);
    for (unsigned i = 0; i < rounds; i++) {
        unsigned number = (unsigned)rand_r(&seed) % 200;
        size_t len_max = (size_t)1 << (4 + (unsigned)rand_r(&seed) % 15);
        size_t len = (size_t)rand_r(&seed) % len_max;
        char *blob = make_blob(i, len);
        void *got;
        size_t got_len;
        cache_put(room->cache, key_of(number), blob, len);
        if (cache_get(room->cache, key_of(number), &got, &got_len) == 1) {
            assert_int_equal(got_len, len);
            assert_memory_equal(got, blob, len);
            free(got);
            kept++;
        }
        free(blob);
        if (i % 7 == 0)
            cache_drop(room->cache, key_of((unsigned)rand_r(&seed) % 200));
        if (i % 500 == 0) {
            close_cache(room);
            open_cache(room);
        }
    }
    assert_int_equal(kept, rounds);
    assert_int_equal(figures(room).errors, 0);
    assert_true(file_size(room) <= LIMIT);
    assert_int_equal(room->lines, 0);
}

/* Small entries share pages, so evicting one frees none: it must make room all the same. */
static void test_tiny_entries_under_pressure(void **state)
{
    struct room *room = *state;
    unsigned seed = 7;

    open_cache(room);
    for (unsigned i = 0; i < 30000; i++) {
        unsigned number = (unsigned)rand_r(&seed) % 10000;
        put(room, number, number % 60);
        assert_true(has(room, number, number % 60));
        number = (unsigned)rand_r(&seed) % 10000;
        has(room, number, number % 60);
    }
    assert_true(figures(room).entries > 2000);
    assert_true(figures(room).evictions > 0);
    assert_int_equal(figures(room).errors, 0);
}

static void test_lowered_limit_starts_anew_a_raised_one_does_not(void **state)
{
    struct room *room = *state;

    open_with(room, 4 * LIMIT, BOOT);
    for (unsigned i = 0; i < 30; i++)
        put(room, i, 100000);
    close_cache(room);
    open_cache(room);
    assert_int_equal(room->lines, 1);
    assert_int_equal(room->errors, 0);
    assert_int_equal(figures(room).entries, 0);
    assert_true(file_size(room) <= LIMIT);
    put(room, 1, 100);
    close_cache(room);
    open_with(room, 8 * LIMIT, BOOT);
    assert_true(has(room, 1, 100));
    put(room, 2, LIMIT);
    assert_true(has(room, 2, LIMIT));
    assert_int_equal(room->lines, 1);
}

static void test_refusals(void **state)
{
    struct room *room = *state;
    struct cache *untouched = (struct cache *)room, *other = untouched;

    assert_int_equal(cache_open(room->dir, CACHE_SIZE_MIN - 1, take_line, room, &other), -EINVAL);
    assert_int_equal(cache_open(path_in(room, "none"), LIMIT, take_line, room, &other), -ENOENT);
    assert_int_equal(cache_open(room->dir, LIMIT, take_line, room, &room->cache), 0);
    assert_int_equal(cache_open(room->dir, LIMIT, take_line, room, &other), -EBUSY);
    assert_ptr_equal(other, untouched);
    put(room, 1, 100);
    assert_true(has(room, 1, 100));
    assert_int_equal(room->lines, 0);
}

static void test_remote_file_systems(void **state)
{
    static const uint32_t remote[] = {0x6969,     0xff534d42, 0xfe534d42, 0x517b,    0x65735546,
                                      0x01021997, 0x00c36400, 0x5346414f, 0x6b414653};
    static const uint32_t local[] = {0xef53, 0x58465342, 0x9123683e, 0x01021994, 0x794c7630};

    (void)state;
    for (size_t i = 0; i < sizeof(remote) / sizeof(remote[0]); i++)
        assert_true(cache_fs_is_remote(remote[i]));
    for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
        assert_false(cache_fs_is_remote(local[i]));
}

struct worker {
    struct room *room;
    unsigned seed, hits, wrong;
};

static void *put_and_get(void *arg)
{
    struct worker *worker = arg;

    for (unsigned i = 0; i < 1500; i++) {
        unsigned number = (unsigned)rand_r(&worker->seed) % 120;
        size_t len = (size_t)number * 251;
        void *got;
        size_t got_len;
        if (i % 3 == 0)
            put(worker->room, number, len);
        else if (i % 41 == 0)
            cache_drop(worker->room->cache, key_of(number));
        else if (cache_get(worker->room->cache, key_of(number), &got, &got_len) == 1) {
            char *blob = make_blob(number, len);
            worker->hits++;
            worker->wrong += got_len != len || memcmp(got, blob, len) != 0;
            free(blob);
            free(got);
        }
    }
    return NULL;
}

static void test_four_threads(void **state)
{
    struct room *room = *state;
    struct worker workers[4];
    pthread_t threads[4];
    unsigned hits = 0;

    open_cache(room);
    for (unsigned i = 0; i < 4; i++) {
        workers[i] = (struct worker){.room = room, .seed = i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, put_and_get, &workers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(workers[i].wrong, 0);
        hits += workers[i].hits;
    }
    struct cache_figures f = figures(room);
    assert_true(hits > 1000);
    assert_int_equal(f.hits, hits);
    assert_true(f.evictions > 0);
    assert_string_equal(room->last, "");
    assert_int_equal(f.errors, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),
        TEST(test_files_are_private),
        TEST(test_replace),
        TEST(test_drop),
        TEST(test_eviction_keeps_the_recently_used),
        TEST(test_order_of_use_survives_closing),
        TEST(test_hot_hits_write_nothing),
        TEST(test_oversize_is_refused),
        TEST(test_random_sizes_under_pressure),
        TEST(test_tiny_entries_under_pressure),
        TEST(test_lowered_limit_starts_anew_a_raised_one_does_not),
        TEST(test_refusals),
        TEST(test_remote_file_systems),
        TEST(test_four_threads),
    };

    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
