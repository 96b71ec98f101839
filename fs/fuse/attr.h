/* Attributes. */
#pragma once

#include "fuse/lookup.h"

int attr_get(struct fs *fs, const struct caller *caller, struct node *node,
             const struct fuse_file_info *fi, struct stat *st_r);
/* TO_SET as in libfuse. What has the wanted value already needs no right to set it. */
int attr_set(struct fs *fs, const struct caller *caller, struct node *node,
             const struct stat *wanted, int to_set, const struct fuse_file_info *fi,
             struct stat *st_r);

/* The times of a setattr request in the words of utimensat(). */
void attr_times(const struct stat *wanted, int to_set, struct timespec times_r[2]);

/* Extended attributes, of the user's namespace only. */
ssize_t attr_get_extended(struct fs *fs, struct node *node, const char *name, void *value,
                          size_t size);
ssize_t attr_list_extended(struct fs *fs, struct node *node, char *names, size_t size);
int attr_set_extended(struct fs *fs, struct node *node, const char *name, const void *value,
                      size_t size, int flags);
int attr_remove_extended(struct fs *fs, struct node *node, const char *name);
