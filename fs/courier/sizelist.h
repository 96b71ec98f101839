/* courierpop3dsizelist: what courierpop3d knows of a mailbox.
 *
 *     /3 14 1795340956                        "/" VERSION NEXT UIDVALIDITY
 *     1700000001.a:2, 23 1:1795340956:0       NAME SIZE N:UIDV:UTF8
 *
 * Version 2 has no UTF8, version 1 is "NAME SIZE N" below "/1 NEXT", version 0 is "NAME SIZE" with
 * no header. Read as Courier 5.0.13 reads /3 and /2, seen: an entry is split at its last two
 * spaces, numbers are read like %lu with anything behind UTF8 ignored ("-2" is
 * 18446744073709551614, and so it stands in the UIDL), a name is what follows its last '/'. It
 * loses every UIDL of a /2 list with CR LF; those are kept here.
 *
 * An entry belongs to the file for which name_compare_pop3() says 0. Of several such entries
 * Courier takes the last in the file, seen. */
#pragma once

#include <stdint.h>
#include "base/buf.h"
#include "base/complaint.h"

struct sizelist_entry {
    struct span name; /* full name with the flags it had then; points into the parsed text */
    uint64_t size;    /* bytes + LFs, never computed again by Courier */
    uint64_t n;       /* N and UIDV make the UIDL, see sizelist_uidl */
    uint64_t uidv;
    bool utf8;
};

struct sizelist {
    unsigned version;     /* 0 to 3, as found in the file; written as 3 */
    uint64_t next;        /* above every N that carries the header's UIDVALIDITY; at least 1 */
    uint64_t uidvalidity; /* 0: the header has none (Courier then takes the time of day) */
    struct sizelist_entry *entries; /* in file order */
    size_t count;
    bool rewrite; /* version 0 or 1, which Courier 5 would discard; or next was too low; or bad
                     lines */
    bool lossy;   /* lines had something that is not written again: CR, or NUL and what follows */
};

/* Parses TEXT; spans point into it. All historic forms: /3 and /2, /1 (entries become N:0), and
 * version 0 without a header (0:0). A bad line is complained about and skipped, as by Courier. A
 * last line without LF, which Courier loses, is kept if it parses. An empty file is an empty list
 * of version 0.
 * 0: filled, free with sizelist_release. -EUCLEAN: unknown version, a header nobody can read, no
 * header and not one line that could be of version 0, or an N above which there is no number:
 * complained about, *list_r empty. -ENOMEM. */
int sizelist_parse(struct span text, const struct complaints *complaints, struct sizelist *list_r);

/* Appends the file in version 3. */
void sizelist_format(const struct sizelist *list, struct buf *out);
/* The same with MORE at the end, of a list that was parsed from TEXT: what is right in there is not formatted
 * again, but copied. */
void sizelist_format_longer(const struct sizelist *list, struct span text,
                            const struct sizelist_entry *more, size_t count, struct buf *out);
/* Makes LIST, parsed from BEFORE, what sizelist_format_longer has written of it and MORE: AFTER, into which
 * all names point then. BEFORE must still be there. 0; -EAGAIN or -ENOMEM with LIST as it was: AFTER must be
 * parsed. */
int sizelist_extend(struct sizelist *list, struct span before, struct span after,
                    const struct sizelist_entry *more, size_t count);

/* Appends the UIDL that Courier shows: UIDn-uidv, UIDn, or the base name with every
 * byte below 0x21 or above 0x7E and ', ", + written as +XX. */
void sizelist_uidl(const struct sizelist_entry *entry, struct buf *out);

/* The reverse, for a UIDL that this entry form can carry: true and n/uidv set for "UIDn-uidv" and
 * "UIDn", and for BASE escaped (n = uidv = 0). False for any other text, e.g. numbers beyond 64
 * bits, leading zeros, or n = 0. */
bool sizelist_uidl_to_pair(struct span uidl, struct span base, uint64_t *n_r, uint64_t *uidv_r);

void sizelist_release(struct sizelist *list);
