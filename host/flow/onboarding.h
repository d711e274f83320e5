/* SPDX-License-Identifier: MPL-2.0 */
/*
 * http://soth.mitm/: a request that comes through the proxy and goes to this name is answered by the proxy itself with its CA's certificates and
 * how clients come to trust them. The name is decided about like any other, and blocked where a policy blocks it; it is never looked up and never
 * dialled.
 */
#ifndef HOST_FLOW_ONBOARDING_H
#define HOST_FLOW_ONBOARDING_H

#include "host/flow/exchange.h"

#define ONBOARDING_HOST "soth.mitm"

/* Does the flow, as it stands, go there? Not behind reverse listeners, whose clients do not name their target. */
bool onboarding_target(const struct flow *flow);
/* Answers the request at hand. */
void onboarding_answer(struct flow *flow, struct effects *fx, const struct message *msg, struct soth_span origin_form);

/* onboarding_page.c: HTML of these certificates; text from outside is escaped. */
void onboarding_page(struct buffer *out, const struct ca_certificates *list);

#endif
