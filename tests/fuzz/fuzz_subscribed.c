#include "fuzz.h"

#include "courier/subscribed.h"

/* Each name that Dovecot is shown leads back to its line; taken out, none is shown. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_text(data, size), rest = text, name, shown, back;
    while (subscribed_next(&rest, &name)) {
        FUZZ_REQUIRE(name.len > 0 && fuzz_within(name, text));
        if (!subscribed_to_dovecot(name, &shown))
            continue;
        BUF_AUTO courier = BUF_EMPTY;
        subscribed_from_dovecot(shown, &courier);
        FUZZ_REQUIRE(subscribed_to_dovecot(buf_span(&courier), &back));
        FUZZ_REQUIRE(span_equal(shown, back));
        if (text.len > 4096) /* each removal reads all */
            continue;
        struct span removed = buf_span(&courier);
        BUF_AUTO without = BUF_EMPTY;
        subscribed_edit(text, &removed, 1, NULL, 0, &without);
        FUZZ_REQUIRE(buf_error(&without) == 0 && without.len < text.len);
        struct span left = buf_span(&without), other;
        while (subscribed_next(&left, &other))
            FUZZ_REQUIRE(!span_equal(other, removed));
    }
    return 0;
}
