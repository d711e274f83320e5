/* SPDX-License-Identifier: MPL-2.0 */
/*
 * See opening.h. A client's extended CONNECT becomes a GET with Upgrade at the door, so that it is judged, reported and decoded as any other
 * WebSocket; which form its origin gets is decided when the connection to the origin is known.
 */
#include "host/flow/opening.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "host/flow/stream.h"
#include "host/http/websocket.h"

struct message *opening_of(struct flow *flow, struct effects *fx, const struct message *connect)
{
    uint8_t random[WEBSOCKET_RANDOM];
    char key[WEBSOCKET_KEY_SIZE];
    if (!websocket_is_named(connect->protocol)) { /* nobody would see what goes through */
        exchange_bad_request(flow, fx, 501, "connect_protocol");
        return NULL;
    }
    if (getrandom(random, sizeof random, 0) != sizeof random) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "EIO");
        return NULL;
    }
    websocket_key(random, key);
    struct message *get = websocket_from_connect(connect, key);
    if (!get)
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
    return get;
}

bool opening_remember(struct flow *flow, struct effects *fx, const struct message *msg)
{
    struct exchange *ex = &flow->exchange;
    char accept[WEBSOCKET_ACCEPT_SIZE];
    websocket_accept(message_field(msg, "sec-websocket-key", 0), accept);
    free(ex->accept);
    if ((ex->accept = strdup(accept)))
        return true;
    flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
    return false;
}

static bool speaks_h2(const struct flow *flow)
{
    return flow->origin.h2 || (flow->origin.open && alpn_is_h2(flow->origin.tls));
}

/* Another connection, on which HTTP/1 alone is offered. */
static void over_h1(struct flow *flow, struct effects *fx)
{
    flow->h1_only = true;
    if (speaks_h2(flow))
        leg_reset_origin(flow, fx);
}

void opening_choose(struct flow *flow, struct effects *fx)
{
    const struct exchange *ex = &flow->exchange;
    if (ex->wants_upgrade && !flow->h1_only && !(ex->websocket && (flow->is_stream || speaks_h2(flow))))
        over_h1(flow, fx);
}

bool opening_may_go(struct flow *flow, struct effects *fx)
{
    struct h2 *h2 = flow->origin.h2;
    if (!flow->exchange.wants_upgrade || !h2 || !exchange_waits(flow))
        return true;
    if (!h2_peer_settled(h2)) /* H2_SETTINGS calls the flow */
        return false;
    if (h2_peer_connect_protocol(h2))
        return true;
    over_h1(flow, fx);
    exchange_connect(flow, fx);
    return false;
}

bool opening_may_share(struct flow *flow, struct effects *fx)
{
    const struct h2 *h2 = flow->parent->origin.h2;
    if (!flow->exchange.wants_upgrade || !h2 || (h2_peer_settled(h2) && h2_peer_connect_protocol(h2)))
        return true;
    if (!h2_peer_settled(h2)) {
        flow->waits_line = true; /* H2_SETTINGS calls those who wait */
        return false;
    }
    flow->own_origin = flow->h1_only = true;
    exchange_connect(flow, fx);
    return false;
}

/* ---- the answer ---- */

void opening_switching(struct flow *flow, struct effects *fx, const struct message *msg)
{
    struct exchange *ex = &flow->exchange;
    if (!ex->wants_upgrade || msg->upgrade.p == NULL || ex->request != PART_DONE) {
        exchange_origin_broken(flow, fx, "http_protocol_error", "unrequested_upgrade");
        return;
    }
    if (ex->accept && !websocket_is_answer(msg, ex->accept)) {
        exchange_origin_broken(flow, fx, "http_protocol_error", "websocket_accept");
        return;
    }
    ex->response_begun = true;
    ex->upgraded = true;
    emit_response_headers(flow, msg, false);
    if (!chained_match(flow, fx, msg, (struct soth_span){NULL, 0}))
        return;
    talk_switching(flow, fx, msg);
}

void opening_connected(struct flow *flow, struct effects *fx, const struct message *msg)
{
    struct message *as = websocket_from_ok(msg, flow->exchange.accept);
    if (as)
        opening_switching(flow, fx, as);
    else
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
    free(as);
}
