/* Control files as nodes: their names, entries and attributes. What they mean is the bridge's. */
#pragma once

#include "fuse/lookup.h"

/* For SLOT_CONTROL. All answer -ENOTDIR if the directory is no mailbox: the name is then an
 * ordinary one of the store. */
int control_find(struct fs *fs, const struct caller *caller, const struct slot *slot,
                 struct fuse_entry_param *entry_r);
/* *file_r carries a reference, *entry_r another one of its node. */
int control_make(struct fs *fs, const struct caller *caller, const struct slot *slot, int flags,
                 mode_t mode, struct control_file **file_r, struct fuse_entry_param *entry_r);
int control_make_link(struct fs *fs, const struct caller *caller, const char *from,
                      const struct slot *slot, struct fuse_entry_param *entry_r);
int control_remove(struct fs *fs, const struct caller *caller, const struct slot *slot);
/* At least one of the two is SLOT_CONTROL; -ENOTDIR if both are ordinary names where they lie. */
int control_move(struct fs *fs, const struct caller *caller, const struct slot *from,
                 const struct slot *to, unsigned flags);
/* 0 if the name is a control file's, there or not; -ENOTDIR. */
int control_owns(struct fs *fs, const struct caller *caller, const struct slot *slot);

/* Attributes as shown. */
int control_attr(struct control_file *file, const struct caller *caller, struct stat *st_r);
/* TO_SET as in libfuse. Owner and mode stay what they are, which counts as success. */
int control_set_attr(struct control_file *file, const struct caller *caller,
                     const struct stat *wanted, int to_set, struct stat *st_r);
