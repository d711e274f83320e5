/* SPDX-License-Identifier: MPL-2.0 */
/* The names of a log's segments - <path>, <path>.part00001, ... - and which of them are there. */
#ifndef SINK_FILE_PARTS_H
#define SINK_FILE_PARTS_H

#include <stddef.h>
#include <stdint.h>

struct parts {
    uint64_t *numbers; /* ascending; 0 = <path> itself */
    size_t n;
    int error; /* errno; 0: these are all */
};

/* Malloc'd, NULL without memory. */
char *parts_path(const char *path, const char *ending);
char *parts_name(const char *path, uint64_t number);
char *parts_folder(const char *path);
const char *parts_file(const char *path); /* in it; the end of `path` */
struct parts parts_list(const char *path);
int parts_has(const struct parts *parts, uint64_t number);
void parts_drop(struct parts *parts, uint64_t number); /* as if it were not there */
void parts_fini(struct parts *parts);

#endif
