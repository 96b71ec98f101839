#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "bridge/mailbox.h"
#include "courier/keywords.h"

#define MAPPING_FILE "courierfs-keywords"
#define DIRECTORY "courierimapkeywords"
#define UPDATE_LIMIT ((size_t)1 << 20)
#define LIST_LIMIT ((size_t)1 << 30)

/* ---- entries --------------------------------------------------------------------------------- */

static struct span entry_base(const void *owner, uint32_t position)
{
    const struct keyword_state *state = owner;
    const struct keyword_entry *entry = &state->entries[position];
    return span_make(state->names.data + entry->base_offset, entry->base_len);
}

static void forget_entries(struct keyword_state *state)
{
    for (size_t i = 0; i < state->count; i++)
        free(state->entries[i].extra);
    free(state->entries);
    state->entries = NULL;
    state->count = state->capacity = 0;
    base_map_release(&state->bases);
    buf_release(&state->names);
    state->shown = 0;
    state->unassigned = false;
}

void keyword_state_release(struct keyword_state *state)
{
    forget_entries(state);
    buf_release(&state->mapping_text);
}

static struct keyword_entry *find_entry(const struct keyword_state *state, struct span base)
{
    uint32_t position = base_map_find(&state->bases, base);
    return position == BASE_MAP_NONE ? NULL : &state->entries[position];
}

/* The entry of BASE, made if there is none; NULL = out of memory. */
static struct keyword_entry *need_entry(struct keyword_state *state, struct span base)
{
    struct keyword_entry *found = find_entry(state, base);
    if (found != NULL)
        return found;
    if (state->bases.slot_count == 0 && base_map_init(&state->bases, 0, entry_base, state) < 0)
        return NULL;
    if (state->count == state->capacity) {
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
static uint64_t share_of(const struct keyword_state *state, const struct keyword_entry *entry)
{
    uint64_t keywords = entry->letters | entry->unnamed;
    if (entry->extra != NULL)
        keywords += XXH3_64bits(entry->extra, strlen(entry->extra));
    struct span base = span_make(state->names.data + entry->base_offset, entry->base_len);
    return keywords == 0 ? 0 : XXH3_64bits_withSeed(base.text, base.len, keywords);
}

/* The keywords of one message as Courier has them, split by what the letters can say. */
struct message_keywords {
    uint32_t letters;
    struct buf extra;
};

static void add_name(struct keyword_state *state, struct message_keywords *keywords,
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
static int put_entry(struct keyword_state *state, struct span base,
                     struct message_keywords *keywords)
{
    struct keyword_entry *entry = need_entry(state, base);
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
    state->shown -= share_of(state, entry);
    free(entry->extra);
    entry->extra = extra;
    entry->letters = keywords->letters;
    state->shown += share_of(state, entry);
    return 0;
}

/* ---- reading Courier's files ----------------------------------------------------------------- */

static int read_list(struct mailbox *mailbox)
{
    struct keyword_state *state = &mailbox->keywords;
    BUF_AUTO path = BUF_EMPTY;
    BUF_AUTO text = BUF_EMPTY;
    struct stat st;
    int result = store_join(&path, mailbox->path, DIRECTORY "/:list");
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
            add_name(state, &keywords, list.names[message->indexes[k]]);
        result = put_entry(state, message->base, &keywords);
    }
    keyword_list_release(&list);
    return result;
}

/* Reads an update file. -ENOENT if it went away. */
static int read_update(struct mailbox *mailbox, struct span file_name,
                       struct message_keywords *keywords)
{
    BUF_AUTO path = BUF_EMPTY;
    BUF_AUTO text = BUF_EMPTY;
    struct stat st;
    if (strcmp(mailbox->path, ".") != 0)
        buf_printf(&path, "%s/", mailbox->path);
    buf_printf(&path, DIRECTORY "/%.*s", SPAN_FMT(file_name));
    int result = buf_terminate(&path);
    if (result == 0)
        result = store_read_file(mailbox->bridge->store, path.data, UPDATE_LIMIT, &text, &st);
    if (result < 0)
        return result;
    struct span rest = buf_span(&text);
    struct span name;
    while (keyword_update_next(&rest, &name))
        add_name(&mailbox->keywords, keywords, name);
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
    for (size_t i = 0; i < files->count; i++) {
        struct update update = {.file_name = dir_entry_name(files, &files->entries[i])};
        switch (keyword_file_kind(update.file_name, &update.base, &update.period)) {
        case KEYWORD_FILE_PENDING:
            update.period = UINT64_MAX;
            updates[count++] = update;
            break;
        case KEYWORD_FILE_MERGED:
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
        int result = read_update(mailbox, updates[i].file_name, &keywords);
        if (result == 0)
            result = put_entry(&mailbox->keywords, updates[i].base, &keywords);
        else
            buf_release(&keywords.extra);
        if (result < 0 && result != -ENOENT)
            return result;
    }
    return 0;
}

static int read_mapping(struct mailbox *mailbox)
{
    struct keyword_state *state = &mailbox->keywords;
    buf_clear(&state->mapping_text);
    int result = home_read(mailbox, MAPPING_FILE, &state->mapping_text, &state->mapping_stat);
    if (result < 0 && result != -ENOENT)
        return result;
    state->mapping = result < 0 ? SIGNATURE_ABSENT : signature_of_stat(&state->mapping_stat);
    letter_names_parse(buf_span(&state->mapping_text), NULL, &state->letters);
    return 0;
}

/* Merging by Courier renames update files at any moment: a listing that has names which are gone
 * when they are read is repeated. */
#define READINGS 4

static int read_directory(struct mailbox *mailbox, const char *path)
{
    int result = 0;
    for (int i = 0; i < READINGS; i++) {
        forget_entries(&mailbox->keywords);
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

static int load(struct mailbox *mailbox)
{
    struct keyword_state *state = &mailbox->keywords;
    BUF_AUTO path = BUF_EMPTY;
    struct signature directory;
    struct signature mapping;
    int result = store_join(&path, mailbox->path, DIRECTORY);
    if (result == 0)
        result = signature_take(mailbox->bridge->store, path.data, &directory);
    if (result == 0)
        result = home_signature(mailbox, MAPPING_FILE, &mapping);
    if (result < 0)
        return result;
    if (state->loaded && signature_unchanged(&state->directory, &directory) &&
        signature_unchanged(&state->mapping, &mapping))
        return 0;
    state->loaded = false;
    state->directory = directory;
    result = read_mapping(mailbox);
    if (result == 0) {
        if (directory.present)
            result = read_directory(mailbox, path.data);
        else
            forget_entries(state);
    }
    state->loaded = result == 0;
    return result;
}

int keywords_load(struct mailbox *mailbox)
{
    if (mailbox->lock.held && mailbox->keywords.loaded)
        return 0;
    return load(mailbox);
}

uint32_t keywords_letters(const struct keyword_state *state, struct span base)
{
    const struct keyword_entry *entry = find_entry(state, base);
    return entry == NULL ? 0 : entry->letters | entry->unnamed;
}

/* ---- the letters' names ---------------------------------------------------------------------- */

/* Dovecot looks at whole seconds only: the mtime moves by one at least. */
static int set_mapping_time(struct mailbox *mailbox, time_t at_least)
{
    struct keyword_state *state = &mailbox->keywords;
    time_t seconds = time(NULL);
    if (seconds < at_least)
        seconds = at_least;
    if (state->mapping.present && seconds <= state->mapping_stat.st_mtim.tv_sec)
        seconds = state->mapping_stat.st_mtim.tv_sec + 1;
    BUF_AUTO path = BUF_EMPTY;
    int result = store_join(&path, mailbox->path, MAPPING_FILE);
    if (result < 0)
        return result;
    const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    home_begin(mailbox);
    result = store_utimens(mailbox->bridge->home, path.data, times);
    home_end(mailbox);
    return result;
}

/* Writes LETTERS, whose spans may point into the old text. */
static int write_mapping(struct mailbox *mailbox, const struct letter_names *letters,
                         time_t at_least)
{
    struct keyword_state *state = &mailbox->keywords;
    BUF_AUTO text = BUF_EMPTY;
    letter_names_format(letters, &text);
    int result = buf_error(&text);
    if (result == 0)
        result =
            home_replace(mailbox, MAPPING_FILE, buf_span(&text),
                         state->mapping.present ? &state->mapping_stat : NULL, NULL, NULL, NULL);
    if (result == 0)
        result = set_mapping_time(mailbox, at_least);
    if (result == 0)
        result = read_mapping(mailbox);
    return result;
}

static int compare_names(const void *a, const void *b)
{
    return span_compare_nocase(*(const struct span *)a, *(const struct span *)b);
}

/* All names without a letter, each once without regard to case, in order; they point into the
 * entries. */
static int collect_unassigned(const struct keyword_state *state, struct span **names_r,
                              size_t *count_r)
{
    size_t room = 0;
    for (size_t i = 0; i < state->count; i++) {
        for (const char *c = state->entries[i].extra; c != NULL && *c != '\0'; c++)
            room += *c == '\n';
    }
    struct span *names = calloc(room + 1, sizeof(*names));
    if (names == NULL)
        return -ENOMEM;
    size_t count = 0;
    for (size_t i = 0; i < state->count; i++) {
        if (state->entries[i].extra == NULL)
            continue;
        struct span rest = span_of(state->entries[i].extra);
        bool complete;
        while (span_next_line(&rest, &names[count], &complete))
            count++;
    }
    qsort(names, count, sizeof(*names), compare_names);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || compare_names(&names[kept - 1], &names[i]) != 0)
            names[kept++] = names[i];
    }
    *names_r = names;
    *count_r = kept;
    return 0;
}

static int assign_letters(struct mailbox *mailbox)
{
    struct keyword_state *state = &mailbox->keywords;
    AUTO_FREE struct span *names = NULL;
    size_t count = 0;
    int result = collect_unassigned(state, &names, &count);
    if (result < 0)
        return result;
    struct letter_names letters = state->letters;
    size_t left_out = 0;
    bool changed = false;
    for (size_t i = 0; i < count; i++) {
        int letter = letter_names_free(&letters);
        if (letter < 0) {
            left_out = count - i;
            break;
        }
        letters.name[letter] = names[i];
        changed = true;
    }
    if (left_out > 0 && !state->told_too_many) {
        state->told_too_many = true;
        log_warning(
            "'%s': more than %d keywords: '%.*s' and %zu others stay in Courier's files and "
            "are not shown",
            mailbox->path, LETTER_COUNT, SPAN_FMT(names[count - left_out]), left_out - 1);
    }
    if (!changed)
        return 0;
    result = write_mapping(mailbox, &letters, 0);
    if (result < 0)
        return result;
    state->loaded = false; /* names that are letters now */
    return load(mailbox);
}

int keywords_at_grant(struct mailbox *mailbox)
{
    int result = load(mailbox);
    const struct keyword_state *state = &mailbox->keywords;
    bool too_many = letter_names_free(&state->letters) < 0 && !state->told_too_many;
    if (result == 0 && (state->unassigned || too_many))
        result = assign_letters(mailbox);
    return result;
}

/* ---- recording ------------------------------------------------------------------------------- */

/* Writes the complete set as an update file, as imapd does for a STORE. */
static int write_update(struct mailbox *mailbox, struct span base, uint32_t letters,
                        const char *extra)
{
    struct store *store = mailbox->bridge->store;
    const struct keyword_state *state = &mailbox->keywords;
    if (base.len == 0 || base.text[0] == '.')
        return 0; /* such a file is no message for Courier */
    BUF_AUTO text = BUF_EMPTY;
    for (int i = 0; i < LETTER_COUNT; i++) {
        if ((letters & ((uint32_t)1 << i)) != 0) {
            buf_add_span(&text, state->letters.name[i]);
            buf_add_char(&text, '\n');
        }
    }
    if (extra != NULL)
        buf_add_string(&text, extra);
    BUF_AUTO directory = BUF_EMPTY;
    BUF_AUTO path = BUF_EMPTY;
    int result = store_join(&directory, mailbox->path, DIRECTORY);
    if (result == 0) {
        buf_printf(&path, "%s/%.*s", directory.data, SPAN_FMT(base));
        result = buf_terminate(&path);
    }
    if (result == 0)
        result = buf_error(&text);
    if (result < 0)
        return result;
    result = store_mkdir(store, directory.data, mailbox->dir.st_mode & 0777);
    if (result < 0 && result != -EEXIST)
        return result;
    struct draft draft;
    result = draft_write(store, mailbox->path, buf_span(&text), NULL, &draft);
    if (result == 0)
        result = draft_install(store, &draft, directory.data, path.data);
    draft_discard(store, &draft);
    return result;
}

/* What Courier says at this moment, if a session of its own wrote an update since we looked. */
static int read_current(struct mailbox *mailbox, const struct keyword_entry *entry,
                        struct span base, struct message_keywords *current)
{
    *current = (struct message_keywords){.extra = BUF_EMPTY};
    int result = read_update(mailbox, base, current);
    if (result == -ENOENT || result == -ENOTDIR) {
        current->letters = entry->letters;
        if (entry->extra != NULL)
            buf_add_string(&current->extra, entry->extra);
        result = 0;
    }
    if (result == 0)
        result = buf_terminate(&current->extra);
    return result;
}

static uint32_t named_letters(const struct letter_names *names)
{
    uint32_t letters = 0;
    for (int i = 0; i < LETTER_COUNT; i++) {
        if (names->name[i].len > 0)
            letters |= (uint32_t)1 << i;
    }
    return letters;
}

int keywords_set(struct mailbox *mailbox, struct span base, uint32_t letters)
{
    struct keyword_state *state = &mailbox->keywords;
    int result = keywords_load(mailbox);
    if (result < 0)
        return result;
    struct keyword_entry *entry = find_entry(state, base);
    uint32_t shown = entry == NULL ? 0 : entry->letters | entry->unnamed;
    if (letters == shown)
        return 0;
    if (mailbox->bridge->store->read_only)
        return -EROFS;
    entry = need_entry(state, base);
    if (entry == NULL)
        return -ENOMEM;
    uint32_t named = named_letters(&state->letters);
    uint32_t added = letters & named & ~entry->letters;
    uint32_t removed = entry->letters & ~letters;
    if (added != 0 || removed != 0) {
        struct message_keywords current;
        result = read_current(mailbox, entry, base, &current);
        if (result == 0) {
            current.letters = (current.letters | added) & ~removed;
            result = write_update(mailbox, base, current.letters, current.extra.data);
        }
        if (result == 0)
            result = put_entry(state, base, &current);
        buf_release(&current.extra);
        if (result < 0)
            return result;
    }
    state->shown -= share_of(state, entry);
    entry->unnamed = letters & ~named;
    state->shown += share_of(state, entry);
    return 0;
}

void keywords_forget_unnamed(struct mailbox *mailbox)
{
    struct keyword_state *state = &mailbox->keywords;
    for (size_t i = 0; i < state->count; i++) {
        struct keyword_entry *entry = &state->entries[i];
        state->shown -= share_of(state, entry);
        entry->unnamed = 0;
        state->shown += share_of(state, entry);
    }
}

/* ---- dovecot-keywords ------------------------------------------------------------------------ */

int keywords_lookup(struct mailbox *mailbox, struct control_file **file_r)
{
    struct keyword_state *state = &mailbox->keywords;
    int result = keywords_load(mailbox);
    if (result < 0)
        return result;
    if (!state->mapping.present)
        return -ENOENT;
    struct control_file *file = mailbox->file[CONTROL_KEYWORDS];
    struct span text = buf_span(&state->mapping_text);
    if (file == NULL || !span_equal(buf_span(&file->content), text) ||
        file->mtime.tv_sec != state->mapping_stat.st_mtim.tv_sec) {
        result =
            control_file_new(mailbox, CONTROL_KEYWORDS, bridge_new_ino(mailbox->bridge), &file);
        if (result < 0)
            return result;
        mailbox_set_file(mailbox, CONTROL_KEYWORDS, file);
        buf_add_span(&file->content, text);
        file->mtime = state->mapping_stat.st_mtim;
    }
    control_file_take_owner(file, &state->mapping_stat);
    if (buf_error(&file->content) < 0)
        return -ENOMEM;
    *file_r = control_ref(file);
    return 0;
}

/* Where Dovecot's letter I is in the mailbox's own numbering after its names were merged; -1: there
 * was no room for the name. */
struct translation {
    int to[LETTER_COUNT];
};

static bool merge_names(const struct letter_names *written, struct letter_names *merged,
                        struct translation *translation)
{
    bool changed = false;
    for (int i = 0; i < LETTER_COUNT; i++) {
        translation->to[i] = -1;
        if (written->name[i].len == 0)
            continue;
        int letter = letter_names_find(merged, written->name[i]);
        if (letter < 0) {
            letter = merged->name[i].len == 0 ? i : letter_names_free(merged);
            if (letter < 0)
                continue;
            merged->name[letter] = written->name[i];
            changed = true;
        }
        translation->to[i] = letter;
    }
    return changed;
}

/* Gives the letters that waited for a name to their messages. */
static int name_the_unnamed(struct mailbox *mailbox, const struct translation *translation)
{
    struct keyword_state *state = &mailbox->keywords;
    for (size_t i = 0; i < state->count; i++) {
        struct keyword_entry *entry = &state->entries[i];
        if (entry->unnamed == 0)
            continue;
        uint32_t letters = entry->letters;
        for (int bit = 0; bit < LETTER_COUNT; bit++) {
            if ((entry->unnamed & ((uint32_t)1 << bit)) != 0 && translation->to[bit] >= 0)
                letters |= (uint32_t)1 << translation->to[bit];
        }
        state->shown -= share_of(state, entry);
        entry->unnamed = 0;
        state->shown += share_of(state, entry);
        BUF_AUTO base = BUF_EMPTY; /* the entries' names may move */
        buf_add_span(&base, entry_base(state, (uint32_t)i));
        int result = buf_error(&base);
        if (result == 0)
            result = keywords_set(mailbox, buf_span(&base), letters);
        if (result < 0)
            return result;
    }
    return 0;
}

int keywords_record(struct mailbox *mailbox)
{
    struct control_file *file = mailbox->file[CONTROL_KEYWORDS_LOCK];
    if (file == NULL)
        return -ENOENT;
    if (!mailbox->lock.held)
        return -EACCES;
    int result = keywords_load(mailbox);
    if (result < 0)
        return result;
    struct letter_names written;
    letter_names_parse(buf_span(&file->content), NULL, &written);
    struct letter_names merged = mailbox->keywords.letters;
    struct translation translation;
    if (merge_names(&written, &merged, &translation))
        result = write_mapping(mailbox, &merged, file->mtime.tv_sec);
    if (result == 0)
        result = name_the_unnamed(mailbox, &translation);
    return result;
}
