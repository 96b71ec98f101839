/* courierctl userdb: Courier's accounts as a passwd-file on standard output; on standard error, what
 * Dovecot has no words for, with file and line, never with a password. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "bridge/base_map.h"
#include "bridge/mail_user.h"
#include "ctl/ctl.h"

#define SYNOPSIS                                                                                   \
    "userdb FILE [--shadow FILE] [--service imap|pop3] [--cram-md5] [--options TEXT]\n"            \
    "                  [--replace FROM=TO]... [--mail-suffix TEXT]"
#define MOVES_MAX 16
#define TEXT_LIMIT ((size_t)1 << 30)

/* One file, or all the files of a directory. */
struct source {
    struct buf text;
    struct source_file {
        char *path;
        size_t end; /* in text */
    } * files;
    size_t count;
};

/* An account with where it stands. */
struct listed {
    struct userdb_account account;
    size_t file; /* in source.files */
};

struct accounts {
    struct listed *list;
    size_t count, room;
    struct base_map names;
};

struct job {
    struct mail_user_settings settings;
    struct mail_user_move moves[MOVES_MAX];
    struct source userdb, shadow;
    struct accounts accounts, shadows;
    const char *path; /* of what is being told about */
    size_t refused;
};

/* ---- reading ---- */

static void source_release(struct source *source)
{
    for (size_t i = 0; i < source->count; i++)
        free(source->files[i].path);
    free(source->files);
    buf_release(&source->text);
}

/* Reads the open file; a last line without its end gets one. 0 or -errno. */
static int read_whole(int fd, struct buf *out)
{
    for (;;) {
        int error = buf_reserve(out, out->len + 65536);
        if (error != 0)
            return error;
        ssize_t got = read(fd, out->data + out->len, 65536);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        out->len += (size_t)got;
        if (out->len > TEXT_LIMIT)
            return -EFBIG;
    }
    if (out->len > 0 && out->data[out->len - 1] != '\n')
        buf_add_char(out, '\n');
    return buf_error(out);
}

/* Takes over PATH. */
static int add_file(struct source *source, char *path)
{
    struct source_file *files =
        reallocarray(source->files, source->count + 1, sizeof(*source->files));
    AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int error = files == NULL ? -ENOMEM : fd < 0 ? -errno : read_whole(fd, &source->text);
    if (files != NULL)
        source->files = files;
    if (error != 0) {
        ctl_cannot("read", path, error);
        free(path);
        return error;
    }
    files[source->count++] = (struct source_file){path, source->text.len};
    return 0;
}

/* makeuserdb leaves out names with a dot in front: locks and files in the making. */
static int is_read(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int add_path(struct source *source, const char *path);

static int add_directory(struct source *source, const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, is_read, alphasort);
    int error = count < 0 ? -errno : 0;
    if (error != 0)
        ctl_cannot("read", path, error);
    for (int i = 0; i < count; i++) {
        char below[PATH_MAX];
        int len = snprintf(below, sizeof(below), "%s/%s", path, entries[i]->d_name);
        if (error == 0 && len >= (int)sizeof(below))
            ctl_cannot("read", path, error = -ENAMETOOLONG);
        if (error == 0)
            error = add_path(source, below);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return error;
}

/* Tells what cannot be read. */
static int add_path(struct source *source, const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        int error = -errno;
        ctl_cannot("read", path, error);
        return error;
    }
    if (S_ISDIR(st.st_mode))
        return add_directory(source, path);
    char *copy = strdup(path);
    if (copy == NULL)
        return -ENOMEM;
    return add_file(source, copy);
}

/* ---- accounts ---- */

/* Control characters and what is no ASCII are not for terminals. */
static void print_text(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.text[i];
        if (c < ' ' || c >= 0x7f)
            fprintf(stderr, "\\x%02x", c);
        else
            putc(c, stderr);
    }
}

static void tell(void *arg, unsigned line, struct span text, const char *why)
{
    const struct job *job = arg;
    fprintf(stderr, "courierctl: %s:%u: ", job->path, line);
    if (text.len > 0) {
        print_text(text);
        fprintf(stderr, ": ");
    }
    fprintf(stderr, "%s\n", why);
}

static struct span account_name(const void *owner, uint32_t position)
{
    const struct accounts *accounts = owner;
    return accounts->list[position].account.name;
}

static void accounts_release(struct accounts *accounts)
{
    base_map_release(&accounts->names);
    free(accounts->list);
}

/* makeuserdb fails when a name comes twice, so nobody can tell which line would count. */
static int enter(struct job *job, struct accounts *accounts, const struct listed *listed)
{
    if (base_map_find(&accounts->names, listed->account.name) != BASE_MAP_NONE) {
        tell(job, listed->account.line, listed->account.name,
             "once more: left out (makeuserdb refuses the file)");
        job->refused++;
        return 0;
    }
    if (accounts->count == accounts->room) {
        size_t room = accounts->room == 0 ? 256 : accounts->room * 2;
        struct listed *list = reallocarray(accounts->list, room, sizeof(*list));
        if (list == NULL)
            return -ENOMEM;
        accounts->list = list;
        accounts->room = room;
    }
    accounts->list[accounts->count] = *listed;
    return base_map_put(&accounts->names, (uint32_t)accounts->count++);
}

static int find_accounts(struct job *job, const struct source *source, struct accounts *accounts)
{
    const struct complaints complaints = {tell, job};
    int error = base_map_init(&accounts->names, 0, account_name, accounts);
    size_t start = 0;
    for (size_t i = 0; i < source->count && error == 0; i++) {
        struct span rest = span_make(source->text.data + start, source->files[i].end - start);
        start = source->files[i].end;
        job->path = source->files[i].path;
        unsigned line = 0;
        struct listed listed = {.file = i};
        while (error == 0 && userdb_next(&rest, &line, &complaints, &listed.account))
            error = enter(job, accounts, &listed);
    }
    return error;
}

/* ---- the command ---- */

static int print_accounts(struct job *job)
{
    const struct complaints notes = {tell, job};
    for (size_t i = 0; i < job->accounts.count; i++) {
        const struct listed *listed = &job->accounts.list[i];
        BUF_AUTO out = BUF_EMPTY;
        struct span shadow = {NULL, 0};
        uint32_t at = base_map_find(&job->shadows.names, listed->account.name);
        if (at != BASE_MAP_NONE)
            shadow = job->shadows.list[at].account.fields;
        job->path = job->userdb.files[listed->file].path;
        int error = mail_user_to_dovecot(&job->settings, &listed->account, shadow, &notes, &out);
        if (error == -ENOMEM)
            return error;
        job->refused += error != 0;
        fwrite(out.data, 1, out.len, stdout);
    }
    return 0;
}

static int run(struct job *job, const char *path, const char *shadow)
{
    int error = add_path(&job->userdb, path);
    if (error == 0 && shadow != NULL)
        error = add_path(&job->shadow, shadow);
    if (error != 0)
        return 1;
    error = find_accounts(job, &job->userdb, &job->accounts);
    if (error == 0)
        error = find_accounts(job, &job->shadow, &job->shadows);
    if (error == 0)
        error = print_accounts(job);
    if (error != 0) {
        ctl_cannot("convert", path, error);
        return 1;
    }
    if (job->refused > 0)
        fprintf(stderr, "courierctl: %zu lines could not be converted\n", job->refused);
    return job->refused > 0;
}

static bool add_move(struct job *job, char *text)
{
    struct span to;
    struct span from = span_until(span_of(text), '=', &to);
    if (from.len == strlen(text) || from.len < 2 || text[0] != '/' ||
        (to.len > 0 && to.text[0] != '/') || job->settings.move_count == MOVES_MAX)
        return false;
    while (from.text[from.len - 1] == '/')
        from.len--;
    while (to.len > 0 && to.text[to.len - 1] == '/')
        to.len--;
    job->moves[job->settings.move_count++] = (struct mail_user_move){from, to};
    return from.len > 0;
}

static bool read_option(struct job *job, int option, const char **shadow)
{
    switch (option) {
    case 's':
        *shadow = optarg;
        return true;
    case 'S':
        job->settings.service = strcmp(optarg, "imap") == 0   ? MAIL_USER_IMAP
                                : strcmp(optarg, "pop3") == 0 ? MAIL_USER_POP3
                                                              : MAIL_USER_EVERY_SERVICE;
        return job->settings.service != MAIL_USER_EVERY_SERVICE;
    case 'c':
        job->settings.prefer_cram_md5 = true;
        return true;
    case 'o':
        job->settings.default_options = span_of(optarg);
        return true;
    case 'r':
        return add_move(job, optarg);
    case 'm':
        job->settings.mail_suffix = span_of(optarg);
        return true;
    default:
        return false;
    }
}

int ctl_userdb(int argc, char **argv)
{
    static const struct option options[] = {
        {"shadow", required_argument, NULL, 's'},
        {"service", required_argument, NULL, 'S'},
        {"cram-md5", no_argument, NULL, 'c'},
        {"options", required_argument, NULL, 'o'},
        {"replace", required_argument, NULL, 'r'},
        {"mail-suffix", required_argument, NULL, 'm'},
        {NULL, 0, NULL, 0},
    };
    struct job job = {.refused = 0};
    job.settings.moves = job.moves;
    const char *shadow = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (!read_option(&job, option, &shadow))
            return ctl_usage(SYNOPSIS);
    }
    if (optind + 1 != argc)
        return ctl_usage(SYNOPSIS);
    int status = run(&job, argv[optind], shadow);
    accounts_release(&job.accounts);
    accounts_release(&job.shadows);
    source_release(&job.userdb);
    source_release(&job.shadow);
    return status;
}
