#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "bridge/sources.h"

/* One record of the keys file in the making. */
struct keyed {
    struct span base;
    size_t start; /* of the keys, in new_keys.text */
    size_t len;
};

struct new_keys {
    struct keyed *records;
    size_t count;
    struct buf text;
    bool changed;
};

static void new_keys_release(struct new_keys *keys)
{
    free(keys->records);
    buf_release(&keys->text);
}

#define NEW_KEYS_AUTO __attribute__((cleanup(new_keys_release))) struct new_keys

/* Whether Courier's files have no place for this key of this message. */
static bool is_homeless(const struct sources *sources, const struct uid_claim *claim, char key,
                        struct span value)
{
    if (key == 'W' || key == 'S')
        return false; /* can be found out again */
    if (key == 'O')
        return !sources->present[SOURCE_SIZELIST];
    if (key != 'P')
        return true;
    if (sources_list_entry(sources, claim->base) != NULL)
        return false; /* Courier's UIDL counts */
    BUF_AUTO format = BUF_EMPTY;
    add_format_uidl(&format, claim->uid, sources->db.uidvalidity);
    return !span_equal(buf_span(&format), value);
}

/* Writes into KEYS what is to be kept for the claim: what was kept, changed by what it says. False
 * if that is no change. */
static bool merge_keys(const struct sources *sources, const struct uid_claim *claim,
                       struct span kept, struct buf *keys)
{
    bool changed = false;
    struct span rest = claim->keys;
    struct span value;
    struct span kept_value;
    char key;
    while (uidlist_next_key(&rest, &key, &value)) {
        if (!is_homeless(sources, claim, key, value))
            continue;
        if (!uidlist_find_key(kept, key, &kept_value) || !span_equal(kept_value, value))
            changed = true;
        uidlist_add_key(keys, 0, key, value);
    }
    rest = kept;
    while (uidlist_next_key(&rest, &key, &value)) {
        if (!uidlist_find_key(buf_span(keys), key, &kept_value))
            uidlist_add_key(keys, 0, key, value);
    }
    return changed;
}

static void set_record(struct new_keys *keys, size_t position, struct span base, struct span text)
{
    keys->records[position] = (struct keyed){base, keys->text.len, text.len};
    buf_add_span(&keys->text, text);
}

static int write_keys(struct mailbox *mailbox, struct sources *sources, const struct new_keys *keys)
{
    BUF_AUTO out = BUF_EMPTY;
    char guid[UIDLIST_GUID_LEN + 1];
    sources_guid(mailbox, sources, guid);
    uidlist_format_header(&out, &(struct uidlist_header){.uidvalidity = sources->db.uidvalidity,
                                                         .uidnext = sources->db.uidnext,
                                                         .guid = span_of(guid)});
    for (size_t i = 0; i < keys->count; i++) {
        const struct keyed *record = &keys->records[i];
        struct span text = span_make(keys->text.data + record->start, record->len);
        /* The number only counts the lines: records are found by base name. */
        uidlist_format_record(&out, &(struct uidlist_record){(uint32_t)i + 1, text, record->base});
    }
    int result = buf_error(&out);
    if (result < 0)
        return result;
    const struct stat *like = sources->present[SOURCE_KEYS]    ? &sources->st[SOURCE_KEYS]
                              : sources->present[SOURCE_UIDDB] ? &sources->st[SOURCE_UIDDB]
                                                               : NULL;
    result = home_replace(mailbox, KEYS_FILE, buf_span(&out), like, NULL, NULL, NULL);
    sources->parsed[SOURCE_KEYS] = false;
    if (result == 0) /* read again, and seen as changed, at the next refresh */
        sources->seen.hash[SOURCE_KEYS] = 0;
    return result;
}

static int copy_kept(const struct sources *sources, size_t room, struct new_keys *keys)
{
    const struct view *kept = &sources->keys;
    keys->records = calloc(kept->count + room + 1, sizeof(*keys->records));
    if (keys->records == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < kept->count; i++) {
        struct uidlist_record record = view_record_at(kept, i);
        set_record(keys, keys->count++, record.base, record.keys);
    }
    return 0;
}

int keys_record(struct mailbox *mailbox, struct sources *sources, const struct uid_claim *claims,
                size_t count)
{
    const struct view *kept = &sources->keys;
    NEW_KEYS_AUTO keys = {.text = BUF_EMPTY};
    BUF_AUTO merged = BUF_EMPTY;
    for (size_t i = 0; i < count; i++) {
        if (claims[i].keys.len == 0)
            continue;
        uint32_t position = base_map_find(&kept->bases, claims[i].base);
        struct span kept_keys = {0};
        if (position != BASE_MAP_NONE)
            kept_keys = view_record_at(kept, position).keys;
        buf_clear(&merged);
        if (!merge_keys(sources, &claims[i], kept_keys, &merged))
            continue;
        if (!keys.changed) {
            int result = copy_kept(sources, count, &keys);
            if (result < 0)
                return result;
            keys.changed = true;
        }
        set_record(&keys, position == BASE_MAP_NONE ? keys.count++ : position, claims[i].base,
                   buf_span(&merged));
    }
    if (!keys.changed)
        return 0;
    if (buf_error(&keys.text) < 0 || buf_error(&merged) < 0)
        return -ENOMEM;
    return write_keys(mailbox, sources, &keys);
}

static int rewrite_with_guid(struct mailbox *mailbox, struct sources *sources)
{
    NEW_KEYS_AUTO keys = {.text = BUF_EMPTY};
    int result = copy_kept(sources, 0, &keys);
    if (result == 0)
        result = buf_error(&keys.text);
    return result < 0 ? result : write_keys(mailbox, sources, &keys);
}

int keys_fix_guid(struct mailbox *mailbox, struct sources *sources)
{
    if (sources->keys.guid[0] != '\0' && sources->keys.uidvalidity == sources->db.uidvalidity)
        return 0;
    return rewrite_with_guid(mailbox, sources);
}

int keys_record_guid(struct mailbox *mailbox, struct sources *sources, struct span guid)
{
    char now[UIDLIST_GUID_LEN + 1];
    sources_guid(mailbox, sources, now);
    if (span_equals(guid, now))
        return 0;
    sources->parsed[SOURCE_KEYS] = false;
    memcpy(sources->keys.guid, guid.text, UIDLIST_GUID_LEN);
    sources->keys.guid[UIDLIST_GUID_LEN] = '\0';
    sources->keys.uidvalidity = sources->db.uidvalidity;
    return rewrite_with_guid(mailbox, sources);
}
