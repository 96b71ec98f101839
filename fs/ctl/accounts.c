#include "ctl/accounts.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/caller.h"
#include "store/file.h"
#include "store/list.h"

/* ---- lists of paths ---- */

int path_list_add(struct path_list *list, const char *path)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        char **grown = realloc(list->paths, capacity * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        list->paths = grown;
        list->capacity = capacity;
    }
    char *copy = strdup(path);
    if (copy == NULL)
        return -ENOMEM;
    list->paths[list->count++] = copy;
    return 0;
}

void path_list_release(struct path_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->paths[i]);
    free(list->paths);
    *list = (struct path_list){.paths = NULL};
}

/* ---- the walk ---- */

struct walk {
    struct store *store;
    const char *pattern;
    void (*say)(const char *path, int error);
    struct path_list *accounts;
    int error; /* the first one */
};

static void complain(struct walk *walk, const char *path, int error)
{
    walk->say(path, error);
    if (walk->error == 0)
        walk->error = error;
}

static bool has(const struct dir_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct dir_entry *entry = &list->entries[i];
        if (span_equals(dir_entry_name(list, entry), name))
            return entry->type == DT_DIR || entry->type == DT_UNKNOWN;
    }
    return false;
}

static bool is_maildir(const struct dir_list *list)
{
    return has(list, "cur") && has(list, "new") && has(list, "tmp");
}

/* Whether PATTERN fits the path or a directory above it. */
static bool is_wanted(const char *pattern, const char *path)
{
    if (pattern == NULL || fnmatch(pattern, path, 0) == 0)
        return true;
    AUTO_FREE char *copy = strdup(path);
    for (char *slash = copy != NULL ? strrchr(copy, '/') : NULL; slash != NULL;
         slash = strrchr(copy, '/')) {
        *slash = '\0';
        if (fnmatch(pattern, copy, 0) == 0)
            return true;
    }
    return false;
}

/* Lists PATH as its owner. The thread goes on as the owner. */
static int list_as_owner(struct store *store, const char *path, struct dir_list *list_r)
{
    struct stat st;
    int result = store_stat(store, path, &st);
    if (result == 0)
        result = caller_become_owner(st.st_uid, st.st_gid);
    return result < 0 ? result : store_list(store, path, list_r);
}

static bool is_directory(struct store *store, const char *path, unsigned char type)
{
    struct stat st;
    if (type != DT_UNKNOWN)
        return type == DT_DIR;
    return store_stat(store, path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* As deep as the tree, which PATH_MAX bounds. */
static void walk_below(struct walk *walk, const char *path)
{
    DIR_LIST_AUTO list = DIR_LIST_EMPTY;
    int result = list_as_owner(walk->store, path, &list);
    if (result == 0 && is_maildir(&list)) {
        if (is_wanted(walk->pattern, path))
            result = path_list_add(walk->accounts, path);
        list.count = 0;
    }
    if (result < 0)
        complain(walk, path, result);
    struct stat own;
    for (size_t i = 0; result == 0 && i < list.count; i++) {
        BUF_AUTO below = BUF_EMPTY;
        result = store_join(&below, path, dir_entry_name(&list, &list.entries[i]).text);
        if (result == 0 && i > 0) /* the thread comes back from below as somebody else */
            result = store_stat(walk->store, path, &own);
        if (result == 0 && i > 0)
            result = caller_become_owner(own.st_uid, own.st_gid);
        if (result == 0 && is_directory(walk->store, below.data, list.entries[i].type))
            walk_below(walk, below.data);
    }
}

int accounts_find(struct store *store, const char *start, const char *pattern,
                  void (*say)(const char *path, int error), struct path_list *accounts)
{
    struct walk walk = {.store = store, .pattern = pattern, .say = say, .accounts = accounts};
    walk_below(&walk, start);
    caller_become_daemon();
    return walk.error;
}

/* ---- folders ---- */

static int compare_descending(const void *a, const void *b)
{
    return strcmp(*(char *const *)b, *(char *const *)a);
}

static bool is_folder(struct store *store, const char *path)
{
    BUF_AUTO cur = BUF_EMPTY;
    struct stat st;
    return store_join(&cur, path, "cur") == 0 && store_stat(store, cur.data, &st) == 0 &&
           S_ISDIR(st.st_mode);
}

int account_folders(struct store *store, const char *account, struct path_list *folders)
{
    DIR_LIST_AUTO list = DIR_LIST_EMPTY;
    int result = list_as_owner(store, account, &list);
    for (size_t i = 0; result == 0 && i < list.count; i++) {
        struct span name = dir_entry_name(&list, &list.entries[i]);
        BUF_AUTO path = BUF_EMPTY;
        /* "..DOVECOT-TRASHED" and its like are being deleted. */
        if (name.text[0] != '.' || name.text[1] == '.')
            continue;
        result = store_join(&path, account, name.text);
        if (result == 0 && is_directory(store, path.data, list.entries[i].type) &&
            is_folder(store, path.data))
            result = path_list_add(folders, path.data);
    }
    if (folders->count > 0)
        qsort(folders->paths, folders->count, sizeof(*folders->paths), compare_descending);
    return result;
}
