/* Open directories. fi->fh is a struct dir_handle. */
#pragma once

#include "fuse/commands.h"
#include "fuse/lookup.h"

int dir_open(struct fs *fs, const struct caller *caller, struct node *node,
             struct fuse_file_info *fi);
/* Fills OUT with entries for the kernel, from OFFSET on; the number of bytes, or -errno. */
ssize_t dir_read(fuse_req_t req, struct fs *fs, const struct caller *caller, struct node *node,
                 const struct fuse_file_info *fi, char *out, size_t size, off_t offset);
void dir_release(struct fuse_file_info *fi);
int dir_sync(struct fs *fs, const struct caller *caller, struct node *node, bool data_only);
/* Does the command, whose answer is filled in. -ENOTDIR: NODE is no mailbox's directory. */
int dir_prove_sizes(struct fs *fs, const struct caller *caller, struct node *node,
                    struct command_prove_sizes *command);
