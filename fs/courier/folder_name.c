#include "courier/folder_name.h"

#include <string.h>
#include "base/utf8.h"

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
    const char *found = memchr(digits, c, sizeof(digits) - 1);
    return found == NULL ? -1 : (int)(found - digits);
}

/* UTF-16, unit by unit. */
struct utf16 {
    bool high_waits; /* the first half of a pair was there */
};

static bool take_unit(struct utf16 *utf16, uint32_t unit)
{
    bool high = unit >= 0xD800 && unit <= 0xDBFF;
    bool low = unit >= 0xDC00 && unit <= 0xDFFF;
    if (utf16->high_waits != low)
        return false;
    utf16->high_waits = high;
    /* What needs no encoding is never encoded. */
    return unit < 0x20 || unit > 0x7E;
}

/* DIGITS is what stands between '&' and '-'. */
static bool is_utf16_in_base64(struct span digits)
{
    struct utf16 utf16 = {false};
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < digits.len; i++) {
        int value = base64_value(digits.text[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 16) {
            count -= 16;
            if (!take_unit(&utf16, bits >> count & 0xFFFF))
                return false;
        }
    }
    /* Less than a digit is left over, and it is zero. */
    return !utf16.high_waits && count < 6 && (bits & ((1U << count) - 1)) == 0;
}

/* NAME is ASCII with a '&'. */
static bool is_utf7(struct span name)
{
    struct span rest = name;
    for (;;) {
        struct span plain = span_until(rest, '&', &rest);
        if (plain.text + plain.len == name.text + name.len)
            return true;
        struct span digits = span_until(rest, '-', NULL);
        if (digits.len == rest.len || !is_utf16_in_base64(digits))
            return false;
        rest = span_make(rest.text + digits.len + 1, rest.len - digits.len - 1);
    }
}

enum folder_encoding folder_encoding(struct span name)
{
    bool ascii = true;
    for (size_t i = 0; i < name.len; i++)
        ascii = ascii && (unsigned char)name.text[i] < 0x80;
    if (!ascii)
        return utf8_is_valid(name) ? FOLDER_UTF8 : FOLDER_INVALID;
    if (name.len == 0 || memchr(name.text, '&', name.len) == NULL)
        return FOLDER_ASCII;
    return is_utf7(name) ? FOLDER_UTF7 : FOLDER_UTF8;
}
