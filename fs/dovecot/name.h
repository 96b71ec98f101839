/* Message file names as Dovecot reads them. */
#pragma once

#include "base/span.h"

/* As Dovecot 2.3.19 sorts names it made itself (SECONDS.MmicrosecondsP…): by the number at the start,
 * then by the microseconds if both have them in their second part, then by the rest up to ':'. */
int name_compare_dovecot(struct span a, struct span b);

/* The size that a name claims to have behind ",S=" (bytes in the file) or ",W=" (with CR LF line ends); KEY
 * is that letter. As Dovecot 2.3.19, seen: the first ",S=" counts, no digits are 0, numbers wrap around,
 * and what is followed by anything but ',', ':' or the end is no size (then false). */
bool name_size(struct span file_name, char key, uint64_t *size_r);
