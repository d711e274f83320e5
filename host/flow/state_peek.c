/* SPDX-License-Identifier: MPL-2.0 */
/*
 * After the 200 (or on a reverse listener's connection): what are the client's first bytes? A ClientHello leads to interception however
 * late it comes, HTTP to cleartext interception, anything else falls under not_tls. After 300 ms of silence the origin is dialled and
 * both are watched. The decision becomes final here and is reported before anything else happens.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/flow/onboarding.h"
#include "host/flow/stream.h"

#define SILENCE_MS 300 /* then the origin may have something to say */

static void not_tls(struct flow *flow, struct effects *fx, const uint8_t *p, size_t n);

/* A policy waited for the hello; there is one now, or there will be none. */
static enum decision judge_late(struct flow *flow)
{
    return flow->verdict.needs_hello ? decide_target(flow, true) : DECISION_GO;
}

static void not_tls_again(struct flow *flow, struct effects *fx)
{
    struct buffer spoken = flow->held_origin;
    flow->held_origin = (struct buffer){0};
    not_tls(flow, fx, buffer_size(&spoken) ? buffer_data(&spoken) : NULL, buffer_size(&spoken));
    buffer_fini(&spoken);
}

/* Not TLS and not HTTP: relayed unread or cut. `p` are bytes of an origin that spoke first, else NULL. */
static void not_tls(struct flow *flow, struct effects *fx, const uint8_t *p, size_t n)
{
    enum decision d = judge_late(flow);
    if (d == DECISION_WAIT) {
        flow_wait(flow, not_tls_again);
        if (p)
            leg_deliver(flow, fx, SIDE_ORIGIN, p, n);
        return;
    }
    if (d == DECISION_REFUSED) {
        emit_connect_decision(flow);
        flow_cut(flow, fx, flow->refusal.code, flow->refusal.detail);
        return;
    }
    bool block = flow->verdict.action != SOTH_TUNNEL && (flow->env->settings->not_tls == NOT_TLS_BLOCK || onboarding_target(flow));
    if (flow->verdict.action != SOTH_TUNNEL)
        flow->verdict = (struct verdict){.action = block ? SOTH_BLOCK : SOTH_TUNNEL, .reason = "not_tls", .policy_module = ""};
    emit_connect_decision(flow);
    if (block) {
        flow_cut(flow, fx, CLOSE_BLOCKED, "not_tls");
        return;
    }
    if (!flow->origin.open) {
        tunnel_dial(flow, fx, false);
        return;
    }
    tunnel_begin(flow, fx);
    if (p)
        leg_write(flow, fx, SIDE_CLIENT, p, n);
}

/* The names of the connection are complete: judge the target again if a policy waited for the hello, then the SNI. */
static enum decision judge_hello(struct flow *flow)
{
    if (flow->refusal.status)
        return DECISION_REFUSED;
    if (flow->step == 0) {
        enum decision d = judge_late(flow);
        if (d == DECISION_WAIT || d == DECISION_REFUSED)
            return d;
        flow->step = 1;
    }
    struct soth_span sni = {flow->hello->sni, flow->hello->sni_len};
    if (sni.n == 0 || target_same_host(sni, remap_named(flow)))
        return DECISION_GO;
    return decide_identity(flow, SOTH_ID_SNI, sni);
}

/* The silence had it dialled, the decision is that it is not to hear anything. */
static void forget_origin(struct flow *flow, struct effects *fx)
{
    if (flow->origin.open || flow->dialing)
        leg_reset_origin(flow, fx);
}

static void hello_ready(struct flow *flow, struct effects *fx)
{
    if (flow->hello->sni_len && !flow->sni)
        flow->sni = strdup(flow->hello->sni);
    enum decision d = judge_hello(flow);
    if (d == DECISION_WAIT) {
        flow_wait(flow, hello_ready);
        return;
    }
    flow->step = 0;
    flow->decision_due = true;
    emit_connect_decision(flow);
    if (d == DECISION_REFUSED) {
        forget_origin(flow, fx);
        tls_client_begin(flow, fx);
    } else if (flow->verdict.action == SOTH_TUNNEL)
        tunnel_dial(flow, fx, false);
    else if (flow->origin_tls && !onboarding_target(flow))
        tls_origin_begin(flow, fx);
    else /* TLS ends here: the origin is dialled when a request was decided */
        tls_client_begin(flow, fx);
}

/* It began like TLS and then did not parse: says so with an alert, as a TLS server would. */
static void hello_broken(struct flow *flow, struct effects *fx, const char *fault)
{
    static const uint8_t decode_error[] = {0x15, 3, 1, 0, 2, 2, 50};
    struct tls_failure failure = {.reason = TLS_REASON_OTHER, .facts = {.alert_rx = -1, .alert_tx = 50, .is_server = 1}};
    strncpy(failure.raw, fault, sizeof failure.raw - 1);
    strncpy(failure.detail, "the client's first bytes are not a well-formed ClientHello", sizeof failure.detail - 1);
    emit_connect_decision(flow);
    emit_tls_started(flow, SIDE_CLIENT);
    emit_tls_failed(flow, SIDE_CLIENT, &failure);
    leg_write(flow, fx, SIDE_CLIENT, decode_error, sizeof decode_error);
    fx->linger = true;
    flow_close(flow, fx, CLOSE_TLS_HANDSHAKE_FAILED, "downstream:other");
}

static void cleartext_ready(struct flow *flow, struct effects *fx)
{
    enum decision d = judge_late(flow);
    if (d == DECISION_WAIT) {
        flow_wait(flow, cleartext_ready);
        return;
    }
    if (d == DECISION_REFUSED)
        forget_origin(flow, fx);
    emit_connect_decision(flow);
    if (flow->verdict.action == SOTH_TUNNEL) {
        tunnel_dial(flow, fx, false);
        return;
    }
    flow->origin_tls = false;
    http_cleartext(flow, fx);
}

static void look_at_hello(struct flow *flow, struct effects *fx)
{
    const char *fault = "";
    if (!flow->hello) {
        if (!(flow->hello = calloc(1, sizeof *flow->hello))) {
            flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
            return;
        }
        flow_arm(flow, flow->env->settings->tls_handshake_timeout); /* for all of it */
    }
    int r = hello_parse(buffer_data(&flow->held), buffer_size(&flow->held), flow->hello, &fault);
    if (r == HELLO_DONE) {
        if (hello_fingerprint(buffer_data(&flow->held), flow->hello->bytes, flow->hello) < 0)
            flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        else
            hello_ready(flow, fx);
    } else if (r == HELLO_MORE) {
        flow_read(flow, SIDE_CLIENT, true);
    } else {
        hello_broken(flow, fx, fault);
    }
}

static void look(struct flow *flow, struct effects *fx)
{
    bool must_be_tls = flow->listen->mode == LISTEN_REVERSE;
    switch (hello_guess(buffer_data(&flow->held), buffer_size(&flow->held))) {
    case GUESS_MORE:
        flow_read(flow, SIDE_CLIENT, true);
        break;
    case GUESS_TLS:
        look_at_hello(flow, fx);
        break;
    case GUESS_HTTP1:
    case GUESS_HTTP2:
        if (must_be_tls)
            hello_broken(flow, fx, "cleartext HTTP on a TLS listener");
        else
            cleartext_ready(flow, fx);
        break;
    default:
        if (must_be_tls)
            hello_broken(flow, fx, "not TLS");
        else
            not_tls(flow, fx, NULL, 0);
        break;
    }
}

static void peek_data(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n)
{
    if (side == SIDE_ORIGIN) {
        not_tls(flow, fx, p, n);
        return;
    }
    if (flow_hold(flow, p, n) < 0)
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
    else
        look(flow, fx);
}

/* It began like TLS and ended there. That says nothing of our certificate, which it has not seen. */
static void hello_cut(struct flow *flow, struct effects *fx, int error)
{
    struct tls_failure failure = {.reason = TLS_REASON_EOF_OR_RESET,
                                  .facts = {.alert_rx = -1, .alert_tx = -1, .eof = 1, .sys_errno = error, .is_server = 1}};
    snprintf(failure.raw, sizeof failure.raw, "%s after %zu bytes of a ClientHello", error ? "reset" : "end", buffer_size(&flow->held));
    snprintf(failure.detail, sizeof failure.detail, "the client hung up before its ClientHello was whole");
    if (flow->decision_due)
        emit_connect_decision(flow);
    emit_tls_started(flow, SIDE_CLIENT);
    emit_tls_failed(flow, SIDE_CLIENT, &failure);
    flow_close(flow, fx, CLOSE_TLS_HANDSHAKE_FAILED, "downstream:eof_or_reset");
}

static void peek_ended(struct flow *flow, struct effects *fx, enum side side, int error)
{
    if (side == SIDE_ORIGIN)
        leg_reset_origin(flow, fx);
    else if (flow->hello && flow->hello->bytes == 0)
        hello_cut(flow, fx, error);
    else
        flow_close_phase(flow, fx, CLOSE_CLIENT_ABORTED);
}

static void peek_dialed(struct flow *flow, struct effects *fx)
{
    (void)fx;
    flow_read(flow, SIDE_ORIGIN, true);
}

static void peek_timer(struct flow *flow, struct effects *fx)
{
    if (flow->hello || flow->listen->mode == LISTEN_REVERSE) {
        struct tls_facts facts = {.alert_rx = -1, .alert_tx = -1, .timeout = 1, .is_server = 1};
        struct tls_failure failure;
        tls_failure_classify(&facts, &failure);
        if (flow->decision_due)
            emit_connect_decision(flow);
        emit_tls_started(flow, SIDE_CLIENT);
        emit_tls_failed(flow, SIDE_CLIENT, &failure);
        flow_close(flow, fx, CLOSE_TLS_HANDSHAKE_FAILED, "downstream:timeout");
        return;
    }
    if (flow->quiet) {
        flow_close_phase(flow, fx, CLOSE_IDLE_WATCHDOG_TIMEOUT);
        return;
    }
    flow->quiet = true;
    flow_arm(flow, flow->env->settings->idle_timeout);
    if (!flow->verdict.needs_hello && !onboarding_target(flow)) /* a policy still waits: no packet to the origin before it has decided */
        flow_dial(flow, fx);
}

/* A connection that a client keeps for later. */
static void peek_drain(struct flow *flow, struct effects *fx)
{
    if (buffer_size(&flow->held) == 0)
        flow_close(flow, fx, CLOSE_SHUTDOWN_DRAIN, NULL);
}

void peek_begin(struct flow *flow, struct effects *fx)
{
    bool reverse = flow->listen->mode == LISTEN_REVERSE;
    stage_enter(flow, &stage_peek, reverse ? flow->env->settings->tls_handshake_timeout : SILENCE_MS);
    flow->origin_tls = reverse ? flow->env->settings->reverse_upstream.tls : true;
    flow_read(flow, SIDE_CLIENT, true);
    if (buffer_size(&flow->held) > 0)
        look(flow, fx);
}

static void reverse_judge(struct flow *flow, struct effects *fx);

/* A connection to a reverse listener has its target from the configuration and is decided like a CONNECT to it. */
void reverse_begin(struct flow *flow, struct effects *fx)
{
    const struct settings_upstream *up = &flow->env->settings->reverse_upstream;
    const char *detail;
    target_parse(soth_span(up->host), true, (uint16_t)up->port, &flow->target, &detail);
    flow->target.port = (uint16_t)up->port;
    flow->origin_tls = up->tls;
    emit_connect_received(flow);
    flow->decision_due = true;
    reverse_judge(flow, fx);
}

static void reverse_judge(struct flow *flow, struct effects *fx)
{
    const struct settings_upstream *up = &flow->env->settings->reverse_upstream;
    enum decision d = decide_target(flow, flow->step > 0);
    if (d == DECISION_HELLO && !flow->listen->tls) { /* there will be none */
        flow->step = 1;
        d = decide_target(flow, true);
    }
    if (d == DECISION_WAIT) {
        flow_wait(flow, reverse_judge);
        return;
    }
    flow->step = 0;
    if (flow->listen->tls) {
        peek_begin(flow, fx);
        return;
    }
    emit_connect_decision(flow);
    if (d == DECISION_GO && flow->verdict.action == SOTH_TUNNEL)
        tunnel_dial(flow, fx, false);
    else if (d == DECISION_GO && up->tls)
        tls_origin_begin(flow, fx);
    else
        http_cleartext(flow, fx);
}

const struct stage stage_peek = {
    .phase = PHASE_PEEK,
    .data = peek_data,
    .ended = peek_ended,
    .dialed = peek_dialed,
    .timer = peek_timer,
    .drain = peek_drain,
};
