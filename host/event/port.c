/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A worker's end of the bus: what it emits is copied once into the port's slab and waits there for bus_flush. No lock is taken here but
 * at birth, at death and to flush.
 */
#include <stdlib.h>
#include <string.h>

#include "host/event/private.h"

static void *carve(struct bus_port *port, size_t n)
{
    struct bus_port_private *p = port->private;
    n = (n + 15) & ~(size_t)15;
    if (!p->slab || p->slab->size - p->slab->used < n) {
        struct slab *fresh = slab_get(&port->bus->pool, n);
        if (!fresh)
            return NULL;
        if (p->slab) { /* unpublished events in it have no references of their own yet */
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

static bool has_text(const struct soth_attr *attr)
{
    return attr->type == SOTH_ATTR_TEXT || attr->type == SOTH_ATTR_BYTES;
}

/* Absent values are left out; emitters name them in order nearly always, so this is one pass. */
static uint32_t copy_attrs(struct soth_attr *to, const struct soth_attr *attrs, size_t n, char **at)
{
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (attrs[i].text.p == NULL)
            continue;
        struct soth_attr attr = attrs[i];
        if (has_text(&attr))
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
    size_t text = source->client_addr.n + source->server_host.n, present = 0;
    for (size_t i = 0; i < n; i++) {
        if (attrs[i].text.p == NULL)
            continue;
        present++;
        text += has_text(&attrs[i]) ? attrs[i].text.n : 0;
    }
    size_t size = sizeof(struct queued) + present * sizeof *attrs + text;
    struct queued *q = carve(port, size);
    if (!q || !remember(p, q))
        return;
    struct soth_attr *to = (struct soth_attr *)(void *)(q + 1);
    char *at = (char *)(to + present);
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

/* ---- publishing ---- */

void bus_flush(struct bus_port *port)
{
    struct bus *bus = port->bus;
    pthread_mutex_lock(&bus->lock);
    bus_publish(bus, port);
    port->congested = bus->full_sinks > 0;
    port->mask = bus->kinds;
    pthread_mutex_unlock(&bus->lock);
    /* when no queue has an event of the slab any more it is filled again from its beginning, warm in the cache as it is */
    struct bus_port_private *p = port->private;
    if (p->slab && atomic_load_explicit(&p->slab->refs, memory_order_acquire) == 1)
        p->slab->used = 0;
}

void bus_port_woken(struct bus_port *port)
{
    pthread_mutex_lock(&port->bus->lock);
    port->congested = port->bus->full_sinks > 0;
    port->mask = port->bus->kinds;
    pthread_mutex_unlock(&port->bus->lock);
}

/* ---- birth and death ---- */

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
