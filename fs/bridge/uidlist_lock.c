/* The two locks are one.
 *
 * What Dovecot calls dovecot-uidlist.lock is Courier's tmp/courier.lock in the store (store/lock.h
 * says how that is taken). Dovecot's exclusive create, or its link() onto the name, is granted only
 * with Courier's lock in hand, in the name of the calling process. So while Dovecot holds its lock
 * no Courier anywhere gives out a UID, and the other way round.
 *
 * What happens at the grant, before Dovecot is told that it has the lock, is in grant.c.
 *
 * At the release what was written is recorded first (if Dovecot did not sync), then the lock goes.
 *
 * Who may unlink the lock. Its owner: that is the release. Anybody, when the owner is dead: Dovecot's
 * rule for stale locks looks at the pid in it, as Courier's does. Otherwise the unlink is an attempt
 * to break a lock, and that is granted by Courier's rule only. Dovecot's own rule would break a
 * living lock of this host after two minutes without change; a Courier that scans a huge folder may
 * hold one longer, and two programs giving out UIDs at once is the one thing this file system exists
 * to prevent. Such an unlink is answered as done, and the lock is there again, as if its holder had
 * been quicker: Dovecot goes on waiting until its own time is up. (EBUSY, tried first, is a hard error
 * to Dovecot: it rolled back changes that it had acknowledged.)
 *
 * Letting others in. Courier (5.0.13, seen with strace) tries once a second, leaves no trace while it
 * waits, and there is no queue. A Dovecot session that takes the lock for each of a thousand STOREs
 * holds it most of the time: 20 seconds of waiting were measured. So there are pauses, a little longer
 * than Courier's second, in which a lock that was held for much of the last seconds is not granted:
 * every one of them if somebody was seen trying (each try makes and removes a file in tmp, which moves
 * its mtime; a process of this node looks for the lock), else every second one, and only of a lock that
 * is held about half of the time. The pauses are at the same time on all nodes, by the clock: while each
 * node had its own, Dovecots of two nodes together left Courier no gap (10 seconds). In a pause a lock is
 * shown, which nobody holds: Dovecot sleeps a tenth of a second when it meets one that has just changed,
 * but comes again at once when it was refused and finds none (ten thousand times in one second).
 *
 * A process whose writing is lost. Dovecot (2.3.19, on any file system) does not survive an error on
 * its list: when a sync cannot write it, Dovecot takes the list in memory for empty, expunges every
 * message from its index, and gives each a new UID at the next sync. So whoever has the lock, or lost
 * it without knowing, is not told that its list could not be recorded (the store is full, the lock
 * was taken away): it is killed in the middle of that very call, and to its index nothing has
 * happened. Its client connects again. (For what Dovecot stores itself an error comes earlier, where
 * it does no harm: arrivals.c. What happens when the daemon dies there: mount/keeper.c.)
 *
 * A daemon that dies leaves locks whose pid is alive (Dovecot's). Each lock is therefore noted in
 * the state directory (held_locks.h) before it is taken, and the next daemon releases what it finds
 * there: whoever held it cannot do anything any more, its mount is gone. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "bridge/held_locks.h"
#include "bridge/mailbox.h"
#include "store/lock.h"

/* Other hosts take a lock for stale when it is 120 s old. */
#define TOUCH_SECONDS 30
/* The clock's periods, each of which begins with a pause: a little more than the second after which
 * Courier tries again. */
#define PERIOD_MS 2500
#define PAUSE_MS 1300
/* A lock that is held so long in this and the last period makes pauses: if somebody is seen waiting,
 * and if not. */
#define MUCH_USED_MS 400
#define HALF_USED_MS 2400
/* What the lock that is shown in a pause says: no process of any host. */
#define PAUSE_LOCK "0:courierfs.pause"

/* ---- who holds it ---------------------------------------------------------------------------- */

static bool owner_lives(const struct held_lock *lock)
{
    if (lock->pid == 0)
        return true; /* of another pid namespace: cannot be known */
    return process_start(lock->pid) == lock->pid_start;
}

static struct timespec time_of_tmp(const struct mailbox *mailbox)
{
    BUF_AUTO path = BUF_EMPTY;
    struct stat st = {0};
    if (store_join(&path, mailbox->path, "tmp") == 0)
        (void)store_stat(mailbox->bridge->home, path.data, &st);
    return st.st_mtim;
}

/* ---- pauses ---------------------------------------------------------------------------------- */

static void turn_to_period(struct lock_use *use, int64_t period)
{
    if (use->period == period)
        return;
    use->before = use->period == period - 1 ? use->now : (struct use_of_period){.held_ms = 0};
    use->now = (struct use_of_period){.held_ms = 0};
    use->period = period;
}

static bool is_much_used(const struct lock_use *use)
{
    return use->now.held_ms + use->before.held_ms >= MUCH_USED_MS;
}

static bool is_pause(struct lock_use *use)
{
    int64_t now = clock_wall_milliseconds();
    turn_to_period(use, now / PERIOD_MS);
    if (now % PERIOD_MS >= PAUSE_MS)
        return false;
    if (use->now.waited || use->before.waited)
        return is_much_used(use);
    return use->period % 2 == 0 && use->now.held_ms + use->before.held_ms >= HALF_USED_MS;
}

static void note_waiter(struct lock_use *use)
{
    turn_to_period(use, clock_wall_milliseconds() / PERIOD_MS);
    use->now.waited = true;
}

/* At the grant, when the daemon itself is done with tmp. */
static void begin_hold(struct mailbox *mailbox)
{
    mailbox->lock.tmp_time = time_of_tmp(mailbox);
    mailbox->lock.tmp_touched = false;
}

/* Before the release. */
static void end_hold(struct mailbox *mailbox)
{
    const struct held_lock *lock = &mailbox->lock;
    struct lock_use *use = &mailbox->lock_use;
    int64_t now = clock_wall_milliseconds();
    turn_to_period(use, now / PERIOD_MS);
    if (now > lock->since)
        use->now.held_ms += now - lock->since;
    if (!lock->tmp_touched && !use->now.waited && is_much_used(use)) {
        struct timespec time = time_of_tmp(mailbox);
        use->now.waited =
            time.tv_sec != lock->tmp_time.tv_sec || time.tv_nsec != lock->tmp_time.tv_nsec;
    }
}

/* ---- letting go ------------------------------------------------------------------------------ */

/* ABANDONED: its owner has not asked for it, and may be dead. */
static void let_go(struct mailbox *mailbox, bool abandoned)
{
    struct bridge *bridge = mailbox->bridge;
    struct held_lock *lock = &mailbox->lock;
    home_begin(mailbox);
    end_hold(mailbox);
    int result = abandoned ? lock_break_left(bridge->home, mailbox->path, &lock->identity)
                           : lock_release(bridge->home, mailbox->path, &lock->identity);
    home_end(mailbox);
    if (result < 0 && result != -ENOENT)
        log_error("cannot release '%s/tmp/courier.lock': %s", mailbox->path, strerror(-result));
    held_locks_remove(bridge->held_locks, lock->slot);
    *lock = (struct held_lock){.held = false};
    mailbox_set_file(mailbox, CONTROL_UIDLIST_LOCK, NULL);
    struct control_file *list = mailbox->file[CONTROL_UIDLIST];
    if (list != NULL)
        buf_clear(&list->pending);
    keywords_forget_unnamed(mailbox);
    arrivals_forget(mailbox);
    dir_list_release(&mailbox->moved);
}

/* A Dovecot that is killed while it stores a message can leave an index that has the list's new size and
 * mtime and the old next UID (2.3.19: two commits). Where these are equal the next one does not read
 * the list and gives that UID to another message. So the mtime moves on. */
static void show_anew(struct mailbox *mailbox)
{
    struct control_file *list = mailbox->file[CONTROL_UIDLIST];
    if (list == NULL)
        return;
    list->mtime = time_after(list->mtime);
    mailbox->cache_outdated = true;
}

void lock_abandon(struct mailbox *mailbox)
{
    if (!mailbox->lock.held)
        return;
    (void)caller_become_owner(mailbox->lock.uid, mailbox->lock.gid);
    show_anew(mailbox);
    let_go(mailbox, true);
}

/* Another program took the lock away. That is right if its owner is dead; else what the owner writes
 * now will not be recorded, and the owner must be told so when it syncs. */
static void lose(struct mailbox *mailbox)
{
    const struct held_lock *lock = &mailbox->lock;
    if (owner_lives(lock)) {
        log_error("'%s': the lock was taken away from process %d", mailbox->path, (int)lock->pid);
        mailbox->loser = (struct loser){true, lock->pid, lock->pid_start};
    } else {
        log_info("'%s': process %d died with the lock; another program released it", mailbox->path,
                 (int)lock->pid);
    }
    lock_abandon(mailbox);
}

bool lock_was_lost(const struct mailbox *mailbox, const struct caller *caller)
{
    const struct loser *loser = &mailbox->loser;
    return loser->exists && loser->pid == caller->pid &&
           loser->pid_start == process_start(caller->pid);
}

struct timespec lock_store_time(const struct mailbox *mailbox)
{
    const struct held_lock *lock = &mailbox->lock;
    bool is_known = lock->held && mailbox->bridge->home == mailbox->bridge->store &&
                    lock->identity.device == mailbox->device;
    return is_known ? lock->identity.taken : (struct timespec){0};
}

void lock_end_writer(struct mailbox *mailbox, const struct caller *caller)
{
    pid_t pid = caller->pid;
    bool is_owner = mailbox->lock.held && mailbox->lock.pid == pid;
    if (pid == 0 || !(is_owner || lock_was_lost(mailbox, caller)))
        return;
    log_error("'%s': what process %d wrote to its list is lost: it is ended, lest it give every "
              "message a new UID",
              mailbox->path, (int)pid);
    caller_become_daemon();
    if (kill(pid, SIGKILL) < 0)
        log_error("cannot end process %d: %s", (int)pid, strerror(errno));
    (void)caller_become(&mailbox->acting);
}

void lock_housekeeping(struct mailbox *mailbox, time_t now)
{
    struct held_lock *lock = &mailbox->lock;
    if (!lock->held)
        return;
    if (!owner_lives(lock)) {
        log_info("'%s': process %d died with the lock; released", mailbox->path, (int)lock->pid);
        lock_abandon(mailbox);
        return;
    }
    if (now - lock->touched < TOUCH_SECONDS)
        return;
    (void)caller_become_owner(lock->uid, lock->gid);
    home_begin(mailbox);
    int result = lock_still_ours(mailbox->bridge->home, mailbox->path, &lock->identity);
    if (result == 0)
        (void)lock_touch(mailbox->bridge->home, mailbox->path);
    home_end(mailbox);
    lock->touched = now;
    if (result == -ENOLCK)
        lose(mailbox);
}

/* ---- the three requests ---------------------------------------------------------------------- */

static int take(struct mailbox *mailbox, pid_t pid, const char *link_from,
                struct lock_identity *lock_r)
{
    struct bridge *bridge = mailbox->bridge;
    home_begin(mailbox);
    int result = link_from == NULL
                     ? lock_take(bridge->home, mailbox->path, pid, lock_r)
                     : lock_take_by_link(bridge->home, mailbox->path, link_from, lock_r);
    /* A stale lock is broken as Courier would; but the caller comes again to take it. A Courier
     * that judged the same lock unlinks the name twice, and by then it has done so. */
    if (result == -EEXIST)
        (void)lock_break_stale(bridge->home, mailbox->path, pid);
    home_end(mailbox);
    return result;
}

static int show_pause(struct mailbox *mailbox, struct control_file **file_r)
{
    struct control_file *file;
    int result =
        control_file_new(mailbox, CONTROL_UIDLIST_LOCK, bridge_new_ino(mailbox->bridge), &file);
    if (result < 0)
        return result;
    buf_add_string(&file->content, PAUSE_LOCK);
    file->mtime = time_after((struct timespec){0});
    control_file_take_owner(file, &mailbox->dir);
    result = buf_error(&file->content);
    if (result < 0)
        control_unref(file);
    else
        *file_r = file;
    return result;
}

int lock_lookup(struct mailbox *mailbox, const struct caller *caller, struct control_file **file_r)
{
    struct held_lock *held = &mailbox->lock;
    if (held->held && held->pid != caller->pid)
        note_waiter(&mailbox->lock_use);
    int64_t now = clock_milliseconds();
    if (held->held && mailbox->file[CONTROL_UIDLIST_LOCK] != NULL &&
        now - held->looked_at < LOOK_MILLISECONDS) {
        *file_r = control_ref(mailbox->file[CONTROL_UIDLIST_LOCK]);
        return 0;
    }
    struct store *home = mailbox->bridge->home;
    BUF_AUTO path = BUF_EMPTY;
    BUF_AUTO content = BUF_EMPTY;
    struct stat st = {0};
    int result = lock_path(&path, mailbox->path);
    home_begin(mailbox);
    if (result == 0)
        result = store_read_file(home, path.data, 1024, &content, &st);
    home_end(mailbox);
    bool lost =
        held->held && (result == -ENOENT || (result == 0 && (st.st_dev != held->identity.device ||
                                                             st.st_ino != held->identity.inode)));
    if (lost) {
        lose(mailbox);
        (void)caller_become(&mailbox->acting);
    }
    if (result == -ENOENT) {
        mailbox_set_file(mailbox, CONTROL_UIDLIST_LOCK, NULL);
        if (is_pause(&mailbox->lock_use))
            return show_pause(mailbox, file_r);
    }
    if (result < 0)
        return result;
    held->looked_at = now;
    /* A stale lock is not there: Dovecot would watch it for two minutes before it tries to create
     * its own, which is when it is broken. */
    if (!mailbox->lock.held && lock_is_stale(home, buf_span(&content), &st, caller->pid))
        return -ENOENT;
    struct control_file *file = mailbox->file[CONTROL_UIDLIST_LOCK];
    uint64_t ino = store_shown_ino(home, &st);
    if (file == NULL || file->ino != ino) {
        result = control_file_new(mailbox, CONTROL_UIDLIST_LOCK, ino, &file);
        if (result < 0)
            return result;
        mailbox_set_file(mailbox, CONTROL_UIDLIST_LOCK, file);
    }
    buf_release(&file->content);
    file->content = content;
    content = BUF_EMPTY;
    file->mtime = st.st_mtim;
    control_file_take_owner(file, &st);
    *file_r = control_ref(file);
    return 0;
}

int lock_acquire(struct mailbox *mailbox, const struct caller *caller, const char *link_from)
{
    struct bridge *bridge = mailbox->bridge;
    struct held_lock *lock = &mailbox->lock;
    if (lock_was_lost(mailbox, caller)) /* it begins anew */
        mailbox->loser.exists = false;
    if (lock->held) {
        if (owner_lives(lock))
            return -EEXIST;
        lock_abandon(mailbox);
        (void)caller_become(&mailbox->acting);
    }
    if (is_pause(&mailbox->lock_use))
        return -EEXIST;
    /* A caller of another pid namespace has no number here; the daemon's stands for it. */
    pid_t pid = caller->pid != 0 ? caller->pid : getpid();
    struct held_lock_note note = {.mailbox = mailbox->path,
                                  .pid = pid,
                                  .pid_start = process_start(caller->pid),
                                  .uid = mailbox->acting.uid,
                                  .gid = mailbox->acting.gid};
    int slot = held_locks_add(bridge->held_locks, &note);
    if (slot < 0)
        return slot;
    struct lock_identity taken;
    int result = take(mailbox, pid, link_from, &taken);
    if (result < 0) {
        held_locks_remove(bridge->held_locks, slot);
        return result;
    }
    *lock = (struct held_lock){.held = true,
                               .number = ++mailbox->locks_taken,
                               .pid = caller->pid,
                               .pid_start = note.pid_start,
                               .identity = taken,
                               .uid = mailbox->acting.uid,
                               .gid = mailbox->acting.gid,
                               .since = clock_wall_milliseconds(),
                               .touched = time(NULL),
                               .slot = slot};
    return 0;
}

int lock_create(struct mailbox *mailbox, const struct caller *caller, const char *link_from,
                struct control_file **file_r)
{
    struct held_lock *lock = &mailbox->lock;
    int result = lock_acquire(mailbox, caller, link_from);
    if (result == 0) {
        result = grant_prepare(mailbox, caller);
        begin_hold(mailbox);
        if (result == 0)
            result = lock_lookup(mailbox, caller, file_r);
        if (result < 0) {
            (void)caller_become(&mailbox->acting);
            if (lock->held)
                let_go(mailbox, false);
        }
    }
    if (result != -EEXIST)
        mailbox->grant_failed = result < 0;
    return result;
}

int lock_unlink(struct mailbox *mailbox, const struct caller *caller)
{
    struct held_lock *lock = &mailbox->lock;
    if (!lock->held) {
        home_begin(mailbox);
        int result = lock_break_stale(mailbox->bridge->home, mailbox->path, caller->pid);
        home_end(mailbox);
        if (result == 0)
            mailbox_set_file(mailbox, CONTROL_UIDLIST_LOCK, NULL);
        return result == -EBUSY ? 0 : result;
    }
    if (caller->pid != lock->pid) {
        if (!owner_lives(lock))
            lock_abandon(mailbox);
        return 0;
    }
    int result = uidlist_record_pending(mailbox);
    if (result < 0)
        lock_end_writer(mailbox, caller);
    else if (lock->held && lock->cur_touched)
        cur_was_ours(mailbox);
    if (lock->held)
        let_go(mailbox, false);
    return result;
}

int lock_set_times(struct mailbox *mailbox, const struct timespec times[2])
{
    BUF_AUTO path = BUF_EMPTY;
    int result = lock_path(&path, mailbox->path);
    home_begin(mailbox);
    if (result == 0)
        result = store_utimens(mailbox->bridge->home, path.data, times);
    home_end(mailbox);
    mailbox->lock.touched = time(NULL);
    return result;
}
