/* SPDX-License-Identifier: MPL-2.0 */
/*
 * An event stream as the WHATWG HTML standard (9.2.6) reads it: bytes in, events out, cut anywhere. Of an event only what is asked for is kept,
 * and of a line that has not ended nothing but its place in the grammar and what its field needs.
 */
#ifndef SSE_PARSER_H
#define SSE_PARSER_H

#include <soth/sdk.h>

#define SSE_ID_AGAIN 256u

struct sse_bytes { /* grows */
    char *p;
    size_t n, room;
};

struct sse_event {
    uint64_t sequence_no; /* from 1 */
    struct soth_span event, id; /* n == 0: none; the id is the last one of the stream, */
    uint64_t id_len;            /* whole. One that was told before is not told again beyond its first SSE_ID_AGAIN bytes */
    uint64_t retry_ms;
    uint32_t has_retry;   /* a retry field came since the last event */
    uint32_t partial;     /* the stream ended in it */
    uint64_t data_lines, data_len;
    struct soth_span data; /* its beginning, keep_most bytes of it; p == NULL: not kept */
};

struct sse {
    uint64_t max_event_bytes;
    uint64_t keep_most; /* bytes of an event's data; set before a take, holds for events that begin from then on */
    uint8_t gaps;       /* say SSE_BETWEEN */

    uint8_t bom;       /* bytes of a byte order mark seen at the beginning, BOM_OVER behind it */
    uint8_t skip_lf;   /* the line end was a CR */
    uint8_t where;     /* in the line */
    uint8_t field;
    uint64_t keeping;  /* keep_most of this event */
    uint8_t id_has_nul, id_is_new, has_retry, retry_is_number, retry_has_digit, name_n;
    char name[6];
    uint64_t event_bytes; /* since the last empty line */
    uint64_t data_lines, data_len, sequence_no;
    uint64_t retry_ms, retry_line;
    struct sse_bytes event, id, id_line, data;
    const char *fault; /* "max_event_bytes", "nomem" */
};

/* One piece of the stream, read event by event. */
struct sse_input {
    const char *at, *end;
    const char *cr, *lf; /* the next ones, or end; looked for when `at` has passed them */
};

static inline struct sse_input sse_input(const char *p, size_t n)
{
    return (struct sse_input){p, p + n, NULL, NULL};
}

#define SSE_BETWEEN 2

/* Reads up to the end of an event, or of the input. 1: *out has an event, good until the next call; 0: the input is used up; -1: fault, in->at is
 * where it was found: of a limit the first byte beyond it. With `gaps` also SSE_BETWEEN: what was read since the last event belongs to none - an
 * empty line behind lines without data, the rest of a line end, a byte order mark. */
int sse_next(struct sse *s, struct sse_input *in, struct sse_event *out);
/* The stream is over. 1: an event that nothing had ended, marked partial. */
int sse_finish(struct sse *s, struct sse_event *out);
void sse_fini(struct sse *s);

#endif
