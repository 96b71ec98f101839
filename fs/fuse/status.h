/* The status file: a name in the mount's root that no listing shows, for root only. */
#pragma once

#include "fuse/fs.h"

#define STATUS_NAME ".courierfs-status"

void status_entry(struct fs *fs, struct fuse_entry_param *entry_r);
void status_stat(struct stat *st_r);
/* Its content at this moment. 0 or -ENOMEM. */
int status_text(struct fs *fs, struct buf *out);
