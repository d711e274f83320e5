/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The content of messages in a flow's events, for sinks that asked for payload: as much of each body as the most curious of them gets, in
 * pieces as it comes, and heads with secrets redacted. Nothing is gathered. Where no sink asked it costs a load and a branch.
 */
#ifndef HOST_FLOW_PAYLOAD_H
#define HOST_FLOW_PAYLOAD_H

#include "host/flow/exchange.h"

/* Bytes of a body go on, through the decoders; then they are emitted with their content. */
void payload_capture(struct flow *flow, struct effects *fx, enum side side, struct soth_span data);
/* Bytes of a body that may be held back have come. */
void payload_late(struct flow *flow, struct effects *fx, enum side side, struct soth_span data);
/* They were relayed: emitted with their content, or counted for emit_body. */
void payload_relayed(struct flow *flow, enum side side, struct soth_span data);

/* Bytes of a body go on. Where nobody wants their content they are counted for emit_body. */
static inline void payload_body(struct flow *flow, struct effects *fx, enum side side, struct soth_span data)
{
    struct exchange *ex = &flow->exchange;
    if (ex->late[side]) {
        payload_late(flow, fx, side, data);
        return;
    }
    if (bus_captures(flow->env->bus, side == SIDE_CLIENT ? SOTH_EV_REQUEST_BODY_CHUNK : SOTH_EV_RESPONSE_BODY_CHUNK)) {
        payload_capture(flow, fx, side, data);
        return;
    }
    if (side == SIDE_ORIGIN || !ex->discard)
        chained_data(flow, fx, side, data);
    if (flow->closing) /* a decoder did not let them pass */
        return;
    if (side == SIDE_CLIENT)
        ex->request_chunk += data.n;
    else
        ex->response_chunk += data.n;
}

/* Overwrites the values of redact_keys in a text that is complete. */
void payload_mask(const struct flow *flow, char *p, size_t n);

/* Text that the attributes of one event point to, until the event is emitted. */
struct payload_head {
    struct buffer target, query, fields, all_fields;
};
#define PAYLOAD_HEAD_ATTRS 3u
/* The attributes `headers` and `query` of a head, into places of absent ones; `target` is a request's origin-form target, else absent. */
void payload_head(const struct flow *flow, unsigned kind, const struct message *msg, struct soth_span target, struct payload_head *text,
                  struct soth_attr attrs[PAYLOAD_HEAD_ATTRS]);
/* A target without its query and without user information. */
struct soth_span payload_target(struct soth_span target, struct payload_head *text);
void payload_head_fini(struct payload_head *text);

#endif
