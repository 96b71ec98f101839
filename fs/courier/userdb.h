/* userdb: Courier's accounts (courier-authlib 0.71.4; everything here was asked of its makeuserdb
 * and authdaemond).
 *
 * One account a line, NAME TAB FIELD=VALUE|FIELD=VALUE..., in one file or in all the files of a
 * directory. Of several fields of one name the first one counts. makeuserdb puts the fields whose
 * names end in `pw` into a database of their own; a field without `=` is none of these. Whoever has
 * no uid, gid or home does not exist.
 *
 * A password belongs to a service if there is a field with the service's name (`imappw`), else to
 * all of them (`systempw`). An empty one lets nobody in, but it counts. */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/complaint.h"

struct userdb_account {
    struct span name;
    struct span fields;
    unsigned line; /* counts from 1 */
};

/* Cuts the next account off REST; *line, at first 0, is where it stands. Skips comments, empty lines
 * and, with a complaint that does not show their text, lines without a TAB or a name: Courier does
 * not look at them. Skips "UID=" lines, which lead back from numbers to names, without one. A line
 * that is a single dot ends what Courier reads, and thus REST, with a complaint. False at the end. */
bool userdb_next(struct span *rest, unsigned *line, const struct complaints *complaints,
                 struct userdb_account *account_r);

/* Cuts the next field off FIELDS; *has_value_r tells "FIELD=" from "FIELD". */
bool userdb_next_field(struct span *fields, struct span *name_r, struct span *value_r,
                       bool *has_value_r);

/* Whether the field NAME is one of those that only root may read. */
bool userdb_is_password(struct span name);

/* The field that counts. Of a password, only one with a value. */
bool userdb_field(struct span fields, const char *name, struct span *value_r);

/* Cuts the next WORD or WORD=VALUE off OPTIONS. */
bool userdb_next_option(struct span *options, struct span *word_r, struct span *value_r);

/* Appends to OUT what counts: OPTIONS, and those of DEFAULTS (DEFAULTOPTIONS in authdaemonrc) whose
 * words are not among them. */
void userdb_merge_options(struct span options, struct span defaults, struct buf *out);

/* Whether the first option WORD says yes: without a value, with a number that is not 0, or with a
 * word that begins with t or y. */
bool userdb_option(struct span options, const char *word);

/* 0 means no limit. */
struct userdb_quota {
    uint64_t bytes;
    uint64_t messages;
};

/* Reads "10000000S,1000C". Numbers without S or C behind them mean nothing, and of several the last
 * one counts. False if there is a number that Courier cannot hold. */
bool userdb_quota(struct span text, struct userdb_quota *quota_r);
