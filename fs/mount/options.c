#include "mount/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/span.h"
#include "mount/mounts.h"
#include "mount/state_dir.h"

#define SMALLEST_CACHE ((uint64_t)1 << 20)
#define LONGEST_TIMEOUT 86400.0

/* Words that are for others than us: for fstab, mount(8) and systemd, or say what is so anyway. */
static const char *const ignored[] = {
    "_netdev",    "allow_other", "atime",   "auto",    "default_permissions",
    "defaults",   "diratime",    "group",   "loud",    "noauto",
    "nodiratime", "nofail",      "nogroup", "noowner", "nouser",
    "owner",      "relatime",    "rw",      "silent",  "user",
    "users",
};
static const char *const ignored_prefixes[] = {"X-", "comment=", "helper=", "uhelper=", "x-"};

/* Words that the kernel understands, and libfuse passes on. */
static const char *const kernel_words[] = {
    "async", "dev", "dirsync", "exec", "noatime", "nodev", "noexec", "nosuid", "suid", "sync",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool is_one_of(const char *word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, words[i]) == 0)
            return true;
    }
    return false;
}

static bool has_ignored_prefix(const char *word)
{
    for (size_t i = 0; i < COUNT(ignored_prefixes); i++) {
        if (span_starts(span_of(word), ignored_prefixes[i]))
            return true;
    }
    return false;
}

static bool read_size(const char *text, size_t *size_r)
{
    struct span digits = span_of(text);
    unsigned shift = 0;
    if (digits.len > 0) {
        switch (digits.text[digits.len - 1]) {
        case 'K':
            shift = 10;
            break;
        case 'M':
            shift = 20;
            break;
        case 'G':
            shift = 30;
            break;
        default:
            break;
        }
    }
    if (shift > 0)
        digits.len--;
    uint64_t size;
    if (!span_to_u64(digits, &size) || size > (uint64_t)(SIZE_MAX / 2) >> shift)
        return false;
    size <<= shift;
    *size_r = (size_t)size;
    return size >= SMALLEST_CACHE;
}

static bool read_seconds(const char *text, double *seconds_r)
{
    char *end;
    double seconds = strtod(text, &end);
    *seconds_r = seconds;
    return end != text && *end == '\0' && isfinite(seconds) && seconds >= 0 &&
           seconds <= LONGEST_TIMEOUT;
}

static bool read_state(struct options *options, const char *path)
{
    if (path[0] != '/') {
        log_error("state=%s: not an absolute path", path);
        return false;
    }
    free(options->state_dir);
    options->state_dir = strdup(path);
    return options->state_dir != NULL;
}

/* NULL unless WORD is KEY=VALUE. */
static const char *value_of(const char *word, const char *key)
{
    size_t len = strlen(key);
    return strncmp(word, key, len) == 0 && word[len] == '=' ? word + len + 1 : NULL;
}

static bool read_word(struct options *options, const char *word)
{
    const char *value;
    if (strcmp(word, "") == 0 || is_one_of(word, ignored, COUNT(ignored)) ||
        has_ignored_prefix(word))
        return true;
    if (is_one_of(word, kernel_words, COUNT(kernel_words))) {
        buf_add_char(&options->kernel, ',');
        buf_add_string(&options->kernel, word);
        return true;
    }
    if (strcmp(word, "ro") == 0) {
        options->read_only = true;
        return true;
    }
    if (strcmp(word, "control") == 0) {
        options->control_layout = true;
        return true;
    }
    if (strcmp(word, "nocache") == 0) {
        options->use_cache = false;
        return true;
    }
    if ((value = value_of(word, "state")) != NULL)
        return read_state(options, value);
    if ((value = value_of(word, "cachesize")) != NULL) {
        if (read_size(value, &options->cache_size))
            return true;
        log_error("cachesize=%s: not a size of 1M or more, such as 512M or 2G", value);
        return false;
    }
    if ((value = value_of(word, "attr_timeout")) != NULL) {
        if (read_seconds(value, &options->attr_timeout))
            return true;
        log_error("attr_timeout=%s: not a number of seconds", value);
        return false;
    }
    log_error("unknown option '%s'", word);
    return false;
}

static bool read_words(struct options *options, const char *list)
{
    AUTO_FREE char *copy = strdup(list);
    char *rest = copy;
    if (copy == NULL)
        return false;
    for (char *word; (word = strsep(&rest, ",")) != NULL;) {
        if (!read_word(options, word))
            return false;
    }
    return true;
}

/* ---- the two directories ---- */

static bool is_below(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    if (strcmp(dir, "/") == 0)
        return true;
    return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* 0 or -errno; absolute and without symbolic links. */
static int resolve_directory(const char *given, char **path_r)
{
    struct stat st;
    *path_r = realpath(given, NULL);
    if (*path_r == NULL || stat(*path_r, &st) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static bool find_store(struct options *options, const char *given)
{
    int error = resolve_directory(given, &options->store);
    if (error != 0)
        log_error("cannot open '%s': %s", given, strerror(-error));
    return error == 0;
}

static bool find_mountpoint(struct options *options, const char *given)
{
    int error = resolve_directory(given, &options->mountpoint);
    if (error == -ENOTCONN) {
        log_error("cannot mount on '%s': a file system whose daemon died is still there, "
                  "run 'umount %s' first",
                  given, given);
        return false;
    }
    if (error != 0) {
        log_error("cannot mount on '%s': %s", given, strerror(-error));
        return false;
    }
    if (mounts_have_courierfs(options->mountpoint)) {
        log_error("cannot mount on '%s': courierfs is mounted there already", given);
        return false;
    }
    return true;
}

static bool name_state_dir(struct options *options)
{
    if (options->state_dir != NULL)
        return true;
    BUF_AUTO path = BUF_EMPTY;
    state_dir_add_name(&path, options->store, "");
    if (buf_terminate(&path) != 0)
        return false;
    options->state_dir = strdup(path.data);
    return options->state_dir != NULL;
}

static bool check_nesting(const struct options *options)
{
    if (is_below(options->mountpoint, options->store) ||
        is_below(options->store, options->mountpoint)) {
        log_error("cannot mount '%s' on '%s': one lies inside the other", options->store,
                  options->mountpoint);
        return false;
    }
    if (is_below(options->state_dir, options->store) ||
        is_below(options->state_dir, options->mountpoint)) {
        log_error("state=%s: lies inside the store or the mountpoint", options->state_dir);
        return false;
    }
    return true;
}

static bool check_layout(const struct options *options)
{
    if (!options->control_layout || !options->read_only)
        return true;
    log_error("control: not together with ro, which cannot keep Dovecot from changing the store "
              "that it reads mail in");
    return false;
}

bool options_read(struct options *options, int argc, char **argv)
{
    static const struct option long_options[] = {
        {.name = "help", .val = 'h'},
        {.name = NULL},
    };
    opterr = 0;
    int letter;
    while ((letter = getopt_long(argc, argv, ":fho:", long_options, NULL)) != -1) {
        switch (letter) {
        case 'f':
            options->foreground = true;
            break;
        case 'h':
            options->help = true;
            return true;
        case 'o':
            if (!read_words(options, optarg))
                return false;
            break;
        case ':':
            log_error("option '%s' needs a value", argv[optind - 1]);
            return false;
        default:
            log_error("unknown option '%s'", argv[optind - 1]);
            return false;
        }
    }
    if (argc - optind != 2) {
        log_error("usage: courierfs [-f] STORE MOUNTPOINT [-o option,...]");
        return false;
    }
    if (buf_terminate(&options->kernel) != 0)
        return false;
    return check_layout(options) && find_store(options, argv[optind]) &&
           find_mountpoint(options, argv[optind + 1]) && name_state_dir(options) &&
           check_nesting(options);
}

void options_release(struct options *options)
{
    free(options->store);
    free(options->mountpoint);
    free(options->state_dir);
    buf_release(&options->kernel);
}
