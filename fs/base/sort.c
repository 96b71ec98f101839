#include "base/sort.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct order {
    size_t size;
    int (*compare)(const void *, const void *);
    char *room; /* for all items */
};

/* Merges LEFT and the items behind it, both sorted. */
static void merge(const struct order *order, char *left, size_t left_count, size_t right_count)
{
    size_t size = order->size;
    char *items = left, *out = order->room;
    char *right = left + left_count * size;
    while (left_count > 0 && right_count > 0) {
        if (order->compare(left, right) <= 0) {
            memcpy(out, left, size);
            left += size;
            left_count--;
        } else {
            memcpy(out, right, size);
            right += size;
            right_count--;
        }
        out += size;
    }
    /* What is left of the right half lies in its place already. */
    memcpy(out, left, left_count * size);
    out += left_count * size;
    memcpy(items, order->room, (size_t)(out - order->room));
}

/* Recurses log2(COUNT) deep. */
static void sort_part(const struct order *order, char *items, size_t count)
{
    if (count < 2)
        return;
    size_t half = count / 2;
    sort_part(order, items, half);
    sort_part(order, items + half * order->size, count - half);
    merge(order, items, half, count - half);
}

int sort_stable(void *items, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    if (count < 2)
        return 0;
    char *room = calloc(count, size);
    if (room == NULL)
        return -ENOMEM;
    struct order order = {size, compare, room};
    sort_part(&order, items, count);
    free(room);
    return 0;
}
