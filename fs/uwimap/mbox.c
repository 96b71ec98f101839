#include "uwimap/mbox.h"

#include <errno.h>
#include <string.h>

/* A piece of a line, or a whole one. */
struct piece {
    struct span text; /* without the line's end */
    bool starts;      /* at the start of a line */
    bool ends;        /* with the line's end */
    size_t taken;     /* bytes of the file, with the line's end */
};

static struct span unused(const struct mbox *mbox)
{
    return span_make(mbox->window.data + mbox->used, mbox->window.len - mbox->used);
}

/* Reads until a line's end, or a window full of bytes, or the end of the file is at hand. */
static int fill(struct mbox *mbox)
{
    while (mbox->window.len - mbox->used < MBOX_WINDOW) {
        struct span have = unused(mbox);
        if (have.len > 0 && memchr(have.text, '\n', have.len) != NULL)
            return 0;
        if (have.len > 0)
            memmove(mbox->window.data, have.text, have.len);
        mbox->window_at += (off_t)mbox->used;
        mbox->window.len = have.len;
        mbox->used = 0;
        int result = buf_reserve(&mbox->window, MBOX_WINDOW * 2);
        if (result < 0)
            return result;
        ssize_t got = mbox->read(mbox->arg, mbox->window.data + mbox->window.len, MBOX_WINDOW,
                                 mbox->window_at + (off_t)mbox->window.len);
        if (got <= 0)
            return (int)got;
        mbox->window.len += (size_t)got;
    }
    return 0;
}

/* Looks at what comes next, without using it up. 1; 0 at the end of the file; or -errno. */
static int peek(struct mbox *mbox, struct piece *piece_r)
{
    int result = fill(mbox);
    if (result < 0)
        return result;
    struct span have = unused(mbox);
    if (have.len == 0)
        return 0;
    const char *end = memchr(have.text, '\n', have.len);
    size_t len = end == NULL ? have.len : (size_t)(end - have.text);
    *piece_r = (struct piece){.starts = mbox->line_start, .ends = end != NULL};
    piece_r->taken = len + (end != NULL);
    /* A CR at the end of a piece may be half of a line's end: it is looked at again with what follows. */
    if (end == NULL && len > 1 && have.text[len - 1] == '\r')
        piece_r->taken = --len;
    else if (end != NULL && len > 0 && have.text[len - 1] == '\r')
        len--;
    piece_r->text = span_make(have.text, len);
    return 1;
}

static void use(struct mbox *mbox, const struct piece *piece)
{
    mbox->used += piece->taken;
    mbox->line_start = piece->ends;
}

static off_t position(const struct mbox *mbox)
{
    return mbox->window_at + (off_t)mbox->used;
}

static void seek(struct mbox *mbox, off_t offset)
{
    if (offset - mbox->window_at <= (off_t)mbox->window.len && offset >= mbox->window_at) {
        mbox->used = (size_t)(offset - mbox->window_at);
        return;
    }
    buf_clear(&mbox->window);
    mbox->window_at = offset;
    mbox->used = 0;
}

static bool is_from_line(const struct piece *piece, struct from_date *date_r)
{
    return piece->starts && from_line_parse(piece->text, date_r);
}

int mbox_start(struct mbox *mbox, mbox_read_fn *read, void *arg)
{
    struct piece piece;
    struct from_date date;
    mbox->read = read;
    mbox->arg = arg;
    mbox->line_start = true;
    int result = peek(mbox, &piece);
    if (result <= 0)
        return result;
    return is_from_line(&piece, &date) ? 0 : -EUCLEAN;
}

/* ---- headers ---- */

/* Keeps a header that is complete, unless it is the server's own. */
static void end_header_line(struct mbox *mbox, struct mbox_message *message)
{
    struct span line = buf_span(&mbox->header_line);
    if (line.len > 0 && !meta_read(&message->meta, line)) {
        buf_add_span(&message->header, line);
        buf_add_char(&message->header, '\n');
    }
    buf_clear(&mbox->header_line);
}

static int read_header(struct mbox *mbox, struct mbox_message *message)
{
    struct piece piece;
    struct from_date date;
    int result;
    while ((result = peek(mbox, &piece)) > 0 && !is_from_line(&piece, &date)) {
        bool whole = piece.starts && piece.ends;
        if (whole && piece.text.len == 0)
            break;
        bool continues =
            piece.text.len > 0 && (piece.text.text[0] == ' ' || piece.text.text[0] == '\t');
        if (piece.starts && !continues)
            end_header_line(mbox, message);
        else if (piece.starts && mbox->header_line.len > 0)
            buf_add_char(&mbox->header_line, '\n');
        buf_add_span(&mbox->header_line, piece.text);
        use(mbox, &piece);
        if (message->header.len + mbox->header_line.len > MBOX_HEADER_LIMIT)
            return -EFBIG;
    }
    if (result < 0)
        return result;
    end_header_line(mbox, message);
    if (buf_error(&mbox->header_line) < 0 || buf_error(&message->header) < 0 ||
        buf_error(&message->meta.keywords) < 0 || buf_error(&message->meta.base_keywords) < 0)
        return -ENOMEM;
    return 0;
}

static int drop(void *arg, struct span piece)
{
    (void)arg;
    (void)piece;
    return 0;
}

int mbox_next(struct mbox *mbox, struct mbox_message *message)
{
    struct piece piece;
    int result = mbox->in_body ? mbox_body(mbox, message, drop, NULL) : 0;
    if (result == 0)
        result = peek(mbox, &piece);
    if (result <= 0)
        return result;
    /* A body ends at such a line or at the end of the file, and mbox_start looked at the first one. */
    if (!is_from_line(&piece, &message->date))
        return -EUCLEAN;
    message->offset = position(mbox);
    buf_clear(&message->header);
    meta_clear(&message->meta);
    buf_clear(&mbox->header_line);
    use(mbox, &piece);
    mbox->in_body = true;
    result = read_header(mbox, message);
    return result < 0 ? result : 1;
}

/* ---- bodies ---- */

/* Whether a body that ends at END is followed by a line's end and then a message or nothing; *next_r is
 * where that begins. 1, 0 or -errno. */
static int ends_well(struct mbox *mbox, off_t end, off_t *next_r)
{
    struct from_date date;
    char ahead[1024];
    ssize_t got = mbox->read(mbox->arg, ahead, sizeof(ahead), end);
    if (got < 0)
        return (int)got;
    struct span rest = span_make(ahead, (size_t)got);
    struct span line;
    bool complete;
    if (!span_next_line(&rest, &line, &complete) || !complete ||
        !(line.len == 0 || span_equals(line, "\r")))
        return 0;
    *next_r = end + (off_t)(rest.text - ahead);
    if (rest.len == 0)
        return 1;
    if (!span_next_line(&rest, &line, &complete) || !complete)
        return 0;
    if (line.len > 0 && line.text[line.len - 1] == '\r')
        line.len--;
    return from_line_parse(line, &date);
}

struct body {
    int (*write)(void *arg, struct span piece);
    void *arg;
    bool line_end_held; /* a line ended; whether that is a part of the body is not known yet */
};

static int body_add(struct body *body, const struct piece *piece)
{
    int result = 0;
    if (body->line_end_held)
        result = body->write(body->arg, span_of("\n"));
    if (result == 0 && piece->text.len > 0)
        result = body->write(body->arg, piece->text);
    body->line_end_held = piece->ends;
    return result;
}

int mbox_body(struct mbox *mbox, const struct mbox_message *message,
              int (*write)(void *arg, struct span piece), void *arg)
{
    struct body body = {write, arg, false};
    struct piece piece;
    struct from_date date;
    off_t end = -1, next = 0;
    mbox->in_body = false;
    int result = peek(mbox, &piece);
    if (result > 0 && piece.starts && piece.ends && piece.text.len == 0) {
        use(mbox, &piece);
        body.line_end_held = true;
        const struct mbox_meta *meta = &message->meta;
        if (meta->has_content_length && meta->content_length < INT64_MAX / 2) {
            end = position(mbox) + (off_t)meta->content_length;
            result = ends_well(mbox, end, &next);
            if (result == 0)
                end = -1;
        }
    }
    while (result >= 0 && (result = peek(mbox, &piece)) > 0) {
        if (end >= 0 && position(mbox) >= end)
            break;
        if (end < 0 && is_from_line(&piece, &date))
            break;
        if (end >= 0 && position(mbox) + (off_t)piece.taken > end) {
            piece.taken = (size_t)(end - position(mbox));
            if (piece.text.len > piece.taken)
                piece.text.len = piece.taken;
            piece.ends = false;
        }
        use(mbox, &piece);
        result = body_add(&body, &piece);
    }
    if (result < 0)
        return result;
    /* The line end before the end by Content-Length is the body's own. */
    if (end >= 0) {
        if (body.line_end_held)
            result = write(arg, span_of("\n"));
        seek(mbox, next);
        mbox->line_start = true;
    }
    return result < 0 ? result : 0;
}

void mbox_release(struct mbox *mbox)
{
    buf_release(&mbox->window);
    buf_release(&mbox->header_line);
}

void mbox_message_release(struct mbox_message *message)
{
    buf_release(&message->header);
    meta_release(&message->meta);
}
