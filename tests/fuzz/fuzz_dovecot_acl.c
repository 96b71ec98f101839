#include "fuzz.h"

#include "bridge/acl_map.h"
#include "dovecot/acl.h"

#define PATH "ann/Maildir"

/* What Dovecot would write of any file it understands is understood in the same way, and Courier's
 * file that is made of it is shown without a complaint. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_text(data, size);
    struct dovecot_acl file;
    if (dovecot_acl_parse(text, &file) < 0)
        return 0;
    for (size_t i = 0; i < file.count; i++)
        FUZZ_REQUIRE(fuzz_within(file.lines[i].name, text) ||
                     fuzz_within(file.lines[i].name, buf_span(&file.storage)));
    dovecot_acl_release(&file);
    ACL_AUTO wanted = {.entries = NULL};
    ACL_AUTO none = {.entries = NULL};
    ACL_AUTO courier = {.entries = NULL};
    ACL_AUTO shown = {.entries = NULL};
    BUF_AUTO made = BUF_EMPTY;
    BUF_AUTO dovecot = BUF_EMPTY;
    if (acl_read_dovecot(text, &wanted) < 0 || acl_to_courier(&none, &wanted, PATH, &courier) < 0)
        return 0;
    FUZZ_REQUIRE(acl_edit_courier(span_of(""), &none, &courier, &made) == 0);
    acl_release(&courier);
    FUZZ_REQUIRE(acl_read_courier(buf_span(&made), &courier) == 0);
    FUZZ_REQUIRE(acl_present(&courier, PATH, &shown) == 0);
    FUZZ_REQUIRE(acl_format_dovecot(&shown, &dovecot) == 0);
    acl_release(&shown);
    FUZZ_REQUIRE(acl_read_dovecot(buf_span(&dovecot), &shown) == 0);
    return 0;
}
