/* How format code tells of damaged input.
 *
 * A parser calls say() once for each damaged place, then takes the step its header defines. It
 * prints nothing itself: only the caller knows which file this is and whether it was told before.
 */
#pragma once

#include "base/span.h"

struct complaints {
    /* LINE counts from 1, 0 = the file as a whole. TEXT is the offending text, as it is. */
    void (*say)(void *arg, unsigned line, struct span text, const char *why);
    void *arg;
};

/* COMPLAINTS may be NULL: then nobody listens. */
static inline void complain(const struct complaints *complaints, unsigned line, struct span text,
                            const char *why)
{
    if (complaints != NULL)
        complaints->say(complaints->arg, line, text, why);
}
