/* How a folder's name is written in its directory's name.
 *
 * Courier since 5.0 writes UTF-8; before, it wrote modified UTF-7 (RFC 3501), where "&...-" is UTF-16
 * in base64 with ',' in place of '/', and "&-" is '&'. A directory does not say who made it, so
 * "&APw-" can be an old "ü" or a new "&APw-". What Dovecot 2.3.19 makes of each, seen:
 *
 *                     with :UTF-8                      without
 *     ASCII           the same                         the same
 *     UTF-8           opens                            listed, but cannot be opened
 *     modified UTF-7  opens, called "&-APw-" in IMAP,  opens
 *                     as Courier 5 calls it
 *     invalid         the directory is renamed by the first LIST: U+FFFD in modified UTF-7
 *
 * "R&D" is not modified UTF-7, so it counts as UTF-8: without :UTF-8 it cannot be opened either. */
#pragma once

#include "base/span.h"

enum folder_encoding {
    FOLDER_ASCII,
    FOLDER_UTF8,
    FOLDER_UTF7,
    FOLDER_INVALID,
    FOLDER_ENCODING_COUNT
};

/* NAME is without the '.' at its start. */
enum folder_encoding folder_encoding(struct span name);
