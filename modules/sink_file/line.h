/* SPDX-License-Identifier: MPL-2.0 */
/* One event as one line of the event log v2 (docs/testing/event-log-v2-contract.md). Bytes in, bytes out; no I/O. */
#ifndef SINK_FILE_LINE_H
#define SINK_FILE_LINE_H

#include <soth/sdk.h>

struct text { /* grows */
    char *p;
    size_t n, room;
    int failed;
};

int text_room(struct text *t, size_t more);
void text_add(struct text *t, const char *p, size_t n);
void text_number(struct text *t, uint64_t value);

/* Appends the line with its newline. */
void line_event(struct text *out, const struct soth_event *event, const char *stream_key, size_t stream_key_size, int with_timestamps);
/* Appends the index row of a line. */
void line_index(struct text *out, const struct soth_event *event, const char *stream_key, size_t stream_key_size, uint64_t segment,
                uint64_t offset, uint64_t bytes);
extern const char line_index_header[];

#endif
