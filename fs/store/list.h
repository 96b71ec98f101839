/* Listing a directory that others change meanwhile. */
#pragma once

#include "store/store.h"

struct dir_entry {
    uint64_t ino;
    size_t name_offset; /* into names, NUL-terminated there */
    uint16_t name_len;
    uint16_t base_len;  /* of its base name; a sort asks for it many times */
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

/* The same where the store's own clock said NOW before, {0} = not known: what is changed from then on has
 * at least that time, so that an mtime before it needs no second reading. */
int store_list_messages_at(struct store *store, const char *path, struct timespec now,
                           struct dir_list *list_r);

/* As the first, but every name that was seen is there once: two with one base name are two files, or one
 * that was renamed meanwhile. Sorted by base name, then by name. 0 or -errno. */
int store_list_names(struct store *store, const char *path, struct dir_list *list_r);

/* One reading of a directory of any size, nothing kept: EACH is called with every name (not with "." and
 * "..", nor `.nfs*`) and its DT_* type while the directory is open; what it answers below 0 ends the
 * reading. 0 or -errno. */
typedef int store_each_fn(void *arg, const char *name, unsigned char type);
int store_each(struct store *store, const char *path, store_each_fn *each, void *arg);

/* The entry whose base name is BASE in a list of store_list_messages, or NULL. */
const struct dir_entry *dir_list_find_base(const struct dir_list *list, struct span base);
struct span dir_entry_name(const struct dir_list *list, const struct dir_entry *entry);
int dir_list_add(struct dir_list *list, struct span name, uint64_t ino, unsigned char type);
void dir_list_release(struct dir_list *list);
