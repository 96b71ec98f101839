/* An mbox as UW-IMAP keeps it, read once from its start to its end.
 *
 * The bytes of a message are those that UW-IMAP and Dovecot show: without the headers of meta.h, with
 * LF for CR LF, and without the line end before the next "From " line or the end of the file, which
 * belongs to the mbox. ">From " stays: neither server takes the '>' away. Memory is bounded by the
 * longest header block; a file of any size can be read. Pure: bytes come through a function. */
#pragma once

#include <sys/types.h>

#include "base/buf.h"
#include "uwimap/from_line.h"
#include "uwimap/meta.h"

#define MBOX_WINDOW 65536
/* A header block beyond this is no mail. */
#define MBOX_HEADER_LIMIT ((size_t)64 << 20)

/* As pread: bytes at OFFSET, 0 at the end, or -errno. */
typedef ssize_t mbox_read_fn(void *arg, void *out, size_t size, off_t offset);

struct mbox {
    mbox_read_fn *read;
    void *arg;
    struct buf window; /* what was read and not used yet, from window_at on in the file */
    off_t window_at;
    size_t used; /* of the window */
    bool line_start;
    bool in_body;
    struct buf header_line;
};

struct mbox_message {
    off_t offset; /* of its "From " line */
    struct from_date date;
    struct mbox_meta meta;
    struct buf
        header; /* what is shown of it: each line with an LF, without the empty line after it */
};

/* MBOX is all zero. 0; -EUCLEAN if the file does not start with a "From " line (an empty one is an
 * mbox); or -errno. Release in any case. */
int mbox_start(struct mbox *mbox, mbox_read_fn *read, void *arg);

/* The next message, *message its header; what was not read of the last one's body is passed over. 1; 0
 * at the end; -EFBIG: a header block beyond the limit; or -errno. */
int mbox_next(struct mbox *mbox, struct mbox_message *message);

/* Gives the message's body to WRITE in pieces, with the empty line that parts it from the header. 0,
 * or -errno, also WRITE's. */
int mbox_body(struct mbox *mbox, const struct mbox_message *message,
              int (*write)(void *arg, struct span piece), void *arg);

void mbox_release(struct mbox *mbox);
void mbox_message_release(struct mbox_message *message);
