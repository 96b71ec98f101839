#include "ctl/migration.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ctl/ctl.h"
#include "mount/state_dir.h"

#define MOST_JOBS 64
#define DEFAULT_JOBS 4

/* Set by a signal: what is begun is ended, nothing more is begun. */
static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* ---- the command line ---- */

static const struct option long_options[] = {
    {"jobs", required_argument, NULL, 'j'},
    {"rate", required_argument, NULL, 'r'},
    {"from", required_argument, NULL, 'f'},
    {"journal", required_argument, NULL, 'J'},
    {"state", required_argument, NULL, 'S'},
    {"dry-run", no_argument, NULL, 'n'},
    {"overwrite", no_argument, NULL, 'o'},
    {"identity", no_argument, NULL, 'i'},
    {NULL, 0, NULL, 0},
};

static bool parse_number(const char *text, double least, double most, double *number_r)
{
    char *end;
    *number_r = strtod(text, &end);
    return end != text && *end == '\0' && *number_r >= least && *number_r <= most;
}

static bool take_option(struct migration_options *options, int letter, const char *flags)
{
    double number = 0;
    switch (letter) {
    case 'j':
        if (!parse_number(optarg, 1, MOST_JOBS, &number))
            return false;
        options->jobs = (unsigned)number;
        return true;
    case 'r':
        return parse_number(optarg, 0.001, 1e6, &options->rate);
    case 'f':
        options->from = optarg;
        return true;
    case 'J':
        options->journal = optarg;
        return true;
    case 'S':
        options->state_dir = optarg;
        return true;
    case 'n':
        options->dry_run = true;
        return strchr(flags, 'n') != NULL;
    case 'o':
        options->overwrite = true;
        return strchr(flags, 'o') != NULL;
    case 'i':
        options->identity = true;
        return strchr(flags, 'i') != NULL;
    default:
        return false;
    }
}

static bool parse(struct migration_options *options, int argc, char **argv, const char *flags)
{
    *options = (struct migration_options){.jobs = DEFAULT_JOBS};
    opterr = 0;
    int letter;
    while ((letter = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (!take_option(options, letter, flags))
            return false;
    }
    if (optind >= argc)
        return false;
    options->store = argv[optind];
    options->patterns = argv + optind + 1;
    options->pattern_count = argc - optind - 1;
    return true;
}

/* ---- which accounts ---- */

static void say_unreadable(const char *path, int error)
{
    ctl_cannot("read", path, error);
}

/* The directory in which everything lies that PATTERN can mean. */
static char *start_of(const char *pattern)
{
    char *start = strdup(pattern);
    if (start == NULL)
        return NULL;
    size_t literal = strcspn(start, "*?[\\");
    if (start[literal] == '\0')
        return start;
    start[literal] = '\0';
    char *slash = strrchr(start, '/');
    if (slash != NULL && slash > start) {
        *slash = '\0';
        return start;
    }
    free(start);
    return strdup(".");
}

static void find_accounts(struct migration *migration, const char *pattern)
{
    size_t before = migration->accounts.count;
    AUTO_FREE char *start = pattern == NULL ? strdup(".") : start_of(pattern);
    int result = start == NULL ? -ENOMEM : 0;
    if (result == 0)
        result =
            accounts_find(&migration->store, start, pattern, say_unreadable, &migration->accounts);
    if (result < 0 || migration->accounts.count == before)
        migration->failures++;
    if (result == 0 && migration->accounts.count == before)
        fprintf(stderr, "courierctl: no account is called '%s'\n", pattern == NULL ? "*" : pattern);
}

static int find_listed(struct migration *migration)
{
    FILE *file = fopen(migration->options.from, "re");
    if (file == NULL)
        return -errno;
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    while ((len = getline(&line, &size, file)) > 0) {
        if (line[len - 1] == '\n')
            line[len - 1] = '\0';
        if (line[0] != '\0')
            find_accounts(migration, line);
    }
    int error = ferror(file) ? -EIO : 0;
    free(line);
    fclose(file);
    return error;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, each once. */
static void settle_accounts(struct path_list *list)
{
    if (list->count == 0)
        return;
    qsort(list->paths, list->count, sizeof(*list->paths), compare_paths);
    size_t kept = 1;
    for (size_t i = 1; i < list->count; i++) {
        if (strcmp(list->paths[i], list->paths[kept - 1]) == 0)
            free(list->paths[i]);
        else
            list->paths[kept++] = list->paths[i];
    }
    list->count = kept;
}

static int select_accounts(struct migration *migration)
{
    const struct migration_options *options = &migration->options;
    int result = 0;
    if (options->from != NULL) {
        result = find_listed(migration);
        if (result < 0)
            ctl_cannot("read", options->from, result);
    }
    for (int i = 0; i < options->pattern_count; i++)
        find_accounts(migration, options->patterns[i]);
    if (options->from == NULL && options->pattern_count == 0)
        find_accounts(migration, NULL);
    settle_accounts(&migration->accounts);
    return result;
}

/* ---- telling ---- */

static double seconds_since(const struct timespec *then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - then->tv_sec) + (double)(now.tv_nsec - then->tv_nsec) / 1e9;
}

/* The mutex is held. */
static void show_progress(struct migration *migration, bool at_end)
{
    time_t now = time(NULL);
    if (!migration->show_progress || (now == migration->shown_at && !at_end))
        return;
    migration->shown_at = now;
    double passed = seconds_since(&migration->began);
    size_t done = migration->finished_accounts;
    fprintf(stderr, "\r%zu of %zu accounts, %zu mailboxes, %zu messages, %zu failed", done,
            migration->accounts.count, atomic_load(&migration->mailboxes),
            atomic_load(&migration->messages), atomic_load(&migration->failures));
    if (done > 0 && !at_end) {
        long left = (long)(passed / (double)done * (double)(migration->accounts.count - done));
        fprintf(stderr, ", %ld:%02ld:%02ld to go", left / 3600, left / 60 % 60, left % 60);
    }
    fputs("\033[K", stderr);
    if (at_end)
        fputc('\n', stderr);
}

/* Nothing that a file's name holds may look like a line of its own. */
static void mask_controls(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
    }
}

__attribute__((format(printf, 4, 0))) static void tell(struct migration *migration,
                                                       const char *path, const char *how,
                                                       const char *format, va_list args)
{
    char text[PATH_MAX + 1024];
    char when[32];
    vsnprintf(text, sizeof(text), format, args);
    mask_controls(text);
    time_t now = time(NULL);
    struct tm local;
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S%z", localtime_r(&now, &local));
    pthread_mutex_lock(&migration->mutex);
    if (migration->journal != NULL) {
        fprintf(migration->journal, "%s %s %s '%s': %s\n", when, migration->verb, how, path, text);
        fflush(migration->journal);
    }
    show_progress(migration, false);
    pthread_mutex_unlock(&migration->mutex);
}

void migration_note(struct migration *migration, const char *path, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell(migration, path, "done", format, args);
    va_end(args);
}

void migration_fail(struct migration *migration, const char *path, const char *format, ...)
{
    va_list args;
    char text[1024];
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    mask_controls(text);
    migration->failures++;
    va_start(args, format);
    tell(migration, path, "FAILED", format, args);
    va_end(args);
    fprintf(stderr, "%scourierctl: cannot %s '%s': %s\n",
            migration->show_progress ? "\r\033[K" : "", migration->verb, path, text);
}

void migration_differs(struct migration *migration, const char *path, const char *text)
{
    migration->failures++;
    migration_note(migration, path, "%s", text);
    char shown[PATH_MAX + 2048];
    snprintf(shown, sizeof(shown), "%s: %s", path, text);
    mask_controls(shown);
    pthread_mutex_lock(&migration->mutex);
    puts(shown);
    pthread_mutex_unlock(&migration->mutex);
}

/* ---- working ---- */

bool migration_pace(struct migration *migration)
{
    struct timespec start;
    if (migration->options.rate <= 0)
        return interrupted == 0;
    pthread_mutex_lock(&migration->mutex);
    clock_gettime(CLOCK_MONOTONIC, &start);
    struct timespec *next = &migration->next_start;
    if (next->tv_sec > start.tv_sec ||
        (next->tv_sec == start.tv_sec && next->tv_nsec > start.tv_nsec))
        start = *next;
    double interval = 1 / migration->options.rate;
    *next = start;
    next->tv_sec += (time_t)interval;
    next->tv_nsec += (long)((interval - (double)(time_t)interval) * 1e9);
    if (next->tv_nsec >= 1000000000) {
        next->tv_nsec -= 1000000000;
        next->tv_sec++;
    }
    pthread_mutex_unlock(&migration->mutex);
    while (interrupted == 0 &&
           clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &start, NULL) == EINTR)
        ;
    return interrupted == 0;
}

int migration_place(struct migration *migration, const char *path, struct caller *caller_r,
                    struct place *place_r)
{
    struct stat st;
    int result = store_stat(&migration->store, path, &st);
    if (result < 0)
        return result;
    *caller_r = (struct caller){.uid = st.st_uid, .gid = st.st_gid, .pid = getpid()};
    *place_r = (struct place){path, st.st_dev, st.st_ino};
    return caller_become(caller_r);
}

static void *worker(void *arg)
{
    struct migration *migration = arg;
    for (;;) {
        pthread_mutex_lock(&migration->mutex);
        size_t mine = migration->next_account;
        bool ended = interrupted != 0 || mine >= migration->accounts.count;
        migration->next_account += ended ? 0 : 1;
        pthread_mutex_unlock(&migration->mutex);
        if (ended)
            return NULL;
        migration->work(migration, migration->accounts.paths[mine]);
        caller_become_daemon();
        pthread_mutex_lock(&migration->mutex);
        migration->finished_accounts++;
        show_progress(migration, false);
        pthread_mutex_unlock(&migration->mutex);
    }
}

static void work_on_all(struct migration *migration)
{
    pthread_t threads[MOST_JOBS];
    unsigned started = 0;
    while (started + 1 < migration->options.jobs &&
           pthread_create(&threads[started], NULL, worker, migration) == 0)
        started++;
    worker(migration);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

/* ---- start and end ---- */

static int open_journal(struct migration *migration)
{
    const char *path = migration->options.journal;
    if (path == NULL || migration->options.dry_run)
        return 0;
    migration->journal = fopen(path, "ae");
    return migration->journal != NULL ? 0 : -errno;
}

static int report(struct migration *migration)
{
    show_progress(migration, true);
    size_t failures = atomic_load(&migration->failures);
    printf("%s%zu of %zu accounts: %zu mailboxes with %zu messages %s, %zu %s, %zu %s\n",
           migration->options.dry_run ? "would be: " : "", migration->finished_accounts,
           migration->accounts.count, atomic_load(&migration->mailboxes),
           atomic_load(&migration->messages), migration->done, atomic_load(&migration->unchanged),
           migration->same, failures, migration->faults);
    if (interrupted != 0)
        fprintf(stderr, "courierctl: interrupted; start it again to go on\n");
    return failures > 0 || interrupted != 0 ? 1 : 0;
}

static int run_on_accounts(struct migration *migration)
{
    if (migration->check != NULL && migration->check(migration) < 0)
        return 1;
    if (select_accounts(migration) < 0)
        return 1;
    work_on_all(migration);
    return report(migration);
}

static int run_with_bridge(struct migration *migration, const char *state_dir)
{
    const struct bridge_options options = {.state_dir = state_dir};
    int result = bridge_init(&migration->store, &options, &migration->bridge);
    if (result < 0)
        return 1; /* it was logged */
    int status = run_on_accounts(migration);
    bridge_free(migration->bridge);
    return status;
}

static int run_with_store(struct migration *migration)
{
    BUF_AUTO state_dir = BUF_EMPTY;
    int result = open_journal(migration);
    if (result < 0) {
        ctl_cannot("open", migration->options.journal, result);
        return 1;
    }
    if (migration->without_bridge)
        return run_on_accounts(migration);
    if (migration->options.state_dir != NULL)
        buf_add_string(&state_dir, migration->options.state_dir);
    else
        state_dir_add_name(&state_dir, migration->store.root_path, "courierctl");
    if (buf_terminate(&state_dir) < 0) {
        ctl_cannot("open", migration->options.store, -ENOMEM);
        return 1;
    }
    AUTO_FD taken = state_dir_take(state_dir.data);
    return taken < 0 ? 1 : run_with_bridge(migration, state_dir.data);
}

int migration_run(struct migration *migration, int argc, char **argv, const char *flags)
{
    if (!parse(&migration->options, argc, argv, flags)) {
        BUF_AUTO synopsis = BUF_EMPTY;
        buf_printf(&synopsis,
                   "%s [--jobs N] [--rate N] [--from FILE] [--journal FILE] [--state DIR]%s%s%s "
                   "STORE [ACCOUNT...]",
                   migration->verb, strchr(flags, 'n') != NULL ? " [--dry-run]" : "",
                   strchr(flags, 'o') != NULL ? " [--overwrite]" : "",
                   strchr(flags, 'i') != NULL ? " [--identity]" : "");
        return ctl_usage(buf_terminate(&synopsis) == 0 ? synopsis.data : migration->verb);
    }
    struct sigaction action = {.sa_handler = interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    pthread_mutex_init(&migration->mutex, NULL);
    clock_gettime(CLOCK_MONOTONIC, &migration->began);
    migration->show_progress = isatty(STDERR_FILENO) == 1;
    bool read_only = migration->reads_only || migration->options.dry_run;
    int result = store_init(&migration->store, migration->options.store, read_only);
    int status = 1;
    if (result < 0) {
        ctl_cannot("open", migration->options.store, result);
    } else {
        status = run_with_store(migration);
        store_release(&migration->store);
    }
    if (migration->journal != NULL && fclose(migration->journal) != 0) {
        ctl_cannot("write", migration->options.journal, -errno);
        status = 1;
    }
    path_list_release(&migration->accounts);
    pthread_mutex_destroy(&migration->mutex);
    return status;
}
