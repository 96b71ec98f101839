#include "dovecot/uidlist.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* The highest UID that Dovecot takes. */
#define HIGHEST_UID 4294967293U

/* As Dovecot, which takes off one. */
static struct span without_cr(struct span line)
{
    if (line.len > 0 && line.text[line.len - 1] == '\r')
        line.len--;
    return line;
}

static bool has_byte(struct span s, char c)
{
    return s.len > 0 && memchr(s.text, c, s.len) != NULL;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool to_u32(struct span digits, uint32_t *value_r)
{
    uint64_t value;
    if (!span_to_u64(digits, &value) || value == 0 || value > UINT32_MAX)
        return false;
    *value_r = (uint32_t)value;
    return true;
}

static bool is_guid(struct span value)
{
    if (value.len != UIDLIST_GUID_LEN)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        char c = value.text[i];
        if (!is_digit(c) && !(c >= 'a' && c <= 'f') && !(c >= 'A' && c <= 'F'))
            return false;
    }
    return true;
}

/* One field of the header; false if its value is damaged. */
static bool parse_field(char key, struct span value, struct uidlist_header *header,
                        struct buf *other)
{
    switch (key) {
    case 'V':
        return to_u32(value, &header->uidvalidity);
    case 'N':
        return to_u32(value, &header->uidnext);
    case 'G':
        header->guid = value;
        return is_guid(value);
    default:
        uidlist_add_key(other, 0, key, value);
        return true;
    }
}

int uidlist_parse_header(struct span line, struct buf *scratch, struct uidlist_header *header_r)
{
    struct span rest, value;
    char key;
    memset(header_r, 0, sizeof(*header_r));
    buf_clear(scratch);
    line = without_cr(line);
    /* One space exactly: with two Dovecot loses the UIDVALIDITY. */
    if (!span_equals(span_until(line, ' ', &rest), "3") || span_starts(rest, " ") ||
        has_byte(line, '\0') || has_byte(line, '\r'))
        return -EUCLEAN;
    while (uidlist_next_key(&rest, &key, &value))
        if (!parse_field(key, value, header_r, scratch))
            return -EUCLEAN;
    if (header_r->uidvalidity == 0 || header_r->uidnext == 0)
        return -EUCLEAN;
    header_r->other = buf_span(scratch);
    return buf_error(scratch);
}

/* The end of the keys: a ' ' with ':' behind it, or a ':' at the start. */
static bool split_at_colon(struct span text, struct span *keys_r, struct span *name_r)
{
    if (text.len == 0)
        return false;
    const char *at = text.text, *end = text.text + text.len;
    while ((at = memchr(at, ':', (size_t)(end - at))) != NULL) {
        if (at == text.text || at[-1] == ' ') {
            *keys_r = span_make(text.text, (size_t)(at - text.text));
            *name_r = span_make(at + 1, (size_t)(end - at - 1));
            return true;
        }
        at++;
    }
    return false;
}

static struct span trimmed(struct span s)
{
    while (s.len > 0 && s.text[0] == ' ')
        s = span_make(s.text + 1, s.len - 1);
    while (s.len > 0 && s.text[s.len - 1] == ' ')
        s.len--;
    return s;
}

int uidlist_parse_record(struct span line, struct uidlist_record *record_r)
{
    struct span rest, keys, name;
    line = without_cr(line);
    struct span digits = span_until(line, ' ', &rest);
    memset(record_r, 0, sizeof(*record_r));
    if (!to_u32(digits, &record_r->uid) || record_r->uid > HIGHEST_UID ||
        !split_at_colon(rest, &keys, &name))
        return -EUCLEAN;
    record_r->keys = trimmed(keys);
    record_r->base = span_until(name, ':', NULL);
    if (record_r->base.len == 0 || has_byte(record_r->base, '/') ||
        has_byte(record_r->base, '\r') || has_byte(line, '\0'))
        return -EUCLEAN;
    return 0;
}

void uidlist_format_header(struct buf *out, const struct uidlist_header *header)
{
    buf_printf(out, "3 V%" PRIu32 " N%" PRIu32, header->uidvalidity, header->uidnext);
    if (header->guid.len > 0) {
        buf_add_string(out, " G");
        buf_add_span(out, header->guid);
    }
    if (header->other.len > 0) {
        buf_add_char(out, ' ');
        buf_add_span(out, header->other);
    }
    buf_add_char(out, '\n');
}

void uidlist_format_record(struct buf *out, const struct uidlist_record *record)
{
    buf_add_number(out, record->uid);
    buf_add_char(out, ' ');
    if (record->keys.len > 0) {
        buf_add_span(out, record->keys);
        buf_add_char(out, ' ');
    }
    buf_add_char(out, ':');
    buf_add_span(out, record->base);
    buf_add_char(out, '\n');
}

bool uidlist_next_key(struct span *keys, char *key_r, struct span *value_r)
{
    struct span field;
    do {
        if (keys->len == 0)
            return false;
        field = span_until(*keys, ' ', keys);
    } while (field.len == 0);
    *key_r = field.text[0];
    *value_r = span_make(field.text + 1, field.len - 1);
    return true;
}

bool uidlist_find_key(struct span keys, char key, struct span *value_r)
{
    char found;
    while (uidlist_next_key(&keys, &found, value_r))
        if (found == key)
            return true;
    return false;
}

void uidlist_add_key(struct buf *out, size_t start, char key, struct span value)
{
    if (out->len > start)
        buf_add_char(out, ' ');
    buf_add_char(out, key);
    buf_add_span(out, value);
}
