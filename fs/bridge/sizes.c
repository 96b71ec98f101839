/* Proving sizes before anybody asks for them.
 *
 * The problem. Dovecot's POP3 server tells the sizes of all messages at each login. It knows them from
 * file names (",W="), from its list (W), from its cache, or it reads every message. So the first login
 * to a mailbox whose names say nothing reads all of it; on the day on which a site changes over, all its
 * mailboxes. What Courier's POP3 list says is another size wherever a message has lines that end in
 * CR LF, and a wrong W cuts the message off; the file must be read to know.
 *
 * Here that is done beforehand (courierctl warm), a few messages with each request, so that no mailbox
 * is kept from its users while they are read, and whoever asks decides how fast it goes. The sizes are
 * collected and then shown all at once, in a new generation of the list, because each generation makes
 * all of Dovecot's sessions read the list again. From then on they go the way of any W: from one
 * generation to the next, and into the cache.
 *
 * A message that is gone, or cannot be read, is passed over: Dovecot will find out for itself.
 *
 * Rejected: to believe Courier's size where size and bytes make it likely that no line ends in CR LF
 * (a message can have such lines and CRs elsewhere); to read with the lock held (it keeps all servers
 * waiting, and what is read never changes). */
#include "bridge/sizes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "bridge/sources.h"
#include "dovecot/name.h"

#define READ_SIZE ((size_t)64 << 10)
/* With one request no more than that is read, but one message in any case. */
#define READ_AT_MOST ((uint64_t)16 << 20)
/* So many sizes are shown, though more will come: what was read shall not be in vain. */
#define SHOWN_AT_LEAST 1000
#define SHOWN_SHARE 4
/* Who proves sizes asks again within that time. */
#define PROVING_MILLISECONDS 30000

/* ---- one message ----------------------------------------------------------------------------- */

int message_read_size(struct store *store, const char *path, struct virtual_size *size_r)
{
    *size_r = (struct virtual_size){0};
    AUTO_FD fd = store_open(store, path, O_RDONLY | O_NONBLOCK, 0);
    AUTO_FREE char *block = malloc(READ_SIZE);
    if (fd < 0 || block == NULL)
        return fd < 0 ? fd : -ENOMEM;
    ssize_t got;
    while ((got = store_pread(store, fd, block, READ_SIZE, (off_t)size_r->bytes)) > 0)
        virtual_size_add(size_r, block, (size_t)got);
    struct stat st;
    int result = got < 0 ? (int)got : store_fstat(store, fd, &st);
    if (result == 0 && (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size_r->bytes))
        result = -ESTALE;
    return result;
}

/* ---- what was proven ------------------------------------------------------------------------- */

void proven_sizes_release(struct proven_sizes *proven)
{
    free(proven->all);
    *proven = (struct proven_sizes){0};
}

bool sizes_are_being_proven(const struct mailbox *mailbox)
{
    return mailbox->proven.count > 0 &&
           clock_milliseconds() - mailbox->proven.asked_at < PROVING_MILLISECONDS;
}

static int compare_uid(const void *key, const void *element)
{
    uint32_t uid = *(const uint32_t *)key;
    const struct proven_size *other = element;
    return uid < other->uid ? -1 : uid > other->uid;
}

bool proven_size_of(const struct mailbox *mailbox, uint32_t uid, uint64_t *size_r)
{
    const struct proven_sizes *proven = &mailbox->proven;
    if (proven->count == 0 || proven->uidvalidity != mailbox->view.uidvalidity)
        return false;
    const struct proven_size *found =
        bsearch(&uid, proven->all, proven->count, sizeof(*proven->all), compare_uid);
    if (found != NULL)
        *size_r = found->size;
    return found != NULL;
}

/* Ascending by UID; one that is not above the last is known already. */
static int add_proven(struct proven_sizes *proven, uint32_t uid, uint64_t size)
{
    if (proven->count > 0 && uid <= proven->all[proven->count - 1].uid)
        return 0;
    if (proven->count == proven->capacity) {
        size_t capacity = proven->capacity == 0 ? 64 : proven->capacity * 2;
        struct proven_size *grown = realloc(proven->all, capacity * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        proven->all = grown;
        proven->capacity = capacity;
    }
    proven->all[proven->count++] = (struct proven_size){uid, size};
    return 0;
}

/* ---- a few messages -------------------------------------------------------------------------- */

struct candidate {
    uint32_t uid;
    char *base;
    uint64_t size; /* 0: not proven; an empty message costs nothing to read again */
};

struct batch {
    uint32_t uidvalidity;
    struct candidate *all;
    size_t count;
    size_t left; /* candidates that have no place here */
};

static void batch_release(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        free(batch->all[i].base);
    free(batch->all);
}

#define BATCH_AUTO __attribute__((cleanup(batch_release))) struct batch

static bool lacks_size(const struct uidlist_record *record)
{
    struct span value;
    uint64_t size;
    return !uidlist_find_key(record->keys, 'W', &value) && !name_size(record->base, 'W', &size);
}

/* The first messages that nobody tried to read yet. */
static int choose(const struct mailbox *mailbox, size_t limit, struct batch *batch)
{
    const struct view *view = &mailbox->view;
    batch->uidvalidity = view->uidvalidity;
    batch->all = calloc(limit, sizeof(*batch->all));
    if (batch->all == NULL)
        return -ENOMEM;
    for (size_t i = view_position_above(view, mailbox->proven.tried); i < view->count; i++) {
        struct uidlist_record record = view_record_at(view, i);
        if (!lacks_size(&record))
            continue;
        if (batch->count == limit) {
            batch->left++;
            continue;
        }
        char *base = strndup(record.base.text, record.base.len);
        if (base == NULL)
            return -ENOMEM;
        batch->all[batch->count++] = (struct candidate){.uid = record.uid, .base = base};
    }
    return 0;
}

/* Shows what was proven, if it is time to. -EBUSY: the list may not change now. */
static int show(struct mailbox *mailbox, size_t left)
{
    struct proven_sizes *proven = &mailbox->proven;
    size_t enough = mailbox->view.count / SHOWN_SHARE;
    if (enough < SHOWN_AT_LEAST)
        enough = SHOWN_AT_LEAST;
    if (proven->count == 0 || (left > 0 && proven->count < enough))
        return 0;
    if (mailbox->lock.held)
        return left > 0 ? 0 : -EBUSY;
    int result = uidlist_show_anew(mailbox);
    if (result == 0)
        proven->count = 0;
    return result;
}

/* The messages to be read, in BATCH. Where there are none what is known is shown. */
static int begin_batch(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                       size_t limit, struct batch *batch)
{
    struct mailbox *mailbox;
    int result = mailbox_enter(bridge, caller, dir, &mailbox);
    if (result < 0)
        return result;
    if (mailbox->converted)
        result = -ENOTDIR;
    else if (!mailbox->lock.held || mailbox->file[CONTROL_UIDLIST] == NULL)
        result = uidlist_refresh(mailbox);
    if (result == 0) {
        if (mailbox->proven.uidvalidity != mailbox->view.uidvalidity)
            proven_sizes_release(&mailbox->proven);
        mailbox->proven.uidvalidity = mailbox->view.uidvalidity;
        mailbox->proven.asked_at = clock_milliseconds();
        result = choose(mailbox, limit, batch);
    }
    if (result == 0 && batch->count == 0)
        result = show(mailbox, 0);
    mailbox_leave(mailbox);
    return result == -ENOENT ? 0 : result; /* Courier's IMAP was never here, nor Dovecot */
}

/* The thread acts for the mailbox, which is free meanwhile. */
static void read_batch(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                       struct batch *batch, struct sizes_proven *result)
{
    for (size_t i = 0; i < batch->count && result->bytes < READ_AT_MOST; i++) {
        struct candidate *message = &batch->all[i];
        BUF_AUTO name = BUF_EMPTY;
        BUF_AUTO path = BUF_EMPTY;
        struct stat st;
        struct virtual_size size;
        result->tried++;
        if (message_find(bridge, caller, dir, span_of(message->base), false, &name, &st) < 0)
            continue;
        buf_printf(&path, "%s/cur/%s", dir->path, name.data);
        if (buf_terminate(&path) < 0 || message_read_size(bridge->store, path.data, &size) < 0)
            continue;
        message->size = size.size;
        result->bytes += size.bytes;
        result->read++;
    }
}

static int end_batch(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                     const struct batch *batch, struct sizes_proven *result)
{
    struct mailbox *mailbox;
    int error = mailbox_enter(bridge, caller, dir, &mailbox);
    if (error < 0)
        return error;
    struct proven_sizes *proven = &mailbox->proven;
    if (proven->uidvalidity == batch->uidvalidity &&
        mailbox->view.uidvalidity == batch->uidvalidity) {
        for (size_t i = 0; i < result->tried && error == 0; i++) {
            const struct candidate *message = &batch->all[i];
            if (message->size > 0)
                error = add_proven(proven, message->uid, message->size);
            if (message->uid > proven->tried)
                proven->tried = message->uid;
        }
        proven->asked_at = clock_milliseconds();
        if (error == 0)
            error = show(mailbox, result->left);
        if (error == -EBUSY) { /* the next request says so; this one tells what it read */
            result->left = 1;
            error = 0;
        }
    }
    mailbox_leave(mailbox);
    return error;
}

int sizes_prove(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                size_t limit, struct sizes_proven *result_r)
{
    *result_r = (struct sizes_proven){0};
    if (bridge->cache == NULL)
        return -EOPNOTSUPP;
    BATCH_AUTO batch = {0};
    int result = begin_batch(bridge, caller, dir, limit, &batch);
    if (result < 0 || batch.count == 0)
        return result;
    read_batch(bridge, caller, dir, &batch, result_r);
    result_r->left = batch.left + batch.count - result_r->tried;
    return end_batch(bridge, caller, dir, &batch, result_r);
}
