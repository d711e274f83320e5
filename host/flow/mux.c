/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A connection of HTTP/2 and its codec: bytes of either leg become events, each event goes to the flow whose stream it is about; frames
 * that are due become bytes. A stream that its client opens becomes a flow here.
 */
#include <stdio.h>

#include "host/flow/stream.h"

#define FRAMES_KEPT 256u

bool mux_open(struct flow *flow, enum side side)
{
    const struct settings *s = flow->env->settings;
    const uint32_t overrides = flow->verdict.overrides;
    struct leg *leg = leg_of(flow, side);
    const struct window_size *windows = windows_begin(flow, side);
    struct h2_limits limits = {
        .max_header_list = (uint32_t)s->http2_max_header_list_size,
        .max_concurrent_streams = (uint32_t)s->http2_max_concurrent_streams,
        .zero_window_ns = side == SIDE_CLIENT ? s->stream_stage_timeout * UINT64_C(1000000) : 0,
        .strict_responses = s->strict_header_mode,
        .held_in_all = &flow->env->counters->h2_body_bytes,
        .connect_protocol = true, /* WebSockets (opening.c) */
    };
    if (overrides & (SOTH_OVERRIDE_STRICT_HEADERS | SOTH_OVERRIDE_LENIENT_HEADERS))
        limits.strict_responses = overrides & SOTH_OVERRIDE_STRICT_HEADERS;
    limits.stream_window = windows->stream;
    limits.connection_window = windows->connection;
    leg->h2 = side == SIDE_CLIENT ? h2_new_server(&limits) : h2_new_client(&limits);
    leg->h2_no++;
    return leg->h2 != NULL;
}

/* A stream that nobody owns any more: its bytes are dropped, the connection goes on. */
static void nobody(struct h2 *h2, const struct h2_event *event)
{
    if (event->type == H2_BODY)
        h2_consume(h2, event->stream, event->data.n);
}

/* A request that was refused for its head: it was a stream, and ends as one, with its class. */
static void stillborn(struct flow *flow, const struct h2_event *event)
{
    struct flow *child = flow->mux->parting && !flow->mux->grace ? NULL : family_make(flow, event->stream);
    if (!child)
        return;
    if (!strand_open(child, SIDE_CLIENT, flow, event->stream)) {
        flow_forget(child);
        return;
    }
    flow->heard = flow->asked = true;
    family_join(flow, &child->kin);
    strand_event(child, SIDE_CLIENT, event);
    family_call(child);
}

static void open_stream(struct flow *flow, struct h2 *h2, const struct h2_event *event)
{
    struct kin *child = flow->mux->parting && !flow->mux->grace ? NULL : rest_begin(flow, event);
    flow->heard = flow->asked = true;
    if (!child) {
        h2_reset(h2, event->stream, H2_REFUSED_STREAM);
        return;
    }
    h2_set_user(h2, event->stream, child);
    family_call_kin(flow->env, child);
}

/* false: there is nobody any more. */
static bool tell(struct flow *flow, enum side side, const struct h2_event *event)
{
    struct kin *kin = event->user;
    struct flow *target = kin ? family_awake(kin) : NULL;
    if (kin && kin->rests) {
        if (rest_hears(kin, side, event))
            return true;
        target = rest_wake(kin);
    }
    if (!target)
        return false;
    strand_event(target, side, event);
    if (target != flow)
        family_call(target);
    return true;
}

static void goaway(struct flow *flow, enum side side)
{
    if (!flow->mux)
        return;
    if (side == SIDE_ORIGIN) {
        family_call_waiting(flow);
    } else {
        flow->mux->dismissed = true;
        family_call(flow); /* it may be the end */
    }
}

static void one_event(struct flow *flow, enum side side, struct h2 *h2, const struct h2_event *event)
{
    switch (event->type) {
    case H2_SETTINGS:
        if (side == SIDE_ORIGIN && flow->mux)
            family_call_waiting(flow);
        else if (side == SIDE_ORIGIN && exchange_waits(flow))
            family_call(flow);
        return;
    case H2_GOAWAY:
        goaway(flow, side);
        return;
    case H2_PONG:
        if (side == SIDE_CLIENT && flow->mux && flow->mux->grace) {
            flow->mux->grace = false;
            h2_goaway(h2, H2_GOAWAY_LAST, H2_NO_ERROR);
            family_call(flow); /* it may be the end */
        }
        return;
    default:
        break;
    }
    if (event->type == H2_HEAD && side == SIDE_CLIENT) {
        open_stream(flow, h2, event);
        return;
    }
    if (event->type == H2_CLOSED && event->unborn && side == SIDE_CLIENT)
        stillborn(flow, event);
    else if (!tell(flow, side, event))
        nobody(h2, event);
    if (event->type == H2_CLOSED && side == SIDE_ORIGIN && flow->mux)
        family_call_waiting(flow); /* there may be room for one more */
}

/* The codec has given up: what it has to say about it still leaves, then the connection goes. */
static void broken(struct flow *flow, struct effects *fx, enum side side)
{
    struct leg *leg = leg_of(flow, side);
    char fault[64];
    snprintf(fault, sizeof fault, "%s", h2_fault(leg->h2));
    h2_output(leg->h2, &leg->frames);
    leg_write(flow, fx, side, buffer_data(&leg->frames), buffer_size(&leg->frames));
    buffer_clear(&leg->frames);
    mux_lost(flow, side);
    if (side == SIDE_CLIENT) {
        fx->linger = true;
        flow_close(flow, fx, CLOSE_MITM_HTTP_ERROR, fault);
    } else if (flow->mux) {
        leg_finish(flow, fx, SIDE_ORIGIN);
        h2_origin_gone(flow, fx);
    } else if (exchange_waits(flow)) { /* for its settings */
        exchange_origin_broken(flow, fx, "http_protocol_error", fault);
    }
}

/* true: the codec goes on. */
static bool take(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n)
{
    struct h2_event event;
    struct h2 *h2 = leg_of(flow, side)->h2;
    for (;;) {
        ssize_t used = h2_take(h2, p, n, flow->env->bus->monotonic_ns, &event);
        if (used < 0) {
            broken(flow, fx, side);
            return false;
        }
        p += used;
        n -= (size_t)used;
        if (event.type == H2_NONE)
            return true;
        one_event(flow, side, h2, &event);
        if (flow->closing || leg_of(flow, side)->h2 != h2)
            return false;
    }
}

void mux_take(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n)
{
    if (leg_of(flow, side)->h2)
        take(flow, fx, side, p, n);
}

/* A burst makes it large; a connection that is silent then does not need it. */
static void frames_left(struct buffer *frames)
{
    if (frames->cap > FRAMES_KEPT)
        buffer_fini(frames);
    else
        buffer_clear(frames);
}

void mux_flush(struct flow *flow, struct effects *fx)
{
    struct h2 *origin = flow->mux && !flow->closing ? flow->origin.h2 : NULL;
    if (origin && h2_is_leaving(origin) && h2_stream_count(origin) == 0)
        h2_origin_gone(flow, fx); /* who comes next gets a connection that takes requests */
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++) {
        struct leg *leg = leg_of(flow, side);
        struct h2 *h2 = leg->h2;
        if (h2 && !flow->closing)
            windows_fit(flow, side);
        while (h2 && !flow->closing && leg->h2 == h2) {
            if (h2_output(h2, &leg->frames) < 0) {
                flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
                return;
            }
            leg_write(flow, fx, side, buffer_data(&leg->frames), buffer_size(&leg->frames));
            frames_left(&leg->frames);
            if (!h2_has_event(h2) || !take(flow, fx, side, (const uint8_t *)"", 0))
                break;
        }
    }
}

void mux_lost(struct flow *flow, enum side side)
{
    struct h2_event event;
    struct h2 *h2 = leg_of(flow, side)->h2;
    if (!h2)
        return;
    h2_lost(h2);
    while (h2_take(h2, (const uint8_t *)"", 0, flow->env->bus->monotonic_ns, &event) >= 0 && event.type != H2_NONE) {
        if (event.type == H2_CLOSED)
            tell(flow, side, &event);
    }
}
