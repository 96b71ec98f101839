#include "bridge/acl_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "courier/acl.h"

/* A folder shared with more names than this is shared with a group. */
#define IDENTIFIER_LIMIT 1024

#define NO_NAME ((struct span){"", 0})

/* ---- lists ----------------------------------------------------------------------------------- */

void acl_release(struct acl *acl)
{
    free(acl->entries);
    *acl = (struct acl){.entries = NULL};
}

struct acl_entry *acl_find(const struct acl *acl, enum dovecot_acl_kind kind, struct span name)
{
    for (size_t i = 0; i < acl->count; i++) {
        struct acl_entry *entry = &acl->entries[i];
        if (entry->kind == kind && span_equal(entry->name, name))
            return entry;
    }
    return NULL;
}

int acl_get(struct acl *acl, enum dovecot_acl_kind kind, struct span name,
            struct acl_entry **entry_r)
{
    *entry_r = acl_find(acl, kind, name);
    if (*entry_r != NULL)
        return 0;
    if (acl->count == IDENTIFIER_LIMIT)
        return -EFBIG;
    if (acl->count == acl->capacity) {
        size_t wanted = acl->capacity == 0 ? 16 : acl->capacity * 2;
        struct acl_entry *entries = reallocarray(acl->entries, wanted, sizeof(*entries));
        if (entries == NULL)
            return -ENOMEM;
        acl->entries = entries;
        acl->capacity = wanted;
    }
    *entry_r = &acl->entries[acl->count++];
    **entry_r = (struct acl_entry){.kind = kind, .name = name};
    return 0;
}

static int acl_copy(const struct acl *from, struct acl *copy_r)
{
    *copy_r = (struct acl){.entries = NULL};
    for (size_t i = 0; i < from->count; i++) {
        struct acl_entry *entry;
        int result = acl_get(copy_r, from->entries[i].kind, from->entries[i].name, &entry);
        if (result < 0)
            return result;
        *entry = from->entries[i];
    }
    return 0;
}

static void set_rights(struct acl_entry *entry, unsigned rights)
{
    entry->has = true;
    entry->rights = rights;
}

static void set_not_allowed(struct acl_entry *entry, unsigned rights)
{
    entry->has_negative = rights != 0;
    entry->not_allowed = rights;
}

static bool same_lines(const struct acl_entry *a, const struct acl_entry *b)
{
    static const struct acl_entry none = {.has = false};
    if (a == NULL)
        a = &none;
    if (b == NULL)
        b = &none;
    return a->has == b->has && a->has_negative == b->has_negative && a->rights == b->rights &&
           a->not_allowed == b->not_allowed;
}

/* What all entries of KIND give, or take away, together. */
static unsigned all_rights(const struct acl *acl, enum dovecot_acl_kind kind)
{
    unsigned rights = 0;
    for (size_t i = 0; i < acl->count; i++)
        rights |= acl->entries[i].kind == kind ? acl->entries[i].rights : 0;
    return rights;
}

static unsigned all_not_allowed(const struct acl *acl, enum dovecot_acl_kind kind)
{
    unsigned rights = 0;
    for (size_t i = 0; i < acl->count; i++)
        rights |= acl->entries[i].kind == kind ? acl->entries[i].not_allowed : 0;
    return rights;
}

/* ---- Courier's letters and identifiers ------------------------------------------------------- */

/* The same letters, but for `c`, which Dovecot calls `k`. */
static unsigned from_courier(unsigned rights)
{
    unsigned found = 0;
    for (size_t i = 0; i < sizeof(COURIER_ACL_LETTERS) - 1; i++) {
        char letter = COURIER_ACL_LETTERS[i] == 'c' ? 'k' : COURIER_ACL_LETTERS[i];
        if ((rights & 1U << i) != 0)
            found |= 1U << (strchr(DOVECOT_ACL_LETTERS, letter) - DOVECOT_ACL_LETTERS);
    }
    return found;
}

static unsigned to_courier(unsigned rights)
{
    unsigned found = 0;
    for (size_t i = 0; i < sizeof(DOVECOT_ACL_LETTERS) - 1; i++) {
        char letter = DOVECOT_ACL_LETTERS[i] == 'k' ? 'c' : DOVECOT_ACL_LETTERS[i];
        if ((rights & 1U << i) != 0)
            found |= 1U << (strchr(COURIER_ACL_LETTERS, letter) - COURIER_ACL_LETTERS);
    }
    return found;
}

/* The members of this group may everything under Courier, whatever the file says. */
static bool is_administrators(enum dovecot_acl_kind kind, struct span name)
{
    return kind == DOVECOT_ACL_GROUP && span_equals(name, "administrators");
}

static bool parse_courier_identifier(struct span text, bool *negative_r,
                                     enum dovecot_acl_kind *kind_r, struct span *name_r)
{
    *negative_r = span_starts(text, "-");
    if (*negative_r)
        text = span_make(text.text + 1, text.len - 1);
    return dovecot_acl_parse_identifier(text, kind_r, name_r) &&
           !is_administrators(*kind_r, *name_r);
}

int acl_read_courier(struct span text, struct acl *acl_r)
{
    *acl_r = (struct acl){.entries = NULL};
    struct span identifier;
    struct span letters;
    while (courier_acl_next(&text, &identifier, &letters)) {
        bool negative;
        enum dovecot_acl_kind kind;
        struct span name;
        if (!parse_courier_identifier(identifier, &negative, &kind, &name))
            continue;
        struct acl_entry *entry;
        int result = acl_get(acl_r, kind, name, &entry);
        if (result < 0)
            return result;
        unsigned rights = from_courier(courier_acl_rights(letters));
        /* Of equal identifiers the last one counts; `anyone` and `anonymous` are two. */
        unsigned other = kind == DOVECOT_ACL_ANYONE ? UINT32_MAX : 0;
        if (negative)
            set_not_allowed(entry, (entry->not_allowed & other) | rights);
        else
            set_rights(entry, (entry->rights & other) | rights);
    }
    return 0;
}

/* Dovecot quotes names with blanks only, and Courier's file cannot hold them. */
static bool is_quoted(const struct dovecot_acl *file, const struct dovecot_acl_line *line)
{
    return line->name.len > 0 && file->storage.len > 0 &&
           (uintptr_t)line->name.text - (uintptr_t)file->storage.data < file->storage.len;
}

int acl_read_dovecot(struct span text, struct acl *acl_r)
{
    *acl_r = (struct acl){.entries = NULL};
    struct dovecot_acl file;
    int result = dovecot_acl_parse(text, &file);
    if (result < 0)
        return result;
    for (size_t i = 0; i < file.count && result == 0; i++) {
        const struct dovecot_acl_line *line = &file.lines[i];
        struct acl_entry *entry;
        result = is_quoted(&file, line) ? -EINVAL : acl_get(acl_r, line->kind, line->name, &entry);
        if (result == 0 && line->negative)
            set_not_allowed(entry, entry->not_allowed | line->rights);
        else if (result == 0)
            set_rights(entry, entry->rights | line->rights);
    }
    dovecot_acl_release(&file);
    return result;
}

static int compare_entries(const void *a, const void *b)
{
    const struct acl_entry *x = *(const struct acl_entry *const *)a;
    const struct acl_entry *y = *(const struct acl_entry *const *)b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return span_compare(x->name, y->name);
}

int acl_format_dovecot(const struct acl *acl, struct buf *out)
{
    AUTO_FREE const struct acl_entry **sorted = calloc(acl->count + 1, sizeof(struct acl_entry *));
    if (sorted == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < acl->count; i++)
        sorted[i] = &acl->entries[i];
    qsort(sorted, acl->count, sizeof(struct acl_entry *), compare_entries);
    for (size_t i = 0; i < acl->count; i++) {
        struct dovecot_acl_line line = {.kind = sorted[i]->kind, .name = sorted[i]->name};
        line.rights = sorted[i]->rights;
        if (sorted[i]->has)
            dovecot_acl_format_line(out, &line);
        line.rights = sorted[i]->not_allowed;
        line.negative = true;
        if (sorted[i]->has_negative)
            dovecot_acl_format_line(out, &line);
    }
    return buf_error(out);
}

/* ---- to Dovecot ------------------------------------------------------------------------------ */

/* Sums over Courier's lines. */
struct sums {
    unsigned anyone;
    unsigned not_anyone;
    unsigned not_groups;
    unsigned not_owner;
    unsigned not_users;
};

static struct sums sums_of(const struct acl *courier)
{
    return (struct sums){
        .anyone = all_rights(courier, DOVECOT_ACL_ANYONE),
        .not_anyone = all_not_allowed(courier, DOVECOT_ACL_ANYONE),
        .not_groups = all_not_allowed(courier, DOVECOT_ACL_GROUP),
        .not_owner = all_not_allowed(courier, DOVECOT_ACL_OWNER),
        .not_users = all_not_allowed(courier, DOVECOT_ACL_USER),
    };
}

/* A `-` line of Courier's that takes from a user only what is anyone's needs none of Dovecot's. */
static void present_user(unsigned anyone, struct acl_entry *user)
{
    unsigned own = user->rights;
    user->rights = own | (anyone & ~user->not_allowed);
    set_not_allowed(user, user->not_allowed & own);
}

/* A line of Dovecot's replaces what lower kinds gave, so it must repeat what they give. A `-` line
 * replaces lower `-` lines, likewise; without one they go on. */
static void present_entry(const struct acl *courier, const struct sums *sums,
                          struct acl_entry *entry)
{
    const struct acl_entry *group = acl_find(courier, DOVECOT_ACL_GROUP, entry->name);
    unsigned below = 0;
    switch (entry->kind) {
    case DOVECOT_ACL_ANYONE:
    case DOVECOT_ACL_OWNER: /* see present_owner */
        return;
    case DOVECOT_ACL_AUTHENTICATED:
        entry->rights &= sums->anyone;
        below = sums->not_anyone;
        break;
    case DOVECOT_ACL_GROUP:
        entry->rights |= sums->anyone;
        below = sums->not_anyone;
        break;
    case DOVECOT_ACL_USER:
        below = sums->not_anyone | sums->not_groups | sums->not_owner;
        if (entry->has)
            present_user(sums->anyone, entry);
        break;
    case DOVECOT_ACL_GROUP_OVERRIDE:
        entry->rights &= sums->anyone | (group != NULL ? group->rights : 0);
        entry->rights &= ~(sums->not_users | sums->not_owner);
        below = sums->not_anyone | sums->not_groups | sums->not_owner | sums->not_users;
        break;
    }
    if (entry->has_negative)
        set_not_allowed(entry, entry->not_allowed | below);
    if (!entry->has)
        entry->rights = 0;
}

/* Lines of lower kinds do not concern Dovecot's owner, and he has all rights without a line. Mail is
 * delivered to him whatever Courier's file says, which for Dovecot's own deliveries is `p`. */
static void present_owner(const struct sums *sums, struct acl_entry *owner)
{
    unsigned always = DOVECOT_ACL_ADMIN;
    if ((owner->not_allowed & DOVECOT_ACL_POST) == 0)
        always |= DOVECOT_ACL_POST;
    set_rights(owner, owner->rights | sums->anyone | always);
    set_not_allowed(owner, (sums->not_anyone | sums->not_groups | sums->not_owner) & ~always);
}

int acl_present(const struct acl *courier, struct acl *shown_r)
{
    struct sums sums = sums_of(courier);
    int result = acl_copy(courier, shown_r);
    for (size_t i = 0; i < shown_r->count && result == 0; i++)
        present_entry(courier, &sums, &shown_r->entries[i]);
    struct acl_entry *owner;
    if (result == 0)
        result = acl_get(shown_r, DOVECOT_ACL_OWNER, NO_NAME, &owner);
    if (result == 0)
        present_owner(&sums, owner);
    return result;
}

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
    set_not_allowed(target, (target->not_allowed & ~removed) | added);
}

int acl_merge(struct acl *target, const struct acl *before, const struct acl *after)
{
    static const struct acl_entry none = {.has = false};
    const struct acl *lists[] = {before, after};
    for (size_t list = 0; list < 2; list++) {
        for (size_t i = 0; i < lists[list]->count; i++) {
            const struct acl_entry *one = &lists[list]->entries[i];
            const struct acl_entry *then = acl_find(before, one->kind, one->name);
            const struct acl_entry *now = acl_find(after, one->kind, one->name);
            if (same_lines(then, now) || (list == 1 && then != NULL))
                continue;
            struct acl_entry *entry;
            int result = acl_get(target, one->kind, one->name, &entry);
            if (result < 0)
                return result;
            merge_entry(entry, then != NULL ? then : &none, now != NULL ? now : &none);
        }
    }
    return 0;
}

/* ---- to Courier ------------------------------------------------------------------------------ */

/* What is made, and what it is made from. */
struct recording {
    const struct acl *courier; /* the lines before */
    const struct acl *shown;   /* which Dovecot would be shown this */
    const struct acl *wanted;
    const char *path;
    struct acl *result;
};

static bool is_changed(const struct recording *r, const struct acl_entry *entry)
{
    return !same_lines(acl_find(r->shown, entry->kind, entry->name),
                       acl_find(r->wanted, entry->kind, entry->name));
}

/* Lines whose presentation is wanted as it is stay; others become what is wanted. */
static int take_wanted(struct recording *r)
{
    int result = acl_copy(r->courier, r->result);
    for (size_t i = 0; i < r->wanted->count && result == 0; i++) {
        const struct acl_entry *wanted = &r->wanted->entries[i];
        struct acl_entry *entry;
        if (is_administrators(wanted->kind, wanted->name) || !is_changed(r, wanted))
            continue;
        result = acl_get(r->result, wanted->kind, wanted->name, &entry);
        if (result == 0)
            *entry = *wanted;
    }
    for (size_t i = 0; i < r->result->count; i++) {
        struct acl_entry *entry = &r->result->entries[i];
        if (acl_find(r->wanted, entry->kind, entry->name) == NULL && is_changed(r, entry))
            *entry = (struct acl_entry){.kind = entry->kind, .name = entry->name};
    }
    return result;
}

/* A new `-anyone` would make Courier refuse every later SETACL, because it would concern the
 * administrators; and it knows no `-authenticated`. So they are taken out of the other lines. */
static unsigned fold_negative(struct recording *r)
{
    struct acl_entry *anyone = acl_find(r->result, DOVECOT_ACL_ANYONE, NO_NAME);
    unsigned fold = all_not_allowed(r->wanted, DOVECOT_ACL_AUTHENTICATED);
    if (anyone != NULL && is_changed(r, anyone)) {
        fold |= anyone->not_allowed;
        set_not_allowed(anyone, 0);
    }
    for (size_t i = 0; i < r->result->count; i++) {
        struct acl_entry *entry = &r->result->entries[i];
        if (entry->kind == DOVECOT_ACL_ANYONE || entry->kind == DOVECOT_ACL_GROUP ||
            entry->kind == DOVECOT_ACL_USER)
            entry->rights &= ~fold;
    }
    return fold;
}

/* For Courier everybody is `anyone` who is `authenticated` for Dovecot. */
static void restrict_anyone(struct recording *r)
{
    const struct acl_entry *logged_in = acl_find(r->wanted, DOVECOT_ACL_AUTHENTICATED, NO_NAME);
    struct acl_entry *anyone = acl_find(r->result, DOVECOT_ACL_ANYONE, NO_NAME);
    if (logged_in != NULL && logged_in->has && anyone != NULL)
        anyone->rights &= logged_in->rights;
}

/* Courier does not know `group-override`: its members get a `-group` line. */
static int apply_overrides(struct recording *r)
{
    for (size_t i = 0; i < r->wanted->count; i++) {
        const struct acl_entry *override = &r->wanted->entries[i];
        if (override->kind != DOVECOT_ACL_GROUP_OVERRIDE)
            continue;
        unsigned allowed = (override->has ? override->rights : DOVECOT_ACL_ALL);
        allowed &= ~override->not_allowed;
        struct acl_entry *group;
        int result = acl_get(r->result, DOVECOT_ACL_GROUP, override->name, &group);
        if (result < 0)
            return result;
        set_not_allowed(group, group->not_allowed | (DOVECOT_ACL_ALL & ~allowed));
    }
    return 0;
}

/* Whether a directory above the mailbox is called like the user, or like what is before his @. */
static bool may_be_owner(struct span user, const char *path)
{
    struct span local = span_until(user, '@', NULL);
    struct span rest = span_of(path);
    while (rest.len > 0) {
        struct span component = span_until(rest, '/', &rest);
        if (span_equal(component, user) || span_equal(component, local))
            return true;
    }
    return false;
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
               (entry->kind == DOVECOT_ACL_USER && may_be_owner(entry->name, r->path));
    case DOVECOT_ACL_USER:
        return giver == entry;
    case DOVECOT_ACL_AUTHENTICATED:
    case DOVECOT_ACL_GROUP_OVERRIDE:
        break;
    }
    return false;
}

/* All that any `-` line takes. */
static unsigned all_taken(const struct acl *acl)
{
    unsigned rights = 0;
    for (size_t i = 0; i < acl->count; i++)
        rights |= acl->entries[i].not_allowed;
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
    unsigned taken = all_taken(r->courier);
    for (size_t i = 0; i < r->result->count; i++) {
        const struct acl_entry *giver = &r->result->entries[i];
        if (!may_be_same(r, entry, giver))
            continue;
        unsigned before = rights_of(r->courier, giver->kind, giver->name) & ~taken;
        rights |= only_new ? giver->rights & ~before : giver->rights;
    }
    if (only_new) {
        unsigned his = rights_of(r->courier, entry->kind, entry->name) |
                       all_rights(r->courier, DOVECOT_ACL_ANYONE);
        rights &= ~(his & ~taken);
    }
    return rights & ~(entry->not_allowed | all_not_allowed(r->result, DOVECOT_ACL_ANYONE));
}

/* What `-` lines of other kinds take from the identifier, too. */
static unsigned taken_by_others(const struct acl *acl, enum dovecot_acl_kind kind)
{
    unsigned rights = all_not_allowed(acl, DOVECOT_ACL_ANYONE);
    if (kind != DOVECOT_ACL_GROUP)
        rights |= all_not_allowed(acl, DOVECOT_ACL_GROUP);
    if (kind == DOVECOT_ACL_USER)
        rights |= all_not_allowed(acl, DOVECOT_ACL_OWNER);
    return rights;
}

/* A `-` line that Dovecot was shown says also what others took. It still does when they no longer
 * take it. */
static unsigned no_longer_taken(const struct recording *r, const struct acl_entry *wanted)
{
    return wanted->not_allowed & taken_by_others(r->courier, wanted->kind) &
           ~taken_by_others(r->result, wanted->kind);
}

/* Adds what is wanted of the identifier, and is not anyone's, to its line. */
static void settle_rights(const struct recording *r, struct acl_entry *entry, unsigned rights)
{
    unsigned anyone = all_rights(r->result, DOVECOT_ACL_ANYONE);
    if ((rights & ~(anyone | entry->rights)) != 0)
        set_rights(entry, entry->rights | (rights & ~anyone));
}

/* Makes what Courier grants to the identifier what is wanted: no less, and no more. FOLD is taken
 * from everybody. */
static void settle(const struct recording *r, struct acl_entry *entry, unsigned fold)
{
    const struct acl_entry *wanted = acl_find(r->wanted, entry->kind, entry->name);
    if (wanted == NULL)
        return;
    unsigned rights = wanted->has ? wanted->rights : DOVECOT_ACL_ALL;
    /* The owner was shown `p` in any case. */
    rights &= entry->kind == DOVECOT_ACL_OWNER ? ~(unsigned)DOVECOT_ACL_POST : ~fold;
    if (wanted->has)
        settle_rights(r, entry, rights);
    unsigned excess = granted(r, entry, !is_changed(r, entry)) & ~(rights & ~wanted->not_allowed);
    excess |= no_longer_taken(r, wanted);
    if (entry->kind == DOVECOT_ACL_OWNER)
        excess &= ~(unsigned)(DOVECOT_ACL_ADMIN | DOVECOT_ACL_POST);
    set_not_allowed(entry, entry->not_allowed | excess);
}

/* Dovecot's owner has all rights without a line. Courier's has `a` in any case, and it refuses every
 * later SETACL if the line does not say so. */
static int complete_owner(struct recording *r)
{
    struct acl_entry *owner;
    int result = acl_get(r->result, DOVECOT_ACL_OWNER, NO_NAME, &owner);
    if (result < 0)
        return result;
    if (!owner->has && is_changed(r, owner))
        set_rights(owner, DOVECOT_ACL_ALL & ~(unsigned)DOVECOT_ACL_POST);
    if (is_changed(r, owner)) {
        owner->rights |= DOVECOT_ACL_ADMIN;
        set_not_allowed(owner, owner->not_allowed & ~(unsigned)DOVECOT_ACL_ADMIN);
    }
    return 0;
}

static int check_names(const struct acl *wanted)
{
    for (size_t i = 0; i < wanted->count; i++) {
        if (wanted->entries[i].name.len > 0 && !courier_acl_is_identifier(wanted->entries[i].name))
            return -EINVAL;
    }
    return 0;
}

int acl_to_courier(const struct acl *courier, const struct acl *wanted, const char *path,
                   struct acl *courier_r)
{
    *courier_r = (struct acl){.entries = NULL};
    ACL_AUTO shown = {.entries = NULL};
    struct recording r = {courier, &shown, wanted, path, courier_r};
    int result = check_names(wanted);
    if (result == 0)
        result = acl_present(courier, &shown);
    if (result == 0)
        result = take_wanted(&r);
    if (result < 0)
        return result;
    unsigned fold = fold_negative(&r);
    restrict_anyone(&r);
    result = apply_overrides(&r);
    if (result == 0)
        result = complete_owner(&r);
    /* Each kind builds on those before. */
    static const enum dovecot_acl_kind kinds[] = {DOVECOT_ACL_GROUP, DOVECOT_ACL_OWNER,
                                                  DOVECOT_ACL_USER};
    for (size_t kind = 0; kind < 3; kind++) {
        for (size_t i = 0; i < courier_r->count && result == 0; i++) {
            if (courier_r->entries[i].kind == kinds[kind])
                settle(&r, &courier_r->entries[i], fold);
        }
    }
    return result;
}

/* ---- Courier's text -------------------------------------------------------------------------- */

/* Changes to the text, with the identifiers they point to. */
struct changes {
    struct courier_acl_change *list;
    struct buf *identifiers;
    size_t count;
};

static void changes_release(struct changes *changes)
{
    for (size_t i = 0; i < changes->count; i++)
        buf_release(&changes->identifiers[i]);
    free(changes->identifiers);
    free(changes->list);
}

static void add_change(struct changes *changes, const char *prefix, const struct acl_entry *entry,
                       bool present, unsigned rights)
{
    struct buf *identifier = &changes->identifiers[changes->count];
    buf_add_string(identifier, prefix);
    dovecot_acl_format_identifier(identifier, entry->kind, entry->name);
    changes->list[changes->count++] = (struct courier_acl_change){
        .identifier = buf_span(identifier), .removed = !present, .rights = to_courier(rights)};
}

/* The other name of `anyone` goes when the lines change: they say all. */
static void remove_anonymous(struct changes *changes, const char *identifier)
{
    struct buf *copy = &changes->identifiers[changes->count];
    buf_add_string(copy, identifier);
    changes->list[changes->count++] =
        (struct courier_acl_change){.identifier = buf_span(copy), .removed = true};
}

static void add_changes(struct changes *changes, const struct acl_entry *before,
                        const struct acl_entry *after)
{
    static const struct acl_entry none = {.has = false};
    if (before == NULL)
        before = &none;
    if (before->has != after->has || before->rights != after->rights) {
        add_change(changes, "", after, after->has, after->rights);
        if (after->kind == DOVECOT_ACL_ANYONE)
            remove_anonymous(changes, "anonymous");
    }
    if (before->has_negative != after->has_negative || before->not_allowed != after->not_allowed) {
        add_change(changes, "-", after, after->has_negative, after->not_allowed);
        if (after->kind == DOVECOT_ACL_ANYONE)
            remove_anonymous(changes, "-anonymous");
    }
}

int acl_edit_courier(struct span text, const struct acl *before, const struct acl *after,
                     struct buf *out)
{
    __attribute__((cleanup(changes_release))) struct changes changes = {
        .list = calloc(after->count * 2 + 3, sizeof(struct courier_acl_change)),
        .identifiers = calloc(after->count * 2 + 3, sizeof(struct buf)),
    };
    if (changes.list == NULL || changes.identifiers == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < after->count; i++) {
        const struct acl_entry *entry = &after->entries[i];
        add_changes(&changes, acl_find(before, entry->kind, entry->name), entry);
    }
    for (size_t i = 0; i < changes.count; i++) {
        if (buf_error(&changes.identifiers[i]) < 0)
            return -ENOMEM;
    }
    courier_acl_edit(text, changes.list, changes.count, out);
    return buf_error(out);
}
