/* SPDX-License-Identifier: MPL-2.0 */
/* See breaker.h. */
#include "host/module/breaker.h"

#include "host/event/bus.h"
#include "host/log.h"

static const char *consequence(const struct instance *instance)
{
    if (instance->module.kind == SOTH_KIND_DECODER)
        return instance->closed_on_error ? "closed: what it should see is closed" : "open: it is detached";
    return instance->closed_on_error ? "closed: what it should judge is blocked" : "open: it is left out";
}

void breaker_tell(struct instance *instance, const char *hook, const char *what)
{
    if (instance->registry->bus)
        bus_fault(instance->registry->bus, instance->conf->name, hook, what);
}

void breaker_failed(struct instance *instance, const char *hook, const char *code)
{
    const char *name = instance->conf->name, *too_often = "failed too often and is not called any more";
    unsigned before = atomic_fetch_add_explicit(&instance->failures, 1, memory_order_relaxed);
    if (before == 0) {
        log_at(SOTH_LOG_ERROR, "%s: failed (hook %s%s%s); on_error is %s", name, hook, code ? ", " : "", code ? code : "", consequence(instance));
        breaker_tell(instance, hook, code ? code : "failed");
    }
    if (before + 1 == INSTANCE_MAX_FAILURES) {
        log_at(SOTH_LOG_ERROR, "%s: %s (hook %s); on_error is %s", name, too_often, hook, consequence(instance));
        breaker_tell(instance, hook, too_often);
    }
}
