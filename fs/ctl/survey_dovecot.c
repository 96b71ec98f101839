/* Files that an earlier Dovecot left in a mailbox: do they say what Courier's say? */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include "bridge/view.h"
#include "ctl/survey_mailbox.h"

static void differs(struct mailbox_survey *mailbox, struct span text, const char *why)
{
    mailbox->figures->dovecot_differs++;
    mailbox_found(mailbox, FINDING_DOVECOT_DIFFERS, "dovecot-uidlist", 0, text, why);
}

/* UIDs of messages that both know; what only one knows came later. */
static void compare_uids(struct mailbox_survey *mailbox, const struct view *view)
{
    const struct uiddb *db = &mailbox->uiddb;
    size_t both = 0, others = 0, first = 0;
    uint32_t first_uid = 0;
    for (size_t i = 0; i < db->count; i++) {
        struct uidlist_record record;
        if (!view_find_base(view, db->lines[i].base, &record))
            continue;
        both++;
        if (record.uid == db->lines[i].uid)
            continue;
        if (others++ == 0) {
            first = i;
            first_uid = record.uid;
        }
    }
    if (others == 0) {
        mailbox->figures->dovecot_agrees++;
        return;
    }
    char why[160];
    snprintf(why, sizeof(why),
             "%zu of %zu messages have other UIDs; the first one %" PRIu32 " here, %" PRIu32
             " for Courier",
             others, both, first_uid, db->lines[first].uid);
    differs(mailbox, db->lines[first].base, why);
}

static void compare_lists(struct mailbox_survey *mailbox, const struct view *view)
{
    char why[96];
    if (view->uidvalidity == mailbox->uiddb.uidvalidity) {
        compare_uids(mailbox, view);
        return;
    }
    snprintf(why, sizeof(why), "UIDVALIDITY is %" PRIu32 " here, %" PRIu32 " for Courier",
             view->uidvalidity, mailbox->uiddb.uidvalidity);
    differs(mailbox, span_of(""), why);
}

static void survey_uidlist(struct mailbox_survey *mailbox)
{
    BUF_AUTO text = BUF_EMPTY;
    struct view view;
    if (!mailbox->has[PART_UIDDB]) {
        mailbox->figures->dovecot_only++;
        mailbox_found(mailbox, FINDING_DOVECOT_ONLY, "dovecot-uidlist", 0, span_of(""),
                      "there is no courierimapuiddb");
        return;
    }
    if (!mailbox->uiddb_usable || !mailbox_read_own(mailbox, "dovecot-uidlist", &text, NULL))
        return;
    int error = view_init(&view, &text);
    if (error == -EUCLEAN)
        differs(mailbox, span_until(buf_span(&text), '\n', NULL), "Dovecot could not read it");
    else if (survey_check(mailbox->worker->survey, error) == 0) {
        compare_lists(mailbox, &view);
        view_release(&view);
    }
}

void survey_dovecot(struct mailbox_survey *mailbox)
{
    if (mailbox->converted)
        return;
    if (mailbox->has[PART_DOVECOT_UIDLIST])
        survey_uidlist(mailbox);
    mailbox->figures->dovecot_mailboxes += mailbox->has[PART_DOVECOT_UIDLIST] ||
                                           mailbox->has[PART_DOVECOT_SUBSCRIPTIONS] ||
                                           mailbox->has[PART_DOVECOT_OTHER];
}
