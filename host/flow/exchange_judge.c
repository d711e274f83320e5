/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The judgement of a request: in steps, so that a module may keep it waiting between any two. What modules change comes first, then the
 * target where it is new, then the names, then the request itself. Nothing goes to an origin from here.
 */
#include <string.h>

#include "host/flow/exchange.h"

static struct soth_span target_name(const struct flow *flow)
{
    return (struct soth_span){flow->target.host, flow->target.host_len};
}

enum { STEP_BEGIN, STEP_TARGET, STEP_HELLO, STEP_NAMES, STEP_TELL, STEP_REQUEST, STEP_DONE };

static enum decision answered(struct flow *flow, struct effects *fx, const struct refusal *why)
{
    exchange_answer(flow, fx, why);
    return DECISION_REFUSED;
}

/* A module that had to change the request could not, and is closed on error. */
static enum decision remap_failed(struct flow *flow, struct effects *fx, const struct message *msg, const struct head *head,
                                  const struct verdict *v)
{
    struct refusal why;
    if (flow->proxy_requests) {
        flow->target = head->target;
        flow->verdict = *v;
        emit_connect_received(flow);
        emit_connect_decision(flow);
    }
    emit_request_headers(flow, msg, head->authority, head->origin_form);
    if (!flow->proxy_requests)
        emit_decision(flow, SOTH_EV_REQUEST_DECISION, v);
    decide_refuse_message(v, &why);
    return answered(flow, fx, &why);
}

/* What modules want to be different, before anybody looks. */
enum decision exchange_remap(struct flow *flow, struct effects *fx, const struct message *msg, struct head *head)
{
    struct exchange *ex = &flow->exchange;
    struct verdict v;
    head->named_form = head->origin_form;
    if (ex->step == STEP_BEGIN) {
        if (remap_request(flow, msg, head, &v) == DECISION_REFUSED)
            return remap_failed(flow, fx, msg, head, &v);
        ex->step = STEP_TARGET;
    }
    if (!flow->wish.any)
        return DECISION_GO;
    if (flow->wish.path)
        head->origin_form = soth_span(flow->wish.path);
    const struct target from = head->target;
    if (!remap_parse(&flow->wish, &from, &head->target))
        return DECISION_GO;
    ex->remapped = true;
    head->host = exchange_authority_text(&head->target, flow->proxy_requests || !flow->origin_tls ? 80 : 443, head->mapped, sizeof head->mapped);
    if (flow->proxy_requests)
        head->authority = head->host;
    return DECISION_GO;
}

/* The target of this request, judged: the policies' answer to one that no CONNECT has named. */
static enum decision judge_new_target(struct flow *flow, const struct message *msg)
{
    struct exchange *ex = &flow->exchange;
    if (ex->step <= STEP_HELLO) {
        ex->judged = decide_target(flow, ex->step == STEP_HELLO);
        if (ex->judged == DECISION_WAIT)
            return ex->judged;
        if (ex->judged == DECISION_HELLO && ex->step != STEP_HELLO) {
            ex->step = STEP_HELLO;
            return judge_new_target(flow, msg);
        }
        ex->step = STEP_NAMES;
    }
    return ex->judged == DECISION_REFUSED ? DECISION_REFUSED : DECISION_GO;
}

/* A Host that names somebody else is replaced by the target, but a blocked name stays blocked. */
static enum decision judge_replaced_host(struct flow *flow, const struct message *msg)
{
    struct verdict verdict = flow->verdict;
    if (!msg->host.p || target_same_host(msg->host, target_name(flow)))
        return DECISION_GO;
    enum decision d = decide_identity(flow, SOTH_ID_AUTHORITY, msg->host);
    if (d != DECISION_REFUSED || flow->refusal.is_policy)
        return d;
    flow->verdict = verdict;
    flow->refusal = (struct refusal){0};
    return DECISION_GO;
}

/* The decision about an absolute-form target, before any look-up. */
static enum decision judge_target(struct flow *flow, struct effects *fx, const struct message *msg, const struct head *head)
{
    struct exchange *ex = &flow->exchange;
    if (ex->step == STEP_TARGET && !ex->told) {
        ex->told = flow->decision_due = true;
        emit_connect_received(flow);
        flow->refusal = (struct refusal){0};
        flow->mismatch = NULL;
    }
    enum decision d = judge_new_target(flow, msg);
    if (d == DECISION_GO)
        d = judge_replaced_host(flow, msg);
    if (d == DECISION_WAIT)
        return d;
    emit_connect_decision(flow);
    emit_request_headers(flow, msg, head->authority, head->origin_form);
    if (d != DECISION_REFUSED)
        return DECISION_GO;
    struct refusal why = flow->refusal;
    flow->refusal = (struct refusal){0};
    if (why.is_policy) /* a block of one request: the next one may have another target */
        why.code = CLOSE_NONE;
    return answered(flow, fx, &why);
}

/* A refusal of one request in a connection that as such was let through. */
static enum decision refused_here(struct flow *flow, struct effects *fx, const struct verdict *before)
{
    struct refusal why = flow->refusal;
    struct verdict judged = flow->verdict;
    flow->verdict = *before;
    flow->refusal = (struct refusal){0};
    emit_decision(flow, SOTH_EV_REQUEST_DECISION, &judged);
    if (why.is_policy || flow->exchange.remapped)
        why.code = CLOSE_NONE;
    return answered(flow, fx, &why);
}

/* Inside an interception or behind a reverse listener: the Host field is one more name of the connection. */
static enum decision judge_host(struct flow *flow, struct effects *fx, const struct head *head)
{
    bool reverse = flow->listen->mode == LISTEN_REVERSE;
    struct soth_span reference = flow->sni && (reverse || flow->target.addr.family) ? soth_span(flow->sni) : remap_named(flow);
    if (target_same_host(head->authority, reference))
        return DECISION_GO;
    struct verdict verdict = flow->verdict;
    bool nothing_to_compare = !flow->sni && (reverse || flow->target.addr.family);
    flow->mismatch = NULL;
    enum decision d = decide_identity(flow, SOTH_ID_AUTHORITY, head->authority);
    if (d == DECISION_WAIT)
        return d;
    if (d == DECISION_REFUSED && (!nothing_to_compare || flow->refusal.is_policy))
        return refused_here(flow, fx, &verdict);
    struct verdict audited = {.action = SOTH_ALLOW, .reason = "authority_mismatch", .policy_module = ""};
    if (flow->mismatch && !nothing_to_compare) /* connect_decision is past: this is where audit can tell */
        emit_decision(flow, SOTH_EV_REQUEST_DECISION, &audited);
    flow->verdict = verdict;
    flow->refusal = (struct refusal){0};
    return DECISION_GO;
}

static enum decision judge_authority(struct flow *flow, struct effects *fx, const struct message *msg, const struct head *head)
{
    struct exchange *ex = &flow->exchange;
    if (!ex->told) {
        ex->told = true;
        emit_request_headers(flow, msg, head->authority, head->origin_form);
        if (flow->refusal.status)
            return answered(flow, fx, &flow->refusal);
    }
    if (ex->remapped && ex->step <= STEP_HELLO) {
        struct verdict verdict = flow->verdict;
        enum decision d = judge_new_target(flow, msg);
        if (d == DECISION_WAIT)
            return d;
        if (d == DECISION_REFUSED)
            return refused_here(flow, fx, &verdict);
        flow->verdict = verdict;
    }
    return judge_host(flow, fx, head);
}

enum decision exchange_judge(struct flow *flow, struct effects *fx, const struct message *msg, const struct head *head)
{
    struct exchange *ex = &flow->exchange;
    struct refusal why;
    if (ex->step < STEP_REQUEST) {
        enum decision d = flow->proxy_requests ? judge_target(flow, fx, msg, head) : judge_authority(flow, fx, msg, head);
        if (d != DECISION_GO)
            return d;
        ex->step = STEP_REQUEST;
    }
    enum decision d = decide_request(flow, msg, head->origin_form, &why);
    return d == DECISION_REFUSED ? answered(flow, fx, &why) : d;
}
