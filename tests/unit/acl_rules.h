/* By what rules the two servers tell what somebody may, as they state them, for the tests of lists of
 * rights. */
#pragma once

#include "testing.h"

#include "bridge/acl_list.h"

/* Somebody who asks for his rights. */
struct person {
    const char *name;
    bool logged_in; /* else anonymous */
    bool in_g;
    bool in_h;
    bool is_owner;
};

static inline bool fits(const struct person *person, enum dovecot_acl_kind kind, struct span name)
{
    switch (kind) {
    case DOVECOT_ACL_ANYONE:
        return true;
    case DOVECOT_ACL_AUTHENTICATED:
        return person->logged_in;
    case DOVECOT_ACL_GROUP:
    case DOVECOT_ACL_GROUP_OVERRIDE:
        return (person->in_g && span_equals(name, "g")) || (person->in_h && span_equals(name, "h"));
    case DOVECOT_ACL_OWNER:
        return person->is_owner;
    case DOVECOT_ACL_USER:
        return person->logged_in && span_equals(name, person->name);
    }
    return false;
}

/* The union, less the union. */
static inline unsigned courier_grants(const char *text, const struct person *person)
{
    ACL_AUTO acl = {.entries = NULL};
    assert_int_equal(acl_read_courier(span_of(text), &acl), 0);
    unsigned rights = 0, taken = 0;
    for (size_t i = 0; i < acl.count; i++) {
        const struct acl_entry *entry = &acl.entries[i];
        if (!fits(person, entry->kind, entry->name))
            continue;
        rights |= entry->rights;
        taken |= entry->not_allowed;
    }
    return (rights & ~taken) | (person->is_owner ? DOVECOT_ACL_ADMIN : 0);
}

/* The kinds in order, each replacing the earlier ones; groups are united. */
static inline unsigned dovecot_grants(const struct acl *acl, const struct person *person)
{
    unsigned rights = person->is_owner ? DOVECOT_ACL_ALL : 0, taken = 0;
    int first = person->is_owner ? DOVECOT_ACL_OWNER : DOVECOT_ACL_ANYONE;
    for (int kind = first; kind <= DOVECOT_ACL_GROUP_OVERRIDE; kind++) {
        bool matched = false;
        /* In the order of the names: of one kind the first one that fits replaces. */
        static const char *const names[] = {"", "ann", "bob", "cem", "g", "h"};
        for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
            const struct acl_entry *entry =
                acl_find(acl, (enum dovecot_acl_kind)kind, span_of(names[n]));
            if (entry == NULL || !(entry->has || entry->has_negative) ||
                !fits(person, entry->kind, entry->name))
                continue;
            if (entry->has)
                rights = (matched ? rights : 0) | entry->rights;
            if (entry->has_negative)
                taken = (matched ? taken : 0) | entry->not_allowed;
            matched = true;
        }
    }
    return rights & ~taken;
}

static inline struct person person_of(size_t number)
{
    static const char *const names[] = {"ann", "bob", "cem"};
    struct person person = {.name = names[number % 3],
                            .in_g = (number / 3) % 2 == 1,
                            .in_h = (number / 6) % 2 == 1,
                            .is_owner = number % 3 == 0,
                            .logged_in = true};
    if (number == 12)
        person = (struct person){.name = ""};
    return person;
}

#define PERSONS 13

/* What Courier's owner has in any case. */
#define OWNERS (DOVECOT_ACL_LOOKUP | DOVECOT_ACL_ADMIN | DOVECOT_ACL_POST)

static inline void tell(const char *what, size_t number, unsigned more, const char *courier,
                        const struct acl *dovecot)
{
    BUF_AUTO text = BUF_EMPTY;
    assert_int_equal(acl_format_dovecot(dovecot, &text), 0);
    struct person person = person_of(number);
    fail_msg("%s: %s%s%s%s may %#x more\nCourier:\n%s\nDovecot:\n%.*s", what, person.name,
             person.in_g ? " in g" : "", person.in_h ? " in h" : "",
             person.is_owner ? ", the owner" : "", more, courier, SPAN_FMT(buf_span(&text)));
}
