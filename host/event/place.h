/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A place for an event in its port's slab, known to bus_flush and with all but its attributes filled in. In a header, since each emitter's
 * constants make most of it disappear. For the emitting files of this room.
 */
#ifndef HOST_EVENT_PLACE_H
#define HOST_EVENT_PLACE_H

#include <string.h>

#include "host/event/private.h"

/* ---- place.c: what is seldom needed ---- */

struct queued *place_with_source(struct bus_port *port, const struct event_source *source, size_t size);
bool place_more_room(struct bus_port_private *p);
bool place_same_name(const char *at, uint16_t mark, struct soth_span name);

/* ---- bytes ---- */

static inline size_t place_rounded(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

/* NULL: there is no room in the slab. */
static inline void *place_carve(struct bus_port_private *p, size_t n)
{
    uint8_t *at = p->at;
    n = place_rounded(n);
    if ((size_t)(p->end - at) < n)
        return NULL;
    p->at = at + n;
    return at;
}

/* Addresses, names of hosts and words have 4 to 32 bytes nearly always: two moves that overlap instead of a call. */
static inline void copy_bytes(char *to, const char *from, size_t n)
{
    if (n - 8 <= 8) {
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n - 16 <= 16) {
        memcpy(to, from, 16);
        memcpy(to + n - 16, from + n - 16, 16);
    } else if (n - 4 < 4) {
        memcpy(to, from, 4);
        memcpy(to + n - 4, from + n - 4, 4);
    } else {
        memcpy(to, from, n);
    }
}

/* ---- who it is about ---- */

static inline uint64_t differ(const char *a, const char *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x ^ y;
}

/* They have 8 to 16 bytes nearly always: two words that overlap instead of a call. */
static inline bool same_name(const char *at, uint16_t mark, struct soth_span name)
{
    if (mark != name.n || name.n - 8 > 8)
        return place_same_name(at, mark, name);
    return (differ(at, name.p) | differ(at + name.n - 8, name.p + name.n - 8)) == 0;
}

/* A flow's names change in their places: what they are is compared. */
static inline bool is_about(const struct queued_source *about, const struct event_source *source)
{
    const uint64_t differs = (about->flow_id ^ source->flow_id) | (about->parent_flow_id ^ source->parent_flow_id) |
                             (uint64_t)(about->server_port ^ source->server_port);
    return differs == 0 && same_name(about->names, about->client_n, source->client_addr) &&
           same_name(about->names + source->client_addr.n, about->host_n, source->server_host);
}

static inline const struct queued_source **source_place(struct bus_port_private *p, const struct event_source *source)
{
    return &p->sources[source->flow_id % PORT_SOURCES];
}

/* ---- events ---- */

static inline bool remember(struct bus_port_private *p, struct queued *q)
{
    if (p->count == p->room && !place_more_room(p))
        return false;
    p->pending[p->count++] = q;
    return true;
}

/* A place for an event with so many bytes of attributes and of text, which are left to be filled. NULL without memory. */
static inline __attribute__((always_inline)) struct queued *place_event(struct bus_port *port, const struct event_source *source,
                                                                        uint64_t flow_sequence_id, unsigned kind, size_t attrs, size_t text)
{
    struct bus_port_private *p = port->private;
    const size_t size = sizeof(struct queued) + attrs + text;
    const struct queued_source *about = *source_place(p, source);
    struct queued *q = about && is_about(about, source) ? place_carve(p, size) : NULL;
    if (!q) {
        q = place_with_source(port, source, size);
        about = *source_place(p, source);
    }
    if (!q || !remember(p, q))
        return NULL;
    q->source = about;
    q->flow_sequence_id = flow_sequence_id;
    q->monotonic_ns = port->monotonic_ns;
    q->unix_ms = port->unix_ms;
    q->bytes = (uint32_t)size + about->bytes;
    q->kind = (uint8_t)kind;
    q->protocol = (uint8_t)source->protocol;
    q->flagged = false;
    port->pending = true;
    return q;
}

#endif
