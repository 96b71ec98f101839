/* A message's size as IMAP and Dovecot's POP3 show it, with CR LF line ends: its bytes, and one more for
 * each LF without a CR before it. Nothing is added for a last line without an end (Dovecot 2.3.19,
 * seen). Dovecot calls it the virtual size, and W in its list and in file names. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct virtual_size {
    uint64_t bytes; /* in the file */
    uint64_t size;  /* W */
    char last;      /* byte so far */
};

/* Adds the next bytes of the message; begin with an empty struct. */
void virtual_size_add(struct virtual_size *size, const char *bytes, size_t len);
