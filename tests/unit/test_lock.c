/* Breaking Courier's lock, with others who break, release and take it in between. */
#include "testing.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "courier/lockfile.h"
#include "store/lock.h"

#define LOCK "tmp/courier.lock"

struct world {
    char path[64];
    struct store store;
    pid_t dead;
};

static struct world world;
static struct store_ops ops;

static pid_t ended_process(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return pid;
}

static int set_up(void **state)
{
    (void)state;
    strcpy(world.path, "/tmp/test_lock.XXXXXX");
    assert_non_null(mkdtemp(world.path));
    assert_int_equal(store_init(&world.store, world.path, false), 0);
    assert_int_equal(store_mkdir(&world.store, "tmp", 0700), 0);
    ops = store_posix_ops;
    world.store.ops = &ops;
    world.dead = ended_process();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world.store.ops = &store_posix_ops;
    store_unlink(&world.store, LOCK);
    assert_int_equal(store_rmdir(&world.store, "tmp"), 0); /* nothing else was left there */
    store_release(&world.store);
    return rmdir(world.path);
}

static void write_lock(const char *content)
{
    int fd = store_open(&world.store, LOCK, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(store_pwrite(&world.store, fd, content, strlen(content), 0), strlen(content));
    close(fd);
}

static void lock_of(pid_t pid)
{
    char content[300];
    snprintf(content, sizeof(content), "%d:%s", (int)pid, world.store.hostname);
    write_lock(content);
}

/* The process of this host that the lock names; 0 = another or none. */
static pid_t owner(void)
{
    char path[128];
    char content[300] = "";
    snprintf(path, sizeof(path), "%s/" LOCK, world.path);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    ssize_t len = read(fd, content, sizeof(content) - 1);
    close(fd);
    assert_true(len >= 0);
    return (pid_t)lockfile_local_pid(span_of(content), world.store.hostname);
}

static bool is_there(void)
{
    struct stat st;
    return store_stat(&world.store, LOCK, &st) == 0;
}

static void set_age(time_t seconds)
{
    const struct timespec then[2] = {{.tv_sec = time(NULL) - seconds},
                                     {.tv_sec = time(NULL) - seconds}};
    assert_int_equal(store_utimens(&world.store, LOCK, then), 0);
}

/* ---- what is broken -------------------------------------------------------------------------- */

static void breaks_what_is_stale(void **state)
{
    (void)state;
    assert_int_equal(lock_break_stale(&world.store, ".", 0), -ENOENT);
    lock_of(world.dead);
    assert_int_equal(lock_break_stale(&world.store, ".", 0), 0);
    assert_false(is_there());
    write_lock("1:another.example");
    set_age(LOCKFILE_STALE_SECONDS + 10);
    assert_int_equal(lock_break_stale(&world.store, ".", 0), 0);
    assert_false(is_there());
    lock_of(getppid()); /* the asker's own: one that it has lost */
    assert_int_equal(lock_break_stale(&world.store, ".", getppid()), 0);
    assert_false(is_there());
}

static void leaves_what_lives(void **state)
{
    (void)state;
    lock_of(getppid());
    set_age(LOCKFILE_STALE_SECONDS + 10);
    assert_int_equal(lock_break_stale(&world.store, ".", 0), -EBUSY);
    assert_int_equal(owner(), getppid());
    store_unlink(&world.store, LOCK);
    write_lock("1:another.example");
    assert_int_equal(lock_break_stale(&world.store, ".", 0), -EBUSY);
    assert_true(is_there());
}

static void breaks_only_the_lock_that_was_left(void **state)
{
    (void)state;
    struct lock_identity left = {.pid = getppid()};
    assert_int_equal(lock_break_left(&world.store, ".", &left), -ENOENT);
    lock_of(world.dead);
    assert_int_equal(lock_break_left(&world.store, ".", &left), -ENOENT);
    assert_int_equal(owner(), world.dead);
    store_unlink(&world.store, LOCK);
    lock_of(getppid());
    left.inode = 1; /* another lock of this process */
    assert_int_equal(lock_break_left(&world.store, ".", &left), -ENOENT);
    assert_int_equal(owner(), getppid());
    left.inode = 0;
    assert_int_equal(lock_break_left(&world.store, ".", &left), 0);
    assert_false(is_there());
}

/* ---- who comes in between -------------------------------------------------------------------- */

/* Another courierfs breaks the same lock. */
static void is_alone_in_breaking(void **state)
{
    (void)state;
    lock_of(world.dead);
    int fd = store_open(&world.store, LOCK, O_RDWR, 0);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &whole), 0);
    assert_int_equal(lock_break_stale(&world.store, ".", 0), -EBUSY);
    assert_int_equal(owner(), world.dead);
    close(fd);
    assert_int_equal(lock_break_stale(&world.store, ".", 0), 0);
}

static int unlink_and_look(struct store *store, const char *path)
{
    if (strcmp(path, LOCK) == 0)
        assert_int_equal(owner(), getpid());
    return store_posix_ops.unlink(store, path);
}

/* Whoever looks just before the name goes sees a living lock, not one to be broken. */
static void is_alive_before_it_goes(void **state)
{
    (void)state;
    ops.unlink = unlink_and_look;
    lock_of(world.dead);
    assert_int_equal(lock_break_stale(&world.store, ".", 0), 0);
    assert_false(is_there());
    lock_of(world.dead);
    const struct lock_identity left = {.pid = world.dead};
    assert_int_equal(lock_break_left(&world.store, ".", &left), 0);
    assert_false(is_there());
}

static ssize_t write_after_another_took_it(struct store *store, int fd, const void *bytes,
                                           size_t size, off_t offset)
{
    ops.pwrite = store_posix_ops.pwrite;
    assert_int_equal(store_unlink(store, LOCK), 0);
    lock_of(getppid());
    return store_pwrite(store, fd, bytes, size, offset);
}

/* A Courier that had judged it too breaks it, and a living one takes the lock. */
static void never_touches_the_next_lock(void **state)
{
    (void)state;
    lock_of(world.dead);
    ops.pwrite = write_after_another_took_it;
    assert_int_equal(lock_break_stale(&world.store, ".", 0), 0);
    assert_int_equal(owner(), getppid());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(breaks_what_is_stale, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaves_what_lives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(breaks_only_the_lock_that_was_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(is_alone_in_breaking, set_up, tear_down),
        cmocka_unit_test_setup_teardown(is_alive_before_it_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(never_touches_the_next_lock, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
