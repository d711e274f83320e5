/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Emitting: what a worker tells is copied once into its port's slab and waits there for bus_flush. No lock is taken. Nearly every event has a
 * shape that the port keeps already, and then its values alone are copied; events of modules come with their list (lists.c), which knows its shapes.
 */
#include <stdlib.h>
#include <string.h>

#include "host/event/private.h"

#define RETIRED_MOST (1u << 20) /* bytes that wait for the end of a turn; with payload a turn may bring many times that */

static inline size_t rounded(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

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

/* NULL: there is no room in the slab. */
static inline void *carve(struct bus_port_private *p, size_t n)
{
    uint8_t *at = p->at;
    n = rounded(n);
    if ((size_t)(p->end - at) < n)
        return NULL;
    p->at = at + n;
    return at;
}

/* ---- emitting ---- */

/* The first letter tells nearly always. */
static inline bool in_order(const struct soth_attr *a, const struct soth_attr *b)
{
    unsigned char x = (unsigned char)a->name[0], y = (unsigned char)b->name[0];
    return x != y ? x < y : !event_attr_is_before(b, a);
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

static __attribute__((noinline)) bool more_room(struct bus_port_private *p)
{
    size_t room = p->room ? p->room * 2 : 64;
    struct queued **bigger = realloc(p->pending, room * sizeof *bigger);
    if (!bigger)
        return false;
    p->pending = bigger;
    p->room = room;
    return true;
}

static inline bool remember(struct bus_port_private *p, struct queued *q)
{
    if (p->count == p->room && !more_room(p))
        return false;
    p->pending[p->count++] = q;
    return true;
}

/* ---- who it is about ---- */

/* Addresses and names of hosts are short (QUEUED_NAME_MOST): of flows by where they are kept, of others by bus_emit_outside. */
static inline uint16_t name_mark(struct soth_span name)
{
    return name.p ? (uint16_t)name.n : QUEUED_ABSENT;
}

static __attribute__((noinline)) bool same_other_name(const char *at, uint16_t mark, struct soth_span name)
{
    return mark == name_mark(name) && (name.n == 0 || memcmp(at, name.p, name.n) == 0);
}

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
        return same_other_name(at, mark, name);
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

static void put_name(char *at, struct soth_span name)
{
    if (name.n > 0)
        memcpy(at, name.p, name.n);
}

/* A place for an event, and behind it who it is about. */
static __attribute__((noinline)) struct queued *carve_with_source(struct bus_port *port, const struct event_source *source, size_t size)
{
    struct bus_port_private *p = port->private;
    const size_t client_n = source->client_addr.n;
    const size_t bytes = rounded(sizeof(struct queued_source) + client_n + source->server_host.n), all = rounded(size) + bytes;
    uint8_t *at = carve(p, all);
    if (!at)
        at = carve_fresh(port, all);
    if (!at)
        return NULL;
    struct queued_source *about = (struct queued_source *)(void *)(at + rounded(size));
    about->slab = p->slab;
    about->flow_id = source->flow_id;
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

/* ---- events ---- */

/* A place for an event with so many bytes of attributes and of text, which are left to be filled. NULL without memory. */
static inline __attribute__((always_inline)) struct queued *begin(struct bus_port *port, const struct event_source *source,
                                                                  uint64_t flow_sequence_id, unsigned kind, size_t attrs, size_t text)
{
    struct bus_port_private *p = port->private;
    const size_t size = sizeof(struct queued) + attrs + text;
    const struct queued_source *about = *source_place(p, source);
    struct queued *q = about && is_about(about, source) ? carve(p, size) : NULL;
    if (!q) {
        q = carve_with_source(port, source, size);
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

/* Any event, attribute by attribute: with payload, or of a shape that the port does not keep. */
static __attribute__((noinline)) void emit_whole(struct bus_port *port, const struct event_source *source, uint64_t flow_sequence_id, unsigned kind,
                                                 const struct soth_attr *attrs, size_t n)
{
    struct room room = room_for_some(port, kind, attrs, n);
    struct queued *q = begin(port, source, flow_sequence_id, kind, room.places * sizeof *attrs, room.text);
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

static inline const struct soth_attr *given(unsigned from, const struct soth_attr *attrs, size_t n, const struct soth_attr *extra)
{
    return !extra || from < n ? &attrs[from] : extra;
}

/* The values of attributes, of which `extra` is the one behind the last of n; NULL: there is none. Numbers first, as if all were. */
static inline __attribute__((always_inline)) void put_values(const struct shape *shape, uint64_t *values, char *at, const struct soth_attr *attrs,
                                                             size_t n, const struct soth_attr *extra)
{
    for (unsigned i = 0; i < shape->count; i++)
        values[i] = given(shape->from[i], attrs, n, extra)->number;
    for (unsigned k = 0; k < shape->text_count; k++) {
        const unsigned i = shape->texts[k];
        const struct soth_span text = given(shape->from[i], attrs, n, extra)->text;
        values[i] = text.n;
        copy_bytes(at, text.p, text.n);
        at += text.n;
    }
}

/* text: bytes that its texts take at most. */
static inline __attribute__((always_inline)) void emit_shaped(struct bus_port *port, const struct event_source *source, uint64_t flow_sequence_id,
                                                              unsigned kind, const struct shape *shape, size_t text,
                                                              const struct soth_attr *attrs, size_t n, const struct soth_attr *extra)
{
    struct queued *q = begin(port, source, flow_sequence_id, kind, shape->count * sizeof(uint64_t), text);
    if (!q)
        return;
    uint64_t *values = (uint64_t *)(void *)(q + 1);
    q->shape = shape;
    q->attr_count = shape->count;
    put_values(shape, values, (char *)(values + shape->count), attrs, n, extra);
}

void bus_emit_wanted(struct bus_port *port, const struct event_source *source, uint64_t flow_sequence_id, unsigned kind,
                     const struct soth_attr *attrs, size_t n)
{
    size_t text;
    const struct shape *shape = shape_for(port->private, kind, attrs, n, &text);
    if (shape)
        emit_shaped(port, source, flow_sequence_id, kind, shape, text, attrs, n, NULL);
    else
        emit_whole(port, source, flow_sequence_id, kind, attrs, n);
}

/* ---- events of modules ---- */

static void emit_list_whole(struct bus_port *port, const struct event_source *source, uint64_t flow_sequence_id, const struct attr_list *list,
                            const struct soth_attr *attrs, const struct soth_attr *extra)
{
    struct soth_attr all[EVENT_ATTRS_MOST + 1];
    size_t count = bus_list_copy(list, attrs, all);
    all[count++] = *extra;
    emit_whole(port, source, flow_sequence_id, list->kind, all, count);
}

static __attribute__((noinline)) void emit_list_of_another_shape(struct bus_port *port, const struct event_source *source,
                                                                 uint64_t flow_sequence_id, struct attr_list *list, const struct soth_attr *attrs,
                                                                 const struct soth_attr *extra)
{
    size_t text;
    const struct shape *shape = list_shape(port->private, list, attrs, extra, &text);
    if (shape)
        emit_shaped(port, source, flow_sequence_id, list->kind, shape, text, attrs, list->n, extra);
    else
        emit_list_whole(port, source, flow_sequence_id, list, attrs, extra);
}

/* The numbers are where they belong already, if that is where the event has its place. */
static inline void emit_ready(struct bus_port *port, const struct event_source *source, uint64_t flow_sequence_id, const struct attr_list *list,
                              const struct soth_attr *attrs, const struct soth_attr *extra)
{
    const struct list_shape *like = list->like;
    const struct shape *shape = like->shape;
    list->values[like->place[list->n]] = extra->number;
    struct queued *q = begin(port, source, flow_sequence_id, list->kind, shape->count * sizeof(uint64_t), list->text);
    if (!q)
        return;
    uint64_t *values = (uint64_t *)(void *)(q + 1);
    char *at = (char *)(values + shape->count);
    q->shape = shape;
    q->attr_count = shape->count;
    if (values != list->values)
        memcpy(values, list->values, shape->count * sizeof *values);
    for (unsigned k = 0; k < like->text_count; k++) {
        const unsigned i = like->texts[k];
        const struct soth_span text = attrs[i].text;
        values[like->place[i]] = text.n;
        copy_bytes(at, text.p, text.n);
        at += text.n;
    }
}

void bus_emit_list_wanted(struct bus_port *port, const struct event_source *source, uint64_t flow_sequence_id, struct attr_list *list,
                          const struct soth_attr *attrs, const struct soth_attr *extra)
{
    if (list_is_ready(list, extra))
        emit_ready(port, source, flow_sequence_id, list, attrs, extra);
    else
        emit_list_of_another_shape(port, source, flow_sequence_id, list, attrs, extra);
}
