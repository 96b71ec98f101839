/* Listing a directory that others change meanwhile. */
#pragma once

#include "store/store.h"

struct dir_entry {
    uint64_t ino;
    size_t name_offset; /* into names, NUL-terminated there */
    uint32_t name_len;
    unsigned char type; /* DT_* */
};

struct dir_list {
    struct buf names;
    struct dir_entry *entries;
    size_t count;
    size_t capacity;
    struct stat dir; /* of the directory, taken before the (last) reading */
};

#define DIR_LIST_AUTO __attribute__((cleanup(dir_list_release))) struct dir_list
#define DIR_LIST_EMPTY ((struct dir_list){.names = BUF_EMPTY})

/* One reading of the directory PATH, without "." and "..", `.nfs*` left out. 0 or -errno. */
int store_list(struct store *store, const char *path, struct dir_list *list_r);

/* For cur and new: Courier renames files there at any time, and one reading then misses some. Reads
 * until the directory's mtime is the same before and after, and once more if that is younger than the
 * clock can tell (five times at most); answers the union by base name. Of several names with one base
 * the latest seen wins, so each message is in the list once. Sorted by base name. 0 or -errno. */
int store_list_messages(struct store *store, const char *path, struct dir_list *list_r);

/* The entry whose base name is BASE in a list of store_list_messages, or NULL. */
const struct dir_entry *dir_list_find_base(const struct dir_list *list, struct span base);
struct span dir_entry_name(const struct dir_list *list, const struct dir_entry *entry);
int dir_list_add(struct dir_list *list, struct span name, uint64_t ino, unsigned char type);
void dir_list_release(struct dir_list *list);
