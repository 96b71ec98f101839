#include "fuzz.h"

#include "dovecot/subscriptions.h"

static void format(const struct subscriptions *subscriptions, struct buf *out)
{
    for (size_t i = 0; i < subscriptions->count; i++)
        subscriptions_format_name(out, subscriptions->names[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_text(data, size);
    struct subscriptions subscriptions, again;
    BUF_AUTO once = BUF_EMPTY;
    BUF_AUTO twice = BUF_EMPTY;
    if (subscriptions_parse(text, &subscriptions) < 0)
        return 0;
    for (size_t i = 0; i < subscriptions.count; i++)
        FUZZ_REQUIRE(fuzz_within(subscriptions.names[i], text) ||
                     fuzz_within(subscriptions.names[i], buf_span(&subscriptions.storage)));
    format(&subscriptions, &once);
    FUZZ_REQUIRE(subscriptions_parse(buf_span(&once), &again) == 0);
    FUZZ_REQUIRE(again.count == subscriptions.count);
    format(&again, &twice);
    FUZZ_REQUIRE(fuzz_same(&once, &twice));
    subscriptions_release(&again);
    subscriptions_release(&subscriptions);
    return 0;
}
