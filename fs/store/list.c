#include "store/list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "courier/name.h"
#include "store/file.h"

#define READ_SIZE (64 * 1024)
#define MESSAGE_READINGS 5

void dir_list_release(struct dir_list *list)
{
    buf_release(&list->names);
    free(list->entries);
    *list = DIR_LIST_EMPTY;
}

struct span dir_entry_name(const struct dir_list *list, const struct dir_entry *entry)
{
    return span_make(list->names.data + entry->name_offset, entry->name_len);
}

int dir_list_add(struct dir_list *list, struct span name, uint64_t ino, unsigned char type)
{
    if (name.len > UINT16_MAX)
        return -ENAMETOOLONG;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        struct dir_entry *grown = realloc(list->entries, capacity * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        list->entries = grown;
        list->capacity = capacity;
    }
    size_t offset = list->names.len;
    buf_add_span(&list->names, name);
    buf_add_char(&list->names, '\0');
    if (buf_error(&list->names) < 0)
        return -ENOMEM;
    list->entries[list->count++] = (struct dir_entry){.ino = ino,
                                                      .name_offset = offset,
                                                      .name_len = (uint16_t)name.len,
                                                      .base_len = (uint16_t)name_base(name).len,
                                                      .type = type};
    return 0;
}

static bool is_hidden(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strncmp(name, ".nfs", 4) == 0;
}

/* Hands out each entry of one reading of PATH; *dir_r is the directory as it was before. */
static int read_entries(struct store *store, const char *path, struct stat *dir_r,
                        int (*each)(void *arg, const struct linux_dirent *entry), void *arg)
{
    AUTO_FD fd = store_open(store, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    int result = store_fstat(store, fd, dir_r);
    if (result < 0)
        return result;
    AUTO_FREE char *block = malloc(READ_SIZE);
    if (block == NULL)
        return -ENOMEM;
    for (;;) {
        ssize_t got = store_getdents(store, fd, block, READ_SIZE);
        if (got <= 0)
            return (int)got;
        for (ssize_t at = 0; at < got;) {
            const struct linux_dirent *entry = (const struct linux_dirent *)(block + at);
            at += entry->d_reclen;
            if (is_hidden(entry->d_name))
                continue;
            result = each(arg, entry);
            if (result < 0)
                return result;
        }
    }
}

static int add_entry(void *arg, const struct linux_dirent *entry)
{
    return dir_list_add(arg, span_of(entry->d_name), entry->d_ino, entry->d_type);
}

/* Appends one reading of PATH to LIST and sets list->dir as it was before. */
static int read_directory(struct store *store, const char *path, struct dir_list *list)
{
    return read_entries(store, path, &list->dir, add_entry, list);
}

struct listener {
    store_each_fn *each;
    void *arg;
};

static int hand_out(void *arg, const struct linux_dirent *entry)
{
    const struct listener *listener = arg;
    return listener->each(listener->arg, entry->d_name, entry->d_type);
}

int store_each(struct store *store, const char *path, store_each_fn *each, void *arg)
{
    struct stat dir;
    struct listener listener = {each, arg};
    return read_entries(store, path, &dir, hand_out, &listener);
}

int store_list(struct store *store, const char *path, struct dir_list *list_r)
{
    *list_r = DIR_LIST_EMPTY;
    int result = read_directory(store, path, list_r);
    if (result < 0)
        dir_list_release(list_r);
    return result;
}

static struct span base_of(const struct dir_list *list, const struct dir_entry *entry)
{
    return span_make(list->names.data + entry->name_offset, entry->base_len);
}

static int compare_bases(const struct dir_list *list, const struct dir_entry *a,
                         const struct dir_entry *b)
{
    return span_compare(base_of(list, a), base_of(list, b));
}

/* By base name; of equal ones the entry seen last comes first. */
static int compare_entries(const void *a, const void *b, void *arg)
{
    const struct dir_entry *x = a;
    const struct dir_entry *y = b;
    int order = compare_bases(arg, x, y);
    if (order != 0)
        return order;
    return x->name_offset < y->name_offset ? 1 : -1;
}

static int compare_names(const void *a, const void *b, void *arg)
{
    int order = compare_bases(arg, a, b);
    return order != 0 ? order : span_compare(dir_entry_name(arg, a), dir_entry_name(arg, b));
}

/* ---- sorting ----
 *
 * The base names of a mailbox begin alike (the time), and a sort that compares them from their
 * beginning, each time in another place of memory, takes longer than the reading. So each entry gets
 * the eight bytes behind what all have in common as a number, and only where these are equal the
 * names are looked at. */

typedef int compare_fn(const void *a, const void *b, void *list);

struct keyed {
    uint64_t key;
    const struct dir_entry *entry;
};

struct key_order {
    struct dir_list *list;
    compare_fn *compare;
};

static int compare_keyed(const void *a, const void *b, void *arg)
{
    const struct keyed *x = a;
    const struct keyed *y = b;
    const struct key_order *order = arg;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return order->compare(x->entry, y->entry, order->list);
}

/* How many bytes the base names begin with alike. */
static size_t common_length(const struct dir_list *list)
{
    struct span first = base_of(list, &list->entries[0]);
    for (size_t i = 1; i < list->count && first.len > 0; i++) {
        struct span base = base_of(list, &list->entries[i]);
        size_t same = 0;
        while (same < first.len && same < base.len && first.text[same] == base.text[same])
            same++;
        first.len = same;
    }
    return first.len;
}

/* The eight bytes from START on; a name that ends before sorts first, as no name has a NUL. */
static uint64_t key_of(struct span base, size_t start)
{
    uint64_t key = 0;
    for (size_t i = start; i < start + sizeof(key); i++)
        key = key << 8 | (i < base.len ? (unsigned char)base.text[i] : 0);
    return key;
}

static void sort_entries(struct dir_list *list, compare_fn *compare)
{
    AUTO_FREE struct keyed *keyed = calloc(list->count, sizeof(*keyed));
    AUTO_FREE struct dir_entry *sorted = calloc(list->count, sizeof(*sorted));
    if (keyed == NULL || sorted == NULL) {
        qsort_r(list->entries, list->count, sizeof(*list->entries), compare, list);
        return;
    }
    size_t start = common_length(list);
    for (size_t i = 0; i < list->count; i++)
        keyed[i] =
            (struct keyed){key_of(base_of(list, &list->entries[i]), start), &list->entries[i]};
    qsort_r(keyed, list->count, sizeof(*keyed), compare_keyed, &(struct key_order){list, compare});
    for (size_t i = 0; i < list->count; i++)
        sorted[i] = *keyed[i].entry;
    memcpy(list->entries, sorted, list->count * sizeof(*sorted));
}

static void keep_latest_of_each_base(struct dir_list *list)
{
    if (list->count == 0)
        return;
    sort_entries(list, compare_entries);
    size_t kept = 1;
    for (size_t i = 1; i < list->count; i++) {
        if (compare_bases(list, &list->entries[kept - 1], &list->entries[i]) != 0)
            list->entries[kept++] = list->entries[i];
    }
    list->count = kept;
}

static void keep_each_name(struct dir_list *list)
{
    if (list->count == 0)
        return;
    sort_entries(list, compare_names);
    size_t kept = 1;
    for (size_t i = 1; i < list->count; i++) {
        if (compare_names(&list->entries[kept - 1], &list->entries[i], list) != 0)
            list->entries[kept++] = list->entries[i];
    }
    list->count = kept;
}

/* Why a union is right: a file that was renamed during the reading may be met under its old name,
 * its new name, both or neither. Only "neither" loses something, and the reading repeated after it
 * meets it. A name that is in an earlier reading and not in the last one was renamed or deleted; in
 * the first case the later name wins, in the second the caller meets ENOENT when it opens the file,
 * as it would a moment later anyway.
 *
 * An mtime that did not move says that nothing changed, unless it is so young that a change could have
 * come within the same tick of the clock: then there is a second reading in any case. */
static int list_union(struct store *store, const char *path, struct timespec now,
                      struct dir_list *list_r)
{
    *list_r = DIR_LIST_EMPTY;
    for (int reading = 0; reading < MESSAGE_READINGS; reading++) {
        int result = read_directory(store, path, list_r);
        struct stat after = {0};
        if (result == 0)
            result = store_stat_now(store, path, &after);
        if (result < 0) {
            dir_list_release(list_r);
            return result;
        }
        struct signature before = signature_of_stat(&list_r->dir);
        signature_settle(&before, now);
        bool unmoved = after.st_mtim.tv_sec == list_r->dir.st_mtim.tv_sec &&
                       after.st_mtim.tv_nsec == list_r->dir.st_mtim.tv_nsec;
        if (unmoved && (reading > 0 || before.settled))
            break;
    }
    return 0;
}

int store_list_messages_at(struct store *store, const char *path, struct timespec now,
                           struct dir_list *list_r)
{
    int result = list_union(store, path, now, list_r);
    if (result == 0)
        keep_latest_of_each_base(list_r);
    return result;
}

int store_list_messages(struct store *store, const char *path, struct dir_list *list_r)
{
    return store_list_messages_at(store, path, (struct timespec){0}, list_r);
}

int store_list_names(struct store *store, const char *path, struct dir_list *list_r)
{
    int result = list_union(store, path, (struct timespec){0}, list_r);
    if (result == 0)
        keep_each_name(list_r);
    return result;
}

const struct dir_entry *dir_list_find_base(const struct dir_list *list, struct span base)
{
    size_t low = 0;
    size_t high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct dir_entry *entry = &list->entries[middle];
        int order = span_compare(base, base_of(list, entry));
        if (order == 0)
            return entry;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
