#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "bridge/mailbox.h"

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
    int result = store_join(&directory, mailbox->path, KEYWORD_DIRECTORY);
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
    mailbox->lock.tmp_touched = true;
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
    int result = keyword_update_read(mailbox, base, current);
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
    struct keyword_entry *entry = keyword_find(state, base);
    uint32_t shown = entry == NULL ? 0 : entry->letters | entry->unnamed;
    if (letters == shown)
        return 0;
    if (mailbox->bridge->store->read_only)
        return -EROFS;
    entry = keyword_need(state, base);
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
            result = keyword_put(state, base, &current);
        buf_release(&current.extra);
        if (result < 0)
            return result;
    }
    state->shown -= keyword_share(state, entry);
    entry->unnamed = letters & ~named;
    state->shown += keyword_share(state, entry);
    return 0;
}

void keywords_forget_unnamed(struct mailbox *mailbox)
{
    struct keyword_state *state = &mailbox->keywords;
    for (size_t i = 0; i < state->count; i++) {
        struct keyword_entry *entry = &state->entries[i];
        state->shown -= keyword_share(state, entry);
        entry->unnamed = 0;
        state->shown += keyword_share(state, entry);
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
        state->shown -= keyword_share(state, entry);
        entry->unnamed = 0;
        state->shown += keyword_share(state, entry);
        BUF_AUTO base = BUF_EMPTY; /* the entries' names may move */
        buf_add_span(&base, keyword_entry_base(state, (uint32_t)i));
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
        result = keyword_letters_write(mailbox, &merged, file->mtime.tv_sec);
    if (result == 0)
        result = name_the_unnamed(mailbox, &translation);
    return result;
}
