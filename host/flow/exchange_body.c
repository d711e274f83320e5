/* SPDX-License-Identifier: MPL-2.0 */
/* What both halves of an exchange keep of a body: its beginning, while a policy wants to see that before it judges the head; its trailers. */
#include <stdlib.h>

#include "host/flow/exchange.h"
#include "host/http/edit.h"

bool exchange_peek(struct flow *flow, struct effects *fx, struct soth_span data, bool complete)
{
    struct peek *peek = &flow->exchange.peek;
    if (buffer_append(&peek->bytes, data.p, data.n) < 0) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return false;
    }
    peek->complete = complete;
    if (!complete && buffer_size(&peek->bytes) < peek->need)
        return false;
    peek->need = 0;
    return true;
}

void exchange_trailers(struct flow *flow, struct effects *fx, enum side side, const struct message *msg)
{
    struct exchange *ex = &flow->exchange;
    if (!ex->trailers[side] && !(ex->trailers[side] = message_copy(msg)))
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
}

void exchange_tell_end(struct flow *flow, enum side side)
{
    struct exchange *ex = &flow->exchange;
    emit_body_end(flow, side);
    if (!ex->trailers[side] || ex->told_trailers[side])
        return;
    ex->told_trailers[side] = true;
    emit_trailers(flow, side, ex->trailers[side]);
}

bool exchange_trailers_go(struct flow *flow, struct effects *fx, enum side side)
{
    struct exchange *ex = &flow->exchange;
    struct message *rest;
    if (!ex->changes[side] || !ex->trailers[side])
        return true;
    if (!(rest = message_copy_changed(ex->trailers[side]))) {
        flow_cut(flow, fx, CLOSE_RELAY_ERROR, "ENOMEM");
        return false;
    }
    free(ex->trailers[side]);
    ex->trailers[side] = rest;
    return true;
}
