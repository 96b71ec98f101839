#include "bridge/sources.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "courier/name.h"

/* What was parsed is kept so long for whoever asks next. */
#define KEPT_MILLISECONDS 3000

const char *source_name(enum source_kind kind)
{
    static const char *const names[SOURCE_COUNT] = {
        [SOURCE_UIDDB] = "courierimapuiddb",
        [SOURCE_SIZELIST] = "courierpop3dsizelist",
        [SOURCE_KEYS] = KEYS_FILE,
    };
    return names[kind];
}

/* Damage is told once for each content of a file. */
struct listener {
    const struct mailbox *mailbox;
    const char *file;
    bool told;
    unsigned count;
    char last[512]; /* the last complaint, for the case that the mailbox is refused for it */
};

#define TEXT_SHOWN 100
/* Lines of one file that are told of. */
#define TOLD_AT_MOST 20

static void say_damage(void *arg, unsigned line, struct span text, const char *why)
{
    struct listener *listener = arg;
    char shown[TEXT_SHOWN + 1];
    size_t len = text.len < TEXT_SHOWN ? text.len : TEXT_SHOWN;
    for (size_t i = 0; i < len; i++)
        shown[i] = text.text[i] >= ' ' && text.text[i] != 0x7f ? text.text[i] : '?';
    shown[len] = '\0';
    snprintf(listener->last, sizeof(listener->last), "'%s/%s' line %u: %s: '%s'",
             listener->mailbox->path, listener->file, line, why, shown);
    listener->count++;
    if (!listener->told && listener->count <= TOLD_AT_MOST)
        log_warning("%s%s", listener->last,
                    listener->count == TOLD_AT_MOST ? " (no more of this file)" : "");
}

static struct span list_name(const void *owner, uint32_t position)
{
    const struct sizelist *list = owner;
    return name_base(list->entries[position].name);
}

/* Those of LIST's entries that are not in NAMES yet, from FROM on. 0 or -ENOMEM. */
static int map_entries(struct base_map *names, const struct sizelist *list, size_t from)
{
    int result = 0;
    for (size_t i = from; result == 0 && i < list->count; i++)
        result = base_map_put(names, (uint32_t)i);
    return result;
}

static int parse_sizelist(struct sources *sources, const struct complaints *complaints)
{
    int result =
        sizelist_parse(buf_span(&sources->text[SOURCE_SIZELIST]), complaints, &sources->list);
    if (result == -EUCLEAN) {
        /* Courier discards it too; whoever enters messages writes a new one. */
        sources->present[SOURCE_SIZELIST] = false;
        return 0;
    }
    if (result == 0)
        result =
            base_map_init(&sources->list_names, sources->list.count, list_name, &sources->list);
    return result < 0 ? result : map_entries(&sources->list_names, &sources->list, 0);
}

static int parse_source(struct mailbox *mailbox, struct sources *sources, enum source_kind kind)
{
    struct listener listener = {.mailbox = mailbox,
                                .file = source_name(kind),
                                .told = mailbox->told[kind] == sources->seen.hash[kind]};
    struct complaints complaints = {say_damage, &listener};
    mailbox->told[kind] = sources->seen.hash[kind];
    int result = 0;
    switch (kind) {
    case SOURCE_UIDDB:
        result = uiddb_parse(buf_span(&sources->text[kind]), &complaints, &sources->db);
        if (result == -EUCLEAN) {
            mailbox_refuse(mailbox, listener.last);
            return -EIO;
        }
        break;
    case SOURCE_SIZELIST:
        result = parse_sizelist(sources, &complaints);
        break;
    case SOURCE_KEYS:
        result = view_init(&sources->keys, &sources->text[kind]);
        if (result == -EUCLEAN) {
            mailbox_refuse(mailbox, KEYS_FILE " is damaged");
            return -EIO;
        }
        break;
    case SOURCE_COUNT:
        break;
    }
    return result;
}

static void forget_parsed(struct sources *sources, enum source_kind kind)
{
    sources->parsed[kind] = false;
    if (kind == SOURCE_UIDDB)
        uiddb_release(&sources->db);
    if (kind == SOURCE_KEYS)
        view_release(&sources->keys);
    if (kind == SOURCE_SIZELIST) {
        base_map_release(&sources->list_names);
        sizelist_release(&sources->list);
    }
    buf_release(&sources->text[kind]);
}

/* It is there, and was seen as sources->st says. */
static void note_seen(struct mailbox *mailbox, struct sources *sources, enum source_kind kind)
{
    sources->present[kind] = true;
    sources->seen.signature[kind] = signature_of_stat(&sources->st[kind]);
    signature_settle(&sources->seen.signature[kind], lock_store_time(mailbox));
    if (kind == SOURCE_UIDDB)
        sources->uiddb_under = mailbox->lock.held ? mailbox->lock.number : 0;
}

/* Whether what was parsed is surely what is there now. */
static bool is_as_parsed(struct mailbox *mailbox, struct sources *sources, enum source_kind kind)
{
    const struct signature *then = &sources->seen.signature[kind];
    bool same_lock =
        kind == SOURCE_UIDDB && mailbox->lock.held && sources->uiddb_under == mailbox->lock.number;
    if (!sources->parsed[kind] || !(then->settled || same_lock) ||
        mailbox->bridge->home != mailbox->bridge->store)
        return false;
    BUF_AUTO path = BUF_EMPTY;
    struct stat st;
    int result = store_join(&path, mailbox->path, source_name(kind));
    if (result == 0)
        result = store_stat_now(mailbox->bridge->store, path.data, &st);
    if (result < 0)
        return false; /* who reads it meets the same, and knows what to do */
    const struct signature now = signature_of_stat(&st);
    if (!signature_same(then, &now))
        return false;
    sources->st[kind] = st;
    note_seen(mailbox, sources, kind);
    return true;
}

/* TEXT becomes the source's, unless it is what the source has. */
static int take_text(struct mailbox *mailbox, struct sources *sources, enum source_kind kind,
                     struct buf *text)
{
    note_seen(mailbox, sources, kind);
    if (sources->parsed[kind] && span_equal(buf_span(&sources->text[kind]), buf_span(text)))
        return 0;
    forget_parsed(sources, kind);
    sources->text[kind] = *text;
    *text = BUF_EMPTY;
    text = &sources->text[kind];
    sources->seen.hash[kind] = XXH3_64bits(text->data == NULL ? "" : text->data, text->len);
    int result = parse_source(mailbox, sources, kind);
    sources->parsed[kind] = result == 0 && sources->present[kind];
    return result;
}

static int load_source(struct mailbox *mailbox, struct sources *sources, enum source_kind kind)
{
    BUF_AUTO text = BUF_EMPTY;
    if (is_as_parsed(mailbox, sources, kind))
        return 0;
    int result = home_read(mailbox, source_name(kind), &text, &sources->st[kind]);
    if (result == 0)
        return take_text(mailbox, sources, kind, &text);
    forget_parsed(sources, kind);
    sources->seen.signature[kind] = SIGNATURE_ABSENT;
    sources->seen.hash[kind] = 0;
    if (result == -ENOENT)
        return 0;
    if (result == -EINVAL || result == -ELOOP || result == -EFBIG) {
        mailbox_refuse(mailbox, "a control file of Courier's is not a regular file");
        return -EIO;
    }
    return result;
}

int sources_load(struct mailbox *mailbox, struct sources **sources_r)
{
    struct sources *sources = mailbox->sources;
    mailbox->sources = NULL;
    if (sources == NULL)
        sources = calloc(1, sizeof(*sources));
    *sources_r = sources;
    if (sources == NULL)
        return -ENOMEM;
    sources->mailbox = mailbox;
    memset(sources->present, 0, sizeof(sources->present));
    int result = 0;
    for (int kind = 0; kind < SOURCE_COUNT && result == 0; kind++)
        result = load_source(mailbox, sources, (enum source_kind)kind);
    if (result == 0 && mailbox->refused != NULL) {
        log_info("'%s': mailbox is served again", mailbox->path);
        free(steal_pointer(&mailbox->refused));
    }
    return result;
}

void sources_free(struct sources *sources)
{
    if (sources == NULL)
        return;
    for (int kind = 0; kind < SOURCE_COUNT; kind++)
        forget_parsed(sources, (enum source_kind)kind);
    free(sources);
}

void sources_give_back(struct sources **sources_at)
{
    struct sources *sources = *sources_at;
    if (sources == NULL)
        return;
    struct mailbox *mailbox = sources->mailbox;
    if (sources->must_write)
        forget_parsed(sources, SOURCE_UIDDB);
    sources->must_write = false;
    sources_free(mailbox->sources);
    mailbox->sources = sources;
    mailbox->sources_used_at = clock_milliseconds();
    *sources_at = NULL;
}

void sources_list_written(struct sources *sources, const struct sizelist *list, struct buf *text,
                          const struct sizelist_entry *more, size_t count)
{
    struct buf *own = &sources->text[SOURCE_SIZELIST];
    size_t before = sources->list.count;
    sources->seen.hash[SOURCE_SIZELIST] = XXH3_64bits(text->data, text->len);
    if (!sources->parsed[SOURCE_SIZELIST] ||
        sizelist_extend(&sources->list, buf_span(own), buf_span(text), more, count) < 0) {
        forget_parsed(sources, SOURCE_SIZELIST);
        return;
    }
    sources->list.next = list->next;
    sources->list.uidvalidity = list->uidvalidity;
    buf_release(own);
    *own = *text;
    *text = BUF_EMPTY;
    /* The file's own times are not known: it is read again, and compared. */
    sources->seen.signature[SOURCE_SIZELIST].settled = false;
    if (map_entries(&sources->list_names, &sources->list, before) < 0)
        forget_parsed(sources, SOURCE_SIZELIST);
}

size_t sources_memory(const struct sources *sources)
{
    if (sources == NULL)
        return 0;
    size_t bytes =
        sizeof(*sources) + sources->db.count * sizeof(*sources->db.lines) +
        sources->list.count * sizeof(*sources->list.entries) +
        (sources->list_names.slot_count + sources->keys.bases.slot_count) * sizeof(uint32_t) +
        sources->keys.capacity * sizeof(struct view_record);
    for (int kind = 0; kind < SOURCE_COUNT; kind++)
        bytes += sources->text[kind].capacity;
    return bytes;
}

void sources_forget(struct mailbox *mailbox, bool now)
{
    if (now || clock_milliseconds() - mailbox->sources_used_at >= KEPT_MILLISECONDS) {
        sources_free(mailbox->sources);
        mailbox->sources = NULL;
    }
}

int sources_changed(struct mailbox *mailbox, bool *changed_r)
{
    *changed_r = false;
    for (int kind = 0; kind < SOURCE_COUNT; kind++) {
        struct signature now;
        int result = home_signature(mailbox, source_name((enum source_kind)kind), &now);
        if (result < 0)
            return result;
        if (!signature_unchanged(&mailbox->seen.signature[kind], &now))
            *changed_r = true;
    }
    return 0;
}

void sources_guid(const struct mailbox *mailbox, const struct sources *sources, char *out)
{
    if (sources->keys.guid[0] != '\0' && sources->keys.uidvalidity == sources->db.uidvalidity) {
        memcpy(out, sources->keys.guid, UIDLIST_GUID_LEN + 1);
        return;
    }
    BUF_AUTO seed = BUF_EMPTY;
    buf_printf(&seed, "courierfs mailbox %u %s", sources->db.uidvalidity, mailbox->path);
    XXH128_hash_t hash = XXH3_128bits(seed.data == NULL ? "" : seed.data, seed.len);
    snprintf(out, UIDLIST_GUID_LEN + 1, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
}

const struct sizelist_entry *sources_list_entry(const struct sources *sources, struct span base)
{
    uint32_t position = base_map_find(&sources->list_names, base);
    return position == BASE_MAP_NONE ? NULL : &sources->list.entries[position];
}
