/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What an exchange says to its client and to its origin: heads, bodies, ends. Whether a peer is a connection of HTTP/1 or a stream of HTTP/2
 * is known here and below, not by the exchange.
 */
#ifndef HOST_FLOW_TALK_H
#define HOST_FLOW_TALK_H

#include "host/flow/stage.h"

/* To the origin. The head is exchange.outgoing; its body and trailers go in the framing that it announced. */
bool talk_request_head(struct flow *flow, struct effects *fx); /* false: it was given up */
void talk_request_body(struct flow *flow, struct effects *fx, struct soth_span data);
void talk_request_end(struct flow *flow, struct effects *fx, const struct message *trailers); /* NULL: none */

/* To the client. exchange.plan says how a final response is framed. */
void talk_interim(struct flow *flow, struct effects *fx, const struct message *msg);
void talk_switching(struct flow *flow, struct effects *fx, const struct message *msg); /* 101 */
void talk_response_head(struct flow *flow, struct effects *fx, const struct message *msg);
void talk_response_body(struct flow *flow, struct effects *fx, struct soth_span data);
void talk_response_end(struct flow *flow, struct effects *fx, const struct message *trailers);
void talk_reply(struct flow *flow, struct effects *fx, const struct reply *reply); /* one of our own, with its body and its end */
void talk_continue(struct flow *flow, struct effects *fx);                         /* 100, of our own */

/* Is there an origin that takes the rest of a request? */
bool talk_origin_listens(const struct flow *flow);

#endif
