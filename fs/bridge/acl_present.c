/* What Dovecot is shown. */
#include "bridge/acl_map.h"

bool acl_may_be_owner(struct span user, const char *path)
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

unsigned acl_taken_by_others(const struct acl *courier, const struct acl_entry *entry,
                             const char *path)
{
    unsigned rights = acl_all_not_allowed(courier, DOVECOT_ACL_ANYONE);
    if (entry->kind == DOVECOT_ACL_USER && acl_may_be_owner(entry->name, path))
        rights |= acl_all_not_allowed(courier, DOVECOT_ACL_OWNER);
    return rights;
}

/* What of Courier's `-` line somebody said. We take only what the other line does not give. */
static unsigned not_ours(const struct acl_entry *entry)
{
    return entry->not_allowed & ~(entry->ours & ~entry->rights);
}

/* ---- words ----------------------------------------------------------------------------------- */

/* A line of Dovecot's replaces what lower kinds gave, so it must repeat what they give. A `-` line
 * replaces lower `-` lines, likewise; without one they go on. */
static void say(const struct acl *courier, const char *path, struct acl_entry *entry)
{
    unsigned taken = not_ours(entry);
    if (entry->kind == DOVECOT_ACL_GROUP)
        taken = entry->not_allowed & entry->said;
    if (entry->has)
        entry->rights |= acl_all_rights(courier, DOVECOT_ACL_ANYONE) & ~entry->not_allowed;
    acl_set_not_allowed(entry, taken == 0 ? 0 : taken | acl_taken_by_others(courier, entry, path));
}

/* Lines of lower kinds do not concern Dovecot's owner, and he has all rights without a line. Mail is
 * delivered to him whatever Courier's file says, which for Dovecot's own deliveries is `p`. */
static void say_of_owner(const struct acl *courier, struct acl_entry *owner)
{
    unsigned always = DOVECOT_ACL_ADMIN;
    if ((owner->not_allowed & DOVECOT_ACL_POST) == 0)
        always |= DOVECOT_ACL_POST;
    unsigned anyone = acl_all_rights(courier, DOVECOT_ACL_ANYONE) & ~owner->not_allowed;
    acl_set_rights(owner, owner->rights | anyone | always);
    acl_set_not_allowed(
        owner, (owner->not_allowed | acl_all_not_allowed(courier, DOVECOT_ACL_ANYONE)) & ~always);
}

/* Courier's `-group` concerns owners and users, too, who have lines of their own for Dovecot: in
 * Dovecot's words it is `-group-override`. */
static int say_of_group(const struct acl_entry *group, struct acl *words)
{
    struct acl_entry *override;
    int result = acl_get(words, DOVECOT_ACL_GROUP_OVERRIDE, group->name, &override);
    if (result == 0)
        acl_set_not_allowed(override, not_ours(group));
    return result;
}

int acl_words(const struct acl *courier, const char *path, struct acl *words_r)
{
    struct acl_entry *owner;
    int result = acl_copy(courier, words_r);
    if (result == 0)
        result = acl_get(words_r, DOVECOT_ACL_OWNER, ACL_NO_NAME, &owner);
    if (result == 0)
        say_of_owner(courier, owner);
    for (size_t i = 0; i < courier->count && result == 0; i++) {
        const struct acl_entry *entry = &courier->entries[i];
        if (entry->kind == DOVECOT_ACL_USER || entry->kind == DOVECOT_ACL_GROUP)
            say(courier, path, &words_r->entries[i]);
        if (entry->kind == DOVECOT_ACL_GROUP)
            result = say_of_group(entry, words_r);
    }
    return result;
}

/* ---- what is shown --------------------------------------------------------------------------- */

/* `-group-override` says all that Courier's line takes. It makes Dovecot forget what any other `-`
 * line took from a member, so it repeats that. */
int acl_present(const struct acl *courier, const char *path, struct acl *shown_r)
{
    unsigned others = acl_all_not_allowed(courier, DOVECOT_ACL_ANYONE) |
                      acl_all_not_allowed(courier, DOVECOT_ACL_OWNER) |
                      acl_all_not_allowed(courier, DOVECOT_ACL_USER);
    int result = acl_words(courier, path, shown_r);
    for (size_t i = 0; i < courier->count && result == 0; i++) {
        const struct acl_entry *entry = &courier->entries[i];
        if (entry->kind == DOVECOT_ACL_GROUP && entry->has_negative)
            acl_set_not_allowed(acl_find(shown_r, DOVECOT_ACL_GROUP_OVERRIDE, entry->name),
                                entry->not_allowed | others);
    }
    return result;
}
