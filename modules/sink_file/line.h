/* SPDX-License-Identifier: MPL-2.0 */
/* One event as one line of the event log v2 (docs/testing/event-log-v2-contract.md). Bytes in, bytes out; no I/O. */
#ifndef SINK_FILE_LINE_H
#define SINK_FILE_LINE_H

#include <soth/sdk.h>

struct text { /* grows; p is malloc'd */
    char *p;
    size_t n, room;
};

struct form; /* form.h */
struct forms;

struct line { /* one that was made, for its row */
    size_t n; /* bytes, newline and all */
    const struct form *form; /* of its kind of event, if there is one */
    int plain_key; /* its stream key has nothing that JSON escapes, so no tab and no line end either */
    uint8_t digits[3]; /* of its sequence_id, flow_id, flow_sequence_id */
};

struct line_place {
    const char *line;         /* where its bytes are now */
    uint64_t segment, offset; /* where it will be */
};


/* What comes after the next one to be made: a batch of events is more than the nearest cache holds. */
static inline void line_fetch(const struct soth_event *event)
{
    for (size_t at = 0; at < sizeof *event; at += 64) /* a line of the cache */
        __builtin_prefetch((const char *)event + at);
}

/* Appends the line with its newline. 0, or -SOTH_ENOMEM with nothing appended. */
int line_event(struct text *out, struct forms *forms, const struct soth_event *event, struct soth_span stream_key, struct line *line);
/* Appends the index row of a line. The same. */
int line_index(struct text *out, const struct soth_event *event, struct soth_span stream_key, const struct line *line,
               const struct line_place *place);
extern const char line_index_header[];

#endif
