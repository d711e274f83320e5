/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Where the request of a stream goes: into the one connection to the origin that its siblings use, when that speaks HTTP/2 and takes it;
 * else the stream makes a connection of its own.
 */
#include <stdlib.h>
#include <string.h>

#include "host/flow/opening.h"
#include "host/flow/stream.h"
#include "host/http/websocket.h"

static bool same_target(const struct target *a, const struct target *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

bool stream_shares(const struct flow *flow)
{
    const struct flow *line = flow->parent;
    return line && !flow->own_origin && line->mux->kind != ORIGIN_H1 && same_target(&flow->target, &line->target);
}

/* Nobody has told: inside a CONNECT, or behind a reverse listener, a client that began HTTP/2 without asking knows its origin. What a proxy
 * itself was told says nothing about origins. */
bool stream_knows_h2(const struct flow *flow)
{
    const struct settings *s = flow->env->settings;
    const struct flow *line = flow->parent ? flow->parent : flow;
    if (!line->mux || !s->http2_enabled || s->upstream_http2 == UPSTREAM_HTTP2_NEVER || line->verdict.overrides & SOTH_OVERRIDE_DISABLE_H2)
        return false;
    if (s->upstream_http2 == UPSTREAM_HTTP2_ALWAYS)
        return true;
    return !line->proxy_requests && !line->client.tls && same_target(&flow->target, &line->target);
}

void stream_wait_for_room(struct flow *flow)
{
    if (!flow->waits_room)
        flow->phase = PHASE_CONNECT; /* whatever it waited for until now: the deadline is another one */
    flow->waits_room = true;
}

/* An origin that takes no streams at all is not ready yet; else others have to end, which they do by their responses' deadlines. */
uint64_t stream_room_timeout(const struct flow *flow)
{
    const struct h2 *h2 = stream_shares(flow) ? flow->parent->origin.h2 : flow->origin.h2;
    return h2 && h2_peer_max_streams(h2) > 0 ? flow->env->settings->response_header_timeout : flow_dial_timeout(flow);
}

void stream_connect(struct flow *flow, struct effects *fx)
{
    struct flow *line = flow->parent;
    flow->waits_line = false;
    if (line->origin.h2 && h2_is_leaving(line->origin.h2)) {
        flow->own_origin = true; /* it takes no more of them, those that it has go on */
        flow->waits_room = false;
        flow->phase = PHASE_CONNECT;
        exchange_connect(flow, fx);
        return;
    }
    if (!opening_may_share(flow, fx))
        return;
    if (line->origin.h2 && h2_can_open(line->origin.h2)) {
        exchange_origin_ready(flow, fx);
        return;
    }
    flow->waits_line = true;
    if (line->origin.h2) {
        stream_wait_for_room(flow);
        return;
    }
    flow->waits_room = false;
    line->mux->wants_origin = true;
    family_call(line);
}

bool stream_request(struct flow *flow, struct effects *fx)
{
    struct exchange *ex = &flow->exchange;
    struct flow *line = stream_shares(flow) ? flow->parent : flow;
    struct message *connect = ex->websocket ? websocket_to_connect(ex->outgoing) : NULL;
    const struct message *msg = connect ? connect : ex->outgoing;
    struct h2_request how = {
        .scheme = soth_span(flow->origin_tls ? "https" : "http"),
        .authority = msg->host,
        .target = msg->target,
        .protocol = soth_span(ex->websocket ? "websocket" : NULL),
        .reframe = ex->reframe,
        .end = ex->request_framing == FRAMING_NONE && !ex->websocket,
    };
    int32_t id = ex->websocket && !connect ? -SOTH_ENOMEM : h2_request(line->origin.h2, msg, &how, NULL);
    free(connect);
    if (id > 0 && strand_open(flow, SIDE_ORIGIN, line, id)) {
        h2_set_user(line->origin.h2, id, flow); /* not before: without memory the stream may outlive us */
        flow->strand[SIDE_ORIGIN]->ended = how.end;
        if (flow->priority)
            h2_priority(line->origin.h2, id, soth_span(flow->priority));
        if (line != flow)
            family_call(line);
        return true;
    }
    if (id > 0)
        h2_reset(line->origin.h2, id, H2_INTERNAL_ERROR);
    flow_cut(flow, fx, CLOSE_RELAY_ERROR, id > 0 || id == -SOTH_ENOMEM ? "ENOMEM" : "h2_request");
    return false;
}

/* ---- connections of HTTP/1 that go from stream to stream ---- */

struct flow_spare {
    struct leg leg;
    struct target target;
    bool tls;
};

bool stream_leaves_origin(const struct flow *flow)
{
    const struct exchange *ex = &flow->exchange;
    const struct leg *leg = &flow->origin;
    if (!flow->is_stream || !flow->parent || flow->parent->closing || !leg->open || !leg->h1 || leg->ended || leg->end_held)
        return false;
    return ex->active && ex->origin_keeps && ex->request == PART_DONE && ex->response == PART_DONE && ex->request_sent && !ex->remapped &&
           h1_idle(leg->h1) && buffer_size(&flow->held_origin) == 0;
}

struct flow_spare *flow_give_origin(struct flow *flow)
{
    struct flow_spare *spare = malloc(sizeof *spare);
    struct leg leg = flow->origin;
    flow->origin = (struct leg){.bytes = leg.bytes, .h2_no = leg.h2_no};
    flow_read(flow, SIDE_ORIGIN, false);
    if (!spare) {
        leg_fini(&leg);
        return NULL;
    }
    *spare = (struct flow_spare){.leg = leg, .target = flow->target, .tls = flow->origin_tls};
    spare->leg.used = leg.h1 != NULL;
    return spare;
}

bool flow_can_take(const struct flow *flow, const struct flow_spare *spare)
{
    return flow->origin_tls == spare->tls && same_target(&flow->target, &spare->target);
}

void flow_take_origin(struct flow *flow, struct flow_spare *spare)
{
    uint64_t bytes = flow->origin.bytes;
    uint32_t h2_no = flow->origin.h2_no;
    flow->origin = spare->leg;
    flow->origin.bytes = bytes;
    flow->origin.h2_no = h2_no;
    free(spare);
}

bool flow_spare_hears(struct flow_spare *spare, const uint8_t *p, size_t n)
{
    struct session *tls = spare->leg.tls;
    struct buffer answer = {0};
    uint8_t byte;
    if (!tls)
        return false;
    session_output(tls, &answer);
    session_feed(tls, p, n);
    bool quiet = session_read(tls, &byte, 1) == -SOTH_EAGAIN && session_unused(tls) == 0 && buffer_size(&answer) == 0;
    session_feed(tls, NULL, 0);
    session_output(tls, NULL); /* whoever takes it lends its own */
    buffer_fini(&answer);
    return quiet;
}

void flow_spare_free(struct flow_spare *spare)
{
    if (spare)
        leg_fini(&spare->leg);
    free(spare);
}

void *flow_parent_owner(const struct flow *flow)
{
    return flow->parent ? flow->parent->hooks.owner : NULL;
}
