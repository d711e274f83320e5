/* SPDX-License-Identifier: MPL-2.0 */
/* One event as one line of the event log v2 (docs/testing/event-log-v2-contract.md). Bytes in, bytes out; no I/O. */
#ifndef SINK_FILE_LINE_H
#define SINK_FILE_LINE_H

#include <soth/sdk.h>

struct text { /* grows; p is malloc'd */
    char *p;
    size_t n, room;
};

/* Appends the line with its newline. 0, or -SOTH_ENOMEM with nothing appended. */
int line_event(struct text *out, const struct soth_event *event, struct soth_span stream_key, int with_timestamps);
/* Appends the index row of a line. The same. */
int line_index(struct text *out, const struct soth_event *event, struct soth_span stream_key, uint64_t segment, uint64_t offset, uint64_t bytes);
extern const char line_index_header[];

#endif
