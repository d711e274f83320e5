/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Bodies in files of their own, one a message, written as their pieces come: NAME.part while it grows; then NAME.body, NAME.sample when its sink
 * gets only the beginning, or NAME.cut when the rest never came; and beside it NAME.sha256 for sha256sum -c. The oldest go when the budget
 * is used up. What fails here is counted and never holds up the log. One thread.
 */
#ifndef SINK_FILE_BODIES_H
#define SINK_FILE_BODIES_H

#include <soth/sdk.h>

struct bodies_options {
    const char *dir;
    uint64_t max_bytes;
    uint64_t sample; /* most bytes of a file that is decoded, UINT64_MAX = all; what is not comes with no more */
    int decoded; /* without the content coding: then `host` hides what is to be hidden for `sink` */
    const struct soth_host *host;
    void *sink;
};

struct bodies_counts {
    uint64_t written, cut, evicted, errors; /* cut: of those that were written */
    uint64_t left_out;                      /* there is no file: no room, or none could be made */
    int error; /* errno of the last of these */
};

struct bodies;
/* Makes the folder. NULL with errno set. */
struct bodies *bodies_new(const struct bodies_options *options);
/* An event that was taken. */
void bodies_event(struct bodies *b, const struct soth_event *e);
/* No more events come: what is not complete is cut. */
void bodies_end(struct bodies *b);
/* The same. NULL is legal. */
void bodies_free(struct bodies *b);
const struct bodies_counts *bodies_counts(const struct bodies *b);

#endif
