/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Modules with a rewrite hook change where a connection or a request goes and the fields of heads, before anybody judges them: what is
 * judged is what will happen. Names are compared with what the client named, though, not with what it was mapped to.
 */
#include <stdlib.h>
#include <string.h>

#include "host/flow/exchange.h"

static bool wanted(const struct flow *flow)
{
    return flow->env->hooks & SOTH_HOOK_REWRITE;
}

struct soth_span remap_named(const struct flow *flow)
{
    const struct target *own = flow->pinned ? flow->pinned : &flow->target;
    if (flow->named)
        return soth_span(flow->named);
    return (struct soth_span){own->host, own->host_len};
}

/* A wish over a target. false: it names no other one. */
bool remap_parse(const struct target_wish *wish, const struct target *from, struct target *out)
{
    const char *detail;
    *out = *from;
    if (wish->host_len && target_parse((struct soth_span){wish->host, wish->host_len}, true, from->port, out, &detail) != CONNECT_OK)
        *out = *from;
    out->port = wish->port ? wish->port : from->port;
    return out->port != from->port || strcmp(out->host, from->host) != 0;
}

static enum decision run(struct flow *flow, const struct soth_message *what, const struct message *msg, struct verdict *v)
{
    struct soth_flow *hooks = &flow->hooks;
    free(flow->wish.path);
    flow->wish = (struct target_wish){0};
    hooks->wish = what->direction == SOTH_TO_SERVER ? &flow->wish : NULL;
    hooks->message = msg;
    hooks->edit = msg ? &flow->exchange.edit : NULL;
    flow->env->rewrite(flow->env->policy, hooks, what, v);
    hooks->wish = NULL;
    hooks->message = NULL;
    return v->action == SOTH_BLOCK ? DECISION_REFUSED : DECISION_GO;
}

enum decision remap_connect(struct flow *flow, struct verdict *v)
{
    static const struct message none = {.is_request = true, .method = {"CONNECT", 7}};
    struct soth_message what;
    struct soth_connect connect;
    struct target authority, to;
    if (!wanted(flow))
        return DECISION_GO;
    decide_describe(flow, &none, &what, &connect, &authority);
    if (run(flow, &what, NULL, v) == DECISION_REFUSED)
        return DECISION_REFUSED;
    if (!flow->wish.any || !remap_parse(&flow->wish, &flow->target, &to))
        return DECISION_GO;
    flow->named = flow->named ? flow->named : strdup(flow->target.host);
    flow->target = to;
    flow_tell_target(flow);
    return DECISION_GO;
}

/* The target of an absolute-form request is not the flow's yet, and a request before this one may have gone elsewhere. */
static void describe_head(const struct head *head, struct soth_message *what, struct soth_connect *connect, struct target *authority)
{
    const char *detail;
    const struct target *host = &head->target;
    if (target_parse(head->authority, true, head->target.port, authority, &detail) == CONNECT_OK)
        host = authority;
    connect->host = (struct soth_span){host->host, host->host_len};
    connect->host_addr = host->addr;
    connect->port = head->target.port;
    what->target_host = (struct soth_span){head->target.host, head->target.host_len};
    what->target = head->origin_form;
}

enum decision remap_request(struct flow *flow, const struct message *msg, const struct head *head, struct verdict *v)
{
    struct soth_message what;
    struct soth_connect connect;
    struct target authority;
    flow->wish.any = false;
    if (!wanted(flow))
        return DECISION_GO;
    decide_describe(flow, msg, &what, &connect, &authority);
    describe_head(head, &what, &connect, &authority);
    return run(flow, &what, msg, v);
}

enum decision remap_response(struct flow *flow, const struct message *msg, struct verdict *v)
{
    struct soth_message what;
    struct soth_connect connect;
    struct target authority;
    if (!wanted(flow))
        return DECISION_GO;
    decide_describe(flow, msg, &what, &connect, &authority);
    exchange_of_response(flow, &what, &connect, &authority, true);
    return run(flow, &what, msg, v);
}
