/* Node identity.
 *
 * The kernel wants a number for each file, which it then uses for as long as it likes. Below, other
 * hosts rename, replace and delete files without telling us. What must never happen: that a number
 * means one file for the kernel and another for us. Then a message would be read from another
 * one's cached pages.
 *
 * The usual answers do not fit. One descriptor for each inode (libfuse's passthrough examples) ends
 * at the limit of descriptors, 20,000 on some machines, which one large folder reaches. A path for
 * each inode follows a name to whatever has that name now. File handles of the kernel
 * (name_to_handle_at) need root's rights on the store, and root has none on an NFS export.
 *
 * So a node is known by what stat() says: device, inode, file type. It remembers its latest name
 * and its directory's node, and a path is made by walking up. A path is a way to reach the file,
 * not an identity: whoever uses one compares the device and inode found there with the node's. If
 * they differ, or if nothing is there, the request is answered with ESTALE, on which the kernel
 * looks the name up again and comes back with a fresh node. That costs one more round trip in a
 * rare case and needs nobody to be told of changes. For a message in cur there is a better way, as
 * only its flags have changed: it is found by its base name first (lookup.c).
 *
 * Inode numbers are used again. A file is deleted, the next one gets its number, and the kernel
 * still holds pages of the first. For ordinary files the kernel compares size and mtime and drops
 * its pages when they changed, and at each open. Message files keep their pages over opens, so for
 * them the number alone is too weak: their key also holds the hash of the base name, and that of
 * the mailbox. (Without the mailbox a message and its copy in another folder, one inode and one
 * base name, would be one node, and its path that of whoever looked last.) Files in tmp are keyed
 * in the same way, since they become messages.
 *
 * A node may be found under a new name (the key found it: it moves), lose its name (unlink; another
 * file got its name) and live on while files are open, or be one of two that have the same key
 * after a rename; then lookups find either one, and both lead to the same file. One name in one
 * directory is the name of at most one node.
 *
 * One lock guards the table. No call on the store is made under it. */
#include "fuse/nodes.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "courier/name.h"
#include "fuse/node_index.h"

struct node_table {
    pthread_rwlock_t lock;
    struct node *root;
    struct node status;
    struct node_index index;
    uint32_t next_generation; /* the kernel keeps as many bits */
    bool has_inboxes;
    size_t most; /* nodes there were since memory was last given back */
};

/* So many nodes, and a quarter of them left: then the C library is asked to give memory back, which it
 * keeps for itself otherwise. */
#define MANY_NODES 65536

/* ---- keys ---- */

struct key {
    uint64_t device;
    uint64_t inode;
    uint64_t base_hash;
    uint64_t type; /* CONTROL_TYPE: device is 0, inode the address of the control file */
};

#define CONTROL_TYPE 1

static uint32_t hash_key(const struct key *key)
{
    return (uint32_t)XXH3_64bits(key, sizeof(*key));
}

static bool has_key(const struct node *node, uint32_t hash, const struct key *key)
{
    if (node->key_hash != hash)
        return false;
    if (node->kind == NODE_CONTROL)
        return key->type == CONTROL_TYPE && key->inode == (uintptr_t)node->control;
    return key->device == node->device && key->inode == node->inode &&
           key->base_hash == node->base_hash && key->type == node->type;
}

static struct node *find_key(struct node_table *table, uint32_t hash, const struct key *key)
{
    struct node *node = node_index_key_chain(&table->index, hash);
    while (node != NULL && !has_key(node, hash, key))
        node = node->next_by_key;
    return node;
}

/* ---- names ---- */

static bool is_mailbox_part(const struct node *dir)
{
    return dir->role == ROLE_CUR || dir->role == ROLE_NEW || dir->role == ROLE_TMP;
}

/* The part of NAME that says which entry of PARENT it is. */
static struct span entry_part(const struct node *parent, struct span name)
{
    return parent->role == ROLE_CUR ? name_base(name) : name;
}

static uint32_t hash_name(const struct node *parent, struct span part)
{
    return (uint32_t)XXH3_64bits_withSeed(part.text, part.len, (uint64_t)(uintptr_t)parent);
}

static bool is_inbox_name(const struct node_table *table, struct span name, mode_t type)
{
    return table->has_inboxes && type == S_IFDIR && span_equals(name, INBOX_NAME);
}

/* Of an inode that can be two nodes: which of them. */
#define INBOX_HASH 1

static uint64_t hash_base(const struct node_table *table, const struct node *parent,
                          struct span name, mode_t type)
{
    if (is_inbox_name(table, name, type))
        return INBOX_HASH;
    if (type != S_IFREG || !is_mailbox_part(parent))
        return 0;
    struct span base = name_base(name);
    uint64_t mailbox = parent->parent != NULL ? parent->parent->inode : 0;
    return XXH3_64bits_withSeed(base.text, base.len, mailbox);
}

static enum node_role role_of(const struct node_table *table, const struct node *parent,
                              struct span name, mode_t type)
{
    if (is_inbox_name(table, name, type))
        return ROLE_INBOX;
    if (type == S_IFDIR) {
        if (span_equals(name, "cur"))
            return ROLE_CUR;
        if (span_equals(name, "new"))
            return ROLE_NEW;
        return span_equals(name, "tmp") ? ROLE_TMP : ROLE_DIR;
    }
    if (type == S_IFREG && (parent->role == ROLE_CUR || parent->role == ROLE_NEW))
        return ROLE_MESSAGE;
    bool is_control = type == S_IFREG && control_kind_of(name) != CONTROL_NONE;
    return is_control ? ROLE_CONTROL : ROLE_FILE;
}

static struct node *find_name(struct node_table *table, const struct node *parent, struct span name)
{
    struct span part = entry_part(parent, name);
    uint32_t hash = hash_name(parent, part);
    struct node *node = node_index_name_chain(&table->index, hash);
    for (; node != NULL; node = node->next_by_name) {
        if (node->name_hash == hash && node->parent == parent &&
            span_equal(entry_part(parent, span_of(node->name)), part))
            return node;
    }
    return NULL;
}

static bool unref(struct node_table *table, struct node *node, uint64_t count);

/* Takes the name away. The reference on the parent is given back. */
static void detach(struct node_table *table, struct node *node)
{
    if (node->parent == NULL)
        return;
    struct node *parent = node->parent;
    node_index_leave_name(&table->index, node);
    free(node->name);
    node->name = NULL;
    node->parent = NULL;
    unref(table, parent, 1);
}

/* Gives NODE, which has no name, this one, and to whoever had it none. NAME becomes the node's. */
static void attach(struct node_table *table, struct node *node, struct node *parent, char *name)
{
    struct node *former = find_name(table, parent, span_of(name));
    if (former != NULL)
        detach(table, former);
    parent->references++;
    node->parent = parent;
    node->name = name;
    node->name_hash = hash_name(parent, entry_part(parent, span_of(name)));
    node->role = role_of(table, parent, span_of(name), node->type);
    node_index_enter_name(&table->index, node);
}

static void set_base_hash(struct node_table *table, struct node *node, uint64_t base_hash)
{
    if (node->base_hash == base_hash)
        return;
    node_index_leave_key(&table->index, node);
    node->base_hash = base_hash;
    const struct key key = {node->device, node->inode, base_hash, node->type};
    node->key_hash = hash_key(&key);
    node_index_enter_key(&table->index, node);
}

/* Moves NODE to a name, which becomes the node's. NODE and PARENT are kept by the caller. */
static void move_to(struct node_table *table, struct node *node, struct node *parent, char *name)
{
    /* A directory below itself: the store is not a tree at this moment, or it lies to us. */
    for (const struct node *up = parent; up != NULL; up = up->parent) {
        if (up == node) {
            free(name);
            return;
        }
    }
    parent->references++; /* lest it goes with the last of its children */
    detach(table, node);
    attach(table, node, parent, name);
    parent->references--;
    set_base_hash(table, node, hash_base(table, parent, span_of(name), node->type));
}

/* ---- life ---- */

/* A control file is left to the caller: giving it back may take time. */
static void free_node(struct node_table *table, struct node *node)
{
    node_index_leave_key(&table->index, node);
    free(node->name);
    free(node);
}

/* True if NODE itself is gone now. */
static bool unref(struct node_table *table, struct node *node, uint64_t count)
{
    bool gone = false;
    while (node != NULL) {
        node->references -= count < node->references ? count : node->references;
        if (node->references > 0)
            break;
        struct node *parent = node->parent;
        if (parent != NULL)
            node_index_leave_name(&table->index, node);
        free_node(table, node);
        gone = true;
        node = parent;
        count = 1;
    }
    return gone;
}

struct node_table *node_table_new(const struct stat *root, bool has_inboxes)
{
    struct node_table *table = calloc(1, sizeof(*table));
    if (table == NULL)
        return NULL;
    table->root = calloc(1, sizeof(struct node));
    if (table->root == NULL || !node_index_init(&table->index)) {
        free(table->root);
        free(table);
        return NULL;
    }
    pthread_rwlock_init(&table->lock, NULL);
    table->has_inboxes = has_inboxes;
    const struct key key = {root->st_dev, root->st_ino, 0, S_IFDIR};
    *table->root = (struct node){
        .kind = NODE_STORE,
        .device = root->st_dev,
        .inode = root->st_ino,
        .type = S_IFDIR,
        .role = ROLE_DIR,
        .references = 1,
        .key_hash = hash_key(&key),
    };
    node_index_enter_key(&table->index, table->root);
    table->status = (struct node){.kind = NODE_STATUS, .type = S_IFREG, .role = ROLE_FILE};
    return table;
}

void node_table_free(struct node_table *table)
{
    if (table == NULL)
        return;
    struct node *node;
    size_t cursor = 0;
    while ((node = node_index_any(&table->index, &cursor)) != NULL) {
        if (node->kind == NODE_CONTROL)
            control_unref(node->control);
        free_node(table, node);
    }
    node_index_release(&table->index);
    pthread_rwlock_destroy(&table->lock);
    free(table);
}

struct node *node_table_root(struct node_table *table)
{
    return table->root;
}

struct node *node_table_status(struct node_table *table)
{
    return &table->status;
}

size_t node_table_count(struct node_table *table)
{
    pthread_rwlock_rdlock(&table->lock);
    size_t count = table->index.count;
    pthread_rwlock_unlock(&table->lock);
    return count;
}

static void enter_new(struct node_table *table, struct node *node, uint32_t key_hash)
{
    node->generation = ++table->next_generation;
    node->key_hash = key_hash;
    node->references = 1;
    node_index_enter_key(&table->index, node);
}

static bool is_called(const struct node *node, const struct node *parent, struct span name)
{
    return node->parent == parent && span_equals(name, node->name);
}

static struct node *get_locked(struct node_table *table, struct node *parent, struct span name,
                               const struct stat *st, char **own_name)
{
    mode_t type = st->st_mode & S_IFMT;
    const struct key key = {st->st_dev, st->st_ino, hash_base(table, parent, name, type), type};
    uint32_t hash = hash_key(&key);
    struct node *node = find_key(table, hash, &key);
    if (node != NULL) {
        node->references++;
    } else {
        node = calloc(1, sizeof(*node));
        if (node == NULL)
            return NULL;
        node->kind = NODE_STORE;
        node->device = st->st_dev;
        node->inode = st->st_ino;
        node->type = (uint16_t)type;
        node->base_hash = key.base_hash;
        enter_new(table, node, hash);
    }
    /* The root stays the root under whatever name it may be found. */
    if (node != table->root && !is_called(node, parent, name)) {
        move_to(table, node, parent, *own_name);
        *own_name = NULL;
    }
    return node;
}

struct node *node_get(struct node_table *table, struct node *parent, struct span name,
                      const struct stat *st)
{
    char *own_name = strndup(name.text, name.len);
    if (own_name == NULL)
        return NULL;
    pthread_rwlock_wrlock(&table->lock);
    struct node *node = get_locked(table, parent, name, st, &own_name);
    pthread_rwlock_unlock(&table->lock);
    free(own_name);
    return node;
}

struct node *node_get_control(struct node_table *table, struct control_file *file)
{
    const struct key key = {0, (uintptr_t)file, 0, CONTROL_TYPE};
    uint32_t hash = hash_key(&key);
    pthread_rwlock_wrlock(&table->lock);
    struct node *node = find_key(table, hash, &key);
    struct control_file *surplus = file;
    if (node != NULL) {
        node->references++;
    } else {
        node = calloc(1, sizeof(*node));
        if (node != NULL) {
            node->kind = NODE_CONTROL;
            node->type = S_IFREG;
            node->control = file;
            surplus = NULL;
            enter_new(table, node, hash);
        }
    }
    pthread_rwlock_unlock(&table->lock);
    if (surplus != NULL)
        control_unref(surplus);
    return node;
}

void node_ref(struct node_table *table, struct node *node)
{
    if (node->kind == NODE_STATUS)
        return;
    pthread_rwlock_wrlock(&table->lock);
    node->references++;
    pthread_rwlock_unlock(&table->lock);
}

void node_unref(struct node_table *table, struct node *node, uint64_t count)
{
    /* The kernel forgets even the root, once, at the end. */
    if (node->kind == NODE_STATUS || node == table->root)
        return;
    pthread_rwlock_wrlock(&table->lock);
    struct control_file *control = node->kind == NODE_CONTROL ? node->control : NULL;
    size_t before = table->index.count;
    if (before > table->most)
        table->most = before;
    bool gone = unref(table, node, count);
    bool give_back = table->most >= MANY_NODES && table->index.count < table->most / 4;
    if (give_back)
        table->most = table->index.count;
    pthread_rwlock_unlock(&table->lock);
    if (gone && control != NULL)
        control_unref(control);
    if (give_back)
        malloc_trim(0);
}

/* ---- paths ---- */

static int path_locked(const struct node_table *table, const struct node *node,
                       char path_r[PATH_MAX])
{
    /* From the end of the buffer to its beginning. */
    size_t at = PATH_MAX - 1;
    path_r[at] = '\0';
    for (; node != table->root; node = node->parent) {
        if (node->parent == NULL)
            return -ESTALE;
        if (node->role == ROLE_INBOX)
            continue;
        size_t len = strlen(node->name);
        if (len + 1 > at)
            return -ENAMETOOLONG;
        at -= len;
        memcpy(path_r + at, node->name, len);
        path_r[--at] = '/';
    }
    if (path_r[at] == '\0') {
        memcpy(path_r, ".", 2);
        return 0;
    }
    at++; /* no leading slash: it is relative */
    memmove(path_r, path_r + at, PATH_MAX - at);
    return 0;
}

int node_path(struct node_table *table, struct node *node, char path_r[PATH_MAX])
{
    pthread_rwlock_rdlock(&table->lock);
    int error = path_locked(table, node, path_r);
    pthread_rwlock_unlock(&table->lock);
    return error;
}

int node_directory_path(struct node_table *table, struct node *node, char path_r[PATH_MAX],
                        dev_t *parent_device_r, ino_t *parent_inode_r)
{
    pthread_rwlock_rdlock(&table->lock);
    int error = path_locked(table, node, path_r);
    const struct node *parent = error == 0 && node->parent != NULL ? node->parent : node;
    *parent_device_r = parent->device;
    *parent_inode_r = parent->inode;
    pthread_rwlock_unlock(&table->lock);
    return error;
}

int node_parent(struct node_table *table, struct node *node, struct node **parent_r,
                struct buf *name_r)
{
    int error = -ESTALE;
    pthread_rwlock_wrlock(&table->lock);
    if (node->parent != NULL) {
        buf_add_string(name_r, node->name);
        error = buf_error(name_r);
    }
    if (error == 0) {
        *parent_r = node->parent;
        node->parent->references++;
    }
    pthread_rwlock_unlock(&table->lock);
    return error;
}

struct node *node_find(struct node_table *table, struct node *parent, struct span name)
{
    pthread_rwlock_wrlock(&table->lock);
    struct node *node = find_name(table, parent, name);
    if (node != NULL)
        node->references++;
    pthread_rwlock_unlock(&table->lock);
    return node;
}

/* ---- changes ---- */

int node_set_name(struct node_table *table, struct node *node, struct node *parent,
                  struct span name)
{
    char *own_name = strndup(name.text, name.len);
    if (own_name == NULL)
        return -ENOMEM;
    pthread_rwlock_wrlock(&table->lock);
    move_to(table, node, parent, own_name);
    pthread_rwlock_unlock(&table->lock);
    return 0;
}

void node_removed(struct node_table *table, struct node *parent, struct span name)
{
    pthread_rwlock_wrlock(&table->lock);
    struct node *node = find_name(table, parent, name);
    if (node != NULL)
        detach(table, node);
    pthread_rwlock_unlock(&table->lock);
}

static void move_or_detach(struct node_table *table, struct node *node, struct node *parent,
                           struct span name)
{
    if (node == NULL)
        return;
    char *own_name = strndup(name.text, name.len);
    if (own_name != NULL)
        move_to(table, node, parent, own_name);
    else
        detach(table, node);
}

void node_moved(struct node_table *table, struct node *from_parent, struct span from,
                struct node *to_parent, struct span to, bool exchange)
{
    pthread_rwlock_wrlock(&table->lock);
    struct node *moved = find_name(table, from_parent, from);
    struct node *other = find_name(table, to_parent, to);
    if (other != NULL && other != moved) {
        other->references++; /* over the moment without a name */
        detach(table, other);
    } else {
        other = NULL;
    }
    move_or_detach(table, moved, to_parent, to);
    if (other != NULL) {
        if (exchange)
            move_or_detach(table, other, from_parent, from);
        unref(table, other, 1);
    }
    pthread_rwlock_unlock(&table->lock);
}

/* ---- open files ---- */

void open_file_enter(struct node_table *table, struct node *node, struct open_file *file)
{
    atomic_store(&file->references, 1);
    file->node = node;
    pthread_rwlock_wrlock(&table->lock);
    node->references++;
    file->next = node->open_files;
    node->open_files = file;
    pthread_rwlock_unlock(&table->lock);
}

void open_file_close(struct node_table *table, struct open_file *file)
{
    struct node *node = file->node;
    pthread_rwlock_wrlock(&table->lock);
    struct open_file **place = &node->open_files;
    while (*place != file)
        place = &(*place)->next;
    *place = file->next;
    unref(table, node, 1);
    pthread_rwlock_unlock(&table->lock);
    open_file_unref(file);
}

struct open_file *open_file_of(struct node_table *table, struct node *node)
{
    pthread_rwlock_rdlock(&table->lock);
    struct open_file *file = node->open_files;
    if (file != NULL)
        atomic_fetch_add(&file->references, 1);
    pthread_rwlock_unlock(&table->lock);
    return file;
}

void open_file_unref(struct open_file *file)
{
    if (atomic_fetch_sub(&file->references, 1) > 1)
        return;
    if (file->fd >= 0)
        close(file->fd);
    free(file);
}
