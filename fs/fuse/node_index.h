/* Two hashes over all nodes, for nodes.c alone: by identity, and by place. The nodes carry the hash
 * values and the chains. No locks, no references. */
#pragma once

#include "fuse/nodes.h"

struct node_index {
    struct node **by_key;
    struct node **by_name;
    size_t buckets; /* of each; a power of two */
    size_t count;   /* nodes in by_key */
};

/* False without memory. */
bool node_index_init(struct node_index *index);
void node_index_release(struct node_index *index);

/* node->key_hash and node->name_hash must be set, and stay while it is in. */
void node_index_enter_key(struct node_index *index, struct node *node);
void node_index_leave_key(struct node_index *index, struct node *node);
void node_index_enter_name(struct node_index *index, struct node *node);
void node_index_leave_name(struct node_index *index, struct node *node);

/* The chains to be searched, by next_by_key and next_by_name. */
struct node *node_index_key_chain(const struct node_index *index, uint32_t hash);
struct node *node_index_name_chain(const struct node_index *index, uint32_t hash);

/* For emptying it: any node, or NULL when there is none left. *CURSOR starts as 0. */
struct node *node_index_any(const struct node_index *index, size_t *cursor);
