/* Dovecot's `subscriptions`, versions 1 and 2 (Dovecot 2.3.19 subscription-file.c).
 *
 * Version 1: one name a line. Version 2 starts with "V\t2\n\n", exactly that; a name is its
 * components with tabs between them, each escaped: \001 then 0, 1, t, r or n is NUL, \001, TAB, CR
 * or LF. */
#pragma once

#include "base/buf.h"

struct subscriptions {
    struct span *names; /* with '.' between components; point into text or `storage` */
    size_t count;
    struct buf storage; /* names of version 2, unescaped */
};

/* Reads either version; a CR before the LF is not part of the name. A last line without LF counts
 * (Dovecot loses it). Empty names, and those with a NUL, CR or LF, which Courier's file cannot
 * hold, are left out. 0 or -ENOMEM. */
int subscriptions_parse(struct span text, struct subscriptions *subscriptions_r);
void subscriptions_release(struct subscriptions *subscriptions);

/* Version 1: NAME and LF. */
void subscriptions_format_name(struct buf *out, struct span name);
