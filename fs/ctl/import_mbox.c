/* courierctl import-mbox: an mbox of UW-IMAP becomes a maildir of Courier's, with the UIDVALIDITY, UIDs,
 * flags, keywords and dates that its clients know.
 *
 * The mbox is only read, under the locks of the mail programs that know fcntl or flock; that it did not
 * change meanwhile is looked at before the maildir appears. Which file was imported stands in the
 * maildir, so that a run for many can be repeated: what is done is not done again. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "bridge/new_mailbox.h"
#include "ctl/ctl.h"
#include "ctl/visible.h"
#include "store/caller.h"
#include "store/file.h"
#include "uwimap/mbox.h"
#include "uwimap/uids.h"

#define SYNOPSIS "import-mbox MBOX MAILDIR, or import-mbox --dry-run MBOX [MAILDIR]"
#define NOTE "courierfs-imported"
#define NOTE_LIMIT ((size_t)1 << 16)

struct import {
    const char *mbox_path;
    const char *maildir; /* NULL in a dry run without one */
    bool dry_run;

    int fd;
    struct stat st; /* of the mbox, before it was read */
    struct store store;
    char *place; /* the store's root: the directory that the maildir is in, or the one above that */
    const char *target;
    struct new_mailbox *mailbox;
    struct buf note;

    struct mbox mbox;
    struct mbox_message message;
    struct mbox_uids uids;
    struct buf base_keywords;
    size_t count;
    bool show_progress;
    time_t shown_at;
};

static int say(const struct import *import, const char *what, int error)
{
    ctl_cannot(what, import->mbox_path, error);
    return error;
}

/* ---- the mbox ---- */

static ssize_t read_mbox(void *arg, void *out, size_t size, off_t offset)
{
    const struct import *import = arg;
    ssize_t got = pread(import->fd, out, size, offset);
    return got < 0 ? -errno : got;
}

/* Programs that deliver or serve it hold one of these locks; -EBUSY. */
static int lock_mbox(const struct import *import)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    char dotlock[PATH_MAX];
    if (snprintf(dotlock, sizeof(dotlock), "%s.lock", import->mbox_path) >= (int)sizeof(dotlock))
        return -ENAMETOOLONG;
    if (access(dotlock, F_OK) == 0)
        return -EBUSY;
    if (fcntl(import->fd, F_SETLK, &lock) < 0)
        return errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
    if (flock(import->fd, LOCK_SH | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    return 0;
}

static int open_mbox(struct import *import)
{
    import->fd = open(import->mbox_path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (import->fd < 0 || fstat(import->fd, &import->st) < 0)
        return say(import, "open", -errno);
    if (!S_ISREG(import->st.st_mode))
        return say(import, "import", -EINVAL);
    int result = lock_mbox(import);
    return result < 0 ? say(import, "lock", result) : 0;
}

static bool is_unchanged(const struct import *import)
{
    struct stat now;
    return fstat(import->fd, &now) == 0 && now.st_size == import->st.st_size &&
           now.st_mtim.tv_sec == import->st.st_mtim.tv_sec &&
           now.st_mtim.tv_nsec == import->st.st_mtim.tv_nsec;
}

static time_t date_of(const struct from_date *date)
{
    struct tm tm = {.tm_year = date->year - 1900,
                    .tm_mon = date->month,
                    .tm_mday = date->day,
                    .tm_hour = date->hour,
                    .tm_min = date->minute,
                    .tm_sec = date->second,
                    .tm_isdst = -1};
    if (date->zone == FROM_NO_ZONE)
        return mktime(&tm);
    return timegm(&tm) - date->zone * (time_t)60;
}

/* ---- the maildir ---- */

/* The maildir belongs to the owner of the directory that it is made in. */
static int become_owner(struct import *import)
{
    struct stat st;
    int result = store_stat(&import->store, ".", &st);
    return result < 0 ? result : caller_become_owner(st.st_uid, st.st_gid);
}

static int find_place(struct import *import)
{
    import->place = strdup(import->maildir);
    if (import->place == NULL)
        return -ENOMEM;
    char *end = import->place + strlen(import->place);
    while (end > import->place + 1 && end[-1] == '/')
        *--end = '\0';
    char *slash = strrchr(import->place, '/');
    import->target = slash == NULL ? import->place : slash + 1;
    if (import->target[0] == '\0' || strcmp(import->target, ".") == 0 ||
        strcmp(import->target, "..") == 0)
        return -EINVAL;
    if (slash == NULL)
        return store_init(&import->store, ".", import->dry_run);
    *slash = '\0';
    return store_init(&import->store, slash == import->place ? "/" : import->place,
                      import->dry_run);
}

/* "SIZE MTIME PATH" of the mbox. */
static int make_note(struct import *import)
{
    AUTO_FREE char *path = realpath(import->mbox_path, NULL);
    if (path == NULL)
        return say(import, "find", -errno);
    buf_printf(&import->note, "%jd %jd.%09ld %s\n", (intmax_t)import->st.st_size,
               (intmax_t)import->st.st_mtim.tv_sec, import->st.st_mtim.tv_nsec, path);
    return buf_error(&import->note);
}

/* Both servers count it anew when there is no such file. */
static int forget_quota(struct import *import)
{
    if (import->target[0] != '.' || import->dry_run)
        return 0;
    int result = store_unlink(&import->store, "maildirsize");
    return result == -ENOENT ? 0 : result;
}

/* Whether this mbox is what the maildir there was made from. 1: yes, and unchanged. 0: there is no
 * maildir. Else told, and an error. */
static int look_for_import(struct import *import)
{
    struct stat st;
    BUF_AUTO path = BUF_EMPTY;
    BUF_AUTO text = BUF_EMPTY;
    int result = store_stat(&import->store, import->target, &st);
    if (result == -ENOENT)
        return 0;
    if (result == 0)
        result = store_join(&path, import->target, NOTE);
    if (result == 0)
        result = store_read_file(&import->store, path.data, NOTE_LIMIT, &text, &st);
    if (result == 0 && span_equal(buf_span(&text), buf_span(&import->note))) {
        printf("%s: imported before\n", import->maildir);
        /* What imported it may not have come so far. */
        result = forget_quota(import);
        return result < 0 ? result : 1;
    }
    ctl_cannot("make", import->maildir, -EEXIST);
    if (result == 0)
        fprintf(stderr, "courierctl: it was made from: %.*s", SPAN_FMT(buf_span(&text)));
    return -EEXIST;
}

/* ---- messages ---- */

static int write_piece(void *arg, struct span piece)
{
    const struct import *import = arg;
    return import->mailbox == NULL ? 0 : new_mailbox_write(import->mailbox, piece);
}

static void show_progress(struct import *import)
{
    time_t now = time(NULL);
    if (!import->show_progress || now == import->shown_at)
        return;
    import->shown_at = now;
    fprintf(stderr, "\r%3d%%  %zu messages ",
            (int)((double)import->message.offset * 100 / (double)import->st.st_size),
            import->count);
}

static int import_message(struct import *import)
{
    const struct mbox_meta *meta = &import->message.meta;
    struct new_message message = {.uid = mbox_uids_next(&import->uids, meta),
                                  .date = date_of(&import->message.date)};
    BUF_AUTO keywords = BUF_EMPTY;
    char flags[8], *end = flags;
    static const struct {
        enum mbox_flag flag;
        char letter;
    } letters[] = {{MBOX_DRAFT, 'D'},
                   {MBOX_FLAGGED, 'F'},
                   {MBOX_ANSWERED, 'R'},
                   {MBOX_SEEN, 'S'},
                   {MBOX_DELETED, 'T'}};
    for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
        if ((meta->flags & letters[i].flag) != 0)
            *end++ = letters[i].letter;
    }
    *end = '\0';
    message.flags = flags;
    if (message.uid == 0)
        return -EOVERFLOW;
    meta_add_keywords(meta, buf_span(&import->base_keywords), &keywords);
    if (buf_error(&keywords) < 0)
        return -ENOMEM;
    message.keywords = buf_span(&keywords);
    int result = write_piece(import, buf_span(&import->message.header));
    if (result == 0)
        result = mbox_body(&import->mbox, &import->message, write_piece, import);
    if (result == 0 && import->mailbox != NULL)
        result = new_mailbox_enter(import->mailbox, &message);
    import->count++;
    show_progress(import);
    return result;
}

static int import_messages(struct import *import)
{
    bool first = true;
    int result = mbox_start(&import->mbox, read_mbox, import);
    while (result == 0 && (result = mbox_next(&import->mbox, &import->message)) > 0) {
        const struct mbox_meta *meta = &import->message.meta;
        if (first) {
            mbox_uids_start(&import->uids, meta);
            buf_add_span(&import->base_keywords, buf_span(&meta->base_keywords));
        }
        result = first && meta->internal ? 0 : import_message(import);
        first = false;
    }
    if (import->shown_at != 0)
        fprintf(stderr, "\n");
    if (result == -EOVERFLOW || result == -EFBIG || (result == -EUCLEAN && !first))
        fprintf(stderr, "courierctl: '%s': the message at byte %jd: %s\n", import->mbox_path,
                (intmax_t)import->message.offset,
                result == -EOVERFLOW ? "there is no UID left" : "its header has no end");
    return result;
}

/* ---- the command ---- */

static void report(const struct import *import)
{
    BUF_AUTO shown = BUF_EMPTY;
    visible_add(&shown, span_of(import->maildir == NULL ? import->mbox_path : import->maildir));
    printf("%.*s: %zu messages, UIDVALIDITY %u, UIDNEXT %u", SPAN_FMT(buf_span(&shown)),
           import->count, import->uids.uidvalidity, import->uids.last + 1);
    if (import->uids.fresh > 0)
        printf("; %zu had no UID yet", import->uids.fresh - import->uids.refused);
    if (import->uids.refused > 0)
        printf(", %zu had one that was not given out here", import->uids.refused);
    printf("%s\n", import->dry_run ? " (nothing was written)" : "");
}

static int finish(struct import *import)
{
    if (!is_unchanged(import)) {
        fprintf(stderr, "courierctl: '%s' changed while it was read\n", import->mbox_path);
        return -EAGAIN;
    }
    /* No client knows a UID of an mbox that never said its UIDVALIDITY. */
    if (import->uids.uidvalidity == 0)
        import->uids.uidvalidity = (uint32_t)time(NULL);
    if (import->dry_run)
        return 0;
    int result = new_mailbox_finish(import->mailbox, import->uids.uidvalidity,
                                    import->uids.last + 1, NOTE, buf_span(&import->note));
    return result < 0 ? result : forget_quota(import);
}

/* 0: a maildir can be made there. 1: it was made before. Else told, and an error. */
static int find_maildir(struct import *import)
{
    int result = find_place(import);
    if (result == 0)
        result = become_owner(import);
    if (result == 0) {
        result = look_for_import(import);
        if (result != 0)
            return result;
    }
    if (result == 0 && !import->dry_run)
        result = new_mailbox_begin(&import->store, import->target, &import->mailbox);
    if (result < 0)
        ctl_cannot("make", import->maildir, result);
    return result;
}

static int run(struct import *import)
{
    int result = open_mbox(import);
    if (result == 0)
        result = make_note(import);
    if (result < 0)
        return result;
    result = import->maildir == NULL ? 0 : find_maildir(import);
    if (result != 0)
        return result;
    result = import_messages(import);
    if (result == -EUCLEAN) {
        fprintf(stderr, "courierctl: '%s' is no mbox\n", import->mbox_path);
        return result;
    }
    if (result == 0)
        result = finish(import);
    if (result < 0)
        return result == -EAGAIN ? result : say(import, "import", result);
    report(import);
    return 0;
}

static void release(struct import *import)
{
    new_mailbox_release(import->mailbox);
    mbox_message_release(&import->message);
    mbox_release(&import->mbox);
    buf_release(&import->note);
    buf_release(&import->base_keywords);
    store_release(&import->store);
    caller_become_daemon();
    free(import->place);
    if (import->fd >= 0)
        close(import->fd);
}

int ctl_import_mbox(int argc, char **argv)
{
    static const struct option options[] = {
        {"dry-run", no_argument, NULL, 'n'},
        {NULL, 0, NULL, 0},
    };
    struct import import = {.fd = -1, .show_progress = isatty(STDERR_FILENO)};
    import.store.root_fd = -1;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'n')
            import.dry_run = true;
        else
            return ctl_usage(SYNOPSIS);
    }
    if (optind + 2 != argc && !(import.dry_run && optind + 1 == argc))
        return ctl_usage(SYNOPSIS);
    import.mbox_path = argv[optind];
    import.maildir = argv[optind + 1]; /* NULL: any place */
    int status = run(&import) < 0;
    release(&import);
    return status;
}
