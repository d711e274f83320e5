/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Files of whole lines: what is appended is there whole or not at all, and what a crash left behind the last line is put aside. A file
 * that is written to is locked, so that nobody mends it meanwhile.
 */
#ifndef SINK_FILE_WHOLE_H
#define SINK_FILE_WHOLE_H

#include <stddef.h>
#include <stdint.h>

#include "uncached.h"

struct whole {
    int fd;        /* -1: none */
    uint64_t size; /* bytes, of whole lines */
    size_t begun;  /* and of the line behind them, which is the next to be appended */
    struct uncached uncached;
};

/* For appending, made when it is not there; with further open flags. 0, or -SOTH_EIO with errno set. */
int whole_open(struct whole *file, const char *name, int flags);
int whole_is_same(int a, int b);         /* two descriptors, one file */
int whole_is_at(int fd, const char *name); /* it was not moved away */
int whole_is_written(const char *name);    /* somebody has it open and locked */
void whole_release(const struct whole *file); /* nothing more is written: it is locked no longer */
/* A failed write leaves no half line: what it wrote is taken back. Where that is not possible - a pipe, a file that only grows, one that
 * somebody else has written to - `begun` remembers it, and the next attempt, with the same bytes in front, goes on behind it. 0, or
 * -SOTH_EIO with errno set. */
int whole_append(struct whole *file, const char *p, size_t n);
/* The same of what may end in the middle of a line: *n says how many bytes whole lines of it have, with which the next attempt does not begin
 * again, as it does with the line behind them. */
int whole_append_until(struct whole *file, const char *p, size_t until, size_t *n);
/* What a crash left behind the last line of `file` goes to `aside` (NULL: is dropped). Returns how many bytes that were; negative: it stays
 * where it is, since nothing is thrown away that was not kept. */
int64_t whole_mend(const char *file, const char *aside);

#endif
