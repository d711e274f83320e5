/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Emitting: what a worker tells is copied once into its port's slab and waits there for bus_flush. No lock is taken. Nearly every event has a
 * shape that the port keeps already, and then its values alone are copied. Events of modules mostly come as values of a form (forms.c).
 */
#include "host/event/place.h"

/* ---- emitting ---- */

/* The first letter tells nearly always. */
static inline bool in_order(const struct soth_attr *a, const struct soth_attr *b)
{
    unsigned char x = (unsigned char)a->name[0], y = (unsigned char)b->name[0];
    return x != y ? x < y : !event_attr_is_before(b, a);
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

/* Is there a value that somebody wants? Of payload *text becomes as much as the sink gets that wants most. */
static inline bool admit(const struct bus_port *port, unsigned kind, const struct soth_attr *attr, struct soth_span *text)
{
    if (event_attr_is_absent(attr))
        return false;
    return !(attr->type & EVENT_FLAGGED) || (bus_captures(port, kind) && view_cut(attr, port->payload[kind], text));
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

/* ---- events ---- */

/* Any event, attribute by attribute: with payload, or of a shape that the port does not keep. */
static __attribute__((noinline)) void emit_whole(struct bus_port *port, const struct event_source *source, uint64_t flow_sequence_id, unsigned kind,
                                                 const struct soth_attr *attrs, size_t n)
{
    struct room room = room_for_some(port, kind, attrs, n);
    struct queued *q = place_event(port, source, flow_sequence_id, kind, room.places * sizeof *attrs, room.text);
    if (!q)
        return;
    struct soth_attr *to = (struct soth_attr *)(void *)(q + 1);
    q->shape = NULL;
    for (size_t i = 0; i < n; i++)
        q->flagged |= (attrs[i].type & EVENT_FLAGGED) != 0;
    q->attr_count = (uint8_t)copy_attrs(port, kind, to, attrs, n, (char *)(to + room.places));
}

static inline bool is_of(const struct shape *shape, const struct soth_attr *attrs, size_t n, size_t *text)
{
    const struct shape_key *key = shape->keys;
    uint64_t differs = 0;
    size_t bytes = 0;
    if (shape->given != n)
        return false;
    for (const struct soth_attr *a = attrs, *end = attrs + n; a < end; a++, key++) { /* no branch: it is the right one mostly */
        uint32_t absent = (uint32_t)(a->text.p == NULL) | (uint32_t)((a->text.n | key->number) == 0); /* event_attr_is_absent, if of that type */
        differs |= ((uintptr_t)a->name ^ (uintptr_t)key->name) | (a->type ^ key->type) | (absent ^ key->absent);
        bytes += a->text.n;
    }
    *text = bytes;
    return differs == 0;
}

/* NULL: it is to be emitted whole. *text: bytes that its texts take at most. Reports of losses are read in the queue. */
static inline const struct shape *shape_for(struct bus_port_private *p, unsigned kind, const struct soth_attr *attrs, size_t n, size_t *text)
{
    struct shape **at = p->shapes[kind], **end = at + SHAPES_OF_KIND;
    for (; at < end && *at; at++)
        if (is_of(*at, attrs, n, text))
            return *at;
    if (at == end || kind == SOTH_EV_EVENTS_LOST)
        return NULL;
    *at = shape_new(&p->made, attrs, n);
    return *at && is_of(*at, attrs, n, text) ? *at : NULL;
}

/* The values of attributes. Numbers first, as if all were. */
static inline void put_values(const struct shape *shape, uint64_t *values, char *at, const struct soth_attr *attrs)
{
    for (unsigned i = 0; i < shape->count; i++)
        values[i] = attrs[shape->from[i]].number;
    for (unsigned k = 0; k < shape->text_count; k++) {
        const unsigned i = shape->texts[k];
        const struct soth_span text = attrs[shape->from[i]].text;
        values[i] = text.n;
        copy_bytes(at, text.p, text.n);
        at += text.n;
    }
}

/* text: bytes that its texts take at most. */
static inline void emit_shaped(struct bus_port *port, const struct event_source *source, uint64_t flow_sequence_id, unsigned kind,
                               const struct shape *shape, size_t text, const struct soth_attr *attrs)
{
    struct queued *q = place_event(port, source, flow_sequence_id, kind, shape->count * sizeof(uint64_t), text);
    if (!q)
        return;
    uint64_t *values = (uint64_t *)(void *)(q + 1);
    q->shape = shape;
    q->attr_count = shape->count;
    put_values(shape, values, (char *)(values + shape->count), attrs);
}

void bus_emit_wanted(struct bus_port *port, const struct event_source *source, uint64_t flow_sequence_id, unsigned kind,
                     const struct soth_attr *attrs, size_t n)
{
    size_t text;
    const struct shape *shape = shape_for(port->private, kind, attrs, n, &text);
    if (shape)
        emit_shaped(port, source, flow_sequence_id, kind, shape, text, attrs);
    else
        emit_whole(port, source, flow_sequence_id, kind, attrs, n);
}
