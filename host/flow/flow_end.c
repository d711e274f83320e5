/* SPDX-License-Identifier: MPL-2.0 */
/* How a flow ends: the first who says so decides why, what was relayed is told before, peers are told in their protocol's words. */
#include <stdio.h>

#include "host/flow/stream.h"

/* A stream that has had its answer is not wanted any longer; any other end of it is a fault. */
static void leave_streams(struct flow *flow, enum close_code code)
{
    const struct strand *client = flow->strand[SIDE_CLIENT];
    bool gone = code == CLOSE_CLIENT_ABORTED || code == CLOSE_IDLE_WATCHDOG_TIMEOUT || code == CLOSE_SHUTDOWN_DRAIN;
    if (client)
        strand_drop(flow, SIDE_CLIENT, client->ended ? H2_NO_ERROR : gone || flow->exchange.upgraded ? H2_CANCEL : H2_INTERNAL_ERROR);
    strand_drop(flow, SIDE_ORIGIN, H2_CANCEL);
    family_orphan(flow);
}

/* The client of a connection of HTTP/2 is told that this is the end. */
static void say_goodbye(struct flow *flow, struct effects *fx, enum close_code code)
{
    struct h2 *h2 = flow->client.h2;
    if (!h2 || flow->closing)
        return;
    h2_goaway(h2, H2_GOAWAY_NOW, code == CLOSE_MITM_HTTP_ERROR || code == CLOSE_RELAY_ERROR ? H2_INTERNAL_ERROR : H2_NO_ERROR);
    h2_output(h2, &flow->client.frames);
    leg_write(flow, fx, SIDE_CLIENT, buffer_data(&flow->client.frames), buffer_size(&flow->client.frames));
    buffer_clear(&flow->client.frames);
}

/* What is due to an origin of HTTP/2 that is its own: the end of a stream was said, but not sent. */
static void flush_own_origin(struct flow *flow, struct effects *fx)
{
    struct leg *leg = &flow->origin;
    if (!leg->h2 || flow->mux || !leg->open)
        return;
    h2_output(leg->h2, &leg->frames);
    leg_write(flow, fx, SIDE_ORIGIN, buffer_data(&leg->frames), buffer_size(&leg->frames));
    buffer_clear(&leg->frames);
    leg_flush(flow, fx, SIDE_ORIGIN);
}

/* What the end of the connection means for a WebSocket. One whose peers have said good-bye is complete, however they hang up. */
static enum close_code close_of_ws(const struct flow *flow, enum close_code code, const char **detail)
{
    bool hung_up = code == CLOSE_RELAY_EOF || code == CLOSE_RELAY_ERROR, clean = flow->hooks.over && !flow->hooks.over_why;
    if ((clean && (hung_up || code == CLOSE_CLIENT_ABORTED)) || (code == CLOSE_RELAY_EOF && !flow->hooks.over)) {
        *detail = NULL;
        return CLOSE_WEBSOCKET_COMPLETED;
    }
    if (!hung_up && code != CLOSE_MITM_HTTP_ERROR)
        return code;
    *detail = *detail && **detail ? *detail : flow->hooks.over_why;
    return CLOSE_WEBSOCKET_ERROR;
}

static void close_once(struct flow *flow, struct effects *fx, enum close_code code, const char *detail)
{
    if (flow->closing)
        return;
    if (flow->refusal.status && code != CLOSE_SHUTDOWN_DRAIN) { /* also when its client never came to hear of it */
        code = flow->refusal.code;
        detail = flow->refusal.detail;
    }
    if (flow->source.protocol != SOTH_PROTO_TUNNEL) {
        emit_body(flow, SIDE_CLIENT);
        emit_body(flow, SIDE_ORIGIN);
    }
    chained_free(flow, code == CLOSE_RELAY_EOF);
    if (flow->hooks.protocol == SOTH_PROTO_WS)
        code = close_of_ws(flow, code, &detail);
    leave_streams(flow, code);
    flow->closing = true;
    flow->go_on = NULL;
    flow->close_code = code;
    if (detail && *detail)
        snprintf(flow->close_detail, sizeof flow->close_detail, "%s", detail);
    flow->state = FLOW_STREAM_CLOSING;
    stage_enter(flow, &stage_closing, 0);
    flow->deadline_ns = 0;
    flow_read(flow, SIDE_CLIENT, false);
    flow_read(flow, SIDE_ORIGIN, false);
    fx->close = true;
    fx->dial = false;
}

void flow_close(struct flow *flow, struct effects *fx, enum close_code code, const char *detail)
{
    if (flow->closing)
        return;
    say_goodbye(flow, fx, code);
    flush_own_origin(flow, fx);
    fx->flush_origin = flow->exchange.request == PART_DONE;
    fx->spare_origin = code == CLOSE_MITM_HTTP_COMPLETED && stream_leaves_origin(flow);
    if (!fx->spare_origin)
        leg_finish(flow, fx, SIDE_ORIGIN);
    leg_finish(flow, fx, SIDE_CLIENT);
    close_once(flow, fx, code, detail);
}

/* Where only the end of the connection ends a message, a plain FIN would make half of it look whole. TLS (no close_notify), lengths
 * and chunks show a cut by themselves. */
static bool cut_needs_reset(const struct flow *flow, enum close_code code)
{
    if (flow->source.protocol == SOTH_PROTO_TUNNEL || flow->exchange.upgraded)
        return code == CLOSE_RELAY_ERROR || code == CLOSE_CLIENT_ABORTED;
    return !flow->client.tls && flow->exchange.active && flow->exchange.response == PART_BODY &&
           flow->exchange.plan.framing == REWRITE_UNTIL_CLOSE;
}

void flow_cut(struct flow *flow, struct effects *fx, enum close_code code, const char *detail)
{
    if (flow->closing)
        return;
    bool reset = cut_needs_reset(flow, code);
    say_goodbye(flow, fx, code);
    close_once(flow, fx, code, detail);
    flush_own_origin(flow, fx); /* which hears of the reset of a stream: what is cut needs no broken connection to show it */
    fx->abort = reset && !(code == CLOSE_CLIENT_ABORTED && flow->origin.h2);
    leg_flush(flow, fx, SIDE_CLIENT); /* what was relayed before the cut still arrives */
}

void flow_close_phase(struct flow *flow, struct effects *fx, enum close_code code)
{
    flow_close(flow, fx, code, phase_name(flow->phase));
}

const struct stage stage_closing = {.phase = PHASE_IDLE};
