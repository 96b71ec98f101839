/* A plain pass-through file system, for comparison and as a slow store.
 *
 *   plainfs DIRECTORY MOUNTPOINT -o timeout=S,delay=US,counts=FILE
 *
 * The kernel's requests are made on DIRECTORY as the process that asks, by libfuse's high-level
 * interface, with what the kernel caches by default. `delay` is the time in microseconds that
 * each one takes longer, as a server far away would; `timeout` is how long names and attributes may be
 * believed. FILE is a page of memory that counts the requests: an administrator's view of what a
 * client on the network costs its server. */
#define FUSE_USE_VERSION 314
#include <fuse.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

static struct {
    char *directory;
    char *mountpoint;
    double timeout;
    unsigned delay;
    const char *counts;
} given;

static int root_fd;
static atomic_uint_least64_t own_count;
static atomic_uint_least64_t *count = &own_count;

/* Every request: it takes its time, and acts as who asks. */
static void begin(void)
{
    atomic_fetch_add(count, 1);
    const struct fuse_context *context = fuse_get_context();
    setfsgid(context->gid);
    setfsuid(context->uid);
    struct timespec delay = {given.delay / 1000000, (long)(given.delay % 1000000) * 1000};
    if (given.delay > 0)
        nanosleep(&delay, NULL);
}

static const char *below(const char *path)
{
    return path[1] == '\0' ? "." : path + 1;
}

static int done(int result)
{
    return result < 0 ? -errno : 0;
}

static void *on_init(struct fuse_conn_info *conn, struct fuse_config *config)
{
    (void)conn;
    config->nullpath_ok = 1;
    config->use_ino = 1;
    config->entry_timeout = given.timeout;
    config->attr_timeout = given.timeout;
    config->auto_cache = 1;
    return NULL;
}

static int on_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
    begin();
    if (fi != NULL)
        return done(fstat((int)fi->fh, st));
    return done(fstatat(root_fd, below(path), st, AT_SYMLINK_NOFOLLOW));
}

static int on_mkdir(const char *path, mode_t mode)
{
    begin();
    return done(mkdirat(root_fd, below(path), mode));
}

static int on_unlink(const char *path)
{
    begin();
    return done(unlinkat(root_fd, below(path), 0));
}

static int on_rmdir(const char *path)
{
    begin();
    return done(unlinkat(root_fd, below(path), AT_REMOVEDIR));
}

static int on_rename(const char *from, const char *to, unsigned flags)
{
    begin();
    return done(renameat2(root_fd, below(from), root_fd, below(to), flags));
}

static int on_link(const char *from, const char *to)
{
    begin();
    int result = done(linkat(root_fd, below(from), root_fd, below(to), 0));
    /* To libfuse the two names are two files: the kernel must look at the link count again. */
    if (result == 0)
        (void)fuse_invalidate_path(fuse_get_context()->fuse, from);
    return result;
}

static int on_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    (void)fi;
    begin();
    return done(fchmodat(root_fd, below(path), mode, 0));
}

static int on_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi)
{
    (void)fi;
    begin();
    return done(fchownat(root_fd, below(path), uid, gid, AT_SYMLINK_NOFOLLOW));
}

static int on_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
    begin();
    if (fi != NULL)
        return done(ftruncate((int)fi->fh, size));
    int fd = openat(root_fd, below(path), O_WRONLY | O_CLOEXEC);
    int result = fd < 0 ? -errno : done(ftruncate(fd, size));
    if (fd >= 0)
        close(fd);
    return result;
}

static int on_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *fi)
{
    (void)fi;
    begin();
    return done(utimensat(root_fd, below(path), times, AT_SYMLINK_NOFOLLOW));
}

static int opened(int fd, struct fuse_file_info *fi)
{
    fi->fh = (uint64_t)fd;
    return fd < 0 ? -errno : 0;
}

static int on_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    begin();
    return opened(openat(root_fd, below(path), fi->flags | O_CLOEXEC, mode), fi);
}

static int on_open(const char *path, struct fuse_file_info *fi)
{
    begin();
    return opened(openat(root_fd, below(path), fi->flags | O_CLOEXEC), fi);
}

static int on_read(const char *path, char *out, size_t size, off_t offset,
                   struct fuse_file_info *fi)
{
    (void)path;
    begin();
    ssize_t len = pread((int)fi->fh, out, size, offset);
    return len < 0 ? -errno : (int)len;
}

static int on_write(const char *path, const char *bytes, size_t size, off_t offset,
                    struct fuse_file_info *fi)
{
    (void)path;
    begin();
    ssize_t len = pwrite((int)fi->fh, bytes, size, offset);
    return len < 0 ? -errno : (int)len;
}

/* No request to a server. */
static int on_release(const char *path, struct fuse_file_info *fi)
{
    (void)path;
    close((int)fi->fh);
    return 0;
}

static int on_fsync(const char *path, int data_only, struct fuse_file_info *fi)
{
    (void)path;
    begin();
    return done(data_only ? fdatasync((int)fi->fh) : fsync((int)fi->fh));
}

static int on_opendir(const char *path, struct fuse_file_info *fi)
{
    begin();
    int fd = openat(root_fd, below(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    fi->fh = (uintptr_t)dir;
    return dir == NULL ? -errno : 0;
}

static int on_readdir(const char *path, void *out, fuse_fill_dir_t fill, off_t offset,
                      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
    (void)path;
    (void)flags;
    begin();
    DIR *dir = (DIR *)(uintptr_t)fi->fh;
    if (offset != telldir(dir))
        seekdir(dir, offset);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        struct stat st = {.st_ino = entry->d_ino, .st_mode = DTTOIF(entry->d_type)};
        if (fill(out, entry->d_name, &st, telldir(dir), 0) != 0)
            break;
    }
    return 0;
}

static int on_releasedir(const char *path, struct fuse_file_info *fi)
{
    (void)path;
    closedir((DIR *)(uintptr_t)fi->fh);
    return 0;
}

static int on_fsyncdir(const char *path, int data_only, struct fuse_file_info *fi)
{
    (void)path;
    begin();
    int fd = dirfd((DIR *)(uintptr_t)fi->fh);
    return done(data_only ? fdatasync(fd) : fsync(fd));
}

static int on_statfs(const char *path, struct statvfs *st)
{
    (void)path;
    begin();
    return done(fstatvfs(root_fd, st));
}

static const struct fuse_operations operations = {
    .init = on_init,
    .getattr = on_getattr,
    .mkdir = on_mkdir,
    .unlink = on_unlink,
    .rmdir = on_rmdir,
    .rename = on_rename,
    .link = on_link,
    .chmod = on_chmod,
    .chown = on_chown,
    .truncate = on_truncate,
    .utimens = on_utimens,
    .create = on_create,
    .open = on_open,
    .read = on_read,
    .write = on_write,
    .release = on_release,
    .fsync = on_fsync,
    .opendir = on_opendir,
    .readdir = on_readdir,
    .releasedir = on_releasedir,
    .fsyncdir = on_fsyncdir,
    .statfs = on_statfs,
};

static const struct fuse_opt words[] = {
    {"timeout=%lf", offsetof(__typeof__(given), timeout), 0},
    {"delay=%u", offsetof(__typeof__(given), delay), 0},
    {"counts=%s", offsetof(__typeof__(given), counts), 0},
    FUSE_OPT_END,
};

static int take_word(void *data, const char *word, int key, struct fuse_args *args)
{
    (void)data;
    (void)args;
    if (key != FUSE_OPT_KEY_NONOPT)
        return 1;
    *(given.directory == NULL ? &given.directory : &given.mountpoint) = strdup(word);
    return 0;
}

static int share_count(void)
{
    int fd = open(given.counts, O_RDWR | O_CLOEXEC);
    void *page =
        fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (page == MAP_FAILED)
        return -1;
    count = page;
    return 0;
}

static int serve(struct fuse *fuse)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    if (config == NULL)
        return -ENOMEM;
    fuse_loop_cfg_set_max_threads(config, 32);
    int result = fuse_loop_mt(fuse, config);
    fuse_loop_cfg_destroy(config);
    return result;
}

int main(int argc, char **argv)
{
    given.timeout = 1;
    struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
    if (fuse_opt_parse(&args, &given, words, take_word) < 0 || given.mountpoint == NULL)
        return 1;
    root_fd = open(given.directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0 || (given.counts != NULL && share_count() < 0)) {
        perror("plainfs");
        return 1;
    }
    umask(0);
    fuse_opt_add_arg(&args, "-oallow_other,default_permissions");
    struct fuse *fuse = fuse_new(&args, &operations, sizeof(operations), NULL);
    int status = 1;
    if (fuse != NULL && fuse_mount(fuse, given.mountpoint) == 0) {
        if (fuse_set_signal_handlers(fuse_get_session(fuse)) == 0)
            status = serve(fuse) < 0;
        fuse_unmount(fuse);
    }
    if (fuse != NULL)
        fuse_destroy(fuse);
    fuse_opt_free_args(&args);
    return status;
}
