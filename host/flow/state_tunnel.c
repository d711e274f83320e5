/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Tunnels: dial first, then the 200, then bytes both ways, unread but for the first ones: a ClientHello whose server name belongs to
 * somebody else is a mismatch, and a blocked name stays blocked. A half-close is relayed. The same relay serves an upgraded
 * connection (101), there through the TLS of both legs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/flow/exchange.h"
#include "host/flow/stream.h"

static const char *errno_word(int error)
{
    const char *name = error > 0 ? strerrorname_np(error) : NULL;
    return name ? name : "EIO";
}

/* ---- dialling ---- */

void tunnel_dial(struct flow *flow, struct effects *fx, bool reply_due)
{
    flow->reply_due = reply_due;
    stage_enter(flow, &stage_dial_tunnel, flow_dial_timeout(flow));
    flow_read(flow, SIDE_CLIENT, true);
    if (flow->origin.open)
        tunnel_begin(flow, fx);
    else if (!flow->dialing)
        flow_dial(flow, fx);
}

static void look_first(struct flow *flow, struct effects *fx);

static void dial_done(struct flow *flow, struct effects *fx)
{
    if (!flow->reply_due) {
        tunnel_begin(flow, fx);
        return;
    }
    static const char established[] = "HTTP/1.1 200 Connection Established\r\n\r\n";
    leg_write(flow, fx, SIDE_CLIENT, established, sizeof established - 1);
    stage_enter(flow, &stage_tunnel_peek, flow->env->settings->idle_timeout);
    flow_read(flow, SIDE_CLIENT, true);
    flow_read(flow, SIDE_ORIGIN, true);
    if (buffer_size(&flow->held) > 0)
        look_first(flow, fx);
}

static void dial_failed(struct flow *flow, struct effects *fx, const struct input *input)
{
    struct refusal why;
    refusal_dial(&why, input);
    if (flow->decision_due)
        emit_connect_decision(flow);
    if (flow->reply_due) {
        answer_write(flow, fx, &why, 1, false, true);
        fx->linger = true;
        flow_close(flow, fx, why.code, why.detail);
    } else {
        flow_cut(flow, fx, why.code, why.detail);
    }
}

static void dial_late(struct flow *flow, struct effects *fx)
{
    struct input late = {.failure = DIAL_FAILURE_TIMEOUT, .detail = "ETIMEDOUT"};
    leg_reset_origin(flow, fx);
    dial_failed(flow, fx, &late);
}

static void dial_data(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n)
{
    if (side == SIDE_CLIENT && flow_hold(flow, p, n) < 0)
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
}

static void dial_ended(struct flow *flow, struct effects *fx, enum side side, int error)
{
    (void)error;
    if (side == SIDE_CLIENT) {
        flow->phase = PHASE_DIAL;
        flow_close_phase(flow, fx, CLOSE_CLIENT_ABORTED);
    }
}

const struct stage stage_dial_tunnel = {
    .phase = PHASE_DIAL,
    .data = dial_data,
    .ended = dial_ended,
    .dialed = dial_done,
    .dial_failed = dial_failed,
    .timer = dial_late,
};

/* ---- the first bytes ---- */

/* The server name of a tunnelled hello is judged like the target. true: the tunnel may begin. */
static bool judge_sni(struct flow *flow, struct effects *fx)
{
    struct soth_span sni = {flow->hello->sni, flow->hello->sni_len};
    if (sni.n == 0 || target_same_host(sni, remap_named(flow)))
        return true;
    if (!flow->sni)
        flow->sni = strdup(flow->hello->sni);
    enum decision d = decide_identity(flow, SOTH_ID_SNI, sni);
    if (d == DECISION_WAIT) {
        flow_wait(flow, look_first);
        return false;
    }
    if (d != DECISION_REFUSED)
        return true;
    leg_reset_origin(flow, fx);
    emit_connect_decision(flow);
    tls_client_begin(flow, fx);
    return false;
}

static void look_first(struct flow *flow, struct effects *fx)
{
    const uint8_t *p = buffer_data(&flow->held);
    size_t n = buffer_size(&flow->held);
    enum hello_guess guess = hello_guess(p, n);
    const char *fault;
    flow_read(flow, SIDE_CLIENT, true);
    if (guess == GUESS_MORE && p[0] == 0x16)
        return;
    if (guess == GUESS_TLS) {
        if (!flow->hello && !(flow->hello = calloc(1, sizeof *flow->hello))) {
            flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
            return;
        }
        int r = hello_parse(p, n, flow->hello, &fault);
        if (r == HELLO_MORE)
            return;
        if (r == HELLO_DONE && hello_fingerprint(p, flow->hello->bytes, flow->hello) < 0) {
            flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
            return;
        }
        if (r == HELLO_DONE && !judge_sni(flow, fx))
            return;
    }
    tunnel_begin(flow, fx);
}

static void first_data(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n)
{
    if (side == SIDE_ORIGIN) {
        tunnel_begin(flow, fx);
        leg_write(flow, fx, SIDE_CLIENT, p, n);
    } else if (flow_hold(flow, p, n) < 0) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
    } else {
        look_first(flow, fx);
    }
}

static void first_ended(struct flow *flow, struct effects *fx, enum side side, int error)
{
    tunnel_begin(flow, fx);
    flow->stage->ended(flow, fx, side, error);
}

const struct stage stage_tunnel_peek = {
    .phase = PHASE_TUNNEL,
    .data = first_data,
    .ended = first_ended,
};

/* ---- bytes both ways ---- */

void tunnel_begin(struct flow *flow, struct effects *fx)
{
    if (flow->decision_due)
        emit_connect_decision(flow);
    free(flow->hello);
    flow->hello = NULL;
    stage_enter(flow, &stage_tunnel, flow->env->settings->idle_timeout);
    leg_write(flow, fx, SIDE_ORIGIN, buffer_data(&flow->held), buffer_size(&flow->held));
    buffer_fini(&flow->held);
    flow_read(flow, SIDE_CLIENT, !flow->client.ended);
    flow_read(flow, SIDE_ORIGIN, !flow->origin.ended);
}

static void tunnel_data(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n)
{
    enum side other = side == SIDE_CLIENT ? SIDE_ORIGIN : SIDE_CLIENT;
    fx->direct[other] = p;
    fx->direct_size[other] = n;
    flow_arm(flow, flow->env->settings->idle_timeout);
}

static bool has_ended(const struct flow *flow, enum side side)
{
    const struct strand *strand = flow->strand[side];
    return strand ? strand->heard : (side == SIDE_CLIENT ? &flow->client : &flow->origin)->ended;
}

static void relay_ended(struct flow *flow, struct effects *fx, enum side side, int error)
{
    enum side other = side == SIDE_CLIENT ? SIDE_ORIGIN : SIDE_CLIENT;
    if (error > 0 && side == SIDE_CLIENT) {
        flow_cut(flow, fx, CLOSE_CLIENT_ABORTED, phase_name(flow->phase));
        return;
    }
    if (error > 0) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, errno_word(error));
        return;
    }
    flow_read(flow, side, false);
    if (flow->strand[other])
        strand_end(flow, other, NULL);
    if (has_ended(flow, other)) {
        flow_close(flow, fx, CLOSE_RELAY_EOF, NULL);
        return;
    }
    if (flow->strand[other])
        return;
    if (error == 0) /* an end that TLS did not tell is handed on untold */
        leg_finish(flow, fx, other);
    leg_of(flow, other)->shut = true;
    fx->shut[other] = true;
}

const struct stage stage_tunnel = {
    .phase = PHASE_TUNNEL,
    .data = tunnel_data,
    .ended = relay_ended,
};

/* ---- after 101 ---- */

static void upgraded_drain(struct flow *flow, struct effects *fx);

void upgraded_begin(struct flow *flow, struct effects *fx)
{
    struct buffer held = flow->held;
    flow->held = (struct buffer){0};
    stage_enter(flow, &stage_upgraded, flow->env->settings->idle_timeout);
    if (flow->hooks.protocol == SOTH_PROTO_WS)
        flow->phase = PHASE_WS;
    flow_read(flow, SIDE_CLIENT, true);
    flow_read(flow, SIDE_ORIGIN, true);
    if (buffer_size(&held) > 0)
        leg_deliver(flow, fx, SIDE_CLIENT, buffer_data(&held), buffer_size(&held));
    buffer_fini(&held);
    if (flow->draining && !flow->closing)
        upgraded_drain(flow, fx);
}

static void upgraded_data(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n)
{
    if (leg_of(flow, side)->h2) {
        mux_take(flow, fx, side, p, n);
        return;
    }
    flow_arm(flow, flow->env->settings->idle_timeout);
    chained_data(flow, fx, side, (struct soth_span){(const char *)p, n});
}

static void over(struct flow *flow, struct effects *fx, enum side side, int error)
{
    leg_of(flow, side)->end_error = error;
    if (error > 0 || !flow->exchange.chain)
        relay_ended(flow, fx, side, error);
    else
        chained_end(flow, fx, side);
}

static void upgraded_ended(struct flow *flow, struct effects *fx, enum side side, int error)
{
    if (leg_of(flow, side)->h2) /* its stream hears of it */
        leg_forget_origin(flow, fx);
    else
        over(flow, fx, side, error);
}

void upgraded_finish(struct flow *flow, struct effects *fx, enum side side)
{
    relay_ended(flow, fx, side, leg_of(flow, side)->end_error);
}

/* ---- the same of peers that are streams ---- */

void upgraded_event(struct flow *flow, struct effects *fx, enum side side, const struct h1_event *event)
{
    if (event->type == H1_BODY) {
        flow_arm(flow, flow->env->settings->idle_timeout);
        chained_data(flow, fx, side, event->data);
    } else if (event->type == H1_END) {
        over(flow, fx, side, 0);
    }
}

void upgraded_lost(struct flow *flow, struct effects *fx, const struct strand *strand)
{
    char detail[64];
    if (strand->heard && (strand->cause == H2_BY_LOSS || strand->code == H2_NO_ERROR)) { /* it has said all, and hears no more */
        flow_close(flow, fx, CLOSE_RELAY_EOF, NULL);
        return;
    }
    if (strand->cause == H2_BY_PEER && flow->strand[SIDE_CLIENT])
        flow->strand[SIDE_CLIENT]->reset_with = strand->code;
    const char *name = strand->cause == H2_BY_PEER ? h2_code_name(strand->code) : strand->cause == H2_BY_FAULT ? strand->fault : "origin_truncated";
    snprintf(detail, sizeof detail, "%s%s", strand->cause == H2_BY_PEER ? "origin_reset:" : "", name);
    flow_cut(flow, fx, CLOSE_RELAY_ERROR, detail);
}

static void upgraded_drain(struct flow *flow, struct effects *fx)
{
    chained_leave(flow, fx);
}

static void upgraded_called(struct flow *flow, struct effects *fx)
{
    if (flow->is_stream && (!flow->parent || flow->parent->closing))
        stream_orphaned(flow, fx);
}

const struct stage stage_upgraded = {
    .phase = PHASE_TUNNEL,
    .data = upgraded_data,
    .ended = upgraded_ended,
    .drain = upgraded_drain,
    .called = upgraded_called,
};
