/* SPDX-License-Identifier: MPL-2.0 */
/* What the parts of flow_driver.h have of each other: the flow and its effects, its streams, the peers, the policy. */
#ifndef TESTS_UNIT_FLOW_DRIVER_PRIVATE_H
#define TESTS_UNIT_FLOW_DRIVER_PRIVATE_H

#include "flow_driver.h"

/* The first promise that is not kept is the driver's fault. */
__attribute__((format(printf, 3, 4))) void driver_promise(struct driver *driver, bool kept, const char *format, ...);
void driver_inside(struct driver *driver, bool begins); /* around every call into a flow that may allocate */
void driver_take_events(struct driver *driver);         /* what the port holds: to the log, and to the watch of each one's flow */
void driver_end_fini(struct driver_end *end);
void driver_keep_sent(struct buffer *to, const struct effects *fx, enum side side);
bool driver_step_alone(struct driver *driver, struct input input); /* driver_step, without the flows that it called */

/* flow_driver_kin.c */
void driver_step_due(struct driver *driver); /* the flows that were called, until there are none */
void driver_kin_free(struct driver *driver, unsigned which);
void driver_kin_time(struct driver *driver); /* the deadlines of streams that have passed */
void driver_keep_spare(struct driver *driver, struct flow *flow, struct driver_end *end);

/* flow_driver_peer.c: its TLS reads what it was sent. */
void driver_peer_turn(struct driver *driver, enum side side);

/* flow_driver_policy.c: of struct flow_env. */
enum ask_result driver_ask(void *policy, struct soth_flow *flow, struct ask *ask, const struct question *q);
void driver_forget(void *policy, struct soth_flow *flow, struct ask *ask);
void driver_rewrite(void *policy, struct soth_flow *flow, const struct soth_message *message, struct verdict *out);

#endif
