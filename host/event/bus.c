/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Ports and publication (bus.h). What a worker emits is copied once into its slab; publication takes the lock once a loop turn, gives
 * sequence numbers and puts pointers into the sinks' rings.
 */
#include <errno.h>
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

/* ---- slabs ---- */

static struct slab *slab_new(size_t size)
{
    struct slab *slab = malloc(sizeof *slab + size);
    if (slab) {
        atomic_init(&slab->refs, 1);
        slab->used = 0;
        slab->size = (uint32_t)size;
    }
    return slab;
}

void slab_put(struct slab *slab, unsigned refs)
{
    if (slab && atomic_fetch_sub_explicit(&slab->refs, refs, memory_order_acq_rel) == refs)
        free(slab);
}

static void *carve(struct bus_port_private *p, size_t n)
{
    n = (n + 15) & ~(size_t)15;
    if (!p->slab || p->slab->size - p->slab->used < n) {
        struct slab *fresh = slab_new(n > SLAB_SIZE ? n : SLAB_SIZE);
        if (!fresh)
            return NULL;
        if (p->slab) {
            p->slab->next = p->retired;
            p->retired = p->slab;
        }
        p->slab = fresh;
    }
    void *at = p->slab->data + p->slab->used;
    p->slab->used += (uint32_t)n;
    return at;
}

/* ---- emitting ---- */

static int by_name(const struct soth_attr *a, const struct soth_attr *b)
{
    size_t n = a->name_len < b->name_len ? a->name_len : b->name_len;
    int order = memcmp(a->name, b->name, n);
    return order ? order : (int)a->name_len - (int)b->name_len;
}

static struct soth_span copy(char **at, struct soth_span text)
{
    if (text.p == NULL)
        return text;
    struct soth_span out = {*at, text.n};
    memcpy(*at, text.p, text.n);
    *at += text.n;
    return out;
}

/* Absent values are left out; emitters name them in order nearly always, so this is one pass. */
static uint32_t copy_attrs(struct soth_attr *to, const struct soth_attr *attrs, size_t n, char **at)
{
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (attrs[i].text.p == NULL)
            continue;
        struct soth_attr attr = attrs[i];
        if (attr.type == SOTH_ATTR_TEXT || attr.type == SOTH_ATTR_BYTES)
            attr.text = copy(at, attr.text);
        uint32_t k = count++;
        while (k > 0 && by_name(&attr, &to[k - 1]) < 0) {
            to[k] = to[k - 1];
            k--;
        }
        to[k] = attr;
    }
    return count;
}

static bool remember(struct bus_port_private *p, struct queued *q)
{
    if (p->count == p->room) {
        size_t room = p->room ? p->room * 2 : 64;
        struct queued **bigger = realloc(p->pending, room * sizeof *bigger);
        if (!bigger)
            return false;
        p->pending = bigger;
        p->room = room;
    }
    p->pending[p->count++] = q;
    return true;
}

void bus_emit_wanted(struct bus_port *port, const struct event_source *source, uint64_t flow_sequence_id, unsigned kind,
                     const struct soth_attr *attrs, size_t n)
{
    struct bus_port_private *p = port->private;
    size_t text = source->client_addr.n + source->server_host.n;
    for (size_t i = 0; i < n; i++)
        text += attrs[i].type == SOTH_ATTR_TEXT || attrs[i].type == SOTH_ATTR_BYTES ? attrs[i].text.n : 0;
    size_t size = sizeof(struct queued) + n * sizeof *attrs + text;
    struct queued *q = carve(p, size);
    if (!q || !remember(p, q))
        return;
    struct soth_attr *to = (struct soth_attr *)(void *)(q + 1);
    char *at = (char *)(to + n);
    q->slab = p->slab;
    q->bytes = (uint32_t)size;
    q->event = (struct soth_event){
        .size = sizeof q->event,
        .kind = (uint16_t)kind,
        .protocol = source->protocol,
        .flow_id = source->flow_id,
        .flow_sequence_id = flow_sequence_id,
        .parent_flow_id = source->parent_flow_id,
        .monotonic_ns = port->monotonic_ns,
        .unix_ms = port->unix_ms,
        .kind_name = event_kind_name(kind),
        .protocol_name = event_protocol_name(source->protocol),
        .run_id = {port->bus->run_id, 32},
        .client_addr = copy(&at, source->client_addr),
        .server_host = copy(&at, source->server_host),
        .server_port = source->server_port,
        .attrs = to,
    };
    q->event.attr_count = copy_attrs(to, attrs, n, &at);
    port->pending = true;
}

/* ---- publishing (lock held) ---- */

static bool over(const struct sink *sink, const struct queued *q)
{
    return sink->count >= sink->config.max_events || sink->bytes + q->bytes > sink->config.max_bytes;
}

static void lose(struct sink *sink, uint64_t sequence)
{
    if (sink->lost_to_report++ == 0)
        sink->first_lost = sequence;
    sink->last_lost = sequence;
    sink->lost_since_write++;
    sink->lost++;
}

static bool ring_room(struct sink *sink)
{
    if (sink->count < sink->room)
        return true;
    size_t room = sink->room ? sink->room * 2 : 1024;
    struct queued **bigger = malloc(room * sizeof *bigger);
    if (!bigger)
        return false;
    for (size_t i = 0; i < sink->count; i++)
        bigger[i] = sink->ring[(sink->head + i) & (sink->room - 1)];
    free(sink->ring);
    sink->ring = bigger;
    sink->room = room;
    sink->head = 0;
    return true;
}

static void drop_oldest(struct sink *sink)
{
    struct queued *oldest = sink->ring[sink->head];
    sink->head = (sink->head + 1) & (sink->room - 1);
    sink->count--;
    sink->bytes -= oldest->bytes;
    lose(sink, oldest->event.sequence_id);
    slab_put(oldest->slab, 1);
}

static bool make_room(struct bus *bus, struct sink *sink, const struct queued *q)
{
    if (!over(sink, q))
        return ring_room(sink);
    switch (sink->config.on_full) {
    case QUEUE_DROP_OLDEST:
        while (sink->count > 0 && over(sink, q))
            drop_oldest(sink);
        return !over(sink, q) && ring_room(sink);
    case QUEUE_PAUSE_FLOW: /* what was read already still goes in; reading stops now */
        if (!sink->full) {
            sink->full = true;
            bus->full_sinks++;
        }
        return ring_room(sink);
    default:
        return false;
    }
}

static void enqueue(struct bus *bus, struct sink *sink, struct queued *q)
{
    if (sink->off || !make_room(bus, sink, q)) {
        lose(sink, q->event.sequence_id);
        return;
    }
    atomic_fetch_add_explicit(&q->slab->refs, 1, memory_order_relaxed);
    sink->ring[(sink->head + sink->count++) & (sink->room - 1)] = q;
    sink->bytes += q->bytes;
}

void bus_publish(struct bus *bus, struct bus_port *port)
{
    struct bus_port_private *p = port->private;
    for (size_t i = 0; i < p->count; i++) {
        struct queued *q = p->pending[i];
        q->event.sequence_id = ++bus->sequence;
        for (size_t k = 0; k < bus->sink_count; k++)
            if ((bus->sinks[k]->kinds >> q->event.kind) & 1)
                enqueue(bus, bus->sinks[k], q);
    }
    p->count = 0;
    port->pending = false;
    for (struct slab *full = p->retired, *next; full; full = next) {
        next = full->next;
        slab_put(full, 1);
    }
    p->retired = NULL;
    for (size_t k = 0; k < bus->sink_count; k++)
        if (bus->sinks[k]->sleeping && bus->sinks[k]->count > 0) {
            bus->sinks[k]->sleeping = false;
            pthread_cond_signal(&bus->sinks[k]->ready);
        }
}

void bus_system_event(struct bus *bus, unsigned kind, const struct soth_attr *attrs, size_t n)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    bus->system->monotonic_ns = bus_now_ns();
    bus->system->unix_ms = (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
    bus_emit(bus->system, &bus->system_source, kind, attrs, n);
    bus_publish(bus, bus->system);
}

void bus_wake_ports(struct bus *bus)
{
    for (struct bus_port *port = bus->ports; port; port = port->private->next)
        if (port->private->wake)
            port->private->wake(port->private->arg);
}

void bus_flush(struct bus_port *port)
{
    struct bus *bus = port->bus;
    pthread_mutex_lock(&bus->lock);
    bus_publish(bus, port);
    port->congested = bus->full_sinks > 0;
    pthread_mutex_unlock(&bus->lock);
    /* nothing in the slab is waited for by us any more: a port that is idle keeps no used one */
    struct bus_port_private *p = port->private;
    if (p->slab && atomic_load_explicit(&p->slab->refs, memory_order_acquire) == 1)
        p->slab->used = 0;
}

void bus_port_woken(struct bus_port *port)
{
    pthread_mutex_lock(&port->bus->lock);
    port->congested = port->bus->full_sinks > 0;
    pthread_mutex_unlock(&port->bus->lock);
}

/* ---- ports ---- */

struct bus_port *bus_port_new(struct bus *bus, void (*wake)(void *arg), void *arg)
{
    struct bus_port *port = calloc(1, sizeof *port);
    struct bus_port_private *p = calloc(1, sizeof *p);
    if (!port || !p) {
        free(port);
        free(p);
        return NULL;
    }
    port->bus = bus;
    port->private = p;
    p->wake = wake;
    p->arg = arg;
    pthread_mutex_lock(&bus->lock);
    port->mask = bus->kinds;
    p->next = bus->ports;
    bus->ports = port;
    pthread_mutex_unlock(&bus->lock);
    return port;
}

void bus_port_free(struct bus_port *port)
{
    if (!port)
        return;
    struct bus *bus = port->bus;
    pthread_mutex_lock(&bus->lock);
    bus_publish(bus, port);
    for (struct bus_port **at = &bus->ports; *at; at = &(*at)->private->next)
        if (*at == port) {
            *at = port->private->next;
            break;
        }
    pthread_mutex_unlock(&bus->lock);
    slab_put(port->private->slab, 1);
    free(port->private->pending);
    free(port->private);
    free(port);
}

/* ---- the bus ---- */

struct bus *bus_new(void)
{
    struct bus *bus = calloc(1, sizeof *bus);
    uint8_t random[16];
    if (!bus)
        return NULL;
    pthread_mutex_init(&bus->lock, NULL);
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

int bus_add_sink(struct bus *bus, const char *name, void *instance, const struct bus_sink_ops *ops, uint64_t kinds,
                 const struct bus_queue_config *queue)
{
    struct sink **bigger = realloc(bus->sinks, (bus->sink_count + 1) * sizeof *bigger);
    struct sink *sink = calloc(1, sizeof *sink);
    pthread_condattr_t monotonic;
    if (bigger)
        bus->sinks = bigger;
    if (!bigger || !sink || !(sink->name = strdup(name))) {
        free(sink);
        return -SOTH_ENOMEM;
    }
    sink->bus = bus;
    sink->instance = instance;
    sink->ops = *ops;
    sink->kinds = kinds;
    sink->config = *queue;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&sink->ready, &monotonic);
    pthread_condattr_destroy(&monotonic);
    bus->sinks[bus->sink_count++] = sink;
    bus->kinds |= kinds;
    bus->system->mask = bus->kinds;
    return SOTH_OK;
}

int bus_start(struct bus *bus)
{
    bus->started = true;
    for (size_t i = 0; i < bus->sink_count; i++)
        if (pthread_create(&bus->sinks[i]->thread, NULL, sink_main, bus->sinks[i]) != 0) {
            bus->sink_count = i; /* those that run are stopped by bus_stop */
            return -SOTH_EIO;
        }
    return SOTH_OK;
}

uint64_t bus_stop(struct bus *bus, uint32_t deadline_ms)
{
    uint64_t undelivered = 0;
    pthread_mutex_lock(&bus->lock);
    bus->stopping = true;
    bus->stop_deadline_ns = bus_now_ns() + deadline_ms * UINT64_C(1000000);
    for (size_t i = 0; i < bus->sink_count; i++)
        pthread_cond_signal(&bus->sinks[i]->ready);
    pthread_mutex_unlock(&bus->lock);
    for (size_t i = 0; i < bus->sink_count; i++)
        pthread_join(bus->sinks[i]->thread, NULL);
    bus->started = false;
    for (size_t i = 0; i < bus->sink_count; i++)
        undelivered += bus->sinks[i]->count;
    return undelivered;
}

void bus_free(struct bus *bus)
{
    if (!bus)
        return;
    if (bus->started)
        bus_stop(bus, 1000);
    bus_port_free(bus->system);
    for (size_t i = 0; i < bus->sink_count; i++) {
        struct sink *sink = bus->sinks[i];
        for (size_t k = 0; k < sink->count; k++)
            slab_put(sink->ring[(sink->head + k) & (sink->room - 1)]->slab, 1);
        free(sink->ring);
        free(sink->name);
        pthread_cond_destroy(&sink->ready);
        free(sink);
    }
    free(bus->sinks);
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
        out[n] = (struct bus_sink_stats){s->name, s->written, s->lost, s->count, s->bytes};
    }
    pthread_mutex_unlock(&bus->lock);
    return n;
}
