/* SPDX-License-Identifier: MPL-2.0 */
/* The combined answer of all policies to one question. Borrowed strings are configuration and outlive the flow. */
#ifndef HOST_FLOW_VERDICT_H
#define HOST_FLOW_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include <soth/sdk.h>

struct verdict {
    uint32_t action;  /* SOTH_INTERCEPT, SOTH_TUNNEL, SOTH_BLOCK; for requests SOTH_ALLOW, SOTH_BLOCK */
    bool is_default;  /* nothing matched */
    bool needs_hello; /* a policy wants the ClientHello first: ask again with it */
    const char *reason;
    struct soth_span rule_id;
    const char *policy_module; /* the deciding instance's name, "" when no policy had an opinion */
    uint32_t overrides;        /* SOTH_OVERRIDE_..., of whatever policy; meaningless with a block */
    struct soth_span override_rule_id, override_pattern;
};

#endif
