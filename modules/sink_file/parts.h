/* SPDX-License-Identifier: MPL-2.0 */
/* The names of a log's segments - <path>, <path>.part00001, ... - and which of them are there. */
#ifndef SINK_FILE_PARTS_H
#define SINK_FILE_PARTS_H

#include <stddef.h>
#include <stdint.h>

struct parts {
    uint64_t *numbers; /* ascending; 0 = <path> itself */
    size_t n;
};

/* Both malloc'd, NULL without memory. */
char *parts_path(const char *path, const char *ending);
char *parts_name(const char *path, uint64_t number);
struct parts parts_list(const char *path);
int parts_has(const struct parts *parts, uint64_t number);
void parts_fini(struct parts *parts);

#endif
