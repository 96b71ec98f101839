/* Keyword letters in message file names.
 *
 * On the mount a name is the store's name plus keyword letters. A name carries flags if its *last*
 * ':' is followed by "2,": there both servers look (Courier 5.0.13; Dovecot 2.3.19
 * maildir-filename-flags.c), although for both the base name ends at the first. The flags end at
 * the next ','; what follows is kept verbatim, as by Dovecot. Lower-case letters that lie in the
 * *store's* name are nobody's keywords there, Courier drops them: they are not shown. */
#pragma once

#include <stdint.h>
#include "base/buf.h"

/* The letters a to z in the flags of NAME as bits 0 to 25; 0 if NAME has no flags. */
uint32_t letters_of(struct span name);

/* Appends the name to show for the store's NAME and LETTERS: lower-case letters of the flags are
 * taken out, LETTERS are put behind the last flag in order. A name without ':' gets ":2," if
 * LETTERS is not 0. A name with another info part (":1,…", ":2,S:x") is shown as it is. */
void letters_show(struct buf *out, struct span store_name, uint32_t letters);

/* Appends the name for the store: NAME without lower-case letters in its flags. */
void letters_strip(struct buf *out, struct span shown_name);
