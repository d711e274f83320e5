/* SPDX-License-Identifier: MPL-2.0 */
/*
 * While a module keeps a flow waiting nothing is read, so that who leaves meanwhile is only seen by the driver's watch (INPUT_HUNG_UP). The
 * question is given up then: its module hears `cancel`, and the flow ends or the client gets an answer of ours.
 */
#include <errno.h>

#include "host/flow/exchange.h"

#define GONE_GRACE_MS 5000 /* a client that ended its side may still read: it has left when nothing has come for it so long */

/* What the origin has sent of the response that is being judged can become no whole one: nothing more comes, and it is not all here. */
static bool response_is_lost(const struct flow *flow)
{
    const struct exchange *ex = &flow->exchange;
    const struct message *msg = ex->asked;
    uint64_t have = buffer_size(&ex->peek.bytes) + buffer_size(&flow->held_origin);
    if (flow->ask.hook != SOTH_HOOK_RESPONSE || !msg || ex->head_method || ex->peek.complete)
        return false;
    switch (msg->framing) {
    case FRAMING_LENGTH:
        return have < msg->content_length;
    case FRAMING_CHUNKED:
        return buffer_size(&flow->held_origin) == 0; /* else its end may be in there */
    case FRAMING_UNTIL_CLOSE:
        return true;
    default:
        return false;
    }
}

static void give_up(struct flow *flow)
{
    flow->env->forget(flow->env->policy, &flow->hooks, &flow->ask);
    flow_stop_waiting(flow);
    flow->gone_ns = 0;
}

static void response_lost(struct flow *flow, struct effects *fx)
{
    give_up(flow);
    buffer_fini(&flow->held_origin);
    exchange_drop_head(&flow->exchange);
    flow->exchange.response = PART_HEAD;
    exchange_origin_broken(flow, fx, "connection_terminated", "origin_truncated");
    if (!flow->closing)
        flow_deliver_held(flow, fx);
}

void flow_hung_up(struct flow *flow, struct effects *fx, enum side side, int error)
{
    if (!flow->go_on)
        return;
    if (side == SIDE_ORIGIN && error && response_is_lost(flow))
        response_lost(flow, fx);
    else if (side == SIDE_CLIENT && error)
        leg_transport_ended(flow, fx, SIDE_CLIENT, error);
    else if (side == SIDE_CLIENT)
        flow->gone_ns = flow->env->bus->monotonic_ns + GONE_GRACE_MS * UINT64_C(1000000);
}

void flow_client_gone(struct flow *flow, struct effects *fx)
{
    leg_transport_ended(flow, fx, SIDE_CLIENT, EPIPE);
}
