#include "mount/mounts.h"

#include <mntent.h>
#include <stdio.h>
#include <string.h>

bool mounts_have_courierfs(const char *path)
{
    FILE *table = setmntent("/proc/self/mounts", "r");
    if (table == NULL)
        return false;
    bool found = false;
    struct mntent entry;
    char line[8192];
    while (getmntent_r(table, &entry, line, sizeof(line)) != NULL) {
        if (strcmp(entry.mnt_dir, path) == 0)
            found = strcmp(entry.mnt_type, "fuse.courierfs") == 0;
    }
    endmntent(table);
    return found;
}
