/* Open files. fi->fh is a struct handle, except for directories (dirs.h). */
#pragma once

#include "fuse/lookup.h"

/* Opens NODE and fills in FI. */
int file_open(struct fs *fs, const struct caller *caller, struct node *node,
              struct fuse_file_info *fi);
/* open(O_CREAT). */
int file_create(struct fs *fs, const struct caller *caller, struct node *dir, const char *name,
                mode_t mode, struct fuse_file_info *fi, struct fuse_entry_param *entry_r);
/* Ends what file_open or file_create began. */
void file_release(struct fs *fs, struct fuse_file_info *fi);

/* The descriptor in the store, or -1 for other kinds of files. */
int file_descriptor(const struct fuse_file_info *fi);

ssize_t file_read(struct fs *fs, const struct caller *caller, const struct fuse_file_info *fi,
                  void *out, size_t size, off_t offset);
ssize_t file_write(struct fs *fs, const struct caller *caller, const struct fuse_file_info *fi,
                   const void *bytes, size_t size, off_t offset);
/* close() of one descriptor: tells of writes that failed. */
int file_flush(struct fs *fs, const struct caller *caller, const struct fuse_file_info *fi);
int file_sync(struct fs *fs, const struct caller *caller, const struct fuse_file_info *fi,
              bool data_only);
int file_allocate(struct fs *fs, const struct fuse_file_info *fi, int mode, off_t offset,
                  off_t len);
