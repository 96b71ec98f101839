/* Whether every file in cur has a UID, so that the grant of the lock need not list it.
 *
 * The problem. A listing of a large folder is what new mail costs most, above all where each call goes
 * over a network. It is needed because anybody may have put a file into cur; whether somebody did, cur's
 * times tell. But they tell of our own changes, too: of what the grant moved there, of what the lock's
 * owner stored, renamed and removed. One APPEND takes the lock three times, and each grant would list
 * what the one before has changed.
 *
 * The step. When the lock is released by its owner, cur is taken to be as complete as it was at the grant,
 * if it was changed by the grant or through the mount in between: for two seconds from the last listing on.
 * That a listing was complete is also seen when it is made for Dovecot, which lists cur by itself soon after
 * it changed there.
 *
 * What can be wrong. Courier's POP3 server moves mail to cur without the lock. What it moves while the lock is
 * held, and in the same moments as we do, has no UID and is not noticed at the grants of these two seconds. If
 * Dovecot lists cur then it numbers the message itself, which is recorded like any other (record.c); if it
 * does not, the next grant sees it. Nobody was told of it before. */
#include "bridge/cur_complete.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "bridge/mailbox.h"
#include "courier/name.h"

/* As long as Dovecot, too, doubts what it saw of a directory that changed. */
#define OUR_MILLISECONDS 2000

bool cur_is_complete(const struct mailbox *mailbox, const struct signature *now, uint64_t uiddb)
{
    const struct cur_complete *known = &mailbox->cur_complete;
    if (known->uiddb != uiddb)
        return false;
    if (known->by_us && clock_milliseconds() - known->listed_at < OUR_MILLISECONDS)
        return signature_same(&known->as, now);
    return !known->by_us && signature_unchanged(&known->as, now);
}

void cur_listed_complete(struct mailbox *mailbox, const struct stat *dir, uint64_t uiddb)
{
    mailbox->cur_complete = (struct cur_complete){
        .as = signature_of_stat(dir), .uiddb = uiddb, .listed_at = clock_milliseconds()};
    signature_settle(&mailbox->cur_complete.as, lock_store_time(mailbox));
}

void cur_listing_shown(struct mailbox *mailbox)
{
    const struct dir_list *cur = &mailbox->cur;
    for (size_t i = 0; i < cur->count; i++) {
        struct uidlist_record record;
        struct span base = name_base(dir_entry_name(cur, &cur->entries[i]));
        if (!view_find_base(&mailbox->view, base, &record))
            return;
    }
    cur_listed_complete(mailbox, &cur->dir, mailbox->lock.uiddb_hash);
}

void cur_was_ours(struct mailbox *mailbox)
{
    BUF_AUTO path = BUF_EMPTY;
    struct signature now = SIGNATURE_ABSENT;
    int result = store_join(&path, mailbox->path, "cur");
    if (result == 0)
        result = signature_take(mailbox->bridge->store, path.data, &now);
    if (result < 0 || signature_unchanged(&mailbox->cur_complete.as, &now))
        return;
    mailbox->cur_complete.as = now;
    mailbox->cur_complete.uiddb = mailbox->lock.uiddb_hash;
    mailbox->cur_complete.by_us = true;
}
