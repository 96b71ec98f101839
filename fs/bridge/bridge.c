#include "bridge/bridge.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "bridge/held_locks.h"
#include "bridge/mailbox.h"
#include "bridge/sources.h"
#include "store/lock.h"

#define HOUSEKEEPING_SECONDS 1
/* Mailboxes kept in memory while nobody uses them. */
#define IDLE_MAILBOXES 1024

/* ---- the housekeeper ------------------------------------------------------------------------- */

/* All mailboxes, each held so that it stays. NULL with *count_r 0 if memory is short. */
static struct mailbox **hold_all(struct bridge *bridge, size_t *count_r)
{
    pthread_mutex_lock(&bridge->registry_mutex);
    struct mailbox **all = calloc(bridge->mailbox_count + 1, sizeof(struct mailbox *));
    size_t count = 0;
    struct mailbox *mailbox;
    TAILQ_FOREACH(mailbox, &bridge->by_use, by_use)
    {
        if (all == NULL)
            break;
        mailbox->active++;
        all[count++] = mailbox;
    }
    pthread_mutex_unlock(&bridge->registry_mutex);
    *count_r = count;
    return all;
}

static void keep_house(struct bridge *bridge, bool ending)
{
    size_t count = 0;
    AUTO_FREE struct mailbox **all = hold_all(bridge, &count);
    for (size_t i = 0; i < count; i++) {
        if (ending)
            pthread_mutex_lock(&all[i]->mutex);
        else if (pthread_mutex_trylock(&all[i]->mutex) != 0)
            continue; /* somebody is at work there; the others shall not wait for that */
        if (ending)
            lock_abandon(all[i]);
        else
            lock_housekeeping(all[i], time(NULL));
        view_remember(all[i], ending);
        sources_forget(all[i], ending);
        pthread_mutex_unlock(&all[i]->mutex);
        caller_become_daemon();
    }
    registry_let_go(bridge, all, count, ending ? 0 : IDLE_MAILBOXES);
}

static void *housekeeper(void *arg)
{
    struct bridge *bridge = arg;
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += HOUSEKEEPING_SECONDS;
        pthread_mutex_lock(&bridge->registry_mutex);
        if (!bridge->stopping)
            pthread_cond_timedwait(&bridge->stop_wakeup, &bridge->registry_mutex, &until);
        bool stopping = bridge->stopping;
        pthread_mutex_unlock(&bridge->registry_mutex);
        if (stopping)
            return NULL;
        keep_house(bridge, false);
    }
}

/* ---- start and end --------------------------------------------------------------------------- */

/* A lock an earlier daemon left: its content names the process it was taken for. The list that was shown
 * under it must not be shown again as if nothing had happened: see show_anew in uidlist_lock.c. */
static bool release_left_lock(void *arg, const struct held_lock_note *note)
{
    struct bridge *bridge = arg;
    int result = 0;
    if (bridge->home == bridge->store)
        result = caller_become_owner(note->uid, note->gid);
    const struct lock_identity left = {.pid = note->pid};
    struct stat st;
    if (result == 0 && store_stat(bridge->store, note->mailbox, &st) == 0)
        view_forget(bridge, &st);
    if (result == 0)
        result = lock_break_left(bridge->home, note->mailbox, &left);
    caller_become_daemon();
    if (result == 0)
        log_info("'%s': released the lock an earlier daemon left", note->mailbox);
    if (result < 0 && result != -ENOENT) {
        log_error("cannot release '%s/tmp/courier.lock': %s", note->mailbox, strerror(-result));
        return false;
    }
    return true;
}

static void log_cache(void *arg, bool is_error, const char *text)
{
    (void)arg;
    if (is_error)
        log_warning("cache: %s", text);
    else
        log_info("cache: %s", text);
}

static int open_home(struct bridge *bridge, const char *state_dir)
{
    bridge->home = bridge->store;
    if (!bridge->store->read_only)
        return 0;
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/home", state_dir) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    int result = store_init(&bridge->local_home, path, false);
    if (result == 0)
        bridge->home = &bridge->local_home;
    return result;
}

int bridge_init(struct store *store, const struct bridge_options *options, struct bridge **bridge_r)
{
    struct bridge *bridge = calloc(1, sizeof(*bridge));
    if (bridge == NULL)
        return -ENOMEM;
    bridge->store = store;
    TAILQ_INIT(&bridge->by_use);
    pthread_mutex_init(&bridge->registry_mutex, NULL);
    pthread_cond_init(&bridge->stop_wakeup, NULL);
    atomic_store(&bridge->counter, (uint64_t)time(NULL) << 32);
    int result = open_home(bridge, options->state_dir);
    if (result == 0)
        result = held_locks_open(options->state_dir, &bridge->held_locks);
    if (result < 0)
        log_error("cannot use '%s': %s", options->state_dir, strerror(-result));
    if (result == 0 && options->use_cache) {
        result =
            cache_open(options->state_dir, options->cache_size, log_cache, NULL, &bridge->cache);
        if (result == -EREMOTE)
            log_error("cannot use '%s' as state directory: it is on a remote file system",
                      options->state_dir);
        else if (result < 0)
            log_error("cannot open the cache in '%s': %s", options->state_dir, strerror(-result));
    }
    if (result == 0) {
        held_locks_visit(bridge->held_locks, release_left_lock, bridge);
        result = -pthread_create(&bridge->housekeeper, NULL, housekeeper, bridge);
        if (result < 0)
            log_error("cannot start a thread: %s", strerror(-result));
    }
    if (result < 0) {
        bridge->stopping = true; /* no housekeeper to wait for */
        bridge_free(bridge);
        return result;
    }
    *bridge_r = bridge;
    return 0;
}

void bridge_kill_lock_owners(struct bridge *bridge, pid_t daemon)
{
    held_locks_kill_owners(bridge->held_locks, daemon);
}

void bridge_free(struct bridge *bridge)
{
    if (bridge == NULL)
        return;
    pthread_mutex_lock(&bridge->registry_mutex);
    bool running = !bridge->stopping;
    bridge->stopping = true;
    pthread_cond_signal(&bridge->stop_wakeup);
    pthread_mutex_unlock(&bridge->registry_mutex);
    if (running)
        pthread_join(bridge->housekeeper, NULL);
    keep_house(bridge, true);
    cache_close(bridge->cache);
    held_locks_close(bridge->held_locks);
    if (bridge->home == &bridge->local_home)
        store_release(&bridge->local_home);
    pthread_cond_destroy(&bridge->stop_wakeup);
    pthread_mutex_destroy(&bridge->registry_mutex);
    free(bridge);
}

/* ---- status ---------------------------------------------------------------------------------- */

static void add_mailbox_status(struct mailbox *mailbox, struct buf *out)
{
    if (mailbox->lock.held)
        buf_printf(out, "lock held: %s by process %d\n", mailbox->path, (int)mailbox->lock.pid);
    if (mailbox->refused != NULL)
        buf_printf(out, "refused: %s: %s\n", mailbox->path, mailbox->refused);
}

void bridge_status(struct bridge *bridge, struct buf *out)
{
    size_t count = 0;
    AUTO_FREE struct mailbox **all = hold_all(bridge, &count);
    buf_printf(out, "mailboxes in memory: %zu\n", count);
    buf_printf(out, "uidlist generations made: %llu\n",
               (unsigned long long)atomic_load(&bridge->generations_made));
    buf_printf(out, "UIDs recorded: %llu\n",
               (unsigned long long)atomic_load(&bridge->uids_recorded));
    if (bridge->cache != NULL) {
        struct cache_figures figures;
        cache_figures(bridge->cache, &figures);
        buf_printf(out,
                   "cache: %llu entries, %llu of %llu bytes, %llu hits, %llu misses, %llu evicted, "
                   "%llu errors\n",
                   (unsigned long long)figures.entries, (unsigned long long)figures.bytes_used,
                   (unsigned long long)figures.size_limit, (unsigned long long)figures.hits,
                   (unsigned long long)figures.misses, (unsigned long long)figures.evictions,
                   (unsigned long long)figures.errors);
    } else {
        buf_add_string(out, "cache: off\n");
    }
    for (size_t i = 0; i < count; i++) {
        pthread_mutex_lock(&all[i]->mutex);
        add_mailbox_status(all[i], out);
        pthread_mutex_unlock(&all[i]->mutex);
    }
    registry_let_go(bridge, all, count, IDLE_MAILBOXES);
}
