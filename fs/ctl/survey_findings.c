#include "ctl/survey_findings.h"

#include <stdlib.h>
#include <string.h>
#include "ctl/visible.h"

/* As much of an offending text as is kept. */
#define TEXT_KEPT 160

static const struct finding_about abouts[FINDING_COUNT] = {
    [FINDING_UNREADABLE] =
        {"unreadable", true, "Directories and files that cannot be read",
         "Nothing is known of them, and the servers may not be able to read them either."},
    [FINDING_UIDDB_REFUSED] =
        {"uiddb-refused", true, "Uid databases that nobody can use",
         "courierfs refuses such a mailbox rather than to renumber it. Courier would give every "
         "message a new UID. Repair the file from a backup, or delete it: then all messages get "
         "new "
         "UIDs, knowingly."},
    [FINDING_SIZELIST_REFUSED] =
        {"sizelist-refused", true, "POP3 lists that nobody can use",
         "Both servers would give every message a new UIDL, and POP3 clients would fetch all mail "
         "again. Repair the file, or delete it knowingly."},
    [FINDING_CONTROL_NO_FILE] =
        {"control-no-file", true, "Control files that are no regular files",
         "courierfs refuses the mailbox. Put a regular file there, or nothing."},
    [FINDING_KEYWORD_LOOP] =
        {"keyword-loop", true, "Keyword files that make Courier loop for ever",
         "imapd 5.0 runs in circles over this name and holds the mailbox's lock meanwhile: both "
         "servers stand still. Delete the file."},
    [FINDING_WRONG_W] =
        {"wrong-w", true, "Messages with a wrong size behind ,W= in their name",
         "Dovecot believes it: it cuts messages off, or ends the session. Rename the file without "
         "it (the message then gets a new UID)."},
    [FINDING_FOLDER_INVALID] =
        {"folder-invalid", true, "Folder names that are not UTF-8",
         "LIST ends Courier 5's imapd, and Dovecot renames the directory at its first LIST. Rename "
         "it first."},
    [FINDING_SYMLINK_AWAY] =
        {"symlink-away", true, "Symbolic links with an absolute target",
         "Not followed by this survey. Through the mount they lead around it, straight into the "
         "store, where Dovecot would give out UIDs of its own. Make them relative, or mount what "
         "they point to."},
    [FINDING_OWNER_ROOT] =
        {"owner-root", true, "Mailboxes or control files that belong to root",
         "Neither server may use them for the mailbox's user. Give them to their owner."},
    [FINDING_LOCK_FUTURE] = {"lock-future", true, "Locks from the future",
                             "A lock of another host is stale when it is two minutes old; until "
                             "then every server waits "
                             "for it. Delete it if its host does not hold it."},
    [FINDING_CLOCK] =
        {"clock", true, "The store's clock is ahead of this host's",
         "Courier refuses to work when they differ by 30 seconds, and locks are judged by these "
         "clocks. Let all hosts and the file server keep the time by NTP."},
    [FINDING_LOCKS_OFF] =
        {"locks-off", true, "Courier does without locks (IMAP_USELOCKS)",
         "Two processes can then give out one UID twice. Set IMAP_USELOCKS=1 on every server "
         "before the first mount."},
    [FINDING_UIDDB_DAMAGED] =
        {"uiddb-damaged", false, "Damaged lines in uid databases",
         "courierfs keeps every UID that is still to be told, and writes the file anew when it "
         "next records something in it."},
    [FINDING_NEXT_UID] =
        {"next-uid", false, "Uid databases whose NEXTUID is not above their UIDs",
         "Courier would give out a UID that is taken. Through courierfs it is raised."},
    [FINDING_SAME_UID] =
        {"same-uid", false, "Uid databases with one UID for several messages",
         "Messages that still exist lose such a UID and get new ones: clients may know either "
         "under it."},
    [FINDING_SIZELIST_DAMAGED] =
        {"sizelist-damaged", false, "Damaged lines in POP3 lists",
         "The messages of these lines get new UIDLs, with Courier and with courierfs."},
    [FINDING_SIZELIST_OLD] =
        {"sizelist-old", false, "POP3 lists of version 0 or 1",
         "Courier 5 throws them away at the next login, and with them every UIDL. courierfs keeps "
         "them: let these users meet Dovecot first."},
    [FINDING_KEYWORDS_DAMAGED] =
        {"keywords-damaged", false, "Damaged lines in keyword lists",
         "Both servers pass over them: the message does without that keyword."},
    [FINDING_KEYWORDS_MANY] = {"keywords-many", false, "Mailboxes with more than 26 keywords",
                               "Dovecot has 26 letters in a mailbox. The first 26 are shown, the "
                               "others stay in Courier's "
                               "files."},
    [FINDING_KEYWORDS_OFF] =
        {"keywords-off", false, "Courier does without keywords (IMAP_KEYWORDS)",
         "Dovecot has them and will show old ones that are still in Courier's files."},
    [FINDING_SUBSCRIPTIONS_DAMAGED] = {"subscriptions-damaged", false,
                                       "Subscriptions that are no names",
                                       "They stay in Courier's file; Dovecot does not see them."},
    [FINDING_SUBSCRIPTIONS_SHARED] = {"subscriptions-shared", false,
                                      "Subscriptions outside INBOX (#shared)",
                                      "They stay in Courier's file; Dovecot does not see them. "
                                      "With a shared namespace its users "
                                      "subscribe again."},
    [FINDING_ACL_DAMAGED] = {"acl-damaged", false, "Damaged lines in lists of rights",
                             "Courier passes over them, and so does courierfs."},
    [FINDING_ACL_LARGE] = {"acl-large", false,
                           "Lists of rights with more than 1,024 names or 1 MiB",
                           "Such a list gives nobody but the owner any right through Dovecot."},
    [FINDING_QUOTA_DAMAGED] = {"quota-damaged", false, "Damaged lines in quota files (maildirsize)",
                               "Courier counts anew when it cannot use the file. Delete it."},
    [FINDING_SHARED_OLD] = {"shared-old", false, "Users of old shared folders (shared-maildirs)",
                            "Dovecot does not show the folders below 'shared.'. Give their readers "
                            "a shared namespace: "
                            "mount-examples/dovecot-2.3-shared.conf."},
    [FINDING_WRONG_S] =
        {"wrong-s", false, "Messages with a wrong size behind ,S= in their name",
         "Dovecot refuses such a message, and POP3 logins to its mailbox, for ever, unless "
         "maildir_broken_filename_sizes = yes, as in the example configuration."},
    [FINDING_FOREIGN_FLAGS] =
        {"foreign-flags", false, "Messages with lower-case letters among the flags in their name",
         "Keywords of a Dovecot, which Courier deletes when it next changes the flags. courierfs "
         "does not show them: nobody knows what they mean."},
    [FINDING_ODD_NAME] =
        {"odd-name", false, "Names of messages that no server shows",
         "They begin with a dot or a colon, or have a control character in them. Rename the file."},
    [FINDING_ODD_FLAGS] =
        {"odd-flags", false, "Messages whose name has something else than :2, and flags",
         "They have no flags for Dovecot, and Courier rewrites the name when it sets one."},
    [FINDING_DIRECTORY] = {"directory", false, "Directories among the messages",
                           "Courier shows one as a message; Dovecot removes it or moves it away."},
    [FINDING_NO_FILE] = {"no-file", false, "Messages that are no regular files",
                         "Symbolic links, for example. Not looked into."},
    [FINDING_SAME_BASE] =
        {"same-base", false, "Messages with one base name",
         "The servers tell messages apart by the name up to the colon: only one of these is shown. "
         "Give the others names of their own."},
    [FINDING_FAR_NUMBERS] =
        {"far-numbers", false, "Mailboxes whose names begin with numbers more than 2^31 apart",
         "Courier sorts such names in an order that contradicts itself: it loses sight of messages "
         "and gives them new UIDs. Rename the files that have no time at their start."},
    [FINDING_FOLDER_UTF7] =
        {"folder-utf7", false, "Folder names in modified UTF-7",
         "Courier before 5.0 made such names, Courier 5 makes UTF-8. With :UTF-8 Dovecot calls "
         "them "
         "as Courier 5 does, with &- for &. Where all names are old, leave :UTF-8 out; where both "
         "kinds are, keep it, and rename the old ones (maildirmake --convutf8)."},
    [FINDING_FOLDER_BROKEN] =
        {"folder-broken", false, "Names like a folder's without a mailbox behind them",
         "Courier lists every name with a dot in front, but can open only those with cur, new and "
         "tmp."},
    [FINDING_SYMLINK] =
        {"symlink", false, "Symbolic links to mailboxes or directories",
         "Not followed by this survey. One mailbox by two paths has two identities for Dovecot."},
    [FINDING_OWNER_MIXED] =
        {"owner-mixed", false, "Mailboxes in which something belongs to somebody else",
         "courierfs acts as the mailbox's user, who may not be able to read or change it."},
    [FINDING_DOVECOT_DIFFERS] =
        {"dovecot-differs", false, "Dovecot files that do not agree with Courier's",
         "Left by an earlier attempt. Through the mount Courier's count, and Dovecot's are not "
         "seen; 'courierctl convert' wants --overwrite for them. Clients of a Dovecot that serves "
         "them now "
         "would fetch everything again."},
    [FINDING_DOVECOT_ONLY] =
        {"dovecot-only", false, "Mailboxes that only Dovecot has numbered",
         "Courier has no uid database here. Through the mount these messages get Courier's "
         "numbers."},
    [FINDING_DOVECOT_LEFT] = {"dovecot-left", false, "Folders that a Dovecot began to delete",
                              "What is in ..DOVECOT-TRASHED is nobody's mail any more. Delete it."},
    [FINDING_LOCK_STALE] =
        {"lock-stale", false, "Locks that nobody holds any more",
         "The next server that wants one removes it. Their hosts are named: each must be one of "
         "yours, with a name of its own."},
    [FINDING_LOCK_HELD] = {"lock-held", false,
                           "Locks that a process of this host has held for over a minute",
                           "All others wait as long as that process lives."},
    [FINDING_CLOCK_SLIGHT] = {"clock-slight", false,
                              "The store's clock is a little ahead of this host's",
                              "All hosts and the file server should agree within two seconds."},
    [FINDING_FUTURE] =
        {"future", false, "Mailboxes that were changed in the future",
         "By this host's clock. Until then no server trusts its memory of them: they are slow, not "
         "wrong."},
    [FINDING_CONFIG_UNCLEAR] = {"config-unclear", false, "Settings that only a shell can read",
                                "Look at them yourself."},
};

const struct finding_about *finding_about(enum finding_kind kind)
{
    return &abouts[kind];
}

void findings_init(struct findings *findings, FILE *list)
{
    memset(findings, 0, sizeof(*findings));
    pthread_mutex_init(&findings->mutex, NULL);
    findings->list = list;
}

static void finding_release(struct finding *finding)
{
    free((char *)finding->path);
    free((char *)finding->text);
    free((char *)finding->why);
}

/* False for want of memory, then *copy_r holds nothing. */
static bool copy_finding(const struct finding *finding, struct finding *copy_r)
{
    size_t len = finding->text_len < TEXT_KEPT ? finding->text_len : TEXT_KEPT;
    char *text = malloc(len + 1);
    *copy_r = *finding;
    copy_r->path = strdup(finding->path);
    copy_r->text = text;
    copy_r->why = strdup(finding->why);
    copy_r->text_len = len;
    copy_r->cut = len < finding->text_len;
    if (copy_r->path == NULL || text == NULL || copy_r->why == NULL) {
        finding_release(copy_r);
        return false;
    }
    if (len > 0)
        memcpy(text, finding->text, len);
    text[len] = '\0';
    return true;
}

void findings_add(struct findings *findings, enum finding_kind kind, const struct finding *first)
{
    struct finding_group *group = &findings->groups[kind];
    pthread_mutex_lock(&findings->mutex);
    group->count += first->count;
    if (group->kept_count < FINDINGS_KEPT) {
        if (copy_finding(first, &group->kept[group->kept_count]))
            group->kept_count++;
        else
            findings->failed = true;
    }
    pthread_mutex_unlock(&findings->mutex);
}

void findings_write(struct findings *findings, enum finding_kind kind,
                    const struct finding *finding)
{
    if (findings->list == NULL)
        return;
    BUF_AUTO line = BUF_EMPTY;
    buf_printf(&line, "%s\t", abouts[kind].id);
    visible_add(&line, span_of(finding->path));
    buf_printf(&line, "\t%u\t", finding->line);
    visible_add(&line, span_of(finding->why));
    buf_add_char(&line, '\t');
    visible_add(&line, span_make(finding->text, finding->text_len));
    buf_add_char(&line, '\n');
    pthread_mutex_lock(&findings->mutex);
    if (buf_error(&line) == 0)
        fwrite(line.data, 1, line.len, findings->list);
    else
        findings->failed = true;
    pthread_mutex_unlock(&findings->mutex);
}

static int compare_findings(const void *a, const void *b)
{
    const struct finding *x = a, *y = b;
    int order = strcmp(x->path, y->path);
    return order != 0 ? order : (x->line > y->line) - (x->line < y->line);
}

void findings_sort(struct findings *findings)
{
    for (size_t kind = 0; kind < FINDING_COUNT; kind++) {
        struct finding_group *group = &findings->groups[kind];
        qsort(group->kept, group->kept_count, sizeof(group->kept[0]), compare_findings);
    }
}

void findings_release(struct findings *findings)
{
    for (size_t kind = 0; kind < FINDING_COUNT; kind++) {
        for (size_t i = 0; i < findings->groups[kind].kept_count; i++)
            finding_release(&findings->groups[kind].kept[i]);
    }
    pthread_mutex_destroy(&findings->mutex);
}
