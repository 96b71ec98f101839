/* A clock for lifetimes: monotonic, cheap, in milliseconds. */
#pragma once

#include <stdint.h>
#include <time.h>

static inline int64_t clock_milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
