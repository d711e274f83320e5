/* SPDX-License-Identifier: MPL-2.0 */
/* See parser.h. Line ends are found by memchr, lines of data are counted as a whole: nothing is done for every byte. */
#include "parser.h"

#include <stdlib.h>

#define KEPT_MOST 16384u /* of a buffer between events */
#define BOM_OVER 3

enum where { LINE_NAME, LINE_SPACE, LINE_VALUE }; /* in the field's name, right behind its colon, in its value */
enum field { FIELD_OTHER, FIELD_DATA, FIELD_EVENT, FIELD_ID, FIELD_RETRY };

/* ---- buffers ---- */

static int add(struct sse *s, struct sse_bytes *b, const char *p, size_t n)
{
    if (b->room - b->n < n) {
        size_t room = b->room ? b->room : 64;
        while (room - b->n < n)
            room *= 2;
        char *bigger = realloc(b->p, room);
        if (!bigger) {
            s->fault = "nomem";
            return -1;
        }
        b->p = bigger;
        b->room = room;
    }
    if (n > 0)
        memcpy(b->p + b->n, p, n);
    b->n += n;
    return 0;
}

/* Of the event's data as much as is wanted. */
static int add_data(struct sse *s, const char *p, size_t n)
{
    uint64_t room = s->keeping - s->data.n;
    n = n < room ? n : (size_t)room;
    return n > 0 ? add(s, &s->data, p, n) : 0;
}

static void clear(struct sse_bytes *b)
{
    b->n = 0;
    if (b->room <= KEPT_MOST)
        return;
    free(b->p);
    *b = (struct sse_bytes){NULL, 0, 0};
}

static struct soth_span span_of(const struct sse_bytes *b)
{
    return (struct soth_span){b->p ? b->p : "", b->n};
}

void sse_fini(struct sse *s)
{
    free(s->event.p);
    free(s->id.p);
    free(s->id_line.p);
    free(s->data.p);
}

/* ---- fields ---- */

static int value_begins(struct sse *s)
{
    switch (s->field) {
    case FIELD_DATA:
        if (s->data_lines == 0)
            s->keeping = s->keep_most;
        return s->data_lines > 0 ? add_data(s, "\n", 1) : 0;
    case FIELD_EVENT:
        clear(&s->event);
        return 0;
    case FIELD_ID:
        clear(&s->id_line);
        s->id_has_nul = 0;
        return 0;
    case FIELD_RETRY:
        s->retry_line = 0;
        s->retry_is_number = 1;
        s->retry_has_digit = 0;
        return 0;
    default:
        return 0;
    }
}

static void retry_digits(struct sse *s, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned digit = (unsigned char)p[i] - '0';
        if (digit > 9) {
            s->retry_is_number = 0;
            return;
        }
        s->retry_has_digit = 1;
        s->retry_line = s->retry_line > (UINT64_MAX - digit) / 10 ? UINT64_MAX : s->retry_line * 10 + digit;
    }
}

static int value_goes_on(struct sse *s, const char *p, size_t n)
{
    switch (s->field) {
    case FIELD_DATA:
        s->data_len += n;
        return add_data(s, p, n);
    case FIELD_EVENT:
        return add(s, &s->event, p, n);
    case FIELD_ID:
        s->id_has_nul = s->id_has_nul || memchr(p, 0, n);
        return s->id_has_nul ? 0 : add(s, &s->id_line, p, n);
    case FIELD_RETRY:
        retry_digits(s, p, n);
        return 0;
    default:
        return 0;
    }
}

static void value_ends(struct sse *s)
{
    if (s->field == FIELD_DATA) {
        s->data_lines++;
    } else if (s->field == FIELD_ID && !s->id_has_nul) {
        struct sse_bytes old = s->id;
        s->id = s->id_line;
        s->id_line = old;
        s->id_is_new = 1;
        clear(&s->id_line);
    } else if (s->field == FIELD_RETRY && s->retry_is_number && s->retry_has_digit) {
        s->retry_ms = s->retry_line;
        s->has_retry = 1;
    }
}

/* ---- lines ---- */

static int name_over(struct sse *s)
{
    static const char *const names[] = {[FIELD_DATA] = "data", [FIELD_EVENT] = "event", [FIELD_ID] = "id", [FIELD_RETRY] = "retry"};
    struct soth_span name = {s->name, s->name_n};
    s->field = FIELD_OTHER;
    for (uint8_t i = FIELD_DATA; i <= FIELD_RETRY; i++)
        if (soth_span_is(name, names[i]))
            s->field = i;
    s->where = LINE_SPACE;
    return value_begins(s);
}

/* A piece of a line, without its end. */
static int line_piece(struct sse *s, const char *p, size_t n)
{
    if (s->where == LINE_NAME && n > 0) {
        const char *colon = memchr(p, ':', n);
        size_t name = colon ? (size_t)(colon - p) : n, keep = sizeof s->name - s->name_n;
        keep = name < keep ? name : keep; /* a longer one is none that we know */
        memcpy(s->name + s->name_n, p, keep);
        s->name_n = (uint8_t)(s->name_n + keep);
        if (!colon)
            return 0;
        if (name_over(s) < 0)
            return -1;
        p += name + 1;
        n -= name + 1;
    }
    if (s->where == LINE_SPACE && n > 0) {
        s->where = LINE_VALUE;
        if (*p == ' ') {
            p++;
            n--;
        }
    }
    return n > 0 ? value_goes_on(s, p, n) : 0;
}

static int line_over(struct sse *s)
{
    if (s->where == LINE_NAME && name_over(s) < 0) /* without a colon the whole line is the name */
        return -1;
    value_ends(s);
    s->where = LINE_NAME;
    s->name_n = 0;
    return 0;
}

/* A whole line of data of which nothing is kept, the most frequent one. 0: it is none. */
static inline int line_of_data(struct sse *s, const char *p, size_t n)
{
    if (n < 5 || memcmp(p, "data:", 5) != 0 || s->data.n < (s->data_lines > 0 ? s->keeping : s->keep_most))
        return 0;
    size_t skip = n > 5 && p[5] == ' ' ? 6 : 5;
    s->data_len += n - skip;
    s->data_lines++;
    return 1;
}

/* ---- events ---- */

static void event_reset(struct sse *s)
{
    s->event_bytes = 0;
    s->data_lines = s->data_len = 0;
    s->keeping = 0;
    clear(&s->event);
    clear(&s->data);
}

/* An id stays for all the events that follow: a long one would make each of them long, whatever came of them. */
static struct soth_span id_of(const struct sse *s)
{
    struct soth_span id = span_of(&s->id);
    if (s->id_is_new || id.n <= SSE_ID_AGAIN)
        return id;
    id.n = SSE_ID_AGAIN;
    while (id.n > SSE_ID_AGAIN - 4 && ((unsigned char)id.p[id.n] & 0xc0) == 0x80) /* no half character */
        id.n--;
    return id;
}

static void event_of(struct sse *s, struct sse_event *out, uint32_t partial)
{
    *out = (struct sse_event){
        .sequence_no = ++s->sequence_no,
        .event = span_of(&s->event),
        .id = id_of(s),
        .id_len = s->id.n,
        .retry_ms = s->retry_ms,
        .has_retry = s->has_retry,
        .partial = partial,
        .data_lines = s->data_lines,
        .data_len = s->data_len + s->data_lines - 1,
    };
    if (s->keeping)
        out->data = span_of(&s->data);
    s->has_retry = s->id_is_new = 0;
}

/* What the last event pointed to is needed no more. */
static inline void event_clean(struct sse *s)
{
    if (s->event_bytes == 0 && (s->event.n > 0 || s->data.n > 0 || s->data_lines > 0))
        event_reset(s);
}

/* ---- bytes ---- */

/* A byte order mark at the very beginning means nothing; what only began like one belongs to the first line. */
static int byte_order_mark(struct sse *s, struct sse_input *in)
{
    static const char mark[] = "\xef\xbb\xbf";
    while (s->bom < BOM_OVER && in->at < in->end) {
        if (*in->at != mark[s->bom]) {
            uint8_t seen = s->bom;
            s->bom = BOM_OVER;
            s->event_bytes += seen;
            return line_piece(s, mark, seen);
        }
        s->bom++;
        in->at++;
    }
    return 0;
}

/* The next line end, or the end of the input. */
static inline const char *line_end(struct sse_input *in)
{
    if (in->cr < in->at) {
        in->cr = memchr(in->at, '\r', (size_t)(in->end - in->at));
        in->cr = in->cr ? in->cr : in->end;
    }
    if (in->lf < in->at) {
        in->lf = memchr(in->at, '\n', (size_t)(in->end - in->at));
        in->lf = in->lf ? in->lf : in->end;
    }
    return in->cr < in->lf ? in->cr : in->lf;
}

static inline int is_line_start(const struct sse *s)
{
    return s->where == LINE_NAME && s->name_n == 0;
}

/* The line that ends at `over` and its end. 1: it was empty and ends an event. */
static inline int take_line(struct sse *s, struct sse_input *in, const char *over)
{
    size_t n = (size_t)(over - in->at);
    const char *line = in->at;
    s->skip_lf = *over == '\r';
    in->at = over + 1;
    if (s->skip_lf && in->at < in->end) { /* an event's end is the whole of its line end, if it is there */
        s->skip_lf = 0;
        in->at += *in->at == '\n';
    }
    if (n == 0 && is_line_start(s)) {
        s->event_bytes = 0;
        return s->data_lines > 0;
    }
    s->event_bytes += n + 1;
    if (is_line_start(s) && line_of_data(s, line, n))
        return 0;
    return line_piece(s, line, n) < 0 || line_over(s) < 0 ? -1 : 0;
}

int sse_next(struct sse *s, struct sse_input *in, struct sse_event *out)
{
    event_clean(s);
    if (s->bom < BOM_OVER) {
        if (byte_order_mark(s, in) < 0)
            return -1;
        if (s->gaps && s->bom == BOM_OVER && s->event_bytes == 0)
            return SSE_BETWEEN;
    }
    while (in->at < in->end) {
        if (s->skip_lf) {
            s->skip_lf = 0;
            in->at += *in->at == '\n';
            if (s->gaps && s->event_bytes == 0)
                return SSE_BETWEEN;
            continue;
        }
        const char *over = line_end(in);
        size_t n = (size_t)(over - in->at);
        if (s->event_bytes + n > s->max_event_bytes) {
            in->at += s->max_event_bytes > s->event_bytes ? s->max_event_bytes - s->event_bytes : 0;
            s->fault = "max_event_bytes";
            return -1;
        }
        if (over == in->end) {
            s->event_bytes += n;
            int r = line_piece(s, in->at, n);
            in->at = in->end;
            return r;
        }
        int r = take_line(s, in, over);
        if (r > 0)
            event_of(s, out, 0);
        if (r != 0)
            return r;
        if (s->event_bytes > 0)
            continue;
        event_clean(s); /* an empty line without data: the event's name is forgotten, too */
        if (s->gaps)
            return SSE_BETWEEN;
    }
    return 0;
}

int sse_finish(struct sse *s, struct sse_event *out)
{
    event_clean(s);
    if (!is_line_start(s) && line_over(s) < 0)
        return 0;
    if (s->data_lines == 0)
        return 0;
    event_of(s, out, 1);
    return 1;
}
