#include "uwimap/meta.h"

#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool meta_next_word(struct span *rest, struct span *word_r)
{
    while (rest->len > 0 && is_blank(rest->text[0]))
        *rest = span_make(rest->text + 1, rest->len - 1);
    size_t len = 0;
    while (len < rest->len && !is_blank(rest->text[len]))
        len++;
    *word_r = span_make(rest->text, len);
    *rest = span_make(rest->text + len, rest->len - len);
    return len > 0;
}

/* One number and nothing else, 1 to UINT32_MAX; else 0. */
static uint32_t next_number(struct span *rest)
{
    struct span word;
    uint64_t number;
    if (!meta_next_word(rest, &word) || !span_to_u64(word, &number) || number > UINT32_MAX)
        return 0;
    return (uint32_t)number;
}

static void add_words(struct buf *out, struct span words)
{
    struct span word;
    while (meta_next_word(&words, &word)) {
        buf_add_span(out, word);
        buf_add_char(out, ' ');
    }
}

static void read_base(struct mbox_meta *meta, struct span value)
{
    uint32_t uidvalidity = next_number(&value);
    if (uidvalidity == 0 || meta->uidvalidity != 0)
        return;
    meta->uidvalidity = uidvalidity;
    meta->last_uid = next_number(&value);
    add_words(&meta->base_keywords, value);
}

static void read_uid(struct mbox_meta *meta, struct span value)
{
    struct span more;
    uint32_t uid = next_number(&value);
    meta->uid = meta_next_word(&value, &more) ? 0 : uid;
}

static void read_flags(struct mbox_meta *meta, struct span value, const char *letters,
                       const unsigned *flags)
{
    for (size_t i = 0; i < value.len; i++) {
        const char *found = value.text[i] == '\0' ? NULL : strchr(letters, value.text[i]);
        if (found != NULL)
            meta->flags |= flags[found - letters];
    }
}

static void read_content_length(struct mbox_meta *meta, struct span value)
{
    struct span word;
    meta->has_content_length =
        meta_next_word(&value, &word) && span_to_u64(word, &meta->content_length);
}

bool meta_read(struct mbox_meta *meta, struct span header)
{
    static const unsigned status[] = {MBOX_SEEN};
    static const unsigned x_status[] = {MBOX_ANSWERED, MBOX_FLAGGED, MBOX_DRAFT, MBOX_DELETED};
    struct span value;
    struct span name = span_until(header, ':', &value);
    while (name.len > 0 && is_blank(name.text[name.len - 1]))
        name.len--;
    if (name.len == header.len)
        return false;
    if (span_compare_nocase(name, span_of("X-UID")) == 0)
        read_uid(meta, value);
    else if (span_compare_nocase(name, span_of("Status")) == 0)
        read_flags(meta, value, "R", status);
    else if (span_compare_nocase(name, span_of("X-Status")) == 0)
        read_flags(meta, value, "AFTD", x_status);
    else if (span_compare_nocase(name, span_of("X-Keywords")) == 0)
        add_words(&meta->keywords, value);
    else if (span_compare_nocase(name, span_of("X-IMAPbase")) == 0)
        read_base(meta, value);
    else if (span_compare_nocase(name, span_of("X-IMAP")) == 0) {
        read_base(meta, value);
        meta->internal = meta->uidvalidity != 0;
    } else if (span_compare_nocase(name, span_of("Content-Length")) == 0)
        read_content_length(meta, value);
    else
        return false;
    return true;
}

static bool has_word(struct span words, struct span wanted)
{
    struct span word;
    while (meta_next_word(&words, &word)) {
        if (span_compare_nocase(word, wanted) == 0)
            return true;
    }
    return false;
}

void meta_add_keywords(const struct mbox_meta *meta, struct span base_keywords, struct buf *out)
{
    struct span words = buf_span(&meta->keywords), word;
    while (meta_next_word(&words, &word)) {
        if (!has_word(base_keywords, word))
            continue;
        buf_add_span(out, word);
        buf_add_char(out, ' ');
    }
}

void meta_clear(struct mbox_meta *meta)
{
    struct buf keywords = meta->keywords, base_keywords = meta->base_keywords;
    buf_clear(&keywords);
    buf_clear(&base_keywords);
    *meta = (struct mbox_meta){.keywords = keywords, .base_keywords = base_keywords};
}

void meta_release(struct mbox_meta *meta)
{
    buf_release(&meta->keywords);
    buf_release(&meta->base_keywords);
}
