/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The response half of an exchange: interim replies, the head, the body in the framing that its client understands, upgrades, and
 * what happens when an exchange is over. A response's bytes leave in the step in which they came.
 */
#include "host/flow/payload.h"
#include "host/flow/stage.h"

void exchange_origin_broken(struct flow *flow, struct effects *fx, const char *error, const char *detail)
{
    if (flow->exchange.response_begun) {
        flow_cut(flow, fx, CLOSE_MITM_HTTP_ERROR, detail);
        return;
    }
    struct refusal why;
    refusal_set(&why, 502, error, detail, CLOSE_MITM_HTTP_ERROR, detail);
    leg_reset_origin(flow, fx);
    exchange_answer(flow, fx, &why);
}

static void switching(struct flow *flow, struct effects *fx, const struct message *msg)
{
    struct exchange *ex = &flow->exchange;
    if (!ex->wants_upgrade || msg->upgrade.p == NULL || ex->request != PART_DONE) {
        exchange_origin_broken(flow, fx, "http_protocol_error", "unrequested_upgrade");
        return;
    }
    ex->response_begun = true;
    ex->upgraded = true;
    emit_response_headers(flow, msg, false);
    struct rewrite_response how = {.client_minor = ex->client_minor, .keep_upgrade = true, .framing = REWRITE_NONE};
    struct buffer head = {0};
    rewrite_response_head(&head, msg, &how);
    leg_write(flow, fx, SIDE_CLIENT, buffer_data(&head), buffer_size(&head));
    buffer_fini(&head);
}

static void interim(struct flow *flow, struct effects *fx, const struct message *msg)
{
    struct exchange *ex = &flow->exchange;
    emit_response_headers(flow, msg, true);
    if (ex->client_minor == 0)
        return;
    struct rewrite_response how = {.client_minor = 1, .framing = REWRITE_NONE};
    struct buffer head = {0};
    rewrite_response_head(&head, msg, &how);
    leg_write(flow, fx, SIDE_CLIENT, buffer_data(&head), buffer_size(&head));
    buffer_fini(&head);
}

static void final_head(struct flow *flow, struct effects *fx, const struct message *msg)
{
    struct exchange *ex = &flow->exchange;
    ex->response = PART_BODY;
    ex->response_begun = true;
    ex->origin_keeps = msg->keep_alive && msg->framing != FRAMING_UNTIL_CLOSE;
    buffer_clear(&ex->head);
    emit_response_headers(flow, msg, false);
    /* an answer before the request's end: what is left of the request may never come, so this connection ends with it */
    bool early = ex->request != PART_DONE;
    ex->plan = (struct rewrite_response){
        .client_minor = ex->client_minor,
        .close = ex->close_client || flow->draining || early,
        .keep_alive_10 = ex->client_minor == 0 && !ex->close_client,
        .no_body = ex->head_method,
    };
    rewrite_plan_response(msg, &ex->plan);
    struct buffer head = {0};
    if (rewrite_response_head(&head, msg, &ex->plan) < 0)
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
    else
        leg_write(flow, fx, SIDE_CLIENT, buffer_data(&head), buffer_size(&head));
    buffer_fini(&head);
}

static void response_head(struct flow *flow, struct effects *fx, const struct message *msg)
{
    if (msg->status == 101)
        switching(flow, fx, msg);
    else if (msg->status < 200)
        interim(flow, fx, msg);
    else
        final_head(flow, fx, msg);
}

static void body(struct flow *flow, struct effects *fx, struct soth_span data)
{
    struct exchange *ex = &flow->exchange;
    payload_body(flow, SIDE_ORIGIN, data);
    if (ex->plan.framing != REWRITE_CHUNKED) {
        leg_write(flow, fx, SIDE_CLIENT, data.p, data.n);
        return;
    }
    struct buffer frame = {0};
    rewrite_chunk_begin(&frame, data.n);
    leg_write(flow, fx, SIDE_CLIENT, buffer_data(&frame), buffer_size(&frame));
    leg_write(flow, fx, SIDE_CLIENT, data.p, data.n);
    leg_write(flow, fx, SIDE_CLIENT, "\r\n", 2);
    buffer_fini(&frame);
}

static void last_chunk(struct flow *flow, struct effects *fx, const struct message *trailers)
{
    struct exchange *ex = &flow->exchange;
    emit_body(flow, SIDE_ORIGIN);
    if (trailers)
        emit_trailers(flow, SIDE_ORIGIN, trailers);
    if (ex->plan.framing != REWRITE_CHUNKED)
        return;
    struct buffer frame = {0};
    rewrite_last_chunk(&frame, trailers);
    leg_write(flow, fx, SIDE_CLIENT, buffer_data(&frame), buffer_size(&frame));
    buffer_fini(&frame);
    ex->plan.framing = REWRITE_NONE; /* sent once, with or without trailers */
}

static void response_end(struct flow *flow, struct effects *fx)
{
    struct exchange *ex = &flow->exchange;
    if (ex->response != PART_BODY)
        return; /* the end of an interim reply */
    last_chunk(flow, fx, NULL);
    ex->response = PART_DONE;
    exchange_over(flow, fx);
}

/* The connection to the client ends here, or waits for the next request. */
void exchange_over(struct flow *flow, struct effects *fx)
{
    struct exchange *ex = &flow->exchange;
    if (ex->plan.close || flow->client_left) {
        fx->linger = ex->request != PART_DONE;
        flow_close(flow, fx, CLOSE_MITM_HTTP_COMPLETED, NULL);
        return;
    }
    if (ex->request != PART_DONE)
        return;
    ex->active = false;
    ex->discard = false;
    buffer_fini(&ex->head);
    buffer_fini(&ex->target);
    if (flow->origin.open && ex->origin_keeps)
        flow->origin.used = true;
    else if (flow->origin.open && ex->request_sent)
        leg_reset_origin(flow, fx);
    if (flow->draining && h1_idle(flow->client.h1) && buffer_size(&flow->held) == 0)
        flow_close(flow, fx, CLOSE_MITM_HTTP_COMPLETED, NULL);
    else
        exchange_resume(flow, fx);
}

/* One event of the origin; false: the origin's codec is gone or not in charge any more. */
static bool take_event(struct flow *flow, struct effects *fx, const struct h1_event *event)
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
        last_chunk(flow, fx, event->message);
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
    for (;;) {
        if (!flow->exchange.active || !flow->exchange.request_sent || !flow->origin.h1) {
            if (n > 0)
                leg_reset_origin(flow, fx); /* it speaks without being asked */
            return;
        }
        ssize_t used = h1_take(flow->origin.h1, p, n, &event);
        if (used < 0) {
            exchange_origin_broken(flow, fx, "http_protocol_error", h1_fault(flow->origin.h1));
            return;
        }
        p += used;
        n -= (size_t)used;
        if (!take_event(flow, fx, &event))
            return;
        if (flow->exchange.upgraded) {
            upgraded_begin(flow, fx);
            if (n > 0)
                leg_write(flow, fx, SIDE_CLIENT, p, n);
            return;
        }
    }
}
