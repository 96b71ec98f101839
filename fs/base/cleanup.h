/* Cleanup by scope. Each helper keeps errno, so that an error can be read after it. */
#pragma once

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_pointer(void *place)
{
    int saved = errno;
    free(*(void **)place);
    errno = saved;
}

static inline void cleanup_close_fd(int *fd)
{
    int saved = errno;
    if (*fd >= 0)
        close(*fd);
    errno = saved;
}

#define AUTO_FREE __attribute__((cleanup(cleanup_free_pointer)))
#define AUTO_FD __attribute__((cleanup(cleanup_close_fd))) int

/* Hands the descriptor to a new owner. */
static inline int steal_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

#define steal_pointer(place)                                                                       \
    __extension__({                                                                                \
        __typeof__(*(place)) taken_ = *(place);                                                    \
        *(place) = NULL;                                                                           \
        taken_;                                                                                    \
    })
