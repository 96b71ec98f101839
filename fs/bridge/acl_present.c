/* What Dovecot is shown. */
#include "bridge/acl_map.h"

/* Sums over Courier's lines. */
struct sums {
    unsigned anyone;
    unsigned not_anyone;
    unsigned not_owner;
    unsigned not_users;
};

static struct sums sums_of(const struct acl *courier)
{
    return (struct sums){
        .anyone = acl_all_rights(courier, DOVECOT_ACL_ANYONE),
        .not_anyone = acl_all_not_allowed(courier, DOVECOT_ACL_ANYONE),
        .not_owner = acl_all_not_allowed(courier, DOVECOT_ACL_OWNER),
        .not_users = acl_all_not_allowed(courier, DOVECOT_ACL_USER),
    };
}

/* A `-` line of Courier's that takes from a user only what is anyone's needs none of Dovecot's. */
static void present_user(unsigned anyone, struct acl_entry *user)
{
    unsigned own = user->rights;
    user->rights = own | (anyone & ~user->not_allowed);
    acl_set_not_allowed(user, user->not_allowed & own);
}

/* Likewise for a group; but what `-` takes from members who have it by lines of their own stays. */
static void present_group(unsigned anyone, struct acl_entry *group)
{
    unsigned not_own = anyone & ~group->rights;
    group->rights |= not_own & ~group->not_allowed;
    acl_set_not_allowed(group, group->not_allowed & ~not_own);
}

/* A line of Dovecot's replaces what lower kinds gave, so it must repeat what they give. A `-` line
 * replaces lower `-` lines, likewise; without one they go on. */
static void present_entry(const struct sums *sums, struct acl_entry *entry)
{
    unsigned below = sums->not_anyone;
    if (entry->kind == DOVECOT_ACL_GROUP) {
        if (entry->has)
            present_group(sums->anyone, entry);
    } else if (entry->kind == DOVECOT_ACL_USER) {
        below |= sums->not_owner; /* he may be the owner */
        if (entry->has)
            present_user(sums->anyone, entry);
    } else {
        return; /* anyone; the owner: see present_owner */
    }
    if (entry->has_negative)
        acl_set_not_allowed(entry, entry->not_allowed | below);
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
    acl_set_rights(owner, owner->rights | sums->anyone | always);
    acl_set_not_allowed(owner, (sums->not_anyone | sums->not_owner) & ~always);
}

int acl_translate(const struct acl *courier, struct acl *acl_r)
{
    struct sums sums = sums_of(courier);
    int result = acl_copy(courier, acl_r);
    for (size_t i = 0; i < acl_r->count && result == 0; i++)
        present_entry(&sums, &acl_r->entries[i]);
    struct acl_entry *owner;
    if (result == 0)
        result = acl_get(acl_r, DOVECOT_ACL_OWNER, ACL_NO_NAME, &owner);
    if (result == 0)
        present_owner(&sums, owner);
    return result;
}

/* Courier's `-group` concerns owners and users, too, who have lines of their own for Dovecot: in
 * Dovecot's words it is `-group-override`. That makes Dovecot forget what any other `-` line took
 * from a member, so it repeats that. */
static int present_negative_group(const struct sums *sums, struct acl *shown,
                                  const struct acl_entry *group)
{
    acl_set_not_allowed(acl_find(shown, DOVECOT_ACL_GROUP, group->name), 0);
    struct acl_entry *override;
    int result = acl_get(shown, DOVECOT_ACL_GROUP_OVERRIDE, group->name, &override);
    if (result == 0)
        acl_set_not_allowed(override, group->not_allowed | sums->not_anyone | sums->not_owner |
                                          sums->not_users);
    return result;
}

int acl_present(const struct acl *courier, struct acl *shown_r)
{
    struct sums sums = sums_of(courier);
    int result = acl_translate(courier, shown_r);
    for (size_t i = 0; i < courier->count && result == 0; i++) {
        const struct acl_entry *entry = &courier->entries[i];
        if (entry->kind == DOVECOT_ACL_GROUP && entry->has_negative)
            result = present_negative_group(&sums, shown_r, entry);
    }
    return result;
}
