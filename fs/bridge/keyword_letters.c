/* The letters and their names: courierfs-keywords, in the format of dovecot-keywords. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "bridge/mailbox.h"

int keyword_letters_read(struct mailbox *mailbox)
{
    struct keyword_state *state = &mailbox->keywords;
    buf_clear(&state->mapping_text);
    int result =
        home_read(mailbox, KEYWORD_LETTERS_FILE, &state->mapping_text, &state->mapping_stat);
    if (result < 0 && result != -ENOENT)
        return result;
    state->mapping = result < 0 ? SIGNATURE_ABSENT : signature_of_stat(&state->mapping_stat);
    letter_names_parse(buf_span(&state->mapping_text), NULL, &state->letters);
    return 0;
}

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
    int result = store_join(&path, mailbox->path, KEYWORD_LETTERS_FILE);
    if (result < 0)
        return result;
    const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    home_begin(mailbox);
    result = store_utimens(mailbox->bridge->home, path.data, times);
    home_end(mailbox);
    return result;
}

/* Writes LETTERS, whose spans may point into the old text. */
int keyword_letters_write(struct mailbox *mailbox, const struct letter_names *letters,
                          time_t at_least)
{
    struct keyword_state *state = &mailbox->keywords;
    BUF_AUTO text = BUF_EMPTY;
    letter_names_format(letters, &text);
    int result = buf_error(&text);
    if (result == 0)
        result =
            home_replace(mailbox, KEYWORD_LETTERS_FILE, buf_span(&text),
                         state->mapping.present ? &state->mapping_stat : NULL, NULL, NULL, NULL);
    if (result == 0)
        result = set_mapping_time(mailbox, at_least);
    if (result == 0)
        result = keyword_letters_read(mailbox);
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
    result = keyword_letters_write(mailbox, &letters, 0);
    if (result < 0)
        return result;
    state->loaded = false; /* names that are letters now */
    return keywords_read(mailbox);
}

int keywords_at_grant(struct mailbox *mailbox)
{
    int result = keywords_read(mailbox);
    const struct keyword_state *state = &mailbox->keywords;
    bool too_many = letter_names_free(&state->letters) < 0 && !state->told_too_many;
    if (result == 0 && (state->unassigned || too_many))
        result = assign_letters(mailbox);
    return result < 0 ? result : keywords_merge(mailbox);
}
