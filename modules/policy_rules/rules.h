/* SPDX-License-Identifier: MPL-2.0 */
/* The configuration of policy_rules and what is made of it. Inside this module only. */
#ifndef POLICY_RULES_RULES_H
#define POLICY_RULES_RULES_H

#include <soth/sdk.h>

enum rule_action { ACTION_INTERCEPT, ACTION_TUNNEL, ACTION_BLOCK, ACTION_ALLOW };

struct rule { /* as configured; item of `rules` */
    const char *id;
    uint32_t action;
    struct soth_strings host, port, client, sni, alpn, ja4, method, path, grpc_service, grpc_method;
};

struct compiled {
    struct pattern_set *host, *sni;
    struct soth_addr *networks;
    uint32_t *bits;
    int counter, bypass_counter;
    uint8_t is_request, wants_hello;
};

struct policy {
    uint32_t default_action;
    struct soth_strings ignore_hosts, blocked_hosts;
    struct soth_list rules;
    const struct soth_host *host;
    struct pattern_set *ignored, *blocked;
    struct compiled *compiled;
    int count_blocked, count_ignored, count_default, count_bypassed, count_tunnelled;
    uint8_t has_request_rules;
};

static inline int is_request_rule(const struct rule *r)
{
    return r->method.n > 0 || r->path.n > 0 || r->grpc_service.n > 0 || r->grpc_method.n > 0;
}

/* What the option table cannot say: patterns, ids, what goes together. Says what is wrong with which key. Opens nothing. */
int rules_check(const struct soth_host *host, void *self);

#endif
