/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The event bus: workers emit, sinks receive. A port belongs to one worker and collects the events of one loop turn without any
 * lock; bus_flush publishes them at the turn's end: one lock gives the whole batch its sequence numbers and puts references
 * into the bounded queue of every subscribed sink. An event is one refcounted immutable block carved from the port's slab.
 * Where nobody subscribed, emitting costs the flow's sequence increment, one load and a branch.
 */
#ifndef HOST_EVENT_BUS_H
#define HOST_EVENT_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <soth/sdk.h>

/* Who an event is about; a flow embeds one. Strings are borrowed from the flow and copied; absent is NULL and 0, none has
 * 65,535 bytes or more. Whoever changes one of the fields below `version` after the first event counts that on. */
struct event_source {
    uint64_t flow_id;
    uint64_t next_sequence; /* flow_sequence_id of the next event; starts at 1 */
    uint16_t protocol; /* SOTH_PROTO_... */
    uint32_t version;
    uint64_t parent_flow_id;
    struct soth_span client_addr;
    struct soth_span server_host;
    uint16_t server_port;
};

static inline void event_source_to(struct event_source *source, struct soth_span host, uint16_t port)
{
    source->server_host = host;
    source->server_port = port;
    source->version++;
}

struct bus;
/* A worker's end of the bus. The first fields are read by the inline functions below. */
struct bus_port {
    uint64_t mask;          /* bit k: somebody wants kind k */
    uint64_t payload_kinds; /* bit k: somebody wants kind k with payload */
    uint64_t payload[SOTH_EV_COUNT]; /* of those, by kind: the most that anybody wants of it, bytes of each message or BUS_PAYLOAD_FULL */
    uint64_t monotonic_ns;  /* set by the driver once per loop turn; tests inject it */
    uint64_t unix_ms;
    bool congested;         /* a pause_flow sink is full: the driver stops reading until bus_port_woken */
    bool pending;           /* events wait for bus_flush */
    struct bus *bus;
    struct bus_port_private *private;
};

#define BUS_PAYLOAD_FULL UINT64_MAX

enum { QUEUE_DROP_NEWEST, QUEUE_DROP_OLDEST, QUEUE_PAUSE_FLOW };
struct bus_queue_config {
    uint64_t max_events;
    uint64_t max_bytes;
    uint32_t on_full; /* QUEUE_... */
    bool acks;        /* SOTH_SINK_ASYNC_ACK: what was taken counts until bus_ack */
    uint64_t payload; /* 0 = none, bytes of each message, BUS_PAYLOAD_FULL */
};

/* The sink side of an instance, called on the sink's own thread; see soth_module.write for the meaning. */
struct bus_sink_ops {
    int (*write)(void *instance, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms);
    int (*flush)(void *instance, uint32_t deadline_ms);
    int (*reopen)(void *instance);
};
#define SINK_MAX_FAILURES 10 /* of write, in a row; then the sink is switched off */

/* run_id is made here (random). 0 terminates. */
struct bus *bus_new(void);
/* Called on each sink's thread when it begins and ends. Before there are any. */
void bus_on_thread(struct bus *bus, void (*begin)(void), void (*end)(void));
/* Adds a sink before bus_start; `events` is a mask by kind (bit k). Names are for messages and events_lost. */
int bus_add_sink(struct bus *bus, const char *name, void *instance, const struct bus_sink_ops *ops, uint64_t kinds,
                 const struct bus_queue_config *queue);
int bus_start(struct bus *bus);  /* starts the sink threads */
/* Stops taking events, lets every sink write what it has and flush, within deadline_ms; joins the threads. Returns the number
 * of events that could not be delivered. */
uint64_t bus_stop(struct bus *bus, uint32_t deadline_ms);
void bus_free(struct bus *bus);

/*
 * Other sinks while events flow (control thread). A change is put together, then committed at one point of the sequence: every event goes to
 * the sinks of before or to those of after, none to neither. A sink that is taken out writes what it has, flushes and, with acks, waits for
 * them, all within leave_ms; what it could not write by then, or what was not acknowledged, is told as events_lost. A new sink's events wait
 * in its queue until those of its group that leave have ended: no two of them write at once. It does not wait for one that is stuck in its module
 * a second after its time was over, and a module_fault tells that.
 */
struct bus_change;
struct bus_change *bus_change_new(struct bus *bus);
/* Starts the sink's thread, which waits. 0, -SOTH_ENOMEM, -SOTH_EIO. group: NULL = none. */
int bus_change_add(struct bus_change *change, const char *name, const char *group, void *instance, const struct bus_sink_ops *ops,
                   uint64_t kinds, const struct bus_queue_config *queue);
int bus_change_remove(struct bus_change *change, const void *instance); /* 0, -SOTH_ENOMEM */
/* One of the two ends a change. */
void bus_change_commit(struct bus_change *change, uint32_t leave_ms);
void bus_change_cancel(struct bus_change *change); /* NULL is fine; no operation of a new sink was called */
/* `gone` is called on a sink's thread when it has left; it must only signal the control thread, which then calls bus_reap. */
void bus_on_gone(struct bus *bus, void (*gone)(void *arg), void *arg);
/* Forgets the sinks that have left, after bus_stop all sinks; each instance is given back. Returns how many are still leaving. */
size_t bus_reap(struct bus *bus, void (*take)(void *instance));

/* The sink of this instance has delivered what it took, up to that number. From any thread; what it was never offered is not acked by it. */
void bus_ack(struct bus *bus, const void *instance, uint64_t sequence_id);
/* A module_fault of the process: a hook of a module failed. From any thread. */
void bus_fault(struct bus *bus, const char *module, const char *hook, const char *detail);
/* An event of the process (flow 0). From any thread. */
void bus_emit_system(struct bus *bus, unsigned kind, const struct soth_attr *attrs, size_t n);
/* The same about a connection of somebody else: with an address and a host, absent or not. port 0: none. */
void bus_emit_outside(struct bus *bus, struct soth_span client, struct soth_span host, uint16_t port, unsigned kind, const struct soth_attr *attrs,
                      size_t n);
void bus_reopen(struct bus *bus); /* asks every sink's thread to reopen; async-safe against writers, not a signal handler */
const char *bus_run_id(const struct bus *bus);

struct bus_sink_stats {
    const char *name;
    uint64_t written;        /* with acks: acknowledged */
    uint64_t lost;
    uint64_t queued_events, queued_bytes; /* with what is being written, and with acks what is not acknowledged yet */
    bool off;
};
size_t bus_stats(struct bus *bus, struct bus_sink_stats *out, size_t max);

/* A port for one thread. `wake` (may be NULL) is called from a sink's thread when congestion ends; it must only signal the worker,
 * which then calls bus_port_woken. */
struct bus_port *bus_port_new(struct bus *bus, void (*wake)(void *arg), void *arg);
void bus_port_free(struct bus_port *port); /* flushes */
void bus_port_woken(struct bus_port *port); /* re-reads `congested` and what is wanted */
/* Publishes what was emitted since the last flush. Happens by itself when much of it has gathered. */
void bus_flush(struct bus_port *port);

static inline bool bus_wants(const struct bus_port *port, unsigned kind) { return (port->mask >> kind) & 1; }
/* Is content of messages wanted with this kind? bus_payload: how much of each. */
static inline bool bus_captures(const struct bus_port *port, unsigned kind) { return (port->payload_kinds >> kind) & 1; }
static inline uint64_t bus_payload(const struct bus_port *port, unsigned kind) { return bus_captures(port, kind) ? port->payload[kind] : 0; }

/* Slow path of bus_emit: copies everything. attrs, EVENT_ATTRS_MOST and one at most, need not be sorted; text with p == NULL or of no bytes is
 * left out, and so is payload that no sink wants. Of two attributes of one name, PAYLOAD and FULL in this order, sinks with full payload get the
 * second alone. */
void bus_emit_wanted(struct bus_port *port, const struct event_source *source, uint64_t flow_sequence_id, unsigned kind,
                     const struct soth_attr *attrs, size_t n);

/* Emits one event: always consumes a flow sequence number. */
static inline void bus_emit(struct bus_port *port, struct event_source *source, unsigned kind, const struct soth_attr *attrs, size_t n)
{
    uint64_t sequence = source->next_sequence++;
    if (bus_wants(port, kind))
        bus_emit_wanted(port, source, sequence, kind, attrs, n);
}

/* Attribute literals: name must be a string literal. */
#define ATTR_TEXT(name_, span_) ((struct soth_attr){name_, (span_), 0, SOTH_ATTR_TEXT, sizeof(name_) - 1})
#define ATTR_WORD(name_, text_) ((struct soth_attr){name_, soth_span(text_), 0, SOTH_ATTR_TEXT, sizeof(name_) - 1})
#define ATTR_BYTES(name_, span_) ((struct soth_attr){name_, (span_), 0, SOTH_ATTR_BYTES, sizeof(name_) - 1})
#define ATTR_NUMBER(name_, value_) ((struct soth_attr){name_, {"", 0}, (uint64_t)(value_), SOTH_ATTR_U64, sizeof(name_) - 1})
#define ATTR_BOOL(name_, value_) ((struct soth_attr){name_, {"", 0}, (value_) ? 1 : 0, SOTH_ATTR_BOOL, sizeof(name_) - 1})

/* In soth_attr.type, of the host's own only: with SOTH_ATTR_PAYLOAD, text that is there whole or not at all. */
#define EVENT_ATTR_WHOLE 32u

#define EVENT_ATTRS_MOST 64u
/*
 * For events of modules: copies to out, at most EVENT_ATTRS_MOST, the attributes that the kind has, with names of our own and without
 * those that have no value; name_len 0 is strlen. Adds to *left_out how many the kind does not have, were given twice or are of no known
 * type. Returns how many there are, -SOTH_EINVALID for an unknown kind, -SOTH_EPERM for one that is the host's alone.
 */
int event_attrs_check(uint32_t kind, const struct soth_attr *attrs, size_t n, struct soth_attr *out, unsigned *left_out);
/*
 * The attributes of events that come often, told once (forms.c, soth_host.form): names and types, each name of the kind at most once. The same
 * ones are the same form, for good. 0, -SOTH_ENOMEM, or as event_attrs_check, and *bad is the attribute at fault, if it is one.
 */
struct form;
int event_form(uint32_t kind, const struct soth_attr *attrs, size_t n, const struct form **form, size_t *bad);
unsigned event_form_kind(const struct form *form);
/* Those that are there, as attributes: at most EVENT_ATTRS_MOST. */
size_t event_form_attrs(const struct form *form, const union soth_value *values, uint64_t present, struct soth_attr *out);
void bus_emit_form_wanted(struct bus_port *port, const struct event_source *source, uint64_t flow_sequence_id, const struct form *form,
                          const union soth_value *values, uint64_t present, const struct soth_attr *extra);

/* bus_emit of values, with another attribute of the host's own: a number, or absent. */
static inline void bus_emit_form(struct bus_port *port, struct event_source *source, unsigned kind, const struct form *form,
                                 const union soth_value *values, uint64_t present, const struct soth_attr *extra)
{
    uint64_t sequence = source->next_sequence++;
    if (bus_wants(port, kind))
        bus_emit_form_wanted(port, source, sequence, form, values, present, extra);
}

#define EVENT_VALUES_MOST 48u
/*
 * The form of a list that the port has seen and checked before, known again by the places of its names (lists.c), and its values, which point into
 * the list. NULL: it is to be checked.
 */
const struct form *bus_list_form(struct bus_port *port, uint32_t kind, const struct soth_attr *attrs, size_t n,
                                 union soth_value values[EVENT_VALUES_MOST], uint64_t *present);

/* event/kind.c: the table events.def at run time. */
const char *event_kind_name(unsigned kind);
uint64_t event_group_kinds(uint32_t groups); /* SOTH_GROUP_... -> kinds */
/* "connect", "all", "request_headers" -> kinds; 0 = no such group or kind. */
uint64_t event_kinds_by_name(struct soth_span name);
const char *event_protocol_name(unsigned protocol);
/* event/stream_key.c: see soth_host.stream_key. */
size_t event_stream_key(const struct soth_event *event, char buf[SOTH_STREAM_KEY_MAX]);

#endif
