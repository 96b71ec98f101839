/* What the kernel can ask. The session's user data is a struct fs. */
#pragma once

#include "fuse/fs.h"

extern const struct fuse_lowlevel_ops request_ops;
