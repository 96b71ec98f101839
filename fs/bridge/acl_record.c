/* What becomes of that which Dovecot writes. */
#include "bridge/acl_map.h"

#include <errno.h>
#include "courier/acl.h"

/* Rights of the owner's that no list takes away. */
#define OWNER_KEEPS ((unsigned)(DOVECOT_ACL_LOOKUP | DOVECOT_ACL_ADMIN))

/* ---- what Dovecot changed -------------------------------------------------------------------- */

static void merge_entry(struct acl_entry *target, const struct acl_entry *before,
                        const struct acl_entry *after)
{
    if (after->has != before->has || after->rights != before->rights) {
        target->has = after->has;
        target->rights = after->has ? (target->rights & ~(before->rights & ~after->rights)) |
                                          (after->rights & ~before->rights)
                                    : 0;
    }
    unsigned removed = before->not_allowed & ~after->not_allowed;
    unsigned added = after->not_allowed & ~before->not_allowed;
    /* Of what was shown already, nobody knows whether it was said again now. */
    if (target->kind == DOVECOT_ACL_GROUP_OVERRIDE)
        added = after->not_allowed;
    acl_set_not_allowed(target, (target->not_allowed & ~removed) | added);
}

/* Whether Courier's file has words for the lines. An `-anyone` it has, but refuses every later
 * change to it, because it would concern the administrators; so none is added. */
static bool has_words(const struct acl_entry *before, const struct acl_entry *after)
{
    switch (after->kind) {
    case DOVECOT_ACL_ANYONE:
        return (after->not_allowed & ~before->not_allowed) == 0;
    case DOVECOT_ACL_AUTHENTICATED:
        return false;
    case DOVECOT_ACL_GROUP_OVERRIDE:
        return !after->has;
    case DOVECOT_ACL_GROUP:
    case DOVECOT_ACL_OWNER:
    case DOVECOT_ACL_USER:
        break;
    }
    return true;
}

static int merge_one(struct acl *target, const struct acl_entry *before,
                     const struct acl_entry *after)
{
    static const struct acl_entry none = {.has = false};
    if (after != NULL && !has_words(before != NULL ? before : &none, after))
        return -EINVAL;
    const struct acl_entry *one = after != NULL ? after : before;
    struct acl_entry *entry;
    int result = acl_get(target, one->kind, one->name, &entry);
    if (result == 0)
        merge_entry(entry, before != NULL ? before : &none, after != NULL ? after : &none);
    return result;
}

int acl_merge(struct acl *target, const struct acl *before, const struct acl *after)
{
    int result = 0;
    for (size_t i = 0; i < before->count && result == 0; i++) {
        const struct acl_entry *then = &before->entries[i];
        const struct acl_entry *now = acl_find(after, then->kind, then->name);
        if (!acl_same_lines(then, now))
            result = merge_one(target, then, now);
    }
    for (size_t i = 0; i < after->count && result == 0; i++) {
        const struct acl_entry *now = &after->entries[i];
        if (acl_find(before, now->kind, now->name) == NULL)
            result = merge_one(target, NULL, now);
    }
    return result;
}

/* ---- to Courier ------------------------------------------------------------------------------ */

/* What is made, and what it is made from. */
struct recording {
    const struct acl *courier; /* the lines before */
    const struct acl *words;   /* which are this in Dovecot's words */
    const struct acl *wanted;  /* what these are to be */
    const char *path;
    struct acl *result;
};

static bool words_changed(const struct recording *r, enum dovecot_acl_kind kind, struct span name)
{
    return !acl_same_lines(acl_find(r->words, kind, name), acl_find(r->wanted, kind, name));
}

static bool is_changed(const struct recording *r, const struct acl_entry *entry)
{
    return words_changed(r, entry->kind, entry->name) ||
           (entry->kind == DOVECOT_ACL_GROUP &&
            words_changed(r, DOVECOT_ACL_GROUP_OVERRIDE, entry->name));
}

/* What is wanted of the identifier, in Courier's words; and a note of what Courier's file cannot say:
 * which of Dovecot's two `-` lines of a group says what. */
static void take_wanted(const struct recording *r, struct acl_entry *entry)
{
    const struct acl_entry *wanted = acl_find(r->wanted, entry->kind, entry->name);
    const struct acl_entry *override = acl_find(r->wanted, DOVECOT_ACL_GROUP_OVERRIDE, entry->name);
    *entry = (struct acl_entry){.kind = entry->kind, .name = entry->name};
    if (wanted != NULL) {
        *entry = *wanted;
        entry->ours = entry->said = 0;
    }
    if (entry->kind == DOVECOT_ACL_GROUP) {
        unsigned of_all = override != NULL ? override->not_allowed : 0;
        entry->said = entry->not_allowed;
        entry->ours = entry->not_allowed & ~of_all;
        acl_set_not_allowed(entry, entry->not_allowed | of_all);
    }
}

/* Lines whose words are wanted as they are stay; others become what is wanted. */
static int take_all_wanted(struct recording *r)
{
    int result = acl_copy(r->courier, r->result);
    for (size_t i = 0; i < r->wanted->count && result == 0; i++) {
        const struct acl_entry *wanted = &r->wanted->entries[i];
        bool is_override = wanted->kind == DOVECOT_ACL_GROUP_OVERRIDE;
        struct acl_entry *entry;
        if (words_changed(r, wanted->kind, wanted->name))
            result = acl_get(r->result, is_override ? DOVECOT_ACL_GROUP : wanted->kind,
                             wanted->name, &entry);
    }
    for (size_t i = 0; i < r->result->count; i++) {
        if (is_changed(r, &r->result->entries[i]))
            take_wanted(r, &r->result->entries[i]);
    }
    return result;
}

/* Whether what GIVER gives may also be had by whoever ENTRY is about. */
static bool may_be_same(const struct recording *r, const struct acl_entry *entry,
                        const struct acl_entry *giver)
{
    switch (giver->kind) {
    case DOVECOT_ACL_ANYONE:
        return true;
    case DOVECOT_ACL_GROUP:
        return giver == entry || entry->kind != DOVECOT_ACL_GROUP;
    case DOVECOT_ACL_OWNER:
        return giver == entry ||
               (entry->kind == DOVECOT_ACL_USER && acl_may_be_owner(entry->name, r->path));
    case DOVECOT_ACL_USER:
        return giver == entry;
    case DOVECOT_ACL_AUTHENTICATED:
    case DOVECOT_ACL_GROUP_OVERRIDE:
        break;
    }
    return false;
}

/* What `-` lines that may concern whoever ENTRY is about took before, and take no longer. */
static unsigned given_back(const struct recording *r, const struct acl_entry *entry)
{
    unsigned rights = 0;
    for (size_t i = 0; i < r->courier->count; i++) {
        const struct acl_entry *before = &r->courier->entries[i];
        bool is_user = before->kind == DOVECOT_ACL_USER;
        bool is_he = (entry->kind == DOVECOT_ACL_USER && span_equal(before->name, entry->name)) ||
                     (entry->kind == DOVECOT_ACL_OWNER && acl_may_be_owner(before->name, r->path));
        if (!is_user || is_he)
            rights |=
                before->not_allowed & ~acl_find(r->result, before->kind, before->name)->not_allowed;
    }
    return rights;
}

static unsigned rights_of(const struct acl *acl, enum dovecot_acl_kind kind, struct span name)
{
    const struct acl_entry *entry = acl_find(acl, kind, name);
    return entry != NULL ? entry->rights : 0;
}

/* What Courier's new lines may grant to whoever ENTRY is about; with ONLY_NEW less what the same
 * lines, or what is surely his, granted before. */
static unsigned granted(const struct recording *r, const struct acl_entry *entry, bool only_new)
{
    unsigned rights = 0;
    unsigned back = given_back(r, entry);
    for (size_t i = 0; i < r->result->count; i++) {
        const struct acl_entry *giver = &r->result->entries[i];
        if (!may_be_same(r, entry, giver))
            continue;
        unsigned before = rights_of(r->courier, giver->kind, giver->name) & ~back;
        rights |= only_new ? giver->rights & ~before : giver->rights;
    }
    if (only_new) {
        unsigned his = rights_of(r->courier, entry->kind, entry->name) |
                       acl_all_rights(r->courier, DOVECOT_ACL_ANYONE);
        rights &= ~(his & ~back);
    }
    return rights & ~(entry->not_allowed | acl_all_not_allowed(r->result, DOVECOT_ACL_ANYONE));
}

/* A `-` line that Dovecot was shown says also what others took. It still does when they no longer
 * take it. */
static unsigned no_longer_taken(const struct recording *r, const struct acl_entry *wanted)
{
    return wanted->not_allowed & acl_taken_by_others(r->courier, wanted, r->path) &
           ~acl_taken_by_others(r->result, wanted, r->path);
}

/* Adds what is wanted of the identifier, and is not anyone's, to its line. */
static void settle_rights(const struct recording *r, struct acl_entry *entry, unsigned rights)
{
    unsigned anyone = acl_all_rights(r->result, DOVECOT_ACL_ANYONE);
    if ((rights & ~(anyone | entry->rights)) != 0)
        acl_set_rights(entry, entry->rights | (rights & ~anyone));
}

/* Makes what Courier grants to the identifier what is wanted: no less, and no more. */
static void settle(const struct recording *r, struct acl_entry *entry)
{
    const struct acl_entry *wanted = acl_find(r->wanted, entry->kind, entry->name);
    if (wanted == NULL)
        return;
    unsigned rights = wanted->has ? wanted->rights : DOVECOT_ACL_ALL;
    /* The owner was shown `a` and `p` in any case. */
    unsigned always = entry->kind == DOVECOT_ACL_OWNER ? DOVECOT_ACL_ADMIN | DOVECOT_ACL_POST : 0;
    if (wanted->has)
        settle_rights(r, entry, rights & ~always);
    unsigned excess = granted(r, entry, !is_changed(r, entry)) & ~(rights & ~wanted->not_allowed);
    unsigned said = no_longer_taken(r, wanted);
    excess &= ~(entry->not_allowed | said);
    if (entry->kind == DOVECOT_ACL_OWNER) {
        excess &= ~(OWNER_KEEPS | always);
        said &= ~(OWNER_KEEPS | always);
    } else {
        entry->ours |= excess;
    }
    acl_set_not_allowed(entry, entry->not_allowed | excess | said);
}

/* Dovecot's owner has all rights without a line. Courier's has `a` in any case; where a list does
 * not give him `l` and `a`, it refuses every later SETACL, and all use of subfolders that have no
 * list of their own. */
static int complete_owner(struct recording *r)
{
    struct acl_entry *owner;
    int result = acl_get(r->result, DOVECOT_ACL_OWNER, ACL_NO_NAME, &owner);
    if (result < 0)
        return result;
    if (!owner->has && is_changed(r, owner))
        acl_set_rights(owner, DOVECOT_ACL_ALL & ~(unsigned)DOVECOT_ACL_POST);
    if (is_changed(r, owner)) {
        owner->rights |= OWNER_KEEPS;
        acl_set_not_allowed(owner, owner->not_allowed & ~OWNER_KEEPS);
    }
    return 0;
}

/* Courier's administrators may everything, so a line about them would not be true. */
static int check_names(const struct acl *wanted)
{
    for (size_t i = 0; i < wanted->count; i++) {
        const struct acl_entry *entry = &wanted->entries[i];
        if ((entry->name.len > 0 && !courier_acl_is_identifier(entry->name)) ||
            acl_is_administrators(entry->kind, entry->name))
            return -EINVAL;
    }
    return 0;
}

int acl_to_courier(const struct acl *courier, const struct acl *wanted, const char *path,
                   struct acl *courier_r)
{
    *courier_r = (struct acl){.entries = NULL};
    ACL_AUTO words = {.entries = NULL};
    struct recording r = {courier, &words, wanted, path, courier_r};
    int result = check_names(wanted);
    if (result == 0)
        result = acl_words(courier, path, &words);
    if (result == 0)
        result = take_all_wanted(&r);
    if (result < 0)
        return result;
    result = complete_owner(&r);
    /* Each kind builds on those before. */
    static const enum dovecot_acl_kind kinds[] = {DOVECOT_ACL_GROUP, DOVECOT_ACL_OWNER,
                                                  DOVECOT_ACL_USER};
    for (size_t kind = 0; kind < 3; kind++) {
        for (size_t i = 0; i < courier_r->count && result == 0; i++) {
            if (courier_r->entries[i].kind == kinds[kind])
                settle(&r, &courier_r->entries[i]);
        }
    }
    return result;
}
