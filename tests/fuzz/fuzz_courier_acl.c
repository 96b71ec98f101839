#include "fuzz.h"

#include "bridge/acl_map.h"
#include "courier/acl.h"

#define PATH "ann/Maildir"

/* Dovecot understands what it is shown of any file, and what it did not change stays as it is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_text(data, size), rest = text, identifier, rights;
    while (courier_acl_next(&rest, &identifier, &rights))
        FUZZ_REQUIRE(fuzz_within(identifier, text) && fuzz_within(rights, text));
    ACL_AUTO courier = {.entries = NULL};
    ACL_AUTO shown = {.entries = NULL};
    ACL_AUTO again = {.entries = NULL};
    ACL_AUTO wanted = {.entries = NULL};
    ACL_AUTO changed = {.entries = NULL};
    BUF_AUTO dovecot = BUF_EMPTY;
    BUF_AUTO twice = BUF_EMPTY;
    BUF_AUTO edited = BUF_EMPTY;
    if (acl_read_courier(text, &courier) < 0 || acl_present(&courier, PATH, &shown) < 0)
        return 0;
    FUZZ_REQUIRE(acl_format_dovecot(&shown, &dovecot) == 0);
    FUZZ_REQUIRE(acl_read_dovecot(buf_span(&dovecot), &again) == 0);
    FUZZ_REQUIRE(acl_format_dovecot(&again, &twice) == 0);
    FUZZ_REQUIRE(fuzz_same(&dovecot, &twice));
    /* What nobody changed stays as it is. */
    FUZZ_REQUIRE(acl_words(&courier, PATH, &wanted) == 0);
    FUZZ_REQUIRE(acl_merge(&wanted, &shown, &again) == 0);
    FUZZ_REQUIRE(acl_to_courier(&courier, &wanted, PATH, &changed) == 0);
    FUZZ_REQUIRE(acl_edit_courier(text, &courier, &changed, &edited) == 0);
    FUZZ_REQUIRE(span_equal(text, buf_span(&edited)));
    return 0;
}
