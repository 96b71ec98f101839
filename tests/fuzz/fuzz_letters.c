/* A name, and behind its first LF bytes that make a set of letters. */
#include "fuzz.h"

#include "dovecot/letters.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest;
    struct span name = span_until(fuzz_text(data, size), '\n', &rest);
    uint32_t letters = 0;
    BUF_AUTO shown = BUF_EMPTY;
    BUF_AUTO plain = BUF_EMPTY;
    BUF_AUTO stripped = BUF_EMPTY;
    BUF_AUTO again = BUF_EMPTY;
    for (size_t i = 0; i < rest.len; i++)
        letters |= 1U << ((unsigned char)rest.text[i] % 26);
    letters_show(&shown, name, letters);
    letters_show(&plain, name, 0);
    letters_strip(&stripped, buf_span(&shown));
    letters_show(&again, buf_span(&stripped), letters);
    FUZZ_REQUIRE(fuzz_same(&again, &shown));
    FUZZ_REQUIRE(letters_of(buf_span(&plain)) == 0);
    FUZZ_REQUIRE(letters_of(buf_span(&shown)) == letters || fuzz_same(&plain, &shown));
    return 0;
}
