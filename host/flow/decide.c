/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Every judgement about a flow, in the order of the contract ("When it is decided"): allow_clients, flow limit, deny_upstreams, then
 * the policies; and for each further name of the connection (SNI, Host) the policies again, then authority_mismatch. Results are the
 * flow's verdict and, when refused, its refusal. Nothing is sent and nothing is dialled here.
 */
#include <string.h>
#include <strings.h>

#include "host/flow/onboarding.h"
#include "host/flow/stage.h"

static void connect_input(const struct flow *flow, struct soth_connect *connect, bool has_hello)
{
    *connect = (struct soth_connect){
        .size = sizeof *connect,
        .identity = SOTH_ID_TARGET,
        .host = {flow->target.host, flow->target.host_len},
        .port = flow->target.port,
        .has_hello = has_hello,
        .client = flow->source.client_addr,
        .client_addr = flow->client_addr,
        .host_addr = flow->target.addr,
    };
    if (!has_hello)
        return;
    const struct hello *hello = flow->parent ? flow->parent->hello : flow->hello; /* a stream has its connection's */
    if (hello && hello->sni_len)
        connect->sni = (struct soth_span){hello->sni, hello->sni_len};
    else if (flow->sni)
        connect->sni = soth_span(flow->sni);
    if (hello && hello->alpn_text[0])
        connect->alpn = soth_span(hello->alpn_text);
    if (hello && hello->ja4[0])
        connect->ja4 = soth_span(hello->ja4);
}

static enum decision refuse(struct flow *flow, const char *reason, const char *error)
{
    flow->verdict = (struct verdict){.action = SOTH_BLOCK, .reason = reason, .policy_module = ""};
    refusal_set(&flow->refusal, 403, error, reason, CLOSE_BLOCKED, reason);
    return DECISION_REFUSED;
}

enum decision decide_refuse_by_policy(struct flow *flow, const struct verdict *v)
{
    flow->verdict = *v;
    refusal_set(&flow->refusal, 403, "http_request_denied", v->reason, CLOSE_BLOCKED, v->reason);
    flow->refusal.is_policy = true;
    flow->refusal.rule_id = v->rule_id;
    if (v->rule_id.n) {
        size_t n = v->rule_id.n < sizeof flow->refusal.detail ? v->rule_id.n : sizeof flow->refusal.detail - 1;
        memcpy(flow->refusal.detail, v->rule_id.p, n);
        flow->refusal.detail[n] = 0;
    }
    return DECISION_REFUSED;
}

/* false: it waits, or wants bytes of the body. */
__attribute__((warn_unused_result)) static bool ask(struct flow *flow, const struct question *q, struct verdict *v, enum decision *until)
{
    enum ask_result r = flow->env->ask(flow->env->policy, &flow->hooks, &flow->ask, q);
    *v = flow->ask.verdict;
    *until = r == ASK_BODY ? DECISION_BODY : DECISION_WAIT;
    return r == ASK_DONE;
}

__attribute__((warn_unused_result)) static bool ask_connect(struct flow *flow, const struct soth_connect *connect, struct verdict *v)
{
    struct question q = {.hook = SOTH_HOOK_CONNECT, .connect = connect};
    enum decision until;
    return ask(flow, &q, v, &until);
}

/* A connection to the unspecified address arrives at this machine: it is denied by that name, too. */
static bool is_denied(const struct settings *s, const struct soth_addr *addr)
{
    static const uint8_t nothing[sizeof addr->bytes];
    struct soth_addr loopback = {.family = addr->family};
    if (settings_cidr_match(s->deny, s->deny_count, addr))
        return true;
    if (memcmp(addr->bytes, nothing, sizeof nothing) != 0)
        return false;
    loopback.bytes[0] = addr->family == 4 ? 127 : 0;
    loopback.bytes[addr->family == 4 ? 3 : 15] = 1;
    return settings_cidr_match(s->deny, s->deny_count, &loopback);
}

enum decision decide_target(struct flow *flow, bool has_hello)
{
    const struct settings *s = flow->env->settings;
    /* family 0: a unix socket, whose file permissions say who may connect */
    if (flow->client_addr.family && !settings_cidr_match(s->allow, s->allow_count, &flow->client_addr))
        return refuse(flow, "client_not_allowed", "http_request_denied");
    if (flow->limit) {
        flow->verdict = (struct verdict){.action = SOTH_BLOCK, .reason = flow->limit, .policy_module = ""};
        refusal_set(&flow->refusal, 503, "proxy_internal_response", flow->limit, CLOSE_BUDGET_EXCEEDED, flow->limit);
        flow->refusal.retry_after = true;
        return DECISION_REFUSED;
    }
    if (flow->target.addr.family && is_denied(s, &flow->target.addr))
        return refuse(flow, "denied_upstream", "destination_ip_prohibited");
    if (flow->target.addr.family && flow->env->is_own(flow->env->dialer, &flow->target.addr, flow->target.port)) {
        flow->verdict = (struct verdict){.action = SOTH_BLOCK, .reason = "loop", .policy_module = ""};
        refusal_set(&flow->refusal, 508, "proxy_loop_detected", "loop", CLOSE_ROUTE_PLANNER_FAILED, "loop");
        return DECISION_REFUSED;
    }
    struct soth_connect connect;
    struct verdict v = {.policy_module = ""};
    connect_input(flow, &connect, has_hello);
    if (!ask_connect(flow, &connect, &v))
        return DECISION_WAIT;
    if (v.action == SOTH_BLOCK)
        return decide_refuse_by_policy(flow, &v);
    if (onboarding_target(flow) && !(v.needs_hello && !has_hello)) /* there is no origin that it could be tunnelled to */
        v = (struct verdict){.action = SOTH_INTERCEPT, .reason = "onboarding", .policy_module = ""};
    flow->verdict = v;
    return v.needs_hello && !has_hello ? DECISION_HELLO : DECISION_GO;
}

/* An address as target says nothing about names: a name beside it is audited, never refused. */
static enum decision mismatch(struct flow *flow, unsigned identity)
{
    if (flow->target.addr.family && flow->listen->mode == LISTEN_EXPLICIT && identity == SOTH_ID_SNI) {
        flow->mismatch = "audit";
        return DECISION_GO;
    }
    switch (flow->env->settings->authority_mismatch) {
    case MISMATCH_BLOCK:
        return refuse(flow, "authority_mismatch", "http_request_denied");
    case MISMATCH_AUDIT:
        flow->mismatch = "audit";
        return DECISION_GO;
    default:
        return DECISION_GO;
    }
}

enum decision decide_identity(struct flow *flow, unsigned identity, struct soth_span name)
{
    struct soth_connect connect;
    struct verdict v = {.policy_module = ""};
    struct target other;
    const char *detail;
    /* nobody is asked about this name again: the hello is there, or what a policy wants of it will not be. Else a rule that waits for it
     * would hide those behind it. */
    connect_input(flow, &connect, true);
    connect.identity = identity;
    connect.host = name;
    connect.host_addr = (struct soth_addr){0};
    if (target_parse(name, true, flow->target.port, &other, &detail) == CONNECT_OK) {
        connect.host = (struct soth_span){other.host, other.host_len};
        connect.host_addr = other.addr;
        connect.port = other.port;
    }
    if (!ask_connect(flow, &connect, &v))
        return DECISION_WAIT;
    if (v.action == SOTH_BLOCK && !v.is_default)
        return decide_refuse_by_policy(flow, &v);
    /* what was let through unread for the target's sake must be let through for this name too */
    if (flow->verdict.action == SOTH_TUNNEL && !flow->verdict.is_default && v.action == SOTH_TUNNEL && !v.is_default)
        return DECISION_GO;
    /* a reverse listener has no CONNECT target to compare with: names are compared with each other by the caller */
    if (flow->listen->mode == LISTEN_REVERSE && identity == SOTH_ID_SNI)
        return DECISION_GO;
    return mismatch(flow, identity);
}

/* ---- messages ---- */

static bool is_coded(struct soth_span content_encoding)
{
    static const char identity[] = "identity";
    size_t n = sizeof identity - 1;
    return content_encoding.n > 0 && (content_encoding.n != n || strncasecmp(content_encoding.p, identity, n) != 0);
}

void decide_describe(const struct flow *flow, const struct message *msg, struct soth_message *out, struct soth_connect *connect,
                     struct target *authority)
{
    const char *detail;
    connect_input(flow, connect, true);
    *out = (struct soth_message){
        .size = sizeof *out,
        .direction = msg->is_request ? SOTH_TO_SERVER : SOTH_TO_CLIENT,
        .connect = connect,
        .target_host = {flow->target.host, flow->target.host_len},
        .method = msg->method,
        .scheme = soth_span(flow_is_secure(flow) ? "https" : "http"),
        .status = msg->status,
        .field_count = msg->field_count,
        .fields = msg->fields,
        .coded = is_coded(msg->content_encoding),
    };
    if (msg->is_request && msg->host.p && target_parse(msg->host, true, flow->target.port, authority, &detail) == CONNECT_OK) {
        connect->host = (struct soth_span){authority->host, authority->host_len};
        connect->host_addr = authority->addr;
    }
}

void decide_refuse_message(const struct verdict *v, struct refusal *why)
{
    refusal_set(why, 403, "http_request_denied", v->reason, CLOSE_NONE, NULL);
    why->is_policy = true;
    why->rule_id = v->rule_id;
}

/* A message whose head is described, with what was kept of its body. no_more: none follows. */
static enum decision judge(struct flow *flow, const struct message *msg, uint32_t hook, struct soth_message *described, bool no_more, struct refusal *why)
{
    struct exchange *ex = &flow->exchange;
    struct question q = {.hook = hook, .message = described};
    struct verdict v;
    enum decision until;
    described->body = (struct soth_span){(const char *)buffer_data(&ex->peek.bytes), buffer_size(&ex->peek.bytes)};
    described->body_complete = ex->peek.complete || no_more;
    flow->hooks.message = msg;
    flow->hooks.edit = &ex->edit;
    bool done = ask(flow, &q, &v, &until);
    flow->hooks.message = NULL;
    if (!done)
        return until;
    if (*v.policy_module)
        emit_decision(flow, hook == SOTH_HOOK_REQUEST ? SOTH_EV_REQUEST_DECISION : SOTH_EV_RESPONSE_DECISION, &v);
    if (v.action != SOTH_BLOCK)
        return DECISION_GO;
    decide_refuse_message(&v, why);
    return DECISION_REFUSED;
}

enum decision decide_request(struct flow *flow, const struct message *msg, struct soth_span origin_form, struct refusal *why)
{
    struct soth_connect connect;
    struct soth_message request;
    struct target authority;
    if (!(flow->env->hooks & SOTH_HOOK_REQUEST))
        return DECISION_GO;
    decide_describe(flow, msg, &request, &connect, &authority);
    request.target = origin_form;
    return judge(flow, msg, SOTH_HOOK_REQUEST, &request, msg->framing == FRAMING_NONE, why);
}

enum decision decide_response(struct flow *flow, const struct message *msg, struct refusal *why)
{
    struct soth_connect connect;
    struct soth_message response;
    struct target authority;
    if (!(flow->env->hooks & SOTH_HOOK_RESPONSE))
        return DECISION_GO;
    decide_describe(flow, msg, &response, &connect, &authority);
    exchange_of_response(flow, &response, &connect, &authority, false);
    return judge(flow, msg, SOTH_HOOK_RESPONSE, &response, msg->framing == FRAMING_NONE || flow->exchange.head_method, why);
}
