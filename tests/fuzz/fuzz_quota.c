/* A maildirsize. */
#include "fuzz.h"

#include "courier/quota.h"

static struct span whole;

static void hear(void *arg, unsigned line, struct span text, const char *why)
{
    (void)arg;
    (void)line;
    (void)why;
    FUZZ_REQUIRE(fuzz_within(text, whole));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct complaints complaints = {hear, NULL};
    struct quota_file quota;
    whole = fuzz_text(data, size);
    quota_file_parse(whole, &complaints, &quota);
    FUZZ_REQUIRE(quota.limited || (quota.limit_bytes == 0 && quota.limit_messages == 0));
    return 0;
}
