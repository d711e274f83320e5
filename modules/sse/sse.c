/* SPDX-License-Identifier: MPL-2.0 */
/*
 * sse: each event of a text/event-stream response becomes an sse_event, in the call that brings its last byte. Nothing is delayed, unless a
 * policy judges frames: then an event is relayed when it has been allowed.
 */
#include "../match/media.h"
#include "parser.h"

enum { OVERFLOW_DETACH, OVERFLOW_CLOSE };

struct events {
    uint64_t max_event_bytes;
    uint32_t on_overflow;
    const struct soth_host *host;
};

struct state {
    struct sse sse;
    uint64_t judged; /* up to here nothing waits for a policy */
    uint8_t finished;
};

#define S struct events
static const struct soth_opt options[] = {
    SOTH_OPT_SIZE(S, max_event_bytes, "1M", 16, INT64_C(1) << 30, "most that may come between two empty lines"),
    SOTH_OPT_ENUM(S, on_overflow, "detach|close", "detach", "what an event beyond that means: nobody looks on any more, or the exchange ends"),
    SOTH_OPT_END,
};

static int create(const struct soth_host *host, void *self)
{
    ((struct events *)self)->host = host;
    return SOTH_OK;
}

static int match(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    const struct events *e = self;
    if (message->direction != SOTH_TO_CLIENT || message->coded || !media_may_have_body(message))
        return SOTH_WATCH_NO;
    return media_is(media_type(e->host->hdr_get(flow, "Content-Type", 0)), "text/event-stream") ? SOTH_WATCH_BODY : SOTH_WATCH_NO;
}

static int open_it(void *self, struct soth_flow *flow)
{
    struct events *e = self;
    struct state *s = e->host->flow_state(flow);
    s->sse.max_event_bytes = e->max_event_bytes;
    e->host->protocol(flow, SOTH_PROTO_SSE);
    return SOTH_OK;
}

/* More than a policy can judge has come since the last verdict: whether the event has ended in the same read means nothing, so it is not told. */
static int is_too_long(const struct state *s, const struct soth_cursor *cur)
{
    return cur->offset - s->judged > SOTH_FRAME_MOST;
}

static int too_long(struct events *e, struct soth_flow *flow, struct state *s)
{
    struct soth_frame frame = {.size = sizeof frame, .direction = SOTH_TO_CLIENT, .kind = SOTH_EV_SSE_EVENT};
    s->finished = 1; /* the stream goes on: no part of it is its last one */
    return e->host->frame(e, flow, &frame); /* says how data fails */
}

/* Returns what the policies say, when they are to judge it. */
static int publish(struct events *e, struct soth_flow *flow, const struct sse_event *event, int wanted, int judged)
{
    const struct soth_span none = {NULL, 0};
    const struct soth_attr attrs[] = {
        {"data", event->data, 0, SOTH_ATTR_BYTES | SOTH_ATTR_PAYLOAD, 0},
        {"data_len", SOTH_U64(event->data_len)},
        {"data_line_count", SOTH_U64(event->data_lines)},
        {"event", SOTH_BYTES(event->event)},
        {"id", SOTH_BYTES(event->id)},
        {"id_len", event->id.n < event->id_len ? soth_span("") : none, event->id_len, SOTH_ATTR_U64, 0},
        {"partial", event->partial ? soth_span("") : none, 1, SOTH_ATTR_BOOL, 0},
        {"retry_ms", event->has_retry ? soth_span("") : none, event->retry_ms, SOTH_ATTR_U64, 0},
        {"sequence_no", SOTH_U64(event->sequence_no)},
    };
    const size_t n = sizeof attrs / sizeof *attrs;
    e->host->emit(e, flow, SOTH_EV_SSE_EVENT, attrs, wanted ? n : 0);
    if (!judged)
        return SOTH_CONTINUE;
    struct soth_frame frame = {.size = sizeof frame, .direction = SOTH_TO_CLIENT, .kind = SOTH_EV_SSE_EVENT, .payload = event->data};
    frame.attrs = attrs;
    frame.attr_count = n;
    return e->host->frame(e, flow, &frame);
}

static int failed(struct events *e, struct soth_flow *flow, const struct sse *sse)
{
    int over = strncmp(sse->fault, "max_", 4) == 0;
    return over ? e->host->fail(e, flow, sse->fault, e->on_overflow == OVERFLOW_CLOSE ? SOTH_FAIL_CLOSE : 0) : -SOTH_ENOMEM;
}

/* Comments that keep the connection alive, fields of no event, the LF of a CRLF: nobody judges them. */
static int go_on(struct events *e, struct soth_flow *flow)
{
    struct soth_frame nothing = {.size = sizeof nothing, .direction = SOTH_TO_CLIENT, .kind = SOTH_EV_SSE_EVENT, .flags = SOTH_FRAME_PASS};
    return e->host->frame(e, flow, &nothing);
}

static int finish(struct events *e, struct soth_flow *flow, struct state *s, int wanted, int judged)
{
    struct sse_event event;
    if (s->finished)
        return SOTH_CONTINUE;
    s->finished = 1;
    if (sse_finish(&s->sse, &event))
        return publish(e, flow, &event, wanted, judged);
    return judged ? go_on(e, flow) : SOTH_CONTINUE; /* lines without data make no event, ended or not */
}

static int data(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct events *e = self;
    struct state *s = e->host->flow_state(flow);
    const int wanted = e->host->wanted(flow, SOTH_EV_SSE_EVENT), judged = (wanted & SOTH_WANTED_FRAME) != 0;
    const size_t n = cur->in.n < cur->room ? cur->in.n : cur->room, more = cur->in.n - n;
    struct sse_input in = sse_input(cur->in.p, n);
    struct sse_event event;
    int found = 1;
    s->sse.gaps = judged != 0;
    s->sse.keep_most = judged ? UINT64_MAX : wanted & SOTH_WANTED_PAYLOAD ? e->host->payload_most(flow, SOTH_EV_SSE_EVENT) : 0;
    while (found > 0) {
        found = sse_next(&s->sse, &in, &event);
        e->host->pass(cur, (size_t)(in.at - cur->in.p)); /* also up to a fault */
        if (judged && is_too_long(s, cur))
            return too_long(e, flow, s);
        if (found < 0)
            return failed(e, flow, &s->sse);
        s->judged = found ? cur->offset : s->judged;
        int r = found == SSE_BETWEEN ? go_on(e, flow) : found ? publish(e, flow, &event, wanted, judged) : SOTH_CONTINUE;
        if (r != SOTH_CONTINUE)
            return r;
    }
    return (cur->flags & SOTH_CUR_END) && more == 0 ? finish(e, flow, s, wanted, judged) : SOTH_CONTINUE;
}

/* What a cut leaves of an event is told, too. */
static void close_it(void *self, struct soth_flow *flow, uint32_t complete)
{
    struct events *e = self;
    struct state *s = e->host->flow_state(flow);
    (void)complete;
    if (!s->sse.fault)
        finish(e, flow, s, e->host->wanted(flow, SOTH_EV_SSE_EVENT), 0);
    sse_fini(&s->sse);
}

SOTH_DECODER_MODULE(sse, "0.1.0", "MPL-2.0",
    .doc = "server-sent events: each is an event while the stream runs",
    .options = options, .self_size = sizeof(struct events), .state_size = sizeof(struct state),
    .mode = SOTH_TAP, .stage = SOTH_STAGE_FRAME,
    .create = create, .match = match, .open = open_it, .data = data, .close = close_it);
