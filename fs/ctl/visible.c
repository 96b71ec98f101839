#include "ctl/visible.h"

#include "base/utf8.h"

/* Controls; what is invisible or joins, marks of the direction of writing, line ends of Unicode's own,
 * noncharacters, private use, tags. */
static bool is_harmless(uint32_t code)
{
    static const struct {
        uint32_t first;
        uint32_t last;
    } harmful[] = {
        {0x00, 0x1F},     {0x7F, 0x9F},       {0xAD, 0xAD},        {0x61C, 0x61C},
        {0x180E, 0x180E}, {0x200B, 0x200F},   {0x2028, 0x202E},    {0x2060, 0x206F},
        {0xE000, 0xF8FF}, {0xFDD0, 0xFDEF},   {0xFEFF, 0xFEFF},    {0xFFF9, 0xFFFB},
        {0xFFFE, 0xFFFF}, {0x1FFFE, 0x1FFFF}, {0xE0000, 0x10FFFF},
    };
    for (size_t i = 0; i < sizeof(harmful) / sizeof(harmful[0]); i++) {
        if (code >= harmful[i].first && code <= harmful[i].last)
            return false;
    }
    return true;
}

/* Cuts the next character off TEXT. False if it is one byte that must not be shown as it is. */
static bool next_shown(struct span *text, struct span *piece_r)
{
    uint32_t code;
    size_t len = utf8_next(*text, &code);
    bool shown = len > 0 && is_harmless(code);
    if (!shown)
        len = 1;
    *piece_r = span_make(text->text, len);
    *text = span_make(text->text + len, text->len - len);
    return shown;
}

static void add_hex(struct buf *out, struct span byte)
{
    buf_printf(out, "\\x%02x", (unsigned char)byte.text[0]);
}

void visible_add(struct buf *out, struct span text)
{
    struct span piece;
    while (text.len > 0) {
        if (!next_shown(&text, &piece))
            add_hex(out, piece);
        else if (piece.text[0] == '\\')
            buf_add_string(out, "\\\\");
        else
            buf_add_span(out, piece);
    }
}

static const char *entity_of(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void visible_add_html(struct buf *out, struct span text)
{
    BUF_AUTO shown = BUF_EMPTY;
    visible_add(&shown, text);
    if (buf_error(&shown) < 0)
        out->failed = true;
    for (size_t i = 0; i < shown.len; i++) {
        const char *entity = entity_of(shown.data[i]);
        if (entity != NULL)
            buf_add_string(out, entity);
        else
            buf_add_char(out, shown.data[i]);
    }
}

/* A character that is not shown as it is, as UTF-16. */
static void add_code(struct buf *out, uint32_t code)
{
    if (code <= 0xFFFF) {
        buf_printf(out, "\\u%04x", (unsigned)code);
        return;
    }
    code -= 0x10000;
    buf_printf(out, "\\u%04x\\u%04x", (unsigned)(0xD800 + (code >> 10)),
               (unsigned)(0xDC00 + (code & 0x3FF)));
}

void visible_add_json(struct buf *out, struct span text)
{
    buf_add_char(out, '"');
    while (text.len > 0) {
        uint32_t code;
        size_t len = utf8_next(text, &code);
        if (len == 0) {
            len = 1;
            add_code(out, 0xDC00 + (unsigned char)text.text[0]);
        } else if (code == '"' || code == '\\') {
            buf_add_char(out, '\\');
            buf_add_char(out, (char)code);
        } else if (is_harmless(code)) {
            buf_add(out, text.text, len);
        } else {
            add_code(out, code);
        }
        text = span_make(text.text + len, text.len - len);
    }
    buf_add_char(out, '"');
}
