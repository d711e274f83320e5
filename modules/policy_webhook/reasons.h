/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The reasons that a service has given, each kept once and for good: they become rule_ids, which events and logs use for as long as a flow
 * lives. Bounded; a service that says something else each time is cut off. Not locked.
 */
#ifndef POLICY_WEBHOOK_REASONS_H
#define POLICY_WEBHOOK_REASONS_H

#include <soth/sdk.h>

struct reasons;

struct reasons *reasons_new(size_t most); /* different ones; NULL without memory */
void reasons_free(struct reasons *reasons);
/* The kept copy, good until reasons_free; absent for an empty one, without memory, and when there are too many. */
struct soth_span reasons_keep(struct reasons *reasons, struct soth_span text);

#endif
