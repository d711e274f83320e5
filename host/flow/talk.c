/* SPDX-License-Identifier: MPL-2.0 */
/* See talk.h. Here is HTTP/1, and which of the two a peer speaks; strands (stream.c) write HTTP/2. */
#include <stdlib.h>

#include "host/flow/opening.h"
#include "host/flow/stream.h"
#include "host/http/websocket.h"

/* Sends what was made, or gives up when it could not be, and frees it. */
static void send_made(struct flow *flow, struct effects *fx, enum side side, struct buffer *made)
{
    if (made->failed)
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
    else
        leg_write(flow, fx, side, buffer_data(made), buffer_size(made));
    buffer_fini(made);
}

static void send_chunk(struct flow *flow, struct effects *fx, enum side side, struct soth_span data)
{
    struct buffer frame = {0};
    rewrite_chunk_begin(&frame, data.n);
    send_made(flow, fx, side, &frame);
    leg_write(flow, fx, side, data.p, data.n);
    leg_write(flow, fx, side, "\r\n", 2);
}

static void send_last_chunk(struct flow *flow, struct effects *fx, enum side side, const struct message *trailers)
{
    struct buffer frame = {0};
    rewrite_last_chunk(&frame, trailers);
    send_made(flow, fx, side, &frame);
}

/* ---- to the origin ---- */

bool talk_request_head(struct flow *flow, struct effects *fx)
{
    const struct exchange *ex = &flow->exchange;
    bool h2 = stream_shares(flow) || flow->origin.h2;
    if (ex->websocket && (h2 || flow->is_stream) && !opening_remember(flow, fx, ex->outgoing))
        return false;
    if (h2)
        return stream_request(flow, fx);
    const struct message *msg = ex->outgoing;
    struct rewrite_request how = {.target = msg->target, .host = msg->host, .keep_upgrade = msg->wants_upgrade, .reframe = ex->reframe};
    struct buffer head = {0};
    rewrite_request_head(&head, msg, &how);
    send_made(flow, fx, SIDE_ORIGIN, &head);
    h1_answers(flow->origin.h1, ex->head_method, false);
    return !flow->closing;
}

void talk_request_body(struct flow *flow, struct effects *fx, struct soth_span data)
{
    if (flow->strand[SIDE_ORIGIN])
        strand_write(flow, SIDE_ORIGIN, data);
    else if (flow->exchange.request_framing == FRAMING_CHUNKED)
        send_chunk(flow, fx, SIDE_ORIGIN, data);
    else
        leg_write(flow, fx, SIDE_ORIGIN, data.p, data.n);
}

void talk_request_end(struct flow *flow, struct effects *fx, const struct message *trailers)
{
    if (flow->strand[SIDE_ORIGIN] && flow->exchange.websocket)
        return; /* what follows it is the WebSocket */
    if (flow->strand[SIDE_ORIGIN])
        strand_end(flow, SIDE_ORIGIN, trailers);
    else if (flow->exchange.request_framing == FRAMING_CHUNKED)
        send_last_chunk(flow, fx, SIDE_ORIGIN, trailers);
}

bool talk_origin_listens(const struct flow *flow)
{
    const struct strand *strand = flow->strand[SIDE_ORIGIN];
    return strand ? strand_listens(strand) : flow->origin.open;
}

/* ---- to the client ---- */

/* To a client that is a stream. */
static void respond(struct flow *flow, struct effects *fx, const struct message *msg, bool reframe, bool end)
{
    struct strand *strand = flow->strand[SIDE_CLIENT];
    struct h2 *h2 = strand_codec(flow, SIDE_CLIENT);
    if (!h2)
        return;
    if (h2_response(h2, strand->id, msg, &(struct h2_response){.reframe = reframe, .end = end}) == -SOTH_ENOMEM) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return;
    }
    strand->ended = end;
    family_call(strand->line);
}

static void send_response_head(struct flow *flow, struct effects *fx, const struct message *msg, const struct rewrite_response *how)
{
    struct buffer head = {0};
    rewrite_response_head(&head, msg, how);
    send_made(flow, fx, SIDE_CLIENT, &head);
}

void talk_interim(struct flow *flow, struct effects *fx, const struct message *msg)
{
    if (flow->is_stream)
        respond(flow, fx, msg, false, false);
    else if (flow->exchange.client_minor > 0)
        send_response_head(flow, fx, msg, &(struct rewrite_response){.client_minor = 1, .framing = REWRITE_NONE});
}

void talk_switching(struct flow *flow, struct effects *fx, const struct message *msg)
{
    struct message *ok = flow->is_stream ? websocket_to_ok(msg) : NULL;
    if (ok)
        respond(flow, fx, ok, true, false);
    else if (flow->is_stream)
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
    else
        send_response_head(flow, fx, msg, &(struct rewrite_response){.client_minor = flow->exchange.client_minor, .keep_upgrade = true});
    free(ok);
}

void talk_response_head(struct flow *flow, struct effects *fx, const struct message *msg)
{
    const struct exchange *ex = &flow->exchange;
    if (flow->is_stream)
        respond(flow, fx, msg, ex->plan.reframe, ex->plan.framing == REWRITE_NONE || ex->head_method);
    else
        send_response_head(flow, fx, msg, &ex->plan);
}

void talk_response_body(struct flow *flow, struct effects *fx, struct soth_span data)
{
    if (flow->is_stream)
        strand_write(flow, SIDE_CLIENT, data);
    else if (flow->exchange.plan.framing == REWRITE_CHUNKED)
        send_chunk(flow, fx, SIDE_CLIENT, data);
    else
        leg_write(flow, fx, SIDE_CLIENT, data.p, data.n);
}

void talk_response_end(struct flow *flow, struct effects *fx, const struct message *trailers)
{
    if (flow->is_stream)
        strand_end(flow, SIDE_CLIENT, trailers);
    else if (flow->exchange.plan.framing == REWRITE_CHUNKED)
        send_last_chunk(flow, fx, SIDE_CLIENT, trailers);
}

static void reply_stream(struct flow *flow, const struct reply *reply)
{
    struct strand *strand = flow->strand[SIDE_CLIENT];
    struct h2 *h2 = strand_codec(flow, SIDE_CLIENT);
    if (!h2 || h2_reply(h2, strand->id, reply) < 0)
        return;
    strand->ended = true;
    family_call(strand->line);
}

void talk_reply(struct flow *flow, struct effects *fx, const struct reply *reply)
{
    if (flow->is_stream) {
        reply_stream(flow, reply);
        return;
    }
    struct buffer text = {0};
    rewrite_reply(&text, reply);
    send_made(flow, fx, SIDE_CLIENT, &text);
}

void talk_continue(struct flow *flow, struct effects *fx)
{
    if (flow->is_stream) {
        respond(flow, fx, &(struct message){.status = 100, .minor = 1}, false, false);
        return;
    }
    leg_write(flow, fx, SIDE_CLIENT, "HTTP/1.1 100 Continue\r\n\r\n", 25);
}
