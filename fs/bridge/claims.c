/* Claims against the uid database: the rules are in record.c's essay. Pure bookkeeping. */
#include <errno.h>
#include <stdlib.h>
#include "base/log.h"
#include "bridge/sources.h"

/* The work on one batch. */
struct merging {
    const struct mailbox *mailbox;
    struct uiddb *db;
    struct base_map known;       /* positions in db->lines */
    uint32_t first_free;         /* NEXTUID before the batch */
    uint32_t first_of_this_lock; /* UIDs from here on were given out under the lock held now */
    struct claims_merged *merged;
};

static struct span line_base(const void *owner, uint32_t position)
{
    const struct uiddb *db = owner;
    return db->lines[position].base;
}

static int compare_lines(const void *a, const void *b)
{
    const struct uiddb_line *x = a;
    const struct uiddb_line *y = b;
    return x->uid < y->uid ? -1 : x->uid > y->uid;
}

/* Whether the claim repeats a line that was shown. */
static bool is_dead_line(const struct mailbox *mailbox, const struct uid_claim *claim)
{
    struct uidlist_record shown;
    return view_find_uid(&mailbox->view, claim->uid, &shown) && span_equal(shown.base, claim->base);
}

static void refuse(struct merging *merging, const struct uid_claim *claim, uint32_t known)
{
    merging->merged->refused++;
    if (known != 0)
        log_warning("'%s': refused UID %u for '%.*s': it has UID %u and the next one is %u",
                    merging->mailbox->path, claim->uid, SPAN_FMT(claim->base), known,
                    merging->first_free);
    else
        log_warning("'%s': refused UID %u for '%.*s': the next one is %u", merging->mailbox->path,
                    claim->uid, SPAN_FMT(claim->base), merging->first_free);
}

/* Whether a message with the UID KNOWN (0 = none) may have the claimed one. */
static bool may_have(const struct merging *merging, uint32_t claimed, uint32_t known)
{
    if (claimed > UIDDB_HIGHEST_UID)
        return false;
    if (claimed >= merging->first_free)
        return true;
    uint32_t first = merging->first_of_this_lock;
    return claimed >= first && (known == 0 || known >= first);
}

static int merge_one(struct merging *merging, const struct uid_claim *claim)
{
    struct uiddb *db = merging->db;
    uint32_t position = base_map_find(&merging->known, claim->base);
    uint32_t known = position == BASE_MAP_NONE ? 0 : db->lines[position].uid;
    if (known == claim->uid)
        return 0;
    if (!may_have(merging, claim->uid, known)) {
        if (known != 0 || !is_dead_line(merging->mailbox, claim))
            refuse(merging, claim, known);
        return 0;
    }
    if (claim->uid >= db->uidnext)
        db->uidnext = claim->uid + 1;
    if (known == 0) {
        db->lines[db->count] = (struct uiddb_line){claim->uid, claim->base};
        merging->merged->added++;
        return base_map_put(&merging->known, (uint32_t)db->count++);
    }
    if (known < merging->first_of_this_lock)
        log_info("'%s': '%.*s' moves from UID %u to %u, as Dovecot had expunged it",
                 merging->mailbox->path, SPAN_FMT(claim->base), known, claim->uid);
    db->lines[position].uid = claim->uid;
    merging->merged->moved++;
    return 0;
}

static int compare_claim(const void *key, const void *claim)
{
    uint32_t uid = *(const uint32_t *)key;
    const struct uid_claim *other = claim;
    return uid < other->uid ? -1 : uid > other->uid;
}

/* A line of this lock that had been given a UID which a claim now took for another message gets a new
 * one. */
static void settle_clashes(struct uiddb *db, const struct uid_claim *claims, size_t count)
{
    bool clashed = false;
    for (size_t i = 1; i < db->count; i++) {
        if (db->lines[i].uid != db->lines[i - 1].uid)
            continue;
        const struct uid_claim *claim =
            bsearch(&db->lines[i].uid, claims, count, sizeof(*claims), compare_claim);
        bool first_is_claimed = claim != NULL && span_equal(claim->base, db->lines[i - 1].base);
        db->lines[first_is_claimed ? i : i - 1].uid = db->uidnext++;
        clashed = true;
    }
    if (clashed)
        qsort(db->lines, db->count, sizeof(*db->lines), compare_lines);
}

int claims_merge(const struct mailbox *mailbox, struct uiddb *db, const struct uid_claim *claims,
                 size_t count, struct claims_merged *merged_r)
{
    *merged_r = (struct claims_merged){0};
    struct uiddb_line *lines = realloc(db->lines, (db->count + count + 1) * sizeof(*lines));
    if (lines == NULL)
        return -ENOMEM;
    db->lines = lines;
    struct merging merging = {
        .mailbox = mailbox,
        .db = db,
        .first_free = db->uidnext,
        .first_of_this_lock =
            mailbox->lock.first_next != 0 ? mailbox->lock.first_next : db->uidnext,
        .merged = merged_r,
    };
    int result = base_map_init(&merging.known, db->count + count, line_base, db);
    for (size_t i = 0; result == 0 && i < db->count; i++)
        result = base_map_put(&merging.known, (uint32_t)i);
    for (size_t i = 0; result == 0 && i < count; i++)
        result = merge_one(&merging, &claims[i]);
    base_map_release(&merging.known);
    if (result == 0 && merged_r->added + merged_r->moved > 0) {
        qsort(db->lines, db->count, sizeof(*db->lines), compare_lines);
        settle_clashes(db, claims, count);
    }
    return result;
}
