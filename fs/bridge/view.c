#include "bridge/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct uidlist_record view_record_at(const struct view *view, size_t position)
{
    const struct view_record *place = &view->records[position];
    struct uidlist_record record = {0};
    /* It parsed when it was added. */
    (void)uidlist_parse_record(span_make(view->text->data + place->offset, place->length), &record);
    return record;
}

static struct span base_of(const void *owner, uint32_t position)
{
    return view_record_at(owner, position).base;
}

static int add_record(struct view *view, uint32_t uid, size_t offset, size_t length)
{
    if (view->count == view->capacity) {
        size_t capacity = view->capacity == 0 ? 64 : view->capacity + view->capacity / 2;
        struct view_record *grown = realloc(view->records, capacity * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        view->records = grown;
        view->capacity = capacity;
    }
    view->records[view->count] =
        (struct view_record){.uid = uid, .length = (uint32_t)length, .offset = offset};
    int result = base_map_put(&view->bases, (uint32_t)view->count);
    if (result == 0)
        view->count++;
    return result;
}

int view_extend(struct view *view, size_t offset)
{
    struct span rest = span_make(view->text->data + offset, view->text->len - offset);
    struct span line;
    bool complete;
    while (span_next_line(&rest, &line, &complete)) {
        struct uidlist_record record;
        if (!complete || line.len > UINT32_MAX || uidlist_parse_record(line, &record) < 0)
            return -EUCLEAN;
        if (view->count > 0 && record.uid <= view->records[view->count - 1].uid)
            return -EUCLEAN;
        int result = add_record(view, record.uid, (size_t)(line.text - view->text->data), line.len);
        if (result < 0)
            return result;
    }
    return 0;
}

static int read_header(struct view *view, size_t *end_r)
{
    struct span rest = buf_span(view->text);
    struct span line;
    bool complete;
    if (!span_next_line(&rest, &line, &complete) || !complete)
        return -EUCLEAN;
    BUF_AUTO scratch = BUF_EMPTY;
    struct uidlist_header header;
    int result = uidlist_parse_header(line, &scratch, &header);
    if (result < 0)
        return result;
    view->uidvalidity = header.uidvalidity;
    view->uidnext = header.uidnext;
    if (header.guid.len == UIDLIST_GUID_LEN)
        memcpy(view->guid, header.guid.text, UIDLIST_GUID_LEN);
    *end_r = view->text->len - rest.len;
    return 0;
}

int view_init(struct view *view, const struct buf *text)
{
    *view = (struct view){.text = text};
    size_t lines_start = 0;
    int result = read_header(view, &lines_start);
    if (result == 0)
        result = base_map_init(&view->bases, text->len / 48, base_of, view);
    if (result == 0)
        result = view_extend(view, lines_start);
    if (result < 0)
        view_release(view);
    return result;
}

void view_release(struct view *view)
{
    free(view->records);
    base_map_release(&view->bases);
    *view = (struct view){.text = NULL};
}

bool view_find_base(const struct view *view, struct span base, struct uidlist_record *record_r)
{
    uint32_t position = base_map_find(&view->bases, base);
    if (position == BASE_MAP_NONE)
        return false;
    *record_r = view_record_at(view, position);
    return true;
}

size_t view_position_above(const struct view *view, uint32_t uid)
{
    size_t low = 0;
    size_t high = view->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (view->records[middle].uid <= uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool view_find_uid(const struct view *view, uint32_t uid, struct uidlist_record *record_r)
{
    size_t above = view_position_above(view, uid);
    if (above == 0 || view->records[above - 1].uid != uid)
        return false;
    *record_r = view_record_at(view, above - 1);
    return true;
}

uint32_t view_implied_next(const struct view *view)
{
    uint32_t after_last = view->count == 0 ? 1 : view->records[view->count - 1].uid + 1;
    return view->uidnext > after_last ? view->uidnext : after_last;
}
