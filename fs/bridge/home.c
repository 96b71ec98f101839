#include <errno.h>
#include <string.h>
#include "bridge/mailbox.h"

static bool is_local(const struct mailbox *mailbox)
{
    return mailbox->bridge->home != mailbox->bridge->store;
}

void home_begin(struct mailbox *mailbox)
{
    if (is_local(mailbox) && mailbox->home_depth++ == 0)
        caller_become_daemon();
}

void home_end(struct mailbox *mailbox)
{
    if (is_local(mailbox) && --mailbox->home_depth == 0)
        (void)caller_become(&mailbox->acting);
}

int home_signature(struct mailbox *mailbox, const char *name, struct signature *signature_r)
{
    BUF_AUTO path = BUF_EMPTY;
    int result = store_join(&path, mailbox->path, name);
    if (result == 0 && is_local(mailbox)) {
        home_begin(mailbox);
        result = signature_take(mailbox->bridge->home, path.data, signature_r);
        home_end(mailbox);
        if (result < 0 || signature_r->present)
            return result;
    }
    if (result == 0)
        result = signature_take(mailbox->bridge->store, path.data, signature_r);
    return result;
}

/* Larger than any file that makes sense here: four million messages. What a user puts there beyond
 * that must not take the daemon's memory. */
#define CONTROL_LIMIT ((size_t)256 << 20)

int home_read(struct mailbox *mailbox, const char *name, struct buf *out, struct stat *st_r)
{
    BUF_AUTO path = BUF_EMPTY;
    int result = store_join(&path, mailbox->path, name);
    if (result == 0 && is_local(mailbox)) {
        home_begin(mailbox);
        result = store_read_file(mailbox->bridge->home, path.data, CONTROL_LIMIT, out, st_r);
        home_end(mailbox);
        if (result != -ENOENT)
            return result;
        result = 0;
    }
    if (result == 0)
        result = store_read_file(mailbox->bridge->store, path.data, CONTROL_LIMIT, out, st_r);
    return result;
}

int home_replace(struct mailbox *mailbox, const char *name, struct span content,
                 const struct stat *like, int (*check)(struct mailbox *mailbox, void *arg),
                 void *arg, struct stat *st_r)
{
    struct store *home = mailbox->bridge->home;
    BUF_AUTO path = BUF_EMPTY;
    int result = store_join(&path, mailbox->path, name);
    if (result < 0)
        return result;
    home_begin(mailbox);
    mailbox->lock.tmp_touched = true;
    struct draft draft;
    result = draft_write(home, mailbox->path, content, like, &draft);
    if (result == 0) {
        struct stat st = draft.st;
        if (check != NULL)
            result = check(mailbox, arg);
        if (result == 0)
            result = draft_install(home, &draft, mailbox->path, path.data);
        /* The rename changed the ctime. */
        if (result == 0)
            result = store_stat(home, path.data, &st);
        if (result == 0 && st_r != NULL)
            *st_r = st;
        draft_discard(home, &draft);
    }
    home_end(mailbox);
    return result;
}
