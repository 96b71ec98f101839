/* The names in `cur` at a conversion and on the way back: with the letters of their keywords, or
 * without. Others change flags meanwhile. */
#pragma once

#include "bridge/mailbox.h"

/* `cur` and its path, terminated. 0 or -errno. */
int cur_list(struct mailbox *mailbox, struct buf *path_r, struct dir_list *cur_r);

/* Renames every message to what the mount shows it as (WITH_LETTERS; the keywords were read), or to its
 * name without letters; durably. Names that are gone when their turn comes were changed by somebody: all
 * are listed again, -EAGAIN if that does not end. *renamed counts. 0 or -errno. */
int cur_rename_all(struct mailbox *mailbox, bool with_letters, size_t *renamed);
