/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Asking the policies and combining what they say: block beats tunnel beats intercept, an explicit decision beats a default. A policy
 * that fails counts as its on_error; one that fails again and again is not called any more.
 */
#include "host/flow/hook.h"
#include "host/module/breaker.h"
#include "host/module/instance.h"
#include "host/module/mailbox.h"
#include "host/module/registry.h"

/* SOTH_ALLOW < SOTH_INTERCEPT < SOTH_TUNNEL < SOTH_BLOCK */
static unsigned strength(uint32_t action)
{
    switch (action) {
    case SOTH_BLOCK:
        return 3;
    case SOTH_TUNNEL:
        return 2;
    case SOTH_INTERCEPT:
        return 1;
    default:
        return 0;
    }
}

static bool beats(const struct verdict *old, const struct soth_decision *d)
{
    if (!*old->policy_module)
        return true;
    if (old->is_default != (d->is_default != 0))
        return old->is_default;
    return strength(d->action) > strength(old->action);
}

static void take(struct verdict *out, const struct instance *instance, const struct soth_decision *d)
{
    if (d->overrides) {
        out->overrides |= d->overrides;
        out->override_rule_id = d->rule_id;
        out->override_pattern = d->override_pattern;
        if (d->action == SOTH_ALLOW) /* it has no opinion of its own */
            return;
    }
    if (!beats(out, d))
        return;
    out->action = d->action;
    out->is_default = d->is_default != 0;
    out->reason = d->reason ? d->reason : "rule";
    out->rule_id = d->rule_id;
    out->policy_module = instance->conf->name;
}

/* Its on_error decides, whatever it wanted to say. */
static void out_of_order(struct verdict *out, const struct instance *instance)
{
    if (!instance->closed_on_error)
        return;
    struct soth_decision closed = {.size = sizeof closed, .action = SOTH_BLOCK, .reason = "module_fault"};
    take(out, instance, &closed);
}

static void failed(struct verdict *out, struct instance *instance, const char *hook)
{
    breaker_failed(instance, hook, NULL);
    out_of_order(out, instance);
}

static bool is_out(struct verdict *out, const struct instance *instance)
{
    if (!breaker_is_open(instance))
        return false;
    out_of_order(out, instance);
    return true;
}

static void nobody(struct verdict *out, uint32_t hook)
{
    *out = (struct verdict){.action = hook == SOTH_HOOK_CONNECT ? SOTH_INTERCEPT : SOTH_ALLOW,
                            .is_default = true, .reason = "default_intercept", .policy_module = ""};
}

/* ---- one policy ---- */

static const char *hook_name(uint32_t hook)
{
    switch (hook) {
    case SOTH_HOOK_CONNECT:
        return "connect";
    case SOTH_HOOK_REQUEST:
        return "request";
    case SOTH_HOOK_RESPONSE:
        return "response";
    default:
        return "frame";
    }
}

static int call(struct instance *instance, struct soth_flow *flow, const struct question *q, struct soth_decision *d)
{
    switch (q->hook) {
    case SOTH_HOOK_CONNECT:
        return instance->module.connect(instance->self, flow, q->connect, d);
    case SOTH_HOOK_REQUEST:
        return instance->module.request(instance->self, flow, q->message, d);
    case SOTH_HOOK_RESPONSE:
        return instance->module.response(instance->self, flow, q->message, d);
    default:
        return instance->module.frame(instance->self, flow, q->frame, d);
    }
}

static bool allowed(uint32_t hook, const struct soth_decision *d)
{
    if (hook == SOTH_HOOK_CONNECT)
        return d->action <= SOTH_BLOCK || (d->action == SOTH_ALLOW && d->overrides);
    return d->action == SOTH_ALLOW || d->action == SOTH_BLOCK;
}

/* The pause is over. Was it not ended by a resume, its module hears that the token is dead. */
static void end_pause(struct ask *ask, struct instance *instance, struct soth_flow *flow)
{
    struct pause *pause = &ask->pause;
    bool waited = pause->state == PAUSE_WAITING || pause->state == PAUSE_LATE;
    if (waited || pause->state == PAUSE_TAKEN)
        mailbox_forget(flow->mailbox, flow->slot, pause->token.pause);
    if (waited && instance->module.cancel) {
        site_enter(instance, "cancel");
        instance->module.cancel(instance->self, pause->token);
        site_leave();
    }
    *pause = (struct pause){.state = PAUSE_NONE};
}

static void too_late(struct ask *ask, struct instance *instance)
{
    struct soth_decision closed = {.size = sizeof closed, .action = SOTH_BLOCK, .reason = "module_timeout"};
    if (!ask->pause.on_timeout)
        take(&ask->verdict, instance, &closed);
}

/* false: it waits. */
static bool wait_over(struct ask *ask, struct instance *instance, struct soth_flow *flow, uint32_t hook, int r)
{
    struct pause *pause = &ask->pause;
    if (r == SOTH_BUSY && pause->state == PAUSE_TAKEN) /* it has changed its mind */
        mailbox_forget(flow->mailbox, flow->slot, pause->token.pause);
    if (pause_begin(pause, r, flow->bus->monotonic_ns))
        return false;
    failed(&ask->verdict, instance, hook_name(hook));
    return true;
}

#define PEEK_MOST 65536u

static bool peeks_well(const struct soth_message *m, const struct soth_decision *d)
{
    return !m->body_complete && d->need_bytes > m->body.n && d->need_bytes <= PEEK_MOST;
}

static bool is_proper(const struct question *q, int r, const struct soth_decision *d)
{
    if (r == SOTH_DECIDED)
        return allowed(q->hook, d);
    if (r == SOTH_PEEK)
        return q->connect || (q->message && peeks_well(q->message, d));
    return r == SOTH_DETACH;
}

/* false: the question waits, *result says for what. */
static bool one(struct ask *ask, struct instance *instance, struct soth_flow *flow, const struct question *q, enum ask_result *result)
{
    struct soth_decision d = {.size = sizeof d};
    if (ask->pause.state == PAUSE_LATE) {
        too_late(ask, instance);
        return true;
    }
    flow->pause = flow->mailbox ? &ask->pause : NULL;
    site_enter(instance, hook_name(q->hook));
    int r = call(instance, flow, q, &d);
    site_leave();
    flow->pause = NULL;
    if (r == SOTH_CONTINUE) { /* nearly always */
        breaker_good(instance);
        return true;
    }
    if (r == SOTH_PAUSE || r == SOTH_BUSY) {
        *result = ASK_WAIT;
        return wait_over(ask, instance, flow, q->hook, r);
    }
    if (!is_proper(q, r, &d)) {
        failed(&ask->verdict, instance, hook_name(q->hook));
        return true;
    }
    breaker_good(instance);
    if (r == SOTH_DETACH)
        flow->detached |= UINT64_C(1) << (ask->next & 63);
    else if (r == SOTH_DECIDED)
        take(&ask->verdict, instance, &d);
    else if (r == SOTH_PEEK && q->connect && !q->connect->has_hello)
        ask->verdict.needs_hello = true;
    else if (r == SOTH_PEEK && q->message) {
        ask->need_bytes = d.need_bytes;
        *result = ASK_BODY;
        return false;
    }
    return true;
}

/* A block that is only a default may still change with the hello; an explicit one may not. */
static void settle_hello(struct verdict *v)
{
    bool may_change = v->is_default;
    if (!v->needs_hello || v->action != SOTH_BLOCK)
        return;
    if (may_change)
        nobody(v, SOTH_HOOK_CONNECT);
    v->needs_hello = may_change;
}

enum ask_result registry_ask(struct registry *registry, struct soth_flow *flow, struct ask *ask, const struct question *q)
{
    enum ask_result result = ASK_DONE;
    if (ask->hook == 0) {
        ask->hook = q->hook;
        ask->next = ask->need_bytes = 0;
        ask->with_body = false;
        nobody(&ask->verdict, q->hook);
        ask->pause = (struct pause){.state = PAUSE_NONE};
    }
    for (; ask->next < registry->n; ask->next++) {
        struct instance *instance = registry->v[ask->next];
        if (!(instance->hooks & q->hook) || (flow->detached >> (ask->next & 63)) & 1)
            continue;
        if (!is_out(&ask->verdict, instance) && !one(ask, instance, flow, q, &result))
            return result;
        if (ask->pause.state != PAUSE_NONE) /* also of one that was switched off while it waited */
            end_pause(ask, instance, flow);
    }
    settle_hello(&ask->verdict);
    ask->hook = 0;
    return ASK_DONE;
}

void registry_forget(struct registry *registry, struct soth_flow *flow, struct ask *ask)
{
    if (ask->hook && ask->next < registry->n)
        end_pause(ask, registry->v[ask->next], flow);
    ask->hook = 0;
}

void registry_rewrite(struct registry *registry, struct soth_flow *flow, const struct soth_message *message, struct verdict *out)
{
    nobody(out, SOTH_HOOK_REWRITE);
    for (size_t i = 0; i < registry->n; i++) {
        struct instance *instance = registry->v[i];
        if (!(instance->hooks & SOTH_HOOK_REWRITE) || (flow->detached >> (i & 63)) & 1 || is_out(out, instance))
            continue;
        site_enter(instance, "rewrite");
        int r = instance->module.rewrite(instance->self, flow, message);
        site_leave();
        if (r < 0)
            failed(out, instance, "rewrite");
        else
            breaker_good(instance);
        if (r == SOTH_DETACH)
            flow->detached |= UINT64_C(1) << (i & 63);
    }
}
