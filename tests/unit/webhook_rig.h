/* SPDX-License-Identifier: MPL-2.0 */
/* For tests of policy_webhook: an instance, the decision service that it asks, and questions of flows. */
#ifndef TESTS_UNIT_WEBHOOK_RIG_H
#define TESTS_UNIT_WEBHOOK_RIG_H

#include "decider.h"
#include "policy_host.h"

#define SECOND UINT64_C(1000000000)

extern struct fake_instance hook_policy;
extern struct decider *hook_decider;
extern struct soth_connect hook_connect;
extern struct soth_decision hook_decision; /* the last one */

/* Setup and teardown of a test. */
int hook_begin(void **state);
int hook_end(void **state);
void hook_open_with(const char *url, const char *more);
void hook_open(const char *more); /* with the service's own URL */

/* One flow's question about a path, answered; a flow that has asked, whose hook said `wanted`; goes on with it, and ends it. */
int hook_ask(const char *path);
struct soth_flow *hook_asking(const char *path, int wanted);
int hook_answered(struct soth_flow *flow, const char *path);

void hook_is_blocked(int r, const char *reason, const char *rule_id);
void hook_begins(const char *text, const char *with);
uint64_t hook_outcome(const char *label); /* of the counter of questions */

#endif
