/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Asking the policies and combining what they say: block beats tunnel beats intercept, an explicit decision beats a default. A policy
 * that fails counts as its on_error; one that fails again and again is not called any more.
 */
#include "host/event/bus.h"
#include "host/log.h"
#include "host/module/instance.h"
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

static void tell(struct instance *instance, const char *hook, const char *what)
{
    log_at(SOTH_LOG_ERROR, "%s: %s (hook %s); on_error is %s", instance->conf->name, what, hook,
           instance->closed_on_error ? "closed: what it should judge is blocked" : "open: it is left out");
    if (instance->registry->bus)
        bus_fault(instance->registry->bus, instance->conf->name, hook, what);
}

static void failed(struct verdict *out, struct instance *instance, const char *hook)
{
    unsigned before = atomic_fetch_add_explicit(&instance->failures, 1, memory_order_relaxed);
    if (before == 0)
        tell(instance, hook, "failed");
    if (before + 1 == INSTANCE_MAX_FAILURES)
        tell(instance, hook, "failed too often and is not asked any more");
    out_of_order(out, instance);
}

/* Too many failures in a row, for good. */
static bool is_out(struct verdict *out, const struct instance *instance)
{
    if (atomic_load_explicit(&instance->failures, memory_order_relaxed) < INSTANCE_MAX_FAILURES)
        return false;
    out_of_order(out, instance);
    return true;
}

/* A success ends the row. Nothing is written when there was none: the line is shared by all workers. */
static void went_well(struct instance *instance)
{
    unsigned failures = atomic_load_explicit(&instance->failures, memory_order_relaxed);
    if (failures > 0 && failures < INSTANCE_MAX_FAILURES)
        atomic_compare_exchange_strong(&instance->failures, &failures, 0);
}

static void nobody(struct verdict *out, uint32_t action)
{
    *out = (struct verdict){.action = action, .is_default = true, .reason = "default_intercept", .policy_module = ""};
}

void registry_decide_connect(struct registry *registry, const struct soth_connect *connect, struct verdict *out)
{
    nobody(out, SOTH_INTERCEPT);
    for (size_t i = 0; i < registry->n; i++) {
        struct instance *instance = registry->v[i];
        if (!(instance->hooks & SOTH_HOOK_CONNECT) || is_out(out, instance))
            continue;
        struct soth_decision d = {.size = sizeof d};
        int r = instance->module.connect(instance->self, connect, &d);
        if (r < 0 || (r == SOTH_DECIDED && d.action > SOTH_BLOCK)) {
            failed(out, instance, "connect");
            continue;
        }
        went_well(instance);
        if (r == SOTH_DECIDED)
            take(out, instance, &d);
        else if (r == SOTH_PEEK && !connect->has_hello)
            out->needs_hello = true;
    }
    if (!out->needs_hello || out->action != SOTH_BLOCK)
        return;
    bool may_change = out->is_default; /* nothing that the hello says undoes an explicit block */
    if (may_change)
        nobody(out, SOTH_INTERCEPT);
    out->needs_hello = may_change;
}

void registry_decide_request(struct registry *registry, const struct soth_request *request, struct verdict *out)
{
    nobody(out, SOTH_ALLOW);
    for (size_t i = 0; i < registry->n; i++) {
        struct instance *instance = registry->v[i];
        if (!(instance->hooks & SOTH_HOOK_REQUEST) || is_out(out, instance))
            continue;
        struct soth_decision d = {.size = sizeof d};
        int r = instance->module.request(instance->self, request, &d);
        if (r < 0 || (r == SOTH_DECIDED && d.action != SOTH_ALLOW && d.action != SOTH_BLOCK)) {
            failed(out, instance, "request");
            continue;
        }
        went_well(instance);
        if (r == SOTH_DECIDED)
            take(out, instance, &d);
    }
}
