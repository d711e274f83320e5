/* SPDX-License-Identifier: MPL-2.0 */
/* One event as one line of the event log v2 (docs/testing/event-log-v2-contract.md). Bytes in, bytes out; no I/O. */
#ifndef SINK_FILE_LINE_H
#define SINK_FILE_LINE_H

#include <soth/sdk.h>

struct text { /* grows; p is malloc'd */
    char *p;
    size_t n, room;
};

struct line_place { /* of a line: in which segment, from which byte on */
    uint64_t segment, offset, bytes;
};

struct forms; /* form.h */

/* Appends the line with its newline. 0, or -SOTH_ENOMEM with nothing appended. */
int line_event(struct text *out, struct forms *forms, const struct soth_event *event, struct soth_span stream_key);
/* Appends the index row of a line. The same. */
int line_index(struct text *out, struct forms *forms, const struct soth_event *event, struct soth_span stream_key, const struct line_place *place);
extern const char line_index_header[];

#endif
