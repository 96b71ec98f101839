/* The line that starts a message in an mbox: "From SENDER DATE".
 *
 * What counts as one decides what is a message. UW-IMAP (c-client, unix.c) takes these dates, with any
 * number of blanks, and nothing else; a body line that merely starts with "From " is text:
 *
 *     Thu Jan  1 10:00[:00] [ZONE] 2015 [ZONE] [remote from HOST]
 *
 * where ZONE is "+0100" or a name of up to five letters, and either place may have it. Dovecot 2.3.19
 * takes the same, seen, but for three things. It ignores zones that are names, and those before the
 * year. It takes "Thu, 1 Jan 2015 10:00:00", which no mail program writes there. It takes the 32nd of a
 * month. Both want a sender, in quotes if there are blanks in it; c-client looks only at the end of the
 * line, so blanks in the sender are no matter for it, and here. */
#pragma once

#include "base/span.h"

#define FROM_NO_ZONE INT32_MIN

/* As it stands there; month 0 to 11. */
struct from_date {
    int year, month, day, hour, minute, second;
    int zone; /* minutes east of Greenwich, or FROM_NO_ZONE: local time, or a name unknown to RFC 822 */
};

/* LINE is without its end. False if it is text. */
bool from_line_parse(struct span line, struct from_date *date_r);
