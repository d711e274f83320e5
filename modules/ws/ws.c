/* SPDX-License-Identifier: MPL-2.0 */
/*
 * ws: reads along in WebSockets (RFC 6455, RFC 7692) from the 101 on. Frames, messages and turns become events, and where a policy judges
 * frames each is offered to it; what is relayed is never changed. The work is in talk.c (frames and messages), turns.c, judge.c and report.c.
 */
#include "ws.h"

#include <strings.h>

#define MS UINT64_C(1000000) /* in ns */
#define SMALL 64u /* a fragment of fewer bytes is a small frame, and so is every control frame */

enum { OVERFLOW_DETACH, OVERFLOW_CLOSE };

#define S struct ws
static const struct soth_opt options[] = {
    SOTH_OPT_DURATION(S, turn_idle, "30s", 1, 86400000, "silence that ends a turn in which both sides have spoken"),
    SOTH_OPT_SIZE(S, max_message_bytes, "16M", 1, INT64_C(1) << 40, "most bytes of a message, as sent and inflated"),
    SOTH_OPT_BOOL(S, inflate, "true", "messages under permessage-deflate are inflated for events and policies"),
    SOTH_OPT_INT(S, max_small_frames, "20000", 0, 1000000000,
                 "most control frames and fragments of fewer than 64 bytes a second and direction; 0 = any number"),
    SOTH_OPT_ENUM(S, on_overflow, "detach|close", "detach", "beyond a limit: look away, or close the WebSocket"),
    SOTH_OPT_END,
};

/* ---- beginning ---- */

static int ws_create(const struct soth_host *host, void *self)
{
    struct ws *ws = self;
    ws->host = host;
    ws->violations = host->counter(self, "violations", NULL, "frames and messages that break a rule");
    return ws->violations < 0 ? ws->violations : report_begin(ws);
}

static bool is_field(const struct soth_field *field, const char *name, const char *value)
{
    return field->name.n == strlen(name) && strncasecmp(field->name.p, name, field->name.n) == 0 && field->value.n == strlen(value) &&
           strncasecmp(field->value.p, value, field->value.n) == 0;
}

static int ws_match(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    (void)self;
    (void)flow;
    if (message->direction != SOTH_TO_CLIENT || message->status != 101)
        return SOTH_WATCH_NO;
    for (uint32_t i = 0; i < message->field_count; i++)
        if (is_field(&message->fields[i], "Upgrade", "websocket"))
            return SOTH_WATCH_BOTH;
    return SOTH_WATCH_NO;
}

static int ws_open(void *self, struct soth_flow *flow)
{
    struct ws *ws = self;
    const struct soth_host *host = ws->host;
    struct conversation *c = host->flow_state(flow);
    struct soth_span value;
    c->closer = CLOSER_NOBODY;
    c->talk.max_message = ws->max_message_bytes;
    for (uint32_t i = 0; (value = host->hdr_get(flow, "Sec-WebSocket-Extensions", i)).p; i++)
        extension_read(&c->talk.extension, value);
    host->protocol(flow, SOTH_PROTO_WS);
    report_opened(ws, flow);
    return SOTH_OK;
}

/* ---- frames ---- */

/* What is wrong with a message is looked for whoever listens: it is counted, decides how the flow ended, and may be a limit. */
static void look_for(struct ws *ws, struct soth_flow *flow, struct conversation *c)
{
    int wanted = ws->host->wanted(flow, SOTH_EV_WS_MESSAGE);
    bool judged = (wanted & SOTH_WANTED_FRAME) != 0;
    c->talk.wants = (struct talk_wants){
        .text = true,
        .inflate = ws->inflate && c->talk.extension.deflate,
        .data = judged ? UINT64_MAX : wanted & SOTH_WANTED_PAYLOAD ? ws->host->payload_most(flow, SOTH_EV_WS_MESSAGE) : 0,
        .frames = judged,
    };
}

static void arm(struct ws *ws, struct soth_flow *flow, struct conversation *c)
{
    if (!turns_may_idle(&c->turns))
        return;
    turns_hear(&c->turns, ws->host->flow_ns(flow));
    if (!c->timing)
        c->timing = ws->host->timer(ws, flow, (uint32_t)ws->turn_idle) == SOTH_OK;
}

/* Bytes of a frame that is not complete. They are no silence, but the timer is left as it is: it finds out when it is due. */
static void hear(struct ws *ws, struct soth_flow *flow, struct conversation *c, unsigned direction)
{
    if (c->timing && talk_says(&c->talk, direction))
        turns_hear(&c->turns, ws->host->flow_ns(flow));
}

static enum turn_part part_of(const struct talk_frame *frame)
{
    if (frame->begins)
        return TURN_BEGIN;
    if (frame->head->opcode == OP_CLOSE)
        return TURN_CLOSING;
    return opcode_is_control(frame->head->opcode) || frame->stray ? TURN_CONTROL : TURN_MORE;
}

static void closed(struct conversation *c, unsigned direction, const struct closing *closing)
{
    if (c->closer != CLOSER_NOBODY)
        return;
    c->closer = direction;
    c->close_code = closing->code;
    c->close_has_code = closing->has_code;
    if (closing->reason.n > 0) {
        memcpy(c->reason, closing->reason.p, closing->reason.n);
        c->close_reason = (struct soth_span){c->reason, closing->reason.n};
    }
}

static void take(struct ws *ws, struct soth_flow *flow, struct conversation *c, unsigned direction, const struct talk_frame *frame)
{
    enum turn_part part = part_of(frame);
    const struct turn_frame said = {direction, part, frame->head->fin, frame->number, frame->head->length, ws->host->unix_ms(flow)};
    struct turn_step step;
    turns_frame(&c->turns, &said, &step);
    if (step.end == TURN_ROLLOVER)
        report_turn_ended(ws, flow, &step);
    if (step.began)
        report_turn_started(ws, flow, &c->turns.now);
    report_frame(ws, flow, direction, frame);
    if (part == TURN_CLOSING)
        closed(c, direction, &frame->closing);
    if (step.end == TURN_CLOSE)
        report_turn_ended(ws, flow, &step);
    if (part != TURN_CONTROL)
        arm(ws, flow, c);
    if (part == TURN_CLOSING && c->talk.side[0].closed && c->talk.side[1].closed)
        report_closed(ws, flow, c, c->talk.violation);
}

/* ---- limits ---- */

static int leave(struct ws *ws, struct soth_flow *flow, struct conversation *c, const char *why)
{
    c->left = why;
    return ws->host->fail(ws, flow, why, ws->on_overflow == OVERFLOW_CLOSE ? SOTH_FAIL_CLOSE : 0);
}

static int cannot_go_on(struct ws *ws, struct soth_flow *flow, struct conversation *c, int why)
{
    if (why == TALK_TOO_BIG)
        return leave(ws, flow, c, "message_too_big");
    c->lost = why == TALK_LOST;
    if (!c->lost)
        return why;
    ws->host->count(ws, ws->violations, 1); /* a frame that never completes is not reported */
    return leave(ws, flow, c, "length_too_big");
}

static bool is_small(const struct frame_head *head)
{
    bool fragment = !head->fin || head->opcode == OP_CONTINUATION;
    return opcode_is_control(head->opcode) || (fragment && head->length < SMALL);
}

static bool is_one_too_many(struct ws *ws, struct conversation *c, unsigned direction)
{
    if (ws->max_small_frames == 0)
        return false;
    uint64_t now = ws->host->monotonic_ns();
    if (now - c->small_since[direction] >= UINT64_C(1000000000)) {
        c->small_since[direction] = now;
        c->small[direction] = 0;
    }
    return ++c->small[direction] > (uint64_t)ws->max_small_frames;
}

/* Frames that cost more than they bring. */
static bool is_flood(struct ws *ws, struct conversation *c, unsigned direction, const struct talk_frame *frame)
{
    return is_small(frame->head) && is_one_too_many(ws, c, direction);
}

/* ---- bytes ---- */

/* Where nobody judges, bytes are only looked at: what is not passed by us is passed by the host. */
static int look(struct ws *ws, struct soth_flow *flow, struct conversation *c, struct soth_cursor *cur)
{
    const uint8_t *p = (const uint8_t *)cur->in.p;
    const struct talk_side *side = &c->talk.side[cur->direction];
    struct talk_frame frame;
    size_t between = SIZE_MAX;
    bool whole;
    for (size_t n = cur->in.n; n > 0;) {
        ssize_t used = talk_take(&c->talk, cur->direction, p, n, &frame, &whole);
        if (used < 0) {
            ws->host->pass(cur, cur->in.n - n + c->talk.head_used);
            return cannot_go_on(ws, flow, c, (int)used);
        }
        p += used;
        n -= (size_t)used;
        if (!whole) {
            hear(ws, flow, c, cur->direction);
            continue;
        }
        take(ws, flow, c, cur->direction, &frame);
        if (is_flood(ws, c, cur->direction, &frame)) {
            ws->host->pass(cur, cur->in.n - n);
            return leave(ws, flow, c, "frame_flood");
        }
        talk_release(&c->talk, cur->direction);
        if (!side->closed && !side->message.open)
            between = cur->in.n - n;
    }
    if (between != SIZE_MAX)
        ws->host->between(cur, between);
    return SOTH_CONTINUE;
}

/* Does what is held for a verdict fit into the host's window when the frame at hand is complete? */
static bool fits(const struct conversation *c, unsigned direction)
{
    return c->held[direction] + talk_pending(&c->talk, direction) <= SOTH_FRAME_MOST;
}

/* A compressed message that nobody here can read. */
static bool cannot_be_judged(const struct ws *ws, const struct talk_frame *frame)
{
    const struct message *m = frame->message ? frame->message : frame->cut;
    return ws->inflate && m && m->compressed && !m->readable;
}

static int hold(struct ws *ws, struct soth_flow *flow, struct conversation *c, struct soth_cursor *cur)
{
    unsigned direction = cur->direction;
    struct talk_frame frame;
    bool whole;
    int r = judge_go_on(ws, flow, c, direction);
    while (r == SOTH_CONTINUE && cur->in.n > 0 && cur->room > 0) {
        size_t n = cur->in.n < cur->room ? cur->in.n : cur->room;
        ssize_t used = talk_take(&c->talk, direction, (const uint8_t *)cur->in.p, n, &frame, &whole);
        if (used < 0) {
            ws->host->pass(cur, c->talk.head_used);
            return cannot_go_on(ws, flow, c, (int)used);
        }
        c->held[direction] += (uint64_t)used;
        if (!fits(c, direction)) {
            ws->host->pass(cur, c->talk.head_used ? c->talk.head_used : (size_t)used);
            return leave(ws, flow, c, "window");
        }
        ws->host->pass(cur, (size_t)used);
        if (!whole) {
            hear(ws, flow, c, direction);
            continue;
        }
        take(ws, flow, c, direction, &frame);
        if (is_flood(ws, c, direction, &frame))
            return leave(ws, flow, c, "frame_flood");
        if (cannot_be_judged(ws, &frame))
            return leave(ws, flow, c, "invalid_deflate");
        r = judge_frame(ws, flow, c, direction, &frame);
    }
    return r;
}

static int ws_data(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    struct ws *ws = self;
    struct conversation *c = ws->host->flow_state(flow);
    look_for(ws, flow, c);
    return c->talk.wants.frames ? hold(ws, flow, c, cur) : look(ws, flow, c, cur);
}

/* ---- time and end ---- */

static int ws_timer(void *self, struct soth_flow *flow)
{
    struct ws *ws = self;
    struct conversation *c = ws->host->flow_state(flow);
    c->timing = false;
    if (!turns_may_idle(&c->turns))
        return SOTH_CONTINUE;
    uint64_t left = turns_silence_left(&c->turns, ws->turn_idle * MS, ws->host->flow_ns(flow));
    if (left > 0) {
        c->timing = ws->host->timer(ws, flow, (uint32_t)((left + MS - 1) / MS)) == SOTH_OK;
        return SOTH_CONTINUE;
    }
    struct turn_step step;
    turns_end(&c->turns, TURN_IDLE, &step);
    report_turn_ended(ws, flow, &step);
    return SOTH_CONTINUE;
}

/* What is wrong with the way in which it ended; NULL: nothing is. */
static const char *end_fault(const struct conversation *c, bool complete)
{
    if (c->left)
        return c->left;
    if (c->talk.violation)
        return c->talk.violation;
    if (c->closer != CLOSER_NOBODY)
        return NULL;
    if (!talk_is_between(&c->talk, SOTH_TO_SERVER) || !talk_is_between(&c->talk, SOTH_TO_CLIENT))
        return "truncated";
    return complete ? "eof_without_close" : "cut_without_close";
}

/* Of a WebSocket that was left. */
static const char *broken_rule(const struct conversation *c)
{
    return c->talk.violation ? c->talk.violation : c->lost ? c->left : NULL;
}

static void ws_close(void *self, struct soth_flow *flow, uint32_t complete)
{
    struct ws *ws = self;
    struct conversation *c = ws->host->flow_state(flow);
    const char *fault = end_fault(c, complete);
    struct turn_step step;
    turns_end(&c->turns, complete ? TURN_EOF : TURN_ERROR, &step);
    report_turn_ended(ws, flow, &step);
    report_closed(ws, flow, c, fault);
    if (!c->left)
        ws->host->ended(flow, fault);
    else if (broken_rule(c)) /* beyond a limit nobody knows how it ends, but this is known */
        ws->host->ended(flow, broken_rule(c));
    talk_fini(&c->talk);
}

SOTH_DECODER_MODULE(ws, "0.1.0", "MPL-2.0", .doc = "frames, messages and turns of WebSockets", .options = options, .self_size = sizeof(struct ws),
                    .state_size = sizeof(struct conversation), .create = ws_create, .mode = SOTH_TAP, .stage = SOTH_STAGE_FRAME, .match = ws_match,
                    .open = ws_open, .data = ws_data, .on_timer = ws_timer, .close = ws_close, .compose = judge_compose);
