/* A text in reports: what comes out cannot be anything but text. */
#include "fuzz.h"

#include <string.h>
#include "base/utf8.h"
#include "ctl/visible.h"
#include "dovecot/name.h"

static void require_harmless(const struct buf *out)
{
    FUZZ_REQUIRE(buf_error(out) == 0);
    FUZZ_REQUIRE(utf8_is_valid(buf_span(out)));
    for (size_t i = 0; i < out->len; i++)
        FUZZ_REQUIRE((unsigned char)out->data[i] >= ' ' && out->data[i] != 0x7F);
}

/* Quotes only at both ends, and behind backslashes. */
static void require_one_string(const struct buf *json)
{
    FUZZ_REQUIRE(json->len >= 2 && json->data[0] == '"' && json->data[json->len - 1] == '"');
    size_t at = 1;
    while (at < json->len - 1) {
        FUZZ_REQUIRE(json->data[at] != '"');
        at += json->data[at] == '\\' ? 2 : 1;
    }
    FUZZ_REQUIRE(at == json->len - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_text(data, size);
    BUF_AUTO terminal = BUF_EMPTY;
    BUF_AUTO html = BUF_EMPTY;
    BUF_AUTO json = BUF_EMPTY;
    uint64_t ignored;
    visible_add(&terminal, text);
    visible_add_html(&html, text);
    visible_add_json(&json, text);
    require_harmless(&terminal);
    require_harmless(&html);
    require_harmless(&json);
    require_one_string(&json);
    for (size_t i = 0; i < html.len; i++)
        FUZZ_REQUIRE(strchr("<>\"'", html.data[i]) == NULL);
    (void)name_size(text, 'S', &ignored);
    return 0;
}
