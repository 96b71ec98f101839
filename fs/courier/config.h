/* Courier's configuration files (/etc/courier/imapd): shell scripts that set variables.
 *
 * Only plain settings are understood: NAME=VALUE at the start of a line, quoted as a whole or not at all.
 * Of several the last counts, as for the shell. */
#pragma once

#include "base/span.h"

enum config_setting {
    CONFIG_UNSET,
    CONFIG_SET,     /* *value_r is the value, without quotes; it may be empty */
    CONFIG_UNCLEAR, /* it is set, by something that only a shell can read; *value_r is that line */
};

enum config_setting config_find(struct span text, const char *name, struct span *value_r);
