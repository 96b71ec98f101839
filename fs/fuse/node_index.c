#include "fuse/node_index.h"

#include <stdlib.h>

#define FIRST_BUCKETS 1024

bool node_index_init(struct node_index *index)
{
    *index = (struct node_index){.buckets = FIRST_BUCKETS};
    index->by_key = calloc(FIRST_BUCKETS, sizeof(struct node *));
    index->by_name = calloc(FIRST_BUCKETS, sizeof(struct node *));
    if (index->by_key != NULL && index->by_name != NULL)
        return true;
    node_index_release(index);
    return false;
}

void node_index_release(struct node_index *index)
{
    free(index->by_key);
    free(index->by_name);
    *index = (struct node_index){.by_key = NULL};
}

static size_t bucket_of(const struct node_index *index, uint32_t hash)
{
    return (size_t)hash & (index->buckets - 1);
}

static void link_key(struct node_index *index, struct node *node)
{
    struct node **bucket = &index->by_key[bucket_of(index, node->key_hash)];
    node->next_by_key = *bucket;
    *bucket = node;
}

static void link_name(struct node_index *index, struct node *node)
{
    struct node **bucket = &index->by_name[bucket_of(index, node->name_hash)];
    node->next_by_name = *bucket;
    *bucket = node;
}

/* Without memory the chains get longer, that is all. */
static void grow(struct node_index *index)
{
    struct node_index larger = {.buckets = index->buckets * 2, .count = index->count};
    larger.by_key = calloc(larger.buckets, sizeof(struct node *));
    larger.by_name = calloc(larger.buckets, sizeof(struct node *));
    if (larger.by_key == NULL || larger.by_name == NULL) {
        node_index_release(&larger);
        return;
    }
    for (size_t i = 0; i < index->buckets; i++) {
        struct node *next;
        for (struct node *node = index->by_key[i]; node != NULL; node = next) {
            next = node->next_by_key;
            link_key(&larger, node);
        }
        for (struct node *node = index->by_name[i]; node != NULL; node = next) {
            next = node->next_by_name;
            link_name(&larger, node);
        }
    }
    node_index_release(index);
    *index = larger;
}

void node_index_enter_key(struct node_index *index, struct node *node)
{
    link_key(index, node);
    index->count++;
    if (index->count > index->buckets)
        grow(index);
}

void node_index_leave_key(struct node_index *index, struct node *node)
{
    struct node **place = &index->by_key[bucket_of(index, node->key_hash)];
    while (*place != node)
        place = &(*place)->next_by_key;
    *place = node->next_by_key;
    index->count--;
}

void node_index_enter_name(struct node_index *index, struct node *node)
{
    link_name(index, node);
}

void node_index_leave_name(struct node_index *index, struct node *node)
{
    struct node **place = &index->by_name[bucket_of(index, node->name_hash)];
    while (*place != node)
        place = &(*place)->next_by_name;
    *place = node->next_by_name;
}

struct node *node_index_key_chain(const struct node_index *index, uint32_t hash)
{
    return index->by_key[bucket_of(index, hash)];
}

struct node *node_index_name_chain(const struct node_index *index, uint32_t hash)
{
    return index->by_name[bucket_of(index, hash)];
}

struct node *node_index_any(const struct node_index *index, size_t *cursor)
{
    while (*cursor < index->buckets && index->by_key[*cursor] == NULL)
        (*cursor)++;
    return *cursor < index->buckets ? index->by_key[*cursor] : NULL;
}
