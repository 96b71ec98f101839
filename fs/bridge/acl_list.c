#include "bridge/acl_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "courier/acl.h"

/* A folder shared with more names than this is shared with a group. */
#define IDENTIFIER_LIMIT 1024

/* Begins the identifiers of notes. */
#define NOTE "courierfs:"

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

int acl_copy(const struct acl *from, struct acl *copy_r)
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

void acl_set_rights(struct acl_entry *entry, unsigned rights)
{
    entry->has = true;
    entry->rights = rights;
}

void acl_set_not_allowed(struct acl_entry *entry, unsigned rights)
{
    entry->has_negative = rights != 0;
    entry->not_allowed = rights;
}

bool acl_same_lines(const struct acl_entry *a, const struct acl_entry *b)
{
    static const struct acl_entry none = {.has = false};
    if (a == NULL)
        a = &none;
    if (b == NULL)
        b = &none;
    return a->has == b->has && a->has_negative == b->has_negative && a->rights == b->rights &&
           a->not_allowed == b->not_allowed;
}

unsigned acl_all_rights(const struct acl *acl, enum dovecot_acl_kind kind)
{
    unsigned rights = 0;
    for (size_t i = 0; i < acl->count; i++)
        rights |= acl->entries[i].kind == kind ? acl->entries[i].rights : 0;
    return rights;
}

unsigned acl_all_not_allowed(const struct acl *acl, enum dovecot_acl_kind kind)
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

bool acl_is_administrators(enum dovecot_acl_kind kind, struct span name)
{
    return (kind == DOVECOT_ACL_GROUP || kind == DOVECOT_ACL_GROUP_OVERRIDE) &&
           span_equals(name, "administrators");
}

/* What a line of Courier's file is about. */
struct courier_identifier {
    bool note; /* one of ours, which Courier carries along */
    bool negative;
    enum dovecot_acl_kind kind;
    struct span name;
};

static bool cut_prefix(struct span *text, const char *prefix)
{
    bool starts = span_starts(*text, prefix);
    if (starts)
        *text = span_make(text->text + strlen(prefix), text->len - strlen(prefix));
    return starts;
}

static bool parse_courier_identifier(struct span text, struct courier_identifier *parsed_r)
{
    parsed_r->note = cut_prefix(&text, NOTE);
    parsed_r->negative = cut_prefix(&text, "-");
    return dovecot_acl_parse_identifier(text, &parsed_r->kind, &parsed_r->name) &&
           parsed_r->kind != DOVECOT_ACL_AUTHENTICATED &&
           parsed_r->kind != DOVECOT_ACL_GROUP_OVERRIDE &&
           !acl_is_administrators(parsed_r->kind, parsed_r->name);
}

/* Of several lines with one identifier the last one counts for Courier. `anyone` has two names, so
 * its entry has the last line of each. */
struct anyone_lines {
    unsigned rights[2];
    unsigned not_allowed[2];
};

static void add_courier_line(struct acl_entry *entry, struct anyone_lines *anyone, bool other_name,
                             const struct courier_identifier *identifier, unsigned rights)
{
    if (identifier->note) {
        *(identifier->negative ? &entry->said : &entry->ours) = rights;
        return;
    }
    if (entry->kind == DOVECOT_ACL_ANYONE) {
        unsigned *lines = identifier->negative ? anyone->not_allowed : anyone->rights;
        lines[other_name] = rights;
        rights = lines[0] | lines[1];
    }
    if (identifier->negative)
        acl_set_not_allowed(entry, rights);
    else
        acl_set_rights(entry, rights);
}

int acl_read_courier(struct span text, struct acl *acl_r)
{
    *acl_r = (struct acl){.entries = NULL};
    struct anyone_lines anyone = {.rights = {0}};
    struct span identifier;
    struct span letters;
    while (courier_acl_next(&text, &identifier, &letters)) {
        struct courier_identifier parsed;
        if (!parse_courier_identifier(identifier, &parsed))
            continue;
        struct acl_entry *entry;
        int result = acl_get(acl_r, parsed.kind, parsed.name, &entry);
        if (result < 0)
            return result;
        bool other_name = span_equals(identifier, parsed.negative ? "-anonymous" : "anonymous");
        add_courier_line(entry, &anyone, other_name, &parsed,
                         from_courier(courier_acl_rights(letters)));
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
            acl_set_not_allowed(entry, entry->not_allowed | line->rights);
        else if (result == 0)
            acl_set_rights(entry, entry->rights | line->rights);
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
    if (before->ours != after->ours)
        add_change(changes, NOTE, after, after->ours != 0, after->ours);
    if (before->said != after->said)
        add_change(changes, NOTE "-", after, after->said != 0, after->said);
}

int acl_edit_courier(struct span text, const struct acl *before, const struct acl *after,
                     struct buf *out)
{
    __attribute__((cleanup(changes_release))) struct changes changes = {
        .list = calloc(after->count * 4 + 3, sizeof(struct courier_acl_change)),
        .identifiers = calloc(after->count * 4 + 3, sizeof(struct buf)),
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
