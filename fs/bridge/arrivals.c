/* Messages that a lock's owner has put into the mailbox and not yet listed.
 *
 * The problem. For APPEND and COPY Dovecot (2.3.19, seen with strace) renames the messages from tmp
 * to cur or new, syncs that directory, appends the lines to its list, syncs the list, and commits to
 * its index. An error of the directory's sync makes the command fail. But an error of the list's
 * sync is only logged: the client is told OK and the UIDs all the same. If the daemon died there, or
 * the disk was full, the client would know UIDs that no file holds, and Courier would give them to
 * other messages.
 *
 * So what Dovecot will write to its list is recorded one step earlier, when it syncs the directory.
 * Which UIDs it will give is known: under the lock the next UID is fixed, and Dovecot numbers the
 * messages of one command in the order in which it wrote them to tmp, which their names there tell.
 * When the lines come they are found in the uid database, and nothing more is written. Should Dovecot
 * number them otherwise, its lines count: UIDs recorded under this very lock can change hands until
 * it is released (claims.c), because nobody but this process knows them.
 *
 * (Mail that others deliver is numbered at the grant, before Dovecot sees it: grant.c.) */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/sort.h"
#include "bridge/sources.h"
#include "courier/name.h"
#include "dovecot/name.h"

struct arrival {
    char *written_as; /* its name in tmp */
    char *base;
};

static void forget_one(struct arrival *arrival)
{
    free(arrival->written_as);
    free(arrival->base);
}

void arrivals_forget(struct mailbox *mailbox)
{
    for (size_t i = 0; i < mailbox->arrival_count; i++)
        forget_one(&mailbox->arrivals[i]);
    free(mailbox->arrivals);
    mailbox->arrivals = NULL;
    mailbox->arrival_count = mailbox->arrival_capacity = 0;
}

/* The name in the mailbox's own tmp that PATH is, or NULL. */
static const char *name_in_tmp(const struct mailbox *mailbox, const char *path)
{
    BUF_AUTO tmp = BUF_EMPTY;
    if (store_join(&tmp, mailbox->path, "tmp/") < 0)
        return NULL;
    return strncmp(path, tmp.data, tmp.len) == 0 ? path + tmp.len : NULL;
}

int arrivals_note(struct mailbox *mailbox, const struct caller *caller, const char *from,
                  struct span to)
{
    const char *written_as = name_in_tmp(mailbox, from);
    if (written_as == NULL || !mailbox->lock.held || mailbox->lock.pid != caller->pid)
        return 0;
    mailbox->lock.tmp_touched = true;
    if (mailbox->arrival_count == mailbox->arrival_capacity) {
        size_t capacity = mailbox->arrival_capacity == 0 ? 8 : mailbox->arrival_capacity * 2;
        struct arrival *grown = realloc(mailbox->arrivals, capacity * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        mailbox->arrivals = grown;
        mailbox->arrival_capacity = capacity;
    }
    struct span base = name_base(to);
    struct arrival arrival = {strdup(written_as), strndup(base.text, base.len)};
    if (arrival.written_as == NULL || arrival.base == NULL) {
        forget_one(&arrival);
        return -ENOMEM;
    }
    mailbox->arrivals[mailbox->arrival_count++] = arrival;
    return 0;
}

static int compare_arrivals(const void *a, const void *b)
{
    const struct arrival *x = a;
    const struct arrival *y = b;
    return name_compare_dovecot(span_of(x->written_as), span_of(y->written_as));
}

/* Numbers the arrivals as Dovecot will. */
static int claim_arrivals(struct mailbox *mailbox, uint32_t next, struct uid_claim **claims_r)
{
    struct uid_claim *claims = calloc(mailbox->arrival_count, sizeof(*claims));
    int result = claims == NULL ? -ENOMEM
                                : sort_stable(mailbox->arrivals, mailbox->arrival_count,
                                              sizeof(struct arrival), compare_arrivals);
    for (size_t i = 0; i < mailbox->arrival_count && result == 0; i++) {
        claims[i].uid = next + (uint32_t)i;
        claims[i].base = span_of(mailbox->arrivals[i].base);
    }
    if (result < 0)
        free(claims);
    else
        *claims_r = claims;
    return result;
}

int arrivals_record(struct mailbox *mailbox, const struct caller *caller)
{
    if (lock_was_lost(mailbox, caller))
        return -EIO;
    bool is_owner = mailbox->lock.held && mailbox->lock.pid == caller->pid;
    if (mailbox->arrival_count == 0 || !is_owner || mailbox->view.text == NULL)
        return 0;
    SOURCES_AUTO sources = NULL;
    int result = sources_load(mailbox, &sources);
    AUTO_FREE struct uid_claim *claims = NULL;
    if (result == 0)
        result = claim_arrivals(mailbox, view_implied_next(&mailbox->view), &claims);
    struct uid_outcome outcome;
    if (result == 0)
        result = uids_record_in(mailbox, sources, claims, mailbox->arrival_count, 0, &outcome);
    arrivals_forget(mailbox);
    return result;
}
