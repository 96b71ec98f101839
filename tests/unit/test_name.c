/* fs/courier/name: the orders of Courier's two servers. */
#include "testing.h"

#include "courier/name.h"
#include "dovecot/name.h"

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

static void cuts_the_base(void **state)
{
    (void)state;
    assert_span(name_base(TEXT("1700000001.a:2,S")), TEXT("1700000001.a"));
    assert_span(name_base(TEXT("x:1,b:2,S")), TEXT("x"));
    assert_span(name_base(TEXT("1700000001.a,S=5")), TEXT("1700000001.a,S=5"));
    assert_span(name_base(TEXT(":2,S")), TEXT(""));
    assert_span(name_base(TEXT("")), TEXT(""));
}

static void reads_the_number_like_atol(void **state)
{
    (void)state;
    static const char *const names[] = {"",
                                        "x",
                                        "1700000000.M9P1.h",
                                        "009.x",
                                        "-5.e",
                                        "+7.x",
                                        " \t 12.x",
                                        "- 5",
                                        "--5",
                                        "9223372036854775807.x",
                                        "9223372036854775808.x",
                                        "-9223372036854775808.x",
                                        "-9223372036854775809.x",
                                        "99999999999999999999999999",
                                        "12:2,S"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct span name = exact(span_of(names[i]));
        assert_true(name_number(name) == atol(names[i]));
        exact_free(name);
    }
}

typedef int compare_fn(struct span a, struct span b);

/* LIST is in ascending order; ends with NULL. */
static void assert_order(compare_fn *compare, const char *const *list)
{
    for (size_t i = 0; list[i] != NULL; i++)
        for (size_t j = 0; list[j] != NULL; j++) {
            int order = sign(compare(span_of(list[i]), span_of(list[j])));
            if (order != (i > j) - (i < j))
                fail_msg("'%s' and '%s' compare as %d", list[i], list[j], order);
        }
}

/* Courier 5.0.13 gave out UIDs in this order. */
static void orders_new_uids_as_courier_does(void **state)
{
    (void)state;
    static const char *const seen[] = {"0.x",
                                       "Zed",
                                       "abc.z",
                                       "9.z",
                                       "10.a",
                                       "1700000000",
                                       "1700000000.M10P1.h",
                                       "1700000000.M9P1.h",
                                       "1700000000.M9P1.h,S=5",
                                       "1700000000.m1",
                                       "1700000000.~",
                                       "1700000000.\xc3\xa9",
                                       NULL};
    assert_order(name_compare_imap, seen);
}

/* The order that courierpop3d 5.0.13 listed; in the uid database the second group is reversed. */
static void orders_messages_as_courierpop3d_does(void **state)
{
    (void)state;
    static const char *const sizes[] = {"1700000000.M9P1.h!x", "1700000000.M9P1.h,S=5:2,",
                                        "1700000000.M9P1.h:2,", NULL};
    static const char *const bytes[] = {"1700000000.\xc3\xa9", "1700000000.M10P1.h",
                                        "1700000000.~:2,", "1700000000:2,", NULL};
    static const char *const numbers[] = {
        "-5.e:2,",         "1.a:2,", "1700000000.a:2,", "2147483650.b:2,", "4294967297.c:2,",
        "4294967298.d:2,", NULL};
    assert_order(name_compare_pop3, sizes);
    assert_order(name_compare_pop3, bytes);
    assert_order(name_compare_pop3, numbers);
}

static void compares_up_to_the_colon(void **state)
{
    (void)state;
    assert_int_equal(name_compare_imap(TEXT("1.a:2,S"), TEXT("1.a")), 0);
    assert_int_equal(name_compare_imap(TEXT("x:1,b"), TEXT("x")), 0);
    assert_int_equal(name_compare_pop3(TEXT("1.a:2,S"), TEXT("1.a:2,")), 0);
    assert_int_equal(name_compare_pop3(TEXT("1.a:2,S"), TEXT("1.a:")), 0);
    assert_int_equal(name_compare_pop3(TEXT("1.a:2,S"), TEXT("1.a:2,XYZ")), 0);
    assert_true(name_compare_pop3(TEXT("1.a"), TEXT("1.a:2,S")) < 0);
    assert_int_equal(name_compare_pop3(TEXT("1.a"), TEXT("1.a")), 0);
    assert_true(name_compare_pop3(TEXT("1.a\xc3"), TEXT("1.a")) < 0);
}

/* 1.a < 1700000000.a < 2147483650.b, but not 1.a < 2147483650.b: Courier lost messages by it. */
static void contradicts_itself_beyond_31_bits_as_courier_does(void **state)
{
    (void)state;
    struct span low = TEXT("1.a"), middle = TEXT("1700000000.a"), high = TEXT("2147483650.b");
    assert_true(name_compare_imap(low, middle) < 0);
    assert_true(name_compare_imap(middle, high) < 0);
    assert_true(name_compare_imap(low, high) > 0);
    assert_int_equal(name_compare_imap(TEXT("1.a"), TEXT("4294967297.a")), 0);
    assert_true(name_compare_imap(TEXT("2147483648.a"), TEXT("0.a")) < 0);
    assert_true(name_compare_imap(TEXT("0.a"), TEXT("2147483648.a")) < 0);
}

/* A name with few different bytes, so that many are nearly the same. */
static struct span chance_name(char *room)
{
    static const char bytes[] = "1279.:,aS~!\xc3\x80";
    size_t len = chance(9);
    for (size_t i = 0; i < len; i++)
        room[i] = bytes[chance(sizeof(bytes) - 1)];
    room[len] = '\0';
    return span_make(room, len);
}

/* As the servers do it, on terminated strings. */
static int expected_imap(const char *a, const char *b)
{
    char x[32], y[32];
    int difference = (int)(atol(a) - atol(b));
    snprintf(x, sizeof(x), "%.*s", (int)strcspn(a, ":"), a);
    snprintf(y, sizeof(y), "%.*s", (int)strcspn(b, ":"), b);
    return difference != 0 ? difference : strcmp(x, y);
}

static int expected_pop3(const char *a, const char *b)
{
    if (atol(a) != atol(b))
        return atol(a) < atol(b) ? -1 : 1;
    while (*a == *b && *a != '\0' && *a != ':') {
        a++;
        b++;
    }
    return (signed char)*a - (signed char)*b;
}

static void agrees_with_plain_c_on_random_names(void **state)
{
    (void)state;
    char rooms[3][32];
    chance_start("names");
    for (int i = 0; i < 200000; i++) {
        struct span a = chance_name(rooms[0]), b = chance_name(rooms[1]), c = chance_name(rooms[2]);
        assert_int_equal(sign(name_compare_imap(a, b)), sign(expected_imap(rooms[0], rooms[1])));
        assert_int_equal(sign(name_compare_pop3(a, b)), sign(expected_pop3(rooms[0], rooms[1])));
        assert_int_equal(sign(name_compare_imap(a, b)), -sign(name_compare_imap(b, a)));
        assert_int_equal(sign(name_compare_pop3(a, b)), -sign(name_compare_pop3(b, a)));
        if (name_compare_imap(a, b) <= 0 && name_compare_imap(b, c) <= 0)
            assert_true(name_compare_imap(a, c) <= 0);
        if (name_compare_pop3(a, b) <= 0 && name_compare_pop3(b, c) <= 0)
            assert_true(name_compare_pop3(a, c) <= 0);
    }
}

/* As Dovecot 2.3.19 took these names: the size of a message with 18 bytes was what is given here, or was
 * asked of the file system. */
static void reads_sizes_as_dovecot_does(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool found;
        uint64_t size;
    } cases[] = {{"1.a,S=18:2,", true, 18},
                 {"2.a,S=19:2,", true, 19},
                 {"3.a,S=18x:2,", false, 0},
                 {"4.a,S=:2,", true, 0},
                 {"5.a,S=018:2,", true, 18},
                 {"6.a,S=5,S=18:2,", true, 5},
                 {"7.a,W=21:2,", false, 0},
                 {"10.a,S=18.x:2,", false, 0},
                 {"11.a,S=18,x:2,", true, 18},
                 {"12.a,S=99999999999999999999999:2,", true, UINT64_C(200376420520689663)},
                 {"13,S=3,a:2,", true, 3},
                 {"14.a,S=x,S=17:2,", false, 0},
                 {"15.a,S=7", true, 7},
                 {",S", false, 0},
                 {"", false, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct span name = exact(span_of(cases[i].name));
        uint64_t size = 0;
        assert_int_equal(name_size(name, 'S', &size), cases[i].found);
        if (cases[i].found)
            assert_int_equal(size, cases[i].size);
        exact_free(name);
    }
    uint64_t size = 0;
    assert_true(name_size(TEXT("8.a,S=18,W=25:2,"), 'W', &size));
    assert_int_equal(size, 25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_the_base),
        cmocka_unit_test(reads_the_number_like_atol),
        cmocka_unit_test(orders_new_uids_as_courier_does),
        cmocka_unit_test(orders_messages_as_courierpop3d_does),
        cmocka_unit_test(compares_up_to_the_colon),
        cmocka_unit_test(contradicts_itself_beyond_31_bits_as_courier_does),
        cmocka_unit_test(agrees_with_plain_c_on_random_names),
        cmocka_unit_test(reads_sizes_as_dovecot_does),
    };
    return cmocka_run_group_tests_name("name", tests, NULL, NULL);
}
