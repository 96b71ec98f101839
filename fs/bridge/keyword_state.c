#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "bridge/mailbox.h"
#include "courier/keywords.h"

#define UPDATE_LIMIT ((size_t)1 << 20)
#define LIST_LIMIT ((size_t)256 << 20)

struct span keyword_entry_base(const void *owner, uint32_t position)
{
    const struct keyword_state *state = owner;
    const struct keyword_entry *entry = &state->entries[position];
    return span_make(state->names.data + entry->base_offset, entry->base_len);
}

void keyword_forget_all(struct keyword_state *state)
{
    for (size_t i = 0; i < state->count; i++)
        free(state->entries[i].extra);
    free(state->entries);
    state->entries = NULL;
    state->count = state->capacity = 0;
    base_map_release(&state->bases);
    buf_release(&state->names);
    state->shown = 0;
    state->pending = state->outlived = 0;
    state->unassigned = false;
}

void keyword_state_release(struct keyword_state *state)
{
    keyword_forget_all(state);
    buf_release(&state->mapping_text);
}

struct keyword_entry *keyword_find(const struct keyword_state *state, struct span base)
{
    uint32_t position = base_map_find(&state->bases, base);
    return position == BASE_MAP_NONE ? NULL : &state->entries[position];
}

/* The entry of BASE, made if there is none; NULL = out of memory. */
struct keyword_entry *keyword_need(struct keyword_state *state, struct span base)
{
    struct keyword_entry *found = keyword_find(state, base);
    if (found != NULL)
        return found;
    if (state->bases.slot_count == 0 &&
        base_map_init(&state->bases, 0, keyword_entry_base, state) < 0)
        return NULL;
    if (state->entries == NULL || state->count == state->capacity) {
        size_t capacity = state->capacity == 0 ? 16 : state->capacity * 2;
        struct keyword_entry *grown = realloc(state->entries, capacity * sizeof(*grown));
        if (grown == NULL)
            return NULL;
        state->entries = grown;
        state->capacity = capacity;
    }
    struct keyword_entry *entry = &state->entries[state->count];
    *entry =
        (struct keyword_entry){.base_offset = state->names.len, .base_len = (uint32_t)base.len};
    buf_add_span(&state->names, base);
    if (buf_error(&state->names) < 0 || base_map_put(&state->bases, (uint32_t)state->count) < 0)
        return NULL;
    state->count++;
    return entry;
}

/* What the entry contributes to state->shown: a sum, so that it can be taken back. Names without a
 * letter count, too: Dovecot must come and take the lock, for only then they get one. */
uint64_t keyword_share(const struct keyword_state *state, const struct keyword_entry *entry)
{
    uint64_t keywords = entry->letters | entry->unnamed;
    if (entry->extra != NULL)
        keywords += XXH3_64bits(entry->extra, strlen(entry->extra));
    struct span base = span_make(state->names.data + entry->base_offset, entry->base_len);
    return keywords == 0 ? 0 : XXH3_64bits_withSeed(base.text, base.len, keywords);
}

void message_keywords_add(struct keyword_state *state, struct message_keywords *keywords,
                          struct span name)
{
    BUF_AUTO clean = BUF_EMPTY;
    keyword_add_clean(&clean, name);
    int letter = letter_names_find(&state->letters, buf_span(&clean));
    if (letter >= 0) {
        keywords->letters |= (uint32_t)1 << letter;
        return;
    }
    buf_add_span(&keywords->extra, buf_span(&clean));
    buf_add_char(&keywords->extra, '\n');
    if (letter_names_free(&state->letters) >= 0)
        state->unassigned = true;
}

/* Makes KEYWORDS the message's. Takes over keywords->extra. */
int keyword_put(struct keyword_state *state, struct span base, struct message_keywords *keywords)
{
    struct keyword_entry *entry = keyword_need(state, base);
    int result = entry == NULL ? -ENOMEM : buf_error(&keywords->extra);
    char *extra = NULL;
    if (result == 0 && keywords->extra.len > 0) {
        result = buf_terminate(&keywords->extra);
        extra = keywords->extra.data;
        keywords->extra = BUF_EMPTY;
    }
    buf_release(&keywords->extra);
    if (result < 0)
        return result;
    state->shown -= keyword_share(state, entry);
    free(entry->extra);
    entry->extra = extra;
    entry->letters = keywords->letters;
    state->shown += keyword_share(state, entry);
    return 0;
}

/* ---- reading Courier's files ----------------------------------------------------------------- */

static int read_list(struct mailbox *mailbox)
{
    struct keyword_state *state = &mailbox->keywords;
    BUF_AUTO path = BUF_EMPTY;
    BUF_AUTO text = BUF_EMPTY;
    struct stat st;
    int result = store_join(&path, mailbox->path, KEYWORD_DIRECTORY "/:list");
    if (result == 0)
        result = store_read_file(mailbox->bridge->store, path.data, LIST_LIMIT, &text, &st);
    if (result < 0)
        return result == -ENOENT ? 0 : result;
    struct keyword_list list;
    result = keyword_list_parse(buf_span(&text), NULL, &list);
    if (result < 0)
        return result;
    for (size_t i = 0; i < list.message_count && result == 0; i++) {
        const struct keyword_message *message = &list.messages[i];
        struct message_keywords keywords = {.extra = BUF_EMPTY};
        for (size_t k = 0; k < message->count; k++)
            message_keywords_add(state, &keywords, list.names[message->indexes[k]]);
        result = keyword_put(state, message->base, &keywords);
    }
    keyword_list_release(&list);
    return result;
}

/* Reads an update file. -ENOENT if it went away. */
int keyword_update_read(struct mailbox *mailbox, struct span file_name,
                        struct message_keywords *keywords)
{
    BUF_AUTO path = BUF_EMPTY;
    BUF_AUTO text = BUF_EMPTY;
    struct stat st;
    if (strcmp(mailbox->path, ".") != 0)
        buf_printf(&path, "%s/", mailbox->path);
    buf_printf(&path, KEYWORD_DIRECTORY "/%.*s", SPAN_FMT(file_name));
    int result = buf_terminate(&path);
    if (result == 0)
        result = store_read_file(mailbox->bridge->store, path.data, UPDATE_LIMIT, &text, &st);
    if (result < 0)
        return result;
    struct span rest = buf_span(&text);
    struct span name;
    while (keyword_update_next(&rest, &name))
        message_keywords_add(&mailbox->keywords, keywords, name);
    return 0;
}

/* An update file and what it is about. */
struct update {
    struct span base;
    struct span file_name;
    uint64_t period; /* UINT64_MAX: not merged yet, the strongest */
};

static int compare_updates(const void *a, const void *b)
{
    const struct update *x = a;
    const struct update *y = b;
    int order = span_compare(x->base, y->base);
    if (order != 0)
        return order;
    return x->period > y->period ? -1 : x->period < y->period;
}

static int read_updates(struct mailbox *mailbox, const struct dir_list *files)
{
    AUTO_FREE struct update *updates = calloc(files->count + 1, sizeof(*updates));
    if (updates == NULL)
        return -ENOMEM;
    size_t count = 0;
    uint64_t now = (uint64_t)time(NULL) / KEYWORD_PERIOD_SECONDS;
    for (size_t i = 0; i < files->count; i++) {
        struct update update = {.file_name = dir_entry_name(files, &files->entries[i])};
        switch (keyword_file_kind(update.file_name, &update.base, &update.period)) {
        case KEYWORD_FILE_PENDING:
            update.period = UINT64_MAX;
            mailbox->keywords.pending++;
            updates[count++] = update;
            break;
        case KEYWORD_FILE_MERGED:
            mailbox->keywords.outlived += update.period < now;
            updates[count++] = update;
            break;
        case KEYWORD_FILE_LIST:
        case KEYWORD_FILE_OTHER:
            break;
        }
    }
    qsort(updates, count, sizeof(*updates), compare_updates);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && span_equal(updates[i].base, updates[i - 1].base))
            continue; /* a weaker one */
        struct message_keywords keywords = {.extra = BUF_EMPTY};
        int result = keyword_update_read(mailbox, updates[i].file_name, &keywords);
        if (result == 0)
            result = keyword_put(&mailbox->keywords, updates[i].base, &keywords);
        else
            buf_release(&keywords.extra);
        if (result < 0 && result != -ENOENT)
            return result;
    }
    return 0;
}

/* Merging by Courier renames update files at any moment: a listing that has names which are gone
 * when they are read is repeated. */
#define READINGS 4

static int read_directory(struct mailbox *mailbox, const char *path)
{
    int result = 0;
    for (int i = 0; i < READINGS; i++) {
        keyword_forget_all(&mailbox->keywords);
        DIR_LIST_AUTO files = DIR_LIST_EMPTY;
        result = store_list(mailbox->bridge->store, path, &files);
        if (result == 0) {
            mailbox->keywords.directory = signature_of_stat(&files.dir);
            result = read_list(mailbox);
        }
        if (result == 0)
            result = read_updates(mailbox, &files);
        struct signature now;
        if (result == 0)
            result = signature_take(mailbox->bridge->store, path, &now);
        if (result < 0 || signature_same(&mailbox->keywords.directory, &now))
            break;
    }
    return result == -ENOENT || result == -ENOTDIR ? 0 : result;
}

/* In the two seconds after a change nothing that was read is trusted for long, but a listing of cur
 * asks for the keywords of every message in a moment. */
#define UNSETTLED_MILLISECONDS 50

static bool is_still_good(const struct keyword_state *state, const struct signature *directory,
                          const struct signature *mapping)
{
    if (signature_unchanged(&state->directory, directory) &&
        signature_unchanged(&state->mapping, mapping))
        return true;
    return signature_same(&state->directory, directory) &&
           signature_same(&state->mapping, mapping) &&
           clock_milliseconds() - state->loaded_at < UNSETTLED_MILLISECONDS;
}

int keywords_read(struct mailbox *mailbox)
{
    struct keyword_state *state = &mailbox->keywords;
    BUF_AUTO path = BUF_EMPTY;
    struct signature directory = SIGNATURE_ABSENT;
    struct signature mapping = SIGNATURE_ABSENT;
    int result = store_join(&path, mailbox->path, KEYWORD_DIRECTORY);
    if (result == 0)
        result = signature_take(mailbox->bridge->store, path.data, &directory);
    if (result == 0)
        result = home_signature(mailbox, KEYWORD_LETTERS_FILE, &mapping);
    if (result < 0)
        return result;
    if (state->loaded && is_still_good(state, &directory, &mapping))
        return 0;
    state->loaded = false;
    state->loaded_at = clock_milliseconds();
    state->directory = directory;
    result = keyword_letters_read(mailbox);
    if (result == 0) {
        if (directory.present)
            result = read_directory(mailbox, path.data);
        else
            keyword_forget_all(state);
    }
    state->loaded = result == 0;
    return result;
}

int keywords_load(struct mailbox *mailbox)
{
    if (mailbox->lock.held && mailbox->keywords.loaded)
        return 0;
    return keywords_read(mailbox);
}

uint32_t keywords_letters(const struct keyword_state *state, struct span base)
{
    const struct keyword_entry *entry = keyword_find(state, base);
    return entry == NULL ? 0 : entry->letters | entry->unnamed;
}
