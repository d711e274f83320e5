/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The stage of a connection that speaks HTTP/2 with its client: its streams are flows of their own. Here is what they share: the codec's
 * input and output, the connection to an origin that speaks HTTP/2 too, and how it all ends.
 */
#include <stdlib.h>

#include "host/flow/stream.h"

#define PARTING_MS 1000 /* a client that was told of the end answers within a round trip, or is taken to have heard */

/* ---- the beginning ---- */

static bool settle_origin(struct flow *flow)
{
    if (!flow->origin_tls) {
        flow->mux->kind = stream_knows_h2(flow) ? ORIGIN_H2 : ORIGIN_H1;
        return !flow->origin.open || flow->mux->kind != ORIGIN_H2 || mux_open(flow, SIDE_ORIGIN);
    }
    if (!flow->origin.secure)
        return true;
    flow->mux->kind = alpn_is_h2(flow->origin.tls) ? ORIGIN_H2 : ORIGIN_H1;
    return flow->mux->kind == ORIGIN_H1 || mux_open(flow, SIDE_ORIGIN);
}

static void arm_idle(struct flow *flow)
{
    flow->phase = PHASE_IDLE;
    flow_arm(flow, flow->mux->parting ? PARTING_MS : flow->env->settings->idle_timeout);
}

/* An origin that speaks HTTP/1 is for one stream at a time. */
static void origin_settled(struct flow *flow, struct effects *fx)
{
    if (!settle_origin(flow)) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return;
    }
    if (flow->origin.h2)
        flow_read(flow, SIDE_ORIGIN, true);
    else if (flow->origin.open)
        fx->spare_origin = true;
    family_call_waiting(flow);
}

int h2_begins(const struct flow *flow)
{
    if (!flow->env->settings->http2_enabled)
        return 0;
    return buffer_size(&flow->held) ? h2_preface(buffer_data(&flow->held), buffer_size(&flow->held)) : -SOTH_EAGAIN;
}

void h2_begin(struct flow *flow, struct effects *fx)
{
    h1_free(flow->client.h1);
    flow->client.h1 = NULL;
    flow->source.protocol = SOTH_PROTO_HTTP2;
    flow->stage = &stage_h2;
    flow->asked = flow->heard = false;
    if (!(flow->mux = calloc(1, sizeof *flow->mux)) || !mux_open(flow, SIDE_CLIENT)) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return;
    }
    origin_settled(flow, fx);
    if (flow->closing)
        return;
    arm_idle(flow);
    flow_read(flow, SIDE_CLIENT, true);
    struct buffer held = flow->held;
    flow->held = (struct buffer){0};
    mux_take(flow, fx, SIDE_CLIENT, buffer_size(&held) ? buffer_data(&held) : (const uint8_t *)"", buffer_size(&held));
    buffer_fini(&held);
    if (!flow->closing)
        flow_deliver_held(flow, fx);
}

/* ---- the end ---- */

/* It is over with the last of its streams and of what they were answered, when nobody is to open another. */
static void end_if_done(struct flow *flow, struct effects *fx)
{
    if (flow->children || flow->closing || h2_owes(flow->client.h2))
        return;
    if (flow->refusal.status && flow->asked)
        flow_close(flow, fx, flow->refusal.code, flow->refusal.detail);
    else if (flow->mux->dismissed && flow->asked)
        flow_close(flow, fx, CLOSE_MITM_HTTP_COMPLETED, NULL);
    else if (flow->mux->dismissed)
        flow_close_phase(flow, fx, CLOSE_CLIENT_ABORTED);
    else if (flow->mux->parting && !flow->mux->grace)
        flow_close(flow, fx, flow->asked ? CLOSE_MITM_HTTP_COMPLETED : CLOSE_SHUTDOWN_DRAIN, NULL);
}

static void client_ended(struct flow *flow, struct effects *fx, int error)
{
    bool between = !flow->children && flow->asked && error <= 0;
    if (!flow->asked && flow->client.tls && !flow->heard && !flow->refusal.status)
        flow->rejected_likely = true;
    flow->phase = flow->children ? PHASE_RESPONSE_BODY : flow->asked ? PHASE_IDLE : PHASE_REQUEST_HEAD;
    mux_lost(flow, SIDE_CLIENT);
    if (between)
        flow_close(flow, fx, CLOSE_MITM_HTTP_COMPLETED, NULL);
    else
        flow_close_phase(flow, fx, CLOSE_CLIENT_ABORTED);
}

void h2_origin_gone(struct flow *flow, struct effects *fx)
{
    leg_reset_origin(flow, fx);
    if (flow->origin_tls)
        flow->mux->kind = ORIGIN_UNKNOWN; /* who answers next may speak something else */
    family_call_waiting(flow);
}

void h2_stream_gone(struct flow *flow)
{
    if (flow->children || !flow->mux)
        return;
    if (flow->closing || flow->mux->parting || flow->refusal.status)
        family_call(flow);
}

/* ---- inputs ---- */

static void h2_data(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n)
{
    if (side == SIDE_ORIGIN && !flow->origin.h2) {
        leg_reset_origin(flow, fx); /* it speaks without being asked */
        return;
    }
    mux_take(flow, fx, side, p, n);
    if (side == SIDE_CLIENT)
        end_if_done(flow, fx); /* a window may have let the last answer through */
    if (!flow->closing && flow->phase == PHASE_IDLE)
        arm_idle(flow);
}

static void h2_ended(struct flow *flow, struct effects *fx, enum side side, int error)
{
    if (side == SIDE_CLIENT)
        client_ended(flow, fx, error);
    else
        h2_origin_gone(flow, fx);
}

/* Those who wait for the origin get the reason why there is none. */
static void no_origin(struct flow *flow, const struct refusal *why)
{
    arm_idle(flow);
    for (struct kin *kin = flow->children; kin; kin = kin->elder) {
        struct flow *child = family_awake(kin);
        if (!child || !child->waits_line)
            continue;
        child->waits_line = false;
        child->refusal = *why;
        family_call(child);
    }
}

static void h2_dialed(struct flow *flow, struct effects *fx)
{
    if (flow->origin_tls) {
        flow->phase = PHASE_TLS_ORIGIN;
        tls_origin_handshake(flow, fx);
        return;
    }
    arm_idle(flow);
    origin_settled(flow, fx);
}

static void h2_dial_failed(struct flow *flow, struct effects *fx, const struct input *input)
{
    struct refusal why;
    (void)fx;
    refusal_dial(&why, input);
    no_origin(flow, &why);
}

static void h2_secured(struct flow *flow, struct effects *fx, enum side side)
{
    if (side != SIDE_ORIGIN)
        return;
    tls_origin_secured(flow);
    arm_idle(flow);
    origin_settled(flow, fx);
}

static void h2_tls_failed(struct flow *flow, struct effects *fx, enum side side)
{
    if (side == SIDE_CLIENT) { /* it refuses us, late */
        mux_lost(flow, SIDE_CLIENT);
        tls_client_failed(flow, fx);
        return;
    }
    if (!tls_origin_failed(flow, fx))
        return;
    struct refusal why = flow->refusal;
    flow->refusal = (struct refusal){0};
    flow->mux->kind = ORIGIN_UNKNOWN; /* or it was known, and refused us late */
    no_origin(flow, &why);
}

/* A stream wants something. */
static void h2_called(struct flow *flow, struct effects *fx)
{
    if (flow->mux->wants_origin && !flow->origin.open && !flow->dialing) {
        flow->tls_retry = false;
        flow->phase = PHASE_DIAL;
        flow_arm(flow, flow_dial_timeout(flow));
        flow_dial(flow, fx);
    }
    flow->mux->wants_origin = false;
    end_if_done(flow, fx);
}

/* ---- deadlines and drain ---- */

static void silent(struct flow *flow, struct effects *fx)
{
    if (flow->mux->grace) { /* it did not answer, what it has opened is here */
        flow->mux->grace = false;
        h2_goaway(flow->client.h2, H2_GOAWAY_LAST, H2_NO_ERROR);
        end_if_done(flow, fx);
    }
    if (flow->closing)
        return;
    if (flow->children || flow->mux->parting) /* each has a watchdog of its own */
        arm_idle(flow);
    else
        flow_close_phase(flow, fx, CLOSE_IDLE_WATCHDOG_TIMEOUT);
}

static void h2_timer(struct flow *flow, struct effects *fx)
{
    if (h2_check(flow->client.h2, flow->env->bus->monotonic_ns) < 0) {
        mux_take(flow, fx, SIDE_CLIENT, (const uint8_t *)"", 0);
        return;
    }
    rest_timer(flow);
    if (flow->deadline_ns > flow->env->bus->monotonic_ns)
        return;
    if (flow->phase == PHASE_DIAL) {
        struct input late = {.failure = DIAL_FAILURE_TIMEOUT, .detail = "ETIMEDOUT"};
        leg_reset_origin(flow, fx);
        h2_dial_failed(flow, fx, &late);
    } else if (flow->phase == PHASE_TLS_ORIGIN) {
        session_timed_out(flow->origin.tls);
        h2_tls_failed(flow, fx, SIDE_ORIGIN);
    } else {
        silent(flow, fx);
    }
}

static void h2_drain(struct flow *flow, struct effects *fx)
{
    if (flow->mux->parting)
        return;
    flow->mux->parting = flow->mux->grace = true;
    h2_goaway(flow->client.h2, H2_GOAWAY_SOON, H2_NO_ERROR);
    h2_ping(flow->client.h2, 1);
    if (flow->phase == PHASE_IDLE)
        arm_idle(flow);
    (void)fx;
}

const struct stage stage_h2 = {
    .phase = PHASE_IDLE,
    .data = h2_data,
    .ended = h2_ended,
    .dialed = h2_dialed,
    .dial_failed = h2_dial_failed,
    .secured = h2_secured,
    .tls_failed = h2_tls_failed,
    .timer = h2_timer,
    .drain = h2_drain,
    .called = h2_called,
};
