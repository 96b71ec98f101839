/* Courier's merge, done by us.
 *
 * Each change of a message's keywords is an update file. Courier's imapd folds them into ":list" at
 * its next scan, under the lock. Where Dovecot alone serves a mailbox for weeks nobody would, and
 * reading the keywords would cost one open for each message that ever got one. So when enough of
 * them lie there, new ones or those that step 3 is for, the grant does what imapd does, in the same
 * order and with the same names:
 *
 *   1. ":list" gets what is so now (unique name, sync, rename);
 *   2. each update file that is in it is renamed from BASE to .N.BASE, N = time / 300 + 1;
 *   3. files .N.BASE of earlier periods go.
 *
 * An update that a Courier session writes in between, without the lock, as it always does, is moved
 * in step 2 unread; but then it is the .N.BASE with the highest N, and that is stronger than ":list"
 * for Courier and for us. A crash after 1 leaves updates that say the same as the list. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "bridge/mailbox.h"
#include "courier/keywords.h"

/* Fewer small files cost less to read than the list costs to write. */
#define MANY 64

/* A ":list" in the making. Its names are those of the letters in use, then whatever else messages
 * have. */
struct list_draft {
    struct keyword_list list;
    uint32_t letter_index[LETTER_COUNT];
    size_t index_count;
};

static void list_draft_release(struct list_draft *draft)
{
    free(draft->list.names);
    free(draft->list.numbers);
    free(draft->list.messages);
}

#define LIST_DRAFT_AUTO __attribute__((cleanup(list_draft_release))) struct list_draft

static size_t count_names(const struct keyword_entry *entry)
{
    size_t count = (size_t)__builtin_popcount(entry->letters);
    for (const char *c = entry->extra; c != NULL && *c != '\0'; c++)
        count += *c == '\n';
    return count;
}

/* The number of an extra name; a new one is added. Few mailboxes have any. */
static uint32_t extra_index(struct keyword_list *list, struct span name)
{
    for (size_t i = 0; i < list->name_count; i++) {
        if (span_compare_nocase(list->names[i], name) == 0)
            return (uint32_t)i;
    }
    list->names[list->name_count] = name;
    return (uint32_t)list->name_count++;
}

static void add_message(struct list_draft *draft, const struct keyword_state *state,
                        uint32_t position)
{
    struct keyword_list *list = &draft->list;
    const struct keyword_entry *entry = &state->entries[position];
    struct keyword_message message = {.base = keyword_entry_base(state, position),
                                      .indexes = list->numbers + draft->index_count};
    for (int i = 0; i < LETTER_COUNT; i++) {
        if ((entry->letters & ((uint32_t)1 << i)) != 0)
            message.indexes[message.count++] = draft->letter_index[i];
    }
    struct span rest = entry->extra == NULL ? (struct span){0} : span_of(entry->extra);
    struct span name;
    bool complete;
    while (span_next_line(&rest, &name, &complete))
        message.indexes[message.count++] = extra_index(list, name);
    draft->index_count += message.count;
    if (message.count > 0)
        list->messages[list->message_count++] = message;
}

static int make_list(const struct keyword_state *state, struct list_draft *draft)
{
    *draft = (struct list_draft){0};
    size_t total = 0;
    uint32_t used = 0;
    for (size_t i = 0; i < state->count; i++) {
        total += count_names(&state->entries[i]);
        used |= state->entries[i].letters;
    }
    draft->list.names = calloc(total + LETTER_COUNT, sizeof(struct span));
    draft->list.numbers = calloc(total + 1, sizeof(uint32_t));
    draft->list.messages = calloc(state->count + 1, sizeof(struct keyword_message));
    if (draft->list.names == NULL || draft->list.numbers == NULL || draft->list.messages == NULL)
        return -ENOMEM;
    for (int i = 0; i < LETTER_COUNT; i++) {
        if ((used & ((uint32_t)1 << i)) != 0) {
            draft->letter_index[i] = (uint32_t)draft->list.name_count;
            draft->list.names[draft->list.name_count++] = state->letters.name[i];
        }
    }
    for (size_t i = 0; i < state->count; i++)
        add_message(draft, state, (uint32_t)i);
    return 0;
}

static int write_list(struct mailbox *mailbox, const char *directory)
{
    struct store *store = mailbox->bridge->store;
    LIST_DRAFT_AUTO list;
    BUF_AUTO text = BUF_EMPTY;
    BUF_AUTO path = BUF_EMPTY;
    int result = make_list(&mailbox->keywords, &list);
    if (result < 0)
        return result;
    keyword_list_format(&list.list, &text);
    result = buf_error(&text);
    if (result == 0)
        result = store_join(&path, directory, ":list");
    if (result < 0)
        return result;
    if (text.len == 0) { /* no keyword is left */
        result = store_unlink(store, path.data);
        return result == -ENOENT ? 0 : result;
    }
    struct draft draft;
    mailbox->lock.tmp_touched = true;
    result = draft_write(store, mailbox->path, buf_span(&text), NULL, &draft);
    if (result == 0)
        result = draft_install(store, &draft, directory, path.data);
    draft_discard(store, &draft);
    return result;
}

/* Steps 2 and 3 for one directory entry. */
static int settle_update(struct store *store, const char *directory, struct span name,
                         uint64_t period)
{
    struct span base;
    uint64_t merged_at = 0;
    BUF_AUTO from = BUF_EMPTY;
    BUF_AUTO to = BUF_EMPTY;
    buf_printf(&from, "%s/%.*s", directory, SPAN_FMT(name));
    int result = buf_terminate(&from);
    if (result < 0)
        return result;
    switch (keyword_file_kind(name, &base, &merged_at)) {
    case KEYWORD_FILE_PENDING:
        buf_printf(&to, "%s/.%llu.%.*s", directory, (unsigned long long)period + 1, SPAN_FMT(base));
        result = buf_terminate(&to);
        if (result == 0)
            result = store_rename(store, from.data, to.data, 0);
        break;
    case KEYWORD_FILE_MERGED:
        if (merged_at < period)
            result = store_unlink(store, from.data);
        break;
    case KEYWORD_FILE_LIST:
    case KEYWORD_FILE_OTHER:
        break;
    }
    return result == -ENOENT ? 0 : result;
}

int keywords_merge(struct mailbox *mailbox)
{
    struct keyword_state *state = &mailbox->keywords;
    struct store *store = mailbox->bridge->store;
    if ((state->pending < MANY && state->outlived < MANY) || store->read_only)
        return 0;
    BUF_AUTO directory = BUF_EMPTY;
    DIR_LIST_AUTO files = DIR_LIST_EMPTY;
    int result = store_join(&directory, mailbox->path, KEYWORD_DIRECTORY);
    /* Before the state is read once more: what comes later is not moved. */
    if (result == 0)
        result = store_list(store, directory.data, &files);
    state->loaded = false;
    if (result == 0)
        result = keywords_read(mailbox);
    if (result == 0)
        result = write_list(mailbox, directory.data);
    uint64_t period = (uint64_t)time(NULL) / KEYWORD_PERIOD_SECONDS;
    for (size_t i = 0; i < files.count && result == 0; i++)
        result =
            settle_update(store, directory.data, dir_entry_name(&files, &files.entries[i]), period);
    state->loaded = false; /* the directory is another one now */
    return result < 0 ? result : keywords_read(mailbox);
}
