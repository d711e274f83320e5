/* SPDX-License-Identifier: MPL-2.0 */
/* The inside of the bus, shared by the files of this room only. Everything marked (lock) is guarded by bus.lock. */
#ifndef HOST_EVENT_PRIVATE_H
#define HOST_EVENT_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "host/event/bus.h"
#include "host/event/forms.h"

/* ---- kind.c ---- */

#define EVENT_PROTOCOLS 6u
extern const char *const event_kind_names[SOTH_EV_COUNT];
extern const char *const event_protocol_names[EVENT_PROTOCOLS];

/* ---- slab.c: memory of events ---- */

#define SLAB_MAPPED 16384u /* with its head; a larger event has one to itself */
#define SLAB_POOL 64u      /* how many free ones are kept while there is work: a megabyte */

struct slab_pool {
    pthread_mutex_t lock;
    struct slab *free;
    unsigned count;
};

/* Events are carved from slabs; a slab lives while its port fills it, has unpublished events in it, or an event of it waits in a queue. */
struct slab {
    atomic_uint refs;
    uint32_t size;
    struct slab_pool *pool;
    struct slab *next; /* in the pool; among a port's retired ones */
    _Alignas(16) uint8_t data[];
};

void slab_pool_init(struct slab_pool *pool);
void slab_pool_fini(struct slab_pool *pool);
struct slab *slab_get(struct slab_pool *pool, size_t size); /* with one reference; NULL without memory */
void slab_put(struct slab *slab, unsigned refs);
void slab_pool_trim(struct slab_pool *pool); /* the system gets those back that are free */

/* Who events are about: once in a slab, for all those in it. */
struct queued_source {
    struct slab *slab;
    uint64_t flow_id, parent_flow_id;
    uint32_t version; /* event_source.version: another one is about somebody else */
    uint32_t bytes;
    uint16_t client_n, host_n; /* QUEUED_ABSENT: there is none */
    uint16_t server_port;
    char names[]; /* client, host */
};
#define QUEUED_ABSENT UINT16_MAX
#define QUEUED_NAME_MOST (UINT16_MAX - 1) /* of a client and a host: what is longer is cut */

/*
 * An event on its way. With a shape: the values of its attributes follow, numbers, lengths of texts and places of words, then those texts. Without one: its
 * attributes, then the texts that they point to. Sinks get a view of it (view.c).
 */
struct queued {
    const struct shape *shape;
    const struct queued_source *source;
    uint64_t sequence_id, flow_sequence_id, monotonic_ns, unix_ms;
    uint32_t bytes; /* its source's with it, as if no other event had the same */
    uint8_t attr_count, kind, protocol;
    bool flagged; /* has attributes with SOTH_ATTR_PAYLOAD or _FULL */
};
_Static_assert(EVENT_ATTRS_MOST < UINT8_MAX, "attr_count");

static inline struct slab *queued_slab(const struct queued *q)
{
    return q->source->slab;
}

/* Of one without a shape. */
static inline const struct soth_attr *queued_attrs(const struct queued *q)
{
    return (const struct soth_attr *)(const void *)(q + 1);
}

/* ---- stream_key.c: which of an event's attributes its stream key is made of ---- */

enum { EVENT_KEY_FLOW, EVENT_KEY_STREAM, EVENT_KEY_TURN, EVENT_KEY_SEQUENCE, EVENT_KEY_GRPC };
struct event_key {
    uint8_t form, number, path; /* EVENT_KEY_...; places */
};
struct event_key event_key_of(const struct soth_attr *attrs, size_t n);

/* ---- shape.c: what events have in common ---- */

#define EVENT_FLAGGED (SOTH_ATTR_PAYLOAD | SOTH_ATTR_FULL)
#define SHAPES_OF_KIND 4u /* that a port keeps */

struct shape_key {
    const char *name; /* static: the same pointer is the same name */
    uint64_t number;  /* not 0: it is one */
    uint32_t type, absent;
};

/* Immutable; kept as long as the bus, since queues have events of it. */
struct shape {
    struct shape *next;
    uint8_t given, count; /* attributes that the emitter gives; that are there */
    uint8_t from[EVENT_ATTRS_MOST + 1]; /* which of those given each of those here is */
    uint8_t text_count, texts[EVENT_ATTRS_MOST + 1]; /* which of those here are texts whose bytes come with the event, */
    uint8_t word_count, words[EVENT_ATTRS_MOST + 1]; /* and of which it has where their span is (SOTH_ATTR_WORD) */
    struct event_key key;
    struct shape_key keys[EVENT_ATTRS_MOST + 1];
    struct soth_attr attrs[]; /* in order of names, without values */
};

bool event_attr_is_before(const struct soth_attr *a, const struct soth_attr *b);

#define EVENT_TYPES (3u | SOTH_ATTR_PAYLOAD | SOTH_ATTR_FULL) /* all bits that a module may give */

/* No branch in these two: they are asked of each attribute of each event. */
static inline bool event_type_is_text(uint32_t type)
{
    _Static_assert(SOTH_ATTR_TEXT == 0 && SOTH_ATTR_U64 == 1 && SOTH_ATTR_BOOL == 2 && SOTH_ATTR_BYTES == 3, "which two are numbers");
    return ((type + 1) & 2) == 0;
}

/* Nothing is a value that is absent, and so is text of no bytes: a field that a peer left empty. Numbers have an empty text, not none. */
static inline unsigned event_attr_is_absent(const struct soth_attr *attr)
{
    return (unsigned)(attr->text.p == NULL) | (unsigned)((attr->text.n | ((attr->type + 1) & 2)) == 0);
}

/* In front of the list *made. NULL: there is no memory, or they have a payload that is there. */
struct shape *shape_new(struct shape **made, const struct soth_attr *attrs, size_t n);
void shapes_free(struct shape *shapes);

/* ---- attrs.c, lists.c: what modules emit ---- */

/* Our own of this name, for good, and its place among those of the kind; NULL: the kind has none. *n 0: strlen, and set. */
const char *event_attr_name(uint32_t kind, const char *text, uint32_t *n, uint32_t *place);
bool event_attrs_may(uint32_t kind); /* may modules emit it? */
struct attr_list;
void attr_lists_free(struct attr_list *lists[SOTH_EV_COUNT]);

#define PORT_SOURCES 16u

struct bus_port_private {
    struct slab *slab;    /* being filled, */
    uint8_t *at, *end;    /* from here to there */
    const struct queued_source *sources[PORT_SOURCES]; /* that are in this slab, by flow: the last one of those that share a place */
    struct slab *retired; /* full, with events that are not published yet */
    size_t retired_bytes;
    struct queued **pending;
    size_t count, room;
    struct shape *shapes[SOTH_EV_COUNT][SHAPES_OF_KIND];
    struct shape *made; /* list of all of those */
    struct attr_list *lists[SOTH_EV_COUNT];
    struct form_shapes **forms; /* by number; NULL: none yet */
    size_t form_room;
    void (*wake)(void *arg);
    void *arg;
    struct bus_port *next; /* (lock) list of all ports */
};

/* ---- losses.c: ranges of events that a sink did not get ---- */

struct loss {
    uint64_t first, last; /* sequence numbers; all that the sink subscribed to in between is lost, its own events_lost aside */
    uint64_t count;
};
#define LOSSES 8u
struct losses {
    struct loss v[LOSSES]; /* in order */
    unsigned n;
};
/* `arrived`: the last number before `more` that reaches the sink; what was lost after it makes one range with `more`. When there are as
 * many ranges as there may be, two become one that says too much; the count stays right. */
void losses_add(struct losses *losses, struct loss more, uint64_t arrived);

/* ---- acks.c: what a sink with acks has taken and not acknowledged ---- */

struct unacked {
    uint64_t sequence_id;
    uint32_t bytes;
};
struct acks {
    struct unacked *ring;
    size_t room, head, count, at_hand; /* at_hand: in the batch; may be taken any moment */
    uint64_t offered, upto; /* the last number offered to the sink, the last that it acknowledged */
};

/* ---- queue.c: the bounded queue of a sink ---- */

struct sink {
    struct bus *bus;
    char *name, *group;
    void *instance;
    struct bus_sink_ops ops;
    uint64_t kinds;
    struct bus_queue_config config;
    /* (lock) a ring of pointers; bytes counts what is in it, in the batch at hand and not acknowledged */
    struct queued **ring;
    size_t room, head, count, at_hand; /* at_hand: in the batch, does not wait any more */
    uint64_t bytes, queued_last; /* queued_last: the last number that went in, reports of own losses aside */
    struct acks acks;
    bool sleeping, full, off, reopen, running;
    bool fresh_losses; /* losses that no report was made of, reports of losses aside */
    bool deaf;         /* it takes nothing more out of its queue */
    uint64_t untold;   /* events that were lost before the end of all began, and nobody was told of */
    struct losses losses;
    uint64_t lost_since_write, written, lost, undelivered;
    pthread_t thread;
    pthread_cond_t ready;
    unsigned failures; /* the thread's own: of write, in a row */
    size_t waited;     /* the thread's own: of what is in the queue, so many have waited long enough, */
    size_t cycle;      /* of so many that there were when it began to write them */
    uint64_t served_ns; /* the thread's own: when it has last written all that had waited */
    /* (lock) change.c: a sink waits, is one of bus.sinks, then leaves */
    bool waiting, cancelled, leaving, gone;
    uint64_t number, leave_by_ns;
    struct sink *next; /* among those that leave */
};

/* (lock) All of them. */
bool queue_put_special(struct sink *sink, struct queued *q);
/* Is there room for so many of any kind? */
static inline bool queue_fits(const struct sink *sink, size_t n, uint64_t bytes)
{
    const size_t count = sink->count + n, taken = sink->acks.at_hand + sink->acks.count;
    return !sink->off && sink->losses.n != LOSSES && count <= sink->room && count + taken <= sink->config.max_events &&
           sink->bytes + bytes <= sink->config.max_bytes;
}
static inline bool queue_put_fitting(struct sink *sink, struct queued *q)
{
    if (q->kind == SOTH_EV_EVENTS_LOST)
        return queue_put_special(sink, q);
    sink->ring[(sink->head + sink->count++) & (sink->room - 1)] = q;
    sink->bytes += q->bytes;
    sink->queued_last = q->sequence_id;
    return true;
}
/* False: the event is lost, and counted. */
static inline bool queue_put(struct sink *sink, struct queued *q)
{
    return queue_fits(sink, 1, q->bytes) ? queue_put_fitting(sink, q) : queue_put_special(sink, q);
}
uint32_t queue_take(struct sink *sink, struct queued **out, uint32_t max);
void queue_lost(struct sink *sink, const struct queued *q, uint64_t arrived); /* see losses_add */
void queue_clear(struct sink *sink);    /* all of it is lost, and what is not acknowledged */
void queue_relieved(struct sink *sink); /* after take: a pause_flow sink with room again lets the workers go on */
/* An event was taken: it counts until it is acknowledged. Without memory it counts as such at once. */
void acks_taken(struct sink *sink, uint64_t sequence_id, uint32_t bytes);
void acks_done(struct sink *sink, uint64_t upto); /* lets go of what has these numbers */
void acks_lost(struct sink *sink);                /* lets go of all: it is not known that it arrived, so it is lost */

/* ---- view.c: what a sink sees of an event ---- */

#define BATCH 128 /* so few that views of them are in the cache when the module reads them */
#define VIEW_SIZE(attrs) ((sizeof(struct soth_event) + (attrs) * sizeof(struct soth_attr) + 15) & ~(size_t)15) /* with attributes made for it */
#define VIEW_MOST VIEW_SIZE(EVENT_ATTRS_MOST + 1)
struct views {
    struct soth_span run_id;
    char *memory; /* for BATCH of the largest, of which the system gives what is written to */
    size_t used;
};
/* False: a sink that wants that much payload sees nothing of it; else *text is what it sees. */
bool view_cut(const struct soth_attr *attr, uint64_t payload, struct soth_span *text);
void views_free(struct views *views);
bool views_begin(struct views *views); /* forgets the views that were made; false without memory */
const struct soth_event *view_make(struct views *views, const struct queued *q, uint64_t payload);

/* ---- batch.c: a sink's events on their way to its module ---- */

struct batch {
    struct queued *queued[BATCH];
    const struct soth_event *events[BATCH];
    uint32_t count;
    uint64_t lost, waiting;
    struct views views; /* kept from batch to batch */
};
/* On the sink's thread, without the lock. Offers the batch until it is taken, dropped or time is up. Returns how many events were taken;
 * *again_ms is the wake-up that the module asked for, 0 = none. */
uint32_t batch_offer(struct sink *sink, struct batch *batch, uint32_t *again_ms);
/* Gives the memory back, and what counted in the queue but for what waits to be acknowledged. Takes the lock and keeps it. */
void batch_release(struct sink *sink, const struct batch *batch, uint32_t taken);

/* ---- sink.c ---- */

void *sink_main(void *arg);
void sink_reopen(struct sink *sink);
void sink_doze(struct sink *sink, uint64_t deadline_ns); /* (lock) until the deadline (0 = none) or a signal */
bool sink_out_of_time(const struct sink *sink);          /* (lock) */
uint64_t sink_nap_most(const struct sink *sink);         /* (lock) so many ns it need not look at its queue, which has room for them; 0: it must */
void sink_report_losses(struct sink *sink);              /* (lock) if there are any; at the end of all, what nobody hears is counted */

/* ---- change.c: how a sink comes and goes ---- */

/* (lock) The end of a sink's thread, and what its beginning waits for: false = it is not needed. */
void sink_gone(struct sink *sink);
bool sink_may_begin(struct sink *sink);
/* (lock) When it must have ended; 0 = it goes on. */
uint64_t sink_deadline(const struct sink *sink);
/* (lock) All threads of sinks look again what there is to do. */
void sinks_wake(struct bus *bus);

/* ---- bus.c ---- */

struct bus {
    pthread_mutex_t lock;
    struct sink **sinks; /* that events go to */
    size_t sink_count;
    struct sink *leaving;  /* (lock) they write what they have */
    uint64_t sinks_made;
    void (*on_begin)(void), (*on_end)(void); /* of a sink's thread */
    void (*on_gone)(void *arg);
    void *on_gone_arg;
    uint64_t kinds, payload_kinds, payload[SOTH_EV_COUNT]; /* (lock) what any sink wants, see bus_port */
    uint64_t sequence;   /* (lock) */
    unsigned full_sinks; /* (lock) pause_flow sinks that are full */
    bool stopping;       /* (lock) */
    uint64_t stop_deadline_ns, stop_wait_ns; /* the end of all; until when sinks wait for each other */
    char run_id[33];
    struct slab_pool pool;
    struct shape *shapes;    /* (lock) of ports that are gone */
    struct bus_port *ports;  /* (lock) */
    struct bus_port *system; /* (lock) for events of the process itself */
    struct event_source system_source;
};

struct sink *sink_new(struct bus *bus, const char *name, const char *group, void *instance, const struct bus_sink_ops *ops, uint64_t kinds,
                      const struct bus_queue_config *queue);
void sink_free(struct sink *sink); /* its thread has ended */
/* (lock) No more events will come for it. */
static inline bool sink_ends(const struct sink *sink) { return sink->bus->stopping || sink->leaving; }
/* (lock) after other sinks: what any of them wants. */
void bus_sum_up(struct bus *bus);
/* (lock) numbers and queues what the port has collected. */
void bus_publish(struct bus *bus, struct bus_port *port);
/* (lock) an event of flow 0. */
void bus_system_event(struct bus *bus, unsigned kind, const struct soth_attr *attrs, size_t n);
/* (lock) on the port's own thread: what the sinks want and whether there is room. */
void bus_port_learn(struct bus_port *port);
/* (lock) tells every port that the bus is no longer congested. */
void bus_wake_ports(struct bus *bus);
uint64_t bus_now_ns(void);

#endif
