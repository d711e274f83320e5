/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Frames before a policy. Each is offered as it comes; those of a message are held until the message is complete, and then it is judged as a
 * whole. What a policy adds, and the Close that both sides get when it blocks, is composed here.
 */
#include "ws.h"

#include <sys/random.h>

#include "mask.h"

#define CLOSE_POLICY 1008u
#define CLOSE_GOING_AWAY 1001u

/* What was offered last is allowed. */
static void allowed(struct conversation *c, unsigned direction)
{
    if (!c->releases[direction])
        return;
    c->releases[direction] = false;
    c->held[direction] = 0;
    c->close_sent[direction] = c->talk.side[direction].closed;
}

static int offer(struct ws *ws, struct soth_flow *flow, struct conversation *c, unsigned direction, struct soth_frame *frame, bool releases)
{
    frame->size = sizeof *frame;
    frame->direction = direction;
    frame->flags = releases ? 0 : SOTH_FRAME_HOLD;
    c->releases[direction] = releases;
    int r = ws->host->frame(ws, flow, frame);
    if (r == SOTH_CONTINUE)
        allowed(c, direction);
    return r;
}

static int offer_message(struct ws *ws, struct soth_flow *flow, struct conversation *c, unsigned direction)
{
    const struct message *m = &c->talk.side[direction].message;
    struct soth_attr attrs[REPORT_ATTRS];
    struct soth_frame frame = {.kind = SOTH_EV_WS_MESSAGE, .attrs = attrs, .attr_count = (uint32_t)report_message_attrs(attrs, direction, m),
                               .payload = bytes_span(&m->data)};
    c->due[direction] = false;
    int r = offer(ws, flow, c, direction, &frame, true);
    talk_release(&c->talk, direction);
    return r;
}

int judge_go_on(struct ws *ws, struct soth_flow *flow, struct conversation *c, unsigned direction)
{
    allowed(c, direction);
    return c->due[direction] ? offer_message(ws, flow, c, direction) : SOTH_CONTINUE;
}

int judge_frame(struct ws *ws, struct soth_flow *flow, struct conversation *c, unsigned direction, const struct talk_frame *what)
{
    struct soth_attr attrs[REPORT_ATTRS];
    struct soth_frame frame = {.kind = SOTH_EV_WS_FRAME, .attrs = attrs, .attr_count = (uint32_t)report_frame_attrs(attrs, direction, what),
                               .payload = what->payload};
    c->due[direction] = what->message || what->cut;
    int r = offer(ws, flow, c, direction, &frame, !c->due[direction] && !c->talk.side[direction].message.open);
    return r == SOTH_CONTINUE && c->due[direction] ? offer_message(ws, flow, c, direction) : r;
}

/* ---- frames of our own ---- */

static int put(char *out, size_t room, unsigned direction, uint8_t opcode, const void *payload, size_t n)
{
    uint8_t head[FRAMING_HEAD_MOST], key[4];
    bool masked = direction == SOTH_TO_SERVER;
    if (masked && getrandom(key, sizeof key, 0) != sizeof key)
        return -SOTH_EIO;
    size_t size = framing_put(head, opcode, n, masked ? key : NULL);
    if (size + n > room)
        return -SOTH_ELIMIT;
    memcpy(out, head, size);
    if (masked)
        mask_apply((uint8_t *)out + size, payload, n, key, 0);
    else if (n > 0)
        memcpy(out + size, payload, n);
    return (int)(size + n);
}

static uint8_t opcode_of(const struct soth_frame *frame)
{
    for (uint32_t i = 0; i < frame->attr_count; i++)
        if (strcmp(frame->attrs[i].name, "opcode_label") == 0 && soth_span_is(frame->attrs[i].text, "binary"))
            return OP_BINARY;
    return OP_TEXT;
}

/* Has its side's Close gone on? Where nobody judges, what was seen has. */
static bool close_passed(const struct conversation *c, unsigned direction)
{
    return c->talk.wants.frames ? c->close_sent[direction] : c->talk.side[direction].closed;
}

static int compose_message(const struct conversation *c, const struct soth_frame *frame, char *out, size_t room)
{
    struct utf8 utf8 = {0};
    uint8_t opcode = opcode_of(frame);
    const uint8_t *p = frame->payload.p ? (const uint8_t *)frame->payload.p : (const uint8_t *)"";
    if (close_passed(c, frame->direction))
        return -SOTH_EPERM;
    if (opcode == OP_TEXT && !(utf8_take(&utf8, p, frame->payload.n) && utf8_whole(&utf8)))
        return -SOTH_EINVALID;
    return put(out, room, frame->direction, opcode, p, frame->payload.n);
}

/* A Close of our own, which ends the conversation. */
static int compose_close(struct conversation *c, unsigned direction, uint32_t code, const char *reason, char *out, size_t room)
{
    char payload[32] = {(char)(code >> 8), (char)(code & 255)};
    size_t n = strlen(reason);
    memcpy(payload + 2, reason, n);
    if (!c->told) {
        c->closer = CLOSER_PROXY;
        c->close_code = code;
        c->close_has_code = true;
        c->close_reason = (struct soth_span){reason, n};
    }
    return put(out, room, direction, OP_CLOSE, payload, n + 2);
}

int judge_compose(void *self, struct soth_flow *flow, const struct soth_frame *frame, char *out, size_t room)
{
    struct ws *ws = self;
    struct conversation *c = ws->host->flow_state(flow);
    if (frame->kind == SOTH_EV_WS_MESSAGE)
        return compose_message(c, frame, out, room);
    if (frame->kind == SOTH_EV_WS_CLOSED) /* who has begun to close ends by itself */
        return c->talk.side[0].closed || c->talk.side[1].closed ? 0 : compose_close(c, frame->direction, CLOSE_GOING_AWAY, "going away", out, room);
    if (frame->kind != SOTH_EV_FRAME_DECISION)
        return -SOTH_EUNSUPPORTED;
    return c->close_sent[frame->direction] ? 0 : compose_close(c, frame->direction, CLOSE_POLICY, "policy", out, room);
}
