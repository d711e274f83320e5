/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One stream of HTTP/2 as a peer of an exchange. Events of the stream wait here until the exchange can take them; bytes for the stream wait
 * here while its window is full, and what they came from waits with them. So no more is held than two windows of one stream.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/flow/exchange.h"
#include "host/flow/stream.h"

static enum side other_side(enum side side)
{
    return side == SIDE_CLIENT ? SIDE_ORIGIN : SIDE_CLIENT;
}

/* ---- life ---- */

struct strand *strand_open(struct flow *flow, enum side side, struct flow *line, int32_t id)
{
    struct strand *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->line = line;
    s->line_no = leg_of(line, side)->h2_no;
    s->id = id;
    flow->strand[side] = s;
    return s;
}

struct h2 *strand_codec(const struct flow *flow, enum side side)
{
    const struct strand *s = flow->strand[side];
    return s && s->line && s->id ? leg_of(s->line, side)->h2 : NULL;
}

struct buffer *strand_frames(const struct flow *flow, enum side side)
{
    return &leg_of(flow->strand[side]->line, side)->frames;
}

/* The connection has something to send. */
static void call_line(const struct flow *flow, const struct strand *s)
{
    if (s->line && s->line != flow)
        family_call(s->line);
}

/* The peer may send n bytes more: also when the stream is closed, for the connection's window. */
static void give_back(struct flow *flow, enum side side, const struct strand *s, size_t n)
{
    const struct leg *leg = s->line ? leg_of(s->line, side) : NULL;
    if (n == 0 || !leg || !leg->h2 || leg->h2_no != s->line_no)
        return;
    h2_consume(leg->h2, s->id, n);
    call_line(flow, s);
}

/* Is the stream over for both of us, so that no reset is needed? */
static bool is_over(const struct flow *flow, enum side side, const struct strand *s)
{
    bool heard_all = s->end || s->heard;
    if (!flow->exchange.websocket) /* of which the end of a message is not the end */
        heard_all = heard_all || (side == SIDE_CLIENT ? flow->exchange.request : flow->exchange.response) == PART_DONE;
    return s->ended && heard_all && flow->exchange.active;
}

void strand_drop(struct flow *flow, enum side side, enum h2_code code)
{
    struct strand *s = flow->strand[side];
    struct h2 *h2 = strand_codec(flow, side);
    if (!s)
        return;
    if (h2 && is_over(flow, side, s)) {
        h2_set_user(h2, s->id, NULL);
    } else if (h2) {
        h2_output(h2, strand_frames(flow, side)); /* an end that was said is heard before the reset */
        if (side == SIDE_CLIENT && code == H2_NO_ERROR && !s->reset_with)
            h2_leave(h2, s->id);
        else
            h2_reset(h2, s->id, s->reset_with ? s->reset_with : code);
    }
    give_back(flow, side, s, s->owed + buffer_size(&s->body));
    call_line(flow, s);
    flow->exchange.jam[other_side(side)] = false;
    flow->strand[side] = NULL;
    for (uint32_t i = 0; i < s->head_count; i++)
        free(s->heads[i]);
    free(s->trailers);
    buffer_fini(&s->body);
    buffer_fini(&s->out);
    free(s);
}

/* ---- events come ---- */

static void keep_head(struct strand *s, const struct message *msg, bool interim)
{
    struct message host = *msg, *copy;
    if (interim && s->head_count >= STRAND_HEADS - 1)
        return; /* nobody needs so many of them: what is left out is no promise (RFC 9110 15.2) */
    if (msg->authority.p)
        host.host = msg->authority;
    if (s->head_count < STRAND_HEADS && (copy = message_copy(&host)))
        s->heads[s->head_count++] = copy;
    else
        s->body.failed = true;
}

static uint64_t *bytes_of(struct flow *flow, enum side side)
{
    return &leg_of(flow, side)->bytes;
}

void strand_event(struct flow *flow, enum side side, const struct h2_event *event)
{
    struct strand *s = flow->strand[side];
    if (!s)
        return;
    flow->moved = flow->moved || event->type != H2_WRITABLE;
    switch (event->type) {
    case H2_HEAD:
    case H2_INTERIM:
        keep_head(s, event->message, event->type == H2_INTERIM);
        if (s->line != flow)
            *bytes_of(flow, side) += event->message->head_bytes;
        break;
    case H2_BODY:
        buffer_append(&s->body, event->data.p, event->data.n);
        if (s->line != flow)
            *bytes_of(flow, side) += event->data.n;
        break;
    case H2_TRAILERS:
        s->trailers = s->trailers ? s->trailers : message_copy(event->message);
        break;
    case H2_END:
        s->end = true;
        break;
    case H2_CLOSED:
        s->closed = true;
        s->unprocessed = event->unprocessed;
        s->cause = event->cause;
        s->code = event->code;
        s->fault = event->fault ? event->fault : "";
        s->id = 0;
        break;
    case H2_PRIORITY:
        strand_priority(flow, event->data);
        break;
    default:
        break; /* H2_WRITABLE: every step tries */
    }
}

void strand_priority(struct flow *flow, struct soth_span value)
{
    struct h2 *h2 = strand_codec(flow, SIDE_ORIGIN);
    if (h2) {
        h2_priority(h2, flow->strand[SIDE_ORIGIN]->id, value);
        call_line(flow, flow->strand[SIDE_ORIGIN]);
    } else if (!flow->exchange.request_sent) { /* the last one counts; without memory it is no great loss */
        free(flow->priority);
        flow->priority = strndup(value.p, value.n);
    }
}

/* ---- bytes go ---- */

bool strand_listens(const struct strand *s)
{
    return s->id != 0 && s->line != NULL;
}

static bool is_congested(const struct flow *flow, enum side side)
{
    const struct flow *line = flow->strand[side] ? flow->strand[side]->line : flow;
    return line && (line->congested >> side) & 1;
}

/* As much as the window and the socket allow. Returns how much. */
static size_t write_some(struct flow *flow, enum side side, const uint8_t *p, size_t n)
{
    struct h2 *h2 = strand_codec(flow, side);
    if (!h2)
        return n; /* nobody wants it any more */
    if (is_congested(flow, side))
        return 0;
    ssize_t taken = h2_body(h2, flow->strand[side]->id, (struct soth_span){(const char *)p, n}, false, strand_frames(flow, side));
    call_line(flow, flow->strand[side]);
    flow->moved = flow->moved || taken > 0;
    return taken < 0 ? n : (size_t)taken; /* an error closes the stream: its event comes */
}

void strand_write(struct flow *flow, enum side side, struct soth_span data)
{
    struct strand *s = flow->strand[side];
    const uint8_t *p = (const uint8_t *)data.p;
    size_t taken = buffer_size(&s->out) ? 0 : write_some(flow, side, p, data.n);
    if (taken == data.n)
        return;
    buffer_append(&s->out, p + taken, data.n - taken);
    flow->exchange.jam[other_side(side)] = true;
    if (!flow->strand[other_side(side)]) /* whose window says the same */
        flow_read(flow, other_side(side), false);
}

void strand_end(struct flow *flow, enum side side, const struct message *trailers)
{
    struct h2 *h2 = strand_codec(flow, side);
    struct strand *s = flow->strand[side];
    if (s->ended)
        return;
    s->ended = true;
    if (!h2)
        return;
    if (trailers)
        h2_trailers(h2, s->id, trailers);
    else
        h2_body(h2, s->id, (struct soth_span){"", 0}, true, strand_frames(flow, side));
    call_line(flow, s);
}

/* What waits for a window goes as far as it can now. true: all of it has gone, and something did wait. */
static bool flush(struct flow *flow, enum side side)
{
    struct strand *s = flow->strand[side];
    if (!s || buffer_size(&s->out) == 0)
        return false;
    buffer_consume(&s->out, write_some(flow, side, buffer_data(&s->out), buffer_size(&s->out)));
    if (buffer_size(&s->out) > 0)
        return false;
    buffer_fini(&s->out);
    flow->exchange.jam[other_side(side)] = false;
    return true;
}

/* ---- the exchange takes what has come ---- */

/* Its peer has got what was taken. */
static void settle(struct flow *flow, enum side side)
{
    struct strand *s = flow->strand[side];
    if (!s || s->owed == 0 || flow->exchange.jam[side] || is_congested(flow, other_side(side)))
        return;
    give_back(flow, side, s, s->owed);
    s->owed = 0;
}

static bool may_take(const struct flow *flow, enum side side)
{
    if (flow->closing || flow->go_on || is_congested(flow, other_side(side)))
        return false;
    return side == SIDE_CLIENT ? exchange_takes_request(flow) : exchange_takes_response(flow);
}

static void deliver(struct flow *flow, struct effects *fx, enum side side, const struct h1_event *event)
{
    if (flow->stage == &stage_upgraded) {
        upgraded_event(flow, fx, side, event);
        return;
    }
    if (side == SIDE_CLIENT)
        exchange_client_event(flow, fx, event);
    else
        exchange_origin_event(flow, fx, event);
    if (flow->exchange.upgraded && !flow->closing)
        upgraded_begin(flow, fx);
}

/* The request for a WebSocket has no body: what follows its head belongs to what it asks for. */
static bool ends_at_head(const struct flow *flow, enum side side)
{
    return side == SIDE_CLIENT && flow->exchange.websocket && flow->exchange.request == PART_BODY;
}

/* One event; false: there is none. */
static bool pump_one(struct flow *flow, struct effects *fx, enum side side)
{
    struct strand *s = flow->strand[side];
    struct h1_event event = {.type = H1_NONE};
    if (s->body.failed || s->out.failed) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return false;
    }
    if (s->head_count) {
        struct message *head = s->heads[0];
        memmove(s->heads, s->heads + 1, --s->head_count * sizeof *s->heads);
        event = (struct h1_event){.type = H1_HEAD, .message = head};
        deliver(flow, fx, side, &event);
        free(head);
    } else if (ends_at_head(flow, side)) {
        event.type = H1_END;
        deliver(flow, fx, side, &event);
    } else if (buffer_size(&s->body)) {
        struct buffer body = s->body;
        s->body = (struct buffer){0};
        s->owed += buffer_size(&body);
        event = (struct h1_event){.type = H1_BODY, .data = {(const char *)buffer_data(&body), buffer_size(&body)}};
        deliver(flow, fx, side, &event);
        buffer_fini(&body);
    } else if (s->trailers) {
        struct message *trailers = s->trailers;
        s->trailers = NULL;
        event = (struct h1_event){.type = H1_TRAILERS, .message = trailers};
        deliver(flow, fx, side, &event);
        free(trailers);
    } else if (s->end) {
        s->end = false;
        s->heard = true;
        event.type = H1_END;
        deliver(flow, fx, side, &event);
    } else {
        return false;
    }
    flow->moved = true;
    return true;
}

/* A client that resets does not wait for its turn; an origin's last words come before its end. */
static void take_close(struct flow *flow, struct effects *fx, enum side side)
{
    struct strand *s = flow->strand[side];
    if (flow->closing || !s || !s->closed)
        return;
    if (side == SIDE_ORIGIN) {
        if (flow->go_on || chained_stuck(flow, SIDE_ORIGIN) || s->head_count || buffer_size(&s->body) || s->trailers || s->end)
            return;
        s->closed = false;
        exchange_stream_closed(flow, fx, s);
    } else if (s->cause != H2_BY_END) {
        s->closed = false;
        exchange_client_gone(flow, fx, s);
    }
}

void strand_pump_side(struct flow *flow, struct effects *fx, enum side side)
{
    struct strand *s = flow->strand[side];
    if (!s || s->pumping)
        return;
    s->pumping = true;
    while (flow->strand[side] == s && may_take(flow, side) && pump_one(flow, fx, side))
        ;
    if (flow->strand[side] == s)
        s->pumping = false;
}

void strand_pump(struct flow *flow, struct effects *fx)
{
    if (!flow->strand[SIDE_CLIENT] && !flow->strand[SIDE_ORIGIN])
        return;
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN && !flow->closing; side++)
        if (flush(flow, side))
            chained_unjam(flow, fx, other_side(side));
    take_close(flow, fx, SIDE_CLIENT);
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN && !flow->closing; side++) {
        strand_pump_side(flow, fx, side);
        settle(flow, side);
        take_close(flow, fx, side);
    }
    /* what the origin's events made possible for the client's, and for the windows */
    strand_pump_side(flow, fx, SIDE_CLIENT);
    settle(flow, SIDE_CLIENT);
}

static bool has_events(const struct strand *s)
{
    return s && (s->head_count || buffer_size(&s->body) || s->trailers || s->end);
}

bool strand_is_ready(const struct flow *flow)
{
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++)
        if (has_events(flow->strand[side]) && may_take(flow, side))
            return true;
    return false;
}

bool strand_waits(const struct flow *flow, enum side side)
{
    return flow->exchange.jam[side] || has_events(flow->strand[side]);
}
