/* Operations that make, move and remove names. */
#pragma once

#include "fuse/lookup.h"

int names_mknod(struct fs *fs, const struct caller *caller, struct node *dir, const char *name,
                mode_t mode, dev_t device, struct fuse_entry_param *entry_r);
int names_mkdir(struct fs *fs, const struct caller *caller, struct node *dir, const char *name,
                mode_t mode, struct fuse_entry_param *entry_r);
int names_symlink(struct fs *fs, const struct caller *caller, const char *target, struct node *dir,
                  const char *name, struct fuse_entry_param *entry_r);
int names_link(struct fs *fs, const struct caller *caller, struct node *node, struct node *dir,
               const char *name, struct fuse_entry_param *entry_r);
int names_unlink(struct fs *fs, const struct caller *caller, struct node *dir, const char *name);
int names_rmdir(struct fs *fs, const struct caller *caller, struct node *dir, const char *name);
int names_rename(struct fs *fs, const struct caller *caller, struct node *from_dir,
                 const char *from, struct node *to_dir, const char *to, unsigned flags);
