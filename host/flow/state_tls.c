/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Interception: the origin first - dial, handshake with the client's server name and protocols - then the client's handshake with a
 * leaf of ours. When the origin fails, the client's handshake is done all the same and its first request gets the reason as an
 * answer, instead of a reset that explains nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/flow/stream.h"

#define EARLY_MOST 65536u /* bytes of an origin of HTTP/2 that come while its client still shakes hands */

static struct soth_span target_name(const struct flow *flow)
{
    return (struct soth_span){flow->target.host, flow->target.host_len};
}

/* Is the origin whom the client named, or has the configuration or a module put another in its place? */
static bool is_replaced(const struct flow *flow)
{
    return flow->listen->mode == LISTEN_REVERSE || flow->named || flow->pinned;
}

/* Whose certificate we expect: the name the client asked for, or who is in its place. */
static struct soth_span origin_name(const struct flow *flow)
{
    return is_replaced(flow) || !flow->sni ? target_name(flow) : soth_span(flow->sni);
}

struct soth_span tls_origin_sni(const struct flow *flow)
{
    if (flow->env->settings->upstream_sni_mode == SNI_DISABLED)
        return (struct soth_span){"", 0};
    if (flow->sni && !is_replaced(flow))
        return soth_span(flow->sni);
    return flow->target.addr.family ? (struct soth_span){"", 0} : target_name(flow);
}

bool tls_sni_lacks(const struct flow *flow, struct refusal *why)
{
    if (flow->env->settings->upstream_sni_mode != SNI_REQUIRED || tls_origin_sni(flow).n > 0)
        return false;
    refusal_set(why, 502, "http_request_error", "the origin is named by its address alone, and upstream_sni_mode is required",
                CLOSE_ROUTE_PLANNER_FAILED, "sni_required");
    return true;
}

void tls_origin_handshake(struct flow *flow, struct effects *fx)
{
    struct soth_span alpn = soth_span(alpn_for_origin(flow)->wire);
    struct trust *trust = flow->verdict.overrides & SOTH_OVERRIDE_SKIP_UPSTREAM_VERIFY ? flow->env->trust_any : flow->env->trust;
    flow->origin.tls = session_client_new(trust, origin_name(flow), flow->target.port, tls_origin_sni(flow), alpn);
    if (!flow->origin.tls) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return;
    }
    if (flow->staple)
        session_skip_staple(flow->origin.tls);
    session_output(flow->origin.tls, fx->out[SIDE_ORIGIN]);
    emit_tls_started(flow, SIDE_ORIGIN);
    flow_arm(flow, flow->env->settings->tls_handshake_timeout);
    flow_read(flow, SIDE_ORIGIN, true);
    leg_receive(flow, fx, SIDE_ORIGIN, NULL, 0);
}

void tls_origin_secured(struct flow *flow)
{
    emit_tls_succeeded(flow, SIDE_ORIGIN, -1);
}

bool tls_origin_failed(struct flow *flow, struct effects *fx)
{
    struct tls_failure failure;
    char detail[64];
    session_failure(flow->origin.tls, &failure);
    bool staple = session_staple(flow->origin.tls) >= STAPLE_REVOKED; /* each reason once: both may come, one after the other */
    if (session_should_retry(flow->origin.tls) && !(staple ? flow->staple != STAPLE_UNASKED : flow->tls_retry)) {
        if (staple)
            flow->staple = (uint8_t)session_staple(flow->origin.tls);
        else
            flow->tls_retry = true;
        leg_reset_origin(flow, fx);
        flow_dial(flow, fx);
        flow_arm(flow, flow_dial_timeout(flow));
        flow->phase = PHASE_DIAL;
        return false;
    }
    emit_tls_failed(flow, SIDE_ORIGIN, &failure);
    snprintf(detail, sizeof detail, "upstream:%s", tls_reason_name(failure.reason));
    const char *error = failure.reason == TLS_REASON_UNKNOWN_CA || failure.reason == TLS_REASON_CERT_VALIDATION ? "tls_certificate_error"
                        : failure.facts.alert_rx >= 0                                                            ? "tls_alert_received"
                                                                                                                 : "tls_protocol_error";
    bool late = failure.reason == TLS_REASON_TIMEOUT;
    refusal_set(&flow->refusal, late ? 504 : 502, late ? "connection_timeout" : error, failure.detail, CLOSE_TLS_HANDSHAKE_FAILED, detail);
    leg_reset_origin(flow, fx);
    return true;
}

/* ---- the origin ---- */

/* The origin's side is settled, well or ill: now the client's. */
static void client_begin(struct flow *flow, struct effects *fx)
{
    if (flow->listen->mode == LISTEN_REVERSE && !flow->listen->tls) {
        http_cleartext(flow, fx);
    } else {
        tls_client_begin(flow, fx);
    }
}

void tls_origin_begin(struct flow *flow, struct effects *fx)
{
    if (tls_sni_lacks(flow, &flow->refusal)) {
        leg_reset_origin(flow, fx);
        client_begin(flow, fx);
        return;
    }
    stage_enter(flow, &stage_tls_origin, flow_dial_timeout(flow));
    if (flow->origin.open)
        tls_origin_handshake(flow, fx);
    else if (flow->dialing)
        flow->phase = PHASE_DIAL;
    else {
        flow->phase = PHASE_DIAL;
        flow_dial(flow, fx);
    }
    flow_read(flow, SIDE_CLIENT, true); /* to notice that it left */
}

static void origin_dialed(struct flow *flow, struct effects *fx)
{
    flow->phase = PHASE_TLS_ORIGIN;
    tls_origin_handshake(flow, fx);
}

static void origin_dial_failed(struct flow *flow, struct effects *fx, const struct input *input)
{
    refusal_dial(&flow->refusal, input);
    client_begin(flow, fx);
}

static void origin_secured(struct flow *flow, struct effects *fx, enum side side)
{
    (void)side;
    tls_origin_secured(flow);
    client_begin(flow, fx);
}

static void origin_tls_failed(struct flow *flow, struct effects *fx, enum side side)
{
    (void)side;
    if (tls_origin_failed(flow, fx))
        client_begin(flow, fx);
}

static void origin_timer(struct flow *flow, struct effects *fx)
{
    if (!flow->origin.tls) {
        struct input late = {.failure = DIAL_FAILURE_TIMEOUT, .detail = "ETIMEDOUT"};
        leg_reset_origin(flow, fx);
        origin_dial_failed(flow, fx, &late);
        return;
    }
    session_timed_out(flow->origin.tls);
    origin_tls_failed(flow, fx, SIDE_ORIGIN);
}

static void origin_stage_data(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n)
{
    if (side == SIDE_CLIENT && flow_hold(flow, p, n) < 0)
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
}

static void origin_stage_ended(struct flow *flow, struct effects *fx, enum side side, int error)
{
    (void)error;
    if (side == SIDE_CLIENT)
        flow_close_phase(flow, fx, CLOSE_CLIENT_ABORTED);
}

const struct stage stage_tls_origin = {
    .phase = PHASE_TLS_ORIGIN,
    .data = origin_stage_data,
    .ended = origin_stage_ended,
    .dialed = origin_dialed,
    .dial_failed = origin_dial_failed,
    .secured = origin_secured,
    .tls_failed = origin_tls_failed,
    .timer = origin_timer,
};

/* ---- the client ---- */

static struct leaf *pick_leaf(struct flow *flow)
{
    if (flow->fixed_leaf)
        return flow->fixed_leaf;
    struct soth_span host = flow->sni ? soth_span(flow->sni) : remap_named(flow);
    struct leaf *leaf = leaf_get(flow->env->authority, host, (int64_t)(flow->env->bus->unix_ms / 1000), &flow->cache_hit);
    if (flow->cache_hit)
        flow->env->counters->leaf_hits++;
    else
        flow->env->counters->leaf_misses++;
    return leaf;
}

/* Rewrites the hello at the front of `bytes` into one record; what follows it stays. */
static void join_records(struct buffer *bytes, size_t hello_size)
{
    struct buffer one = {0};
    if (hello_rerecord(buffer_data(bytes), hello_size, &one) < 0 ||
        buffer_append(&one, buffer_data(bytes) + hello_size, buffer_size(bytes) - hello_size) < 0) {
        buffer_fini(&one);
        return;
    }
    buffer_fini(bytes);
    *bytes = one;
}

void tls_client_begin(struct flow *flow, struct effects *fx)
{
    stage_enter(flow, &stage_tls_client, flow->env->settings->tls_handshake_timeout);
    flow->cache_hit = -1;
    struct leaf *leaf = pick_leaf(flow);
    struct soth_span alpn = soth_span(alpn_for_client(flow));
    if (leaf)
        flow->client.tls = session_server_new(leaf, flow->env->tickets, flow->sni ? soth_span(flow->sni) : (struct soth_span){"", 0}, alpn,
                                              flow->env->settings->tls_profile);
    if (leaf != flow->fixed_leaf)
        leaf_put(leaf);
    if (!flow->client.tls) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "cannot make a leaf certificate");
        return;
    }
    session_log_keys(flow->client.tls, flow->env->keylog);
    session_output(flow->client.tls, fx->out[SIDE_CLIENT]);
    emit_tls_started(flow, SIDE_CLIENT);
    flow->client.bytes -= buffer_size(&flow->held); /* what they were is known inside TLS */
    flow_read(flow, SIDE_CLIENT, true);
    struct buffer hello = flow->held;
    flow->held = (struct buffer){0};
    if (flow->hello && flow->hello->records > 1) /* the library reads a hello from one record only */
        join_records(&hello, flow->hello->bytes);
    leg_receive(flow, fx, SIDE_CLIENT, buffer_data(&hello), buffer_size(&hello));
    buffer_fini(&hello);
}

static void client_secured(struct flow *flow, struct effects *fx, enum side side)
{
    if (side != SIDE_CLIENT)
        return;
    emit_tls_succeeded(flow, SIDE_CLIENT, flow->cache_hit);
    if (!(flow->env->hooks & (SOTH_HOOK_REQUEST | SOTH_HOOK_RESPONSE | SOTH_HOOK_FRAME))) { /* nobody asks for it again */
        free(flow->hello);
        flow->hello = NULL;
    }
    if (alpn_is_h2(flow->client.tls)) {
        h2_begin(flow, fx);
        return;
    }
    http_begin(flow, fx);
    if (!flow->closing)
        flow_deliver_held(flow, fx);
}

void tls_client_failed(struct flow *flow, struct effects *fx)
{
    static const uint8_t handshake_failure[] = {0x15, 3, 3, 0, 2, 2, 40};
    struct tls_failure failure;
    char detail[64];
    session_failure(flow->client.tls, &failure);
    if (!failure.facts.eof && !failure.facts.timeout && session_is_silent(flow->client.tls)) { /* the library gave up without a word */
        buffer_append(fx->out[SIDE_CLIENT], handshake_failure, sizeof handshake_failure);
        failure.facts.alert_tx = handshake_failure[6];
    }
    emit_tls_failed(flow, SIDE_CLIENT, &failure);
    snprintf(detail, sizeof detail, "downstream:%s", tls_reason_name(failure.reason));
    fx->linger = true;
    flow_close(flow, fx, CLOSE_TLS_HANDSHAKE_FAILED, detail);
}

static void client_tls_failed(struct flow *flow, struct effects *fx, enum side side)
{
    if (side == SIDE_CLIENT)
        tls_client_failed(flow, fx);
    else
        (void)tls_origin_failed(flow, fx); /* the origin refused us late: the first request is told */
}

static void client_timer(struct flow *flow, struct effects *fx)
{
    session_timed_out(flow->client.tls);
    tls_client_failed(flow, fx);
}

/* An origin that speaks or leaves before it was asked anything is not used. In HTTP/2 it speaks: its settings wait for the client. */
static void client_stage_data(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n)
{
    if (side != SIDE_ORIGIN)
        return;
    flow_read(flow, SIDE_ORIGIN, false);
    if (!alpn_is_h2(flow->origin.tls) || buffer_size(&flow->held_origin) + n > EARLY_MOST || buffer_append(&flow->held_origin, p, n) < 0)
        leg_reset_origin(flow, fx);
}

static void client_stage_ended(struct flow *flow, struct effects *fx, enum side side, int error)
{
    (void)error;
    if (side == SIDE_ORIGIN)
        leg_reset_origin(flow, fx);
    else
        flow_close_phase(flow, fx, CLOSE_CLIENT_ABORTED);
}

const struct stage stage_tls_client = {
    .phase = PHASE_TLS_CLIENT,
    .data = client_stage_data,
    .ended = client_stage_ended,
    .secured = client_secured,
    .tls_failed = client_tls_failed,
    .timer = client_timer,
};
