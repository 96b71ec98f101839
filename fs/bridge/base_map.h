/* A hash table from base names to positions in an array that the owner keeps.
 *
 * The names themselves stay with the owner, who is asked for them, so an entry costs four bytes.
 * Hashes are XXH3; equal hashes are told apart by comparing the names. */
#pragma once

#include <stdint.h>
#include "base/span.h"

#define BASE_MAP_NONE UINT32_MAX

typedef struct span base_map_name_fn(const void *owner, uint32_t position);

struct base_map {
    uint32_t *slots;   /* position, or BASE_MAP_NONE */
    size_t slot_count; /* a power of two, or 0 */
    size_t used;
    base_map_name_fn *name_of;
    const void *owner;
};

/* Room for COUNT entries without growing. 0 or -ENOMEM. */
int base_map_init(struct base_map *map, size_t count, base_map_name_fn *name_of, const void *owner);
/* Adds POSITION under its owner's name; a name that is there already now means POSITION. 0 or
 * -ENOMEM. */
int base_map_put(struct base_map *map, uint32_t position);
/* The position, or BASE_MAP_NONE. */
uint32_t base_map_find(const struct base_map *map, struct span base);
void base_map_release(struct base_map *map);
