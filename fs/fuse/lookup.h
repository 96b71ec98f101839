/* From names to nodes, and from nodes back to files of the store. */
#pragma once

#include "fuse/fs.h"

/* A directory as the store has it at this moment. */
struct directory {
    struct node *node;
    char path[PATH_MAX];
    struct place place;
    bool is_cur;
    /* For a cur, a new or a tmp: the mailbox it belongs to. */
    char mailbox_path[PATH_MAX];
    struct place mailbox;
};

/* What a name in a directory is. */
enum slot_kind {
    SLOT_FILE,    /* a name of the store */
    SLOT_MESSAGE, /* a name in cur */
    SLOT_CONTROL, /* a control file, if the directory is a mailbox; else as SLOT_FILE */
    SLOT_STATUS,
    SLOT_HIDDEN, /* never shown, never made */
    /* Only in the layout for CONTROL=: */
    SLOT_DIRECTORY, /* a directory of the store; any other file of that name is hidden */
    SLOT_INBOX,     /* the maildir itself once more */
    SLOT_CLOSED,    /* of a mailbox's cur, new or tmp */
};

struct slot {
    struct directory dir;
    const char *name;
    enum slot_kind kind;
    enum control_kind control; /* CONTROL_NONE unless SLOT_CONTROL */
};

/* DIR_R points into itself: it cannot be copied. 0, -ESTALE or -ENAMETOOLONG. */
int directory_locate(struct fs *fs, struct node *node, struct directory *dir_r);

/* SLOT_R keeps NAME's address, and cannot be copied. As directory_locate, or another -errno. */
int slot_locate(struct fs *fs, const struct caller *caller, struct node *dir, const char *name,
                struct slot *slot_r);
/* The path of NAME in the directory. 0 or -ENAMETOOLONG. */
int directory_child(const struct directory *dir, const char *name, char path_r[PATH_MAX]);
/* 0, or -EPERM for names that nobody can make or remove. */
int slot_may_change(const struct slot *slot);

/* Answers the name. */
int lookup_name(struct fs *fs, const struct caller *caller, struct node *dir, const char *name,
                struct fuse_entry_param *entry_r);

/* Makes the answer for STORE_NAME in the directory, which has just been made or found there. ST
 * NULL: it is asked for. */
int lookup_enter(struct fs *fs, const struct caller *caller, const struct directory *dir,
                 struct span store_name, const struct stat *st, struct fuse_entry_param *entry_r);

/* Whether ST is NODE's file. */
bool node_is(const struct node *node, const struct stat *st);

/* The path and attributes of NODE's file, which is proven to be there: a message in cur is found
 * under its present flags. -ESTALE when it is not where it was. */
int node_reach(struct fs *fs, const struct caller *caller, struct node *node, char path_r[PATH_MAX],
               struct stat *st_r);

/* The second half of it: the known path led to nothing, or to another file. */
int node_find_again(struct fs *fs, const struct caller *caller, struct node *node,
                    char path_r[PATH_MAX], struct stat *st_r);
