/* Counts what is in a store. A mailbox is a directory with cur and new; a user is a mailbox that
 * does not lie in another one. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "store/list.h"

struct survey {
    struct store store;
    uint64_t users;
    uint64_t mailboxes;
    uint64_t messages;
    uint64_t bytes;
    bool show_progress;
    time_t shown_at;
    bool incomplete;
};

static void show_progress(struct survey *survey)
{
    if (!survey->show_progress || time(NULL) == survey->shown_at)
        return;
    survey->shown_at = time(NULL);
    fprintf(stderr, "\r%" PRIu64 " users, %" PRIu64 " mailboxes, %" PRIu64 " messages",
            survey->users, survey->mailboxes, survey->messages);
}

static void cannot(struct survey *survey, const char *path, int error)
{
    ctl_cannot("open", path, error);
    survey->incomplete = true;
}

/* 0 or -ENOMEM; terminated. */
static int join(const char *dir, const char *name, struct buf *path_r)
{
    buf_printf(path_r, "%s/%s", dir, name);
    return buf_terminate(path_r);
}

static void count_messages(struct survey *survey, const char *mailbox, const char *part)
{
    BUF_AUTO dir = BUF_EMPTY;
    DIR_LIST_AUTO list = DIR_LIST_EMPTY;
    int error = join(mailbox, part, &dir);
    if (error == 0)
        error = store_list_messages(&survey->store, dir.data, &list);
    if (error != 0) {
        cannot(survey, dir.data != NULL ? dir.data : part, error);
        return;
    }
    for (size_t i = 0; i < list.count; i++) {
        const char *name = dir_entry_name(&list, &list.entries[i]).text;
        BUF_AUTO path = BUF_EMPTY;
        struct stat st;
        /* One that is gone by now has been moved or deleted: mail goes on meanwhile. */
        if (name[0] == '.' || join(dir.data, name, &path) != 0 ||
            store_stat(&survey->store, path.data, &st) != 0 || !S_ISREG(st.st_mode))
            continue;
        survey->messages++;
        survey->bytes += (uint64_t)st.st_size;
        show_progress(survey);
    }
}

static bool has_dir(const struct dir_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (span_equals(dir_entry_name(list, &list->entries[i]), name))
            return list->entries[i].type == DT_DIR || list->entries[i].type == DT_UNKNOWN;
    }
    return false;
}

static bool is_dir(struct survey *survey, const char *path, unsigned char type)
{
    struct stat st;
    if (type != DT_UNKNOWN)
        return type == DT_DIR;
    return store_stat(&survey->store, path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Parts of a mailbox that hold no mailboxes. */
static bool is_inner(const char *name)
{
    struct span span = span_of(name);
    return span_equals(span, "cur") || span_equals(span, "new") || span_equals(span, "tmp") ||
           span_equals(span, "courierimapkeywords") || span_equals(span, "courierimaphieracl");
}

/* As deep as the tree, which PATH_MAX bounds. */
static void walk(struct survey *survey, const char *path, bool in_mailbox)
{
    DIR_LIST_AUTO list = DIR_LIST_EMPTY;
    int error = store_list(&survey->store, path, &list);
    if (error != 0) {
        cannot(survey, path, error);
        return;
    }
    bool is_mailbox = has_dir(&list, "cur") && has_dir(&list, "new");
    if (is_mailbox) {
        survey->mailboxes++;
        survey->users += in_mailbox ? 0 : 1;
        count_messages(survey, path, "cur");
        count_messages(survey, path, "new");
    }
    show_progress(survey);
    for (size_t i = 0; i < list.count; i++) {
        const char *name = dir_entry_name(&list, &list.entries[i]).text;
        BUF_AUTO below = BUF_EMPTY;
        if ((is_mailbox && is_inner(name)) || join(path, name, &below) != 0)
            continue;
        if (is_dir(survey, below.data, list.entries[i].type))
            walk(survey, below.data, in_mailbox || is_mailbox);
    }
}

int ctl_survey(int argc, char **argv)
{
    if (argc != 2)
        return ctl_usage("survey STORE");
    const char *path = argv[1];
    struct survey survey = {.show_progress = isatty(STDERR_FILENO) == 1};
    int error = store_init(&survey.store, path, true);
    if (error != 0) {
        ctl_cannot("open", path, error);
        return 1;
    }
    walk(&survey, ".", false);
    store_release(&survey.store);
    if (survey.show_progress)
        fputc('\n', stderr);
    printf("users     %" PRIu64 "\nmailboxes %" PRIu64 "\nmessages  %" PRIu64 "\nbytes     %" PRIu64
           "\n",
           survey.users, survey.mailboxes, survey.messages, survey.bytes);
    return survey.incomplete ? 1 : 0;
}
