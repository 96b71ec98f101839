/* The cache: entries, eviction, threads, and every way in which its file can be unusable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

static void take_line(void *arg, bool is_error, const char *text)
{
    struct room *room = arg;

    pthread_mutex_lock(&room->lock);
    room->lines++;
    room->errors += is_error;
    snprintf(room->last, sizeof(room->last), "%s", text);
    pthread_mutex_unlock(&room->lock);
}

static int enter(void **state)
{
    struct room *room = calloc(1, sizeof(*room));
    assert_non_null(room);
    pthread_mutex_init(&room->lock, NULL);
    strcpy(room->dir, "/tmp/test_cache.XXXXXX");
    assert_non_null(mkdtemp(room->dir));
    *state = room;
    return 0;
}

static const char *path_in(const struct room *room, const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", room->dir, name);
    return path;
}

static int leave(void **state)
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

static void open_with(struct room *room, size_t limit, const char *boot_id)
{
    assert_int_equal(cache_open_at_boot(room->dir, limit, boot_id, take_line, room, &room->cache),
                     0);
}

static void open_cache(struct room *room)
{
    open_with(room, LIMIT, BOOT);
}

static void close_cache(struct room *room)
{
    cache_close(room->cache);
    room->cache = NULL;
}

static struct cache_key key_of(unsigned number)
{
    return cache_key_of(&number, sizeof(number));
}

/* A blob that its number and length determine. */
static char *make_blob(unsigned number, size_t len)
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

static void put(struct room *room, unsigned number, size_t len)
{
    char *blob = make_blob(number, len);

    cache_put(room->cache, key_of(number), blob, len);
    free(blob);
}

/* Returns whether it is there; then it is what was put. */
static bool has(struct room *room, unsigned number, size_t len)
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

static struct cache_figures figures(struct room *room)
{
    struct cache_figures f;

    cache_figures(room->cache, &f);
    return f;
}

static bool exists(struct room *room, const char *name)
{
    return access(path_in(room, name), F_OK) == 0;
}

/* Runs WORK in a process that then ends as by kill -9. */
static void in_dying_process(struct room *room, void (*work)(struct room *))
{
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        work(room);
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void open_and_put_three(struct room *room)
{
    open_cache(room);
    put(room, 1, 100);
    put(room, 2, 50000);
    put(room, 3, 3000);
}

static void garble(struct room *room, const char *name, off_t offset, size_t len)
{
    char *garbage = make_blob(99, len);
    int fd = open(path_in(room, name), O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, garbage, len, offset), len);
    close(fd);
    free(garbage);
}

static size_t file_size(struct room *room)
{
    struct stat st;

    assert_int_equal(stat(path_in(room, CACHE_FILE_NAME), &st), 0);
    return (size_t)st.st_size;
}

static void assert_set_aside_and_anew(struct room *room)
{
    assert_int_equal(room->lines, 1);
    assert_int_equal(room->errors, 1);
    assert_non_null(strstr(room->last, CACHE_DAMAGED_NAME));
    assert_true(exists(room, CACHE_DAMAGED_NAME));
    assert_int_equal(figures(room).entries, 0);
    assert_false(has(room, 1, 100));
    put(room, 1, 100);
    assert_true(has(room, 1, 100));
    assert_int_equal(figures(room).errors, 0);
}

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

static void test_every_garbled_page_is_noticed(void **state)
{
    struct room *room = *state;
    size_t pages = 2;

    for (size_t page = 0; page < pages; page++) {
        open_and_put_three(room);
        close_cache(room);
        pages = file_size(room) / 4096;
        garble(room, CACHE_FILE_NAME, (off_t)(page * 4096), 4096);
        room->lines = room->errors = 0;
        open_cache(room);
        assert_set_aside_and_anew(room);
        close_cache(room);
    }
    assert_true(pages > 15);
}

static void test_one_flipped_bit_is_noticed(void **state)
{
    struct room *room = *state;
    char byte;

    open_and_put_three(room);
    close_cache(room);
    int fd = open(path_in(room, CACHE_FILE_NAME), O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, 3 * 4096 + 12), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, 3 * 4096 + 12), 1);
    close(fd);
    open_cache(room);
    assert_set_aside_and_anew(room);
}

static void test_truncated(void **state)
{
    static const off_t lens[] = {0, 100, 4096, 8192, 20000, 40960};
    struct room *room = *state;

    for (size_t i = 0; i < 2 * sizeof(lens) / sizeof(lens[0]); i++) {
        if (i % 2 == 0) {
            open_and_put_three(room);
            close_cache(room);
        } else {
            in_dying_process(room, open_and_put_three);
        }
        assert_int_equal(truncate(path_in(room, CACHE_FILE_NAME), lens[i / 2]), 0);
        room->lines = room->errors = 0;
        open_cache(room);
        if (i % 2 == 1 && lens[i / 2] == 0) /* killed before LMDB had written anything */
            assert_int_equal(room->lines + figures(room).entries, 0);
        else
            assert_set_aside_and_anew(room);
        close_cache(room);
        unlink(path_in(room, CACHE_FILE_NAME));
    }
}

static void test_record_damaged_or_lost(void **state)
{
    struct room *room = *state;

    for (unsigned how = 0; how < 4; how++) {
        open_and_put_three(room);
        close_cache(room);
        if (how == 0)
            unlink(path_in(room, CACHE_RECORD_NAME));
        else if (how == 1)
            assert_int_equal(truncate(path_in(room, CACHE_RECORD_NAME), 50), 0);
        else
            garble(room, CACHE_RECORD_NAME, how == 2 ? 0 : 20, 8);
        room->lines = room->errors = 0;
        open_cache(room);
        assert_set_aside_and_anew(room);
        close_cache(room);
    }
}

static void test_other_format(void **state)
{
    struct room *room = *state;
    uint32_t other = CACHE_FORMAT + 1;

    open_and_put_three(room);
    close_cache(room);
    int fd = open(path_in(room, CACHE_RECORD_NAME), O_WRONLY);
    assert_int_equal(pwrite(fd, &other, sizeof(other), offsetof(struct cache_record, format)),
                     sizeof(other));
    close(fd);
    open_cache(room);
    assert_non_null(strstr(room->last, "format 2"));
    assert_set_aside_and_anew(room);
}

static void test_something_else_in_its_place(void **state)
{
    struct room *room = *state;

    assert_int_equal(mkdir(path_in(room, CACHE_FILE_NAME), 0700), 0);
    open_cache(room);
    assert_set_aside_and_anew(room);
    assert_int_equal(rmdir(path_in(room, CACHE_DAMAGED_NAME)), 0);
}

static void test_killed_process_loses_nothing(void **state)
{
    struct room *room = *state;

    in_dying_process(room, open_and_put_three);
    open_cache(room);
    assert_true(has(room, 1, 100));
    assert_true(has(room, 2, 50000));
    assert_true(has(room, 3, 3000));
    assert_int_equal(room->lines, 0);
}

static void put_for_ever(struct room *room)
{
    open_cache(room);
    for (unsigned i = 0;; i++)
        put(room, i % 300, i * 7919 % 30000);
}

static void test_killed_at_any_moment(void **state)
{
    struct room *room = *state;
    unsigned found = 0;

    for (unsigned round = 0; round < 30; round++) {
        pid_t child = fork();
        if (child == 0)
            put_for_ever(room);
        usleep(20000 + round * 1371);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        open_cache(room);
        found += figures(room).entries > 0;
        for (unsigned i = 0; i < 300; i++) {
            void *got;
            size_t len;
            if (cache_get(room->cache, key_of(i), &got, &len) == 1)
                free(got);
        }
        assert_int_equal(figures(room).errors, 0);
        close_cache(room);
    }
    assert_true(found > 20);
    assert_int_equal(room->lines, 0);
}

static void test_crashed_machine_starts_anew(void **state)
{
    struct room *room = *state;

    in_dying_process(room, open_and_put_three);
    open_with(room, LIMIT, OTHER_BOOT);
    assert_int_equal(room->lines, 1);
    assert_int_equal(room->errors, 0);
    assert_false(exists(room, CACHE_DAMAGED_NAME));
    assert_int_equal(figures(room).entries, 0);
    put(room, 1, 100);
    close_cache(room);
    open_cache(room); /* closed cleanly: another boot is no matter */
    assert_true(has(room, 1, 100));
    assert_int_equal(room->lines, 1);
}

static void test_unknown_boot_id_counts_as_crash(void **state)
{
    struct room *room = *state;

    in_dying_process(room, open_and_put_three);
    open_with(room, LIMIT, "");
    assert_int_equal(figures(room).entries, 0);
    assert_int_equal(room->lines, 1);
}

/* Killed, then damaged: no hash is known, and LMDB would fault; whatever happens, no crash. */
static void test_garbled_after_kill(void **state)
{
    struct room *room = *state;
    size_t pages = 2;
    unsigned set_aside = 0;

    for (size_t page = 0; page < pages; page++) {
        in_dying_process(room, open_and_put_three);
        pages = file_size(room) / 4096;
        garble(room, CACHE_FILE_NAME, (off_t)(page * 4096), 4096);
        room->lines = 0;
        open_cache(room);
        set_aside += exists(room, CACHE_DAMAGED_NAME);
        has(room, 1, 100);
        has(room, 2, 50000);
        has(room, 3, 3000);
        put(room, 1, 100);
        put(room, 4, 90000);
        assert_true(has(room, 4, 90000));
        close_cache(room);
        unlink(path_in(room, CACHE_FILE_NAME));
        unlink(path_in(room, CACHE_DAMAGED_NAME));
    }
    assert_true(set_aside >= 4);
}

/* Flips a byte of the stored piece of entry 1 through LMDB itself. */
static void flip_stored_byte(struct room *room)
{
    struct cache_piece_key piece = {.stored_at_be = htobe64(1)};
    MDB_val key = {sizeof(piece), &piece}, data;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi pieces;
    char copy[100];

    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, CACHE_TABLES), 0);
    assert_int_equal(mdb_env_open(env, path_in(room, CACHE_FILE_NAME), MDB_NOSUBDIR, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, CACHE_TABLE_PIECES, 0, &pieces), 0);
    assert_int_equal(mdb_get(txn, pieces, &key, &data), 0);
    assert_int_equal(data.mv_size, sizeof(copy));
    memcpy(copy, data.mv_data, sizeof(copy));
    copy[50] ^= 1;
    data.mv_data = copy;
    assert_int_equal(mdb_put(txn, pieces, &key, &data, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void test_corrupted_value_is_a_miss(void **state)
{
    struct room *room = *state;

    in_dying_process(room, open_and_put_three);
    flip_stored_byte(room);
    open_cache(room);
    assert_int_equal(room->lines, 0);
    assert_false(has(room, 1, 100));
    assert_int_equal(room->lines, 1);
    assert_non_null(strstr(room->last, "dropped a damaged entry"));
    assert_false(has(room, 1, 100));
    assert_int_equal(figures(room).entries, 2);
    assert_int_equal(figures(room).errors, 1);
    assert_true(has(room, 2, 50000));
    put(room, 1, 100);
    assert_true(has(room, 1, 100));
    assert_int_equal(room->lines, 1);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

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
        TEST(test_every_garbled_page_is_noticed),
        TEST(test_one_flipped_bit_is_noticed),
        TEST(test_truncated),
        TEST(test_record_damaged_or_lost),
        TEST(test_other_format),
        TEST(test_something_else_in_its_place),
        TEST(test_killed_process_loses_nothing),
        TEST(test_killed_at_any_moment),
        TEST(test_crashed_machine_starts_anew),
        TEST(test_unknown_boot_id_counts_as_crash),
        TEST(test_garbled_after_kill),
        TEST(test_corrupted_value_is_a_miss),
        TEST(test_lowered_limit_starts_anew_a_raised_one_does_not),
        TEST(test_refusals),
        TEST(test_remote_file_systems),
        TEST(test_four_threads),
    };

    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
