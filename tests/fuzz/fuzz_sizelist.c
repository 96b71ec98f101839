#include "fuzz.h"

#include "courier/name.h"
#include "courier/sizelist.h"

/* A UIDL leads back to a pair that has the same UIDL. */
static void check_uidl(const struct sizelist_entry *entry)
{
    struct sizelist_entry back = *entry;
    BUF_AUTO uidl = BUF_EMPTY;
    BUF_AUTO same = BUF_EMPTY;
    if (name_base(entry->name).len == 0)
        return;
    sizelist_uidl(entry, &uidl);
    FUZZ_REQUIRE(
        sizelist_uidl_to_pair(buf_span(&uidl), name_base(entry->name), &back.n, &back.uidv));
    sizelist_uidl(&back, &same);
    FUZZ_REQUIRE(fuzz_same(&uidl, &same));
}

/* A list with one more entry is the same, written from the parsed text or from the entries. */
static void check_longer(struct span text, struct sizelist *list)
{
    const struct sizelist_entry more = {span_of("1.new:2,"), 7, 1, list->uidvalidity ^ 1, true};
    struct sizelist again;
    BUF_AUTO after = BUF_EMPTY;
    BUF_AUTO extended = BUF_EMPTY;
    BUF_AUTO parsed = BUF_EMPTY;
    sizelist_format_longer(list, text, &more, 1, &after);
    if (sizelist_extend(list, text, buf_span(&after), &more, 1) < 0)
        return;
    FUZZ_REQUIRE(sizelist_parse(buf_span(&after), NULL, &again) == 0);
    sizelist_format(list, &extended);
    sizelist_format(&again, &parsed);
    FUZZ_REQUIRE(fuzz_same(&extended, &parsed));
    sizelist_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_text(data, size);
    struct sizelist list, again;
    BUF_AUTO once = BUF_EMPTY;
    BUF_AUTO twice = BUF_EMPTY;
    uint64_t n, uidv;
    sizelist_uidl_to_pair(text, text, &n, &uidv);
    if (sizelist_parse(text, NULL, &list) < 0)
        return 0;
    for (size_t i = 0; i < list.count; i++) {
        FUZZ_REQUIRE(list.entries[i].name.len > 0 && fuzz_within(list.entries[i].name, text));
        FUZZ_REQUIRE(list.entries[i].uidv != list.uidvalidity || list.entries[i].n < list.next);
        check_uidl(&list.entries[i]);
    }
    sizelist_format(&list, &once);
    FUZZ_REQUIRE(sizelist_parse(buf_span(&once), NULL, &again) == 0);
    FUZZ_REQUIRE(again.version == 3 && !again.rewrite && again.count == list.count);
    sizelist_format(&again, &twice);
    FUZZ_REQUIRE(fuzz_same(&once, &twice));
    sizelist_release(&again);
    check_longer(text, &list);
    sizelist_release(&list);
    return 0;
}
