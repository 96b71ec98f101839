/* Writes down what a program does to a maildir, at the moment when it does it.
 *
 * Loaded by LD_PRELOAD into courierfs and into the servers. SOAK_RECORD names a directory on
 * the store's file system: its file `log` gets a line for each call that matters, and each version
 * of a uid database or size list, and each set of keywords, gets a second name there, so that it can be read afterwards, though
 * it is replaced a moment later.
 *
 *   START END PID PROGRAM version DIRECTORY FILE SAVED   the file got a new version, saved under that name
 *   START END PID PROGRAM keywords DIRECTORY BASE SAVED  a message's keywords were written; likewise
 *   START END PID PROGRAM rename DIRECTORY PLACE NAME    a message was renamed to NAME; PLACE is where
 *                                                        it was before (cur or new), slash, its name
 *   START END PID PROGRAM unlink DIRECTORY PART NAME     a message was deleted
 *   START END PID PROGRAM failure DIRECTORY - NAME       Dovecot could not open, write or replace its list
 *   START END PID PROGRAM lock DIRECTORY tmp NAME        Courier's lock was taken; unlock: let go
 *
 * PID is followed by @ and the host's name. Times are nanoseconds of the monotonic clock, taken before and after the call; DIRECTORY is the last
 * component of the mailbox's path; fields are separated by tabs. A program that is killed inside a
 * call writes no line. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define KEYWORDS "courierimapkeywords"
#define LOCK "courier.lock"
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static char record_directory[PATH_MAX];
static char host[HOST_NAME_MAX + 1];
static int log_fd = -1;
static atomic_uint saved_count;

__attribute__((constructor)) static void begin(void)
{
    const char *directory = getenv("SOAK_RECORD");
    if (directory == NULL || strlen(directory) > PATH_MAX - 100)
        return;
    gethostname(host, HOST_NAME_MAX);
    char path[PATH_MAX + 8];
    strcpy(record_directory, directory);
    snprintf(path, sizeof(path), "%s/log", directory);
    log_fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
}

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* A path as mailbox directory (its last component), part (such as cur; or empty) and name. */
struct place {
    char text[2 * PATH_MAX];
    const char *mailbox;
    const char *part;
    const char *name;
};

/* Cuts off the last component, and returns it. */
static const char *cut(char *path)
{
    char *slash = strrchr(path, '/');
    while (slash != NULL && (slash[1] == '\0' || strcmp(slash, "/.") == 0)) {
        *slash = '\0';
        slash = strrchr(path, '/');
    }
    if (slash == NULL)
        return path;
    *slash = '\0';
    return slash + 1;
}

static int find_place(int dir, const char *path, struct place *place)
{
    ssize_t len = 0;
    if (path[0] != '/') {
        char link[64] = "/proc/self/cwd";
        if (dir != AT_FDCWD)
            snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
        len = readlink(link, place->text, PATH_MAX - 1);
        if (len < 0)
            return 0;
        place->text[len++] = '/';
    }
    if (strlen(path) >= PATH_MAX)
        return 0;
    strcpy(place->text + len, path);
    place->name = cut(place->text);
    place->part = cut(place->text);
    if (strcmp(place->part, "cur") == 0 || strcmp(place->part, "new") == 0 ||
        strcmp(place->part, "tmp") == 0 || strcmp(place->part, KEYWORDS) == 0) {
        place->mailbox = cut(place->text);
    } else {
        place->mailbox = place->part;
        place->part = "";
    }
    return 1;
}

static void write_line(long long start, const char *what, const char *a, const char *b,
                       const char *c)
{
    char line[4 * NAME_MAX + 200];
    int len = snprintf(line, sizeof(line), "%lld\t%lld\t%d@%s\t%s\t%s\t%s\t%s\t%s\n", start, now(),
                       (int)getpid(), host, program_invocation_short_name, what, a, b, c);
    if (len < (int)sizeof(line) && REAL(write)(log_fd, line, (size_t)len) != len)
        abort();
}

static int is_list(const struct place *place)
{
    return place->part[0] == '\0' && (strcmp(place->name, "courierimapuiddb") == 0 ||
                                      strcmp(place->name, "courierpop3dsizelist") == 0);
}

static int is_uidlist(const char *name)
{
    return strcmp(name, "dovecot-uidlist") == 0 || strcmp(name, "dovecot-uidlist.tmp") == 0;
}

static int is_keywords(const struct place *place)
{
    return strcmp(place->part, KEYWORDS) == 0 && place->name[0] != '.' && place->name[0] != ':';
}

static int is_message(const struct place *place)
{
    return strcmp(place->part, "cur") == 0 || strcmp(place->part, "new") == 0;
}

static int copy(int dir, const char *from, const char *to)
{
    int in = openat(dir, from, O_RDONLY | O_CLOEXEC);
    int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    char block[65536];
    ssize_t len = out < 0 ? -1 : 1;
    while (len > 0) {
        len = read(in, block, sizeof(block));
        if (len > 0 && REAL(write)(out, block, (size_t)len) != len)
            len = -1;
    }
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return len == 0;
}

/* One call that gives a file the name TO; FROM stays what it is called if it is a link(). */
struct step {
    struct place from;
    struct place to;
    long long start;
    int known;
    char saved[HOST_NAME_MAX + 64];
};

static void before(struct step *step, int from_dir, const char *from, int to_dir, const char *to)
{
    int error = errno;
    step->saved[0] = '\0';
    step->known = log_fd >= 0 && find_place(from_dir, from, &step->from) &&
                  find_place(to_dir, to, &step->to);
    if (step->known && (is_list(&step->to) || is_keywords(&step->to))) {
        char path[PATH_MAX + HOST_NAME_MAX + 80];
        snprintf(step->saved, sizeof(step->saved), "%d.%s.%lld.%u", (int)getpid(), host, now(),
                 atomic_fetch_add(&saved_count, 1));
        snprintf(path, sizeof(path), "%s/%s", record_directory, step->saved);
        if (!copy(from_dir, from, path))
            step->saved[0] = '\0';
    }
    step->start = now();
    errno = error;
}

static int after(struct step *step, int result)
{
    int error = errno;
    if (!step->known)
        return result;
    if (result < 0 && is_uidlist(step->from.name))
        write_line(step->start, "failure", step->to.mailbox, "-", step->to.name);
    if (result < 0) {
        if (step->saved[0] != '\0') {
            char path[PATH_MAX + HOST_NAME_MAX + 80];
            snprintf(path, sizeof(path), "%s/%s", record_directory, step->saved);
            REAL(unlinkat)(AT_FDCWD, path, 0);
        }
    } else if (step->saved[0] != '\0') {
        write_line(step->start, is_list(&step->to) ? "version" : "keywords", step->to.mailbox,
                   step->to.name, step->saved);
    } else if (strcmp(step->to.name, LOCK) == 0) {
        write_line(step->start, "lock", step->to.mailbox, step->to.part, step->to.name);
    } else if (is_message(&step->from) && is_message(&step->to)) {
        char before[NAME_MAX + 8];
        snprintf(before, sizeof(before), "%s/%s", step->from.part, step->from.name);
        write_line(step->start, "rename", step->to.mailbox, before, step->to.name);
    }
    errno = error;
    return result;
}

int rename(const char *from, const char *to)
{
    struct step step;
    before(&step, AT_FDCWD, from, AT_FDCWD, to);
    return after(&step, REAL(rename)(from, to));
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    struct step step;
    before(&step, from_dir, from, to_dir, to);
    return after(&step, REAL(renameat)(from_dir, from, to_dir, to));
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    struct step step;
    before(&step, from_dir, from, to_dir, to);
    return after(&step, REAL(renameat2)(from_dir, from, to_dir, to, flags));
}

int link(const char *from, const char *to)
{
    struct step step;
    before(&step, AT_FDCWD, from, AT_FDCWD, to);
    return after(&step, REAL(link)(from, to));
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    struct step step;
    before(&step, from_dir, from, to_dir, to);
    return after(&step, REAL(linkat)(from_dir, from, to_dir, to, flags));
}

/* ---- Dovecot's list -------------------------------------------------------------------------- */

static void note_failure(int dir, const char *path, long long start)
{
    int error = errno;
    struct place place;
    if (log_fd >= 0 && error != ENOENT && error != EEXIST && error != EINTR &&
        find_place(dir, path, &place) && is_uidlist(place.name))
        write_line(start, "failure", place.mailbox, "-", place.name);
    errno = error;
}

static void note_failed_fd(int fd, long long start)
{
    int error = errno;
    char link[64];
    char path[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t len = log_fd < 0 ? -1 : readlink(link, path, sizeof(path) - 1);
    if (len > 0) {
        path[len] = '\0';
        errno = error;
        note_failure(AT_FDCWD, path, start);
    }
    errno = error;
}

#define CALL_ON_FD(type, fd, name, ...)                                                            \
    do {                                                                                           \
        long long start_ = now();                                                                  \
        type result_ = REAL(name)(__VA_ARGS__);                                                    \
        if (result_ < 0)                                                                           \
            note_failed_fd(fd, start_);                                                            \
        return result_;                                                                            \
    } while (0)

int fdatasync(int fd)
{
    CALL_ON_FD(int, fd, fdatasync, fd);
}

int fsync(int fd)
{
    CALL_ON_FD(int, fd, fsync, fd);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    CALL_ON_FD(ssize_t, fd, write, fd, bytes, size);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    CALL_ON_FD(ssize_t, fd, pwrite, fd, bytes, size, offset);
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    CALL_ON_FD(ssize_t, fd, writev, fd, pieces, count);
}

int fstat(int fd, struct stat *out)
{
    CALL_ON_FD(int, fd, fstat, fd, out);
}

off_t lseek(int fd, off_t offset, int whence)
{
    CALL_ON_FD(off_t, fd, lseek, fd, offset, whence);
}

int open(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0;
    va_end(list);
    long long start = now();
    int fd = REAL(open)(path, flags, mode);
    if (fd < 0)
        note_failure(AT_FDCWD, path, start);
    return fd;
}

/* ---- the end of messages and locks ----------------------------------------------------------- */

static int after_unlink(int dir, const char *path, long long start, int result)
{
    int error = errno;
    struct place place;
    if (result == 0 && log_fd >= 0 && find_place(dir, path, &place)) {
        if (is_message(&place))
            write_line(start, "unlink", place.mailbox, place.part, place.name);
        else if (strcmp(place.name, LOCK) == 0)
            write_line(start, "unlock", place.mailbox, place.part, place.name);
    }
    errno = error;
    return result;
}

int unlink(const char *path)
{
    long long start = now();
    return after_unlink(AT_FDCWD, path, start, REAL(unlink)(path));
}

int unlinkat(int dir, const char *path, int flags)
{
    long long start = now();
    return after_unlink(dir, path, start, REAL(unlinkat)(dir, path, flags));
}
