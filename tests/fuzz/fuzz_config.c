/* A configuration file of Courier's. */
#include "fuzz.h"

#include "courier/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"IMAP_USELOCKS", "IMAP_KEYWORDS", ""};
    struct span text = fuzz_text(data, size);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct span value = span_make(NULL, 0);
        if (config_find(text, names[i], &value) != CONFIG_UNSET)
            FUZZ_REQUIRE(fuzz_within(value, text));
    }
    return 0;
}
