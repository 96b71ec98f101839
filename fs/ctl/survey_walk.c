#include "ctl/survey.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include "base/cleanup.h"
#include "store/caller.h"
#include "store/file.h"

/* Directories in directories, which a user can make without end: a worker holds one open for each. */
#define DEEPEST 48

/* ---- identity -------------------------------------------------------------------------------- */

void survey_act_as(struct survey_worker *worker, struct survey_identity identity)
{
    if (identity.uid == 0)
        caller_become_daemon();
    else
        survey_check(worker->survey, caller_become_owner(identity.uid, identity.gid));
    worker->acting = identity;
}

bool survey_become_owner(struct survey_worker *worker, const char *path, int error)
{
    struct stat st;
    if (error != -EACCES || worker->acting.uid != 0 || geteuid() != 0 ||
        store_stat(&worker->survey->store, path, &st) != 0 || st.st_uid == 0)
        return false;
    survey_act_as(worker, (struct survey_identity){st.st_uid, st.st_gid});
    return true;
}

/* ---- errors ---------------------------------------------------------------------------------- */

int survey_check(struct survey *survey, int error)
{
    int none = 0;
    if (error < 0 && atomic_compare_exchange_strong(&survey->error, &none, error))
        survey_stop(survey);
    return error;
}

void survey_found(struct survey_worker *worker, enum finding_kind kind, const char *path,
                  struct span text, const char *why)
{
    struct finding finding = {
        .path = path, .text = text.text, .text_len = text.len, .why = why, .count = 1};
    worker->figures.places[kind]++;
    findings_write(&worker->survey->findings, kind, &finding);
    findings_add(&worker->survey->findings, kind, &finding);
}

void survey_cannot(struct survey_worker *worker, const char *path, int error)
{
    if (error == -ENOMEM)
        survey_check(worker->survey, error);
    else if (error != -ENOENT && error != -ESTALE)
        survey_found(worker, FINDING_UNREADABLE, path, span_of(""), strerror(-error));
}

/* ---- the queue ------------------------------------------------------------------------------- */

void survey_stop(struct survey *survey)
{
    atomic_store(&survey->stopped, true);
    pthread_mutex_lock(&survey->mutex);
    pthread_cond_broadcast(&survey->changed);
    pthread_mutex_unlock(&survey->mutex);
}

static bool is_stopped(const struct survey_worker *worker)
{
    return atomic_load_explicit(&worker->survey->stopped, memory_order_relaxed);
}

double survey_done(struct survey *survey)
{
    pthread_mutex_lock(&survey->mutex);
    double done = survey->done;
    pthread_mutex_unlock(&survey->mutex);
    return done;
}

static void add_done(struct survey_worker *worker, double share)
{
    pthread_mutex_lock(&worker->survey->mutex);
    worker->survey->done += share;
    pthread_mutex_unlock(&worker->survey->mutex);
}

/* False if there is no room. */
static bool enqueue(struct survey *survey, const struct survey_task *task)
{
    bool taken = false;
    pthread_mutex_lock(&survey->mutex);
    if (survey->queued < SURVEY_QUEUE_ROOM) {
        struct survey_task *place = &survey->queue[survey->queued];
        *place = *task;
        place->path = strdup(task->path);
        taken = place->path != NULL;
    }
    if (taken) {
        survey->queued++;
        pthread_cond_signal(&survey->changed);
    }
    pthread_mutex_unlock(&survey->mutex);
    return taken;
}

/* Waits for work; false when there will be none any more. The worker then counts as busy. */
static bool dequeue(struct survey *survey, struct survey_task *task_r)
{
    pthread_mutex_lock(&survey->mutex);
    while (survey->queued == 0 && survey->busy > 0 && !atomic_load(&survey->stopped))
        pthread_cond_wait(&survey->changed, &survey->mutex);
    bool got = survey->queued > 0 && !atomic_load(&survey->stopped);
    if (got) {
        *task_r = survey->queue[--survey->queued];
        survey->busy++;
    }
    pthread_mutex_unlock(&survey->mutex);
    return got;
}

static void end_task(struct survey *survey)
{
    pthread_mutex_lock(&survey->mutex);
    if (--survey->busy == 0)
        pthread_cond_broadcast(&survey->changed);
    pthread_mutex_unlock(&survey->mutex);
}

/* ---- the walk -------------------------------------------------------------------------------- */

/* Snapshots that file servers show in every directory: other times of the same store. */
static bool is_snapshots(const char *name)
{
    return strcmp(name, ".snapshot") == 0 || strcmp(name, ".zfs") == 0;
}

static void visit(struct survey_worker *worker, const struct survey_task *task);

/* A directory above maildirs while it is read. */
struct level {
    struct survey_worker *worker;
    const struct survey_task *task;
    uint64_t below;  /* directories in it */
    uint64_t passed; /* of these */
    double share;    /* of each */
};

static int count_directory(void *arg, const char *name, unsigned char type)
{
    struct level *level = arg;
    if ((type == DT_DIR || type == DT_UNKNOWN) && !is_snapshots(name))
        level->below++;
    return is_stopped(level->worker) ? -ECANCELED : 0;
}

void survey_look_at_link(struct survey_worker *worker, const char *path)
{
    char target[PATH_MAX];
    ssize_t len = store_readlink(&worker->survey->store, path, target, sizeof(target));
    if (len < 0)
        survey_cannot(worker, path, (int)len);
    else
        survey_found(worker, len > 0 && target[0] == '/' ? FINDING_SYMLINK_AWAY : FINDING_SYMLINK,
                     path, span_make(target, (size_t)len), "a symbolic link");
}

unsigned char survey_type(struct survey_worker *worker, const char *path, unsigned char type)
{
    struct stat st;
    if (type != DT_UNKNOWN || store_stat(&worker->survey->store, path, &st) != 0)
        return type;
    return S_ISDIR(st.st_mode) ? DT_DIR : S_ISLNK(st.st_mode) ? DT_LNK : DT_REG;
}

/* Hands a directory to whoever is free, or visits it here. */
static void pass_on(struct survey_worker *worker, const struct survey_task *task)
{
    if (task->depth > DEEPEST)
        survey_found(worker, FINDING_UNREADABLE, task->path, span_of(""),
                     "too many directories in one another");
    else if (!enqueue(worker->survey, task))
        visit(worker, task);
}

static int pass_entry(void *arg, const char *name, unsigned char type)
{
    struct level *level = arg;
    struct survey_worker *worker = level->worker;
    BUF_AUTO path = BUF_EMPTY;
    if (is_stopped(worker))
        return -ECANCELED;
    if (type != DT_DIR && type != DT_LNK && type != DT_UNKNOWN)
        return 0;
    int error = store_join(&path, level->task->path, name);
    if (error < 0)
        return error;
    type = survey_type(worker, path.data, type);
    if (type == DT_LNK)
        survey_look_at_link(worker, path.data);
    if (type != DT_DIR || is_snapshots(name))
        return 0;
    level->passed++;
    struct survey_task task = {path.data, level->share, level->task->depth + 1, worker->acting};
    pass_on(worker, &task);
    return 0;
}

static void visit_level(struct survey_worker *worker, const struct survey_task *task)
{
    struct store *store = &worker->survey->store;
    struct level level = {.worker = worker, .task = task};
    int error = store_each(store, task->path, count_directory, &level);
    if (survey_become_owner(worker, task->path, error))
        error = store_each(store, task->path, count_directory, &level);
    level.share = level.below > 0 ? task->share / (double)level.below : 0;
    if (error == 0)
        error = store_each(store, task->path, pass_entry, &level);
    if (error < 0 && error != -ECANCELED)
        survey_cannot(worker, task->path, error);
    double passed = level.share * (double)level.passed;
    if (passed < task->share)
        add_done(worker, task->share - passed);
}

/* Directories in a maildir that are no folders: more maildirs may be there, for instance where the store
 * itself is one. */
static void visit_below(struct survey_worker *worker, const struct survey_task *task,
                        const struct dir_list *entries)
{
    struct level level = {.worker = worker, .task = task};
    for (size_t i = 0; i < entries->count; i++)
        level.below += survey_may_hold_users(dir_entry_name(entries, &entries->entries[i]));
    level.share = task->share / (double)(level.below + 1);
    for (size_t i = 0; i < entries->count && !is_stopped(worker); i++) {
        struct span name = dir_entry_name(entries, &entries->entries[i]);
        if (survey_may_hold_users(name))
            survey_check(worker->survey, pass_entry(&level, name.text, entries->entries[i].type));
    }
    add_done(worker, task->share - level.share * (double)level.passed);
}

static int is_directory(struct survey_worker *worker, const char *path, const char *name,
                        bool *is_r)
{
    BUF_AUTO below = BUF_EMPTY;
    struct stat st;
    int error = store_join(&below, path, name);
    if (error == 0)
        error = store_stat(&worker->survey->store, below.data, &st);
    *is_r = error == 0 && S_ISDIR(st.st_mode);
    return error == -ENOENT ? 0 : error;
}

/* 0 or -errno. */
static int is_maildir(struct survey_worker *worker, const char *path, bool *is_r)
{
    int error = is_directory(worker, path, "cur", is_r);
    if (survey_become_owner(worker, path, error))
        error = is_directory(worker, path, "cur", is_r);
    if (error == 0 && *is_r)
        error = is_directory(worker, path, "new", is_r);
    return error;
}

static void visit_maildir(struct survey_worker *worker, const struct survey_task *task)
{
    DIR_LIST_AUTO entries = DIR_LIST_EMPTY;
    int error = store_list(&worker->survey->store, task->path, &entries);
    if (survey_become_owner(worker, task->path, error))
        error = store_list(&worker->survey->store, task->path, &entries);
    if (error < 0) {
        survey_cannot(worker, task->path, error);
        add_done(worker, task->share);
        return;
    }
    survey_user(worker, task->path, &entries);
    visit_below(worker, task, &entries);
}

static void visit(struct survey_worker *worker, const struct survey_task *task)
{
    struct survey_identity before = worker->acting;
    bool maildir = false;
    int error = is_maildir(worker, task->path, &maildir);
    if (error < 0) {
        survey_cannot(worker, task->path, error);
        add_done(worker, task->share);
    } else if (maildir) {
        visit_maildir(worker, task);
    } else {
        visit_level(worker, task);
    }
    survey_act_as(worker, before);
}

static void *work(void *arg)
{
    struct survey_worker *worker = arg;
    struct survey *survey = worker->survey;
    struct survey_task task;
    uint64_t one = 1;
    while (dequeue(survey, &task)) {
        survey_act_as(worker, task.acting);
        visit(worker, &task);
        free((char *)task.path);
        end_task(survey);
    }
    ssize_t written = write(survey->worker_ended, &one, sizeof(one));
    (void)written; /* an eventfd takes it */
    return NULL;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static void join_workers(struct survey *survey)
{
    for (size_t i = 0; i < survey->worker_count; i++)
        pthread_join(survey->workers[i].thread, NULL);
}

static int start_workers(struct survey *survey)
{
    struct survey_task root = {".", 1, 0, {0, 0}};
    enqueue(survey, &root);
    for (unsigned i = 0; i < survey->options->jobs; i++) {
        struct survey_worker *worker = &survey->workers[i];
        worker->survey = survey;
        int error = figures_init(&worker->figures, survey->options->top);
        if (error == 0)
            error = -pthread_create(&worker->thread, NULL, work, worker);
        if (error < 0) {
            survey_stop(survey);
            join_workers(survey);
            return error;
        }
        survey->worker_count++;
    }
    return 0;
}

int survey_start(struct survey *survey, const struct survey_options *options, FILE *list)
{
    memset(survey, 0, sizeof(*survey));
    survey->options = options;
    survey->started = time(NULL);
    int error = store_init(&survey->store, options->path, true);
    if (error < 0)
        return error;
    findings_init(&survey->findings, list);
    pthread_mutex_init(&survey->mutex, NULL);
    pthread_cond_init(&survey->changed, NULL);
    survey->worker_ended = eventfd(0, EFD_CLOEXEC);
    survey->workers = calloc(options->jobs, sizeof(*survey->workers));
    if (survey->worker_ended < 0)
        error = -errno;
    else
        error = survey->workers == NULL ? -ENOMEM : start_workers(survey);
    if (error < 0)
        survey_release(survey);
    return error;
}

int survey_finish(struct survey *survey, struct survey_figures *figures_r)
{
    join_workers(survey);
    int error = figures_init(figures_r, survey->options->top);
    for (size_t i = 0; error == 0 && i < survey->worker_count; i++)
        error = figures_add(figures_r, &survey->workers[i].figures);
    survey_check(survey, error);
    if (survey->findings.failed)
        survey_check(survey, -ENOMEM);
    findings_sort(&survey->findings);
    return atomic_load(&survey->error);
}

void survey_release(struct survey *survey)
{
    for (size_t i = 0; survey->workers != NULL && i < survey->options->jobs; i++)
        figures_release(&survey->workers[i].figures);
    free(survey->workers);
    for (size_t i = 0; i < survey->queued; i++)
        free((char *)survey->queue[i].path);
    if (survey->worker_ended >= 0)
        close(survey->worker_ended);
    pthread_cond_destroy(&survey->changed);
    pthread_mutex_destroy(&survey->mutex);
    findings_release(&survey->findings);
    store_release(&survey->store);
}
