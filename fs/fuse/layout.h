/* The names of a mount with the option `control`. The essay is in layout.c. */
#pragma once

#include "fuse/lookup.h"

/* Sets the kind of SLOT, whose directory and name are known. 0, or -errno: it could not be learned. */
int layout_classify(struct fs *fs, const struct caller *caller, struct slot *slot);

/* Answers SLOT_DIRECTORY and SLOT_INBOX. */
int layout_lookup(struct fs *fs, const struct caller *caller, const struct slot *slot,
                  struct fuse_entry_param *entry_r);

/* Whether NODE, a directory, may be read: 0, -EPERM, or another -errno. */
int layout_may_list(struct fs *fs, const struct caller *caller, struct node *node);

/* Makes LIST, the store's listing of DIR, what the mount shows. 0 or -errno. */
int layout_list(struct fs *fs, const struct caller *caller, const struct directory *dir,
                struct dir_list *list);
