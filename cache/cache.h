/*
 * The cache: opaque blobs under 128-bit keys, kept in LMDB in a node-local directory.
 *
 * It is removable. Every error in here is at worst a miss, told once through the log callback and
 * counted in the figures; it never becomes an error of the caller's work. Losing the whole file
 * loses nothing but time.
 *
 * Any thread may call any function on an open cache at the same time, except cache_close(). The
 * process must not fork and go on using the cache in the child.
 *
 * Why LMDB. Reads do not wait for writers, copy straight out of the page cache and survive the
 * death of the process at any instruction; there is no recovery to run, no log to replay and no
 * memory of our own to size: the kernel gives the pages back when something better needs them. (One
 * lock of ours stands around reads all the same: a nearly full file has to outwait them now and
 * then.)
 *
 * Why the signature lives in the blob. Whether an entry is still true depends on the inode, size
 * and times of files that only the caller knows how to ask for. The cache would have to carry the
 * signature and compare it without understanding it; so the caller puts it at the head of the
 * blob, compares it itself, and this room has one notion of "valid": the bytes are those that
 * were stored.
 *
 * What a crash does.
 *  - Of the process: nothing. Pages are written with pwrite() before the page that makes them
 *    current, and the page cache outlives us. The next cache_open() first lets a child process
 *    walk the file, because whatever crashed us may have written into it, and LMDB answers a
 *    damaged page with a fault, not with an error code.
 *  - Of the machine: the file is thrown away. Nothing is synced while in use, so the order in
 *    which pages reached the disk is unknown and the file may be torn anywhere. The record file
 *    beside it holds "in use since boot X"; another boot id at the next open means that.
 *  - After cache_close() the record holds size and hash of the synced file, so damage of any kind
 *    while nobody used it is seen before LMDB maps a byte. That reads the whole file once per
 *    start: sequentially, and into the page cache, where it is wanted anyway.
 *  - What is not covered: a file truncated, or a disk failing, under a running daemon is SIGBUS.
 */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CACHE_SIZE_MIN ((size_t)1 << 20)

struct cache;

/*
 * Takes one line of TEXT without newline; TEXT is gone after the call. Called from whichever
 * thread met the event, possibly with locks of the cache held: it must not call the cache.
 */
typedef void cache_log_fn(void *arg, bool is_error, const char *text);

/*
 * Opens the cache in the existing directory DIR, making it if there is none. Its file never grows
 * beyond SIZE_LIMIT bytes (at least CACHE_SIZE_MIN). A file that is damaged or was made by another
 * format is renamed to "cache.damaged" in DIR (the previous one of that name goes) and a new one
 * made, with one log line.
 *
 * May fork a short-lived child and wait for it: call this before starting threads.
 *
 * Returns 0, or with *cache_r untouched and nothing left open:
 *   -EREMOTE  DIR is on a remote or FUSE file system
 *   -EBUSY    another process (or this one) has this cache open
 *   -EINVAL   SIZE_LIMIT is too small
 *   another -errno from making or opening the files
 */
int cache_open(const char *dir, size_t size_limit, cache_log_fn *log, void *log_arg,
               struct cache **cache_r);

/*
 * Syncs, marks the file as cleanly closed and frees CACHE. No other thread may be inside any
 * function of this cache. NULL is allowed.
 */
void cache_close(struct cache *cache);

struct cache_key {
    uint64_t lo, hi;
};

/* XXH3-128 of the LEN bytes that identify an entry. */
struct cache_key cache_key_of(const void *data, size_t len);

/*
 * Returns 1 when KEY is there: *blob_r is a malloc'ed copy of *len_r bytes that the caller frees
 * (never NULL, also when *len_r is 0). Returns 0 on a miss, with both untouched. Never negative.
 * The copy has passed its checksum.
 */
int cache_get(struct cache *cache, struct cache_key key, void **blob_r, size_t *len_r);

/*
 * Stores a copy of LEN bytes under KEY in place of what was there, evicting the longest unused
 * entries to make room. A blob larger than a quarter of the limit is not stored, and what KEY had
 * is dropped. Best effort: afterwards KEY has the new blob, the old one, or none.
 */
void cache_put(struct cache *cache, struct cache_key key, const void *blob, size_t len);

/* Removes KEY if it is there. */
void cache_drop(struct cache *cache, struct cache_key key);

/* entries and bytes_used (pages in use, with overhead) describe the file, the rest this opening. */
struct cache_figures {
    uint64_t entries, bytes_used, size_limit, hits, misses, evictions, errors;
};

void cache_figures(struct cache *cache, struct cache_figures *figures_r);

#endif
