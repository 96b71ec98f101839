#include "fuzz.h"

#include "courier/uiddb.h"

static void check(const struct uiddb *db, struct span text)
{
    uint32_t last = 0;
    for (size_t i = 0; i < db->count; i++) {
        FUZZ_REQUIRE(db->lines[i].uid > last);
        FUZZ_REQUIRE(db->lines[i].base.len > 0);
        FUZZ_REQUIRE(fuzz_within(db->lines[i].base, text));
        last = db->lines[i].uid;
    }
    for (size_t i = 0; i < db->ambiguous_count; i++) {
        FUZZ_REQUIRE(fuzz_within(db->ambiguous[i].base, text));
        FUZZ_REQUIRE(db->ambiguous[i].uid < db->uidnext);
    }
    FUZZ_REQUIRE(db->uidvalidity > 0);
    FUZZ_REQUIRE(db->uidnext > last);
    FUZZ_REQUIRE(db->uidnext - 1 <= UIDDB_HIGHEST_UID);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_text(data, size);
    struct uiddb db, again;
    BUF_AUTO once = BUF_EMPTY;
    BUF_AUTO twice = BUF_EMPTY;
    if (uiddb_parse(text, NULL, &db) < 0)
        return 0;
    check(&db, text);
    uiddb_format(&db, &once);
    FUZZ_REQUIRE(uiddb_parse(buf_span(&once), NULL, &again) == 0);
    FUZZ_REQUIRE(again.repairs == 0 && again.count == db.count);
    FUZZ_REQUIRE(again.uidvalidity == db.uidvalidity && again.uidnext == db.uidnext);
    uiddb_format(&again, &twice);
    FUZZ_REQUIRE(fuzz_same(&once, &twice));
    uiddb_release(&again);
    uiddb_release(&db);
    return 0;
}
