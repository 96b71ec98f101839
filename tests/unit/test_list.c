/* Listings of cur and new, by a store in which one reading misses a message. */
#include "testing.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "courier/name.h"
#include "store/list.h"

#define MISSED "2.b:2,"

struct world {
    struct store store; /* first: the calls get a pointer to it */
    char path[64];
    struct store_ops ops;
    time_t age;       /* of every directory that is looked at */
    unsigned to_miss; /* readings that miss the message */
};

static struct world *world_of(struct store *store)
{
    return (struct world *)store;
}

static int aged_fstat(struct store *store, int fd, struct stat *st_r)
{
    int result = store_posix_ops.fstat(store, fd, st_r);
    clock_gettime(CLOCK_REALTIME, &st_r->st_mtim);
    st_r->st_mtim.tv_sec -= world_of(store)->age;
    st_r->st_mtim.tv_nsec = 0;
    st_r->st_ctim = st_r->st_mtim;
    return result;
}

/* A reading that the message is renamed behind: it is met under neither name. */
static ssize_t missing_getdents(struct store *store, int fd, void *out, size_t size)
{
    struct world *world = world_of(store);
    ssize_t got = store_posix_ops.getdents(store, fd, out, size);
    if (got <= 0 || world->to_miss == 0)
        return got;
    world->to_miss--;
    char *bytes = out;
    for (ssize_t at = 0; at < got;) {
        const struct linux_dirent *entry = (const struct linux_dirent *)(bytes + at);
        size_t len = entry->d_reclen;
        if (strcmp(entry->d_name, MISSED) == 0) {
            memmove(bytes + at, bytes + at + len, (size_t)got - (size_t)at - len);
            return got - (ssize_t)len;
        }
        at += (ssize_t)len;
    }
    return got;
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    strcpy(world->path, "/tmp/test_list.XXXXXX");
    assert_non_null(mkdtemp(world->path));
    assert_int_equal(store_init(&world->store, world->path, false), 0);
    world->ops = store_posix_ops;
    world->ops.fstat = aged_fstat;
    world->ops.getdents = missing_getdents;
    world->store.ops = &world->ops;
    const char *const names[] = {"1.a:2,S", MISSED};
    for (int i = 0; i < 2; i++)
        assert_int_equal(store_mknod(&world->store, names[i], S_IFREG | 0600, 0), 0);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    store_unlink(&world->store, "1.a:2,S");
    store_unlink(&world->store, MISSED);
    store_release(&world->store);
    rmdir(world->path);
    free(world);
    return 0;
}

static size_t count_listed(struct world *world)
{
    DIR_LIST_AUTO list;
    assert_int_equal(store_list_messages(&world->store, ".", &list), 0);
    return list.count;
}

static void a_young_directory_is_read_twice(void **state)
{
    struct world *world = *state;
    world->age = 0;
    world->to_miss = 1;
    assert_int_equal(count_listed(world), 2);
}

static void an_old_mtime_is_believed(void **state)
{
    struct world *world = *state;
    world->age = 10;
    world->to_miss = 1;
    assert_int_equal(count_listed(world), 1);
    assert_int_equal(count_listed(world), 2);
}

static void both_names_of_a_base_are_told(void **state)
{
    struct world *world = *state;
    world->age = 0;
    assert_int_equal(store_mknod(&world->store, "1.a:2,", S_IFREG | 0600, 0), 0);
    DIR_LIST_AUTO list;
    assert_int_equal(store_list_names(&world->store, ".", &list), 0);
    assert_int_equal(list.count, 3);
    assert_span(dir_entry_name(&list, &list.entries[0]), TEXT("1.a:2,"));
    assert_span(dir_entry_name(&list, &list.entries[1]), TEXT("1.a:2,S"));
    assert_span(dir_entry_name(&list, &list.entries[2]), TEXT(MISSED));
    assert_int_equal(count_listed(world), 2);
    store_unlink(&world->store, "1.a:2,");
}

static int count_name(void *arg, const char *name, unsigned char type)
{
    (void)type;
    size_t *left = arg;
    assert_true(name[0] == '1' || name[0] == '2');
    return --*left == 0 ? -ECANCELED : 0;
}

static void hands_out_names_until_it_is_told_to_stop(void **state)
{
    struct world *world = *state;
    size_t left = 3;
    assert_int_equal(store_each(&world->store, ".", count_name, &left), 0);
    assert_int_equal(left, 1);
    assert_int_equal(store_each(&world->store, ".", count_name, &left), -ECANCELED);
    assert_int_equal(store_each(&world->store, "missing", count_name, &left), -ENOENT);
}

/* A name of few different letters, behind what all names of the round begin with. */
static void add_random_name(struct buf *name, const char *beginning, size_t most)
{
    static const char letters[] = "aab.0\xff\xc3\x01";
    buf_add_string(name, beginning);
    for (size_t len = 1 + chance(most); len > 0; len--)
        buf_add_char(name, letters[chance(sizeof(letters) - 1)]);
    buf_add_string(name, chance(3) == 0 ? ":2,S" : chance(2) == 0 ? ":2," : "");
    assert_int_equal(buf_terminate(name), 0);
}

static void assert_sorted(struct world *world, size_t names)
{
    DIR_LIST_AUTO every;
    DIR_LIST_AUTO messages;
    assert_int_equal(store_list_names(&world->store, "d", &every), 0);
    assert_int_equal(store_list_messages(&world->store, "d", &messages), 0);
    assert_int_equal(every.count, names);
    for (size_t i = 1; i < messages.count; i++) {
        struct span before = name_base(dir_entry_name(&messages, &messages.entries[i - 1]));
        struct span base = name_base(dir_entry_name(&messages, &messages.entries[i]));
        assert_true(span_compare(before, base) < 0);
    }
    for (size_t i = 0; i < every.count; i++) {
        struct span name = dir_entry_name(&every, &every.entries[i]);
        assert_non_null(dir_list_find_base(&messages, name_base(name)));
        BUF_AUTO path = BUF_EMPTY;
        buf_printf(&path, "d/%.*s", SPAN_FMT(name));
        assert_int_equal(buf_terminate(&path), 0);
        assert_int_equal(store_unlink(&world->store, path.data), 0);
    }
}

static void sorts_by_base_name(void **state)
{
    struct world *world = *state;
    chance_start("list");
    world->age = 10;
    assert_int_equal(store_mkdir(&world->store, "d", 0700), 0);
    for (int round = 0; round < 200; round++) {
        const char *beginning = chance(2) == 0 ? "" : "1700000000.M";
        size_t names = 0;
        size_t most = chance(2) == 0 ? 4 : 20;
        for (size_t count = chance(30); count > 0; count--) {
            BUF_AUTO path = BUF_EMPTY;
            buf_add_string(&path, "d/");
            add_random_name(&path, beginning, most);
            if (strcmp(path.data, "d/.") != 0 && strcmp(path.data, "d/..") != 0)
                names += store_mknod(&world->store, path.data, S_IFREG | 0600, 0) == 0;
        }
        assert_sorted(world, names);
    }
    assert_int_equal(store_rmdir(&world->store, "d"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_young_directory_is_read_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_old_mtime_is_believed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(both_names_of_a_base_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hands_out_names_until_it_is_told_to_stop, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(sorts_by_base_name, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
