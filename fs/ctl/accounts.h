/* The accounts of a store, and the mailboxes of an account.
 *
 * An account is a maildir (a directory with cur, new and tmp) that lies in no other one: somebody's
 * INBOX. Its folders are the directories `.NAME` in it that have cur. Paths are relative to the
 * store. Directories are read as their owners, because root may not look into them over NFS. */
#pragma once

#include "store/store.h"

struct path_list {
    char **paths;
    size_t count;
    size_t capacity;
};

#define PATH_LIST_AUTO __attribute__((cleanup(path_list_release))) struct path_list

/* 0 or -ENOMEM. */
int path_list_add(struct path_list *list, const char *path);
void path_list_release(struct path_list *list);

/* Adds the accounts at and below the directory START for which PATTERN (NULL = all) fits: a glob of the
 * account's path or of a directory above it, in which '*' also means '/'. SAY is told of directories
 * that cannot be read; 0, or the first error of them; what could be read is in the list. */
int accounts_find(struct store *store, const char *start, const char *pattern,
                  void (*say)(const char *path, int error), struct path_list *accounts);

/* Adds the paths of the account's folders, children before their parents, without the INBOX. The
 * thread acts as the owner of the maildir afterwards. 0 or -errno. */
int account_folders(struct store *store, const char *account, struct path_list *folders);
