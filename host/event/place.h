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
    const bool is_there = about && about->flow_id == source->flow_id && about->version == source->version;
    struct queued *q = is_there ? place_carve(p, size) : NULL;
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
