/* courierimapuiddb: "1 UIDVALIDITY NEXTUID", then "UID BASE" a line.
 *
 * Read as Courier 5.0.13 reads it, seen: the header like "%d %lu %lu", the rest of its line
 * ignored; a line is split at its first space, the UID is a number with anything behind it ("5x" is
 * 5, "009" is 9), a NUL ends a line, names compare up to the first ':'. The order of lines means
 * nothing. UIDs beyond 32 bits ("4294967297", "-5" = 18446744073709551611) Courier shows to clients
 * as they are; Dovecot cannot hold them.
 *
 * A base name with several lines, seen: neither the first line nor the last wins, nor the lowest
 * UID. Courier sorts all lines by name (a stable sort of the file read backwards) and takes the one
 * that its binary search meets first. With two lines of one name behind one other line the later
 * wins; before one other line, the earlier. The same search is done here. */
#pragma once

#include <stdint.h>
#include "base/buf.h"
#include "base/complaint.h"

/* Dovecot's highest UID (2.3.19 panics beyond). NEXTUID may be one more. */
#define UIDDB_HIGHEST_UID 4294967293U

struct uiddb_line {
    uint32_t uid;
    struct span base; /* points into the parsed text, up to its first ':' */
};

/* What the file has that Courier itself would not have written: reasons to write it anew under the
 * lock. Nothing of this renumbers a message that has a UID of its own. */
enum uiddb_repair {
    UIDDB_NEXT_TOO_LOW = 1 << 0, /* NEXTUID <= a UID: Courier would give that UID out twice */
    UIDDB_UNSORTED = 1 << 1,     /* Courier does not mind; sorted here */
    UIDDB_SAME_NAME = 1 << 2,    /* a base name twice: the line kept is the one Courier keeps */
    UIDDB_SAME_UID = 1 << 3,     /* two base names under one UID: both lines are in `ambiguous` */
    UIDDB_NO_FINAL_LF = 1 << 4,  /* Courier loses that line; kept here, so that the UID lives */
    UIDDB_CRLF =
        1 << 5, /* Courier loses every UID; here the CRs go if the header line ends in CR */
    UIDDB_NAME_WITH_FLAGS = 1 << 6, /* cut at the first ':' (or NUL), as Courier compares */
    UIDDB_IGNORED_LINES = 1 << 7,   /* no number, or a name that no file can have */
};

struct uiddb {
    uint32_t uidvalidity;
    uint32_t uidnext; /* above every UID in the file, dropped lines too, whatever its header says */
    unsigned repairs; /* enum uiddb_repair, or'ed */
    struct uiddb_line *lines; /* ascending, each UID once, each base name once */
    size_t count;
    struct uiddb_line *ambiguous; /* lines that share a UID with another line, in file order */
    size_t ambiguous_count;
};

/* Parses TEXT; the spans in *db_r point into it, so it must outlive *db_r. Complains once about
 * each damaged line, in no particular order; about UIDDB_CRLF and UIDDB_NEXT_TOO_LOW at line 1,
 * about UIDDB_UNSORTED not at all. 0: *db_r is filled, free it with uiddb_release. -EUCLEAN: cannot
 * be presented truthfully (no usable header; UIDVALIDITY 0 or over 32 bits; UID 0, or over
 * UIDDB_HIGHEST_UID; NEXTUID over UIDDB_HIGHEST_UID + 1); complained about, *db_r empty. -ENOMEM.
 */
int uiddb_parse(struct span text, const struct complaints *complaints, struct uiddb *db_r);

/* Appends the file as Courier writes it: lines only, `ambiguous` is left out. */
void uiddb_format(const struct uiddb *db, struct buf *out);

/* One line, as in the file. */
void uiddb_format_line(struct buf *out, uint32_t uid, struct span base);

/* TEXT is what uiddb_format made of *db: from here on its spans point there, and *db is as if it had been
 * parsed from it. */
void uiddb_point_into(struct uiddb *db, struct span text);

void uiddb_release(struct uiddb *db);
