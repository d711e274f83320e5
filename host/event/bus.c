/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The bus itself (bus.h): publication gives what the ports have collected its sequence numbers and puts pointers into the queues of the
 * sinks that want them, all under one lock taken once a loop turn. Nothing is written or allocated for an event here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "host/event/private.h"

uint64_t bus_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* ---- publishing (lock held) ---- */

/* Returns how many of them went into the queue. Nearly always there is room for all, then none is looked at for that. */
static unsigned put_run(struct sink *sink, struct queued *const *run, size_t n, uint64_t bytes)
{
    const bool fits = queue_fits(sink, n, bytes);
    unsigned used = 0;
    for (size_t i = 0; i < n; i++)
        if ((sink->kinds >> run[i]->kind) & 1)
            used += fits ? queue_put_fitting(sink, run[i]) : queue_put(sink, run[i]);
    return used;
}

/* Events of one slab: its references are taken at once, those that no queue needed given back. */
static size_t publish_run(struct bus *bus, struct queued *const *pending, size_t n)
{
    struct slab *slab = queued_slab(pending[0]);
    uint64_t bytes = 0;
    size_t run = 0;
    for (; run < n && queued_slab(pending[run]) == slab; run++) {
        pending[run]->sequence_id = ++bus->sequence;
        bytes += pending[run]->bytes;
    }
    unsigned most = (unsigned)(run * bus->sink_count), used = 0;
    atomic_fetch_add_explicit(&slab->refs, most, memory_order_relaxed);
    for (size_t k = 0; k < bus->sink_count; k++)
        used += put_run(bus->sinks[k], pending, run, bytes);
    slab_put(slab, most - used);
    return run;
}

static void wake_sinks(struct bus *bus)
{
    for (size_t k = 0; k < bus->sink_count; k++) {
        struct sink *sink = bus->sinks[k];
        if (sink->sleeping && (sink->count > 0 || sink->fresh_losses)) {
            sink->sleeping = false;
            pthread_cond_signal(&sink->ready);
        }
    }
}

void bus_publish(struct bus *bus, struct bus_port *port)
{
    struct bus_port_private *p = port->private;
    for (size_t i = 0; i < p->count;)
        i += publish_run(bus, p->pending + i, p->count - i);
    p->count = 0;
    p->retired_bytes = 0;
    port->pending = false;
    while (p->retired) {
        struct slab *slab = p->retired;
        p->retired = slab->next;
        slab_put(slab, 1);
    }
    wake_sinks(bus);
}

void bus_system_event(struct bus *bus, unsigned kind, const struct soth_attr *attrs, size_t n)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    bus_port_learn(bus->system);
    bus->system->monotonic_ns = bus_now_ns();
    bus->system->unix_ms = (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
    bus_emit(bus->system, &bus->system_source, kind, attrs, n);
    bus_publish(bus, bus->system);
}

void bus_emit_system(struct bus *bus, unsigned kind, const struct soth_attr *attrs, size_t n)
{
    pthread_mutex_lock(&bus->lock);
    bus_system_event(bus, kind, attrs, n);
    pthread_mutex_unlock(&bus->lock);
}

static struct soth_span name_of(struct soth_span name)
{
    const size_t n = name.n < QUEUED_NAME_MOST ? name.n : QUEUED_NAME_MOST;
    return (struct soth_span){name.p, name.p ? n : 0};
}

void bus_emit_outside(struct bus *bus, struct soth_span client, struct soth_span host, uint16_t port, unsigned kind, const struct soth_attr *attrs,
                      size_t n)
{
    static const struct soth_span nothing = {NULL, 0};
    struct event_source *source = &bus->system_source;
    pthread_mutex_lock(&bus->lock);
    source->client_addr = name_of(client);
    event_source_to(source, name_of(host), port);
    bus_system_event(bus, kind, attrs, n);
    source->client_addr = nothing;
    event_source_to(source, nothing, 0);
    pthread_mutex_unlock(&bus->lock);
}

void bus_fault(struct bus *bus, const char *module, const char *hook, const char *detail)
{
    struct soth_attr attrs[] = {ATTR_WORD("detail", detail), ATTR_WORD("hook", hook), ATTR_WORD("module", module)};
    bus_emit_system(bus, SOTH_EV_MODULE_FAULT, attrs, 3);
}

void bus_wake_ports(struct bus *bus)
{
    for (struct bus_port *port = bus->ports; port; port = port->private->next)
        if (port->private->wake)
            port->private->wake(port->private->arg);
}

/* ---- life ---- */

struct bus *bus_new(void)
{
    struct bus *bus = calloc(1, sizeof *bus);
    uint8_t random[16];
    if (!bus)
        return NULL;
    pthread_mutex_init(&bus->lock, NULL);
    slab_pool_init(&bus->pool);
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        memset(random, 0, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(bus->run_id + 2 * i, 3, "%02x", random[i]);
    bus->system_source.next_sequence = 1;
    bus->system = bus_port_new(bus, NULL, NULL);
    if (!bus->system) {
        bus_free(bus);
        return NULL;
    }
    return bus;
}

const char *bus_run_id(const struct bus *bus)
{
    return bus->run_id;
}

void bus_sum_up(struct bus *bus)
{
    bus->kinds = bus->payload_kinds = 0;
    memset(bus->payload, 0, sizeof bus->payload);
    for (size_t i = 0; i < bus->sink_count; i++) {
        const struct sink *sink = bus->sinks[i];
        bus->kinds |= sink->kinds;
        bus->payload_kinds |= sink->config.payload ? sink->kinds : 0;
        for (unsigned kind = 0; kind < SOTH_EV_COUNT; kind++)
            if ((sink->kinds >> kind & 1) && sink->config.payload > bus->payload[kind])
                bus->payload[kind] = sink->config.payload;
    }
}

void bus_on_thread(struct bus *bus, void (*begin)(void), void (*end)(void))
{
    bus->on_begin = begin;
    bus->on_end = end;
}

struct sink *sink_new(struct bus *bus, const char *name, const char *group, void *instance, const struct bus_sink_ops *ops, uint64_t kinds,
                      const struct bus_queue_config *queue)
{
    struct sink *sink = calloc(1, sizeof *sink);
    pthread_condattr_t monotonic;
    if (!sink)
        return NULL;
    sink->name = strdup(name);
    sink->group = strdup(group ? group : "");
    if (!sink->name || !sink->group) {
        free(sink->name);
        free(sink->group);
        free(sink);
        return NULL;
    }
    sink->bus = bus;
    sink->number = ++bus->sinks_made;
    sink->instance = instance;
    sink->ops = *ops;
    sink->kinds = kinds;
    sink->config = *queue;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&sink->ready, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return sink;
}

int bus_add_sink(struct bus *bus, const char *name, void *instance, const struct bus_sink_ops *ops, uint64_t kinds,
                 const struct bus_queue_config *queue)
{
    struct sink **bigger = realloc(bus->sinks, (bus->sink_count + 1) * sizeof *bigger);
    struct sink *sink = bigger ? sink_new(bus, name, NULL, instance, ops, kinds, queue) : NULL;
    if (bigger)
        bus->sinks = bigger;
    if (!sink)
        return -SOTH_ENOMEM;
    bus->sinks[bus->sink_count++] = sink;
    bus_sum_up(bus);
    for (struct bus_port *port = bus->ports; port; port = port->private->next)
        bus_port_learn(port);
    return SOTH_OK;
}

int bus_start(struct bus *bus)
{
    for (size_t i = 0; i < bus->sink_count; i++) {
        struct sink *sink = bus->sinks[i];
        if (pthread_create(&sink->thread, NULL, sink_main, sink) != 0)
            return -SOTH_EIO; /* those that run are stopped by bus_stop */
        sink->running = true;
    }
    return SOTH_OK;
}

static void sink_join(struct sink *sink)
{
    if (sink->running)
        pthread_join(sink->thread, NULL);
    pthread_mutex_lock(&sink->bus->lock);
    sink->running = false;
    pthread_mutex_unlock(&sink->bus->lock);
}

/* A thread that still runs may tell what it lost to one that has ended: counted when all have. */
uint64_t bus_stop(struct bus *bus, uint32_t deadline_ms)
{
    uint64_t undelivered = 0;
    pthread_mutex_lock(&bus->lock);
    bus->stopping = true;
    bus->stop_deadline_ns = bus_now_ns() + deadline_ms * UINT64_C(1000000);
    bus->stop_wait_ns = bus->stop_deadline_ns - deadline_ms * UINT64_C(500000);
    sinks_wake(bus);
    pthread_mutex_unlock(&bus->lock);
    for (struct sink *sink = bus->leaving; sink; sink = sink->next)
        sink_join(sink);
    for (size_t i = 0; i < bus->sink_count; i++)
        sink_join(bus->sinks[i]);
    for (const struct sink *sink = bus->leaving; sink; sink = sink->next)
        undelivered += sink->undelivered + sink->count;
    for (size_t i = 0; i < bus->sink_count; i++)
        undelivered += bus->sinks[i]->undelivered + bus->sinks[i]->count;
    return undelivered;
}

void sink_free(struct sink *sink)
{
    for (size_t k = 0; k < sink->count; k++)
        slab_put(queued_slab(sink->ring[(sink->head + k) & (sink->room - 1)]), 1);
    free(sink->ring);
    free(sink->acks.ring);
    free(sink->name);
    free(sink->group);
    pthread_cond_destroy(&sink->ready);
    free(sink);
}

void bus_free(struct bus *bus)
{
    if (!bus)
        return;
    bus_stop(bus, 1000);
    bus_port_free(bus->system);
    for (size_t i = 0; i < bus->sink_count; i++)
        sink_free(bus->sinks[i]);
    while (bus->leaving) {
        struct sink *sink = bus->leaving;
        bus->leaving = sink->next;
        sink_free(sink);
    }
    free(bus->sinks);
    shapes_free(bus->shapes);
    slab_pool_fini(&bus->pool);
    pthread_mutex_destroy(&bus->lock);
    free(bus);
}

void bus_reopen(struct bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    for (size_t i = 0; i < bus->sink_count; i++) {
        bus->sinks[i]->reopen = true;
        pthread_cond_signal(&bus->sinks[i]->ready);
    }
    pthread_mutex_unlock(&bus->lock);
}

size_t bus_stats(struct bus *bus, struct bus_sink_stats *out, size_t max)
{
    size_t n = 0;
    pthread_mutex_lock(&bus->lock);
    for (; n < bus->sink_count && n < max; n++) {
        const struct sink *s = bus->sinks[n];
        out[n] = (struct bus_sink_stats){s->name, s->written, s->lost, s->count + s->at_hand + s->acks.count, s->bytes, s->off};
    }
    pthread_mutex_unlock(&bus->lock);
    return n;
}
