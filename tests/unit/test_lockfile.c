/* fs/courier/lockfile. */
#include "testing.h"

#include "courier/lockfile.h"

static void writes_as_courier_does(void **state)
{
    (void)state;
    BUF_AUTO out = BUF_EMPTY;
    lockfile_format(&out, 27002, "vm");
    assert_span(buf_span(&out), TEXT("27002:vm"));
    assert_int_equal(lockfile_local_pid(buf_span(&out), "vm"), 27002);
}

/* Each of these Courier judges by age, not by pid. */
static void knows_only_this_host(void **state)
{
    (void)state;
    const struct span other[] = {TEXT("27002:other"),
                                 TEXT("27002:vm\n"),
                                 TEXT("27002:v"),
                                 TEXT("27002:vm2"),
                                 TEXT("27002"),
                                 TEXT("0:vm"),
                                 TEXT(""),
                                 TEXT(":vm"),
                                 TEXT("garbage"),
                                 TEXT("-5:vm"),
                                 TEXT("x27002:vm"),
                                 TEXT("27002x:vm"),
                                 TEXT("27002:"),
                                 TEXT("27002:vm\0"),
                                 TEXT("27002\0:vm"),
                                 TEXT("99999999999:vm"),
                                 TEXT("99999999999999999999999999:vm")};
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        struct span content = exact(other[i]);
        assert_int_equal(lockfile_local_pid(content, "vm"), 0);
        exact_free(content);
    }
}

static void knows_no_host_without_a_name(void **state)
{
    (void)state;
    assert_int_equal(lockfile_local_pid(TEXT("27002"), ""), 0);
}

static void reads_back_random_pids(void **state)
{
    (void)state;
    chance_start("lockfile");
    for (int i = 0; i < 1000; i++) {
        BUF_AUTO out = BUF_EMPTY;
        long pid = 1 + (long)chance(INT32_MAX);
        lockfile_format(&out, pid, "node-7.example.com");
        assert_int_equal(lockfile_local_pid(buf_span(&out), "node-7.example.com"), pid);
        assert_int_equal(lockfile_local_pid(buf_span(&out), "node-7.example.org"), 0);
        chance_damage(&out);
        lockfile_local_pid(buf_span(&out), "node-7.example.com");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_as_courier_does),
        cmocka_unit_test(knows_only_this_host),
        cmocka_unit_test(knows_no_host_without_a_name),
        cmocka_unit_test(reads_back_random_pids),
    };
    return cmocka_run_group_tests_name("lockfile", tests, NULL, NULL);
}
