/* Dovecot's files against Courier's. UIDs and UIDLs are compared as the two formats' parsers read them,
 * without the code that made the one from the other. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/sort.h"
#include "bridge/aside.h"
#include "bridge/convert.h"
#include "bridge/cur_names.h"
#include "bridge/sources.h"
#include "courier/name.h"
#include "dovecot/acl.h"
#include "dovecot/letters.h"
#include "dovecot/subscriptions.h"

struct comparison {
    struct mailbox *mailbox;
    void (*tell)(void *arg, const char *text);
    void *arg;
    struct verification *found;
    struct buf list_text;
    struct view list; /* Dovecot's */
    struct sources *courier;
    struct dir_list cur;
};

static void comparison_release(struct comparison *comparison)
{
    view_release(&comparison->list);
    buf_release(&comparison->list_text);
    sources_free(comparison->courier);
    dir_list_release(&comparison->cur);
}

#define COMPARISON_AUTO __attribute__((cleanup(comparison_release))) struct comparison

__attribute__((format(printf, 2, 3))) static void differs(struct comparison *comparison,
                                                          const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    comparison->found->differences++;
    comparison->tell(comparison->arg, text);
}

/* ---- where Courier's files are --------------------------------------------------------------- */

/* Until the end: the mailbox of the files set aside, which has no messages. NULL without memory, or if
 * nothing is set aside: then its own files are meant, and nothing changes. */
static char *look_aside(struct mailbox *mailbox, bool converted)
{
    BUF_AUTO path = BUF_EMPTY;
    if (!converted || store_join(&path, mailbox->path, ASIDE_DIRECTORY) < 0)
        return NULL;
    char *own = mailbox->path;
    mailbox->path = steal_pointer(&path.data);
    path = BUF_EMPTY;
    return own;
}

static void look_back(struct mailbox *mailbox, char *own)
{
    if (own == NULL)
        return;
    free(mailbox->path);
    mailbox->path = own;
}

/* ---- UIDs ------------------------------------------------------------------------------------ */

static const struct dir_entry *file_of(const struct comparison *comparison, struct span base)
{
    return dir_list_find_base(&comparison->cur, base);
}

static void compare_uids(struct comparison *comparison)
{
    const struct uiddb *db = &comparison->courier->db;
    const struct view *list = &comparison->list;
    if (db->uidvalidity != list->uidvalidity) {
        differs(comparison, "UIDVALIDITY is %u, Courier's is %u", list->uidvalidity,
                db->uidvalidity);
        return;
    }
    if (view_implied_next(list) < db->uidnext)
        differs(comparison, "the next UID is %u, Courier's is %u", view_implied_next(list),
                db->uidnext);
    for (size_t i = 0; i < db->count; i++) {
        const struct uiddb_line *line = &db->lines[i];
        struct uidlist_record record;
        if (file_of(comparison, line->base) == NULL)
            continue;
        comparison->found->messages++;
        if (!view_find_base(list, line->base, &record))
            differs(comparison, "UID %u, '%.*s', is not in Dovecot's list", line->uid,
                    SPAN_FMT(line->base));
        else if (record.uid != line->uid)
            differs(comparison, "'%.*s' has UID %u, Courier's is %u", SPAN_FMT(line->base),
                    record.uid, line->uid);
    }
}

static struct span line_base(const void *owner, uint32_t position)
{
    const struct uiddb *db = owner;
    return db->lines[position].base;
}

/* No UID that Courier gave out may name a message that Courier does not know. */
static int compare_strangers(struct comparison *comparison)
{
    const struct uiddb *db = &comparison->courier->db;
    struct base_map bases;
    int result = base_map_init(&bases, db->count, line_base, db);
    for (size_t i = 0; result == 0 && i < db->count; i++)
        result = base_map_put(&bases, (uint32_t)i);
    for (size_t i = 0; result == 0 && i < comparison->list.count; i++) {
        const struct uidlist_record record = view_record_at(&comparison->list, i);
        if (record.uid >= db->uidnext || file_of(comparison, record.base) == NULL)
            continue;
        if (base_map_find(&bases, record.base) == BASE_MAP_NONE)
            differs(comparison, "UID %u is '%.*s', which Courier does not know under it",
                    record.uid, SPAN_FMT(record.base));
    }
    base_map_release(&bases);
    return result;
}

/* ---- POP3 ------------------------------------------------------------------------------------ */

static void add_uidl(struct buf *out, const struct comparison *comparison,
                     const struct uidlist_record *record)
{
    struct span uidl;
    if (!uidlist_find_key(record->keys, 'P', &uidl))
        add_format_uidl(out, record->uid, comparison->list.uidvalidity);
    else if (uidl.len == 0)
        buf_add_span(out, record->base);
    else
        buf_add_span(out, uidl);
}

/* A message that both POP3 servers list. */
struct listed {
    struct span name; /* of the file */
    uint32_t uid;
    uint64_t order; /* Dovecot's key O; UINT64_MAX: none, these come last */
};

static int compare_as_dovecot(const void *a, const void *b)
{
    const struct listed *x = a;
    const struct listed *y = b;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return x->uid < y->uid ? -1 : x->uid > y->uid;
}

static int compare_as_courier(const void *a, const void *b)
{
    const struct listed *x = a;
    const struct listed *y = b;
    return name_compare_pop3(x->name, y->name);
}

static int compare_order(struct comparison *comparison, struct listed *messages, size_t count)
{
    AUTO_FREE struct listed *courier = calloc(count + 1, sizeof(*courier));
    if (courier == NULL)
        return -ENOMEM;
    memcpy(courier, messages, count * sizeof(*courier));
    int result = sort_stable(messages, count, sizeof(*messages), compare_as_dovecot);
    if (result == 0)
        result = sort_stable(courier, count, sizeof(*courier), compare_as_courier);
    for (size_t i = 0; result == 0 && i < count; i++) {
        if (messages[i].uid == courier[i].uid)
            continue;
        differs(comparison, "POP3 lists UID %u at a place where Courier lists UID %u",
                messages[i].uid, courier[i].uid);
        break;
    }
    return result;
}

static int compare_pop3(struct comparison *comparison)
{
    const struct sources *courier = comparison->courier;
    if (!courier->present[SOURCE_SIZELIST] || !mailbox_is_inbox(comparison->mailbox))
        return 0;
    AUTO_FREE struct listed *messages = calloc(comparison->list.count + 1, sizeof(*messages));
    if (messages == NULL)
        return -ENOMEM;
    size_t count = 0;
    for (size_t i = 0; i < comparison->list.count; i++) {
        const struct uidlist_record record = view_record_at(&comparison->list, i);
        const struct sizelist_entry *entry = sources_list_entry(courier, record.base);
        const struct dir_entry *file = file_of(comparison, record.base);
        if (entry == NULL || file == NULL)
            continue;
        BUF_AUTO expected = BUF_EMPTY;
        BUF_AUTO shown = BUF_EMPTY;
        sizelist_uidl(entry, &expected);
        add_uidl(&shown, comparison, &record);
        if (!span_equal(buf_span(&expected), buf_span(&shown)))
            differs(comparison, "UID %u has the UIDL '%.*s', Courier's is '%.*s'", record.uid,
                    SPAN_FMT(buf_span(&shown)), SPAN_FMT(buf_span(&expected)));
        struct listed *message = &messages[count++];
        struct span order;
        *message = (struct listed){dir_entry_name(&comparison->cur, file), record.uid, UINT64_MAX};
        if (uidlist_find_key(record.keys, 'O', &order))
            (void)span_to_u64(order, &message->order);
    }
    return compare_order(comparison, messages, count);
}

/* ---- keywords -------------------------------------------------------------------------------- */

/* The names that LETTERS stand for, in one text that is equal for equal sets. */
static void add_keywords(struct buf *out, const struct letter_names *names, uint32_t letters)
{
    struct span chosen[LETTER_COUNT];
    size_t count = 0;
    for (int bit = 0; bit < LETTER_COUNT; bit++) {
        if ((letters & ((uint32_t)1 << bit)) == 0)
            continue;
        size_t at = count++;
        for (; at > 0 && span_compare_nocase(chosen[at - 1], names->name[bit]) > 0; at--)
            chosen[at] = chosen[at - 1];
        chosen[at] = names->name[bit];
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < chosen[i].len; j++) {
            char c = chosen[i].text[j];
            buf_add_char(out, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
        }
        buf_add_char(out, ' ');
    }
}

static int compare_keywords(struct comparison *comparison)
{
    struct mailbox *mailbox = comparison->mailbox;
    BUF_AUTO text = BUF_EMPTY;
    struct stat st;
    struct letter_names names;
    int result = home_read(mailbox, "dovecot-keywords", &text, &st);
    if (result < 0 && result != -ENOENT)
        return result;
    letter_names_parse(buf_span(&text), NULL, &names);
    char *own = look_aside(mailbox, comparison->found->converted);
    mailbox->keywords.loaded = false;
    result = keywords_read(mailbox);
    for (size_t i = 0; result == 0 && i < comparison->cur.count; i++) {
        struct span name = dir_entry_name(&comparison->cur, &comparison->cur.entries[i]);
        struct uidlist_record record;
        BUF_AUTO expected = BUF_EMPTY;
        BUF_AUTO shown = BUF_EMPTY;
        if (!view_find_base(&comparison->list, name_base(name), &record) ||
            record.uid >= comparison->courier->db.uidnext)
            continue;
        add_keywords(&expected, &mailbox->keywords.letters,
                     keywords_letters(&mailbox->keywords, record.base));
        add_keywords(&shown, &names, letters_of(name));
        if (!span_equal(buf_span(&expected), buf_span(&shown)))
            differs(comparison, "UID %u has the keywords [ %.*s], Courier's are [ %.*s]",
                    record.uid, SPAN_FMT(buf_span(&shown)), SPAN_FMT(buf_span(&expected)));
        if (buf_error(&expected) < 0 || buf_error(&shown) < 0)
            result = -ENOMEM;
    }
    mailbox->keywords.loaded = false;
    look_back(mailbox, own);
    return result;
}

/* ---- subscriptions and rights ---------------------------------------------------------------- */

/* What the mount would show of Courier's file KIND, and what Dovecot's file NAME says. 0; -ENOENT if
 * Courier has none; -errno. */
static int read_both(struct comparison *comparison, enum control_kind kind, const char *name,
                     struct buf *courier, struct buf *dovecot)
{
    struct mailbox *mailbox = comparison->mailbox;
    struct control_file *file;
    struct stat st;
    char *own = look_aside(mailbox, comparison->found->converted);
    int result =
        kind == CONTROL_ACL ? acl_lookup(mailbox, &file) : subscriptions_lookup(mailbox, &file);
    if (result == 0) {
        buf_add_span(courier, buf_span(&file->content));
        control_unref(file);
        result = buf_error(courier);
    }
    mailbox_set_file(mailbox, kind, NULL);
    look_back(mailbox, own);
    if (result < 0)
        return result;
    result = home_read(mailbox, name, dovecot, &st);
    return result == -ENOENT ? 0 : result;
}

static bool has_name(const struct subscriptions *list, struct span name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (span_equal(list->names[i], name))
            return true;
    }
    return false;
}

static void tell_missing(struct comparison *comparison, const struct subscriptions *list,
                         const struct subscriptions *other, const char *whose)
{
    for (size_t i = 0; i < list->count; i++) {
        if (!has_name(other, list->names[i]))
            differs(comparison, "'%.*s' is subscribed in %s file only", SPAN_FMT(list->names[i]),
                    whose);
    }
}

static int compare_subscriptions(struct comparison *comparison)
{
    BUF_AUTO courier_text = BUF_EMPTY;
    BUF_AUTO dovecot_text = BUF_EMPTY;
    struct subscriptions courier = {0};
    struct subscriptions dovecot = {0};
    if (!mailbox_is_inbox(comparison->mailbox))
        return 0;
    int result =
        read_both(comparison, CONTROL_SUBSCRIPTIONS, "subscriptions", &courier_text, &dovecot_text);
    if (result < 0)
        return result == -ENOENT ? 0 : result;
    result = subscriptions_parse(buf_span(&courier_text), &courier);
    if (result == 0)
        result = subscriptions_parse(buf_span(&dovecot_text), &dovecot);
    if (result == 0) {
        tell_missing(comparison, &courier, &dovecot, "Courier's");
        tell_missing(comparison, &dovecot, &courier, "Dovecot's");
    }
    subscriptions_release(&courier);
    subscriptions_release(&dovecot);
    return result;
}

static bool has_line(const struct dovecot_acl *acl, const struct dovecot_acl_line *line)
{
    for (size_t i = 0; i < acl->count; i++) {
        const struct dovecot_acl_line *other = &acl->lines[i];
        if (other->kind == line->kind && other->negative == line->negative &&
            other->rights == line->rights && span_equal(other->name, line->name))
            return true;
    }
    return false;
}

static bool is_within(const struct dovecot_acl *acl, const struct dovecot_acl *other)
{
    for (size_t i = 0; i < acl->count; i++) {
        if (!has_line(other, &acl->lines[i]))
            return false;
    }
    return true;
}

/* A folder without rights of its own has its parent's, and those may have changed since. */
static int compare_rights(struct comparison *comparison)
{
    BUF_AUTO courier_text = BUF_EMPTY;
    BUF_AUTO dovecot_text = BUF_EMPTY;
    struct dovecot_acl courier = {0};
    struct dovecot_acl dovecot = {0};
    bool own = true;
    int result = 0;
    if (comparison->found->converted)
        result = aside_has(comparison->mailbox, "courierimapacl", &own);
    if (result < 0 || !own)
        return result;
    result = read_both(comparison, CONTROL_ACL, "dovecot-acl", &courier_text, &dovecot_text);
    if (result < 0)
        return result == -ENOENT ? 0 : result;
    result = dovecot_acl_parse(buf_span(&courier_text), &courier);
    if (result < 0)
        return result;
    result = dovecot_acl_parse(buf_span(&dovecot_text), &dovecot);
    if (result == -EINVAL)
        differs(comparison, "dovecot-acl cannot be read");
    else if (result == 0 && !(is_within(&courier, &dovecot) && is_within(&dovecot, &courier)))
        differs(comparison, "dovecot-acl says something else than courierimapacl");
    if (result == 0)
        dovecot_acl_release(&dovecot);
    dovecot_acl_release(&courier);
    return result == -EINVAL ? 0 : result;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* What a Courier made that was started by mistake. */
static int look_for_new_files(struct comparison *comparison)
{
    struct mailbox *mailbox = comparison->mailbox;
    struct signature now = SIGNATURE_ABSENT;
    const char *name = source_name(SOURCE_UIDDB);
    int result = 0;
    for (size_t i = 0; result == 0 && comparison->found->converted && name != NULL; i++) {
        result = home_signature(mailbox, name, &now);
        if (result == 0 && now.present)
            differs(comparison, "'%s' was made after the conversion: a Courier was here", name);
        name = aside_courier_name(i);
    }
    return result;
}

/* 0; 1: it has nothing to compare, which was told, or is right; -errno. */
static int read_files(struct comparison *comparison)
{
    struct mailbox *mailbox = comparison->mailbox;
    struct verification *found = comparison->found;
    BUF_AUTO path = BUF_EMPTY;
    struct stat st;
    int result = aside_has(mailbox, source_name(SOURCE_UIDDB), &found->converted);
    found->made_by_dovecot = mailbox->converted && !found->converted;
    if (result == 0)
        result = home_read(mailbox, "dovecot-uidlist", &comparison->list_text, &st);
    if (result == -ENOENT && found->made_by_dovecot)
        return 1;
    if (result == -ENOENT) {
        differs(comparison, found->converted ? "dovecot-uidlist is missing" : "is not converted");
        return 1;
    }
    if (result == 0)
        result = view_init(&comparison->list, &comparison->list_text);
    if (result == -EUCLEAN) {
        differs(comparison, "dovecot-uidlist is damaged");
        return 1;
    }
    if (result < 0 || found->made_by_dovecot)
        return result < 0 ? result : 1;
    char *own = look_aside(mailbox, found->converted);
    result = sources_load(mailbox, &comparison->courier);
    look_back(mailbox, own);
    if (result == 0 && !comparison->courier->present[SOURCE_UIDDB]) {
        differs(comparison, "there is no uid database of Courier's to compare with");
        return 1;
    }
    return result < 0 ? result : cur_list(mailbox, &path, &comparison->cur);
}

static int compare(struct comparison *comparison, bool identity_only)
{
    int result = read_files(comparison);
    if (result != 0)
        return result < 0 ? result : 0;
    compare_uids(comparison);
    result = compare_strangers(comparison);
    if (result == 0)
        result = compare_pop3(comparison);
    if (result == 0)
        result = look_for_new_files(comparison);
    if (result < 0 || identity_only)
        return result;
    result = compare_keywords(comparison);
    if (result == 0)
        result = compare_subscriptions(comparison);
    if (result == 0)
        result = compare_rights(comparison);
    return result;
}

int mailbox_verify(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                   bool identity_only, void (*tell)(void *arg, const char *text), void *arg,
                   struct verification *found_r)
{
    *found_r = (struct verification){.converted = false};
    COMPARISON_AUTO comparison = {
        .tell = tell, .arg = arg, .found = found_r, .cur = DIR_LIST_EMPTY};
    int result = mailbox_enter(bridge, caller, dir, &comparison.mailbox);
    if (result < 0)
        return result;
    result = compare(&comparison, identity_only);
    mailbox_leave(comparison.mailbox);
    return result;
}
