/* Parts of the survey that count and estimate. */
#include "testing.h"

#include "bridge/mailbox.h"
#include "cache/cache.h"
#include "ctl/survey_estimate.h"
#include "ctl/survey_report.h"

static void sorts_into_bins(void **state)
{
    (void)state;
    assert_int_equal(bin_of_messages(0), 0);
    assert_int_equal(bin_of_messages(1), 1);
    assert_int_equal(bin_of_messages(3), 2);
    assert_int_equal(bin_of_messages(4), 3);
    assert_int_equal(bin_of_messages(1048575), 20);
    assert_int_equal(bin_of_messages(1048576), 21);
    assert_int_equal(bin_of_messages(UINT64_MAX), 21);
    assert_int_equal(histogram_bins(BY_MESSAGES), 22);
    assert_int_equal(bin_of_user_bytes(0), 0);
    assert_int_equal(bin_of_user_bytes(999999), 1);
    assert_int_equal(bin_of_user_bytes(1000000), 2);
    assert_int_equal(bin_of_user_bytes(UINT64_MAX), 7);
    assert_int_equal(bin_of_keywords(0), 0);
    assert_int_equal(bin_of_keywords(26), 4);
    assert_int_equal(bin_of_keywords(27), 5);
    assert_int_equal(bin_of_keywords(UINT64_MAX), 5);
    assert_int_equal(bin_of_age(1000, 1000), 0);
    assert_int_equal(bin_of_age(0, 8 * 86400), 1);
    assert_int_equal(bin_of_age(0, (time_t)86400 * 10000), 7);
    assert_int_equal(bin_of_age(200000, 1000), 8);
    assert_int_equal(bin_of_pop3_age(0, (time_t)86400 * 10000), 6);
    assert_int_equal(bin_of_servers(true, false), 1);
}

static void keeps_the_largest(void **state)
{
    (void)state;
    struct survey_figures sum, one;
    assert_int_equal(figures_init(&sum, 3), 0);
    assert_int_equal(figures_init(&one, 3), 0);
    static const char *const paths[] = {"a", "b", "c", "d", "e", "empty"};
    static const uint64_t messages[] = {5, 9, 1, 7, 9, 0};
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(figures_add_folder(i % 2 == 0 ? &sum : &one, paths[i], messages[i], i), 0);
    one.users = 2;
    one.places[FINDING_WRONG_S] = 4;
    one.histogram[BY_AGE][3] = 5;
    sum.users = 1;
    assert_int_equal(figures_add(&sum, &one), 0);
    assert_int_equal(sum.users, 3);
    assert_int_equal(sum.places[FINDING_WRONG_S], 4);
    assert_int_equal(sum.histogram[BY_AGE][3], 5);
    assert_int_equal(sum.top_count, 3);
    assert_string_equal(sum.top[0].path, "e"); /* more bytes than b */
    assert_string_equal(sum.top[1].path, "b");
    assert_string_equal(sum.top[2].path, "d");
    figures_release(&one);
    figures_release(&sum);
}

static void keeps_some_findings_and_counts_all(void **state)
{
    (void)state;
    struct findings *findings = malloc(sizeof(*findings));
    assert_non_null(findings);
    findings_init(findings, NULL);
    for (int i = 0; i < 1000; i++) {
        char path[16], text[400];
        memset(text, 'x', sizeof(text));
        snprintf(path, sizeof(path), "p%03d", 999 - i);
        struct finding finding = {.path = path,
                                  .line = 3,
                                  .text = text,
                                  .text_len = sizeof(text),
                                  .why = "why",
                                  .count = 2};
        findings_add(findings, FINDING_WRONG_S, &finding);
    }
    findings_sort(findings);
    const struct finding_group *group = &findings->groups[FINDING_WRONG_S];
    assert_int_equal(group->count, 2000);
    assert_int_equal(group->kept_count, FINDINGS_KEPT);
    assert_string_equal(group->kept[0].path, "p900");
    assert_true(group->kept[0].cut && group->kept[0].text_len < 400);
    findings_release(findings);
    free(findings);
}

/* Every kind has its words; those that block come first. */
static void tells_of_every_kind(void **state)
{
    (void)state;
    for (int kind = 0; kind < FINDING_COUNT; kind++) {
        const struct finding_about *about = finding_about((enum finding_kind)kind);
        assert_non_null(about->id);
        assert_non_null(about->title);
        assert_non_null(about->advice);
        if (kind > 0 && about->blocks)
            assert_true(finding_about((enum finding_kind)(kind - 1))->blocks);
    }
}

static void assert_text(const struct buf *text, const char *expected)
{
    assert_span(buf_span(text), span_of(expected));
}

static void writes_numbers_for_people(void **state)
{
    (void)state;
    static const struct {
        uint64_t number;
        const char *grouped;
        const char *bytes;
    } cases[] = {{0, "0", "0 bytes"},
                 {999, "999", "999 bytes"},
                 {1000, "1,000", "1.0 kB"},
                 {99949, "99,949", "99.9 kB"},
                 {999499, "999,499", "999 kB"},
                 {999500, "999,500", "1.0 MB"},
                 {1234567890, "1,234,567,890", "1.2 GB"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        BUF_AUTO grouped = BUF_EMPTY;
        BUF_AUTO bytes = BUF_EMPTY;
        report_add_number(&grouped, cases[i].number);
        report_add_bytes(&bytes, cases[i].number);
        assert_text(&grouped, cases[i].grouped);
        assert_text(&bytes, cases[i].bytes);
    }
    BUF_AUTO time = BUF_EMPTY;
    report_add_duration(&time, 59.4);
    report_add_duration(&time, 3599);
    report_add_duration(&time, 90000);
    assert_text(&time, "59 s59 min 59 s1 days 1 h");
}

/* ---- the cache ------------------------------------------------------------------------------- */

static void log_nothing(void *arg, bool is_error, const char *text)
{
    (void)arg;
    (void)is_error;
    (void)text;
}

/* What COUNT entries for uidlists of LEAST to MOST bytes take, as estimated and in a real cache. */
static void assert_estimate(size_t count, size_t least, size_t most)
{
    char dir[] = "/tmp/test_survey.XXXXXX";
    char command[64];
    struct cache *cache;
    struct cache_figures figures;
    uint64_t estimated = 0;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(cache_open(dir, (size_t)1 << 30, log_nothing, NULL, &cache), 0);
    for (uint64_t i = 0; i < count; i++) {
        size_t length = least + chance(most - least + 1);
        size_t size = view_remembered_size(length);
        void *blob = calloc(1, size);
        assert_non_null(blob);
        cache_put(cache, cache_key_of(&i, sizeof(i)), blob, size);
        estimated += estimate_cache_entry(length);
        free(blob);
    }
    cache_figures(cache, &figures);
    cache_close(cache);
    snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(figures.entries, count);
    double share = (double)estimated / (double)figures.bytes_used;
    print_message("%zu entries of %zu to %zu bytes: estimated %.2f of what they take\n", count,
                  least, most, share);
    assert_true(share > 0.8 && share < 1.25);
}

static void estimates_the_cache(void **state)
{
    (void)state;
    chance_start("cache");
    assert_estimate(2000, 60, 1500);
    assert_estimate(2000, 60, 6000);
    assert_estimate(400, 1000, 40000);
    assert_estimate(30, 100000, 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorts_into_bins),
        cmocka_unit_test(keeps_the_largest),
        cmocka_unit_test(keeps_some_findings_and_counts_all),
        cmocka_unit_test(tells_of_every_kind),
        cmocka_unit_test(writes_numbers_for_people),
        cmocka_unit_test(estimates_the_cache),
    };
    return cmocka_run_group_tests_name("survey", tests, NULL, NULL);
}
