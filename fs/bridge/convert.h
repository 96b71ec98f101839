/* The final conversion of one mailbox, and the way back. Whose files count: aside.c.
 *
 * All functions act as CALLER, who must be the owner of the mailbox's directory (not root) and whose
 * pid is this process's. They wait for Courier's lock, for LOCK_PATIENCE seconds at most, and hold it
 * while they work. -ENOTDIR: DIR is no mailbox. */
#pragma once

#include "bridge/bridge.h"

struct conversion_options {
    bool overwrite; /* Dovecot's files that are there, and say something else, are replaced */
    bool dry_run;   /* nothing is written; the bridge's store must be read only */
    /* Asked when everything is ready, right before the one rename that decides, with the lock held; an
     * error leaves the mailbox as it was. NULL = no question. */
    int (*before_switch)(void *arg);
    void *arg;
};

/* What was done, or would be. */
struct conversion {
    bool already; /* it was so before; the rest is then 0 */
    uint32_t uidvalidity;
    uint32_t uidnext;
    size_t messages;
    size_t keywords; /* messages with at least one */
    size_t
        unsaid; /* messages that have keywords beyond Dovecot's 26 letters: they stay in Courier's
                        files, set aside */
    size_t renamed;
    size_t uidls; /* messages with a UIDL that is not made of UID and UIDVALIDITY */
};

/* Makes the mailbox Dovecot's: dovecot-uidlist, dovecot-keywords, subscriptions, dovecot-acl are what
 * the mount shows at this moment. 0; -EBUSY: somebody holds the lock; -EEXIST: a dovecot-uidlist is
 * there that says something else; -EIO: the mailbox is refused (logged, with the reason); or -errno. On
 * failure the mailbox is Courier's as before; Dovecot's files may lie there, and letters be in names,
 * which means nothing to Courier. */
int mailbox_convert(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                    const struct conversion_options *options, struct conversion *done_r);

/* Makes Courier refuse its users to log in, with a message, by a `loginexec` in the top maildir at DIR;
 * one that was there is set aside. Takes no lock. 0 or -errno. */
int account_close_to_courier(struct bridge *bridge, const struct caller *caller,
                             const struct place *dir);
/* The reverse. */
int account_open_to_courier(struct bridge *bridge, const struct caller *caller,
                            const struct place *dir);

/* 0 with *converted_r: whether Dovecot's files count in the mailbox. */
int mailbox_is_converted(struct bridge *bridge, const struct caller *caller,
                         const struct place *dir, bool *converted_r);

/* What was carried back. */
struct reversal {
    bool already; /* it is Courier's; or Dovecot never gave anything a name here */
    uint32_t uidvalidity;
    uint32_t uidnext;
    size_t messages;
    size_t uidls;         /* entered in Courier's POP3 list */
    size_t foreign_uidls; /* that Courier cannot show: those messages get other ones */
    size_t lost_keywords; /* that no letter was left for */
};

/* Makes the mailbox Courier's again, with everything Dovecot did since, and also one that only Dovecot
 * ever had. Of the options only before_switch counts. 0; -EBUSY; -EUCLEAN: Dovecot's list is missing or damaged; or -errno. On failure the mailbox
 * is Dovecot's as before. */
int mailbox_revert(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                   const struct conversion_options *options, struct reversal *done_r);

struct verification {
    bool converted;       /* Courier's files are set aside */
    bool made_by_dovecot; /* a folder of a converted account that never was Courier's */
    size_t messages;      /* compared */
    size_t differences;   /* told */
};

/* Compares Dovecot's files with Courier's (those set aside, where the mailbox is converted), for the
 * messages that are there and that Courier's files know; what came later is no difference. Reads only,
 * takes no lock. IDENTITY_ONLY: UIDVALIDITY, UIDs, UIDLs and their order, which nobody may ever change;
 * else keywords, subscriptions and rights, too. TELL gets a text about each difference. 0 or -errno. */
int mailbox_verify(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                   bool identity_only, void (*tell)(void *arg, const char *text), void *arg,
                   struct verification *found_r);
