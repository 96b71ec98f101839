/* Dovecot's order of message file names. */
#pragma once

#include "base/span.h"

/* As Dovecot 2.3.19 sorts names it made itself (SECONDS.MmicrosecondsP…): by the number at the start,
 * then by the microseconds if both have them in their second part, then by the rest up to ':'. */
int name_compare_dovecot(struct span a, struct span b);
