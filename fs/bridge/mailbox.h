/* What the bridge knows of one mailbox while somebody uses it. Internal to the room bridge/.
 *
 * Lock order: mailbox.mutex, then bridge.registry_mutex; never two mailboxes at once, except that a
 * message renamed between two mailboxes locks one after the other, not both. Everything in struct
 * mailbox below the mutex is protected by it. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include "bridge/bridge.h"
#include "bridge/cur_complete.h"
#include "bridge/keyword_state.h"
#include "bridge/view.h"
#include "cache/cache.h"
#include "store/file.h"
#include "store/lock.h"

/* How long what was looked at in the store stays what it was: Dovecot asks many times in a moment. No
 * decision about a UID, and no change of a name, rests on it. */
#define LOOK_MILLISECONDS 50

#define CONTROL_KIND_COUNT (CONTROL_ACL_LIST + 1)

/* A list of which one in so many lines is dead is made anew. Dovecot (2.3.19) does it at one in four. */
#define DEAD_LINES_SHARE 5

/* One control file in one generation: what a node of the mount stands for. `content` is what
 * everybody sees; `pending` is what the lock's owner wrote behind it and has not been recorded. */
struct control_file {
    atomic_uint references;
    struct mailbox *mailbox; /* counted in mailbox.file_count */
    enum control_kind kind;
    uint64_t ino;
    struct buf content;
    struct buf pending;
    struct timespec mtime;
    uid_t uid;
    gid_t gid;
    mode_t mode;
    char *linked; /* the store's file it was made from by link(), under a name of ours: its maker
                     goes on writing there; NULL = content is all */
};

/* Courier's lock as long as a process on this mount holds it. */
struct held_lock {
    bool held;
    uint32_t first_next; /* NEXTUID when it was granted; 0 = not known yet */
    uint64_t number;     /* no other lock of this mailbox has it; never 0 */
    uint64_t uiddb_hash; /* of the uid database then, or as we wrote it since */
    bool cur_touched;    /* the grant or the owner changed cur */
    pid_t pid;           /* of the process that asked for it */
    uint64_t pid_start;  /* tells a reused pid */
    struct lock_identity identity;
    uid_t uid; /* on whose behalf the store is written when the housekeeper works */
    gid_t gid;
    time_t touched;
    int64_t looked_at; /* when it was seen to be there, in milliseconds of the monotonic clock */
    int64_t since;     /* wall clock, ms */
    struct timespec tmp_time; /* mtime of tmp when it was granted ... */
    bool tmp_touched;         /* ... and whether it moved by our own doing since */
    int slot;                 /* in the table of held locks */
};

/* A process whose lock another program took away, and which has not asked for it again. */
struct loser {
    bool exists;
    pid_t pid;
    uint64_t pid_start;
};

/* How much the lock was held on this mount lately (uidlist_lock.c). */
struct use_of_period {
    int64_t held_ms;
    bool waited; /* somebody else was seen trying */
};

struct lock_use {
    int64_t period; /* of the clock */
    struct use_of_period now;
    struct use_of_period before;
};

/* The files a uidlist is made from. */
enum source_kind { SOURCE_UIDDB, SOURCE_SIZELIST, SOURCE_KEYS, SOURCE_COUNT };

struct sources_seen {
    struct signature signature[SOURCE_COUNT];
    uint64_t hash[SOURCE_COUNT]; /* of the content; 0 if absent */
};

/* The file that has the rights of a mailbox: its own, or one of those Courier asks without it. */
struct acl_source {
    size_t place; /* counts those files */
    struct signature signature;
};

/* Sizes that messages were read for, and that are not in the view yet (sizes.c). */
struct proven_size {
    uint32_t uid;
    uint64_t size;
};

struct proven_sizes {
    uint32_t uidvalidity;
    uint32_t tried;          /* no message up to this UID is read again */
    struct proven_size *all; /* ascending by UID */
    size_t count;
    size_t capacity;
    int64_t asked_at; /* when more were asked for, in milliseconds of the monotonic clock */
};

struct sources;

struct mailbox {
    /* Protected by bridge.registry_mutex. */
    TAILQ_ENTRY(mailbox) by_use;
    struct mailbox *next_in_bucket;
    unsigned active; /* threads between mailbox_enter and mailbox_leave */

    struct bridge *bridge;
    dev_t device;
    ino_t inode;
    atomic_uint file_count; /* control files alive that point here */

    pthread_mutex_t mutex;
    char *path; /* where it was last time */
    struct stat dir;
    int64_t looked_at;          /* when dir was taken, in milliseconds of the monotonic clock */
    bool converted;             /* Dovecot's own files count here: see aside.c */
    bool side_known;            /* and that stays so ... */
    struct signature side_seen; /* ... while the directory looks like this */
    unsigned home_depth;        /* home_begin less home_end */
    struct caller acting;       /* whose rights the thread that holds the mutex uses */
    struct control_file *file[CONTROL_KIND_COUNT]; /* current ones, each one reference */
    struct view view;                              /* of file[CONTROL_UIDLIST]; empty without it */
    bool recalled;      /* the view comes from the cache and was not shown on this mount yet */
    bool view_outdated; /* a fresh generation must be shown whatever the sources say */
    struct sources_seen seen;
    struct sources *sources;     /* what was parsed last, see sources.h; NULL = nothing */
    int64_t sources_used_at;     /* in milliseconds of the monotonic clock */
    uint64_t told[SOURCE_COUNT]; /* hash of the content whose damage was logged */
    uint32_t highest_next;       /* high-water mark of N under view.uidvalidity */
    struct held_lock lock;
    uint64_t locks_taken;
    struct dir_list moved; /* from new to cur at the grant, and not yet shown to the lock's owner */
    struct dir_list saved; /* ... when saved_by recorded their UIDs last, and not yet shown to it */
    pid_t saved_by;
    struct timespec new_time; /* the mtime of new that the lock's owner sees */
    bool grant_failed;        /* who asked for the lock last met an error, not another holder */
    struct loser loser;
    struct lock_use lock_use;
    struct cur_complete cur_complete;
    struct arrival *arrivals; /* see arrivals.c */
    size_t arrival_count;
    size_t arrival_capacity;
    struct buf deleted; /* unlinked through the mount: "UID BASE" lines, as they were shown */
    struct keyword_state keywords;
    int64_t keywords_looked_at; /* in milliseconds of the monotonic clock */
    struct dir_list cur;        /* the last listing of cur: where a base name was seen */
    bool cur_listed;
    bool foreign_letters;         /* some name in cur has lower-case letters in the store */
    struct signature subscribed;  /* of what file[CONTROL_SUBSCRIPTIONS] was made from */
    struct acl_source acl_source; /* of what file[CONTROL_ACL] was made from */
    struct acl_source acl_told;   /* the file that could not be read, and was said so */
    struct buf acl_base;          /* what it was when file[CONTROL_ACL_LOCK] was made */
    bool used_by_pop3;
    bool order_unsure;     /* lines were appended since the POP3 order was last compared */
    uint64_t entered_list; /* hash of the size list when every message up to ... */
    uint32_t entered_uid;  /* ... this UID was in it */
    uint32_t unread_uid;   /* the last that could not be read for it; 0 = none */
    struct proven_sizes proven;
    char *refused;       /* why the mailbox is refused; NULL = it is not */
    uint32_t generation; /* counts the generations made since the mailbox was loaded */
    bool cache_asked;
    bool cache_outdated;
    time_t cache_due; /* when the cache gets it; 0 = not decided */
};

TAILQ_HEAD(mailbox_queue, mailbox);

#define MAILBOX_BUCKETS 4096

struct held_locks;

struct bridge {
    struct store *store;
    struct store *home;  /* where control data is written: the store, or with -o ro a local tree */
    struct cache *cache; /* NULL with nocache */
    struct held_locks *held_locks;
    pthread_t housekeeper;
    pthread_mutex_t registry_mutex;
    pthread_cond_t stop_wakeup;
    bool stopping;
    struct mailbox *buckets[MAILBOX_BUCKETS];
    struct mailbox_queue by_use; /* least recently used first */
    size_t mailbox_count;
    atomic_uint_least64_t counter; /* makes inode numbers unique */
    atomic_uint_least64_t generations_made;
    atomic_uint_least64_t uids_recorded;
    atomic_bool cannot_exchange; /* RENAME_EXCHANGE was refused */
    struct store local_home;     /* what home points to with -o ro */
};

/* Finds or makes the mailbox at DIR, locks its mutex and makes the thread act for it: as CALLER, or
 * as the owner of the directory if CALLER is root. -ENOTDIR if DIR has no cur. It may be a converted
 * one. */
int mailbox_enter(struct bridge *bridge, const struct caller *caller, const struct place *dir,
                  struct mailbox **mailbox_r);
/* Unlocks it, after either of the two. */
void mailbox_leave(struct mailbox *mailbox);

/* Gives back mailboxes that were counted active, and frees idle ones, least recently used first,
 * until KEEP are left. */
void registry_let_go(struct bridge *bridge, struct mailbox **all, size_t count, size_t keep);

/* For calls that have the mailbox already: locks the mutex and makes the thread act for it. */
int mailbox_resume(struct mailbox *mailbox, const struct caller *caller);

/* Whether this is a top maildir (INBOX) and not a folder, whose name starts with a dot. */
bool mailbox_is_inbox(const struct mailbox *mailbox);

/* A new control file; *file_r carries one reference. The mutex is held. */
int control_file_new(struct mailbox *mailbox, enum control_kind kind, uint64_t ino,
                     struct control_file **file_r);
/* Shows FILE as ST's owner's, or, where what it is made from lies in the local tree, as the
 * mailbox's owner's. */
void control_file_take_owner(struct control_file *file, const struct stat *st);
/* Makes FILE (may be NULL) the current one of KIND; takes over the caller's reference. */
void mailbox_set_file(struct mailbox *mailbox, enum control_kind kind, struct control_file *file);
/* An inode number nobody had before on this mount, never one of the store's. */
uint64_t bridge_new_ino(struct bridge *bridge);
/* A time later than THEN, now if possible. */
struct timespec time_after(struct timespec then);
/* Gives up everything that was made from Courier's files. */
void mailbox_forget_view(struct mailbox *mailbox);

/* Logs that the mailbox is refused, once for each reason. */
void mailbox_refuse(struct mailbox *mailbox, const char *why);

/* ---- Courier's and our files in the mailbox, by name (home.c) -------------------------------- */

/* Around calls on bridge->home: the local tree belongs to the daemon, not to the caller. May be
 * nested. */
void home_begin(struct mailbox *mailbox);
void home_end(struct mailbox *mailbox);

/* In the store; with -o ro in the local tree, if they were written there, else in the store. */
int home_signature(struct mailbox *mailbox, const char *name, struct signature *signature_r);
/* Appends the content. -ENOENT if there is none. */
int home_read(struct mailbox *mailbox, const char *name, struct buf *out, struct stat *st_r);
/* Replaces NAME by CONTENT, durably. CHECK (may be NULL) is asked immediately before the rename;
 * if it answers an error nothing is replaced. LIKE: see draft_write. st_r (may be NULL) is of the
 * new file. */
int home_replace(struct mailbox *mailbox, const char *name, struct span content,
                 const struct stat *like, int (*check)(struct mailbox *mailbox, void *arg),
                 void *arg, struct stat *st_r);

/* ---- the uidlist ----------------------------------------------------------------------------- */

/* present.c: brings view and file[CONTROL_UIDLIST] up to date with Courier's files. -ENOENT: there
 * is no uid database. -EIO: refused. */
int uidlist_refresh(struct mailbox *mailbox);
/* present.c: makes a new generation if the view's POP3 order is not Courier's. For a view that was
 * just refreshed. */
int uidlist_settle_order(struct mailbox *mailbox);
/* present.c: makes a new generation, which has the proven sizes. The lock is not held. */
int uidlist_show_anew(struct mailbox *mailbox);

/* One (UID, base name) that Dovecot, or the grant, wants to be so; keys as in the uidlist line. */
struct uid_claim {
    uint32_t uid;
    struct span base;
    struct span keys;
};

/* What became of a batch of claims. */
struct uid_outcome {
    size_t recorded; /* new lines in the uid database */
    size_t refused;  /* against the uid database: logged */
};

/* Records what was appended to the current uidlist and makes it visible to all. */
int uidlist_record_pending(struct mailbox *mailbox);
/* Records the content of the .tmp file, which becomes the current uidlist. */
int uidlist_record_rewrite(struct mailbox *mailbox);

/* arrivals.c: a message was renamed from the store's path FROM to the name TO in cur or new. 0 or
 * -ENOMEM. */
int arrivals_note(struct mailbox *mailbox, const struct caller *caller, const char *from,
                  struct span to);
/* Records the UIDs that Dovecot will give to what CALLER, the lock's owner, put here. */
int arrivals_record(struct mailbox *mailbox, const struct caller *caller);
void arrivals_forget(struct mailbox *mailbox);

/* grant.c: what happens once the lock was taken for CALLER. 0, or -errno: then it must be let go.
 * -EEXIST: the mailbox was converted meanwhile, and Dovecot's own lock is the one to take. */
int grant_prepare(struct mailbox *mailbox, const struct caller *caller);

/* uidlist_lock.c */
/* Takes Courier's lock for CALLER, without what happens at a grant. 0, -EEXIST, or -errno. */
int lock_acquire(struct mailbox *mailbox, const struct caller *caller, const char *link_from);
int lock_create(struct mailbox *mailbox, const struct caller *caller, const char *link_from,
                struct control_file **file_r);
int lock_lookup(struct mailbox *mailbox, const struct caller *caller, struct control_file **file_r);
int lock_unlink(struct mailbox *mailbox, const struct caller *caller);
int lock_set_times(struct mailbox *mailbox, const struct timespec times[2]);
/* When the lock that is held was taken, by the clock of the store; {0} if none is, or it lies elsewhere. */
struct timespec lock_store_time(const struct mailbox *mailbox);
/* Whether CALLER works under a lock that it has no more. */
bool lock_was_lost(const struct mailbox *mailbox, const struct caller *caller);
/* What CALLER, who has or had the lock, wrote to its list is lost: it must not go on. */
void lock_end_writer(struct mailbox *mailbox, const struct caller *caller);
/* Lets go without recording. Used when the owner died, and at unmount. */
void lock_abandon(struct mailbox *mailbox);
/* Housekeeping of one mailbox, whose mutex is held: an owner that died, a lock held long. */
void lock_housekeeping(struct mailbox *mailbox, time_t now);

/* present.c: enters the view's messages in Courier's size list, making the view anew as long as Courier
 * changes that list meanwhile. For a view that was just refreshed. */
int uidlist_settle_uidls(struct mailbox *mailbox);
/* pop3.c: enters the view's messages that Courier's size list lacks. Does nothing unless the
 * mailbox is used by POP3. 0, with mailbox->unread_uid != 0 if a message could not be read, and was left
 * out; 1: nothing was done, the list is not the one that the view was made of; -errno. */
int pop3_enter_messages(struct mailbox *mailbox);
/* Whether CALLER is Dovecot's POP3 server and the mailbox an INBOX; then that is noted, too. */
bool pop3_is_caller(struct mailbox *mailbox, const struct caller *caller);

/* remember.c: the view to and from the cache. */
void view_recall(struct mailbox *mailbox);
/* Forgets the view of the mailbox in this directory. */
void view_forget(struct bridge *bridge, const struct stat *dir);
/* Some seconds after a change only, or NOW. */
void view_remember(struct mailbox *mailbox, bool now);
/* The bytes that it is in the cache, if its text has so many. */
size_t view_remembered_size(size_t text_length);

/* control.c: reads what the maker of a linked file wrote since. 0 or -errno. */
int control_file_reload(struct control_file *file);

/* keywords.c, subscriptions.c, acl.c: the other control files. */
int keywords_lookup(struct mailbox *mailbox, struct control_file **file_r);
int keywords_record(struct mailbox *mailbox);
/* Reads Courier's keywords and gives letters to names that have none. The lock is held. */
int keywords_at_grant(struct mailbox *mailbox);
/* Letters whose meaning Dovecot never told: they are shown no more. */
void keywords_forget_unnamed(struct mailbox *mailbox);
int subscriptions_lookup(struct mailbox *mailbox, struct control_file **file_r);
int subscriptions_record(struct mailbox *mailbox);
int acl_lookup(struct mailbox *mailbox, struct control_file **file_r);
/* What Dovecot writes to its new lock is a change to what it is shown at this moment. */
int acl_lock_made(struct mailbox *mailbox);
int acl_record(struct mailbox *mailbox);
/* -ENOTDIR: dovecot-acl-list is the store's; -ENOENT: it is not there, or too old to be shown. */
int acl_list_lookup(struct mailbox *mailbox);
