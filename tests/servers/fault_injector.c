/* Makes a chosen call of the daemon on its store fail, or kills the daemon right before it.
 *
 * Loaded by LD_PRELOAD. The calls on the store are told from all others by their directory
 * descriptor, or by where the descriptor's path lies; what the cache and libfuse do is never
 * counted. The test and the daemon share one page (COURIERFS_FAULTS names its file), so a fault is
 * armed while the daemon runs, and calls of all threads are counted together, which strace cannot
 * do. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CHANGES = 1, LOOKS = 2, EXCHANGES = 4 };
enum { KILL = -1 };

/* As faults.py has it. */
struct page {
    atomic_int kinds;         /* which calls count, of the three above; 0: nothing is armed */
    atomic_int first;         /* the first call, from 1, that fails */
    atomic_int last;          /* and the last one */
    atomic_int action;        /* an errno, or KILL */
    atomic_int seen;          /* calls counted since it was armed */
    atomic_int fired;         /* how many of them failed */
    char what[PATH_MAX + 64]; /* the first that did */
};

static struct page *page;
static char store[PATH_MAX];

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("COURIERFS_FAULTS");
    const char *below = getenv("COURIERFS_FAULTS_STORE");
    int fd = path == NULL || below == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED)
        return;
    snprintf(store, sizeof(store), "%s", below);
    page = mapped;
}

/* Whether FD is a file of the store, and which. */
static int is_of_store(int fd, char path_r[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path_r, PATH_MAX - 1);
    size_t prefix = strlen(store);
    if (len < (ssize_t)prefix)
        return 0;
    path_r[len] = '\0';
    return strncmp(path_r, store, prefix) == 0 && (path_r[prefix] == '/' || path_r[prefix] == '\0');
}

/* 0: the call shall be made; else the errno it fails with. PATH "" is the file FD itself. */
static int fault(int kind, int fd, const char *name, const char *path)
{
    char of_fd[PATH_MAX];
    if (page == NULL || (atomic_load(&page->kinds) & kind) == 0 || fd == AT_FDCWD ||
        !is_of_store(fd, of_fd))
        return 0;
    int number = atomic_fetch_add(&page->seen, 1) + 1;
    if (number < atomic_load(&page->first) || number > atomic_load(&page->last))
        return 0;
    if (atomic_fetch_add(&page->fired, 1) == 0)
        snprintf(page->what, sizeof(page->what), "%s %s", name, path[0] == '\0' ? of_fd : path);
    int action = atomic_load(&page->action);
    if (action == KILL) {
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    }
    return action;
}

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

#define CALL(kind, fd, path, name, ...)                                                            \
    do {                                                                                           \
        int error_ = fault(kind, fd, #name, path);                                                 \
        if (error_ != 0) {                                                                         \
            errno = error_;                                                                        \
            return -1;                                                                             \
        }                                                                                          \
        return REAL(name)(__VA_ARGS__);                                                            \
    } while (0)

int openat(int dir, const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0;
    va_end(list);
    CALL((flags & (O_CREAT | O_TRUNC)) != 0 ? CHANGES : LOOKS, dir, path, openat, dir, path, flags,
         mode);
}

int fstatat(int dir, const char *path, struct stat *out, int flags)
{
    CALL(LOOKS, dir, path, fstatat, dir, path, out, flags);
}

ssize_t readlinkat(int dir, const char *path, char *out, size_t size)
{
    CALL(LOOKS, dir, path, readlinkat, dir, path, out, size);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    CALL(CHANGES, dir, path, mkdirat, dir, path, mode);
}

int mknodat(int dir, const char *path, mode_t mode, dev_t device)
{
    CALL(CHANGES, dir, path, mknodat, dir, path, mode, device);
}

int symlinkat(const char *target, int dir, const char *path)
{
    CALL(CHANGES, dir, path, symlinkat, target, dir, path);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    CALL(CHANGES, from_dir, to, linkat, from_dir, from, to_dir, to, flags);
}

int unlinkat(int dir, const char *path, int flags)
{
    CALL(CHANGES, dir, path, unlinkat, dir, path, flags);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    CALL(CHANGES, from_dir, to, renameat, from_dir, from, to_dir, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    int kinds = CHANGES | ((flags & RENAME_EXCHANGE) != 0 ? EXCHANGES : 0);
    CALL(kinds, from_dir, to, renameat2, from_dir, from, to_dir, to, flags);
}

int fchmodat(int dir, const char *path, mode_t mode, int flags)
{
    CALL(CHANGES, dir, path, fchmodat, dir, path, mode, flags);
}

int fchownat(int dir, const char *path, uid_t uid, gid_t gid, int flags)
{
    CALL(CHANGES, dir, path, fchownat, dir, path, uid, gid, flags);
}

int utimensat(int dir, const char *path, const struct timespec times[2], int flags)
{
    CALL(CHANGES, dir, path, utimensat, dir, path, times, flags);
}

int ftruncate(int fd, off_t size)
{
    CALL(CHANGES, fd, "", ftruncate, fd, size);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    CALL(CHANGES, fd, "", pwrite, fd, bytes, size, offset);
}

ssize_t pwritev2(int fd, const struct iovec *pieces, int count, off_t offset, int flags)
{
    CALL(CHANGES, fd, "", pwritev2, fd, pieces, count, offset, flags);
}

int fsync(int fd)
{
    CALL(CHANGES, fd, "", fsync, fd);
}

int fdatasync(int fd)
{
    CALL(CHANGES, fd, "", fdatasync, fd);
}

ssize_t pread(int fd, void *out, size_t size, off_t offset)
{
    CALL(LOOKS, fd, "", pread, fd, out, size, offset);
}

int fstat(int fd, struct stat *out)
{
    CALL(LOOKS, fd, "", fstat, fd, out);
}

long syscall(long number, ...)
{
    va_list list;
    va_start(list, number);
    long a = va_arg(list, long);
    long b = va_arg(list, long);
    long c = va_arg(list, long);
    long d = va_arg(list, long);
    long e = va_arg(list, long);
    long f = va_arg(list, long);
    va_end(list);
    if (number == SYS_getdents64)
        CALL(LOOKS, (int)a, "", syscall, number, a, b, c, d, e, f);
    return REAL(syscall)(number, a, b, c, d, e, f);
}
