/* The same bytes as ":list", as an update file, and as a file's name. */
#include "fuzz.h"

#include "courier/keywords.h"

static void check(const struct keyword_list *list, struct span text)
{
    for (size_t i = 0; i < list->name_count; i++)
        FUZZ_REQUIRE(list->names[i].len > 0 && fuzz_within(list->names[i], text));
    for (size_t i = 0; i < list->message_count; i++) {
        const struct keyword_message *message = &list->messages[i];
        FUZZ_REQUIRE(message->base.len > 0 && fuzz_within(message->base, text));
        for (size_t j = 0; j < message->count; j++)
            FUZZ_REQUIRE(message->indexes[j] < list->name_count);
    }
}

static void fuzz_list(struct span text)
{
    struct keyword_list list, again;
    BUF_AUTO once = BUF_EMPTY;
    BUF_AUTO twice = BUF_EMPTY;
    if (keyword_list_parse(text, NULL, &list) < 0)
        return;
    check(&list, text);
    keyword_list_format(&list, &once);
    FUZZ_REQUIRE(keyword_list_parse(buf_span(&once), NULL, &again) == 0);
    FUZZ_REQUIRE(!again.stale);
    keyword_list_format(&again, &twice);
    FUZZ_REQUIRE(fuzz_same(&once, &twice));
    keyword_list_release(&again);
    keyword_list_release(&list);
}

/* Cleaned names, one a line, are read as they were written. */
static void fuzz_update(struct span text)
{
    struct span rest = text, name, cleaned;
    BUF_AUTO update = BUF_EMPTY;
    while (keyword_update_next(&rest, &name)) {
        FUZZ_REQUIRE(name.len > 0 && fuzz_within(name, text));
        size_t start = update.len;
        keyword_add_clean(&update, name);
        FUZZ_REQUIRE(update.len == start + name.len);
        buf_add_char(&update, '\n');
    }
    struct span again = buf_span(&update), whole = text;
    while (keyword_update_next(&again, &cleaned)) {
        FUZZ_REQUIRE(keyword_update_next(&whole, &name));
        FUZZ_REQUIRE(cleaned.len == name.len);
    }
    FUZZ_REQUIRE(!keyword_update_next(&whole, &name));
}

static void fuzz_file_name(struct span text)
{
    struct span base;
    uint64_t period;
    enum keyword_file_kind kind = keyword_file_kind(text, &base, &period);
    if (kind == KEYWORD_FILE_PENDING || kind == KEYWORD_FILE_MERGED)
        FUZZ_REQUIRE(base.len > 0 && fuzz_within(base, text));
    if (kind == KEYWORD_FILE_MERGED) {
        BUF_AUTO name = BUF_EMPTY;
        buf_printf(&name, ".%llu.", (unsigned long long)period);
        buf_add_span(&name, base);
        FUZZ_REQUIRE(span_equal(buf_span(&name), text));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_text(data, size);
    fuzz_list(text);
    fuzz_update(text);
    fuzz_file_name(text);
    return 0;
}
