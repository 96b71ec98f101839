/* Nodes: what the kernel knows of the mount. The essay is in nodes.c.
 *
 * A node's number on the wire is its address. It lives as long as somebody holds a reference: the
 * kernel (one for each entry answered), its children, open files. All functions are thread safe;
 * none of them touches the store. */
#pragma once

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include "base/span.h"
#include "bridge/bridge.h"

/* There is one node for each file that the kernel remembers, millions of them: small things are kept
 * small. */
enum __attribute__((packed)) node_kind {
    NODE_STORE,   /* a file or directory of the store */
    NODE_CONTROL, /* a control file: content from the bridge, no path */
    NODE_STATUS,  /* the status file */
};

/* What a node's name and place say about it. */
enum __attribute__((packed)) node_role {
    ROLE_FILE,
    ROLE_DIR,
    ROLE_CUR, /* directories of that name */
    ROLE_NEW,
    ROLE_TMP,
    ROLE_INBOX,   /* the second name of a maildir, in itself: layout.c */
    ROLE_MESSAGE, /* a regular file in cur or new */
    ROLE_CONTROL, /* a regular file of the store with a control file's name: of a converted mailbox */
};

struct open_file;

struct node {
    /* Never change, but for the role. */
    enum node_kind kind;
    _Atomic enum node_role role;
    uint16_t type; /* S_IFMT bits */
    uint32_t generation;
    union {
        struct { /* NODE_STORE: which file it is */
            dev_t device;
            ino_t inode;
        };
        struct control_file *control; /* NODE_CONTROL: one reference */
    };

    /* The rest belongs to nodes.c. */
    uint64_t references;
    struct node *parent; /* NULL: the root, or a node whose name is gone */
    char *name;          /* the store's name in parent */
    struct node *next_by_key;
    struct node *next_by_name;
    uint64_t base_hash;
    uint32_t key_hash;
    uint32_t name_hash;
    struct open_file *open_files;
};

struct node_table;

/* What an INBOX's directory is called, in itself, in the layout for CONTROL=. */
#define INBOX_NAME ".INBOX"

/* ROOT is the store's root directory. HAS_INBOXES: directories called INBOX_NAME are their parents.
 * NULL without memory. */
struct node_table *node_table_new(const struct stat *root, bool has_inboxes);
void node_table_free(struct node_table *table);
struct node *node_table_root(struct node_table *table);
struct node *node_table_status(struct node_table *table);
size_t node_table_count(struct node_table *table);

/* The node of the file that ST tells of, which is now called NAME (the store's name) in PARENT.
 * Carries a new reference. NULL without memory. */
struct node *node_get(struct node_table *table, struct node *parent, struct span name,
                      const struct stat *st);

/* The node of a control file. Takes over the caller's reference on FILE, also on failure. */
struct node *node_get_control(struct node_table *table, struct control_file *file);

void node_ref(struct node_table *table, struct node *node);
void node_unref(struct node_table *table, struct node *node, uint64_t count);

/* The path in the store, by what is known. -ESTALE when the name is gone, -ENAMETOOLONG. */
int node_path(struct node_table *table, struct node *node, char path_r[PATH_MAX]);

/* The same for a directory, and which directory it lies in (the root: itself). */
int node_directory_path(struct node_table *table, struct node *node, char path_r[PATH_MAX],
                        dev_t *parent_device_r, ino_t *parent_inode_r);

/* The directory that NODE lies in, with a reference, and what it is called there, appended to
 * name_r. -ESTALE when the name is gone. */
int node_parent(struct node_table *table, struct node *node, struct node **parent_r,
                struct buf *name_r);

/* The node known to have that name, with a reference, or NULL. In cur only the base name counts. */
struct node *node_find(struct node_table *table, struct node *parent, struct span name);

/* NODE is called NAME in its directory now. 0 or -ENOMEM. */
int node_set_name(struct node_table *table, struct node *node, struct node *parent,
                  struct span name);

/* A name was removed: its node keeps living without one. */
void node_removed(struct node_table *table, struct node *parent, struct span name);

/* FROM became TO (EXCHANGE: and TO became FROM), these are the store's names. Without memory the
 * nodes concerned lose their names, and the kernel will look them up again. */
void node_moved(struct node_table *table, struct node *from_parent, struct span from,
                struct node *to_parent, struct span to, bool exchange);

#define OPEN_FILE_SIZE_UNKNOWN ((off_t)-1)

/* Open files of a node, by which a file without a name can still be reached. */
struct open_file {
    atomic_uint references;
    int fd;
    off_t size; /* of a file that does not change, or OPEN_FILE_SIZE_UNKNOWN */
    struct node *node;
    struct open_file *next;
};

/* Enters FILE, with one reference that open_file_close gives back; takes a reference on NODE. */
void open_file_enter(struct node_table *table, struct node *node, struct open_file *file);
void open_file_close(struct node_table *table, struct open_file *file);
/* Any one of NODE's, with a reference, or NULL. */
struct open_file *open_file_of(struct node_table *table, struct node *node);
/* Closes the descriptor and frees FILE with the last one. */
void open_file_unref(struct open_file *file);
