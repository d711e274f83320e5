/* SPDX-License-Identifier: MPL-2.0 */
/* The opening of a WebSocket on its way between HTTP/1 and HTTP/2 (http/websocket.h). */
#ifndef HOST_FLOW_OPENING_H
#define HOST_FLOW_OPENING_H

#include "host/flow/exchange.h"

/* An extended CONNECT as the GET that everybody behind it gets to see; free() it. NULL: it is not relayed, and was answered. */
struct message *opening_of(struct flow *flow, struct effects *fx, const struct message *connect);
/* The request goes out: what the answer has to prove, or has to be proved to the client, is remembered. false: it was given up. */
bool opening_remember(struct flow *flow, struct effects *fx, const struct message *msg);
/* The connection to the origin is there: does it do for the request? false: it is waited for, or another one is made. */
bool opening_may_go(struct flow *flow, struct effects *fx);
/* The same of the connection that a stream would share; true also when there is none yet. */
bool opening_may_share(struct flow *flow, struct effects *fx);
/* Only HTTP/1 can be upgraded, but for WebSockets: before a connection is made, or used again. */
void opening_choose(struct flow *flow, struct effects *fx);

/* A 101; and what says the same over HTTP/2. */
void opening_switching(struct flow *flow, struct effects *fx, const struct message *msg);
void opening_connected(struct flow *flow, struct effects *fx, const struct message *msg);

#endif
