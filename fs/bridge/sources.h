/* The three files a uidlist is made from, read and parsed.
 *
 * One new message makes courierfs ask for them half a dozen times (at the grants of the lock, when the
 * message is recorded, when Dovecot's line comes), and each time the store is asked again: what a lock's
 * owner records rests on what is there, not on what was. But parsing 100,000 lines takes longer than
 * reading them, and mostly the very same bytes come again. So a mailbox keeps what was parsed last, for a few
 * seconds. It is taken for the file that is there
 *
 *   - if the bytes that were read are the same;
 *   - unread, if the file, opened again, has the inode, size and times it had, and they are so old that no
 *     later change could have left them so (store/file.h);
 *   - unread, likewise, if it is the uid database as it was read or written under the very lock that is held
 *     now, however young it is: nobody replaces it meanwhile, and who took the lock away and did has made
 *     another inode while this one was there. */
#pragma once

#include "bridge/mailbox.h"
#include "courier/sizelist.h"
#include "courier/uiddb.h"

/* Keys of Dovecot's that Courier has no home for: a uidlist with only the records that have such
 * keys, and the mailbox GUID in its header if that was ever fixed. Found by base name. */
#define KEYS_FILE "courierfs-uidlist"

struct sources {
    struct mailbox *mailbox;
    struct buf text[SOURCE_COUNT];
    struct stat st[SOURCE_COUNT];
    bool present[SOURCE_COUNT];
    struct sources_seen seen;
    struct uiddb db;
    bool parsed[SOURCE_COUNT]; /* what follows is what the text says, for each kind */
    uint64_t uiddb_under;      /* the lock (held_lock.number) under which it was read; 0 = none */
    bool must_write;           /* but of the uid database here that is not so any more */
    struct sizelist list;
    struct base_map list_names; /* positions in list.entries by base name */
    struct view keys;           /* empty if there is no keys file */
};

#define SOURCES_AUTO __attribute__((cleanup(sources_give_back))) struct sources *

/* Reads all three. 0 also when the uid database is missing (present[SOURCE_UIDDB] says so); -EIO if
 * the mailbox is refused, which is noted in the mailbox. Give it back in any case, and before anything
 * else loads it (pop3_enter_messages does): a second one would be read and parsed anew. *sources_r is
 * NULL only with -ENOMEM. */
int sources_load(struct mailbox *mailbox, struct sources **sources_r);
/* The mailbox keeps it, for the next time, and *sources is NULL. The mailbox's mutex is held. */
void sources_give_back(struct sources **sources);
/* It is not kept. */
void sources_free(struct sources *sources);
/* About what it takes; 0 for NULL. */
size_t sources_memory(const struct sources *sources);
/* Frees what the mailbox keeps if nobody asked for it for some seconds, or NOW. */
void sources_forget(struct mailbox *mailbox, bool now);

/* 0 with *changed_r: whether any file differs from what mailbox->seen says, or cannot be told. */
int sources_changed(struct mailbox *mailbox, bool *changed_r);

/* The file's name in the mailbox. */
const char *source_name(enum source_kind kind);

/* What a mailbox's GUID is: as fixed in the keys file, else made from the path and UIDVALIDITY. OUT
 * has UIDLIST_GUID_LEN + 1 bytes. */
void sources_guid(const struct mailbox *mailbox, const struct sources *sources, char *out);

/* The message's entry in the size list, or NULL. */
const struct sizelist_entry *sources_list_entry(const struct sources *sources, struct span base);

/* The size list was replaced by TEXT, which is taken: LIST, a copy of the list in SOURCES with another header, and
 * MORE, as sizelist_format_longer writes them. What was parsed is that then, or nothing. */
void sources_list_written(struct sources *sources, const struct sizelist *list, struct buf *text,
                          const struct sizelist_entry *more, size_t count);

/* present.c: makes the view agree with SOURCES (see the essay there). */
int uidlist_present(struct mailbox *mailbox, const struct sources *sources);
/* Appends the UIDL that Dovecot's pop3_uidl_format makes. */
void add_format_uidl(struct buf *out, uint32_t uid, uint32_t uidvalidity);

/* claims.c: what a batch of claims changed in a uid database. */
struct claims_merged {
    size_t added;
    size_t moved;
    size_t refused; /* logged */
};

/* Merges CLAIMS, ascending by UID, into DB, whose spans then point into the claims, too. 0 or -ENOMEM,
 * with DB spoiled. */
int claims_merge(const struct mailbox *mailbox, struct uiddb *db, const struct uid_claim *claims,
                 size_t count, struct claims_merged *merged_r);

/* record.c: see uids_record. SOURCES, freshly loaded, are changed to what was recorded; until they are,
 * their spans point into CLAIMS, too. */
int uids_record_in(struct mailbox *mailbox, struct sources *sources, const struct uid_claim *claims,
                   size_t count, uint32_t uidnext_floor, struct uid_outcome *outcome_r);
/* The same for claims whose files were seen in `cur`: none is looked for in `new`. */
int uids_record_in_cur(struct mailbox *mailbox, struct sources *sources,
                       const struct uid_claim *claims, size_t count);
/* Writes the uid database as it is in SOURCES, if the lock is still ours and nobody replaced it. Then
 * SOURCES have it as if they had read it. */
int uiddb_commit(struct mailbox *mailbox, struct sources *sources);
/* Lists `new` once and moves the messages there whose base name NEEDED accepts to `cur`. How many are
 * not in `new` any more; -errno. Their names there are added to moved_r, *dir_r is the directory as it
 * was before it was listed (both may be NULL). In a store that is read only: 0, and nothing else. */
int move_new_to_cur(struct mailbox *mailbox, bool (*needed)(const void *arg, struct span base),
                    const void *arg, struct dir_list *moved_r, struct stat *dir_r);

/* keys_file.c: writes down those keys of the claims that Courier has no home for. */
int keys_record(struct mailbox *mailbox, struct sources *sources, const struct uid_claim *claims,
                size_t count);
/* Fixes the mailbox's GUID in the keys file, so that it no longer depends on the path. */
int keys_fix_guid(struct mailbox *mailbox, struct sources *sources);
/* Makes GUID, valid and as Dovecot wrote it, the mailbox's (dsync sets it), unless it is already. */
int keys_record_guid(struct mailbox *mailbox, struct sources *sources, struct span guid);
