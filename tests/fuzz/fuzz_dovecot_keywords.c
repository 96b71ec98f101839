#include "fuzz.h"

#include "dovecot/keywords.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_text(data, size);
    struct letter_names names, again;
    BUF_AUTO once = BUF_EMPTY;
    BUF_AUTO twice = BUF_EMPTY;
    letter_names_parse(text, NULL, &names);
    for (int i = 0; i < LETTER_COUNT; i++) {
        FUZZ_REQUIRE(fuzz_within(names.name[i], text));
        FUZZ_REQUIRE(names.name[i].len == 0 || letter_names_find(&names, names.name[i]) == i);
    }
    letter_names_format(&names, &once);
    letter_names_parse(buf_span(&once), NULL, &again);
    letter_names_format(&again, &twice);
    FUZZ_REQUIRE(fuzz_same(&once, &twice));
    return 0;
}
