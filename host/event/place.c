/* SPDX-License-Identifier: MPL-2.0 */
/* See place.h: slabs that are full, and who events are about, once in each. */
#include "host/event/place.h"

#include <stdlib.h>

#define RETIRED_MOST (1u << 20) /* bytes that wait for the end of a turn; with payload a turn may bring many times that */

static void *carve_fresh(struct bus_port *port, size_t n)
{
    struct bus_port_private *p = port->private;
    if (p->retired_bytes + SLAB_MAPPED > RETIRED_MOST)
        bus_flush(port);
    struct slab *fresh = slab_get(&port->bus->pool, n);
    if (!fresh)
        return NULL;
    if (p->slab) { /* unpublished events in it have no references of their own yet */
        p->slab->next = p->retired;
        p->retired = p->slab;
        p->retired_bytes += p->slab->size;
    }
    p->slab = fresh;
    p->at = fresh->data + n;
    p->end = fresh->data + fresh->size;
    memset(p->sources, 0, sizeof p->sources);
    return fresh->data;
}

bool place_more_room(struct bus_port_private *p)
{
    size_t room = p->room ? p->room * 2 : 64;
    struct queued **bigger = realloc(p->pending, room * sizeof *bigger);
    if (!bigger)
        return false;
    p->pending = bigger;
    p->room = room;
    return true;
}

/* Addresses and names of hosts are short (QUEUED_NAME_MOST): of flows by where they are kept, of others by bus_emit_outside. */
static inline uint16_t name_mark(struct soth_span name)
{
    return name.p ? (uint16_t)name.n : QUEUED_ABSENT;
}

static void put_name(char *at, struct soth_span name)
{
    if (name.n > 0)
        memcpy(at, name.p, name.n);
}

/* A place for an event, and behind it who it is about. */
struct queued *place_with_source(struct bus_port *port, const struct event_source *source, size_t size)
{
    struct bus_port_private *p = port->private;
    const size_t client_n = source->client_addr.n;
    const size_t bytes = place_rounded(sizeof(struct queued_source) + client_n + source->server_host.n), all = place_rounded(size) + bytes;
    uint8_t *at = place_carve(p, all);
    if (!at)
        at = carve_fresh(port, all);
    if (!at)
        return NULL;
    struct queued_source *about = (struct queued_source *)(void *)(at + place_rounded(size));
    about->slab = p->slab;
    about->flow_id = source->flow_id;
    about->version = source->version;
    about->parent_flow_id = source->parent_flow_id;
    about->bytes = (uint32_t)bytes;
    about->client_n = name_mark(source->client_addr);
    about->host_n = name_mark(source->server_host);
    about->server_port = source->server_port;
    put_name(about->names, source->client_addr);
    put_name(about->names + client_n, source->server_host);
    *source_place(p, source) = about;
    return (struct queued *)(void *)at;
}
