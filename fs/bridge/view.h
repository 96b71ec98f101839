/* A view: the records of one dovecot-uidlist text, to be found by UID and by base name. */
#pragma once

#include "base/buf.h"
#include "bridge/base_map.h"
#include "dovecot/uidlist.h"

struct view_record {
    uint32_t uid;
    uint32_t length; /* of the line, without LF */
    size_t offset;   /* of the line in the text */
};

struct view {
    const struct buf *text; /* the owner's; may grow, never changes otherwise */
    uint32_t uidvalidity;
    uint32_t uidnext; /* of the header line */
    char guid[UIDLIST_GUID_LEN + 1];
    struct view_record *records; /* ascending by UID */
    size_t count;
    size_t capacity;
    struct base_map bases;
};

/* Reads the whole text. The view must stay where it is in memory until it is released. 0, -EUCLEAN
 * (not a list that Dovecot would read without complaint), -ENOMEM; on failure *view is empty. */
int view_init(struct view *view, const struct buf *text);
/* Reads what the text has from OFFSET on: complete lines with ascending UIDs. 0, -EUCLEAN with the
 * lines before the bad one added, or -ENOMEM. */
int view_extend(struct view *view, size_t offset);
void view_release(struct view *view);

struct uidlist_record view_record_at(const struct view *view, size_t position);
/* The newest record with this base name; false if there is none. */
bool view_find_base(const struct view *view, struct span base, struct uidlist_record *record_r);
bool view_find_uid(const struct view *view, uint32_t uid, struct uidlist_record *record_r);
/* The first record with a UID above UID; view->count if there is none. */
size_t view_position_above(const struct view *view, uint32_t uid);
/* The UID that comes next by what this text says. */
uint32_t view_implied_next(const struct view *view);
