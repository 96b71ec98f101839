/* courierimapacl: who may do what with a folder (Courier 5.0.13 maildir/maildiraclt.c, and seen).
 *
 * One "IDENTIFIER RIGHTS" a line, with one blank or more between them. IDENTIFIER is `owner`,
 * `administrators`, `anyone` (also called `anonymous`), `user=NAME` or `group=NAME`, each possibly
 * with a `-` before it. What somebody may do is the union of the rights of every line that fits,
 * less the union of every `-` line that fits; then the owner gets `a` in any case. The last one of
 * several lines with the same identifier counts.
 *
 * Courier carries identifiers and letters it does not know from one version of the file to the
 * next. */
#pragma once

#include <stdbool.h>
#include "base/buf.h"

/* Letters of the rights, in the order in which Courier writes them. The Nth one is bit N. */
#define COURIER_ACL_LETTERS "aceilprstwx"

/* Cuts the next line that Courier takes into account off REST; lines whose identifier is empty or
 * has a blank or control character are skipped, as Courier does. IDENTIFIER_R begins with '-' in a
 * negative line. False at the end. A last line without LF counts. */
bool courier_acl_next(struct span *rest, struct span *identifier_r, struct span *rights_r);

/* Whether Courier can hold this identifier. */
bool courier_acl_is_identifier(struct span identifier);

/* The bits of those LETTERS that mean something to Courier. */
unsigned courier_acl_rights(struct span letters);

/* What is to become of the lines of one identifier. */
struct courier_acl_change {
    struct span identifier; /* with '-' for a negative line */
    bool removed;
    unsigned rights; /* the line's, if it is not removed */
};

/* Appends Courier's file TEXT with the CHANGES made: the first line of an identifier is replaced,
 * further ones go, and what was not there is appended. Every other line is copied byte for byte; a
 * last line without LF gets one only if something follows. */
void courier_acl_edit(struct span text, const struct courier_acl_change *changes, size_t count,
                      struct buf *out);
