/* Every way in which the cache's file can be unusable. */
#include "cache_room.h"

#include <endian.h>
#include <signal.h>
#include <sys/wait.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };

    return cmocka_run_group_tests_name("cache_damage", tests, NULL, NULL);
}
