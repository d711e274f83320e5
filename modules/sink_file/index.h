/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The index of an event log: one file of rows for all segments. Two processes may share it for a while, and an instance and the one that a reload
 * took out; the one that has its lock may make it shorter.
 */
#ifndef SINK_FILE_INDEX_H
#define SINK_FILE_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "whole.h"

#define INDEX_ENDING ".index.tsv"

struct parts;

struct index {
    const char *log; /* the path of segment 0 */
    struct whole file;
    int locked;      /* against mending by whoever opens it next */
    uint64_t number; /* of the segment that is open, */
    uint64_t from;   /* and where its rows begin, which are the last ones; 0: it has none; INDEX_MIXED: others are among them */
};
#define INDEX_MIXED UINT64_MAX

/* Opens it, or opens it anew after somebody may have moved it away. What is open stays open when that fails. 0, or -SOTH_EIO with errno
 * set; the same below. */
int index_open(struct index *index, const char *log);
void index_next(struct index *index, uint64_t number); /* the rows to come are of this segment */
int index_append(struct index *index, const char *p, size_t n);
/* Only rows of these segments stay. A reader sees the file as it was or as it becomes, never between. While another process writes to it nothing
 * changes. */
int index_prune(struct index *index, const struct parts *stay);
/* The file of the open segment was moved away: its rows go, unless the index was, too. They are cut off, since they are the last ones; only when
 * others are among them the file is made anew, as by index_prune. */
int index_forget(struct index *index, const struct parts *stay);
/* Is the last row one of a segment from `number` on? */
int index_reaches(const char *log, uint64_t number);

#endif
