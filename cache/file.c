/*
 * May this file be used? Everything that is decided before LMDB maps the data file in the daemon,
 * and the record beside it on which the decision rests. The cases are told in cache.h.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#define READ_SIZE ((size_t)1 << 20)
#define TRIAL_SECONDS 60

enum verdict {
    KEEP,
    DISCARD,   /* of no use and nothing to learn from it */
    SET_ASIDE, /* somebody may want to look at it */
};

bool cache_fs_is_remote(uint32_t f_type)
{
    switch (f_type) {
    case 0x00006969: /* NFS */
    case 0x0000517b: /* SMB */
    case 0xff534d42: /* CIFS */
    case 0xfe534d42: /* SMB2 */
    case 0x65735546: /* FUSE, virtiofs, and our own mount */
    case 0x01021997: /* 9p */
    case 0x00c36400: /* Ceph */
    case 0x5346414f: /* AFS */
    case 0x6b414653: /* kAFS */
    case 0x73757245: /* Coda */
    case 0x0000564c: /* NCP */
    case 0x01161970: /* GFS2 */
    case 0x7461636f: /* OCFS2 */
    case 0x0bd00bd0: /* Lustre */
    case 0x47504653: /* GPFS */
    case 0x19830326: /* BeeGFS */
    case 0x786f4256: /* VirtualBox shared folder */
    case 0xbacbacbc: /* VMware shared folder */
        return true;
    default:
        return false;
    }
}

static uint64_t record_checksum(const struct cache_record *record)
{
    return XXH3_64bits(record, offsetof(struct cache_record, checksum));
}

/* Size and XXH3-64 of the data file as it is now. 0 or -errno. */
static int measure(const char *path, uint64_t *size_r, uint64_t *hash_r)
{
    uint64_t size = 0;
    ssize_t got = 0;
    int ret = -ENOMEM;

    char *buf = malloc(READ_SIZE);
    XXH3_state_t *state = XXH3_createState();
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        ret = -errno;
    if (fd < 0 || buf == NULL || state == NULL)
        goto out;

    XXH3_64bits_reset(state);
    while ((got = read(fd, buf, READ_SIZE)) > 0) {
        XXH3_64bits_update(state, buf, (size_t)got);
        size += (uint64_t)got;
    }
    ret = got < 0 ? -errno : 0;
    if (ret == 0) {
        *size_r = size;
        *hash_r = XXH3_64bits_digest(state);
    }
out:
    if (fd >= 0)
        close(fd);
    XXH3_freeState(state);
    free(buf);
    return ret;
}

int cache_file_record(struct cache_file *file, enum cache_state state)
{
    struct cache_record record = {.magic = CACHE_MAGIC, .format = CACHE_FORMAT, .state = state};

    memcpy(record.boot_id, file->boot_id, sizeof(record.boot_id));
    if (state == CACHE_STATE_CLOSED) {
        int ret = measure(file->path, &record.file_size, &record.file_hash);
        if (ret < 0)
            return ret;
    }
    record.checksum = record_checksum(&record);

    ssize_t put = pwrite(file->record_fd, &record, sizeof(record), 0);
    if (put < 0)
        return -errno;
    if ((size_t)put != sizeof(record))
        return -ENOSPC;
    return fdatasync(file->record_fd) < 0 ? -errno : 0;
}

/* A record of free pages: their number, then page numbers from high to low, maybe spare room. */
static bool lists_free_pages(const MDB_val *data)
{
    const size_t *list = data->mv_data;
    size_t words = data->mv_size / sizeof(*list);

    if (words == 0 || list[0] > words - 1)
        return false;
    for (size_t i = 2; i <= list[0]; i++)
        if (list[i] >= list[i - 1])
            return false;
    return true;
}

/* Looks at every page of TABLE. Are there as many records as it says? */
static bool can_be_walked(MDB_txn *txn, MDB_dbi table)
{
    MDB_cursor *cursor;
    MDB_val key, data;
    MDB_stat stat;
    size_t count = 0;
    int rc;

    if (mdb_stat(txn, table, &stat) != 0 || mdb_cursor_open(txn, table, &cursor) != 0)
        return false;
    while ((rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0 && count <= stat.ms_entries) {
        if (table == CACHE_TABLE_FREE && !lists_free_pages(&data))
            break;
        count++;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND && count == stat.ms_entries;
}

/* In the child: exits, or dies of the damage that it found. */
static _Noreturn void walk_and_exit(const char *path, size_t file_size)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_envinfo info;
    MDB_stat stat;
    struct cache_tables tables;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    signal(SIGALRM, SIG_DFL);
    alarm(TRIAL_SECONDS);
    int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null_fd >= 0)
        dup2(null_fd, STDERR_FILENO); /* LMDB prints the assertion that it dies of */

    unsigned flags = MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS;
    if (mdb_env_create(&env) != 0 || mdb_env_set_maxdbs(env, CACHE_TABLES) != 0 ||
        mdb_env_open(env, path, flags, 0) != 0 || mdb_env_info(env, &info) != 0 ||
        mdb_env_stat(env, &stat) != 0 || info.me_last_pgno >= file_size / stat.ms_psize ||
        mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0 || !can_be_walked(txn, CACHE_TABLE_FREE))
        _exit(1);
    int rc = cache_tables_open(txn, 0, &tables);
    if (rc == MDB_NOTFOUND) /* the process died between making the file and the tables */
        _exit(0);
    _exit(rc == 0 && can_be_walked(txn, tables.facts) && can_be_walked(txn, tables.pieces) &&
                  can_be_walked(txn, tables.order)
              ? 0
              : 1);
}

static bool survives_trial(const char *path, size_t file_size)
{
    int status = 0;
    pid_t reaped;

    pid_t child = fork();
    if (child < 0)
        return false;
    if (child == 0)
        walk_and_exit(path, file_size);
    do {
        reaped = waitpid(child, &status, 0);
    } while (reaped < 0 && errno == EINTR);
    return reaped == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static enum verdict judge(struct cache_file *file, size_t file_size, size_t size_limit, char *why,
                          size_t why_size)
{
    struct cache_record record;
    uint64_t size = 0, hash = 0;

    ssize_t got = pread(file->record_fd, &record, sizeof(record), 0);
    if (got != (ssize_t)sizeof(record) || record.magic != CACHE_MAGIC) {
        snprintf(why, why_size, "has no valid record beside it");
        return SET_ASIDE;
    }
    if (record.format != CACHE_FORMAT) {
        snprintf(why, why_size, "has format %u, not %u", record.format, CACHE_FORMAT);
        return SET_ASIDE;
    }
    if (record.checksum != record_checksum(&record)) {
        snprintf(why, why_size, "has a damaged record");
        return SET_ASIDE;
    }
    if (record.state != CACHE_STATE_CLOSED && record.state != CACHE_STATE_IN_USE) {
        snprintf(why, why_size, "was found damaged while in use");
        return SET_ASIDE;
    }
    if (record.state == CACHE_STATE_IN_USE &&
        (file->boot_id[0] == '\0' ||
         memcmp(record.boot_id, file->boot_id, sizeof(file->boot_id)) != 0)) {
        snprintf(why, why_size, "was in use when the machine went down");
        return DISCARD;
    }
    if (file_size > size_limit) {
        snprintf(why, why_size, "is larger than the limit of %zu bytes", size_limit);
        return DISCARD;
    }
    if (record.state == CACHE_STATE_IN_USE) {
        snprintf(why, why_size, "is damaged (after an unclean end)");
        bool is_sound = file_size == 0 || survives_trial(file->path, file_size);
        return is_sound ? KEEP : SET_ASIDE;
    }
    snprintf(why, why_size, "is damaged (not as it was when closed)");
    if (file_size != record.file_size || measure(file->path, &size, &hash) < 0 ||
        size != record.file_size || hash != record.file_hash)
        return SET_ASIDE;
    return KEEP;
}

int cache_file_set_aside(struct cache_file *file, const char *why)
{
    char text[CACHE_TEXT_SIZE];

    if (rename(file->path, file->damaged_path) < 0)
        return -errno;
    snprintf(text, sizeof(text), "cache '%s' %s: kept as '%s', starting with an empty one",
             file->path, why, CACHE_DAMAGED_NAME);
    file->log(file->log_arg, true, text);
    return 0;
}

static int discard(struct cache_file *file, const char *why)
{
    char text[CACHE_TEXT_SIZE];

    if (unlink(file->path) < 0)
        return -errno;
    snprintf(text, sizeof(text), "cache '%s' %s: starting with an empty one", file->path, why);
    file->log(file->log_arg, false, text);
    return 0;
}

/* Leaves no data file that may not be used. 0 or -errno. */
static int admit(struct cache_file *file, size_t size_limit)
{
    struct stat st;
    char why[128];

    if (lstat(file->path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISREG(st.st_mode))
        return cache_file_set_aside(file, "is not a regular file");
    switch (judge(file, (size_t)st.st_size, size_limit, why, sizeof(why))) {
    case DISCARD:
        return discard(file, why);
    case SET_ASIDE:
        return cache_file_set_aside(file, why);
    case KEEP:
        break;
    }
    return 0;
}

int cache_file_claim(struct cache_file *file, const char *dir, size_t size_limit,
                     const char *boot_id, cache_log_fn *log, void *log_arg)
{
    struct statfs fs;
    char record_path[PATH_MAX], lock_path[PATH_MAX];

    *file = (struct cache_file){.record_fd = -1, .log = log, .log_arg = log_arg};
    if (strlen(dir) + sizeof("/" CACHE_DAMAGED_NAME) > sizeof(file->damaged_path))
        return -ENAMETOOLONG;
    if (statfs(dir, &fs) < 0)
        return -errno;
    if (cache_fs_is_remote((uint32_t)fs.f_type))
        return -EREMOTE;
    snprintf(file->boot_id, sizeof(file->boot_id), "%s", boot_id);
    snprintf(file->path, sizeof(file->path), "%s/" CACHE_FILE_NAME, dir);
    snprintf(file->damaged_path, sizeof(file->damaged_path), "%s/" CACHE_DAMAGED_NAME, dir);
    snprintf(record_path, sizeof(record_path), "%s/" CACHE_RECORD_NAME, dir);
    snprintf(lock_path, sizeof(lock_path), "%s/" CACHE_FILE_NAME "-lock", dir);

    file->record_fd = open(record_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file->record_fd < 0)
        return -errno;
    int ret = 0;
    if (flock(file->record_fd, LOCK_EX | LOCK_NB) < 0)
        ret = errno == EWOULDBLOCK ? -EBUSY : -errno;
    if (ret == 0)
        ret = admit(file, size_limit);
    if (ret == 0) {
        unlink(lock_path); /* of a dead process: the flock() says that there is no other */
        ret = cache_file_record(file, CACHE_STATE_IN_USE);
    }
    if (ret < 0)
        cache_file_release(file);
    return ret;
}

void cache_file_release(struct cache_file *file)
{
    close(file->record_fd);
    file->record_fd = -1;
}
