/* SPDX-License-Identifier: MPL-2.0 */
/* A decoder in an exchange: what a host's chain does with one decoder, written down once more and as simply as it goes. */
#include "parts.h"

#include <stdlib.h>

#define ROOM 65536u
#define ROOM_LEAST 4096u
#define VAIN_MOST 4096u
#define WAITS_MOST 200u

static bool transforms(const struct flow *flow)
{
    return flow->host->module.mode == SOTH_TRANSFORM;
}

/* ---- calls ---- */

struct soth_flow *th_flow_lend(struct flow *flow)
{
    struct soth_flow view = {flow};
    return th_guard_lend_aligned(&view, sizeof view);
}

bool th_sees(const struct flow *flow, unsigned direction)
{
    return flow->seat_of[direction] && flow->seat_of[direction]->is_open && flow->watches[direction];
}

void th_leave(struct flow *flow, const char *why)
{
    struct seat *seat = flow->seat;
    unsigned mark = th_guard_mark();
    if (!seat->is_open)
        return;
    if (why)
        th_text_say(&flow->events, "%s\n", why);
    if (flow->host->module.close)
        flow->host->module.close(flow->host->self, th_flow_lend(flow), why == NULL);
    th_guard_return(mark);
    if (seat->state)
        memset(seat->state, 0xa5, flow->host->module.state_size);
    free(seat->state);
    *seat = (struct seat){.is_open = false};
}

static void failed(struct flow *flow, const char *code)
{
    char line[64];
    snprintf(line, sizeof line, "failed %s", flow->seat->reason[0] ? flow->seat->reason : code);
    th_leave(flow, line);
}

/* Never again for this flow. */
static void detach(struct flow *flow)
{
    flow->detached = true;
    th_leave(flow, "detached");
}

/* The verdict of a hook that may not wait. true: go on. */
bool th_settled(struct flow *flow, const char *hook, int r)
{
    if (r == SOTH_CONTINUE)
        return true;
    if (r == SOTH_PAUSE || r == SOTH_BUSY)
        th_fault(flow->host, "%s wants to wait, it may not", hook);
    else if (r == SOTH_DETACH)
        detach(flow);
    else
        failed(flow, th_error_name(r));
    return flow->seat->is_open;
}

static void open_it(struct flow *flow)
{
    struct soth_module *m = &flow->host->module;
    struct seat *seat = flow->seat;
    unsigned mark = th_guard_mark();
    if (m->state_size && !(seat->state = calloc(1, m->state_size)))
        abort();
    seat->is_open = true;
    int r = m->open ? m->open(flow->host->self, th_flow_lend(flow)) : SOTH_OK;
    th_guard_return(mark);
    if (r == SOTH_OK)
        return;
    flow->detached = flow->detached || r == SOTH_DETACH;
    th_text_say(&flow->events, "failed %s\n", th_error_name(r));
    free(seat->state);
    *seat = (struct seat){.is_open = false}; /* close is not called */
}

void th_match(struct flow *flow, struct head *head, struct head *request, uint32_t direction)
{
    struct testhost *host = flow->host;
    struct testhost_question nobody = {0};
    unsigned mark = th_guard_mark();
    struct seat *seat = flow->seat_of[direction];
    if (flow->detached || (seat && !seat->is_open))
        return;
    flow->seat = seat;
    flow->head = head;
    struct soth_message *message = th_head_lend(head, request, direction, &nobody);
    uint32_t status = message->status;
    int r = host->module.match ? host->module.match(host->self, th_flow_lend(flow), message) : SOTH_WATCH_BODY;
    th_guard_return(mark);
    if (r < 0 || r > SOTH_WATCH_BOTH)
        th_fault(host, "match returned %d", r);
    bool wants = r == SOTH_WATCH_BODY || r == SOTH_WATCH_BOTH;
    bool both = r == SOTH_WATCH_BOTH && (direction == SOTH_TO_SERVER || status == 101);
    if (wants && !seat) {
        flow->seat = flow->seat_of[direction] = &flow->seats[direction];
        if (both)
            flow->seat_of[!direction] = flow->seat;
        open_it(flow);
    }
    flow->head = NULL;
    flow->seat = NULL;
    flow->watches[direction] = flow->watches[direction] || wants;
    flow->watches[!direction] = flow->watches[!direction] || both;
}

/* ---- bytes ---- */

/* The verdict of data. 1: go on; 0: it is to be called again after a wait; -1: it has left. */
static int verdict(struct flow *flow, struct cursor *c, int r)
{
    struct testhost *host = flow->host;
    if (flow->blocked)
        return -1;
    if (c->stopped && r != c->stopped)
        th_fault(host, "data returned %d, frame had said %d", r, c->stopped);
    if (c->stopped == -SOTH_ELIMIT || r < 0 || (r > 0 && r != SOTH_PAUSE && r != SOTH_BUSY && r != SOTH_DETACH && r != SOTH_DONE)) {
        th_token_unused(flow);
        failed(flow, c->stopped == -SOTH_ELIMIT ? "window" : th_error_name(r));
        return -1;
    }
    if (flow->frame_waits) {
        th_token_unused(flow);
        flow->frame_waits = false;
        return 0;
    }
    if (r == SOTH_DETACH || r == SOTH_DONE) {
        th_token_unused(flow);
        if (r == SOTH_DONE)
            th_leave(flow, "done");
        else
            detach(flow);
        return -1;
    }
    if (r == SOTH_CONTINUE) {
        th_token_unused(flow);
        return 1;
    }
    if (!transforms(flow))
        th_fault(host, "data returned %s: a TAP may not wait", r == SOTH_PAUSE ? "PAUSE" : "BUSY");
    else if (r == SOTH_PAUSE && !flow->token.pause)
        th_fault(host, "data returned PAUSE without a token");
    return transforms(flow) ? 0 : 1;
}

/* One call with everything that is kept. Takes away what was taken. */
static int call(struct flow *flow, unsigned direction, size_t room, uint32_t flags, struct cursor *out)
{
    struct lane *lane = &flow->lane[direction];
    unsigned mark = th_guard_mark();
    struct cursor made = {.flow = flow, .lane = lane, .left = lane->kept.n, .room = room, .out = &flow->out[direction]};
    made.in = th_guard_lend(lane->kept.p, lane->kept.n);
    made.open = (struct soth_cursor){.size = sizeof made.open, .direction = direction, .flags = flags, .room = room, .offset = lane->in};
    made.open.in = (struct soth_span){made.in, made.left};
    struct cursor *c = th_guard_lend_aligned(&made, sizeof made);
    flow->cursor = c;
    flow->may_pause = transforms(flow);
    int r = flow->host->module.data(flow->host->self, th_flow_lend(flow), &c->open);
    flow->cursor = NULL;
    flow->may_pause = flow->was_resumed = false;
    *out = *c;
    bool idle = c->taken == 0 && c->made == 0 && !c->stopped;
    if (idle && !transforms(flow)) { /* a TAP that touches nothing lets everything pass */
        th_text_add(c->out, c->in, c->left);
        out->taken = out->made = out->left;
        out->left = 0;
    }
    th_guard_return(mark);
    lane->in += out->taken;
    lane->made += out->made;
    th_text_drop(&lane->kept, out->taken);
    return r;
}

/* After a pause or a busy moment. false: nothing is to be called any more. */
static bool wait(struct flow *flow, struct lane *lane, bool progress)
{
    uint32_t open = 1;
    lane->calls_in_vain = progress ? 0 : lane->calls_in_vain;
    if (++lane->calls_in_vain > WAITS_MOST) {
        th_fault(flow->host, "data waits for ever");
        failed(flow, "busy");
        return false;
    }
    if (!flow->token.pause)
        return true;
    if (flow->plan->cancels) {
        th_token_cancel(flow);
        th_leave(flow, "cancelled");
        return false;
    }
    flow->was_resumed = th_token_wait(flow, flow->plan->late, &open);
    if (flow->was_resumed)
        return true;
    if (!open) {
        failed(flow, "timeout");
        return false;
    }
    struct text *out = &flow->out[lane - flow->lane];
    th_text_add(out, lane->kept.p, lane->kept.n); /* what it waited with passes as it is */
    lane->in += lane->kept.n;
    lane->made += lane->kept.n;
    th_text_clear(&lane->kept);
    return true;
}

static size_t window(const struct flow *flow)
{
    return flow->host->module.min_window ? flow->host->module.min_window : 16384;
}

/* CONTINUE: is it to be called again? A failure when it stands still. */
static bool again(struct flow *flow, struct lane *lane, const struct cursor *c, size_t *room, size_t first_room)
{
    bool progress = c->taken > 0 || c->made > 0, full = lane->kept.n >= window(flow) || lane->end;
    bool was_stalled = lane->stalled;
    lane->stalled = false;
    lane->calls_in_vain = c->taken > 0 || c->made == 0 ? 0 : lane->calls_in_vain + 1;
    if (lane->calls_in_vain > VAIN_MOST) {
        th_fault(flow->host, "data makes output without end");
        failed(flow, "no_progress");
        return false;
    }
    if (c->room == 0)
        return true;
    if (lane->kept.n == 0 || !transforms(flow)) {
        lane->done = lane->end && lane->kept.n == 0;
        return lane->kept.n > 0;
    }
    if (progress) {
        *room = first_room;
        return full || c->made > 0;
    }
    if (*room < ROOM_LEAST) { /* it may need more in one piece */
        *room *= 2;
        return true;
    }
    lane->stalled = full;
    if (!full || !was_stalled)
        return full;
    th_fault(flow->host, "data takes nothing although its window is full");
    failed(flow, "stalled");
    return false;
}

/* Bytes that its decoder does not see (any more) pass. */
static void pass(struct flow *flow, unsigned direction)
{
    struct lane *lane = &flow->lane[direction];
    th_text_add(&flow->out[direction], lane->kept.p, lane->kept.n);
    th_text_clear(&lane->kept);
    lane->done = lane->end;
}

void th_give(struct flow *flow, unsigned direction, const char *p, size_t n, bool end)
{
    struct lane *lane = &flow->lane[direction];
    size_t first = flow->plan->room ? flow->plan->room : ROOM, room = first;
    bool more = n > 0 || end, resumed = false;
    th_text_add(&lane->kept, p, n);
    lane->end = end;
    flow->seat = flow->seat_of[direction];
    while (more && th_sees(flow, direction)) {
        struct cursor c;
        uint32_t flags = (end ? SOTH_CUR_END : 0) | (lane->stalled ? SOTH_CUR_STALLED : 0) | (resumed ? SOTH_CUR_RESUMED : 0);
        int v = verdict(flow, &c, call(flow, direction, room, flags, &c));
        if (flow->blocked)
            return;
        if (v < 0)
            break;
        resumed = v == 0;
        more = v == 0 ? wait(flow, lane, c.taken > 0 || c.made > 0) : again(flow, lane, &c, &room, first);
    }
    if (!th_sees(flow, direction))
        pass(flow, direction);
}
