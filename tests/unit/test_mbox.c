/* fs/uwimap: From_ lines, headers, messages, UIDs. What UW-IMAP and Dovecot say of the same files is in
 * tests/servers/test_import_mbox.py. */
#include "testing.h"

#include "uwimap/mbox.h"
#include "uwimap/uids.h"

static void from_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int hour, zone;
    } messages[] = {
        {"From a@b Wed Dec  2 05:53 1992", 5, FROM_NO_ZONE},
        {"From a@b Wed Dec 2 05:53:22 1992", 5, FROM_NO_ZONE},
        {"From a@b wed dec  2 5:53:22 1992", 5, FROM_NO_ZONE},
        {"From a@b Wed Dec  2 05:53 PST 1992", 5, -480},
        {"From a@b Wed Dec  2 05:53:22 MEST 1992", 5, FROM_NO_ZONE},
        {"From a@b Wed Dec  2 05:53 -0730 1992", 5, -450},
        {"From a@b Wed Dec  2 05:53:22 1992 +0200", 5, 120},
        {"From a@b Wed Dec  2 05:53:22 PST 1992 +0200", 5, 120},
        {"From \"a b\"@c Wed Dec  2 05:53:22 1992 remote from xxx", 5, FROM_NO_ZONE},
        {"From  a  b   c  Wed Dec  2 05:53:22 1992", 5, FROM_NO_ZONE},
    };
    static const char *const texts[] = {
        "From",
        "From ",
        "From now on",
        "From Wed Dec  2 05:53 1992",
        ">From a@b Wed Dec  2 05:53 1992",
        "from a@b Wed Dec  2 05:53 1992",
        " From a@b Wed Dec  2 05:53 1992",
        "From a@b Wed Dec  2 05:53 92",
        "From a@b Wed Dec  2 1992 05:53",
        "From a@b Wed Dez  2 05:53 1992",
        "From a@b Wod Dec  2 05:53 1992",
        "From a@b Wed Dec  0 05:53 1992",
        "From a@b Wed Dec 32 05:53 1992",
        "From a@b Wed Dec  2 24:53 1992",
        "From a@b Wed Dec  2 05:60 1992",
        "From a@b Wed Dec  2 05:53: 1992",
        "From a@b Wed Dec  2 05:53:22 1992 she wrote",
        "From a@b Wed Dec  2 05:53:22 MET DST 1992",
        "From a@b Wed Dec  2 05:53:22 1992 +020",
    };
    struct from_date date;
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        struct span line = exact(span_of(messages[i].line));
        assert_true(from_line_parse(line, &date));
        assert_int_equal(date.year, 1992);
        assert_int_equal(date.month, 11);
        assert_int_equal(date.day, 2);
        assert_int_equal(date.hour, messages[i].hour);
        assert_int_equal(date.minute, 53);
        assert_int_equal(date.zone, messages[i].zone);
        exact_free(line);
    }
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct span line = exact(span_of(texts[i]));
        assert_false(from_line_parse(line, &date));
        exact_free(line);
    }
}

static void headers(void **state)
{
    (void)state;
    struct mbox_meta meta = {.uid = 0};
    BUF_AUTO listed = BUF_EMPTY;
    assert_true(meta_read(&meta, TEXT("X-IMAPbase: 77 0000000009\n Foo\t$Bar   ")));
    assert_true(meta_read(&meta, TEXT("X-UID: 5   ")));
    assert_true(meta_read(&meta, TEXT("Status: RO")));
    assert_true(meta_read(&meta, TEXT("X-Status:AFTD")));
    assert_true(meta_read(&meta, TEXT("X-Keywords: $bar Other\n Foo")));
    assert_true(meta_read(&meta, TEXT("Content-Length: 12")));
    assert_false(meta_read(&meta, TEXT("Subject: X-UID: 7")));
    assert_false(meta_read(&meta, TEXT("X-UID")));
    assert_false(meta_read(&meta, TEXT("X-UIDs: 8")));
    assert_int_equal(meta.uidvalidity, 77);
    assert_int_equal(meta.last_uid, 9);
    assert_int_equal(meta.uid, 5);
    assert_int_equal(meta.flags,
                     MBOX_SEEN | MBOX_ANSWERED | MBOX_FLAGGED | MBOX_DRAFT | MBOX_DELETED);
    assert_false(meta.internal);
    assert_true(meta.has_content_length);
    assert_int_equal(meta.content_length, 12);
    meta_add_keywords(&meta, buf_span(&meta.base_keywords), &listed);
    assert_span(buf_span(&listed), TEXT("$bar Foo "));

    static const char *const no_uid[] = {"X-UID: 0", "X-UID: 4294967296", "X-UID: 5x", "X-UID: 5 6",
                                         "X-UID:",   "X-UID: -1"};
    for (size_t i = 0; i < sizeof(no_uid) / sizeof(no_uid[0]); i++) {
        assert_true(meta_read(&meta, span_of(no_uid[i])));
        assert_int_equal(meta.uid, 0);
    }
    meta_clear(&meta);
    assert_true(meta_read(&meta, TEXT("X-IMAP: nonsense 3")));
    assert_false(meta.internal);
    assert_true(meta_read(&meta, TEXT("X-IMAP: 5 3 Foo")));
    assert_true(meta.internal);
    meta_release(&meta);
}

static void uids(void **state)
{
    (void)state;
    static const uint32_t told[] = {3, 5, 5, 6, 0, 4294967290, 13};
    static const uint32_t given[] = {3, 5, 10, 11, 12, 13, 14};
    struct mbox_meta meta = {.uidvalidity = 77, .last_uid = 9};
    struct mbox_uids numbers;
    mbox_uids_start(&numbers, &meta);
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
        meta.uid = told[i];
        assert_int_equal(mbox_uids_next(&numbers, &meta), given[i]);
    }
    assert_int_equal(numbers.fresh, 5);
    assert_int_equal(numbers.refused, 4);
    meta = (struct mbox_meta){.last_uid = 9, .uid = 3}; /* without a UIDVALIDITY nothing counts */
    mbox_uids_start(&numbers, &meta);
    assert_int_equal(mbox_uids_next(&numbers, &meta), 1);
    meta = (struct mbox_meta){.uidvalidity = 77, .last_uid = UINT32_MAX};
    mbox_uids_start(&numbers, &meta);
    assert_int_equal(mbox_uids_next(&numbers, &meta), 0);
}

static ssize_t read_text(void *arg, void *out, size_t size, off_t offset)
{
    const struct span *text = arg;
    size_t at = (size_t)offset < text->len ? (size_t)offset : text->len;
    size_t len = size < text->len - at ? size : text->len - at;
    /* Some file systems give less than was asked for. */
    if (len > 1000)
        len -= 999;
    if (len > 0)
        memcpy(out, text->text + at, len);
    return (ssize_t)len;
}

static int add(void *arg, struct span piece)
{
    buf_add_span(arg, piece);
    return 0;
}

/* Everything that is shown, each message in brackets. */
static void show(struct span text, struct buf *out)
{
    struct mbox mbox = {.arg = NULL};
    struct mbox_message message = {.offset = 0};
    assert_int_equal(mbox_start(&mbox, read_text, &text), 0);
    while (mbox_next(&mbox, &message) == 1) {
        buf_add_char(out, '[');
        buf_add_span(out, buf_span(&message.header));
        assert_int_equal(mbox_body(&mbox, &message, add, out), 0);
        buf_add_char(out, ']');
    }
    mbox_message_release(&message);
    mbox_release(&mbox);
}

#define FROM "From x Thu Jan  1 10:00:00 2015"

static void messages(void **state)
{
    (void)state;
    static const struct {
        const char *mbox, *shown;
    } cases[] = {
        {"", ""},
        {FROM "\nA: b\n\nc\n\n" FROM "\nX-UID: 3\nD: e\n f\n\ng\n", "[A: b\n\nc\n][D: e\n f\n\ng]"},
        {FROM "\r\nA: b\r\n\r\nc\r\n\r\n" FROM "\r\n\r\n\r\n", "[A: b\n\nc\n][\n]"},
        {FROM "\nA: b", "[A: b\n]"},
        {FROM, "[]"},
        {FROM "\n", "[]"},
        {FROM "\n\n", "[]"},
        {FROM "\nA: b\n" FROM "\nA: c\n\n" FROM "\n", "[A: b\n][A: c\n][]"},
        {FROM "\nX-UID: 3\n 4\n\tX: y\nA: b\n\nX-UID: 4\n\n\n", "[A: b\n\nX-UID: 4\n\n]"},
        {FROM "\nA: b\n\n>" FROM "\nFrom x\n\rc\r\n", "[A: b\n\n>" FROM "\nFrom x\n\rc]"},
        {FROM "\nContent-Length: 3\n\nc\nd\n\n" FROM "\n\ne\n", "[\nc\nd\n][\ne]"},
        {FROM "\nContent-Length: 33\n\n" FROM "\nd\n" FROM "\n\ne\n", "[\n" FROM "\nd][\ne]"},
        {FROM "\nContent-Length: 34\n\n" FROM "\nd\n\n", "[\n" FROM "\nd\n]"},
        {FROM "\nContent-Length: 35\n\n" FROM "\nd\n\n", "[][d\n]"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        BUF_AUTO out = BUF_EMPTY;
        struct span text = exact(span_of(cases[i].mbox));
        show(text, &out);
        assert_span(buf_span(&out), span_of(cases[i].shown));
        exact_free(text);
    }
}

/* Line ends at every place of the window, in lines longer than it. */
static void long_lines(void **state)
{
    (void)state;
    for (size_t len = MBOX_WINDOW - 40; len < (size_t)MBOX_WINDOW * 2 + 40; len += 39) {
        BUF_AUTO text = BUF_EMPTY;
        BUF_AUTO expected = BUF_EMPTY;
        BUF_AUTO out = BUF_EMPTY;
        BUF_AUTO line = BUF_EMPTY;
        for (size_t i = 0; i < len; i++)
            buf_add_char(&line, i % 7 == 0 ? '\r' : 'x');
        buf_printf(&text, FROM "\nA: %.*s\nX-UID: 3\n\n%.*s\r\n\n" FROM "\n\n",
                   SPAN_FMT(buf_span(&line)), SPAN_FMT(buf_span(&line)));
        size_t shown = len - (line.data[len - 1] == '\r');
        buf_printf(&expected, "[A: %.*s\n\n%.*s\n][]", (int)shown, line.data, (int)len, line.data);
        show(buf_span(&text), &out);
        assert_span(buf_span(&out), buf_span(&expected));
    }
}

static void no_mbox(void **state)
{
    (void)state;
    static const char *const texts[] = {"\n", "x\n" FROM "\n", "From nowhere\n", "\xff\xff"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct mbox mbox = {.arg = NULL};
        struct span text = span_of(texts[i]);
        assert_int_equal(mbox_start(&mbox, read_text, &text), -EUCLEAN);
        mbox_release(&mbox);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_lines), cmocka_unit_test(headers),    cmocka_unit_test(uids),
        cmocka_unit_test(messages),   cmocka_unit_test(long_lines), cmocka_unit_test(no_mbox),
    };
    return cmocka_run_group_tests_name("mbox", tests, NULL, NULL);
}
