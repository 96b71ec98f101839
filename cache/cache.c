/*
 * Entries: reading, storing, forgetting. See cache.h for the contract and for what a crash does,
 * file.c for everything that happens before the file is mapped.
 *
 * Order of use. Each entry has a place in the table "order", numbered by a counter. A hit moves
 * its entry to the end only if a quarter of the entries could have been moved past it since, and
 * only if no other thread is writing: so what is in constant use is never written for it, and
 * eviction is right about the old half, which is all that it needs.
 *
 * Room. A page freed by one transaction can be used two transactions later, and only once no reader
 * looks at it any more; and freeing copies pages itself. So an eighth of the file stays free,
 * eviction goes in small transactions, and when LMDB says that it is full all the same, the change
 * is tried again after turning the freed pages over, a few times.
 */
#include "internal.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define PIECE_OVERHEAD 48 /* at least half the page header, with key, node and slot */
#define MAX_READERS 1024
#define PUT_TRIES 4
#define PAGES_FOR_TABLES 24 /* copied on the way to a leaf of each table, with one split each */
#define BATCH_MAX 512       /* pages that eviction frees ahead, entries that it removes at a time */

enum deed { READING, CHANGING, CHECKING };

static const char *const deed_text[] = {
    [READING] = "cannot read from",
    [CHANGING] = "cannot change",
    [CHECKING] = "dropped a damaged entry of",
};

struct cache {
    struct cache_file file;
    MDB_env *env;
    struct cache_tables tables;
    size_t size_limit, page_size, piece_max, pages, batch;
    pthread_mutex_t writing;  /* every write transaction; taken before all else */
    pthread_rwlock_t reading; /* shared: every read transaction; alone: there is none */
    atomic_uint_fast64_t next_use, hits, misses, evictions, errors;
    atomic_uint reported; /* bit DEED: its first error was logged */
    atomic_bool damaged;  /* then nothing touches the file any more */
};

bool cache_code_means_damage(int code)
{
    switch (code) {
    case MDB_PAGE_NOTFOUND:
    case MDB_CORRUPTED:
    case MDB_PANIC:
    case MDB_VERSION_MISMATCH:
    case MDB_INVALID:
    case MDB_CURSOR_FULL:
    case MDB_PAGE_FULL:
    case MDB_INCOMPATIBLE:
        return true;
    default:
        return false;
    }
}

static void report(struct cache *cache, enum deed deed, int code)
{
    char text[CACHE_TEXT_SIZE];

    atomic_fetch_add(&cache->errors, 1);
    if (cache_code_means_damage(code) && !atomic_exchange(&cache->damaged, true))
        cache_file_record(&cache->file, CACHE_STATE_DAMAGED);
    if (atomic_fetch_or(&cache->reported, 1u << deed) & (1u << deed))
        return;
    snprintf(text, sizeof(text), "%s cache '%s': %s%s", deed_text[deed], cache->file.path,
             mdb_strerror(code), atomic_load(&cache->damaged) ? ": cache switched off" : "");
    cache->file.log(cache->file.log_arg, true, text);
}

struct cache_key cache_key_of(const void *data, size_t len)
{
    XXH128_hash_t hash = XXH3_128bits(data, len);

    return (struct cache_key){.lo = hash.low64, .hi = hash.high64};
}

static uint64_t blob_checksum(struct cache_key key, const void *blob, size_t len)
{
    return XXH3_64bits_withSeed(blob, len, key.lo ^ key.hi);
}

static MDB_val val_of(const void *data, size_t len)
{
    return (MDB_val){.mv_size = len, .mv_data = (void *)data};
}

static struct cache_piece_key piece_key(const struct cache_facts *facts, uint64_t number)
{
    return (struct cache_piece_key){htobe64(facts->stored_at), htobe64(number)};
}

static int read_facts(struct cache *cache, MDB_txn *txn, struct cache_key key,
                      struct cache_facts *facts_r)
{
    MDB_val key_val = val_of(&key, sizeof(key)), data;

    int rc = mdb_get(txn, cache->tables.facts, &key_val, &data);
    if (rc == 0 && data.mv_size != sizeof(*facts_r))
        return MDB_CORRUPTED;
    if (rc == 0)
        memcpy(facts_r, data.mv_data, sizeof(*facts_r));
    return rc;
}

/* Returns an LMDB code, or EBADMSG when the pieces do not make up the blob. */
static int read_pieces(struct cache *cache, MDB_txn *txn, const struct cache_facts *facts,
                       char *blob)
{
    size_t got = 0;

    for (uint64_t i = 0; got < facts->len; i++) {
        struct cache_piece_key piece = piece_key(facts, i);
        MDB_val key_val = val_of(&piece, sizeof(piece)), data;
        int rc = mdb_get(txn, cache->tables.pieces, &key_val, &data);
        if (rc != 0)
            return rc == MDB_NOTFOUND ? EBADMSG : rc;
        if (data.mv_size == 0 || data.mv_size > facts->len - got)
            return EBADMSG;
        memcpy(blob + got, data.mv_data, data.mv_size);
        got += data.mv_size;
    }
    return 0;
}

static bool is_long_unused(struct cache *cache, MDB_txn *txn, const struct cache_facts *facts)
{
    MDB_stat stat;

    if (mdb_stat(txn, cache->tables.facts, &stat) != 0)
        return false;
    return atomic_load(&cache->next_use) - facts->used_at > stat.ms_entries / 4 + 1;
}

static int begin_read(struct cache *cache, MDB_txn **txn_r)
{
    pthread_rwlock_rdlock(&cache->reading);
    int rc = mdb_txn_begin(cache->env, NULL, MDB_RDONLY, txn_r);
    if (rc != 0)
        pthread_rwlock_unlock(&cache->reading);
    return rc;
}

static void end_read(struct cache *cache, MDB_txn *txn)
{
    mdb_txn_abort(txn);
    pthread_rwlock_unlock(&cache->reading);
}

/* Copies an entry out of a short read transaction. On failure nothing is left in *blob_r. */
static int read_entry(struct cache *cache, struct cache_key key, struct cache_facts *facts_r,
                      char **blob_r, bool *long_unused_r)
{
    MDB_txn *txn;
    char *blob = NULL;

    int rc = begin_read(cache, &txn);
    if (rc != 0)
        return rc;
    rc = read_facts(cache, txn, key, facts_r);
    if (rc == 0 && facts_r->len > cache->size_limit)
        rc = EBADMSG;
    if (rc == 0 && (blob = malloc(facts_r->len + 1)) == NULL)
        rc = ENOMEM;
    if (rc == 0)
        rc = read_pieces(cache, txn, facts_r, blob);
    if (rc == 0)
        *long_unused_r = is_long_unused(cache, txn, facts_r);
    end_read(cache, txn);

    if (rc == 0 && blob_checksum(key, blob, facts_r->len) != facts_r->checksum)
        rc = EBADMSG;
    if (rc != 0) {
        free(blob);
        return rc;
    }
    *blob_r = blob;
    return 0;
}

/* Moves KEY from its place in the order to the end of it. */
static int write_as_newest(struct cache *cache, MDB_txn *txn, struct cache_key key,
                           struct cache_facts *facts)
{
    MDB_val key_val = val_of(&key, sizeof(key)), data = val_of(facts, sizeof(*facts));
    MDB_val place = val_of(&facts->used_at, sizeof(facts->used_at));

    int rc = mdb_del(txn, cache->tables.order, &place, NULL);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    facts->used_at = atomic_fetch_add(&cache->next_use, 1);
    rc = mdb_put(txn, cache->tables.order, &place, &key_val, 0);
    return rc != 0 ? rc : mdb_put(txn, cache->tables.facts, &key_val, &data, 0);
}

/* Removes KEY, whole or in parts: 0 also when there was nothing. */
static int remove_entry(struct cache *cache, MDB_txn *txn, struct cache_key key)
{
    struct cache_facts facts;
    MDB_val key_val = val_of(&key, sizeof(key));
    MDB_val place = val_of(&facts.used_at, sizeof(facts.used_at));

    int rc = read_facts(cache, txn, key, &facts);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : rc;
    rc = mdb_del(txn, cache->tables.order, &place, NULL);
    if (rc == 0 || rc == MDB_NOTFOUND)
        rc = mdb_del(txn, cache->tables.facts, &key_val, NULL);
    for (uint64_t i = 0; rc == 0; i++) {
        struct cache_piece_key piece = piece_key(&facts, i);
        MDB_val piece_val = val_of(&piece, sizeof(piece));
        rc = mdb_del(txn, cache->tables.pieces, &piece_val, NULL);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int write_entry(struct cache *cache, MDB_txn *txn, struct cache_key key, const char *blob,
                       size_t len)
{
    struct cache_facts facts = {.len = len, .checksum = blob_checksum(key, blob, len)};
    size_t size;

    int rc = remove_entry(cache, txn, key);
    facts.stored_at = facts.used_at = atomic_fetch_add(&cache->next_use, 1);
    for (size_t at = 0; rc == 0 && at < len; at += size) {
        struct cache_piece_key piece = piece_key(&facts, at / cache->piece_max);
        size = len - at < cache->piece_max ? len - at : cache->piece_max;
        MDB_val key_val = val_of(&piece, sizeof(piece)), data = val_of(blob + at, size);
        rc = mdb_put(txn, cache->tables.pieces, &key_val, &data, MDB_APPEND);
    }
    return rc != 0 ? rc : write_as_newest(cache, txn, key, &facts);
}

static int end_write(MDB_txn *txn, int rc)
{
    if (rc == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

static int pages_used(struct cache *cache, MDB_txn *txn, size_t *pages_r)
{
    const MDB_dbi all[] = {CACHE_TABLE_FREE, cache->tables.facts, cache->tables.pieces,
                           cache->tables.order};
    size_t pages = 3; /* two heads and the list of tables */
    MDB_stat stat;

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        int rc = mdb_stat(txn, all[i], &stat);
        if (rc != 0)
            return rc;
        pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    }
    *pages_r = pages;
    return 0;
}

static int remove_longest_unused(struct cache *cache, MDB_txn *txn)
{
    MDB_cursor *cursor;
    MDB_val place, key_val;
    struct cache_key key;

    int rc = mdb_cursor_open(txn, cache->tables.order, &cursor);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(cursor, &place, &key_val, MDB_FIRST);
    if (rc == 0 && key_val.mv_size != sizeof(key))
        rc = MDB_CORRUPTED;
    if (rc == 0) {
        memcpy(&key, key_val.mv_data, sizeof(key));
        rc = mdb_cursor_del(cursor, 0);
    }
    mdb_cursor_close(cursor);
    return rc != 0 ? rc : remove_entry(cache, txn, key);
}

/* One transaction: evicts until GOAL pages are in use, a batch is gone or nothing is left. */
static int evict_some(struct cache *cache, size_t goal, size_t *used_r, size_t *evicted_r)
{
    MDB_txn *txn;

    *evicted_r = 0;
    int rc = mdb_txn_begin(cache->env, NULL, 0, &txn);
    if (rc != 0)
        return rc;
    rc = pages_used(cache, txn, used_r);
    while (rc == 0 && *used_r > goal && *evicted_r < cache->batch) {
        rc = remove_longest_unused(cache, txn);
        if (rc == 0) {
            (*evicted_r)++;
            rc = pages_used(cache, txn, used_r);
        }
    }
    return end_write(txn, rc == MDB_NOTFOUND ? 0 : rc);
}

/* Evicts until NEED pages fit below the mark, then a batch more for those who come next. */
static int make_room(struct cache *cache, size_t need)
{
    size_t goal = cache->pages - cache->pages / 8 - need, used, evicted;

    int rc = evict_some(cache, goal, &used, &evicted);
    goal -= evicted > 0 ? cache->batch : 0;
    while (rc == 0 && evicted > 0) {
        atomic_fetch_add(&cache->evictions, evicted);
        rc = evict_some(cache, goal, &used, &evicted);
    }
    return rc;
}

/* Commits two transactions that change nothing and are seen by all, so that every freed page can
 * be used. Waits for those who read; they only copy. */
static int turn_pages_over(struct cache *cache)
{
    uint64_t nowhere = 0;
    MDB_val place = val_of(&nowhere, sizeof(nowhere)), data = place;
    MDB_txn *txn;
    int rc = 0;

    pthread_rwlock_wrlock(&cache->reading);
    for (int i = 0; rc == 0 && i < 2; i++) {
        rc = mdb_txn_begin(cache->env, NULL, 0, &txn);
        if (rc != 0)
            break;
        rc = mdb_put(txn, cache->tables.order, &place, &data, 0);
        if (rc == 0)
            rc = mdb_del(txn, cache->tables.order, &place, NULL);
        rc = end_write(txn, rc);
    }
    pthread_rwlock_unlock(&cache->reading);
    return rc;
}

/* Makes KEY have BLOB, or nothing when BLOB is NULL, in one transaction that finds room. */
static void change(struct cache *cache, struct cache_key key, const void *blob, size_t len)
{
    size_t leaves = len / (2 * cache->piece_max) + 1;
    size_t need = leaves + leaves / 64 + PAGES_FOR_TABLES;
    MDB_txn *txn;
    int rc = MDB_MAP_FULL;

    if (atomic_load(&cache->damaged))
        return;
    pthread_mutex_lock(&cache->writing);
    for (int attempt = 0; rc == MDB_MAP_FULL && attempt < PUT_TRIES; attempt++) {
        rc = attempt == 0 ? 0 : turn_pages_over(cache);
        if (rc == 0)
            rc = make_room(cache, need + (size_t)attempt * cache->batch);
        if (rc == 0)
            rc = mdb_txn_begin(cache->env, NULL, 0, &txn);
        if (rc == 0)
            rc = end_write(txn, blob != NULL ? write_entry(cache, txn, key, blob, len)
                                             : remove_entry(cache, txn, key));
    }
    pthread_mutex_unlock(&cache->writing);
    if (rc != 0)
        report(cache, CHANGING, rc);
}

/* Moves KEY to the end of the order, unless that would have to wait or the entry has changed. */
static void note_use(struct cache *cache, struct cache_key key)
{
    struct cache_facts facts;
    MDB_txn *txn;

    if (pthread_mutex_trylock(&cache->writing) != 0)
        return;
    int rc = mdb_txn_begin(cache->env, NULL, 0, &txn);
    if (rc == 0) {
        rc = read_facts(cache, txn, key, &facts);
        if (rc == 0 && is_long_unused(cache, txn, &facts))
            rc = write_as_newest(cache, txn, key, &facts);
        rc = end_write(txn, rc);
    }
    pthread_mutex_unlock(&cache->writing);
    if (rc != 0 && rc != MDB_NOTFOUND && rc != MDB_MAP_FULL)
        report(cache, CHANGING, rc);
}

int cache_get(struct cache *cache, struct cache_key key, void **blob_r, size_t *len_r)
{
    struct cache_facts facts;
    char *blob = NULL;
    bool long_unused = false;

    int rc = MDB_NOTFOUND;
    if (!atomic_load(&cache->damaged))
        rc = read_entry(cache, key, &facts, &blob, &long_unused);
    if (rc != 0) {
        atomic_fetch_add(&cache->misses, 1);
        if (rc != MDB_NOTFOUND)
            report(cache, rc == EBADMSG ? CHECKING : READING, rc);
        if (rc == EBADMSG)
            cache_drop(cache, key);
        return 0;
    }
    atomic_fetch_add(&cache->hits, 1);
    if (long_unused)
        note_use(cache, key);
    *blob_r = blob;
    *len_r = facts.len;
    return 1;
}

void cache_put(struct cache *cache, struct cache_key key, const void *blob, size_t len)
{
    if (len > cache->size_limit / 4)
        cache_drop(cache, key);
    else
        change(cache, key, len > 0 ? blob : "", len);
}

void cache_drop(struct cache *cache, struct cache_key key)
{
    change(cache, key, NULL, 0);
}

void cache_figures(struct cache *cache, struct cache_figures *figures_r)
{
    MDB_stat stat = {0};
    MDB_txn *txn;
    size_t pages = 0;

    if (!atomic_load(&cache->damaged) && begin_read(cache, &txn) == 0) {
        int rc = mdb_stat(txn, cache->tables.facts, &stat);
        if (rc == 0)
            rc = pages_used(cache, txn, &pages);
        end_read(cache, txn);
        if (rc != 0)
            report(cache, READING, rc);
    }
    *figures_r = (struct cache_figures){
        .entries = stat.ms_entries,
        .bytes_used = pages * cache->page_size,
        .size_limit = cache->size_limit,
        .hits = atomic_load(&cache->hits),
        .misses = atomic_load(&cache->misses),
        .evictions = atomic_load(&cache->evictions),
        .errors = atomic_load(&cache->errors),
    };
}

int cache_tables_open(MDB_txn *txn, unsigned flags, struct cache_tables *tables)
{
    int rc = mdb_dbi_open(txn, CACHE_TABLE_FACTS, flags, &tables->facts);
    if (rc == 0)
        rc = mdb_dbi_open(txn, CACHE_TABLE_PIECES, flags, &tables->pieces);
    if (rc == 0)
        rc = mdb_dbi_open(txn, CACHE_TABLE_ORDER, flags | MDB_INTEGERKEY, &tables->order);
    return rc;
}

/* Opens the tables and finds out where the order of use ends. */
static int open_tables(struct cache *cache)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val place, key_val;
    uint64_t last_use = 0;

    int rc = mdb_txn_begin(cache->env, NULL, 0, &txn);
    if (rc != 0)
        return rc;
    rc = cache_tables_open(txn, MDB_CREATE, &cache->tables);
    if (rc == 0)
        rc = mdb_cursor_open(txn, cache->tables.order, &cursor);
    if (rc == 0) {
        rc = mdb_cursor_get(cursor, &place, &key_val, MDB_LAST);
        if (rc == 0)
            memcpy(&last_use, place.mv_data, sizeof(last_use));
        mdb_cursor_close(cursor);
    }
    atomic_store(&cache->next_use, last_use + 1);
    return end_write(txn, rc == MDB_NOTFOUND ? 0 : rc);
}

/* Returns an LMDB code, with cache->env closed and NULL on failure. */
static int open_env(struct cache *cache)
{
    const unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NOSYNC | MDB_NOMETASYNC;
    MDB_stat stat;
    int dead;

    int rc = mdb_env_create(&cache->env);
    if (rc != 0)
        return rc;
    rc = mdb_env_set_maxdbs(cache->env, CACHE_TABLES);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(cache->env, MAX_READERS);
    if (rc == 0)
        rc = mdb_env_set_mapsize(cache->env, cache->size_limit);
    if (rc == 0)
        rc = mdb_env_open(cache->env, cache->file.path, flags, 0600);
    if (rc == 0)
        rc = mdb_reader_check(cache->env, &dead);
    if (rc == 0)
        rc = mdb_env_stat(cache->env, &stat);
    if (rc == 0)
        rc = open_tables(cache);
    if (rc != 0) {
        mdb_env_close(cache->env);
        cache->env = NULL;
        return rc;
    }
    cache->page_size = stat.ms_psize;
    cache->piece_max = stat.ms_psize / 2 - PIECE_OVERHEAD;
    cache->pages = cache->size_limit / stat.ms_psize;
    cache->batch = cache->pages / 64 < BATCH_MAX ? cache->pages / 64 : BATCH_MAX;
    return 0;
}

static void make_locks(struct cache *cache)
{
    pthread_rwlockattr_t attr;

    pthread_mutex_init(&cache->writing, NULL);
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&cache->reading, &attr);
    pthread_rwlockattr_destroy(&attr);
}

int cache_open_at_boot(const char *dir, size_t size_limit, const char *boot_id, cache_log_fn *log,
                       void *log_arg, struct cache **cache_r)
{
    if (size_limit < CACHE_SIZE_MIN)
        return -EINVAL;
    struct cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL)
        return -ENOMEM;
    cache->size_limit = size_limit - size_limit % (size_t)sysconf(_SC_PAGESIZE);

    int ret = cache_file_claim(&cache->file, dir, cache->size_limit, boot_id, log, log_arg);
    if (ret < 0) {
        free(cache);
        return ret;
    }
    int rc = open_env(cache);
    if (cache_code_means_damage(rc) && cache_file_set_aside(&cache->file, mdb_strerror(rc)) == 0)
        rc = open_env(cache);
    if (rc != 0) {
        cache_file_release(&cache->file);
        free(cache);
        return rc > 0 ? -rc : -EIO;
    }
    make_locks(cache);
    *cache_r = cache;
    return 0;
}

int cache_open(const char *dir, size_t size_limit, cache_log_fn *log, void *log_arg,
               struct cache **cache_r)
{
    char boot_id[CACHE_BOOT_ID_SIZE] = "";

    FILE *boot = fopen(BOOT_ID_PATH, "re");
    if (boot != NULL) {
        if (fgets(boot_id, sizeof(boot_id), boot) == NULL)
            boot_id[0] = '\0';
        fclose(boot);
    }
    return cache_open_at_boot(dir, size_limit, boot_id, log, log_arg, cache_r);
}

void cache_close(struct cache *cache)
{
    char text[CACHE_TEXT_SIZE];

    if (cache == NULL)
        return;
    int rc = atomic_load(&cache->damaged) ? 0 : mdb_env_sync(cache->env, 1);
    mdb_env_close(cache->env);
    if (rc == 0 && !atomic_load(&cache->damaged))
        rc = -cache_file_record(&cache->file, CACHE_STATE_CLOSED);
    if (rc != 0) {
        snprintf(text, sizeof(text), "cannot close cache '%s' cleanly: %s", cache->file.path,
                 mdb_strerror(rc));
        cache->file.log(cache->file.log_arg, true, text);
    }
    cache_file_release(&cache->file);
    pthread_mutex_destroy(&cache->writing);
    pthread_rwlock_destroy(&cache->reading);
    free(cache);
}
