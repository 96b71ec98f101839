/* `dovecot-acl` from and to courierimapacl.
 *
 * Both files say who may what, in almost the same letters (Courier's `c` is Dovecot's `k`), but by
 * different rules. Courier unites all lines that fit somebody and then takes away what all `-` lines
 * say. Dovecot lets the more special line replace the more general one: with "anyone lr" and
 * "user=bob w", Bob may `lrw` under Courier and only `w` under Dovecot. So lines cannot be copied; what
 * must be kept is what people may. The one law here is: *by neither file may anybody more than by the
 * other*. Where the two cannot say the same, the one that is made says less. acl_present.c has
 * the way there and acl_record.c the way back; test_acl_map.c tries both on every kind of person.
 *
 * What Dovecot is shown (Courier 5.0.13, Dovecot 2.3.19, both asked):
 *
 *   anyone, anonymous    as one line, also with `-`
 *   group=G              with what is anyone's
 *   -group=G             as -group-override=G: only that concerns, as Courier's does, also members who
 *                        have a line of their own. With what -anyone, -owner and -user= lines take,
 *                        which Dovecot would forget for members. As -group=G, too, what a note says
 *                        Dovecot called so
 *   user=U               with what is anyone's, unless -user=U takes that; not with what U has as
 *                        member of a group, who is not known here
 *   -user=U              with what -anyone takes, and -owner, if U may be the owner: Dovecot would
 *                        forget it for him; without what a note says nobody took
 *   owner                with what is anyone's, and with `a`, which Courier's owner always has, and
 *                        `p`: Courier delivers to him without asking; less all of -anyone and -owner
 *   administrators,      not at all: their members may everything under Courier, and have the same
 *   group=administrators right under Dovecot only if somebody gives it to them there
 *   anything else        not at all: Courier carries it along and grants nothing for it
 *
 * What becomes of that which Dovecot writes:
 *
 *   lines that did not change, and lines it was not shown, stay as they are, byte for byte
 *   user=, group=        get a `-` line beside them for what they would also get as anyone, or in a
 *                        group, if Dovecot's line does not say so, and a note of it
 *   -group=,             are -group=, with a note of what -group= said
 *   -group-override=
 *   owner                keeps `l` and `a`. Courier refuses every later SETACL of a list that does not
 *                        give him these, and all use of subfolders that have none of their own.
 *                        Without a line he has all rights, as Dovecot has it
 *   p                    is a letter to Courier, too, which keeps it and grants nothing for it
 *   a new -anyone        is refused, as Courier refuses it: it would concern the administrators
 *   authenticated,       are refused: Courier has no words for them. Dovecot's SETACL fails, and
 *   group-override=,     nothing changes
 *   administrators,
 *   names with blanks,
 *   damaged files
 *
 * *Notes.* A `-` line that we had to add looks like one that somebody wanted, and in Courier's -group=
 * nobody can see which of Dovecot's two lines said what. A later change must know: DELETEACL of a line
 * that somebody wanted gives back what it took, but not what we took for another reason. So there are
 * lines for identifiers that Courier carries along and grants nothing for:
 *
 *   courierfs:user=U     what of the `-` line no `-` line of Dovecot's stands for
 *   courierfs:group=G
 *   courierfs:-group=G   what of -group=G Dovecot's -group= line says
 *
 * They count only for what the `-` line takes at that moment, so whatever Courier's users do to it is
 * right. Without notes a list gave members of a group more than a Dovecot without us would after the
 * same commands (test_acl_commands.c).
 *
 * A mailbox without courierimapacl has the rights of its parent, up to INBOX, and of a parent that
 * does not exist those in courierimaphieracl/; that is what is shown then. (Courier makes a copy for
 * the mailbox as soon as it looks.) Where there is nothing at all, both servers give the owner
 * everything and the others nothing, and nothing is shown. What is no regular file is an I/O error:
 * nobody has any right then, as under Courier. So is, here only, a list of more than a thousand names.
 * One difference remains: who may CREATE below a folder that does not exist is asked by Dovecot of the
 * nearest folder above that does. What he makes has Courier's rights.
 *
 * Dovecot's lock keeps only Dovecots of this node away, and Courier takes none. So what was written
 * is taken as a difference to what was shown when the lock was made, and applied to Courier's file as
 * it is by then. Rights that Courier takes away meanwhile stay away.
 *
 * The names by which the servers know a user must be the same. One thing is not known here: whose
 * mailbox this is. A `user=` line of Dovecot's that names the owner himself binds him under Courier
 * if a directory above the mailbox is called like him; else Courier unites it with the owner's line.
 *
 * Dovecot keeps a list of the folders that others may see, dovecot-acl-list, which it makes anew only
 * if it changed rights itself. It is an ordinary file of the store, but one older than half a minute
 * is not shown, so that folders which Courier's users share appear. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "bridge/acl_map.h"
#include "bridge/mailbox.h"

#define ACL_FILE "courierimapacl"
#define ACL_DIRECTORY "courierimaphieracl"
#define ATTEMPTS 10
#define TEXT_LIMIT (1 << 20) /* bytes */
#define LIST_LIFETIME 30     /* seconds */

/* What Courier would write. */
static const char default_text[] = "owner aceilrstwx\nadministrators aceilrstwx\n";

/* ---- where the rights are -------------------------------------------------------------------- */

/* Cuts the last component off a folder's name. False if it was the only one. */
static bool to_parent(struct span *folder)
{
    while (folder->len > 0 && folder->text[folder->len - 1] != '.')
        folder->len--;
    if (folder->len == 0)
        return false;
    folder->len--;
    return folder->len > 0;
}

/* The path of the Nth file that Courier asks for the rights; terminated. -ENOENT after the last. */
static int place_path(const struct mailbox *mailbox, size_t n, struct buf *out)
{
    const char *path = mailbox->path;
    if (n == 0 || mailbox_is_inbox(mailbox))
        return n == 0 ? store_join(out, path, ACL_FILE) : -ENOENT;
    const char *slash = strrchr(path, '/');
    if (slash != NULL)
        buf_add(out, path, (size_t)(slash + 1 - path));
    struct span folder = span_of(slash == NULL ? path + 1 : slash + 2);
    size_t level = n / 2;
    bool exists = true;
    while (level > 0 && exists) {
        exists = to_parent(&folder);
        level--;
    }
    if (level > 0 || (!exists && n % 2 == 1))
        return -ENOENT;
    if (!exists)
        buf_add_string(out, ACL_FILE);
    else if (n % 2 == 0)
        buf_printf(out, ".%.*s/" ACL_FILE, SPAN_FMT(folder));
    else
        buf_printf(out, ACL_DIRECTORY "/%.*s", SPAN_FMT(folder));
    return buf_terminate(out);
}

/* Finds the file that counts; *found_r has no file if there is none. */
static int find_rights(struct mailbox *mailbox, struct acl_source *found_r)
{
    *found_r = (struct acl_source){.signature = SIGNATURE_ABSENT};
    int result = home_signature(mailbox, ACL_FILE, &found_r->signature);
    while (result == 0 && !found_r->signature.present) {
        BUF_AUTO path = BUF_EMPTY;
        result = place_path(mailbox, ++found_r->place, &path);
        if (result == -ENOENT)
            return 0;
        if (result == 0)
            result = signature_take(mailbox->bridge->store, path.data, &found_r->signature);
    }
    return result;
}

static bool same_source(const struct acl_source *then, const struct acl_source *now)
{
    return then->place == now->place && signature_same(&then->signature, &now->signature);
}

/* Reads it, and tells which file was read. The default where there is none. */
static int read_rights(struct mailbox *mailbox, struct buf *text, struct stat *st_r,
                       struct acl_source *source_r)
{
    int result = find_rights(mailbox, source_r);
    if (result < 0)
        return result;
    if (!source_r->signature.present) {
        buf_add_string(text, default_text);
        return buf_error(text);
    }
    BUF_AUTO path = BUF_EMPTY;
    result = place_path(mailbox, source_r->place, &path);
    if (result == 0 && source_r->signature.size > TEXT_LIMIT)
        result = -EFBIG;
    else if (result == 0 && source_r->place == 0)
        result = home_read(mailbox, ACL_FILE, text, st_r);
    else if (result == 0)
        result = store_read_file(mailbox->bridge->store, path.data, TEXT_LIMIT, text, st_r);
    if (result == 0 && text->len > (size_t)TEXT_LIMIT)
        result = -EFBIG;
    if (result == 0)
        source_r->signature = signature_of_stat(st_r);
    return result == -ENOENT ? -EAGAIN : result; /* it went between the two looks */
}

/* ---- showing --------------------------------------------------------------------------------- */

static bool shows_the_same(const struct control_file *a, const struct control_file *b)
{
    return span_equal(buf_span(&a->content), buf_span(&b->content)) && a->mode == b->mode &&
           a->uid == b->uid && a->gid == b->gid;
}

static int show(struct mailbox *mailbox, struct span courier_text, const struct stat *st)
{
    ACL_AUTO courier = {.entries = NULL};
    ACL_AUTO shown = {.entries = NULL};
    BUF_AUTO text = BUF_EMPTY;
    int result = acl_read_courier(courier_text, &courier);
    if (result == 0)
        result = acl_present(&courier, mailbox->path, &shown);
    if (result == 0)
        result = acl_format_dovecot(&shown, &text);
    if (result < 0)
        return result;
    struct control_file *file;
    result = control_file_new(mailbox, CONTROL_ACL, bridge_new_ino(mailbox->bridge), &file);
    if (result < 0)
        return result;
    file->content = text;
    text = BUF_EMPTY;
    control_file_take_owner(file, st);
    const struct control_file *before = mailbox->file[CONTROL_ACL];
    if (before != NULL && shows_the_same(before, file)) {
        control_unref(file);
        return 0;
    }
    /* Dovecot looks at whole seconds only. */
    file->mtime = st->st_mtim;
    if (before != NULL && before->mtime.tv_sec == file->mtime.tv_sec)
        file->mtime.tv_sec++;
    mailbox_set_file(mailbox, CONTROL_ACL, file);
    return 0;
}

static int refresh(struct mailbox *mailbox)
{
    struct acl_source now;
    int result = find_rights(mailbox, &now);
    if (result < 0)
        return result;
    if (!now.signature.present) {
        mailbox_set_file(mailbox, CONTROL_ACL, NULL);
        return -ENOENT;
    }
    const struct acl_source *then = &mailbox->acl_source;
    if (mailbox->file[CONTROL_ACL] != NULL && then->place == now.place &&
        signature_unchanged(&then->signature, &now.signature))
        return 0;
    BUF_AUTO text = BUF_EMPTY;
    struct stat st;
    result = read_rights(mailbox, &text, &st, &now);
    if (result == 0 && !now.signature.present)
        result = -EAGAIN;
    if (result == 0)
        result = show(mailbox, buf_span(&text), &st);
    if (result == 0)
        mailbox->acl_source = now;
    return result;
}

/* Says once for each version of a file that it cannot be read. Nobody has any right then. */
static void tell_damage(struct mailbox *mailbox, int error)
{
    struct acl_source now;
    BUF_AUTO path = BUF_EMPTY;
    if (find_rights(mailbox, &now) < 0 || same_source(&mailbox->acl_told, &now) ||
        place_path(mailbox, now.place, &path) < 0)
        return;
    mailbox->acl_told = now;
    log_warning("'%s': %s: nobody has any right through Dovecot", path.data,
                error == -EFBIG ? "larger than any list of rights" : "not a regular file");
}

int acl_lookup(struct mailbox *mailbox, struct control_file **file_r)
{
    int result = -EAGAIN;
    for (int i = 0; i < ATTEMPTS && result == -EAGAIN; i++)
        result = refresh(mailbox);
    if (result == -EFBIG || result == -EINVAL)
        tell_damage(mailbox, result);
    if (result == -EFBIG || result == -EINVAL || result == -EAGAIN)
        result = -EIO;
    if (result == 0)
        *file_r = control_ref(mailbox->file[CONTROL_ACL]);
    return result;
}

int acl_list_lookup(struct mailbox *mailbox)
{
    BUF_AUTO path = BUF_EMPTY;
    struct stat st;
    int result = store_join(&path, mailbox->path, "dovecot-acl-list");
    if (result == 0)
        result = store_stat(mailbox->bridge->store, path.data, &st);
    if (result == 0 && time(NULL) - st.st_mtim.tv_sec > LIST_LIFETIME)
        result = -ENOENT;
    return result == 0 ? -ENOTDIR : result;
}

/* ---- recording ------------------------------------------------------------------------------- */

int acl_lock_made(struct mailbox *mailbox)
{
    struct control_file *shown = NULL;
    int result = acl_lookup(mailbox, &shown);
    buf_clear(&mailbox->acl_base);
    if (result == -ENOENT)
        return 0;
    if (result < 0)
        return result;
    buf_add_span(&mailbox->acl_base, buf_span(&shown->content));
    control_unref(shown);
    return buf_error(&mailbox->acl_base);
}

/* What counted when the change was made to it still counts. */
static int check_untouched(struct mailbox *mailbox, void *arg)
{
    struct acl_source now;
    int result = find_rights(mailbox, &now);
    if (result == 0 && !same_source(arg, &now))
        result = -EAGAIN;
    return result;
}

/* Courier's file with the changes made that lead from BEFORE to AFTER. */
static int edit(const struct mailbox *mailbox, struct span text, const struct acl *before,
                const struct acl *after, struct buf *out)
{
    ACL_AUTO courier = {.entries = NULL};
    ACL_AUTO wanted = {.entries = NULL};
    ACL_AUTO changed = {.entries = NULL};
    int result = acl_read_courier(text, &courier);
    if (result == 0)
        result = acl_words(&courier, mailbox->path, &wanted);
    if (result == 0)
        result = acl_merge(&wanted, before, after);
    if (result == 0)
        result = acl_to_courier(&courier, &wanted, mailbox->path, &changed);
    if (result == 0)
        result = acl_edit_courier(text, &courier, &changed, out);
    return result;
}

/* Makes the time of Courier's new file another one than Dovecot has seen, in whole seconds. */
static int set_time(struct mailbox *mailbox)
{
    time_t seconds = time(NULL);
    static const enum control_kind kinds[] = {CONTROL_ACL, CONTROL_ACL_LOCK};
    for (size_t i = 0; i < 2; i++) {
        const struct control_file *file = mailbox->file[kinds[i]];
        if (file != NULL && seconds <= file->mtime.tv_sec)
            seconds = file->mtime.tv_sec + 1;
    }
    BUF_AUTO path = BUF_EMPTY;
    int result = store_join(&path, mailbox->path, ACL_FILE);
    const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    home_begin(mailbox);
    if (result == 0)
        result = store_utimens(mailbox->bridge->home, path.data, times);
    home_end(mailbox);
    return result;
}

static int apply(struct mailbox *mailbox, const struct acl *before, const struct acl *after)
{
    BUF_AUTO text = BUF_EMPTY;
    BUF_AUTO edited = BUF_EMPTY;
    struct stat st;
    struct acl_source source;
    int result = read_rights(mailbox, &text, &st, &source);
    if (result == 0)
        result = edit(mailbox, buf_span(&text), before, after, &edited);
    if (result < 0 || span_equal(buf_span(&text), buf_span(&edited)))
        return result;
    bool own = source.signature.present && source.place == 0;
    result = home_replace(mailbox, ACL_FILE, buf_span(&edited), own ? &st : NULL, check_untouched,
                          &source, NULL);
    return result < 0 ? result : set_time(mailbox);
}

int acl_record(struct mailbox *mailbox)
{
    const struct control_file *written = mailbox->file[CONTROL_ACL_LOCK];
    if (written == NULL)
        return -ENOENT;
    ACL_AUTO before = {.entries = NULL};
    ACL_AUTO after = {.entries = NULL};
    int result = acl_read_dovecot(buf_span(&mailbox->acl_base), &before);
    if (result == 0)
        result = acl_read_dovecot(buf_span(&written->content), &after);
    if (result == 0)
        result = -EAGAIN;
    for (int i = 0; i < ATTEMPTS && result == -EAGAIN; i++)
        result = apply(mailbox, &before, &after);
    if (result == -EINVAL)
        log_warning("'%s': rights that " ACL_FILE " cannot hold were refused", mailbox->path);
    return result;
}
