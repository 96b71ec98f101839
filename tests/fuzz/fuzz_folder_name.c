/* The name of a folder. */
#include "fuzz.h"

#include "base/utf8.h"
#include "courier/folder_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span name = fuzz_text(data, size);
    enum folder_encoding encoding = folder_encoding(name);
    FUZZ_REQUIRE((encoding == FOLDER_INVALID) == !utf8_is_valid(name));
    for (size_t i = 0; i < name.len; i++)
        FUZZ_REQUIRE((unsigned char)name.text[i] < 0x80 || encoding == FOLDER_UTF8 ||
                     encoding == FOLDER_INVALID);
    return 0;
}
