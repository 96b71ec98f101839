/* `subscriptions` from and to courierimapsubscribed.
 *
 * Courier replaces its file without a lock, and Dovecot's lock is only this node's. What Dovecot
 * writes is therefore not taken as the new list but as a difference: what it added to, and took out
 * of, the list it was shown when it took its lock. That is applied to Courier's file as it is at
 * this moment. Lines Dovecot never saw (shared folders) stay. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "bridge/mailbox.h"
#include "courier/subscribed.h"
#include "dovecot/subscriptions.h"

#define SUBSCRIBED "courierimapsubscribed"
#define ATTEMPTS 10

static int present(struct mailbox *mailbox, struct span courier_text, const struct stat *st)
{
    struct control_file *file;
    int result =
        control_file_new(mailbox, CONTROL_SUBSCRIPTIONS, bridge_new_ino(mailbox->bridge), &file);
    if (result < 0)
        return result;
    struct span name;
    struct span dovecot_name;
    while (subscribed_next(&courier_text, &name)) {
        if (subscribed_to_dovecot(name, &dovecot_name))
            subscriptions_format_name(&file->content, dovecot_name);
    }
    file->mtime = st->st_mtim;
    control_file_take_owner(file, st);
    result = buf_error(&file->content);
    if (result < 0)
        control_unref(file);
    else
        mailbox_set_file(mailbox, CONTROL_SUBSCRIPTIONS, file);
    return result;
}

int subscriptions_lookup(struct mailbox *mailbox, struct control_file **file_r)
{
    bool frozen = mailbox->file[CONTROL_SUBSCRIPTIONS_LOCK] != NULL;
    struct signature now;
    int result = 0;
    if (!frozen || mailbox->file[CONTROL_SUBSCRIPTIONS] == NULL) {
        result = home_signature(mailbox, SUBSCRIBED, &now);
        if (result < 0)
            return result;
        if (!now.present) {
            mailbox_set_file(mailbox, CONTROL_SUBSCRIPTIONS, NULL);
            return -ENOENT;
        }
        if (mailbox->file[CONTROL_SUBSCRIPTIONS] == NULL ||
            !signature_unchanged(&mailbox->subscribed, &now)) {
            BUF_AUTO text = BUF_EMPTY;
            struct stat st;
            result = home_read(mailbox, SUBSCRIBED, &text, &st);
            if (result == 0)
                result = present(mailbox, buf_span(&text), &st);
            if (result == 0)
                mailbox->subscribed = signature_of_stat(&st);
        }
    }
    if (result == 0)
        *file_r = control_ref(mailbox->file[CONTROL_SUBSCRIPTIONS]);
    return result;
}

/* ---- recording ------------------------------------------------------------------------------- */

/* Courier's names, owned. */
struct names {
    struct span *list;
    size_t count;
    struct buf *text; /* one for each */
};

static void names_release(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        buf_release(&names->text[i]);
    free(names->text);
    free(names->list);
}

#define NAMES_AUTO __attribute__((cleanup(names_release))) struct names

static bool contains(const struct subscriptions *list, struct span name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (span_equal(list->names[i], name))
            return true;
    }
    return false;
}

/* Those of LIST that are not in OTHER, as Courier calls them. */
static int difference(const struct subscriptions *list, const struct subscriptions *other,
                      struct names *names_r)
{
    *names_r = (struct names){.list = calloc(list->count + 1, sizeof(struct span)),
                              .text = calloc(list->count + 1, sizeof(struct buf))};
    if (names_r->list == NULL || names_r->text == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < list->count; i++) {
        if (contains(other, list->names[i]))
            continue;
        struct buf *text = &names_r->text[names_r->count];
        subscribed_from_dovecot(list->names[i], text);
        names_r->list[names_r->count++] = buf_span(text);
        if (buf_error(text) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* What courierimapsubscribed was when the change was made to it. */
static int check_untouched(struct mailbox *mailbox, void *arg)
{
    struct signature now;
    int result = home_signature(mailbox, SUBSCRIBED, &now);
    if (result == 0 && !signature_same(arg, &now))
        result = -EAGAIN;
    return result;
}

static int apply(struct mailbox *mailbox, const struct names *removed, const struct names *added)
{
    BUF_AUTO text = BUF_EMPTY;
    BUF_AUTO edited = BUF_EMPTY;
    struct stat st;
    struct signature before = SIGNATURE_ABSENT;
    int result = home_read(mailbox, SUBSCRIBED, &text, &st);
    bool present = result == 0;
    if (present)
        before = signature_of_stat(&st);
    else if (result != -ENOENT)
        return result;
    subscribed_edit(buf_span(&text), removed->list, removed->count, added->list, added->count,
                    &edited);
    result = buf_error(&edited);
    if (result < 0 || (present && span_equal(buf_span(&text), buf_span(&edited))))
        return result;
    return home_replace(mailbox, SUBSCRIBED, buf_span(&edited), present ? &st : NULL,
                        check_untouched, &before, NULL);
}

int subscriptions_record(struct mailbox *mailbox)
{
    struct control_file *written = mailbox->file[CONTROL_SUBSCRIPTIONS_LOCK];
    if (written == NULL)
        return -ENOENT;
    const struct control_file *shown = mailbox->file[CONTROL_SUBSCRIPTIONS];
    struct subscriptions before = {0};
    struct subscriptions after = {0};
    NAMES_AUTO removed = {0};
    NAMES_AUTO added = {0};
    int result = 0;
    if (shown != NULL)
        result = subscriptions_parse(buf_span(&shown->content), &before);
    if (result == 0)
        result = subscriptions_parse(buf_span(&written->content), &after);
    if (result == 0)
        result = difference(&before, &after, &removed);
    if (result == 0)
        result = difference(&after, &before, &added);
    subscriptions_release(&before);
    subscriptions_release(&after);
    if (result < 0)
        return result;
    result = -EAGAIN;
    for (int i = 0; i < ATTEMPTS && result == -EAGAIN; i++)
        result = apply(mailbox, &removed, &added);
    if (result == 0)
        mailbox_set_file(mailbox, CONTROL_SUBSCRIPTIONS, NULL);
    return result;
}
