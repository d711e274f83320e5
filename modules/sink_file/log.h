/* SPDX-License-Identifier: MPL-2.0 */
/* A sink of this module, and how what it has made goes to its segments. All of it on the thread of the sink, but for its birth and end. */
#ifndef SINK_FILE_LOG_H
#define SINK_FILE_LOG_H

#include "bodies.h"
#include "form.h"
#include "line.h"
#include "segment.h"

enum fsync_mode { FSYNC_NEVER, FSYNC_INTERVAL, FSYNC_ALWAYS };

struct sink {
    const char *path;
    uint8_t index, with_timestamps, audit_required;
    uint64_t rotate_bytes, rotate_age, keep_bytes, flush_interval, fsync_interval;
    int64_t keep_segments, flush_every;
    uint32_t fsync;
    struct bodies_options body_options;
    uint32_t decoded;

    const struct soth_host *host;
    struct bodies *bodies; /* NULL: none are wanted */
    struct bodies_counts bodies_told;
    uint64_t bodies_ns; /* when it was said that one cannot be written */
    struct segment segment;
    struct text lines, rows;
    struct forms forms;
    uint32_t buffered;
    uint64_t begun_ns, flushed_ns, synced_ns, rotate_from_ns; /* begun: when the segment got its first line */
    uint8_t used, failing, dirty; /* used: something was written to it; dirty: written and not synced */
    uint8_t index_long;           /* rows of removed segments could not be removed, and that was said */
    int count_errors, count_bodies, count_bodies_cut, count_bodies_evicted, count_bodies_left_out;
};

/* At the start. 0, or as segment_open. */
int log_prepare(struct sink *self, const char **what);
/* Each: 0, or negative and said; nothing is lost then, and it is done anew with the next. */
int log_start(struct sink *self);                 /* before the first line: a segment is open, older ones that are too many are gone */
int log_write(struct sink *self);                 /* all lines and rows that wait */
int log_write_blocks(struct sink *self);          /* of the lines what fills blocks, of which there is enough */
static inline int log_has_block(const struct sink *self)
{
    return self->lines.n >= segment_block(&self->segment);
}
/* With rotate_bytes or rotate_age: the last line, of so many bytes behind so many, begins a new segment when it is time; if none can be opened the
 * old one goes on. */
int log_rotate_when_due(struct sink *self, size_t before, size_t line);
int log_sync(struct sink *self);                  /* what was written is on the disk, when fsync is not never */
int log_sync_when_due(struct sink *self, uint64_t now);
void log_prune(struct sink *self, size_t coming); /* removes segments that are too many with so many bytes more */
/* The lines that wait come to other places than they were made for, `to` on and not `from` on. What was written before is somewhere else now. */
void log_move_rows(struct sink *self, uint64_t from, uint64_t to);

#endif
