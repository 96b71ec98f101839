/* The files of courierimapkeywords/: ":list", update files, and their names.
 *
 *     :list              "$MDNSent\nFoo\n\n1700000001.a:1 0\n": names, an empty line, then
 *                        BASE:NUMBER NUMBER…
 *     1700000001.a       "$MDNSent\nFoo\n": pending, the complete set of this message
 *     .N.1700000001.a    an update that was merged; N * 300 s
 *
 * Read as Courier 5.0.13 reads them, seen: a NUL ends a line, so a line that starts with one counts
 * as empty; a CR is part of the name; the last line needs no LF. In ":list" a line is split at its
 * first ':' and then at spaces, each word read like C's atoi ("1x" is 1, "x" is 0, 4294967297 is
 * 1): so "BASE:2,S:0 1" means the keywords 2 and 1. Of several lines of one base name the last
 * counts, also when it is empty.
 *
 * Three names make Courier 5.0.13 loop for ever with its lock held, seen: "BASE:2,FLAGS" with the
 * message's current flags (also as ".N.BASE:2,FLAGS"), ".N.BASE" where N is not written as a plain
 * number ("005", "5x"), and N beyond 64 bits. Never make them. */
#pragma once

#include <stdint.h>
#include "base/buf.h"
#include "base/complaint.h"

struct keyword_message {
    struct span base;
    uint32_t *indexes; /* into keyword_list.names, each once */
    size_t count;      /* may be 0 */
};

struct keyword_list {
    struct span *names; /* as in the file; Courier takes those equal without case as the first */
    size_t name_count;
    struct keyword_message *messages; /* each base name once, in file order */
    size_t message_count;
    bool stale;        /* something in it is ignored, as complained about */
    uint32_t *numbers; /* what the messages' indexes point into */
};

/* Parses ":list". Spans point into TEXT. Numbers out of range, lines without ':' or without a base
 * name, and all but the last line of a base name are ignored and complained about. 0 or -ENOMEM. */
int keyword_list_parse(struct span text, const struct complaints *complaints,
                       struct keyword_list *list_r);
/* Appends the file; messages without keywords are left out, and without names nothing is appended
 * (Courier then removes the file). */
void keyword_list_format(const struct keyword_list *list, struct buf *out);
void keyword_list_release(struct keyword_list *list);

/* An update file: one name a line, ends at an empty line. Each call gives the next name; false at
 * the end. REST starts as the whole text. A last line without LF counts. */
bool keyword_update_next(struct span *rest, struct span *name_r);

/* Appends NAME as Courier would read it from a file: space and " % ( ) * \ ] { become '_', seen
 * (IMAP STORE refuses more). So do LF and NUL, which would end the name. */
void keyword_add_clean(struct buf *out, struct span name);

enum keyword_file_kind {
    KEYWORD_FILE_LIST,    /* ":list" */
    KEYWORD_FILE_PENDING, /* "BASE" */
    KEYWORD_FILE_MERGED,  /* ".N.BASE" */
    KEYWORD_FILE_OTHER,   /* ".tmp.…", names with ':', and anything else: not ours to read */
};

/* What the directory entry NAME is; base_r is set for PENDING and MERGED, *period_r (N, units of
 * 300 s) for MERGED. */
enum keyword_file_kind keyword_file_kind(struct span name, struct span *base_r, uint64_t *period_r);
