#include "fuzz.h"

#include "dovecot/uidlist.h"

static void fuzz_header(struct span line)
{
    struct uidlist_header header, again;
    BUF_AUTO scratch = BUF_EMPTY;
    BUF_AUTO scratch_again = BUF_EMPTY;
    BUF_AUTO once = BUF_EMPTY;
    BUF_AUTO twice = BUF_EMPTY;
    if (uidlist_parse_header(line, &scratch, &header) < 0)
        return;
    FUZZ_REQUIRE(header.uidvalidity > 0 && header.uidnext > 0);
    FUZZ_REQUIRE(fuzz_within(header.guid, line));
    uidlist_format_header(&once, &header);
    struct span written = span_make(once.data, once.len - 1);
    FUZZ_REQUIRE(uidlist_parse_header(written, &scratch_again, &again) == 0);
    uidlist_format_header(&twice, &again);
    FUZZ_REQUIRE(fuzz_same(&once, &twice));
}

static void fuzz_keys(struct span keys, struct span line)
{
    struct span rest = keys, value, found;
    char key;
    while (uidlist_next_key(&rest, &key, &value)) {
        FUZZ_REQUIRE(fuzz_within(value, line));
        FUZZ_REQUIRE(key != ' ' && key != ':');
    }
    uidlist_find_key(keys, 'P', &found);
}

static void fuzz_record(struct span line)
{
    struct uidlist_record record, again;
    BUF_AUTO once = BUF_EMPTY;
    BUF_AUTO twice = BUF_EMPTY;
    if (uidlist_parse_record(line, &record) < 0)
        return;
    FUZZ_REQUIRE(record.uid > 0 && record.base.len > 0);
    FUZZ_REQUIRE(fuzz_within(record.keys, line) && fuzz_within(record.base, line));
    fuzz_keys(record.keys, line);
    uidlist_format_record(&once, &record);
    struct span written = span_make(once.data, once.len - 1);
    FUZZ_REQUIRE(uidlist_parse_record(written, &again) == 0);
    uidlist_format_record(&twice, &again);
    FUZZ_REQUIRE(fuzz_same(&once, &twice));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = fuzz_text(data, size), line;
    bool complete;
    while (span_next_line(&rest, &line, &complete)) {
        fuzz_header(line);
        fuzz_record(line);
    }
    return 0;
}
