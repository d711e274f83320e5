/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The index of an event log: one file of rows for all segments. Two instances share it for a moment, at a reload; the one that has its lock
 * may put a shorter file in its place.
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
};

/* Opens it, or opens it anew after somebody may have moved it away. What is open stays open when that fails. 0, or -SOTH_EIO with errno
 * set; the same below. */
int index_open(struct index *index, const char *log);
int index_append(struct index *index, const char *p, size_t n);
/* Only rows of these segments stay. A reader sees the file as it was or as it becomes, never between. */
int index_prune(struct index *index, const struct parts *stay);

#endif
