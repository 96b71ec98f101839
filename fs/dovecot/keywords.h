/* dovecot-keywords: "INDEX NAME" a line, index 0 to 25 = letter a to z in file names. */
#pragma once

#include "base/buf.h"
#include "base/complaint.h"

#define LETTER_COUNT 26

/* The names of one mailbox's letters; an empty span = letter not given out. */
struct letter_names {
    struct span name[LETTER_COUNT];
};

/* Spans point into TEXT. Lines without an index of 0 to 25, without a name, or with a name that an
 * earlier line has (without case), are skipped and complained about; of lines with one index the
 * last counts: as Dovecot 2.3.19 does, seen. A CR before the LF is not part of the name (elsewhere
 * it makes it none). A last line without LF counts (Dovecot loses it). */
void letter_names_parse(struct span text, const struct complaints *complaints,
                        struct letter_names *names_r);
void letter_names_format(const struct letter_names *names, struct buf *out);
/* 0 to 25, or -1. Compared without case. */
int letter_names_find(const struct letter_names *names, struct span name);
/* The lowest letter not given out, or -1. */
int letter_names_free(const struct letter_names *names);
