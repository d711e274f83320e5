/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A worker's end of the bus: what it emits is copied once into the port's slab and waits there for bus_flush. No lock is taken here but
 * at birth, at death and to flush.
 */
#include <stdlib.h>
#include <string.h>

#include "host/event/private.h"

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
    return fresh->data;
}

static inline void *carve(struct bus_port *port, size_t n)
{
    struct bus_port_private *p = port->private;
    uint8_t *at = p->at;
    n = (n + 15) & ~(size_t)15;
    if ((size_t)(p->end - at) < n)
        return carve_fresh(port, n);
    p->at = at + n;
    return at;
}

/* ---- emitting ---- */

#define FLAGGED (SOTH_ATTR_PAYLOAD | SOTH_ATTR_FULL)

static int by_name(const struct soth_attr *a, const struct soth_attr *b)
{
    size_t n = a->name_len < b->name_len ? a->name_len : b->name_len;
    int order = memcmp(a->name, b->name, n);
    return order ? order : (int)a->name_len - (int)b->name_len;
}

/* The first letter tells nearly always. */
static inline bool in_order(const struct soth_attr *a, const struct soth_attr *b)
{
    unsigned char x = (unsigned char)a->name[0], y = (unsigned char)b->name[0];
    return x != y ? x < y : by_name(a, b) <= 0;
}

/* Addresses and names of hosts have 8 to 32 bytes nearly always: two moves that overlap instead of a call. */
static inline void copy_bytes(char *to, const char *from, size_t n)
{
    if (n - 8 <= 8) {
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n - 16 <= 16) {
        memcpy(to, from, 16);
        memcpy(to + n - 16, from + n - 16, 16);
    } else {
        memcpy(to, from, n);
    }
}

static inline struct soth_span copy(char **at, struct soth_span text)
{
    struct soth_span out = {*at, text.n};
    if (text.p == NULL)
        return text;
    copy_bytes(*at, text.p, text.n);
    *at += text.n;
    return out;
}

/* Nothing is a value that is absent, and so is text of no bytes: a field that a peer left empty. Numbers have an empty text, not none. */
static inline unsigned is_absent(const struct soth_attr *attr)
{
    _Static_assert(SOTH_ATTR_TEXT == 0 && SOTH_ATTR_U64 == 1 && SOTH_ATTR_BOOL == 2 && SOTH_ATTR_BYTES == 3, "which two are numbers");
    uint64_t is_number = (attr->type + 1) & 2; /* no branch: this is asked of each attribute of each event */
    return (unsigned)(attr->text.p == NULL) | (unsigned)((attr->text.n | is_number) == 0);
}

/* Is there a value that somebody wants? Of payload *text becomes as much as the sink gets that wants most. */
static inline bool admit(const struct bus_port *port, unsigned kind, const struct soth_attr *attr, struct soth_span *text)
{
    if (is_absent(attr))
        return false;
    return !(attr->type & FLAGGED) || (bus_captures(port, kind) && view_cut(attr, port->payload, text));
}

/* What attributes need: places, and bytes for their texts. Numbers have an empty text. */
struct room {
    size_t places, text;
};

/* Where some are absent or payload: only what is there and somebody wants. */
static __attribute__((noinline)) struct room room_for_some(const struct bus_port *port, unsigned kind, const struct soth_attr *attrs, size_t n)
{
    struct room room = {0, 0};
    for (size_t i = 0; i < n; i++) {
        struct soth_span text = attrs[i].text;
        if (!admit(port, kind, &attrs[i], &text))
            continue;
        room.places++;
        room.text += text.n;
    }
    return room;
}

/* Emitters name attributes in order nearly always, so this is one pass. */
static __attribute__((noinline)) uint32_t copy_attrs(const struct bus_port *port, unsigned kind, struct soth_attr *to,
                                                     const struct soth_attr *attrs, size_t n, char *at)
{
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++) {
        struct soth_span text = attrs[i].text;
        if (!admit(port, kind, &attrs[i], &text))
            continue;
        uint32_t k = count++;
        for (; k > 0 && !in_order(&to[k - 1], &attrs[i]); k--)
            to[k] = to[k - 1];
        to[k] = attrs[i];
        if (text.n > 0)
            to[k].text = copy(&at, text);
    }
    return count;
}

/* All are there and in order; most events have numbers only. */
static inline void copy_plain(struct soth_attr *to, const struct soth_attr *attrs, size_t n, size_t text, char *at)
{
    memcpy(to, attrs, n * sizeof *attrs);
    for (size_t i = 0; text && i < n; i++)
        if (to[i].text.n > 0)
            to[i].text = copy(&at, to[i].text);
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

static inline void fill(struct queued *q, const struct bus_port *port, const struct event_source *source, uint64_t flow_sequence_id, unsigned kind)
{
    struct soth_event *e = &q->event;
    e->size = sizeof *e;
    e->kind = (uint16_t)kind;
    e->protocol = source->protocol;
    e->flow_id = source->flow_id;
    e->flow_sequence_id = flow_sequence_id;
    e->parent_flow_id = source->parent_flow_id;
    e->monotonic_ns = port->monotonic_ns;
    e->unix_ms = port->unix_ms;
    e->kind_name = event_kind_names[kind];
    e->protocol_name = event_protocol_names[source->protocol];
    e->run_id = (struct soth_span){port->bus->run_id, sizeof port->bus->run_id - 1};
    e->server_port = source->server_port;
}

void bus_emit_wanted(struct bus_port *port, const struct event_source *source, uint64_t flow_sequence_id, unsigned kind,
                     const struct soth_attr *attrs, size_t n)
{
    struct bus_port_private *p = port->private;
    struct room room = {n, 0};
    uint32_t flags = 0;
    unsigned in_order = 1, absent = 0;
    unsigned char before = 0;
    for (const struct soth_attr *a = attrs; a < attrs + n; a++) {
        unsigned char first = (unsigned char)a->name[0];
        absent |= is_absent(a);
        room.text += a->text.n;
        flags |= a->type;
        in_order &= first > before;
        before = first;
    }
    bool flagged = (flags & FLAGGED) != 0, all = !absent && !flagged;
    if (!all)
        room = room_for_some(port, kind, attrs, n);
    size_t size = sizeof(struct queued) + room.places * sizeof *attrs + room.text + source->client_addr.n + source->server_host.n;
    struct queued *q = carve(port, size);
    if (!q || !remember(p, q))
        return;
    struct soth_attr *to = (struct soth_attr *)(void *)(q + 1);
    char *at = (char *)(to + room.places);
    fill(q, port, source, flow_sequence_id, kind);
    q->slab = p->slab;
    q->bytes = (uint32_t)size;
    q->flagged = flagged;
    q->event.client_addr = copy(&at, source->client_addr);
    q->event.server_host = copy(&at, source->server_host);
    q->event.attrs = to;
    q->event.attr_count = (uint32_t)n;
    if (!all || !in_order)
        q->event.attr_count = copy_attrs(port, kind, to, attrs, n, at);
    else if (n > 0)
        copy_plain(to, attrs, n, room.text, at);
    port->pending = true;
}

/* ---- publishing ---- */

void bus_port_learn(struct bus_port *port)
{
    port->mask = port->bus->kinds;
    port->payload_kinds = port->bus->payload_kinds;
    port->payload = port->bus->payload;
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
    if (p->slab && atomic_load_explicit(&p->slab->refs, memory_order_acquire) == 1)
        p->at = p->slab->data;
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
    pthread_mutex_unlock(&bus->lock);
    slab_put(port->private->slab, 1);
    free(port->private->pending);
    free(port->private);
    free(port);
}
