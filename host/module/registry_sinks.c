/* SPDX-License-Identifier: MPL-2.0 */
/* The sinks of a registry and the bus: what a sink's thread calls, and which sinks come and go when a generation follows another. */
#include "host/event/bus.h"
#include "host/module/breaker.h"
#include "host/module/registry.h"

/* ---- on the sink's thread ---- */

/* A verdict that no sink has counts as one, too. */
static bool is_failure(int r)
{
    return r != SOTH_OK && r != SOTH_RETRY && r != SOTH_DROP && r != SOTH_DEAD;
}

/* The bus switches it off; here is kept what it looks like. */
static void note(struct instance *instance, int r)
{
    if (r == SOTH_OK)
        breaker_good(instance);
    if (is_failure(r) && atomic_fetch_add_explicit(&instance->failures, 1, memory_order_relaxed) + 1 < SINK_MAX_FAILURES)
        return;
    if (is_failure(r) || r == SOTH_DEAD)
        atomic_store_explicit(&instance->failures, INSTANCE_MAX_FAILURES, memory_order_relaxed);
}

static int sink_write(void *arg, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    struct instance *instance = arg;
    site_enter(instance, "write");
    int r = instance->module.write(instance->self, batch, done, retry_ms);
    site_leave();
    note(instance, r);
    if (instance->closed_on_error) /* what it should record does not happen while it cannot */
        instance_hold(instance, HOLD_FAILED, is_failure(r) || r == SOTH_DEAD);
    return r;
}

static int sink_flush(void *arg, uint32_t deadline_ms)
{
    struct instance *instance = arg;
    if (!instance->module.flush)
        return SOTH_OK;
    site_enter(instance, "flush");
    int r = instance->module.flush(instance->self, deadline_ms);
    site_leave();
    return r;
}

static int sink_reopen(void *arg)
{
    struct instance *instance = arg;
    if (!instance->module.reopen)
        return SOTH_OK;
    site_enter(instance, "reopen");
    int r = instance->module.reopen(instance->self);
    site_leave();
    return r;
}

static const struct bus_sink_ops sink_ops = {sink_write, sink_flush, sink_reopen};

/* ---- holding flows ---- */

static unsigned reasons(unsigned holds)
{
    return holds & HOLD_RETIRED ? 0 : holds & (HOLD_WISH | HOLD_FAILED);
}

/* Its own thread and the control thread may be at it together; it counts once, whatever its reasons. */
static void change_holds(struct instance *instance, unsigned set, unsigned clear)
{
    unsigned before = atomic_load(&instance->holds), after;
    do
        after = (before | set) & ~clear;
    while (!atomic_compare_exchange_weak(&instance->holds, &before, after));
    if (!reasons(before) != !reasons(after))
        atomic_fetch_add(&instance->registry->shared->held, reasons(after) ? 1 : -1);
}

void instance_hold(struct instance *instance, unsigned reason, bool on)
{
    if (!(atomic_load_explicit(&instance->holds, memory_order_relaxed) & reason) == !on)
        return;
    change_holds(instance, on ? reason : 0, on ? 0 : reason);
}

void instance_retire(struct instance *instance)
{
    change_holds(instance, HOLD_RETIRED, 0);
}

bool registry_flows_held(const struct registry_shared *shared)
{
    return atomic_load_explicit(&shared->held, memory_order_relaxed) > 0;
}

/* ---- which there are ---- */

static uint64_t subscription(const struct instance *instance)
{
    uint64_t kinds = 0;
    for (size_t i = 0; i < instance->conf->events.n; i++)
        kinds |= event_kinds_by_name(soth_span(instance->conf->events.v[i]));
    if (instance->conf->events.n == 0)
        kinds = event_group_kinds(instance->module.events ? instance->module.events : SOTH_GROUP_ALL);
    return kinds & ~UINT64_C(1);
}

static int change_add(struct bus_change *change, struct instance *instance)
{
    const struct conf_module *conf = instance->conf;
    struct bus_queue_config queue = {.max_events = conf->queue.max_events, .max_bytes = conf->queue.max_bytes, .on_full = conf->queue.on_full,
                                     .payload = conf->payload_bytes, .acks = (instance->module.flags & SOTH_SINK_ASYNC_ACK) != 0};
    return bus_change_add(change, conf->name, instance->module.name, instance, &sink_ops, subscription(instance), &queue);
}

int registry_change_sinks(struct registry *registry, struct registry *previous, struct bus_change *change)
{
    int r = SOTH_OK;
    for (size_t i = 0; r == SOTH_OK && previous && i < previous->n; i++)
        if (previous->v[i]->module.kind == SOTH_KIND_SINK && !registry_lists(registry, previous->v[i]))
            r = bus_change_remove(change, previous->v[i]);
    for (size_t i = 0; r == SOTH_OK && i < registry->n; i++)
        if (registry->v[i]->module.kind == SOTH_KIND_SINK && !registry_lists(previous, registry->v[i]))
            r = change_add(change, registry->v[i]);
    return r == SOTH_OK ? SOTH_OK : -SOTH_EIO;
}

void registry_sinks_changed(struct registry *registry, struct registry *previous)
{
    for (size_t i = 0; registry && i < registry->n; i++)
        if (registry->v[i]->module.kind == SOTH_KIND_SINK && !registry_lists(previous, registry->v[i]))
            registry->v[i]->users++; /* the bus's, until registry_sink_ended */
    for (size_t i = 0; previous && i < previous->n; i++)
        if (previous->v[i]->module.kind == SOTH_KIND_SINK && !registry_lists(registry, previous->v[i]))
            instance_retire(previous->v[i]);
}

void registry_sink_ended(void *arg)
{
    struct instance *instance = arg;
    instance_destroy(instance);
    instance_put(instance);
}
