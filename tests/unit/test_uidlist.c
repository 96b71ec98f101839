/* fs/dovecot/uidlist. */
#include "testing.h"

#include "dovecot/uidlist.h"

#define GUID "0123456789abcdef0123456789abcdef"

static void assert_header(struct span line, const char *expected)
{
    struct uidlist_header header;
    struct span copy = exact(line);
    BUF_AUTO scratch = BUF_EMPTY;
    BUF_AUTO out = BUF_EMPTY;
    assert_int_equal(uidlist_parse_header(copy, &scratch, &header), 0);
    uidlist_format_header(&out, &header);
    assert_span(buf_span(&out), span_of(expected));
    exact_free(copy);
}

static void reads_headers(void **state)
{
    (void)state;
    struct uidlist_header header;
    BUF_AUTO scratch = BUF_EMPTY;
    assert_int_equal(
        uidlist_parse_header(TEXT("3 V1275660208 N25022 G" GUID " Xa Yb"), &scratch, &header), 0);
    assert_int_equal(header.uidvalidity, 1275660208);
    assert_int_equal(header.uidnext, 25022);
    assert_span(header.guid, TEXT(GUID));
    assert_span(header.other, TEXT("Xa Yb"));
    assert_header(TEXT("3 V12 N3 G" GUID), "3 V12 N3 G" GUID "\n");
    assert_header(TEXT("3 V12 N3"), "3 V12 N3\n");
    assert_header(TEXT("3 V12 N3\r"), "3 V12 N3\n");
    assert_header(TEXT("3 N3 Pfmt  V12 x G" GUID " Zq"), "3 V12 N3 G" GUID " Pfmt x Zq\n");
    assert_header(TEXT("3 V1 V4294967295 N4294967295"), "3 V4294967295 N4294967295\n");
}

static void refuses_headers(void **state)
{
    (void)state;
    const struct span bad[] = {TEXT(""),
                               TEXT("3"),
                               TEXT("3 "),
                               TEXT("3  V12 N3"),
                               TEXT("1 12 3"),
                               TEXT("2 V12 N3"),
                               TEXT("33 V12 N3"),
                               TEXT(" 3 V12 N3"),
                               TEXT("3 V12"),
                               TEXT("3 N3"),
                               TEXT("3 V0 N3"),
                               TEXT("3 V12 N0"),
                               TEXT("3 V N3"),
                               TEXT("3 V12x N3"),
                               TEXT("3 V-1 N3"),
                               TEXT("3 V4294967296 N3"),
                               TEXT("3 V12 N4294967296"),
                               TEXT("3 V12 N99999999999999999999999"),
                               TEXT("3 V12 N3 G"),
                               TEXT("3 V12 N3 G0123"),
                               TEXT("3 V12 N3 G" GUID "0"),
                               TEXT("3 V12 N3 G0123456789abcdef0123456789abcdeg"),
                               TEXT("3 V12 N3 \0"),
                               TEXT("3 V12 N3 Xa\r\r")};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct uidlist_header header;
        struct span copy = exact(bad[i]);
        BUF_AUTO scratch = BUF_EMPTY;
        if (uidlist_parse_header(copy, &scratch, &header) != -EUCLEAN)
            fail_msg("'%.*s' was read", SPAN_FMT(bad[i]));
        exact_free(copy);
    }
}

static void assert_record(struct span line, const char *expected)
{
    struct uidlist_record record;
    struct span copy = exact(line);
    BUF_AUTO out = BUF_EMPTY;
    assert_int_equal(uidlist_parse_record(copy, &record), 0);
    uidlist_format_record(&out, &record);
    assert_span(buf_span(&out), span_of(expected));
    exact_free(copy);
}

static void reads_records(void **state)
{
    (void)state;
    struct uidlist_record record;
    assert_int_equal(
        uidlist_parse_record(TEXT("25006 W2481 P1.a O7 :1276.M1P2.h,S=2:2,S"), &record), 0);
    assert_int_equal(record.uid, 25006);
    assert_span(record.keys, TEXT("W2481 P1.a O7"));
    assert_span(record.base, TEXT("1276.M1P2.h,S=2"));
    assert_record(TEXT("1 :a"), "1 :a\n");
    assert_record(TEXT("1   :a"), "1 :a\n");
    assert_record(TEXT("007 :a"), "7 :a\n");
    assert_record(TEXT("4294967293 :a\r"), "4294967293 :a\n");
    assert_record(TEXT("3 P :with space and :colon"), "3 P :with space and \n");
    assert_record(TEXT("3 Pa:b P:c :1.a"), "3 Pa:b P:c :1.a\n");
    assert_record(TEXT("3  P1  W2  :1.a:2,S"), "3 P1  W2 :1.a\n");
    assert_record(TEXT("3 lower :1.a"), "3 lower :1.a\n");
}

static void refuses_records(void **state)
{
    (void)state;
    const struct span bad[] = {TEXT(""),
                               TEXT("1"),
                               TEXT("1 "),
                               TEXT("1 a"),
                               TEXT("1 P5"),
                               TEXT("1 :"),
                               TEXT("1 ::2,S"),
                               TEXT("1:a"),
                               TEXT(" 1 :a"),
                               TEXT("0 :a"),
                               TEXT("-1 :a"),
                               TEXT("x :a"),
                               TEXT("1x :a"),
                               TEXT("1 P5:a"),
                               TEXT("4294967294 :a"),
                               TEXT("4294967297 :a"),
                               TEXT("1 :a/b"),
                               TEXT("1 :a\0b"),
                               TEXT("1 P\0 :a"),
                               TEXT("1 :\r"),
                               TEXT("1 :a\r\r"),
                               TEXT("1 :a\r:2,S")};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct uidlist_record record;
        struct span copy = exact(bad[i]);
        if (uidlist_parse_record(copy, &record) != -EUCLEAN)
            fail_msg("'%.*s' was read", SPAN_FMT(bad[i]));
        exact_free(copy);
    }
}

static void finds_keys(void **state)
{
    (void)state;
    struct span keys = TEXT("W39 P  O7 Pagain"), rest = keys, value;
    char key;
    assert_true(uidlist_find_key(keys, 'W', &value));
    assert_span(value, TEXT("39"));
    assert_true(uidlist_find_key(keys, 'P', &value));
    assert_int_equal(value.len, 0);
    assert_false(uidlist_find_key(keys, 'G', &value));
    assert_false(uidlist_find_key(TEXT(""), 'P', &value));
    static const char order[] = "WPOP";
    for (size_t i = 0; i < 4; i++) {
        assert_true(uidlist_next_key(&rest, &key, &value));
        assert_int_equal(key, order[i]);
    }
    assert_false(uidlist_next_key(&rest, &key, &value));
    rest = TEXT("  ");
    assert_false(uidlist_next_key(&rest, &key, &value));
}

static void adds_keys(void **state)
{
    (void)state;
    BUF_AUTO out = BUF_EMPTY;
    buf_add_string(&out, "5 ");
    size_t start = out.len;
    uidlist_add_key(&out, start, 'P', TEXT("UID5-777"));
    uidlist_add_key(&out, start, 'O', TEXT(""));
    uidlist_add_key(&out, start, 'W', TEXT("39"));
    assert_span(buf_span(&out), TEXT("5 PUID5-777 O W39"));
}

static void survives_random_lines(void **state)
{
    (void)state;
    chance_start("uidlist");
    for (int round = 0; round < 20000; round++) {
        BUF_AUTO line = BUF_EMPTY;
        BUF_AUTO scratch = BUF_EMPTY;
        BUF_AUTO again = BUF_EMPTY;
        BUF_AUTO twice = BUF_EMPTY;
        struct uidlist_header header;
        struct uidlist_record record;
        bool is_header = chance(2);
        if (is_header)
            buf_printf(&line, "3 V%zu N%zu G" GUID " X%zu", chance(99999), chance(99999),
                       chance(100));
        else
            buf_printf(&line, "%zu W%zu P%zu :1700.M%zuP1.h", chance(99999), chance(999),
                       chance(99), chance(999));
        chance_damage(&line);
        struct span copy = exact(buf_span(&line));
        if (is_header && uidlist_parse_header(copy, &scratch, &header) == 0) {
            assert_true(lies_within(header.guid, copy));
            uidlist_format_header(&again, &header);
            again.len--;
            assert_int_equal(uidlist_parse_header(buf_span(&again), &scratch, &header), 0);
            uidlist_format_header(&twice, &header);
        } else if (!is_header && uidlist_parse_record(copy, &record) == 0) {
            assert_true(lies_within(record.keys, copy) && lies_within(record.base, copy));
            uidlist_format_record(&again, &record);
            again.len--;
            assert_int_equal(uidlist_parse_record(buf_span(&again), &record), 0);
            uidlist_format_record(&twice, &record);
        }
        if (twice.len > 0) {
            twice.len--;
            assert_span(buf_span(&twice), buf_span(&again));
        }
        exact_free(copy);
    }
}

static void stays_quick(void **state)
{
    (void)state;
    BUF_AUTO line = BUF_EMPTY;
    BUF_AUTO scratch = BUF_EMPTY;
    struct uidlist_record record;
    struct uidlist_header header;
    double start = cpu_seconds();
    buf_add_string(&line, "1 P");
    for (int i = 0; i < 20000000; i++)
        buf_add_char(&line, ':');
    assert_int_equal(uidlist_parse_record(buf_span(&line), &record), -EUCLEAN);
    buf_clear(&line);
    buf_add_string(&line, "3 V1 N1");
    for (int i = 0; i < 1000000; i++)
        buf_add_string(&line, " V1 Xy");
    assert_int_equal(uidlist_parse_header(buf_span(&line), &scratch, &header), 0);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(
            uidlist_parse_record(TEXT("25006 W2481 P1.a O7 :1276.M1P2.h,S=2:2,S"), &record), 0);
    assert_true(cpu_seconds() - start < 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_headers),
        cmocka_unit_test(refuses_headers),
        cmocka_unit_test(reads_records),
        cmocka_unit_test(refuses_records),
        cmocka_unit_test(finds_keys),
        cmocka_unit_test(adds_keys),
        cmocka_unit_test(survives_random_lines),
        cmocka_unit_test(stays_quick),
    };
    return cmocka_run_group_tests_name("uidlist", tests, NULL, NULL);
}
