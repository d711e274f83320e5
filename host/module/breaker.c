/* SPDX-License-Identifier: MPL-2.0 */
/* See breaker.h. */
#include "host/module/breaker.h"

#include "host/event/bus.h"
#include "host/log.h"

static const char *consequence(const struct instance *instance)
{
    if (!instance->closed_on_error)
        return "open: it is left out";
    return instance->module.kind == SOTH_KIND_SINK ? "closed: new flows are answered 503" : "closed: what it should judge is blocked";
}

static void tell(struct instance *instance, const char *hook, const char *what)
{
    log_at(SOTH_LOG_ERROR, "%s: %s (hook %s); on_error is %s", instance->conf->name, what, hook, consequence(instance));
    if (instance->registry->bus)
        bus_fault(instance->registry->bus, instance->conf->name, hook, what);
}

void breaker_failed(struct instance *instance, const char *hook)
{
    unsigned before = atomic_fetch_add_explicit(&instance->failures, 1, memory_order_relaxed);
    if (before == 0)
        tell(instance, hook, "failed");
    if (before + 1 == INSTANCE_MAX_FAILURES)
        tell(instance, hook, "failed too often and is not called any more");
}

void breaker_dead(struct instance *instance, const char *hook)
{
    if (atomic_exchange_explicit(&instance->failures, INSTANCE_MAX_FAILURES, memory_order_relaxed) < INSTANCE_MAX_FAILURES)
        tell(instance, hook, "says that it will never work again and is switched off");
}
