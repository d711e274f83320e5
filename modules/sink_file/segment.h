/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The files of an event log: segments <path>, <path>.part00001, ..., their index, and a torn last line of a crash put aside. What is
 * appended is on disk whole or not at all: a write that fails is taken back.
 */
#ifndef SINK_FILE_SEGMENT_H
#define SINK_FILE_SEGMENT_H

#include <soth/sdk.h>

#include "claim.h"
#include "index.h"

struct segment {
    const char *path;
    struct claim claim;
    char *name;      /* of the file that is open */
    uint64_t number; /* 0 = <path> itself */
    struct whole file;
    uint64_t older;  /* bytes of those before it, but for what could not be removed */
    struct index index;
    int64_t torn;    /* bytes that were put aside at open; negative: that had to stay where they are */
    int is_stream;   /* not a file but a terminal, a pipe or the like: one segment, no index */
    int with_index;
};

/* Opens a new segment behind all that exist; what is no regular file is opened itself. While another instance of this process has the path - at a
 * reload it writes on, and begins segments - it is only found out whether that will work. 0, or -SOTH_EIO with errno set and *what the ending of the
 * file's name that it was ("" or INDEX_ENDING). */
int segment_open(struct segment *s, const char *path, int with_index, const char **what);
/* What segment_open left to be done, when the other one is done; it may be tried again. The same. */
int segment_begin(struct segment *s, const char **what);
static inline int segment_is_open(const struct segment *s)
{
    return s->file.fd >= 0;
}
int segment_next(struct segment *s); /* closes this one, opens the next */
/* After somebody may have moved the files away. 0; 1: there is a new file under the segment's name, and the index, unless it was moved away, too, has
 * no row of the one before; or -SOTH_EIO with errno set: what is open stays open then. */
int segment_reopen(struct segment *s);
/* All or nothing for a reader. What failed is offered again with the same bytes in front. 0 or -SOTH_EIO with errno set. */
int segment_append(struct segment *s, const char *p, size_t n);
/* The same of the first `until` bytes, which end where a block of the file does. *n are those that are not offered again: whole lines; of the
 * one behind them the beginning may be there until the next call. */
int segment_append_blocks(struct segment *s, const char *p, size_t until, size_t *n);
int segment_append_index(struct segment *s, const char *p, size_t n);
int segment_sync(struct segment *s);
/* All is written: who comes next may mend and remove it. */
void segment_release(struct segment *s);
/* The instance was never used. The segment that it opened and that is empty goes again. */
void segment_abandon(struct segment *s);
void segment_close(struct segment *s);
/* Removes the oldest segments, and their rows in the index, but for `keep` ones (0 = all stay) and what is beyond so many bytes (0 = no
 * bound) once `coming` ones have been appended. The open one stays. 0, or -SOTH_EIO with errno set: their rows are still in the index, and go
 * with the next ones. */
int segment_prune(struct segment *s, uint64_t keep, uint64_t bytes, uint64_t coming);

/* The system keeps a file that is written in pieces like this in pieces like this, at half the cost. */
#define SEGMENT_BLOCK 262144u

/* So many bytes fill one. */
static inline size_t segment_block(const struct segment *s)
{
    size_t left = SEGMENT_BLOCK - (s->file.size + s->file.begun) % SEGMENT_BLOCK;
    return s->file.begun + (left < SEGMENT_BLOCK / 4 ? left + SEGMENT_BLOCK : left);
}

/* And of n, which do, so many end with one. */
static inline size_t segment_blocks(const struct segment *s, size_t n)
{
    const size_t first = segment_block(s);
    return first + (n - first) / SEGMENT_BLOCK * SEGMENT_BLOCK;
}

#endif
