/* fs/courier/sizelist. What "seen" says was observed with courierpop3d 5.0.13. */
#include "testing.h"

#include "courier/name.h"
#include "courier/sizelist.h"

static struct heard heard;

static int parse(struct span text, struct sizelist *list, struct span *text_r)
{
    memset(&heard, 0, sizeof(heard));
    *text_r = exact(text);
    return sizelist_parse(*text_r, LISTENER(&heard), list);
}

static void assert_read_as(struct span text, bool rewrite, const char *expected)
{
    struct sizelist list;
    struct span copy;
    BUF_AUTO out = BUF_EMPTY;
    assert_int_equal(parse(text, &list, &copy), 0);
    assert_int_equal(list.rewrite, rewrite);
    sizelist_format(&list, &out);
    assert_span(buf_span(&out), span_of(expected));
    sizelist_release(&list);
    exact_free(copy);
}

static void assert_refused(struct span text, unsigned line, const char *why)
{
    struct sizelist list;
    struct span copy;
    assert_int_equal(parse(text, &list, &copy), -EUCLEAN);
    assert_true(heard_of(&heard, line, why));
    assert_null(list.entries);
    assert_int_equal(list.count, 0);
    exact_free(copy);
}

static void reads_and_writes(void **state)
{
    (void)state;
    struct span copy, text = TEXT("/3 14 1795340956\n"
                                  "1700000001.a:2, 23 1:1795340956:0\n"
                                  "1700000003.c:2,S 20 3:1795340956:0\n"
                                  "1700000006.f:2, 18 6:1795340956:1\n");
    struct sizelist list;
    assert_int_equal(parse(text, &list, &copy), 0);
    assert_int_equal(heard.count, 0);
    assert_int_equal(list.version, 3);
    assert_int_equal(list.next, 14);
    assert_int_equal(list.uidvalidity, 1795340956);
    assert_false(list.rewrite);
    assert_int_equal(list.count, 3);
    assert_span(list.entries[1].name, TEXT("1700000003.c:2,S"));
    assert_int_equal(list.entries[1].size, 20);
    assert_int_equal(list.entries[1].n, 3);
    assert_int_equal(list.entries[1].uidv, 1795340956);
    assert_false(list.entries[1].utf8);
    assert_true(list.entries[2].utf8);
    sizelist_release(&list);
    assert_null(list.entries);
    exact_free(copy);
    assert_read_as(text, false, text.text);
}

/* What is written with more entries is what is written of all of them, and needs no parsing. */
static void assert_extended(struct span text, bool as_it_is)
{
    struct sizelist list, again;
    struct span copy;
    const struct sizelist_entry more[] = {{TEXT("8.h:2,RS"), 7, 14, 1795340956, true},
                                          {TEXT("9.i:2,"), 20, 5, 0, false}};
    BUF_AUTO out = BUF_EMPTY;
    BUF_AUTO all = BUF_EMPTY;
    assert_int_equal(parse(text, &list, &copy), 0);
    list.next = 15;
    size_t before = list.count;
    sizelist_format_longer(&list, copy, more, 2, &out);
    assert_int_equal(sizelist_extend(&list, copy, buf_span(&out), more, 2), as_it_is ? 0 : -EAGAIN);
    exact_free(copy);
    struct span written = exact(buf_span(&out));
    assert_int_equal(sizelist_parse(written, NULL, &again), 0);
    assert_int_equal(again.count, before + 2);
    sizelist_format(&again, &all);
    if (as_it_is) {
        BUF_AUTO extended = BUF_EMPTY;
        sizelist_format(&list, &extended);
        assert_span(buf_span(&extended), buf_span(&all));
    }
    sizelist_release(&list);
    sizelist_release(&again);
    exact_free(written);
}

static void grows_at_its_end(void **state)
{
    (void)state;
    assert_extended(TEXT("/3 14 1795340956\n1.a:2, 23 1:1795340956:0\n3.c:2,S 20 3:1795340956:1\n"),
                    true);
    assert_extended(TEXT("/3 14 1795340956\n"), true);
    assert_extended(TEXT("/3 14 1795340956\r\nold/3.c:2,S 020 3:1795340956:1x\n"), true);
    assert_extended(TEXT("/3 14 1795340956\n1.a:2, 23 1:1795340956:0\r\n"), false);
    assert_extended(TEXT("/3 14 1795340956\n1.a:2, 23 1:1795340956:0"), false);
    assert_extended(TEXT("/3 1 1795340956\n1.a:2, 23 1:1795340956:0\n"), false);
    assert_extended(TEXT("/2 14 1795340956\n1.a:2, 23 1:1795340956\n"), false);
    assert_extended(TEXT("1.a:2, 23\n"), false);
    assert_extended(TEXT(""), false);
}

static void reads_version_2(void **state)
{
    (void)state;
    assert_read_as(TEXT("/2 9 777\n1.a:2, 20 2:777\n2.b:2, 22 5:0\n3.c:2, 7 0:0\n"), false,
                   "/3 9 777\n1.a:2, 20 2:777:0\n2.b:2, 22 5:0:0\n3.c:2, 7 0:0:0\n");
}

static void reads_version_1(void **state)
{
    (void)state;
    assert_read_as(TEXT("/1 9\n1.a:2, 20 2\nwith space 22 5\n"), true,
                   "/3 9\n1.a:2, 20 2:0:0\nwith space 22 5:0:0\n");
    assert_read_as(TEXT("/1 9 777\n1.a:2, 20 2\n"), true, "/3 9 777\n1.a:2, 20 2:0:0\n");
    assert_read_as(TEXT("/1 9\n1.a:2, 20 2:5\n"), true, "/3 9\n");
}

static void reads_version_0(void **state)
{
    (void)state;
    assert_read_as(TEXT("1.a:2, 20\nwith space 22\n"), true,
                   "/3 1\n1.a:2, 20 0:0:0\nwith space 22 0:0:0\n");
    assert_read_as(TEXT(""), true, "/3 1\n");
}

static void reads_the_header_as_courier_does(void **state)
{
    (void)state;
    assert_read_as(TEXT("/3 50\n"), false, "/3 50\n");
    assert_read_as(TEXT("/3 9 777"), false, "/3 9 777\n"); /* seen: taken */
    assert_read_as(TEXT("/+3 9x 777\n"), false, "/3 9\n");
    assert_read_as(TEXT("/3 9 777 more\n"), false, "/3 9 777\n");
    assert_refused(TEXT("/4 9 777\n1.a:2, 20 2:777:0\n"), 1, "version");
    assert_refused(TEXT("/0 9 777\n"), 1, "version");
    assert_refused(TEXT("/-3 9 777\n"), 1, "version");
    assert_refused(TEXT("/3\n"), 1, "no header");
    assert_refused(TEXT("/\n"), 1, "no header");
    assert_refused(TEXT("/x 9 777\n"), 1, "no header");
    assert_refused(TEXT("garbage\n\n"), 0, "not a list");
    assert_refused(TEXT("\0\0\0\0"), 0, "not a list");
}

static void reads_entries_as_courier_does(void **state)
{
    (void)state;
    assert_read_as(TEXT("/3 9 777\na b  c 20 2:777:0\n"), false, "/3 9 777\na b  c 20 2:777:0\n");
    assert_read_as(TEXT("/3 9 777\n1.a:2, 20 2:777\n"), false, "/3 9 777\n1.a:2, 20 2:777:0\n");
    assert_read_as(TEXT("/3 9 777\n1.a:2, 20 2:777:0:5:x\n"), false,
                   "/3 9 777\n1.a:2, 20 2:777:0\n");
    assert_read_as(TEXT("/3 9 777\n1.a:2, 20 +2:777:1\n"), false, "/3 9 777\n1.a:2, 20 2:777:1\n");
    assert_read_as(TEXT("/3 9 777\ncur/1.a:2, 20 2:777:0\n"), false,
                   "/3 9 777\n1.a:2, 20 2:777:0\n");
    assert_read_as(TEXT("/3 9 777\n1.a:2, 20 -2:5:0\n"), false,
                   "/3 9 777\n1.a:2, 20 18446744073709551614:5:0\n");
}

static void skips_lines_that_courier_skips(void **state)
{
    (void)state;
    assert_read_as(TEXT("/3 9 777\n"
                        "1.a:2, 22x 5:777:0\n"
                        "1.a:2, 22 5\n"
                        "1.a:2, 22 x:777:0\n"
                        "1.a:2, 22 5:777:\n"
                        "1.a:2, 22 5:777x\n"
                        " 22 5:777:0\n"
                        "22 5:777:0\n"
                        "cur/ 22 5:777:0\n"
                        "1.a:2,\0 22 5:777:0\n"
                        "\n"
                        "2.b:2, 20 2:777:0\n"),
                   true, "/3 9 777\n2.b:2, 20 2:777:0\n");
    assert_int_equal(heard.count, 10);
    assert_true(heard_of(&heard, 2, "skipped"));
    assert_true(heard_of(&heard, 11, "skipped"));
}

/* Of a /2 list with CR LF Courier loses every UIDL: seen. */
static void reads_cr_lf(void **state)
{
    (void)state;
    assert_read_as(TEXT("/3 9 777\r\n1.a:2, 20 2:777:1\r\n"), false,
                   "/3 9 777\n1.a:2, 20 2:777:1\n");
    assert_read_as(TEXT("/2 9 777\r\n1.a:2, 20 2:777\r\n"), false, "/3 9 777\n1.a:2, 20 2:777:0\n");
}

static void keeps_a_last_line_without_newline(void **state)
{
    (void)state;
    assert_read_as(TEXT("/3 9 777\n1.a:2, 20 2:777:0"), true, "/3 9 777\n1.a:2, 20 2:777:0\n");
    assert_true(heard_of(&heard, 2, "no newline"));
}

static void raises_a_low_next(void **state)
{
    (void)state;
    assert_read_as(TEXT("/3 2 777\n1.a:2, 20 2:777:0\n2.b:2, 20 5:777:0\n3.c: 1 99:778:0\n"), true,
                   "/3 6 777\n1.a:2, 20 2:777:0\n2.b:2, 20 5:777:0\n3.c: 1 99:778:0\n");
    assert_true(heard_of(&heard, 1, "NEXT"));
    assert_read_as(TEXT("/3 0 777\n"), true, "/3 1 777\n");
    assert_refused(TEXT("/3 2 777\n1.a:2, 20 -1:777:0\n"), 0, "number");
}

static void assert_uidl(const char *name, uint64_t n, uint64_t uidv, const char *expected)
{
    struct sizelist_entry entry = {.name = span_of(name), .n = n, .uidv = uidv};
    uint64_t n_back = 7, uidv_back = 7;
    BUF_AUTO out = BUF_EMPTY;
    sizelist_uidl(&entry, &out);
    assert_span(buf_span(&out), span_of(expected));
    assert_true(sizelist_uidl_to_pair(buf_span(&out), name_base(entry.name), &n_back, &uidv_back));
    assert_true(n_back == n && uidv_back == (n == 0 ? 0 : uidv));
}

static void makes_uidls(void **state)
{
    (void)state;
    assert_uidl("1700000001.a:2,S", 3, 1795340956, "UID3-1795340956");
    assert_uidl("1700000001.a:2,S", 3, 0, "UID3");
    assert_uidl("1700000001.a:2,S", 0, 0, "1700000001.a");
    assert_uidl("1700000001.a:2,S", 0, 9, "1700000001.a");
    assert_uidl("1700000005.\xc3\xa9:2,", 0, 0, "1700000005.+C3+A9");
    assert_uidl("a+b", 0, 0, "a+2Bb");
    assert_uidl("a b", 0, 0, "a+20b");
    assert_uidl("a'\"\x7f%~,S=3:2,", 0, 0, "a+27+22+7F%~,S=3");
    assert_uidl("x", UINT64_MAX, UINT64_MAX, "UID18446744073709551615-18446744073709551615");
}

static void reads_no_other_uidls(void **state)
{
    (void)state;
    static const char *const other[] = {"",
                                        "UID",
                                        "UID0",
                                        "UID0-5",
                                        "UID5-0",
                                        "UID05",
                                        "UID5-05",
                                        "UID5-",
                                        "UID-5",
                                        "UID5-6-7",
                                        "UID+5",
                                        "UID 5",
                                        "uid5",
                                        "UID18446744073709551616",
                                        "UID5-18446744073709551616",
                                        "000000030012d687",
                                        "base",
                                        "base+",
                                        "base+2b+",
                                        "base+2Bx",
                                        "base+2"};
    uint64_t n, uidv;
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        struct span uidl = exact(span_of(other[i]));
        if (sizelist_uidl_to_pair(uidl, TEXT("base+"), &n, &uidv))
            fail_msg("'%s' was read", other[i]);
        exact_free(uidl);
    }
    assert_true(sizelist_uidl_to_pair(TEXT("base+2B"), TEXT("base+"), &n, &uidv));
    assert_false(sizelist_uidl_to_pair(TEXT(""), TEXT(""), &n, &uidv));
}

static void survives_random_files(void **state)
{
    (void)state;
    static const char *const headers[] = {"", "/1 50\n", "/2 50 777\n", "/3 50 777\n"};
    chance_start("sizelist");
    for (int round = 0; round < 5000; round++) {
        BUF_AUTO text = BUF_EMPTY;
        BUF_AUTO once = BUF_EMPTY;
        BUF_AUTO twice = BUF_EMPTY;
        struct sizelist list, again;
        size_t version = chance(4), count = chance(10);
        buf_add_string(&text, headers[version]);
        for (size_t i = 0; i < count; i++) {
            buf_printf(&text, "17000000%02zu.M%zu P1:2, %zu", i, chance(1000), chance(90000));
            switch (version) {
            case 1:
                buf_printf(&text, " %zu", 1 + chance(49));
                break;
            case 2:
                buf_printf(&text, " %zu:777", 1 + chance(49));
                break;
            case 3:
                buf_printf(&text, " %zu:%zu:%zu", chance(49), chance(3), chance(2));
                break;
            default:
                break;
            }
            buf_add_char(&text, '\n');
        }
        assert_int_equal(sizelist_parse(buf_span(&text), NULL, &list), 0);
        assert_int_equal(list.version, version);
        assert_int_equal(list.count, count);
        sizelist_release(&list);
        chance_damage(&text);
        struct span copy = exact(buf_span(&text));
        if (sizelist_parse(copy, NULL, &list) == 0) {
            for (size_t i = 0; i < list.count; i++)
                assert_true(lies_within(list.entries[i].name, copy));
            sizelist_format(&list, &once);
            assert_int_equal(sizelist_parse(buf_span(&once), NULL, &again), 0);
            assert_false(again.rewrite);
            assert_int_equal(again.count, list.count);
            sizelist_format(&again, &twice);
            assert_span(buf_span(&twice), buf_span(&once));
            sizelist_release(&again);
            sizelist_release(&list);
        }
        exact_free(copy);
    }
}

static void stays_quick(void **state)
{
    (void)state;
    BUF_AUTO text = BUF_EMPTY;
    struct sizelist list;
    buf_add_string(&text, "/3 200000 777\n");
    for (int i = 0; i < 100000; i++)
        buf_printf(&text, "1700000000.M%dP1.h,S=5:2,S 1234 %d:777:0\n", i, i);
    for (int i = 0; i < 20000000; i++)
        buf_add_char(&text, "x :\0"[i % 4]);
    double start = cpu_seconds();
    assert_int_equal(sizelist_parse(buf_span(&text), NULL, &list), 0);
    assert_true(cpu_seconds() - start < 5);
    assert_int_equal(list.count, 100000);
    sizelist_release(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes),
        cmocka_unit_test(grows_at_its_end),
        cmocka_unit_test(reads_version_2),
        cmocka_unit_test(reads_version_1),
        cmocka_unit_test(reads_version_0),
        cmocka_unit_test(reads_the_header_as_courier_does),
        cmocka_unit_test(reads_entries_as_courier_does),
        cmocka_unit_test(skips_lines_that_courier_skips),
        cmocka_unit_test(reads_cr_lf),
        cmocka_unit_test(keeps_a_last_line_without_newline),
        cmocka_unit_test(raises_a_low_next),
        cmocka_unit_test(makes_uidls),
        cmocka_unit_test(reads_no_other_uidls),
        cmocka_unit_test(survives_random_files),
        cmocka_unit_test(stays_quick),
    };
    return cmocka_run_group_tests_name("sizelist", tests, NULL, NULL);
}
