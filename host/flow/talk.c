/* SPDX-License-Identifier: MPL-2.0 */
/* See talk.h. Here is HTTP/1. */
#include "host/flow/talk.h"

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

void talk_request_head(struct flow *flow, struct effects *fx)
{
    const struct exchange *ex = &flow->exchange;
    const struct message *msg = ex->outgoing;
    struct rewrite_request how = {.target = msg->target, .host = msg->host, .keep_upgrade = msg->wants_upgrade, .reframe = ex->reframe};
    struct buffer head = {0};
    rewrite_request_head(&head, msg, &how);
    send_made(flow, fx, SIDE_ORIGIN, &head);
    h1_answers(flow->origin.h1, ex->head_method, false);
}

void talk_request_body(struct flow *flow, struct effects *fx, struct soth_span data)
{
    if (flow->exchange.request_framing == FRAMING_CHUNKED)
        send_chunk(flow, fx, SIDE_ORIGIN, data);
    else
        leg_write(flow, fx, SIDE_ORIGIN, data.p, data.n);
}

void talk_request_end(struct flow *flow, struct effects *fx, const struct message *trailers)
{
    if (flow->exchange.request_framing == FRAMING_CHUNKED)
        send_last_chunk(flow, fx, SIDE_ORIGIN, trailers);
}

bool talk_origin_listens(const struct flow *flow)
{
    return flow->origin.open;
}

/* ---- to the client ---- */

static void send_response_head(struct flow *flow, struct effects *fx, const struct message *msg, const struct rewrite_response *how)
{
    struct buffer head = {0};
    rewrite_response_head(&head, msg, how);
    send_made(flow, fx, SIDE_CLIENT, &head);
}

void talk_interim(struct flow *flow, struct effects *fx, const struct message *msg)
{
    if (flow->exchange.client_minor > 0)
        send_response_head(flow, fx, msg, &(struct rewrite_response){.client_minor = 1, .framing = REWRITE_NONE});
}

void talk_switching(struct flow *flow, struct effects *fx, const struct message *msg)
{
    send_response_head(flow, fx, msg, &(struct rewrite_response){.client_minor = flow->exchange.client_minor, .keep_upgrade = true});
}

void talk_response_head(struct flow *flow, struct effects *fx, const struct message *msg)
{
    send_response_head(flow, fx, msg, &flow->exchange.plan);
}

void talk_response_body(struct flow *flow, struct effects *fx, struct soth_span data)
{
    if (flow->exchange.plan.framing == REWRITE_CHUNKED)
        send_chunk(flow, fx, SIDE_CLIENT, data);
    else
        leg_write(flow, fx, SIDE_CLIENT, data.p, data.n);
}

void talk_response_end(struct flow *flow, struct effects *fx, const struct message *trailers)
{
    if (flow->exchange.plan.framing == REWRITE_CHUNKED)
        send_last_chunk(flow, fx, SIDE_CLIENT, trailers);
}

void talk_reply(struct flow *flow, struct effects *fx, const struct reply *reply)
{
    struct buffer text = {0};
    rewrite_reply(&text, reply);
    send_made(flow, fx, SIDE_CLIENT, &text);
}

void talk_continue(struct flow *flow, struct effects *fx)
{
    leg_write(flow, fx, SIDE_CLIENT, "HTTP/1.1 100 Continue\r\n\r\n", 25);
}
