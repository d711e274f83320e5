/* SPDX-License-Identifier: MPL-2.0 */
/* The cursor of a decoder's `data`, and frames before a policy. */
#include "parts.h"

static void show(struct cursor *c)
{
    c->open.in = (struct soth_span){c->in, c->left};
    c->open.room = c->room;
    c->open.offset = c->lane->in + c->taken;
}

/* The cursor that the module has is lent; what counts is behind it. */
static struct cursor *cursor_of(struct soth_cursor *cur)
{
    return (struct cursor *)(void *)cur;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void take(struct cursor *c, size_t n)
{
    c->in += n;
    c->left -= n;
    c->taken += n;
}

size_t th_pass(struct soth_cursor *cur, size_t n)
{
    struct cursor *c = cursor_of(cur);
    n = c->stopped ? 0 : least(n, least(c->left, c->room));
    th_text_add(c->out, c->in, n);
    take(c, n);
    c->room -= n;
    c->made += n;
    show(c);
    return n;
}

size_t th_drop(struct soth_cursor *cur, size_t n)
{
    struct cursor *c = cursor_of(cur);
    n = c->stopped ? 0 : least(n, c->left);
    if (c->lane->framed == c->lane->in + c->taken && c->flow->host->module.mode == SOTH_TAP) /* between frames */
        c->lane->framed += n;
    take(c, n);
    show(c);
    return n;
}

size_t th_put(struct soth_cursor *cur, struct soth_span bytes)
{
    struct cursor *c = cursor_of(cur);
    size_t n = c->stopped ? 0 : least(bytes.n, c->room);
    th_text_add(c->out, bytes.p, n);
    c->room -= n;
    c->made += n;
    show(c);
    return n;
}

/* ---- frames ---- */

static int judged(struct flow *flow, struct cursor *c, const struct soth_frame *frame)
{
    struct text *frames = &flow->frames;
    th_text_say(frames, "frame ");
    th_event_say(frames, th_event_name(frame->kind), frame->attrs, frame->attr_count, UINT64_MAX);
    th_text_escape(frames, frame->payload);
    th_text_add(frames, "\n", 1);
    flow->frame_count++;
    if (flow->frame_count == flow->plan->block_at) {
        flow->blocked = true;
        return c->stopped = -SOTH_EPERM;
    }
    if (flow->plan->frames == FRAMES_PAUSE || flow->plan->frames == FRAMES_BUSY) {
        flow->frame_waits = true;
        return c->stopped = flow->plan->frames == FRAMES_PAUSE ? SOTH_PAUSE : SOTH_BUSY;
    }
    return SOTH_CONTINUE;
}

int th_frame(void *self, struct soth_flow *view, const struct soth_frame *frame)
{
    struct flow *flow = view->flow;
    struct testhost *host = flow->host;
    struct cursor *c = flow->cursor;
    (void)self;
    if (!c) {
        th_fault(host, "frame is called outside of data");
        return -SOTH_EUNSUPPORTED;
    }
    if (!th_event_name(frame->kind)) {
        th_fault(host, "frame: there is no event kind %u", (unsigned)frame->kind);
        return -SOTH_EINVALID;
    }
    if (c->stopped) {
        th_fault(host, "frame is called again, after it said that data should return");
        return c->stopped;
    }
    if (host->module.stage != SOTH_STAGE_FRAME || flow->plan->frames == FRAMES_FREE)
        return SOTH_CONTINUE;
    uint64_t end = host->module.mode == SOTH_TRANSFORM ? c->lane->made + c->made : c->lane->in + c->taken;
    uint32_t flags = frame->size < offsetof(struct soth_frame, flags) + sizeof frame->flags ? 0 : frame->flags;
    if (flags & SOTH_FRAME_PASS) {
        c->lane->framed = end;
        return SOTH_CONTINUE;
    }
    if (end == c->lane->framed)
        th_fault(host, "frame: none of its bytes was passed");
    if (end - c->lane->framed > SOTH_FRAME_MOST)
        return c->stopped = -SOTH_ELIMIT;
    if (!(flags & SOTH_FRAME_HOLD))
        c->lane->framed = end;
    return judged(flow, c, frame);
}

int th_inject(void *self, struct soth_flow *view, const struct soth_frame *frame)
{
    struct testhost *host = th_host_of(self);
    (void)view;
    if (frame->direction > 1 || !th_event_name(frame->kind)) {
        th_fault(host, "inject: direction %u, kind %u", (unsigned)frame->direction, (unsigned)frame->kind);
        return -SOTH_EINVALID;
    }
    th_text_say(&host->injected, "%s %s ", frame->direction == SOTH_TO_SERVER ? "client_to_server" : "server_to_client", th_event_name(frame->kind));
    th_text_escape(&host->injected, frame->payload);
    th_text_add(&host->injected, "\n", 1);
    return SOTH_OK;
}

void th_between(struct soth_cursor *cursor, size_t n)
{
    const struct cursor *c = cursor_of(cursor);
    if (n > c->left)
        th_fault(c->flow->host, "between: %zu of %zu bytes", n, c->left);
}

const char *testhost_injected(const struct testhost *host)
{
    return th_text_of(&host->injected);
}

#define FAREWELL_MOST 1024

void th_farewell(struct flow *flow)
{
    struct testhost *host = flow->host;
    for (uint32_t d = 0; d < 2 && host->module.compose; d++) {
        flow->seat = flow->seat_of[d];
        if (!flow->seat || !flow->seat->is_open)
            continue;
        struct soth_frame frame = {.size = sizeof frame, .direction = d, .kind = SOTH_EV_FRAME_DECISION};
        unsigned mark = th_guard_mark();
        char *out = th_guard_lend(NULL, FAREWELL_MOST);
        int n = host->module.compose(host->self, th_flow_lend(flow), th_guard_lend_aligned(&frame, sizeof frame), out, FAREWELL_MOST);
        if (n > FAREWELL_MOST)
            th_fault(host, "compose wrote %d bytes, %d was the room", n, FAREWELL_MOST);
        else if (n > 0)
            th_text_add(&flow->out[d], out, (size_t)n);
        th_guard_return(mark);
    }
}

int th_timer(void *self, struct soth_flow *view, uint32_t ms)
{
    struct flow *flow = view->flow;
    if (!flow->seat || !flow->seat->is_open)
        return -SOTH_EUNSUPPORTED;
    flow->seat->timer_ns = ms ? th_api.monotonic_ns() + ms * UINT64_C(1000000) : 0;
    (void)self;
    return SOTH_OK;
}
