#include "courier/keywords.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/sort.h"
#include "courier/name.h"

struct parse {
    const struct complaints *complaints;
    struct keyword_list *list;
    size_t name_capacity, message_capacity;
    size_t number_count, number_capacity;
    size_t *seen; /* for each name, 1 + the last message that has it */
};

static void stale(struct parse *parse, unsigned number, struct span line, const char *why)
{
    parse->list->stale = true;
    complain(parse->complaints, number, line, why);
}

/* Makes room for one more of COUNT items at *PLACE. */
static int grow(void *place, size_t count, size_t *capacity, size_t size)
{
    void **items = place;
    if (count < *capacity)
        return 0;
    size_t wanted = *capacity == 0 ? 64 : *capacity * 2;
    void *grown = reallocarray(*items, wanted, size);
    if (grown == NULL)
        return -ENOMEM;
    *items = grown;
    *capacity = wanted;
    return 0;
}

/* The names, up to and with the empty line. *NUMBER counts lines. */
static int parse_names(struct parse *parse, struct span *rest, unsigned *number)
{
    struct keyword_list *list = parse->list;
    struct span line;
    bool complete;
    while (span_next_line(rest, &line, &complete)) {
        struct span name = span_until(line, '\0', NULL);
        ++*number;
        if (name.len != line.len)
            stale(parse, *number, line, "a NUL, which ends the line");
        if (name.len == 0)
            return 0;
        if (grow(&list->names, list->name_count, &parse->name_capacity, sizeof(*list->names)) < 0)
            return -ENOMEM;
        list->names[list->name_count++] = name;
    }
    return 0;
}

static int add_number(struct parse *parse, struct keyword_message *message, uint32_t name)
{
    struct keyword_list *list = parse->list;
    if (parse->seen[name] == list->message_count + 1)
        return 0;
    parse->seen[name] = list->message_count + 1;
    if (grow(&list->numbers, parse->number_count, &parse->number_capacity, sizeof(*list->numbers)) <
        0)
        return -ENOMEM;
    list->numbers[parse->number_count++] = name;
    message->count++;
    return 0;
}

/* As C's atoi, which cuts to 32 bits. */
static int32_t to_int(struct span word)
{
    return (int32_t)(uint32_t)(uint64_t)name_number(word);
}

static int parse_numbers(struct parse *parse, unsigned number, struct span line,
                         struct span numbers, struct keyword_message *message)
{
    bool out_of_range = false;
    while (numbers.len > 0) {
        struct span word = span_until(numbers, ' ', &numbers);
        if (word.len == 0)
            continue;
        int32_t name = to_int(word);
        if (name < 0 || (size_t)name >= parse->list->name_count)
            out_of_range = true;
        else if (add_number(parse, message, (uint32_t)name) < 0)
            return -ENOMEM;
    }
    if (out_of_range)
        stale(parse, number, line, "no keyword has this number");
    return 0;
}

static int parse_message(struct parse *parse, unsigned number, struct span line)
{
    struct keyword_list *list = parse->list;
    struct span numbers, text = span_until(line, '\0', NULL);
    struct keyword_message message = {.base = span_until(text, ':', &numbers)};
    if (text.len != line.len)
        stale(parse, number, line, "a NUL, which ends the line");
    if (message.base.len == text.len || message.base.len == 0) {
        stale(parse, number, line, "not BASE:NUMBERS");
        return 0;
    }
    int rc = grow(&list->messages, list->message_count, &parse->message_capacity,
                  sizeof(*list->messages));
    if (rc == 0)
        rc = parse_numbers(parse, number, line, numbers, &message);
    if (rc == 0)
        list->messages[list->message_count++] = message;
    return rc;
}

static int parse_messages(struct parse *parse, struct span rest, unsigned number)
{
    struct span line;
    bool complete;
    int rc = 0;
    parse->seen = calloc(parse->list->name_count + 1, sizeof(*parse->seen));
    if (parse->seen == NULL)
        return -ENOMEM;
    while (rc == 0 && span_next_line(&rest, &line, &complete))
        rc = parse_message(parse, ++number, line);
    free(parse->seen);
    return rc;
}

/* The numbers may have moved while they were added. */
static void point_to_numbers(struct keyword_list *list)
{
    size_t at = 0;
    for (size_t i = 0; i < list->message_count; i++) {
        list->messages[i].indexes = list->numbers == NULL ? NULL : list->numbers + at;
        at += list->messages[i].count;
    }
}

static int compare_bases(const void *a, const void *b)
{
    const struct keyword_message *x = *(struct keyword_message *const *)a;
    const struct keyword_message *y = *(struct keyword_message *const *)b;
    return span_compare(x->base, y->base);
}

static void remove_marked(struct keyword_list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->message_count; i++)
        if (list->messages[i].base.len > 0)
            list->messages[kept++] = list->messages[i];
    list->message_count = kept;
}

/* Of several messages of one name only the last stays. */
static int drop_same_bases(struct parse *parse)
{
    struct keyword_list *list = parse->list;
    struct keyword_message **sorted =
        calloc(list->message_count + 1, sizeof(struct keyword_message *));
    if (sorted == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < list->message_count; i++)
        sorted[i] = &list->messages[i];
    int rc =
        sort_stable(sorted, list->message_count, sizeof(struct keyword_message *), compare_bases);
    for (size_t i = 1; rc == 0 && i < list->message_count; i++) {
        if (!span_equal(sorted[i - 1]->base, sorted[i]->base))
            continue;
        stale(parse, 0, sorted[i]->base, "has several lines, the last counts");
        sorted[i - 1]->base.len = 0;
    }
    free(sorted);
    remove_marked(list);
    return rc;
}

int keyword_list_parse(struct span text, const struct complaints *complaints,
                       struct keyword_list *list_r)
{
    unsigned number = 0;
    memset(list_r, 0, sizeof(*list_r));
    struct parse parse = {.complaints = complaints, .list = list_r};
    int rc = parse_names(&parse, &text, &number);
    if (rc == 0)
        rc = parse_messages(&parse, text, number);
    point_to_numbers(list_r);
    if (rc == 0)
        rc = drop_same_bases(&parse);
    if (rc < 0)
        keyword_list_release(list_r);
    return rc;
}

static void format_message(const struct keyword_message *message, struct buf *out)
{
    if (message->count == 0)
        return;
    buf_add_span(out, message->base);
    for (size_t i = 0; i < message->count; i++)
        buf_printf(out, "%c%" PRIu32, i == 0 ? ':' : ' ', message->indexes[i]);
    buf_add_char(out, '\n');
}

void keyword_list_format(const struct keyword_list *list, struct buf *out)
{
    if (list->name_count == 0)
        return;
    for (size_t i = 0; i < list->name_count; i++) {
        buf_add_span(out, list->names[i]);
        buf_add_char(out, '\n');
    }
    buf_add_char(out, '\n');
    for (size_t i = 0; i < list->message_count; i++)
        format_message(&list->messages[i], out);
}

void keyword_list_release(struct keyword_list *list)
{
    free(list->names);
    free(list->messages);
    free(list->numbers);
    memset(list, 0, sizeof(*list));
}

bool keyword_update_next(struct span *rest, struct span *name_r)
{
    struct span line;
    bool complete;
    if (!span_next_line(rest, &line, &complete))
        return false;
    *name_r = span_until(line, '\0', NULL);
    if (name_r->len == 0)
        *rest = span_make(NULL, 0);
    return name_r->len > 0;
}

void keyword_add_clean(struct buf *out, struct span name)
{
    static const char forbidden[] = " \"%()*\\]{\n"; /* and its NUL */
    for (size_t i = 0; i < name.len; i++) {
        char c = name.text[i];
        buf_add_char(out, memchr(forbidden, c, sizeof(forbidden)) != NULL ? '_' : c);
    }
}

enum keyword_file_kind keyword_file_kind(struct span name, struct span *base_r, uint64_t *period_r)
{
    struct span rest;
    uint64_t period;
    if (span_equals(name, ":list"))
        return KEYWORD_FILE_LIST;
    if (name.len == 0 || memchr(name.text, ':', name.len) != NULL)
        return KEYWORD_FILE_OTHER;
    if (name.text[0] != '.') {
        *base_r = name;
        return KEYWORD_FILE_PENDING;
    }
    struct span digits = span_until(span_make(name.text + 1, name.len - 1), '.', &rest);
    if (rest.len == 0 || rest.text[0] == '.' || !span_to_u64(digits, &period) ||
        digits.text[0] == '0')
        return KEYWORD_FILE_OTHER;
    *base_r = rest;
    *period_r = period;
    return KEYWORD_FILE_MERGED;
}
