/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The response half of an exchange: interim replies, the head, the body in the framing that its client understands, upgrades. A response's
 * bytes leave in the step in which they came.
 */
#include <stdlib.h>

#include "host/flow/opening.h"
#include "host/flow/payload.h"
#include "host/flow/stream.h"

static void response_peeked(struct flow *flow, struct effects *fx);

static void interim(struct flow *flow, struct effects *fx, const struct message *msg)
{
    emit_response_headers(flow, msg, true);
    talk_interim(flow, fx, msg);
}

void exchange_of_response(const struct flow *flow, struct soth_message *out, struct soth_connect *connect, struct target *authority, bool named)
{
    const struct exchange *ex = &flow->exchange;
    const char *at = (const char *)buffer_data(&ex->line), *detail;
    struct soth_span parts[EXCHANGE_LINE_PARTS];
    if (buffer_size(&ex->line) == 0 && !ex->named)
        return;
    for (unsigned i = 0; i < EXCHANGE_LINE_PARTS && !ex->named; at += ex->line_sizes[i++])
        parts[i] = (struct soth_span){at, ex->line_sizes[i]};
    if (ex->named)
        exchange_names(ex, parts);
    out->method = parts[0];
    out->target = parts[named ? 3 : 1];
    const uint16_t port = flow->pinned ? flow->pinned->port : flow->target.port;
    if (target_parse(parts[2], true, port, authority, &detail) != CONNECT_OK)
        return;
    connect->port = authority->port;
    connect->host = (struct soth_span){authority->host, authority->host_len};
    connect->host_addr = authority->addr;
}

/* A policy does not let the response through: its client gets our answer instead, the origin's connection is of no use any more. */
static void response_refused(struct flow *flow, struct effects *fx, const struct refusal *why)
{
    struct refusal answer = *why;
    exchange_drop_head(&flow->exchange);
    flow->exchange.response = PART_HEAD;
    leg_reset_origin(flow, fx);
    exchange_answer(flow, fx, &answer);
}

/* An answer before the request's end. One that takes the request, from an origin that stays, leaves the rest of it to be sent; after
 * any other what is left may never come, so the connection ends with the answer. */
static bool ends_early(const struct exchange *ex, const struct message *msg)
{
    bool not_begun = ex->expects && !exchange_body_begun(ex);
    return ex->request != PART_DONE && (msg->status >= 400 || !ex->origin_keeps || not_begun);
}

/* HTTP/2 tells with the head that there is no body; HTTP/1 has to be told, or its client waits for one. */
static void end_unframed(const struct message *msg, struct rewrite_response *plan)
{
    if (!msg->http2 || msg->framing != FRAMING_NONE || msg->has_declared_length || plan->no_body || msg->status == 204 || msg->status == 304)
        return;
    plan->reframe = true;
    plan->framing = plan->client_minor == 0 ? REWRITE_UNTIL_CLOSE : REWRITE_CHUNKED;
    plan->close = plan->close || plan->framing == REWRITE_UNTIL_CLOSE;
}

/* Does a decoder change the body - or, where there is none (HEAD, 304), the one that a GET would have? */
static bool body_changes(const struct flow *flow, const struct message *msg)
{
    bool none = flow->exchange.head_method || msg->status == 304;
    bool empty = none ? msg->has_declared_length && msg->declared_length == 0 : msg->framing == FRAMING_NONE;
    return !empty && chained_changes(flow, SIDE_ORIGIN);
}

static void send_final(struct flow *flow, struct effects *fx, const struct message *msg)
{
    struct message *changed = flow->exchange.changes[SIDE_ORIGIN] ? message_copy_changed(msg) : NULL;
    if (changed || !flow->exchange.changes[SIDE_ORIGIN])
        talk_response_head(flow, fx, changed ? changed : msg);
    else
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
    free(changed);
}

static void final_go(struct flow *flow, struct effects *fx, const struct message *msg)
{
    struct exchange *ex = &flow->exchange;
    ex->response = PART_HEAD;
    ex->ends_early = ends_early(ex, msg);
    ex->plan = (struct rewrite_response){
        .client_minor = ex->client_minor,
        .close = ex->close_client || flow->draining || ex->ends_early,
        .keep_alive_10 = ex->client_minor == 0 && !ex->close_client,
        .no_body = ex->head_method,
    };
    if (ex->edit)
        msg = head_edit_message(ex->edit);
    if (!chained_match(flow, fx, msg, (struct soth_span){NULL, 0}))
        return;
    ex->changes[SIDE_ORIGIN] = body_changes(flow, msg);
    /* the length is ours to tell: a body that may become another one, or one that HTTP/2 framed */
    ex->plan.reframe = ex->changes[SIDE_ORIGIN] || (msg->http2 && msg->framing == FRAMING_CHUNKED && !ex->head_method);
    rewrite_plan_response(msg, &ex->plan);
    if (!flow->is_stream)
        end_unframed(msg, &ex->plan);
    ex->response_begun = true;
    send_final(flow, fx, msg);
    ex->response = PART_BODY;
    exchange_drop_head(ex);
}

static void response_again(struct flow *flow, struct effects *fx);
static void response_goes_on(struct flow *flow, struct effects *fx);

static void response_waits(struct flow *flow, struct effects *fx, const struct message *msg, enum decision d)
{
    struct exchange *ex = &flow->exchange;
    if (!ex->asked && !(ex->asked = message_copy(msg)))
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
    else if (d == DECISION_WAIT)
        flow_wait(flow, response_goes_on);
    else
        ex->peek.need = flow->ask.need_bytes;
}

static void response_judge(struct flow *flow, struct effects *fx, const struct message *msg)
{
    struct refusal why;
    enum decision d = decide_response(flow, msg, &why);
    if (d == DECISION_WAIT || d == DECISION_BODY)
        response_waits(flow, fx, msg, d);
    else if (d == DECISION_REFUSED)
        response_refused(flow, fx, &why);
    else
        final_go(flow, fx, msg);
}

static void response_again(struct flow *flow, struct effects *fx)
{
    response_judge(flow, fx, flow->exchange.asked);
    if (!flow->closing && !flow->go_on)
        response_peeked(flow, fx);
}

/* After a wait: the codec may have an end that needs no further byte. */
static void response_goes_on(struct flow *flow, struct effects *fx)
{
    response_again(flow, fx);
    if (!flow->closing && !flow->go_on)
        exchange_origin(flow, fx, (const uint8_t *)"", 0);
}

static void final_head(struct flow *flow, struct effects *fx, const struct message *msg)
{
    struct exchange *ex = &flow->exchange;
    struct verdict v;
    struct refusal why;
    ex->response = PART_BODY;
    ex->announced[SIDE_ORIGIN] = msg->content_length;
    ex->origin_keeps = (msg->keep_alive || msg->http2) && msg->framing != FRAMING_UNTIL_CLOSE;
    exchange_drop_outgoing(ex);
    emit_response_headers(flow, msg, false);
    if (remap_response(flow, msg, &v) == DECISION_REFUSED) {
        emit_decision(flow, SOTH_EV_RESPONSE_DECISION, &v);
        decide_refuse_message(&v, &why);
        response_refused(flow, fx, &why);
        return;
    }
    response_judge(flow, fx, msg);
}

static void response_head(struct flow *flow, struct effects *fx, const struct message *msg)
{
    const bool opens = flow->exchange.websocket && msg->status >= 200 && msg->status < 300;
    if (msg->status == 101)
        opening_switching(flow, fx, msg);
    else if (msg->status < 200)
        interim(flow, fx, msg);
    else if (opens && msg->http2)
        opening_connected(flow, fx, msg);
    else if (opens && flow->is_stream) /* a page to HTTP/1, but to an extended CONNECT it would say that the WebSocket is open (RFC 8441 5) */
        exchange_origin_broken(flow, fx, "http_protocol_error", "websocket_not_switched");
    else
        final_head(flow, fx, msg);
}

static void peek(struct flow *flow, struct effects *fx, struct soth_span data, bool complete)
{
    if (exchange_peek(flow, fx, data, complete))
        response_again(flow, fx);
}

static void body(struct flow *flow, struct effects *fx, struct soth_span data)
{
    struct exchange *ex = &flow->exchange;
    if (ex->peek.need) {
        peek(flow, fx, data, false);
        return;
    }
    payload_body(flow, fx, SIDE_ORIGIN, data);
}

void exchange_response_write(struct flow *flow, struct effects *fx, struct soth_span data)
{
    talk_response_body(flow, fx, data);
}

void exchange_response_finish(struct flow *flow, struct effects *fx)
{
    struct exchange *ex = &flow->exchange;
    if (!exchange_trailers_go(flow, fx, SIDE_ORIGIN))
        return;
    talk_response_end(flow, fx, ex->trailers[SIDE_ORIGIN]);
    ex->response = PART_DONE;
    exchange_over(flow, fx);
}

static void response_end(struct flow *flow, struct effects *fx)
{
    struct exchange *ex = &flow->exchange;
    if (ex->response != PART_BODY)
        return; /* the end of an interim reply */
    if (ex->peek.need) {
        peek(flow, fx, (struct soth_span){"", 0}, true);
        return;
    }
    chained_end(flow, fx, SIDE_ORIGIN);
}

/* The body, or its beginning, that was kept until the head was judged. */
static void response_peeked(struct flow *flow, struct effects *fx)
{
    struct exchange *ex = &flow->exchange;
    struct buffer bytes = ex->peek.bytes;
    bool complete = ex->peek.complete;
    if (ex->peek.need || ex->response != PART_BODY)
        return; /* more of it is wanted; it was refused */
    ex->peek = (struct peek){0};
    if (buffer_size(&bytes) > 0)
        body(flow, fx, (struct soth_span){(const char *)buffer_data(&bytes), buffer_size(&bytes)});
    buffer_fini(&bytes);
    if (complete && !flow->closing)
        response_end(flow, fx);
}

void exchange_peek_ended(struct flow *flow, struct effects *fx)
{
    peek(flow, fx, (struct soth_span){"", 0}, true);
}

bool exchange_origin_event(struct flow *flow, struct effects *fx, const struct h1_event *event)
{
    struct h1 *codec = flow->origin.h1;
    switch (event->type) {
    case H1_HEAD:
        response_head(flow, fx, event->message);
        break;
    case H1_BODY:
        body(flow, fx, event->data);
        break;
    case H1_TRAILERS:
        exchange_trailers(flow, fx, SIDE_ORIGIN, event->message);
        break;
    case H1_END:
        response_end(flow, fx);
        break;
    case H1_NONE:
        return false;
    }
    return !flow->closing && flow->origin.h1 == codec;
}

void exchange_origin(struct flow *flow, struct effects *fx, const uint8_t *p, size_t n)
{
    struct h1_event event;
    if (flow->strand[SIDE_ORIGIN]) {
        strand_pump_side(flow, fx, SIDE_ORIGIN);
        return;
    }
    for (;;) {
        bool answered = flow->exchange.active && flow->exchange.response == PART_DONE;
        if (!flow->exchange.active || answered || !flow->exchange.request_sent || !flow->origin.h1) {
            if (n > 0)
                leg_reset_origin(flow, fx); /* it speaks without being asked */
            if (n > 0 && answered)
                exchange_over(flow, fx);
            return;
        }
        if (flow->go_on || chained_stuck(flow, SIDE_ORIGIN)) {
            if (n > 0)
                leg_deliver(flow, fx, SIDE_ORIGIN, p, n); /* held */
            return;
        }
        ssize_t used = h1_take(flow->origin.h1, p, n, &event);
        if (used < 0) {
            exchange_origin_broken(flow, fx, "http_protocol_error", h1_fault(flow->origin.h1));
            return;
        }
        p += used;
        n -= (size_t)used;
        if (event.type == H1_END && n > 0 && flow->exchange.response == PART_BODY)
            flow->exchange.origin_keeps = false; /* it says more than it was asked: no answer to whatever comes next */
        if (!exchange_origin_event(flow, fx, &event))
            return;
        if (flow->exchange.upgraded) {
            upgraded_begin(flow, fx);
            if (n > 0 && !flow->closing)
                leg_deliver(flow, fx, SIDE_ORIGIN, p, n);
            return;
        }
    }
}

bool exchange_takes_response(const struct flow *flow)
{
    const struct exchange *ex = &flow->exchange;
    if (flow->stage == &stage_upgraded)
        return !flow->go_on && !chained_stuck(flow, SIDE_ORIGIN);
    return !flow->go_on && !chained_stuck(flow, SIDE_ORIGIN) && ex->active && ex->request_sent && ex->response != PART_DONE;
}
