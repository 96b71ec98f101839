/* What UW-IMAP writes into the headers of an mbox's messages, and hides from its clients.
 *
 *     X-IMAPbase: UIDVALIDITY LASTUID KEYWORD...     in the first message; "X-IMAP:" makes that message
 *                                                    one of the server's own ("DON'T DELETE THIS MESSAGE")
 *     X-UID: UID
 *     Status: RO             R seen, O not recent
 *     X-Status: AFTD         answered, flagged, draft (T), deleted
 *     X-Keywords: KEYWORD...
 *
 * Values may be padded with blanks and folded. Content-Length is the delivery program's; c-client
 * ignores it, Dovecot 2.3.19 believes it if a "From " line or nothing follows there, and hides it, seen.
 * Here it is believed as by Dovecot, and left out. */
#pragma once

#include "base/buf.h"

enum mbox_flag {
    MBOX_SEEN = 1 << 0,
    MBOX_ANSWERED = 1 << 1,
    MBOX_FLAGGED = 1 << 2,
    MBOX_DRAFT = 1 << 3,
    MBOX_DELETED = 1 << 4,
};

struct mbox_meta {
    uint32_t uid; /* 0: none that is a UID */
    unsigned flags;
    struct buf keywords; /* each with a blank behind it */
    uint64_t content_length;
    bool has_content_length;
    /* Of X-IMAPbase or X-IMAP; uidvalidity 0: there is none. */
    uint32_t uidvalidity;
    uint32_t last_uid;
    struct buf base_keywords;
    bool internal; /* by X-IMAP */
};

/* Looks at a header, a whole one with its continuation lines, without the last line end. True if it is
 * one of these, so that it is no part of the message. Failed allocations are in the bufs. */
bool meta_read(struct mbox_meta *meta, struct span header);
/* Appends META's keywords that are among BASE_KEYWORDS, each with a blank behind it. No client was ever
 * told of another one: c-client forgets it, and Dovecot then shows none of the message's. */
void meta_add_keywords(const struct mbox_meta *meta, struct span base_keywords, struct buf *out);
/* Empty, memory kept. */
void meta_clear(struct mbox_meta *meta);
void meta_release(struct mbox_meta *meta);

/* The next word of *REST. False at the end. */
bool meta_next_word(struct span *rest, struct span *word_r);
