/* dovecot-uidlist, version 3 (Dovecot 2.3.19 maildir-uidlist.c).
 *
 *     3 V1234567 N12 G0123456789abcdef0123456789abcdef
 *     3 P1700000001.a W39 :1700000001.a,S=34
 *
 * A field is a key of one character and a value up to the next space; nothing is escaped. In a
 * record the first field that starts with ':' is the file name, with all its spaces. */
#pragma once

#include <stdint.h>
#include "base/buf.h"
#include "base/complaint.h"

#define UIDLIST_GUID_LEN 32

struct uidlist_header {
    uint32_t uidvalidity;
    uint32_t uidnext;
    struct span guid;  /* 32 hex digits; empty if missing */
    struct span other; /* further fields, verbatim, single spaces between them; empty if none */
};

struct uidlist_record {
    uint32_t uid;
    struct span keys; /* "P… W…" verbatim, no spaces around; empty if none */
    struct span base; /* up to the first ':' of the file name */
};

/* LINE is without LF (a CR at the end is tolerated). 0, -ENOMEM, or -EUCLEAN (version not "3" and
 * one space, no V or N, a value of these that is zero or beyond 32 bits, a guid that is not 32 hex
 * digits, a NUL or CR). Of a repeated field the last counts. header_r->other leaves out nothing but
 * V, N and G; it is assembled in SCRATCH, which must outlive the header. */
int uidlist_parse_header(struct span line, struct buf *scratch, struct uidlist_header *header_r);

/* LINE likewise. 0 or -EUCLEAN (no UID, UID 0 or too high, no " :name", an empty name, '/' or CR in
 * the name, a NUL). Dovecot ignores files with a CR or LF in their name, so they have no record. */
int uidlist_parse_record(struct span line, struct uidlist_record *record_r);

/* Appends one line with its LF. */
void uidlist_format_header(struct buf *out, const struct uidlist_header *header);
void uidlist_format_record(struct buf *out, const struct uidlist_record *record);

/* Cuts the next field off KEYS; false at the end. */
bool uidlist_next_key(struct span *keys, char *key_r, struct span *value_r);
/* The value of KEY; false if it is not there. An empty value is there. */
bool uidlist_find_key(struct span keys, char key, struct span *value_r);
/* Appends " Kvalue" or "Kvalue" if OUT is still at position START. */
void uidlist_add_key(struct buf *out, size_t start, char key, struct span value);
