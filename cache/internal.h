/*
 * Between cache.c (entries), file.c (may this file be used?) and the unit test. Nobody else
 * includes this.
 */
#ifndef CACHE_INTERNAL_H
#define CACHE_INTERNAL_H

#include <limits.h>
#include <lmdb.h>
#include "cache.h"

#define CACHE_FILE_NAME "cache.mdb"
#define CACHE_RECORD_NAME "cache.record"
#define CACHE_DAMAGED_NAME "cache.damaged"

/* Raise CACHE_FORMAT with every change of what follows or of what callers' blobs are laid out in
 * such a way that their own signatures would not show it. */
#define CACHE_MAGIC UINT64_C(0x6563616373666f63)
#define CACHE_FORMAT 1

/*
 * The tables. Blobs are cut into pieces, two to a page. LMDB wants a larger value in consecutive
 * pages, which a full file does not have, and describes it in a page that no walk through the
 * table would look at. Pieces lie in the order in which blobs were stored, not in that of their
 * keys: so evicting what is oldest empties whole pages, where it would else only make every page a
 * little emptier.
 */
#define CACHE_TABLE_FACTS "facts"   /* cache_key -> cache_facts */
#define CACHE_TABLE_PIECES "pieces" /* cache_piece_key -> bytes */
#define CACHE_TABLE_ORDER "order"   /* uint64_t used_at -> cache_key, longest unused first */

struct cache_facts {
    uint64_t stored_at, used_at; /* of one counter, from 1 */
    uint64_t len;
    uint64_t checksum; /* XXH3-64 of the blob, seeded with the key: a strayed blob fails too */
};

struct cache_piece_key {
    uint64_t stored_at_be, number_be; /* big endian: the order of bytes is that of numbers */
};

_Static_assert(sizeof(struct cache_facts) == 32, "no padding in the file");
_Static_assert(sizeof(struct cache_piece_key) == 16, "no padding in the file");
_Static_assert(sizeof(size_t) == sizeof(uint64_t), "MDB_INTEGERKEY orders size_t");

#define CACHE_TABLES 3
#define CACHE_TABLE_FREE ((MDB_dbi)0) /* LMDB's own: transaction -> pages that it freed */

struct cache_tables {
    MDB_dbi facts, pieces, order;
};

/* Opens the three tables in TXN, with MDB_CREATE in FLAGS making them. Returns an LMDB code. */
int cache_tables_open(MDB_txn *txn, unsigned flags, struct cache_tables *tables);

/* Did this LMDB code come from a file that is not what LMDB left? */
bool cache_code_means_damage(int code);

/* What the record file says of the data file. */
enum cache_state {
    CACHE_STATE_IN_USE = 1, /* being written under boot_id, nothing known of the disk */
    CACHE_STATE_CLOSED,     /* synced; file_size and file_hash hold */
    CACHE_STATE_DAMAGED,    /* found to be damaged while in use */
};

#define CACHE_BOOT_ID_SIZE 40
#define CACHE_TEXT_SIZE (PATH_MAX + 256) /* of a log line */

struct cache_record {
    uint64_t magic;
    uint32_t format;
    uint32_t state;
    char boot_id[CACHE_BOOT_ID_SIZE];
    uint64_t file_size, file_hash;
    uint64_t checksum; /* XXH3-64 of all bytes before it */
};

_Static_assert(sizeof(struct cache_record) == 80, "no padding in the file");

struct cache_file {
    char path[PATH_MAX], damaged_path[PATH_MAX];
    char boot_id[CACHE_BOOT_ID_SIZE]; /* "" when unknown: then every unclean end is a crash */
    int record_fd;                    /* its flock() is what makes us the only user */
    cache_log_fn *log;
    void *log_arg;
};

/*
 * Takes DIR for us alone and leaves in it either a data file that LMDB may map, or none, and a
 * record that says IN_USE. FILE is filled in; cache_file_release() undoes it. Returns 0, or
 * -errno as cache_open() with nothing left open.
 */
int cache_file_claim(struct cache_file *file, const char *dir, size_t size_limit,
                     const char *boot_id, cache_log_fn *log, void *log_arg);

/* Renames the data file to "cache.damaged", with a log line that says WHY. Returns 0 or -errno. */
int cache_file_set_aside(struct cache_file *file, const char *why);

/* Writes STATE to the record, with the data file's size and hash if it is CLOSED. 0 or -errno. */
int cache_file_record(struct cache_file *file, enum cache_state state);

void cache_file_release(struct cache_file *file);

/* cache_open() with the boot id given. */
int cache_open_at_boot(const char *dir, size_t size_limit, const char *boot_id, cache_log_fn *log,
                       void *log_arg, struct cache **cache_r);

/* Is a file system with this statfs f_type none that LMDB may be used on? */
bool cache_fs_is_remote(uint32_t f_type);

#endif
