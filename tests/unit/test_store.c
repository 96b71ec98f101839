/* The store's table: what a read-only store refuses, and what is counted. */
#include "testing.h"

#include <fcntl.h>
#include <unistd.h>

#include "store/store.h"

struct world {
    char path[64];
    struct store store;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    strcpy(world->path, "/tmp/test_store.XXXXXX");
    assert_non_null(mkdtemp(world->path));
    assert_int_equal(store_init(&world->store, world->path, false), 0);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    world->store.read_only = false;
    store_unlink(&world->store, "file");
    store_unlink(&world->store, "link");
    store_release(&world->store);
    rmdir(world->path);
    free(world);
    return 0;
}

static void make(struct store *store, const char *name)
{
    int fd = store_open(store, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(store_pwrite(store, fd, "abc", 3, 0), 3);
    assert_int_equal(store_pwrite(store, fd, "def", 3, STORE_AT_END), 3);
    close(fd);
}

static void a_missing_directory(void **state)
{
    (void)state;
    struct store store;
    assert_int_equal(store_init(&store, "/no/such/store", false), -ENOENT);
    assert_int_equal(store_init(&store, "/etc/passwd", false), -ENOTDIR);
}

static void writes_at_the_end(void **state)
{
    struct store *store = &((struct world *)*state)->store;
    struct stat st;
    make(store, "file");
    assert_int_equal(store_stat(store, "file", &st), 0);
    assert_int_equal(st.st_size, 6);
}

static void never_follows_a_link(void **state)
{
    struct store *store = &((struct world *)*state)->store;
    struct stat st;
    make(store, "file");
    assert_int_equal(store_symlink(store, "file", "link"), 0);
    assert_int_equal(store_stat(store, "link", &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(store_open(store, "link", O_RDONLY, 0), -ELOOP);
    assert_int_equal(store_truncate(store, "link", 0), -ELOOP);
    assert_true(store_chmod(store, "link", 0644) < 0);
    assert_int_equal(store_stat(store, "file", &st), 0);
    assert_int_equal(st.st_size, 6);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void read_only_means_never(void **state)
{
    struct store *store = &((struct world *)*state)->store;
    const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    struct stat before;
    struct stat after;
    make(store, "file");
    assert_int_equal(store_stat(store, "file", &before), 0);
    store->read_only = true;
    assert_int_equal(store_open(store, "file", O_WRONLY, 0), -EROFS);
    assert_int_equal(store_open(store, "file", O_RDWR, 0), -EROFS);
    assert_int_equal(store_open(store, "file", O_RDONLY | O_TRUNC, 0), -EROFS);
    assert_int_equal(store_open(store, "absent", O_RDONLY | O_CREAT, 0600), -EROFS);
    assert_int_equal(store_open(store, "file", O_RDONLY | O_CREAT | O_EXCL, 0600), -EROFS);
    assert_int_equal(store_mknod(store, "absent", S_IFIFO | 0600, 0), -EROFS);
    assert_int_equal(store_mkdir(store, "absent", 0700), -EROFS);
    assert_int_equal(store_symlink(store, "file", "absent"), -EROFS);
    assert_int_equal(store_link(store, "file", "absent"), -EROFS);
    assert_int_equal(store_unlink(store, "file"), -EROFS);
    assert_int_equal(store_rmdir(store, "file"), -EROFS);
    assert_int_equal(store_rename(store, "file", "absent", 0), -EROFS);
    assert_int_equal(store_chmod(store, "file", 0644), -EROFS);
    assert_int_equal(store_chown(store, "file", 1, 1), -EROFS);
    assert_int_equal(store_truncate(store, "file", 0), -EROFS);
    assert_int_equal(store_utimens(store, "file", times), -EROFS);
    assert_int_equal(store_setxattr(store, "file", "user.a", "b", 1, 0), -EROFS);
    assert_int_equal(store_removexattr(store, "file", "user.a"), -EROFS);
    int fd = store_open(store, "file", O_RDONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(store_pwrite(store, fd, "x", 1, 0), -EROFS);
    assert_int_equal(store_ftruncate(store, fd, 0), -EROFS);
    assert_int_equal(store_fallocate(store, fd, 0, 0, 1), -EROFS);
    close(fd);
    assert_int_equal(store_stat(store, "file", &after), 0);
    assert_memory_equal(&before.st_ctim, &after.st_ctim, sizeof(before.st_ctim));
}

static void counts_calls(void **state)
{
    struct store *store = &((struct world *)*state)->store;
    struct stat st;
    uint64_t before = atomic_load(&store->calls[STORE_STAT]);
    assert_int_equal(store_stat(store, "absent", &st), -ENOENT);
    assert_int_equal(atomic_load(&store->calls[STORE_STAT]), before + 1);
    for (enum store_call call = 0; call < STORE_CALL_COUNT; call++)
        assert_non_null(store_call_name(call));
}

static void mixes_the_numbers_of_other_devices(void **state)
{
    struct store *store = &((struct world *)*state)->store;
    struct stat here = {.st_dev = store->root_device, .st_ino = 42};
    struct stat there = {.st_dev = store->root_device + 1, .st_ino = 42};
    assert_int_equal(store_shown_ino(store, &here), 42);
    assert_int_not_equal(store_shown_ino(store, &there), 42);
    assert_int_equal(store_shown_ino(store, &there), store_shown_ino(store, &there));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_directory),
        cmocka_unit_test_setup_teardown(writes_at_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(never_follows_a_link, set_up, tear_down),
        cmocka_unit_test_setup_teardown(read_only_means_never, set_up, tear_down),
        cmocka_unit_test_setup_teardown(counts_calls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mixes_the_numbers_of_other_devices, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
