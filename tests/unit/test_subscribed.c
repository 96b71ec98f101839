/* fs/courier/subscribed. */
#include "testing.h"

#include "courier/subscribed.h"

static void reads_names(void **state)
{
    (void)state;
    struct span text = exact(TEXT("INBOX\nINBOX.Sent\r\n\n\r\nINBOX.Entw\xc3\xbcrfe\n#shared.x")),
                rest = text, name;
    static const char *const names[] = {"INBOX", "INBOX.Sent", "INBOX.Entw\xc3\xbcrfe",
                                        "#shared.x"};
    for (size_t i = 0; i < 4; i++) {
        assert_true(subscribed_next(&rest, &name));
        assert_span(name, span_of(names[i]));
    }
    assert_false(subscribed_next(&rest, &name));
    exact_free(text);
    rest = TEXT("\n\r\n\n");
    assert_false(subscribed_next(&rest, &name));
}

static void translates_both_ways(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"INBOX", "INBOX"},
                                           {"INBOX.Sent", "Sent"},
                                           {"INBOX.A.B", "A.B"},
                                           {"INBOX.Entw\xc3\xbcrfe", "Entw\xc3\xbcrfe"},
                                           {"INBOX.with space", "with space"},
                                           {"INBOX.INBOX.x", "INBOX.x"},
                                           {"INBOX.inboxes", "inboxes"}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct span shown;
        BUF_AUTO out = BUF_EMPTY;
        assert_true(subscribed_to_dovecot(span_of(pairs[i][0]), &shown));
        assert_span(shown, span_of(pairs[i][1]));
        subscribed_from_dovecot(shown, &out);
        assert_span(buf_span(&out), span_of(pairs[i][0]));
    }
}

static void reads_inbox_in_any_case(void **state)
{
    (void)state;
    struct span shown;
    BUF_AUTO out = BUF_EMPTY;
    assert_true(subscribed_to_dovecot(TEXT("inbox.lower"), &shown));
    assert_span(shown, TEXT("lower"));
    assert_true(subscribed_to_dovecot(TEXT("InBox"), &shown));
    assert_span(shown, TEXT("INBOX"));
    subscribed_from_dovecot(TEXT("Inbox"), &out);
    assert_span(buf_span(&out), TEXT("INBOX"));
}

static void shows_nothing_else(void **state)
{
    (void)state;
    const struct span other[] = {
        TEXT(""),         TEXT("A"),           TEXT("INBO"),        TEXT("INBOX."),
        TEXT("INBOXES"),  TEXT("INBOXES.A"),   TEXT("INBOX/A"),     TEXT("#shared.bob.pub"),
        TEXT("shared.A"), TEXT("INBOX.INBOX"), TEXT("inbox.Inbox"), TEXT("INBOX.a\0b"),
        TEXT("INBOX.a\r")};
    struct span shown;
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        struct span name = exact(other[i]);
        assert_false(subscribed_to_dovecot(name, &shown));
        exact_free(name);
    }
}

struct edit {
    struct span text;
    struct span removed[3], added[3];
    struct span expected;
};

static size_t count_names(const struct span *names)
{
    size_t count = 0;
    while (count < 3 && names[count].text != NULL)
        count++;
    return count;
}

static void edits(void **state)
{
    (void)state;
    const struct edit cases[] = {
        {TEXT(""), {TEXT("INBOX.A")}, {{NULL, 0}}, TEXT("")},
        {TEXT(""), {{NULL, 0}}, {TEXT("INBOX.A")}, TEXT("INBOX.A\n")},
        {TEXT("INBOX.A\nINBOX.B\n"),
         {TEXT("INBOX.A")},
         {TEXT("INBOX.C")},
         TEXT("INBOX.B\nINBOX.C\n")},
        /* what is there already is not added, nor twice */
        {TEXT("inbox.A\r\n"), {{NULL, 0}}, {TEXT("INBOX.A")}, TEXT("inbox.A\r\n")},
        {TEXT(""),
         {{NULL, 0}},
         {TEXT("INBOX.A"), TEXT("Inbox.A"), TEXT("INBOX.a")},
         TEXT("INBOX.A\nINBOX.a\n")},
        /* every equal line goes; only "inbox" is without case */
        {TEXT("inbox.A\nINBOX.A\r\nINBOX.a\nInbox\n"),
         {TEXT("INBOX.A"), TEXT("INBOX")},
         {{NULL, 0}},
         TEXT("INBOX.a\n")},
        {TEXT("inboxes\n"), {TEXT("INBOXES")}, {{NULL, 0}}, TEXT("inboxes\n")},
        /* all other bytes stay */
        {TEXT("#shared.x\n\n\r\nodd\0line\r\nINBOX.A"),
         {TEXT("INBOX.B")},
         {{NULL, 0}},
         TEXT("#shared.x\n\n\r\nodd\0line\r\nINBOX.A")},
        {TEXT("INBOX.A"), {{NULL, 0}}, {TEXT("INBOX.B")}, TEXT("INBOX.A\nINBOX.B\n")},
        {TEXT("INBOX.A"), {{NULL, 0}}, {TEXT("INBOX.A")}, TEXT("INBOX.A")},
        {TEXT("INBOX.B\nINBOX.A"),
         {TEXT("INBOX.A")},
         {TEXT("INBOX.C")},
         TEXT("INBOX.B\nINBOX.C\n")},
        /* taken out and put in again */
        {TEXT("inbox.A\nINBOX.B\n"),
         {TEXT("INBOX.A")},
         {TEXT("INBOX.A")},
         TEXT("INBOX.B\nINBOX.A\n")},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct edit *edit = &cases[i];
        struct span text = exact(edit->text);
        BUF_AUTO out = BUF_EMPTY;
        subscribed_edit(text, edit->removed, count_names(edit->removed), edit->added,
                        count_names(edit->added), &out);
        assert_int_equal(buf_error(&out), 0);
        assert_span(buf_span(&out), edit->expected);
        exact_free(text);
    }
}

static void edits_behind_what_is_there(void **state)
{
    (void)state;
    BUF_AUTO out = BUF_EMPTY;
    struct span added = TEXT("INBOX.A");
    buf_add_string(&out, "kept");
    subscribed_edit(TEXT(""), NULL, 0, &added, 1, &out);
    assert_span(buf_span(&out), TEXT("keptINBOX.A\n"));
}

/* Adding and removing the same names gives back the lines there were. */
static void undoes_random_edits(void **state)
{
    (void)state;
    chance_start("subscribed");
    for (int round = 0; round < 2000; round++) {
        BUF_AUTO text = BUF_EMPTY;
        BUF_AUTO names = BUF_EMPTY;
        BUF_AUTO more = BUF_EMPTY;
        BUF_AUTO back = BUF_EMPTY;
        struct span added[5], rest, line;
        bool complete;
        size_t count = chance(6);
        for (size_t i = chance(8); i > 0; i--)
            buf_printf(&text, "%s%zu\n", chance(2) ? "INBOX.old" : "#shared.", chance(100));
        for (size_t i = 0; i < count; i++)
            buf_printf(&names, "INBOX.new%zu\n", chance(100));
        rest = buf_span(&names);
        for (size_t i = 0; i < count; i++) {
            span_next_line(&rest, &line, &complete);
            added[i] = line;
        }
        subscribed_edit(buf_span(&text), NULL, 0, added, count, &more);
        subscribed_edit(buf_span(&more), added, count, NULL, 0, &back);
        assert_span(buf_span(&back), buf_span(&text));
        chance_damage(&more);
        buf_clear(&back);
        subscribed_edit(buf_span(&more), NULL, 0, NULL, 0, &back);
        assert_span(buf_span(&back), buf_span(&more));
    }
}

static void stays_quick(void **state)
{
    (void)state;
    BUF_AUTO text = BUF_EMPTY;
    BUF_AUTO out = BUF_EMPTY;
    struct span *names = calloc(100000, sizeof(*names));
    assert_non_null(names);
    for (int i = 0; i < 100000; i++)
        buf_printf(&text, "INBOX.folder%06d\n", i);
    for (size_t i = 0; i < 100000; i++)
        names[i] = span_make(text.data + i * 19, 18);
    double start = cpu_seconds();
    subscribed_edit(buf_span(&text), names, 100000, names, 100000, &out);
    assert_true(cpu_seconds() - start < 5);
    assert_span(buf_span(&out), buf_span(&text));
    free(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_names),
        cmocka_unit_test(translates_both_ways),
        cmocka_unit_test(reads_inbox_in_any_case),
        cmocka_unit_test(shows_nothing_else),
        cmocka_unit_test(edits),
        cmocka_unit_test(edits_behind_what_is_there),
        cmocka_unit_test(undoes_random_edits),
        cmocka_unit_test(stays_quick),
    };
    return cmocka_run_group_tests_name("subscribed", tests, NULL, NULL);
}
