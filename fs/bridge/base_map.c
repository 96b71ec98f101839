#include "bridge/base_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* The slot that holds BASE, or the free one where it would go. */
static size_t slot_for(const struct base_map *map, struct span base)
{
    size_t mask = map->slot_count - 1;
    size_t slot = (size_t)XXH3_64bits(base.text, base.len) & mask;
    while (map->slots[slot] != BASE_MAP_NONE &&
           !span_equal(map->name_of(map->owner, map->slots[slot]), base))
        slot = (slot + 1) & mask;
    return slot;
}

static int allocate(struct base_map *map, size_t slot_count)
{
    map->slots = malloc(slot_count * sizeof(*map->slots));
    if (map->slots == NULL)
        return -ENOMEM;
    memset(map->slots, 0xff, slot_count * sizeof(*map->slots));
    map->slot_count = slot_count;
    map->used = 0;
    return 0;
}

int base_map_init(struct base_map *map, size_t count, base_map_name_fn *name_of, const void *owner)
{
    *map = (struct base_map){.name_of = name_of, .owner = owner};
    size_t slot_count = 16;
    while (slot_count < count * 2)
        slot_count *= 2;
    return allocate(map, slot_count);
}

static int grow(struct base_map *map)
{
    struct base_map old = *map;
    if (allocate(map, old.slot_count * 2) < 0) {
        *map = old;
        return -ENOMEM;
    }
    for (size_t i = 0; i < old.slot_count; i++) {
        if (old.slots[i] != BASE_MAP_NONE) {
            size_t slot = slot_for(map, map->name_of(map->owner, old.slots[i]));
            map->slots[slot] = old.slots[i];
            map->used++;
        }
    }
    free(old.slots);
    return 0;
}

int base_map_put(struct base_map *map, uint32_t position)
{
    if (map->used * 2 >= map->slot_count && grow(map) < 0)
        return -ENOMEM;
    size_t slot = slot_for(map, map->name_of(map->owner, position));
    if (map->slots[slot] == BASE_MAP_NONE)
        map->used++;
    map->slots[slot] = position;
    return 0;
}

uint32_t base_map_find(const struct base_map *map, struct span base)
{
    if (map->slot_count == 0)
        return BASE_MAP_NONE;
    return map->slots[slot_for(map, base)];
}

void base_map_release(struct base_map *map)
{
    free(map->slots);
    *map = (struct base_map){.slots = NULL};
}
