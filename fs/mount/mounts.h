/* What is mounted. */
#pragma once

#include <stdbool.h>

/* Whether the uppermost mount at PATH (absolute, without symbolic links) is a courierfs. */
bool mounts_have_courierfs(const char *path);
