/* The command: options, progress, the end. */
#include "ctl/survey.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include "base/cleanup.h"
#include "courier/config.h"
#include "ctl/ctl.h"
#include "ctl/survey_report.h"
#include "ctl/visible.h"

#define SYNOPSIS                                                                                   \
    "survey STORE [--jobs N] [--top N] [--quick | --read-messages] [--courier-config FILE] "       \
    "[--json] [--html FILE] [--list FILE] [--write-time MS]"

#define DEFAULT_JOBS 8
#define MOST_JOBS 256
#define DEFAULT_TOP 20
#define MOST_TOP 1000
#define DEFAULT_WRITE_MS 5
#define CONFIG_LIMIT ((size_t)1 << 20)

/* Seconds that clocks may differ: for us, and for Courier. */
#define CLOCK_SLIGHT 2
#define CLOCK_TOO_MUCH 30

/* ---- options --------------------------------------------------------------------------------- */

static bool parse_unsigned(const char *text, unsigned most, unsigned *value_r)
{
    uint64_t value;
    if (!span_to_u64(span_of(text), &value) || value == 0 || value > most)
        return false;
    *value_r = (unsigned)value;
    return true;
}

static bool parse_milliseconds(const char *text, double *value_r)
{
    char *end;
    *value_r = strtod(text, &end);
    return end != text && *end == '\0' && *value_r > 0 && *value_r < 1e6;
}

enum option_name {
    OPTION_JOBS = 'j',
    OPTION_JSON = 256,
    OPTION_HTML,
    OPTION_LIST,
    OPTION_TOP,
    OPTION_QUICK,
    OPTION_READ_MESSAGES,
    OPTION_CONFIG,
    OPTION_WRITE_TIME,
};

static const struct option long_options[] = {
    {"jobs", required_argument, NULL, OPTION_JOBS},
    {"json", no_argument, NULL, OPTION_JSON},
    {"html", required_argument, NULL, OPTION_HTML},
    {"list", required_argument, NULL, OPTION_LIST},
    {"top", required_argument, NULL, OPTION_TOP},
    {"quick", no_argument, NULL, OPTION_QUICK},
    {"read-messages", no_argument, NULL, OPTION_READ_MESSAGES},
    {"courier-config", required_argument, NULL, OPTION_CONFIG},
    {"write-time", required_argument, NULL, OPTION_WRITE_TIME},
    {NULL, 0, NULL, 0},
};

static bool take_option(int option, struct survey_options *options)
{
    switch (option) {
    case OPTION_JOBS:
        return parse_unsigned(optarg, MOST_JOBS, &options->jobs);
    case OPTION_JSON:
        options->json = true;
        return true;
    case OPTION_HTML:
        options->html = optarg;
        return true;
    case OPTION_LIST:
        options->list = optarg;
        return true;
    case OPTION_TOP:
        return parse_unsigned(optarg, MOST_TOP, &options->top);
    case OPTION_QUICK:
        options->quick = true;
        return true;
    case OPTION_READ_MESSAGES:
        options->read_messages = true;
        return true;
    case OPTION_CONFIG:
        options->config = optarg;
        return true;
    case OPTION_WRITE_TIME:
        return parse_milliseconds(optarg, &options->write_ms);
    default:
        return false;
    }
}

static bool parse_options(int argc, char **argv, struct survey_options *options_r)
{
    int option;
    *options_r = (struct survey_options){
        .jobs = DEFAULT_JOBS, .top = DEFAULT_TOP, .write_ms = DEFAULT_WRITE_MS};
    opterr = 0;
    while ((option = getopt_long(argc, argv, "j:", long_options, NULL)) != -1) {
        if (!take_option(option, options_r))
            return false;
    }
    if (optind + 1 != argc || (options_r->quick && options_r->read_messages))
        return false;
    options_r->path = argv[optind];
    return true;
}

/* ---- files to write -------------------------------------------------------------------------- */

/* Of "page.html" or "/tmp/page.html": the directory as the kernel calls it, or NULL. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    AUTO_FREE char *directory =
        slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    return directory == NULL ? NULL : realpath(directory, NULL);
}

static bool is_in(const char *directory, const char *store)
{
    size_t len = strlen(store);
    return strncmp(directory, store, len) == 0 &&
           (directory[len] == '\0' || directory[len] == '/' || strcmp(store, "/") == 0);
}

/* Opens a file for a report, before the long work. NULL for PATH is NULL in *file_r. 0, or 1 with the reason
 * told. */
static int open_report(const char *path, const char *store, FILE **file_r)
{
    *file_r = NULL;
    if (path == NULL)
        return 0;
    AUTO_FREE char *directory = directory_of(path);
    AUTO_FREE char *real_store = realpath(store, NULL);
    if (directory != NULL && real_store != NULL && is_in(directory, real_store)) {
        fprintf(stderr, "courierctl: cannot write '%s': it would be in the store\n", path);
        return 1;
    }
    *file_r = fopen(path, "we");
    if (*file_r != NULL)
        return 0;
    ctl_cannot("write", path, -errno);
    return 1;
}

/* 0, or 1 with the reason told. */
static int close_report(FILE *file, const char *path)
{
    if (file == NULL)
        return 0;
    bool failed = ferror(file) != 0;
    if (fclose(file) == 0 && !failed)
        return 0;
    ctl_cannot("write", path, -(failed ? EIO : errno));
    return 1;
}

/* ---- Courier's configuration ----------------------------------------------------------------- */

static const char *const setting_names[SURVEY_SETTINGS] = {"IMAP_USELOCKS", "IMAP_KEYWORDS",
                                                           "IMAP_ACL"};

/* 0, or 1 with the reason told. */
static int read_config(const char *path, struct buf *text_r)
{
    char block[4096];
    size_t got;
    FILE *file = path == NULL ? NULL : fopen(path, "re");
    if (path == NULL)
        return 0;
    if (file == NULL) {
        ctl_cannot("open", path, -errno);
        return 1;
    }
    while (text_r->len < CONFIG_LIMIT && (got = fread(block, 1, sizeof(block), file)) > 0)
        buf_add(text_r, block, got);
    int error = ferror(file) != 0 ? -EIO : buf_error(text_r);
    fclose(file);
    if (error < 0)
        ctl_cannot("read", path, error);
    return error < 0;
}

static void found_in_config(struct survey *survey, enum finding_kind kind, const char *why,
                            struct span text)
{
    struct finding finding = {.path = survey->options->config,
                              .text = text.text,
                              .text_len = text.len,
                              .why = why,
                              .count = 1};
    findings_write(&survey->findings, kind, &finding);
    findings_add(&survey->findings, kind, &finding);
}

/* Courier uses locks when the setting is not there, or begins with 1; and keywords unless it is 0 or not
 * there. */
static void judge_setting(struct survey *survey, size_t which, enum config_setting setting,
                          struct span value)
{
    const char *name = setting_names[which];
    if (setting == CONFIG_UNCLEAR)
        found_in_config(survey, FINDING_CONFIG_UNCLEAR, name, value);
    else if (which == 0 && setting == CONFIG_SET && !span_starts(value, "1"))
        found_in_config(survey, FINDING_LOCKS_OFF, name, value);
    else if (which == 1 && (setting == CONFIG_UNSET || value.len == 0 || span_equals(value, "0")))
        found_in_config(survey, FINDING_KEYWORDS_OFF, name, value);
}

/* TEXT holds the values afterwards, terminated, which *report points to. */
static void look_at_config(struct survey *survey, struct span text, struct buf *values,
                           struct survey_report *report)
{
    size_t offsets[SURVEY_SETTINGS];
    bool is_set[SURVEY_SETTINGS];
    for (size_t i = 0; i < SURVEY_SETTINGS; i++) {
        struct span value = span_of("");
        enum config_setting setting = config_find(text, setting_names[i], &value);
        judge_setting(survey, i, setting, value);
        is_set[i] = setting != CONFIG_UNSET;
        offsets[i] = values->len;
        buf_add_span(values, value);
        buf_add_char(values, '\0');
    }
    for (size_t i = 0; i < SURVEY_SETTINGS && buf_error(values) == 0; i++) {
        report->settings[i].name = setting_names[i];
        report->settings[i].value = is_set[i] ? values->data + offsets[i] : NULL;
    }
}

/* ---- progress -------------------------------------------------------------------------------- */

/* Nothing is estimated from less. */
#define LEAST_DONE 0.005
#define LEAST_SECONDS 2.0

struct progress {
    struct survey *survey;
    uint64_t start_ns;
    bool shown; /* on a terminal */
};

static double seconds_since(uint64_t start_ns)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
    return (double)(now_ns - start_ns) / 1e9;
}

static size_t terminal_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 10 ? size.ws_col : 80;
}

static void show(const struct progress *progress)
{
    struct survey *survey = progress->survey;
    BUF_AUTO line = BUF_EMPTY;
    double seconds = seconds_since(progress->start_ns);
    double done = survey_done(survey);
    uint64_t mailboxes = atomic_load(&survey->mailboxes);
    report_add_number(&line, mailboxes);
    buf_add_string(&line, " mailboxes, ");
    report_add_number(&line, atomic_load(&survey->messages));
    buf_add_string(&line, " messages, ");
    report_add_number(&line, (uint64_t)((double)mailboxes / (seconds + 1e-3)));
    buf_add_string(&line, " mailboxes/s");
    if (done > LEAST_DONE && seconds > LEAST_SECONDS) {
        buf_printf(&line, ", %.0f %%, about ", done * 100);
        report_add_duration(&line, seconds * (1 - done) / done);
        buf_add_string(&line, " left");
    }
    size_t len = line.len < terminal_width() - 1 ? line.len : terminal_width() - 1;
    if (buf_error(&line) == 0)
        fprintf(stderr, "\r%.*s\033[K", (int)len, line.data);
}

static void say_stopping(const struct progress *progress, const sigset_t *signals)
{
    survey_stop(progress->survey);
    fprintf(stderr, "%scourierctl: stopping; what was seen is reported\n",
            progress->shown ? "\r\033[K" : "");
    /* A second one ends the program, also if the store does not answer. */
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
}

/* Until all workers have ended. */
static void watch(const struct progress *progress, int signals_fd, const sigset_t *signals)
{
    struct pollfd polled[] = {{.fd = progress->survey->worker_ended, .events = POLLIN},
                              {.fd = signals_fd, .events = POLLIN}};
    struct signalfd_siginfo info;
    uint64_t ended = 0, more;
    while (ended < progress->survey->worker_count) {
        if (progress->shown)
            show(progress);
        if (poll(polled, 2, progress->shown ? 500 : -1) < 0 && errno != EINTR)
            break;
        if ((polled[0].revents & POLLIN) != 0 &&
            read(polled[0].fd, &more, sizeof(more)) == (ssize_t)sizeof(more))
            ended += more;
        if ((polled[1].revents & POLLIN) != 0 && read(polled[1].fd, &info, sizeof(info)) > 0) {
            say_stopping(progress, signals);
            polled[1].fd = -1;
        }
    }
    if (progress->shown)
        fprintf(stderr, "\r\033[K");
}

/* ---- the survey ------------------------------------------------------------------------------ */

static void judge_clock(struct survey *survey, struct survey_figures *figures)
{
    char why[64];
    if (figures->clock_ahead <= CLOCK_SLIGHT)
        return;
    enum finding_kind kind =
        figures->clock_ahead > CLOCK_TOO_MUCH ? FINDING_CLOCK : FINDING_CLOCK_SLIGHT;
    snprintf(why, sizeof(why), "at least %" PRIu64 " seconds", figures->clock_ahead);
    struct finding finding = {.path = survey->options->path, .text = "", .why = why, .count = 1};
    findings_write(&survey->findings, kind, &finding);
    findings_add(&survey->findings, kind, &finding);
}

static int print(const struct survey_report *report, FILE *html)
{
    BUF_AUTO out = BUF_EMPTY;
    BUF_AUTO page = BUF_EMPTY;
    if (report->options->json)
        survey_write_json(report, &out);
    else
        survey_write_text(report, &out);
    if (html != NULL)
        survey_write_html(report, &page);
    if (buf_error(&out) < 0 || buf_error(&page) < 0) {
        ctl_cannot("report on", report->options->path, -ENOMEM);
        return 1;
    }
    fwrite(out.data, 1, out.len, stdout);
    if (html != NULL)
        fwrite(page.data, 1, page.len, html);
    return 0;
}

/* Runs it with SIGNALS blocked, and reports. */
static int run(struct survey *survey, const struct survey_options *options, struct span config,
               const sigset_t *signals, FILE *html, FILE *list)
{
    AUTO_FD signals_fd = signalfd(-1, signals, SFD_CLOEXEC);
    struct progress progress = {.survey = survey, .shown = isatty(STDERR_FILENO) == 1};
    progress.start_ns = (uint64_t)(seconds_since(0) * 1e9);
    int error = signals_fd < 0 ? -errno : survey_start(survey, options, list);
    if (error < 0) {
        ctl_cannot("open", options->path, error);
        return 1;
    }
    watch(&progress, signals_fd, signals);
    struct survey_figures figures;
    BUF_AUTO values = BUF_EMPTY;
    error = survey_finish(survey, &figures);
    struct survey_report report = {.store = survey->store.root_path,
                                   .options = options,
                                   .figures = &figures,
                                   .findings = &survey->findings,
                                   .started = survey->started,
                                   .seconds = seconds_since(progress.start_ns),
                                   .complete = !atomic_load(&survey->stopped)};
    judge_clock(survey, &figures);
    if (options->config != NULL)
        look_at_config(survey, config, &values, &report);
    survey_estimate(&figures, options, &report.estimate);
    if (error < 0)
        ctl_cannot("survey", options->path, error);
    int status = print(&report, html);
    if (survey_blocks(&report))
        status = 1;
    figures_release(&figures);
    survey_release(survey);
    return error < 0 ? 1 : status;
}

/* Workers hold directories open. */
static void allow_many_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int ctl_survey(int argc, char **argv)
{
    struct survey_options options;
    FILE *html = NULL;
    FILE *list = NULL;
    BUF_AUTO config = BUF_EMPTY;
    if (!parse_options(argc, argv, &options))
        return ctl_usage(SYNOPSIS);
    AUTO_FREE struct survey *survey = calloc(1, sizeof(*survey));
    if (survey == NULL) {
        ctl_cannot("survey", options.path, -ENOMEM);
        return 1;
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    allow_many_files();
    int status = read_config(options.config, &config);
    if (status == 0)
        status = open_report(options.html, options.path, &html);
    if (status == 0)
        status = open_report(options.list, options.path, &list);
    if (status == 0)
        status = run(survey, &options, buf_span(&config), &signals, html, list);
    status |= close_report(html, options.html);
    status |= close_report(list, options.list);
    return status;
}
