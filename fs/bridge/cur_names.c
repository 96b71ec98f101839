#include "bridge/cur_names.h"

#include <errno.h>
#include "courier/name.h"
#include "dovecot/letters.h"

#define LISTINGS 10

int cur_list(struct mailbox *mailbox, struct buf *path_r, struct dir_list *cur_r)
{
    int result = store_join(path_r, mailbox->path, "cur");
    return result < 0 ? result : store_list_messages(mailbox->bridge->store, path_r->data, cur_r);
}

static int rename_in(struct mailbox *mailbox, const char *cur, struct span from, struct span to)
{
    BUF_AUTO from_path = BUF_EMPTY;
    BUF_AUTO to_path = BUF_EMPTY;
    buf_printf(&from_path, "%s/%.*s", cur, SPAN_FMT(from));
    buf_printf(&to_path, "%s/%.*s", cur, SPAN_FMT(to));
    int result = buf_terminate(&from_path);
    if (result == 0)
        result = buf_terminate(&to_path);
    return result < 0 ? result
                      : store_rename(mailbox->bridge->store, from_path.data, to_path.data, 0);
}

static int rename_one(struct mailbox *mailbox, const char *cur, struct span name, bool with_letters,
                      size_t *renamed)
{
    BUF_AUTO wanted = BUF_EMPTY;
    if (with_letters)
        letters_show(&wanted, name, keywords_letters(&mailbox->keywords, name_base(name)));
    else
        letters_strip(&wanted, name);
    int result = buf_error(&wanted);
    if (result < 0 || span_equal(buf_span(&wanted), name))
        return result;
    result = rename_in(mailbox, cur, name, buf_span(&wanted));
    *renamed += result == 0;
    return result;
}

/* One pass over `cur`. How many were gone; -errno. */
static int rename_pass(struct mailbox *mailbox, bool with_letters, size_t *renamed)
{
    DIR_LIST_AUTO cur = DIR_LIST_EMPTY;
    BUF_AUTO path = BUF_EMPTY;
    int result = cur_list(mailbox, &path, &cur);
    int gone = 0;
    size_t before = *renamed;
    for (size_t i = 0; result == 0 && i < cur.count; i++) {
        result = rename_one(mailbox, path.data, dir_entry_name(&cur, &cur.entries[i]), with_letters,
                            renamed);
        if (result == -ENOENT) {
            gone++;
            result = 0;
        }
    }
    if (result == 0 && *renamed > before)
        result = store_sync_directory(mailbox->bridge->store, path.data);
    return result < 0 ? result : gone;
}

int cur_rename_all(struct mailbox *mailbox, bool with_letters, size_t *renamed)
{
    int gone = 1;
    for (int i = 0; gone > 0 && i < LISTINGS; i++)
        gone = rename_pass(mailbox, with_letters, renamed);
    return gone > 0 ? -EAGAIN : gone;
}
