/* courierimapkeywords/: how many keywords a mailbox has, and what is wrong with its files.
 *
 * Of a message the newest word counts, as Courier finds it (courier/keywords.h): its file BASE; else the
 * .N.BASE with the highest N; else its line in ":list". */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "courier/keywords.h"
#include "courier/name.h"
#include "ctl/survey_mailbox.h"
#include "dovecot/keywords.h"

struct update {
    struct span base;
    struct span name;
    uint64_t period; /* UINT64_MAX: not merged yet */
};

struct keyword_survey {
    struct mailbox_survey *mailbox;
    struct update *updates; /* the newest of each message that is there */
    size_t update_count;
    struct buf names; /* of all keywords in use, LF behind each */
    uint64_t messages;
};

static bool has_message(const struct mailbox_survey *mailbox, struct span base)
{
    return dir_list_find_base(&mailbox->cur, base) != NULL ||
           dir_list_find_base(&mailbox->new, base) != NULL;
}

static bool has_file(const struct mailbox_survey *mailbox, struct span name)
{
    const struct dir_entry *entry = dir_list_find_base(&mailbox->cur, name_base(name));
    for (const struct dir_entry *end = mailbox->cur.entries + mailbox->cur.count;
         entry != NULL && entry < end; entry++) {
        struct span there = dir_entry_name(&mailbox->cur, entry);
        if (span_equal(there, name))
            return true;
        if (!span_equal(name_base(there), name_base(name)))
            return false;
    }
    return false;
}

/* A name over which imapd never ends (courier/keywords.h): a message's with its flags, or a time that is
 * not written as a plain number of 64 bits. */
static bool makes_courier_loop(const struct mailbox_survey *mailbox, struct span name)
{
    if (!span_starts(name, "."))
        return has_file(mailbox, name);
    struct span rest, digits = span_until(span_make(name.text + 1, name.len - 1), '.', &rest);
    uint64_t period;
    if (rest.len == 0 || digits.len == 0 || digits.text[0] < '0' || digits.text[0] > '9')
        return false;
    bool plain = span_to_u64(digits, &period) && (digits.text[0] != '0' || digits.len == 1);
    return plain ? has_file(mailbox, rest) : has_message(mailbox, name_base(rest));
}

static int compare_updates(const void *a, const void *b)
{
    const struct update *x = a, *y = b;
    int order = span_compare(x->base, y->base);
    return order != 0 ? order : (x->period < y->period) - (x->period > y->period);
}

static int compare_with_update(const void *base, const void *update)
{
    return span_compare(*(const struct span *)base, ((const struct update *)update)->base);
}

/* The newest update of each message. 0 or -ENOMEM. */
static int collect_updates(struct keyword_survey *survey, const struct dir_list *files)
{
    size_t count = 0;
    survey->updates = calloc(files->count + 1, sizeof(*survey->updates));
    if (survey->updates == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < files->count; i++) {
        struct update update = {.name = dir_entry_name(files, &files->entries[i])};
        enum keyword_file_kind kind = keyword_file_kind(update.name, &update.base, &update.period);
        if (kind == KEYWORD_FILE_OTHER && makes_courier_loop(survey->mailbox, update.name)) {
            BUF_AUTO path = BUF_EMPTY;
            buf_printf(&path, "courierimapkeywords/%s", update.name.text);
            if (buf_terminate(&path) < 0)
                return -ENOMEM;
            mailbox_found(survey->mailbox, FINDING_KEYWORD_LOOP, path.data, 0, span_of(""),
                          "a name over which imapd never ends");
        }
        if (kind == KEYWORD_FILE_PENDING)
            update.period = UINT64_MAX;
        if ((kind == KEYWORD_FILE_PENDING || kind == KEYWORD_FILE_MERGED) &&
            has_message(survey->mailbox, update.base)) {
            survey->mailbox->figures->keyword_updates += kind == KEYWORD_FILE_PENDING;
            survey->updates[count++] = update;
        }
    }
    qsort(survey->updates, count, sizeof(*survey->updates), compare_updates);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || !span_equal(survey->updates[i].base, survey->updates[i - 1].base))
            survey->updates[survey->update_count++] = survey->updates[i];
    }
    return 0;
}

static void add_name(struct keyword_survey *survey, struct span name)
{
    keyword_add_clean(&survey->names, name);
    buf_add_char(&survey->names, '\n');
}

static void read_updates(struct keyword_survey *survey)
{
    for (size_t i = 0; i < survey->update_count; i++) {
        BUF_AUTO path = BUF_EMPTY;
        BUF_AUTO text = BUF_EMPTY;
        size_t before = survey->names.len;
        struct span name;
        buf_printf(&path, "courierimapkeywords/%s", survey->updates[i].name.text);
        if (survey_check(survey->mailbox->worker->survey, buf_terminate(&path)) < 0 ||
            !mailbox_read_own(survey->mailbox, path.data, &text, NULL))
            continue;
        struct span rest = buf_span(&text);
        while (keyword_update_next(&rest, &name))
            add_name(survey, name);
        survey->messages += survey->names.len > before;
    }
}

static void take_message(struct keyword_survey *survey, const struct keyword_list *list,
                         const struct keyword_message *message)
{
    if (message->count == 0 || !has_message(survey->mailbox, message->base) ||
        (survey->update_count > 0 &&
         bsearch(&message->base, survey->updates, survey->update_count, sizeof(*survey->updates),
                 compare_with_update) != NULL))
        return;
    survey->messages++;
    for (size_t i = 0; i < message->count; i++)
        add_name(survey, list->names[message->indexes[i]]);
}

static void read_list(struct keyword_survey *survey)
{
    struct survey *whole = survey->mailbox->worker->survey;
    BUF_AUTO text = BUF_EMPTY;
    struct complaint_list complaints;
    struct keyword_list list;
    if (!mailbox_read_own(survey->mailbox, "courierimapkeywords/:list", &text, NULL))
        return;
    complaint_list_init(&complaints);
    if (survey_check(whole, keyword_list_parse(buf_span(&text), &complaints.complaints, &list)) < 0)
        return;
    for (size_t i = 0; i < list.message_count; i++)
        take_message(survey, &list, &list.messages[i]);
    mailbox_report(survey->mailbox, FINDING_KEYWORDS_DAMAGED, "courierimapkeywords/:list",
                   &complaints);
    keyword_list_release(&list);
}

static int compare_names(const void *a, const void *b)
{
    return span_compare_nocase(*(const struct span *)a, *(const struct span *)b);
}

/* Each name once; those that differ only in case are one. 0 or -ENOMEM. */
static int count_names(const struct buf *names, uint64_t *count_r)
{
    struct span line, rest = buf_span(names);
    size_t lines = 0;
    bool complete;
    *count_r = 0;
    while (span_next_line(&rest, &line, &complete))
        lines++;
    struct span *sorted = calloc(lines + 1, sizeof(*sorted));
    if (sorted == NULL)
        return -ENOMEM;
    lines = 0;
    rest = buf_span(names);
    while (span_next_line(&rest, &line, &complete))
        sorted[lines++] = line;
    qsort(sorted, lines, sizeof(*sorted), compare_names);
    for (size_t i = 0; i < lines; i++)
        *count_r += i == 0 || compare_names(&sorted[i - 1], &sorted[i]) != 0;
    free(sorted);
    return 0;
}

static void count_keywords(struct mailbox_survey *mailbox, uint64_t keywords, uint64_t messages)
{
    struct survey_figures *figures = mailbox->figures;
    figures->histogram[BY_KEYWORDS][bin_of_keywords(keywords)]++;
    figures->mailboxes_with_keywords += keywords > 0;
    figures->messages_with_keywords += messages;
    if (keywords > figures->most_keywords)
        figures->most_keywords = keywords;
    if (!mailbox->converted) {
        figures->files_to_write += keywords > 0;
        figures->names_to_change += messages;
    }
    if (keywords > LETTER_COUNT) {
        char why[64];
        snprintf(why, sizeof(why), "%llu keywords", (unsigned long long)keywords);
        mailbox_found(mailbox, FINDING_KEYWORDS_MANY, NULL, 0, span_of(""), why);
    }
}

void survey_keywords(struct mailbox_survey *mailbox)
{
    struct survey *whole = mailbox->worker->survey;
    struct keyword_survey survey = {.mailbox = mailbox, .names = BUF_EMPTY};
    DIR_LIST_AUTO files = DIR_LIST_EMPTY;
    uint64_t keywords = 0;
    if (mailbox->has[PART_KEYWORDS] && mailbox_list(mailbox, "courierimapkeywords", &files) &&
        survey_check(whole, collect_updates(&survey, &files)) == 0) {
        read_updates(&survey);
        read_list(&survey);
        survey_check(whole, buf_error(&survey.names));
        survey_check(whole, count_names(&survey.names, &keywords));
    }
    count_keywords(mailbox, keywords, survey.messages);
    free(survey.updates);
    buf_release(&survey.names);
}
