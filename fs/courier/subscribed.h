/* courierimapsubscribed: one full folder name a line, "INBOX.Sent", in UTF-8 since Courier 5.0.
 *
 * Only the five letters "inbox" at the start compare without case (Courier 5.0.13, seen). */
#pragma once

#include "base/buf.h"

/* Cuts the next name off REST, without LF and without a CR before it; empty lines are skipped.
 * False at the end. A last line without LF counts. */
bool subscribed_next(struct span *rest, struct span *name_r);

/* Dovecot's name of a subscription: "INBOX.A" is "A", "INBOX" (any case) is "INBOX". False for what
 * Dovecot has no name for in this namespace ("#shared.x", "A" without the prefix, "INBOX.INBOX",
 * which would be the inbox, and names with a NUL or CR): such lines are kept in Courier's file and
 * never shown. */
bool subscribed_to_dovecot(struct span courier_name, struct span *dovecot_name_r);

/* Appends Courier's name (no LF) of what Dovecot calls NAME. */
void subscribed_from_dovecot(struct span dovecot_name, struct buf *out);

/* Appends Courier's file TEXT with the lines of REMOVED taken out (compared as Courier compares:
 * "inbox" without case; but a CR at the end does not count) and those of ADDED appended that are
 * not there. Both lists are in Courier's names. Every other line is copied byte for byte; a last
 * line without LF gets one only if something follows. */
void subscribed_edit(struct span text, const struct span *removed, size_t removed_count,
                     const struct span *added, size_t added_count, struct buf *out);
