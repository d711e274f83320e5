/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The stage in which HTTP/1 exchanges run, one after the other, on a connection whose client side is ready. What belongs to one
 * exchange is in exchange_*.c; here are the ends of connections, dials, deadlines and the drain.
 */
#include "host/flow/exchange.h"
#include "host/flow/stream.h"

#define LEFT_GRACE_MS 5000 /* a client that ended its side may still read: it has left when nothing has come for it so long */

static struct h1_limits limits(const struct flow *flow)
{
    const struct settings *s = flow->env->settings;
    return (struct h1_limits){.max_head_bytes = (uint32_t)s->max_http_head_bytes, .strict_responses = s->strict_header_mode};
}

/* One is over, and of the next nothing has come. */
static bool between_exchanges(const struct flow *flow)
{
    return !flow->is_stream && !flow->exchange.active && flow->asked && h1_idle(flow->client.h1) && buffer_size(&flow->held) == 0;
}

static enum phase phase_now(const struct flow *flow)
{
    const struct exchange *ex = &flow->exchange;
    if (!ex->active)
        return between_exchanges(flow) ? PHASE_IDLE : PHASE_REQUEST_HEAD;
    if (exchange_waits(flow) && (flow->dialing || flow->waits_line || flow->waits_room || flow->origin.h2)) /* whose settings are waited for */
        return PHASE_DIAL;
    if (exchange_waits(flow) && flow->origin.tls && !flow->origin.secure)
        return PHASE_TLS_ORIGIN;
    if (ex->request == PART_BODY)
        return PHASE_REQUEST_BODY;
    if (ex->response == PART_HEAD)
        return PHASE_RESPONSE_HEAD;
    return flow->hooks.protocol == SOTH_PROTO_SSE ? PHASE_SSE : PHASE_RESPONSE_BODY;
}

static uint64_t dial_timeout(const struct flow *flow)
{
    if (flow->waits_room)
        return stream_room_timeout(flow);
    return flow->waits_line ? flow->env->settings->idle_timeout : flow_dial_timeout(flow); /* the connection has a deadline of its own */
}

/* Deadlines by phase: heads have one from their first byte, waiting for a response from the end of the request, the rest is idle time. */
void http_arm(struct flow *flow)
{
    const struct settings *s = flow->env->settings;
    enum phase now = phase_now(flow), before = flow->phase;
    flow->phase = now;
    if (flow->client_left) {
        flow_arm(flow, LEFT_GRACE_MS);
        return;
    }
    switch (now) {
    case PHASE_REQUEST_HEAD:
        if (before != now)
            flow_arm(flow, s->stream_stage_timeout);
        break;
    case PHASE_RESPONSE_HEAD:
        if (before != now)
            flow_arm(flow, s->response_header_timeout);
        break;
    case PHASE_DIAL:
        if (before != now)
            flow_arm(flow, dial_timeout(flow));
        break;
    case PHASE_TLS_ORIGIN:
        break; /* armed when the handshake began */
    default: /* a stream is stepped for its siblings' sake, too */
        if (before != now || flow->moved || !flow->is_stream)
            flow_arm(flow, s->idle_timeout);
        flow->moved = false;
        break;
    }
}

void http_begin(struct flow *flow, struct effects *fx)
{
    struct h1_limits l = limits(flow);
    flow->source.protocol = SOTH_PROTO_HTTP1;
    flow->stage = &stage_http;
    flow->phase = PHASE_CONNECT;
    flow->asked = flow->heard = false;
    if (!flow->client.h1)
        flow->client.h1 = h1_new_request(&l);
    /* an origin of HTTP/2 speaks before it is asked: of its settings */
    bool origin_is_h2 = flow->origin.open && flow->origin.secure && !flow->origin.h2 && alpn_is_h2(flow->origin.tls);
    if (!flow->client.h1 || (origin_is_h2 && !mux_open(flow, SIDE_ORIGIN))) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return;
    }
    flow_read(flow, SIDE_CLIENT, true);
    if (flow->origin.open)
        flow_read(flow, SIDE_ORIGIN, true);
    http_arm(flow);
}

void stream_begin(struct flow *flow)
{
    flow->stage = &stage_http;
    flow->phase = PHASE_CONNECT;
    http_arm(flow);
}

void http_first_bytes(struct flow *flow, struct effects *fx)
{
    if (!flow->closing)
        exchange_resume(flow, fx);
    if (!flow->closing && flow->stage == &stage_http)
        http_arm(flow);
}

void http_cleartext(struct flow *flow, struct effects *fx)
{
    int preface = h2_begins(flow);
    flow->expects_preface = preface == -SOTH_EAGAIN;
    if (preface == 1) {
        h2_begin(flow, fx);
        return;
    }
    http_begin(flow, fx);
    if (!flow->expects_preface)
        http_first_bytes(flow, fx);
}

/* The first bytes behind a listener without TLS. */
static void first_data(struct flow *flow, struct effects *fx, const uint8_t *p, size_t n)
{
    if (flow_hold(flow, p, n) < 0) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return;
    }
    int preface = h2_begins(flow);
    flow->expects_preface = preface == -SOTH_EAGAIN;
    if (preface == 1)
        h2_begin(flow, fx);
    else if (preface == 0)
        http_first_bytes(flow, fx);
    else
        flow_read(flow, SIDE_CLIENT, true);
}

static void http_data(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n)
{
    flow->heard = flow->heard || side == SIDE_CLIENT;
    flow->moved = true;
    if (side == SIDE_CLIENT && flow->expects_preface)
        first_data(flow, fx, p, n);
    else if (leg_of(flow, side)->h2)
        mux_take(flow, fx, side, p, n);
    else if (side == SIDE_CLIENT)
        exchange_client(flow, fx, p, n);
    else
        exchange_origin(flow, fx, p, n);
    if (!flow->closing && flow->waits_room) /* there may be room now, or the origin has said goodbye */
        exchange_connect(flow, fx);
    if (!flow->closing && flow->stage == &stage_http)
        http_arm(flow);
}

/* ---- ends ---- */

void http_no_more_requests(struct flow *flow, struct effects *fx)
{
    if (between_exchanges(flow)) {
        flow_close(flow, fx, CLOSE_MITM_HTTP_COMPLETED, NULL);
        return;
    }
    flow->phase = PHASE_REQUEST_HEAD;
    flow_close_phase(flow, fx, CLOSE_CLIENT_ABORTED);
}

static void client_ended(struct flow *flow, struct effects *fx, int error)
{
    const struct exchange *ex = &flow->exchange;
    flow_read(flow, SIDE_CLIENT, false);
    if (between_exchanges(flow) && error <= 0) {
        http_no_more_requests(flow, fx);
        return;
    }
    if (error <= 0 && ex->active && ex->request == PART_DONE && !flow->client_left) {
        flow->client_left = true;
        return;
    }
    if (ex->active && ex->response == PART_DONE) { /* it has its answer, and will not send the rest of its request */
        flow_close(flow, fx, CLOSE_MITM_HTTP_COMPLETED, NULL);
        return;
    }
    if (!flow->asked && flow->client.tls && !flow->heard && !flow->refusal.status)
        flow->rejected_likely = true;
    flow->phase = phase_now(flow);
    flow_close_phase(flow, fx, CLOSE_CLIENT_ABORTED);
}

static bool retry_allowed(const struct flow *flow)
{
    const struct exchange *ex = &flow->exchange;
    return ex->active && flow->origin.used && ex->safe && !ex->retried && !ex->response_begun && ex->outgoing;
}

static void origin_ended(struct flow *flow, struct effects *fx, int error)
{
    struct exchange *ex = &flow->exchange;
    struct h1_event event;
    if (flow->origin.h2) { /* what has come of its stream is still taken */
        leg_forget_origin(flow, fx);
        if (flow->waits_room) {
            flow->waits_room = false;
            exchange_connect(flow, fx);
        } else if (exchange_waits(flow)) {
            exchange_origin_broken(flow, fx, "connection_terminated", "origin_eof");
        }
        return;
    }
    if (!ex->active || ex->response == PART_DONE) {
        leg_reset_origin(flow, fx);
        if (ex->active) /* it does not want the rest of the request */
            exchange_over(flow, fx);
        return;
    }
    if (retry_allowed(flow)) {
        flow->env->counters->origin_retries++;
        ex->retried = true;
        leg_reset_origin(flow, fx);
        exchange_connect(flow, fx);
        return;
    }
    /* TLS that ends without close_notify does not say that this is all (RFC 9112 9.8) */
    if (ex->peek.need && ex->response == PART_BODY && error == 0 && h1_eof(flow->origin.h1, &event) == 1) {
        exchange_peek_ended(flow, fx);
        return;
    }
    if (ex->response_begun && error == 0 && h1_eof(flow->origin.h1, &event) == 1) {
        exchange_origin_event(flow, fx, &event);
        return;
    }
    exchange_origin_broken(flow, fx, "connection_terminated", ex->response_begun ? "origin_truncated" : "origin_eof");
}

static void http_ended(struct flow *flow, struct effects *fx, enum side side, int error)
{
    if (side == SIDE_CLIENT)
        client_ended(flow, fx, error);
    else
        origin_ended(flow, fx, error);
    if (!flow->closing && flow->stage == &stage_http)
        http_arm(flow);
}

/* ---- the origin's connection, when a request waits for one ---- */

static void http_dialed(struct flow *flow, struct effects *fx)
{
    if (!flow->origin_tls) {
        exchange_origin_ready(flow, fx);
    } else if (exchange_waits(flow)) {
        flow->phase = PHASE_TLS_ORIGIN;
        tls_origin_handshake(flow, fx);
    }
    if (!flow->closing)
        http_arm(flow);
}

/* Its origin has let no stream through all the time. */
static void no_room(struct flow *flow, struct effects *fx)
{
    struct refusal why;
    refusal_set(&why, 504, "connection_timeout", "the origin took no further stream in time", CLOSE_UPSTREAM_CONNECT_FAILED, "h2_no_stream");
    leg_reset_origin(flow, fx);
    exchange_answer(flow, fx, &why);
}

static void http_dial_failed(struct flow *flow, struct effects *fx, const struct input *input)
{
    struct refusal why;
    if (!exchange_waits(flow)) /* dialled in the silence before a request: the next one tries again */
        return;
    refusal_dial(&why, input);
    exchange_answer(flow, fx, &why);
    if (!flow->closing)
        http_arm(flow);
}

static void http_secured(struct flow *flow, struct effects *fx, enum side side)
{
    if (side != SIDE_ORIGIN)
        return;
    tls_origin_secured(flow);
    exchange_origin_ready(flow, fx);
    if (!flow->closing)
        http_arm(flow);
}

static void http_tls_failed(struct flow *flow, struct effects *fx, enum side side)
{
    if (side == SIDE_CLIENT) {
        tls_client_failed(flow, fx);
        return;
    }
    if (!tls_origin_failed(flow, fx) || !flow->exchange.active || flow->exchange.response != PART_HEAD) /* of a late refusal the next request is told */
        return;
    struct refusal why = flow->refusal;
    flow->refusal = (struct refusal){0};
    exchange_answer(flow, fx, &why);
}

/* ---- deadlines and drain ---- */

/* For the same reason, unless that is its client's. */
void stream_orphaned(struct flow *flow, struct effects *fx)
{
    const struct flow *line = flow->parent;
    enum close_code code = line ? line->close_code : CLOSE_SHUTDOWN_DRAIN;
    if (flow->stage == &stage_http)
        flow->phase = phase_now(flow);
    if (code == CLOSE_CLIENT_ABORTED || code == CLOSE_MITM_HTTP_COMPLETED)
        flow_cut(flow, fx, CLOSE_CLIENT_ABORTED, phase_name(flow->phase));
    else
        flow_cut(flow, fx, code, line ? line->close_detail : NULL);
}

static void head_too_late(struct flow *flow, struct effects *fx)
{
    struct refusal why;
    refusal_set(&why, 408, "http_request_error", "the request head took too long", CLOSE_STREAM_STAGE_TIMEOUT, "request_head");
    answer_write(flow, fx, &why, 1, false, true);
    fx->linger = true;
    flow_close(flow, fx, CLOSE_STREAM_STAGE_TIMEOUT, "request_head");
}

static void response_too_late(struct flow *flow, struct effects *fx)
{
    struct refusal why;
    refusal_set(&why, 504, "http_response_timeout", "the origin sent no response head in time", CLOSE_STREAM_STAGE_TIMEOUT,
                "response_header");
    leg_reset_origin(flow, fx);
    flow->exchange.close_client = true;
    exchange_answer(flow, fx, &why);
}

static void http_timer(struct flow *flow, struct effects *fx)
{
    if (flow->client_left) {
        flow_cut(flow, fx, CLOSE_CLIENT_ABORTED, phase_name(flow->phase));
        return;
    }
    switch (flow->phase) {
    case PHASE_REQUEST_HEAD:
        head_too_late(flow, fx);
        break;
    case PHASE_RESPONSE_HEAD:
        response_too_late(flow, fx);
        break;
    case PHASE_DIAL: {
        if (flow->waits_room) {
            no_room(flow, fx);
            break;
        }
        struct input late = {.failure = DIAL_FAILURE_TIMEOUT, .detail = "ETIMEDOUT"};
        leg_reset_origin(flow, fx);
        http_dial_failed(flow, fx, &late);
        break;
    }
    case PHASE_TLS_ORIGIN:
        session_timed_out(flow->origin.tls);
        http_tls_failed(flow, fx, SIDE_ORIGIN);
        break;
    case PHASE_IDLE:
        flow_close_phase(flow, fx, CLOSE_IDLE_WATCHDOG_TIMEOUT);
        break;
    default:
        flow_cut(flow, fx, CLOSE_IDLE_WATCHDOG_TIMEOUT, phase_name(flow->phase));
        break;
    }
}

/* A stream hears of its connection or of its origin; what there is to take is taken when the step ends. */
static void http_called(struct flow *flow, struct effects *fx)
{
    if (flow->is_stream && (!flow->parent || flow->parent->closing)) {
        stream_orphaned(flow, fx);
        return;
    }
    if (exchange_waits(flow) && flow->refusal.status) { /* there is no origin */
        struct refusal why = flow->refusal;
        exchange_answer(flow, fx, &why);
    } else if (flow->waits_line) {
        exchange_connect(flow, fx);
    } else if (exchange_waits(flow) && flow->origin.h2) { /* which has told its settings */
        exchange_origin_ready(flow, fx);
    }
}

static void http_drain(struct flow *flow, struct effects *fx)
{
    if (!flow->exchange.active && flow->client.h1 && h1_idle(flow->client.h1) && buffer_size(&flow->held) == 0)
        flow_close(flow, fx, flow->asked ? CLOSE_MITM_HTTP_COMPLETED : CLOSE_SHUTDOWN_DRAIN, NULL);
}

const struct stage stage_http = {
    .phase = PHASE_REQUEST_HEAD,
    .data = http_data,
    .ended = http_ended,
    .dialed = http_dialed,
    .dial_failed = http_dial_failed,
    .secured = http_secured,
    .tls_failed = http_tls_failed,
    .timer = http_timer,
    .drain = http_drain,
    .called = http_called,
};
