/* fs/courier/uiddb. What "seen" says was observed with Courier 5.0.13. */
#include "testing.h"

#include "courier/uiddb.h"

#define HEADER "1 1234567 20\n"

static struct heard heard;

/* Parses an exact copy, kept in *TEXT_R. */
static int parse(struct span text, struct uiddb *db, struct span *text_r)
{
    memset(&heard, 0, sizeof(heard));
    *text_r = exact(text);
    return uiddb_parse(*text_r, LISTENER(&heard), db);
}

/* TEXT has REPAIRS and is written as EXPECTED. */
static void assert_read_as(struct span text, unsigned repairs, const char *expected)
{
    struct uiddb db;
    struct span copy;
    BUF_AUTO out = BUF_EMPTY;
    assert_int_equal(parse(text, &db, &copy), 0);
    assert_int_equal(db.repairs, repairs);
    uiddb_format(&db, &out);
    assert_span(buf_span(&out), span_of(expected));
    uiddb_release(&db);
    exact_free(copy);
}

static void assert_refused(struct span text, unsigned line, const char *why)
{
    struct uiddb db;
    struct span copy;
    assert_int_equal(parse(text, &db, &copy), -EUCLEAN);
    if (!heard_of(&heard, line, why))
        fail_msg("line %u: %s", heard.said[0].line, heard.said[0].why);
    assert_null(db.lines);
    assert_int_equal(db.count, 0);
    assert_int_equal(uiddb_parse(copy, NULL, &db), -EUCLEAN);
    exact_free(copy);
}

static void reads_and_writes(void **state)
{
    (void)state;
    struct span text = TEXT("1 795341708 4\n1 1700000001.a\n2 1700000002.with space\n"), copy;
    struct uiddb db;
    assert_int_equal(parse(text, &db, &copy), 0);
    assert_int_equal(heard.count, 0);
    assert_int_equal(db.repairs, 0);
    assert_int_equal(db.uidvalidity, 795341708);
    assert_int_equal(db.uidnext, 4);
    assert_int_equal(db.count, 2);
    assert_int_equal(db.lines[1].uid, 2);
    assert_span(db.lines[1].base, TEXT("1700000002.with space"));
    assert_int_equal(db.ambiguous_count, 0);
    uiddb_release(&db);
    assert_null(db.lines);
    exact_free(copy);
    assert_read_as(text, 0, text.text);
    assert_read_as(TEXT("1 795341708 1\n"), 0, "1 795341708 1\n");
}

static void keeps_gaps_and_stale_lines(void **state)
{
    (void)state;
    assert_read_as(TEXT(HEADER "3 1.a\n7 2.b\n19 9.gone\n"), 0, HEADER "3 1.a\n7 2.b\n19 9.gone\n");
}

static void reads_the_header_as_courier_does(void **state)
{
    (void)state;
    assert_read_as(TEXT("  1 1234567 20\n"), 0, HEADER);
    assert_read_as(TEXT(" \t+01\t1234567\t20\n2 1.x\n"), 0, HEADER "2 1.x\n");
    assert_read_as(TEXT("1 1234567 20abc\n2 1.x\n"), 0, HEADER "2 1.x\n");
    assert_read_as(TEXT("1 1234567 20 and more\n"), 0, HEADER);
    assert_refused(TEXT(""), 0, "empty");
    assert_refused(TEXT("1 1234567 20"), 1, "no header"); /* no LF at all: seen, renumbered */
    assert_refused(TEXT("\n"), 1, "no header");
    assert_refused(TEXT("2 1234567 20\n"), 1, "no header");
    assert_refused(TEXT("1x 1234567 20\n"), 1, "no header");
    assert_refused(TEXT("1\n1234567 20\n"), 1, "no header");
    assert_refused(TEXT("1 1234567\n2 1.x\n"), 1, "no header");
    assert_refused(TEXT("garbage\n2 1.x\n"), 1, "no header");
    assert_refused(TEXT("\0 1234567 20\n"), 1, "no header");
    assert_refused(TEXT("3 V1234567 N20 G0123456789abcdef0123456789abcdef\n"), 1, "no header");
}

static void refuses_what_dovecot_cannot_hold(void **state)
{
    (void)state;
    assert_refused(TEXT("1 0 20\n"), 1, "UIDVALIDITY");
    assert_refused(TEXT("1 4294967296 20\n"), 1, "UIDVALIDITY");
    assert_refused(TEXT("1 -5 20\n"), 1, "UIDVALIDITY");
    assert_refused(TEXT("1 99999999999999999999999 20\n"), 1, "UIDVALIDITY");
    assert_refused(TEXT("1 1234567 4294967295\n"), 1, "NEXTUID");
    assert_refused(TEXT("1 1234567 -1\n"), 1, "NEXTUID");
    assert_refused(TEXT(HEADER "2 1.x\n0 2.y\n"), 3, "UID");
    assert_refused(TEXT(HEADER "4294967294 2.y\n"), 2, "UID");
    assert_refused(TEXT(HEADER "4294967297 2.y\n"), 2, "UID"); /* seen: shown to clients as it is */
    assert_refused(TEXT(HEADER "-5 2.y\n"), 2, "UID");         /* seen: 18446744073709551611 */
    assert_refused(TEXT(HEADER "99999999999999999999999 2.y\n"), 2, "UID");
    assert_read_as(TEXT("1 4294967295 4294967294\n4294967293 1.a\n"), 0,
                   "1 4294967295 4294967294\n4294967293 1.a\n");
}

static void raises_a_low_nextuid(void **state)
{
    (void)state;
    assert_read_as(TEXT("1 100 3\n7 1.a\n9 2.b\n"), UIDDB_NEXT_TOO_LOW, "1 100 10\n7 1.a\n9 2.b\n");
    assert_true(heard_of(&heard, 1, "NEXTUID"));
    assert_read_as(TEXT("1 100 9\n9 2.b\n"), UIDDB_NEXT_TOO_LOW, "1 100 10\n9 2.b\n");
    assert_read_as(TEXT("1 100 0\n"), UIDDB_NEXT_TOO_LOW, "1 100 1\n");
    /* A UID in a line that is ignored or dropped was given out all the same. */
    assert_read_as(TEXT("1 100 3\n9 \n"), UIDDB_NEXT_TOO_LOW | UIDDB_IGNORED_LINES, "1 100 10\n");
    assert_read_as(TEXT("1 100 3\n1 1.a\n9 1.a\n"), UIDDB_NEXT_TOO_LOW | UIDDB_SAME_NAME,
                   "1 100 10\n1 1.a\n");
}

static void sorts(void **state)
{
    (void)state;
    assert_read_as(TEXT(HEADER "9 1.a\n3 2.b\n7 3.c\n"), UIDDB_UNSORTED,
                   HEADER "3 2.b\n7 3.c\n9 1.a\n");
    assert_int_equal(heard.count, 0);
}

/* Seen, with the same lines: the UIDs that Courier then showed and wrote. */
static void keeps_the_line_that_courier_keeps(void **state)
{
    (void)state;
#define A "1700000001.a"
#define B "1700000002.b"
    static const struct {
        const char *lines, *kept;
    } cases[] = {
        {"3 " A "\n5 " B "\n7 " A "\n", "3 " A "\n5 " B "\n"},
        {"7 " A "\n5 " B "\n3 " A "\n", "5 " B "\n7 " A "\n"},
        {"3 " A "\n7 " A "\n9 " B "\n", "3 " A "\n9 " B "\n"},
        {"7 " A "\n3 " A "\n9 " B "\n", "7 " A "\n9 " B "\n"},
        {"3 " A "\n5 " A "\n7 " A "\n9 " B "\n", "3 " A "\n9 " B "\n"},
        {"7 " A "\n5 " A "\n3 " A "\n9 " B "\n", "7 " A "\n9 " B "\n"},
        {"5 " A "\n3 " A "\n7 " A "\n9 " B "\n", "5 " A "\n9 " B "\n"},
        {"3 " A "\n7 " A "\n5 " A "\n9 " B "\n", "3 " A "\n9 " B "\n"},
        {"5 " A "\n7 " A "\n3 " A "\n9 " B "\n", "5 " A "\n9 " B "\n"},
        /* behind another name the binary search meets the later line */
        {"2 " A "\n3 " B "\n7 " B "\n", "2 " A "\n7 " B "\n"},
        {"2 " A "\n7 " B "\n3 " B "\n", "2 " A "\n3 " B "\n"},
        /* a line without a name counts as another name, one without a space or number does not */
        {"5 \n3 " A "\n7 " A "\n", "7 " A "\n"},
        {"5 :2,S\n3 " A "\n7 " A "\n", "7 " A "\n"},
        {"5 a/b\n3 " A "\n7 " A "\n", "7 " A "\n"},
        {"5\n3 " A "\n7 " A "\n", "3 " A "\n"},
        {"x 0\n3 " A "\n7 " A "\n", "3 " A "\n"},
        /* with flags and without */
        {"3 " A ":2,S\n7 " A "\n9 " B "\n", "3 " A "\n9 " B "\n"},
        {"3 " A "\n7 " A ":2,S\n9 " B "\n", "3 " A "\n9 " B "\n"},
        {"7 " A ":2,S\n3 " A "\n9 " B "\n", "7 " A "\n9 " B "\n"},
        {"7 " A "\n3 " A ":2,S\n9 " B "\n", "7 " A "\n9 " B "\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        BUF_AUTO text = BUF_EMPTY;
        BUF_AUTO expected = BUF_EMPTY;
        BUF_AUTO out = BUF_EMPTY;
        struct uiddb db;
        struct span copy;
        buf_printf(&text, HEADER "%s", cases[i].lines);
        buf_printf(&expected, HEADER "%s", cases[i].kept);
        assert_int_equal(parse(buf_span(&text), &db, &copy), 0);
        assert_true(db.repairs & UIDDB_SAME_NAME);
        assert_true(heard.count > 0);
        uiddb_format(&db, &out);
        assert_span(buf_span(&out), buf_span(&expected));
        uiddb_release(&db);
        exact_free(copy);
    }
#undef A
#undef B
}

/* Courier does not see a last line without LF, so the other one is its choice. */
static void prefers_a_line_that_courier_sees(void **state)
{
    (void)state;
    assert_read_as(TEXT(HEADER "2 1.x\n3 5.a\n7 5.a"), UIDDB_SAME_NAME | UIDDB_NO_FINAL_LF,
                   HEADER "2 1.x\n3 5.a\n");
}

static void sets_lines_with_one_uid_aside(void **state)
{
    (void)state;
    struct uiddb db;
    struct span copy;
    assert_int_equal(parse(TEXT(HEADER "7 9.c\n2 1.a\n7 2.b\n3 3.d\n2 1.a\n"), &db, &copy), 0);
    assert_int_equal(db.repairs, UIDDB_SAME_UID | UIDDB_SAME_NAME | UIDDB_UNSORTED);
    assert_int_equal(db.count, 2);
    assert_span(db.lines[0].base, TEXT("1.a"));
    assert_span(db.lines[1].base, TEXT("3.d"));
    assert_int_equal(db.ambiguous_count, 2);
    assert_int_equal(db.ambiguous[0].uid, 7);
    assert_span(db.ambiguous[0].base, TEXT("9.c"));
    assert_span(db.ambiguous[1].base, TEXT("2.b"));
    assert_true(heard_of(&heard, 2, "same UID"));
    assert_true(heard_of(&heard, 4, "same UID"));
    uiddb_release(&db);
    exact_free(copy);
    /* 5 is not shared: the line for 1.a that has it is dropped, as Courier drops it */
    assert_read_as(TEXT(HEADER "3 1.a\n5 1.a\n5 2.b\n"), UIDDB_SAME_NAME, HEADER "3 1.a\n5 2.b\n");
}

static void keeps_a_last_line_without_newline(void **state)
{
    (void)state;
    assert_read_as(TEXT(HEADER "2 1.x\n5 2.y"), UIDDB_NO_FINAL_LF, HEADER "2 1.x\n5 2.y\n");
    assert_true(heard_of(&heard, 3, "no newline"));
}

static void reads_cr_lf_when_the_header_has_it(void **state)
{
    (void)state;
    assert_read_as(TEXT("1 1234567 20\r\n2 1.x\r\n5 2.y:2,S\r\n"),
                   UIDDB_CRLF | UIDDB_NAME_WITH_FLAGS, HEADER "2 1.x\n5 2.y\n");
    assert_true(heard_of(&heard, 1, "CR LF"));
    assert_read_as(TEXT("1 1234567 20\r\n2 1.x\n"), UIDDB_CRLF, HEADER "2 1.x\n");
    /* here the CR may be the file's own */
    assert_read_as(TEXT(HEADER "2 1.x\r\n"), 0, HEADER "2 1.x\r\n");
}

static void cuts_flags(void **state)
{
    (void)state;
    assert_read_as(TEXT(HEADER "2 1.x:2,S\n3 2.y:1,b:2,\n"), UIDDB_NAME_WITH_FLAGS,
                   HEADER "2 1.x\n3 2.y\n");
    assert_true(heard_of(&heard, 2, "flags"));
    assert_read_as(TEXT(HEADER "5 1.a\0bc\n"), UIDDB_NAME_WITH_FLAGS, HEADER "5 1.a\n");
}

static void reads_numbers_as_courier_does(void **state)
{
    (void)state;
    assert_read_as(TEXT(HEADER "009 1.a\n"), 0, HEADER "9 1.a\n");
    assert_read_as(TEXT(HEADER "5x 1.a\n"), 0, HEADER "5 1.a\n");
    assert_read_as(TEXT(HEADER "\t5 1.a\n\v+6 2.b\n"), 0, HEADER "5 1.a\n6 2.b\n");
    assert_read_as(TEXT(HEADER "5  1.a\n6 2.b \n"), 0, HEADER "5  1.a\n6 2.b \n");
}

static void ignores_lines_without_number_or_name(void **state)
{
    (void)state;
    assert_read_as(TEXT(HEADER "\n5\nx 1.a\n 6 1.b\n7 \n8 :2,S\n9 a/b\n10 4.d\n\0 5.e\n11\0 6.f\n"),
                   UIDDB_IGNORED_LINES, HEADER "10 4.d\n");
    assert_int_equal(heard.count, 9);
    assert_true(heard_of(&heard, 2, "not 'UID NAME'"));
    assert_true(heard_of(&heard, 6, "no file name"));
}

static void writes_a_line(void **state)
{
    (void)state;
    BUF_AUTO out = BUF_EMPTY;
    uiddb_format_line(&out, 4294967293U, TEXT("1700000002.with space"));
    assert_span(buf_span(&out), TEXT("4294967293 1700000002.with space\n"));
}

/* Independent of the parser: Courier's steps, on pointers to terminated names. */
struct courier_line {
    char name[16];
    uint32_t uid;
};

static int compare_courier_lines(const void *a, const void *b)
{
    const struct courier_line *x = *(struct courier_line *const *)a;
    const struct courier_line *y = *(struct courier_line *const *)b;
    int difference = (int)(atol(x->name) - atol(y->name));
    return difference != 0 ? difference : strcmp(x->name, y->name);
}

static uint32_t courier_finds(struct courier_line **sorted, size_t count, struct courier_line *name)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare_courier_lines(&sorted[middle], &name);
        if (order == 0)
            return sorted[middle]->uid;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

static void agrees_with_courier_on_random_duplicates(void **state)
{
    (void)state;
    struct courier_line lines[60], *sorted[60];
    chance_start("duplicates");
    for (int round = 0; round < 3000; round++) {
        BUF_AUTO text = BUF_EMPTY;
        struct uiddb db;
        size_t count = 1 + chance(60), names = 1 + chance(30);
        buf_printf(&text, "1 77 1000\n");
        for (size_t i = 0; i < count; i++) {
            int name = (int)chance(names);
            lines[i].uid = (uint32_t)(1 + (i * 7) % 61);
            snprintf(lines[i].name, sizeof(lines[i].name), "%d.%c", name / 3, "abc"[name % 3]);
            sorted[count - 1 - i] = &lines[i];
            buf_printf(&text, "%u %s\n", lines[i].uid, lines[i].name);
        }
        qsort(sorted, count, sizeof(struct courier_line *), compare_courier_lines);
        assert_int_equal(uiddb_parse(buf_span(&text), NULL, &db), 0);
        for (size_t i = 0; i < count; i++) {
            uint32_t expected = courier_finds(sorted, count, &lines[i]), shown = 0;
            for (size_t j = 0; j < db.count; j++)
                if (span_equals(db.lines[j].base, lines[i].name))
                    shown = db.lines[j].uid;
            assert_int_equal(shown, expected);
        }
        uiddb_release(&db);
    }
}

static void assert_sound(const struct uiddb *db, struct span text)
{
    uint32_t highest = 0;
    for (size_t i = 0; i < db->count; i++) {
        assert_true(db->lines[i].uid > highest);
        highest = db->lines[i].uid;
        assert_true(lies_within(db->lines[i].base, text));
        assert_true(db->lines[i].base.len > 0);
        for (size_t j = 0; j < i && db->count < 100; j++)
            assert_false(span_equal(db->lines[i].base, db->lines[j].base));
    }
    for (size_t i = 0; i < db->ambiguous_count; i++) {
        assert_true(lies_within(db->ambiguous[i].base, text));
        highest = db->ambiguous[i].uid > highest ? db->ambiguous[i].uid : highest;
    }
    assert_true(db->uidnext > highest);
    assert_true(db->uidvalidity != 0);
}

/* What was written is as if it had been read again. */
static void assert_points_into(struct uiddb *db, const struct uiddb *read, struct span text)
{
    uiddb_point_into(db, text);
    assert_int_equal(db->uidvalidity, read->uidvalidity);
    assert_int_equal(db->uidnext, read->uidnext);
    assert_int_equal(db->repairs, 0);
    assert_int_equal(db->ambiguous_count, 0);
    assert_int_equal(db->count, read->count);
    for (size_t i = 0; i < db->count; i++) {
        assert_int_equal(db->lines[i].uid, read->lines[i].uid);
        assert_ptr_equal(db->lines[i].base.text, read->lines[i].base.text);
        assert_int_equal(db->lines[i].base.len, read->lines[i].base.len);
    }
}

/* Valid files in any order of lines, then damaged ones. */
static void survives_random_files(void **state)
{
    (void)state;
    chance_start("uiddb");
    for (int round = 0; round < 5000; round++) {
        BUF_AUTO text = BUF_EMPTY;
        BUF_AUTO once = BUF_EMPTY;
        BUF_AUTO twice = BUF_EMPTY;
        struct uiddb db, again;
        size_t count = chance(12);
        buf_printf(&text, "1 %zu %zu\n", 1 + chance(UINT32_MAX), 100 + chance(1000));
        for (size_t i = 0; i < count; i++)
            buf_printf(&text, "%zu 17000000%02zu.M%zuP1.h\n", (i * 5) % 13 + 1, i, chance(1000));
        assert_int_equal(uiddb_parse(buf_span(&text), NULL, &db), 0);
        assert_int_equal(db.repairs & ~(unsigned)UIDDB_UNSORTED, 0);
        assert_int_equal(db.count, count);
        uiddb_release(&db);
        chance_damage(&text);
        struct span copy = exact(buf_span(&text));
        if (uiddb_parse(copy, NULL, &db) == 0) {
            assert_sound(&db, copy);
            uiddb_format(&db, &once);
            assert_int_equal(uiddb_parse(buf_span(&once), NULL, &again), 0);
            assert_int_equal(again.repairs, 0);
            assert_int_equal(again.count, db.count);
            uiddb_format(&again, &twice);
            assert_span(buf_span(&twice), buf_span(&once));
            assert_points_into(&db, &again, buf_span(&once));
            uiddb_release(&again);
            uiddb_release(&db);
        }
        exact_free(copy);
    }
}

static void add_nothing_special(struct buf *text, unsigned i)
{
    buf_printf(text, "%u 1700000000.M%uP1.h\n", i, (i * 7919) % 100003);
}

static void add_one_name(struct buf *text, unsigned i)
{
    buf_printf(text, "%u same\n", i);
}

static void add_one_uid(struct buf *text, unsigned i)
{
    buf_printf(text, "7 %u.name\n", i);
}

static void add_far_numbers(struct buf *text, unsigned i)
{
    buf_printf(text, "%u %" PRIu64 ".a\n", i, (uint64_t)(i % 1000) * 1234567891);
}

/* 100,000 lines take milliseconds; were anything quadratic, minutes. */
static void stays_quick(void **state)
{
    (void)state;
    void (*const kinds[])(struct buf *, unsigned) = {add_nothing_special, add_one_name, add_one_uid,
                                                     add_far_numbers};
    for (size_t kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
        BUF_AUTO text = BUF_EMPTY;
        struct uiddb db;
        buf_add_string(&text, "1 1234567 1\n");
        for (unsigned i = 1; i <= 100000; i++)
            kinds[kind](&text, i);
        double start = cpu_seconds();
        assert_int_equal(uiddb_parse(buf_span(&text), NULL, &db), 0);
        assert_true(cpu_seconds() - start < 5);
        uiddb_release(&db);
    }
}

static void takes_one_endless_line(void **state)
{
    (void)state;
    BUF_AUTO text = BUF_EMPTY;
    struct uiddb db;
    buf_add_string(&text, HEADER "5 ");
    for (int i = 0; i < 20000000; i++)
        buf_add_char(&text, "9 :\0"[i % 4]);
    assert_int_equal(uiddb_parse(buf_span(&text), NULL, &db), 0);
    uiddb_release(&db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes),
        cmocka_unit_test(keeps_gaps_and_stale_lines),
        cmocka_unit_test(reads_the_header_as_courier_does),
        cmocka_unit_test(refuses_what_dovecot_cannot_hold),
        cmocka_unit_test(raises_a_low_nextuid),
        cmocka_unit_test(sorts),
        cmocka_unit_test(keeps_the_line_that_courier_keeps),
        cmocka_unit_test(prefers_a_line_that_courier_sees),
        cmocka_unit_test(sets_lines_with_one_uid_aside),
        cmocka_unit_test(keeps_a_last_line_without_newline),
        cmocka_unit_test(reads_cr_lf_when_the_header_has_it),
        cmocka_unit_test(cuts_flags),
        cmocka_unit_test(reads_numbers_as_courier_does),
        cmocka_unit_test(ignores_lines_without_number_or_name),
        cmocka_unit_test(writes_a_line),
        cmocka_unit_test(agrees_with_courier_on_random_duplicates),
        cmocka_unit_test(survives_random_files),
        cmocka_unit_test(stays_quick),
        cmocka_unit_test(takes_one_endless_line),
    };
    return cmocka_run_group_tests_name("uiddb", tests, NULL, NULL);
}
