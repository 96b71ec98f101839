#include "bridge/mailbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "bridge/aside.h"
#include "bridge/sizes.h"
#include "bridge/sources.h"

/* What mailboxes that nobody uses may take together. */
#define IDLE_BYTES ((size_t)64 << 20)

/* ---- the registry ---------------------------------------------------------------------------- */

static struct mailbox **bucket_of(struct bridge *bridge, dev_t device, ino_t inode)
{
    uint64_t identity[2] = {device, inode};
    return &bridge->buckets[XXH3_64bits(identity, sizeof(identity)) % MAILBOX_BUCKETS];
}

static struct mailbox *new_mailbox(struct bridge *bridge, const struct place *dir)
{
    struct mailbox *mailbox = calloc(1, sizeof(*mailbox));
    if (mailbox == NULL)
        return NULL;
    mailbox->bridge = bridge;
    mailbox->device = dir->device;
    mailbox->inode = dir->inode;
    mailbox->moved = mailbox->saved = mailbox->cur = DIR_LIST_EMPTY;
    pthread_mutex_init(&mailbox->mutex, NULL);
    return mailbox;
}

/* Finds or makes it and counts one more thread in it. NULL = out of memory. */
static struct mailbox *registry_get(struct bridge *bridge, const struct place *dir)
{
    pthread_mutex_lock(&bridge->registry_mutex);
    struct mailbox **bucket = bucket_of(bridge, dir->device, dir->inode);
    struct mailbox *mailbox = *bucket;
    while (mailbox != NULL && (mailbox->device != dir->device || mailbox->inode != dir->inode))
        mailbox = mailbox->next_in_bucket;
    if (mailbox != NULL) {
        TAILQ_REMOVE(&bridge->by_use, mailbox, by_use);
    } else {
        mailbox = new_mailbox(bridge, dir);
        if (mailbox != NULL) {
            mailbox->next_in_bucket = *bucket;
            *bucket = mailbox;
            bridge->mailbox_count++;
        }
    }
    if (mailbox != NULL) {
        TAILQ_INSERT_TAIL(&bridge->by_use, mailbox, by_use);
        mailbox->active++;
    }
    pthread_mutex_unlock(&bridge->registry_mutex);
    return mailbox;
}

static void free_mailbox(struct mailbox *mailbox)
{
    for (int kind = 0; kind < CONTROL_KIND_COUNT; kind++)
        mailbox_set_file(mailbox, (enum control_kind)kind, NULL);
    mailbox_forget_view(mailbox);
    keyword_state_release(&mailbox->keywords);
    dir_list_release(&mailbox->cur);
    dir_list_release(&mailbox->moved);
    dir_list_release(&mailbox->saved);
    buf_release(&mailbox->deleted);
    buf_release(&mailbox->acl_base);
    arrivals_forget(mailbox);
    proven_sizes_release(&mailbox->proven);
    sources_free(mailbox->sources);
    free(mailbox->refused);
    free(mailbox->path);
    pthread_mutex_destroy(&mailbox->mutex);
    free(mailbox);
}

/* Whether nobody but the mailbox itself knows its control files, and nothing waits to be done. */
static bool is_idle(struct mailbox *mailbox)
{
    if (mailbox->active > 0 || mailbox->lock.held || mailbox->refused != NULL ||
        sizes_are_being_proven(mailbox))
        return false;
    unsigned own = 0;
    for (int kind = 0; kind < CONTROL_KIND_COUNT; kind++) {
        const struct control_file *file = mailbox->file[kind];
        if (file == NULL)
            continue;
        if (atomic_load(&file->references) > 1 || kind == CONTROL_UIDLIST_TMP ||
            kind == CONTROL_KEYWORDS_LOCK || kind == CONTROL_SUBSCRIPTIONS_LOCK ||
            kind == CONTROL_ACL_LOCK)
            return false;
        own++;
    }
    return atomic_load(&mailbox->file_count) == own;
}

static void unlink_from_registry(struct bridge *bridge, struct mailbox *mailbox)
{
    struct mailbox **place = bucket_of(bridge, mailbox->device, mailbox->inode);
    while (*place != mailbox)
        place = &(*place)->next_in_bucket;
    *place = mailbox->next_in_bucket;
    TAILQ_REMOVE(&bridge->by_use, mailbox, by_use);
    bridge->mailbox_count--;
}

/* About what the mailbox takes. */
static size_t memory_of(const struct mailbox *mailbox)
{
    size_t bytes =
        sizeof(*mailbox) + mailbox->view.capacity * sizeof(struct view_record) +
        mailbox->view.bases.slot_count * sizeof(uint32_t) + mailbox->cur.names.capacity +
        mailbox->cur.capacity * sizeof(struct dir_entry) + mailbox->saved.names.capacity +
        mailbox->saved.capacity * sizeof(struct dir_entry) +
        mailbox->keywords.capacity * sizeof(struct keyword_entry) +
        mailbox->keywords.names.capacity + mailbox->proven.capacity * sizeof(struct proven_size) +
        sources_memory(mailbox->sources);
    for (int kind = 0; kind < CONTROL_KIND_COUNT; kind++) {
        if (mailbox->file[kind] != NULL)
            bytes += mailbox->file[kind]->content.capacity;
    }
    return bytes;
}

/* The kernel may remember its lists for long; what it looks like in cur is soon seen again. Nobody is at
 * work there. How much that frees. */
static size_t slim(struct mailbox *mailbox)
{
    size_t before = memory_of(mailbox);
    dir_list_release(&mailbox->cur);
    dir_list_release(&mailbox->saved);
    mailbox->cur_listed = false;
    return before - memory_of(mailbox);
}

void registry_let_go(struct bridge *bridge, struct mailbox **all, size_t count, size_t keep)
{
    pthread_mutex_lock(&bridge->registry_mutex);
    for (size_t i = 0; i < count; i++)
        all[i]->active--;
    size_t bytes = 0;
    struct mailbox *mailbox;
    /* One that is at work is not looked into. */
    TAILQ_FOREACH(mailbox, &bridge->by_use, by_use)
    bytes += mailbox->active > 0 ? 0 : memory_of(mailbox);
    mailbox = TAILQ_FIRST(&bridge->by_use);
    while (mailbox != NULL && (bridge->mailbox_count > keep || bytes > IDLE_BYTES)) {
        struct mailbox *next = TAILQ_NEXT(mailbox, by_use);
        bool may_go = bridge->cache == NULL || !mailbox->cache_outdated || keep == 0;
        if (is_idle(mailbox) && may_go) {
            bytes -= memory_of(mailbox);
            unlink_from_registry(bridge, mailbox);
            free_mailbox(mailbox);
        } else if (mailbox->active == 0) {
            bytes -= slim(mailbox);
        }
        mailbox = next;
    }
    pthread_mutex_unlock(&bridge->registry_mutex);
}

/* ---- entering -------------------------------------------------------------------------------- */

static int act_for(struct mailbox *mailbox, const struct caller *caller)
{
    mailbox->acting = *caller;
    if (caller->uid != 0)
        return caller_become(caller);
    mailbox->acting.uid = mailbox->dir.st_uid;
    mailbox->acting.gid = mailbox->dir.st_gid;
    mailbox->acting.group_count = 0;
    return caller_become(&mailbox->acting);
}

static int make_local_home(struct mailbox *mailbox)
{
    struct bridge *bridge = mailbox->bridge;
    if (bridge->home == bridge->store)
        return 0;
    BUF_AUTO path = BUF_EMPTY;
    int result = store_join(&path, mailbox->path, "tmp");
    home_begin(mailbox);
    struct stat st;
    if (result == 0 && store_stat(bridge->home, path.data, &st) == -ENOENT) {
        for (char *slash = path.data; slash != NULL && result == 0;) {
            slash = strchr(slash + 1, '/');
            if (slash != NULL)
                *slash = '\0';
            result = store_mkdir(bridge->home, path.data, 0700);
            if (result == -EEXIST)
                result = 0;
            if (slash != NULL)
                *slash = '/';
        }
    }
    home_end(mailbox);
    return result;
}

static int set_path(struct mailbox *mailbox, const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return -ENOMEM;
    free(mailbox->path);
    mailbox->path = copy;
    return 0;
}

/* Whether the directory is still there, still this one, and a mailbox. */
static int look_at_directory(struct mailbox *mailbox, const char *path)
{
    struct store *store = mailbox->bridge->store;
    struct stat cur;
    BUF_AUTO cur_path = BUF_EMPTY;
    int result = store_join(&cur_path, path, "cur");
    if (result == 0)
        result = store_stat(store, cur_path.data, &cur);
    if (result == -ENOENT || (result == 0 && !S_ISDIR(cur.st_mode)))
        return -ENOTDIR;
    if (result == 0)
        result = store_stat(store, path, &mailbox->dir);
    /* Deleted and made anew below: the kernel must look the name up again. */
    if (result == 0 &&
        (mailbox->dir.st_dev != mailbox->device || mailbox->dir.st_ino != mailbox->inode))
        result = -ESTALE;
    return result;
}

static int look_at(struct mailbox *mailbox, const struct caller *caller, const char *path)
{
    bool same_path = mailbox->path != NULL && strcmp(mailbox->path, path) == 0;
    int64_t now = clock_milliseconds();
    int result = same_path ? 0 : set_path(mailbox, path);
    if (result == 0 && (!same_path || now - mailbox->looked_at >= LOOK_MILLISECONDS)) {
        mailbox->looked_at = INT64_MIN / 2;
        result = look_at_directory(mailbox, path);
        if (result == 0)
            result = aside_look(mailbox, false);
        if (result == 0)
            mailbox->looked_at = now;
    }
    if (result == 0)
        result = act_for(mailbox, caller);
    if (result == 0)
        result = make_local_home(mailbox);
    return result;
}

int mailbox_enter(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                  struct mailbox **mailbox_r)
{
    struct mailbox *mailbox = registry_get(bridge, dir);
    if (mailbox == NULL)
        return -ENOMEM;
    pthread_mutex_lock(&mailbox->mutex);
    int result = look_at(mailbox, caller, dir->path);
    if (result < 0)
        mailbox_leave(mailbox);
    else
        *mailbox_r = mailbox;
    return result;
}

int mailbox_resume(struct mailbox *mailbox, const struct caller *caller)
{
    struct bridge *bridge = mailbox->bridge;
    pthread_mutex_lock(&bridge->registry_mutex);
    mailbox->active++;
    pthread_mutex_unlock(&bridge->registry_mutex);
    pthread_mutex_lock(&mailbox->mutex);
    int result = act_for(mailbox, caller);
    if (result < 0)
        mailbox_leave(mailbox);
    return result;
}

void mailbox_leave(struct mailbox *mailbox)
{
    struct bridge *bridge = mailbox->bridge;
    pthread_mutex_unlock(&mailbox->mutex);
    pthread_mutex_lock(&bridge->registry_mutex);
    mailbox->active--;
    pthread_mutex_unlock(&bridge->registry_mutex);
}

bool mailbox_is_inbox(const struct mailbox *mailbox)
{
    const char *slash = strrchr(mailbox->path, '/');
    const char *name = slash == NULL ? mailbox->path : slash + 1;
    return name[0] != '.' || strcmp(mailbox->path, ".") == 0;
}

int mailbox_check(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                  bool *is_inbox_r)
{
    struct mailbox *mailbox;
    int result = mailbox_enter(bridge, caller, dir, &mailbox);
    if (result < 0)
        return result;
    *is_inbox_r = mailbox_is_inbox(mailbox);
    mailbox_leave(mailbox);
    return 0;
}

void mailbox_refuse(struct mailbox *mailbox, const char *why)
{
    if (mailbox->refused == NULL || strcmp(mailbox->refused, why) != 0)
        log_error("'%s': mailbox is refused: %s", mailbox->path, why);
    char *copy = strdup(why);
    if (copy == NULL)
        return;
    free(mailbox->refused);
    mailbox->refused = copy;
}

/* ---- control files --------------------------------------------------------------------------- */

int control_file_new(struct mailbox *mailbox, enum control_kind kind, uint64_t ino,
                     struct control_file **file_r)
{
    struct control_file *file = calloc(1, sizeof(*file));
    if (file == NULL)
        return -ENOMEM;
    file->references = 1;
    file->mailbox = mailbox;
    file->kind = kind;
    file->ino = ino;
    file->mode = 0600;
    atomic_fetch_add(&mailbox->file_count, 1);
    *file_r = file;
    return 0;
}

void control_file_take_owner(struct control_file *file, const struct stat *st)
{
    const struct mailbox *mailbox = file->mailbox;
    if (mailbox->bridge->home != mailbox->bridge->store)
        st = &mailbox->dir;
    file->uid = st->st_uid;
    file->gid = st->st_gid;
    file->mode = st->st_mode & 0666;
}

struct control_file *control_ref(struct control_file *file)
{
    atomic_fetch_add(&file->references, 1);
    return file;
}

void control_unref(struct control_file *file)
{
    if (file == NULL || atomic_fetch_sub(&file->references, 1) > 1)
        return;
    struct mailbox *mailbox = file->mailbox;
    free(file->linked);
    buf_release(&file->content);
    buf_release(&file->pending);
    free(file);
    atomic_fetch_sub(&mailbox->file_count, 1);
}

void mailbox_set_file(struct mailbox *mailbox, enum control_kind kind, struct control_file *file)
{
    struct control_file *before = mailbox->file[kind];
    mailbox->file[kind] = file;
    control_unref(before);
}

void mailbox_forget_view(struct mailbox *mailbox)
{
    view_release(&mailbox->view);
}

uint64_t bridge_new_ino(struct bridge *bridge)
{
    uint64_t number = atomic_fetch_add(&bridge->counter, 1);
    return XXH3_64bits(&number, sizeof(number)) | ((uint64_t)1 << 63);
}

struct timespec time_after(struct timespec then)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    bool later =
        now.tv_sec > then.tv_sec || (now.tv_sec == then.tv_sec && now.tv_nsec > then.tv_nsec);
    if (later)
        return now;
    then.tv_nsec++;
    if (then.tv_nsec == 1000000000) {
        then.tv_nsec = 0;
        then.tv_sec++;
    }
    return then;
}
