/* SPDX-License-Identifier: MPL-2.0 */
/* A worker's end of the bus: its birth and death, and how what it has emitted (emit.c) is published. A lock is taken for these alone. */
#include <stdlib.h>
#include <string.h>

#include "host/event/private.h"

/* ---- publishing ---- */

void bus_port_learn(struct bus_port *port)
{
    port->mask = port->bus->kinds;
    if (port->bus->payload_kinds) /* of others nobody reads it */
        memcpy(port->payload, port->bus->payload, sizeof port->payload);
    port->payload_kinds = port->bus->payload_kinds;
    port->congested = port->bus->full_sinks > 0;
}

void bus_flush(struct bus_port *port)
{
    struct bus *bus = port->bus;
    pthread_mutex_lock(&bus->lock);
    bus_publish(bus, port);
    bus_port_learn(port);
    pthread_mutex_unlock(&bus->lock);
    /* when no queue has an event of the slab any more it is filled again from its beginning, warm in the cache as it is */
    struct bus_port_private *p = port->private;
    if (p->slab && atomic_load_explicit(&p->slab->refs, memory_order_acquire) == 1) {
        p->at = p->slab->data;
        memset(p->sources, 0, sizeof p->sources);
    }
}

void bus_port_woken(struct bus_port *port)
{
    pthread_mutex_lock(&port->bus->lock);
    bus_port_learn(port);
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
    bus_port_learn(port);
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
    while (port->private->made) { /* queues have events of them still */
        struct shape *shape = port->private->made;
        port->private->made = shape->next;
        shape->next = bus->shapes;
        bus->shapes = shape;
    }
    pthread_mutex_unlock(&bus->lock);
    slab_put(port->private->slab, 1);
    attr_lists_free(port->private->lists);
    form_shapes_free(port->private->forms, port->private->form_room);
    free(port->private->pending);
    free(port->private);
    free(port);
}
