/* SPDX-License-Identifier: MPL-2.0 */
/* The inside of the bus, shared by the files of this room only. Everything marked (lock) is guarded by bus.lock. */
#ifndef HOST_EVENT_PRIVATE_H
#define HOST_EVENT_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "host/event/bus.h"

/* ---- slab.c: memory of events ---- */

#define SLAB_SIZE 65536u
#define SLAB_POOL 16u /* how many free ones are kept: a megabyte */

struct slab_pool {
    pthread_mutex_t lock;
    struct slab *free;
    unsigned count;
};

/* Events are carved from slabs; a slab lives while its port fills it, has unpublished events in it, or an event of it waits in a queue. */
struct slab {
    atomic_uint refs;
    uint32_t used, size;
    struct slab_pool *pool;
    struct slab *next; /* in the pool; among a port's retired ones */
    _Alignas(16) uint8_t data[];
};

void slab_pool_init(struct slab_pool *pool);
void slab_pool_fini(struct slab_pool *pool);
struct slab *slab_get(struct slab_pool *pool, size_t size); /* with one reference; NULL without memory */
void slab_put(struct slab *slab, unsigned refs);

struct queued {
    struct slab *slab;
    uint32_t bytes;
    struct soth_event event;
};

struct bus_port_private {
    struct slab *slab;    /* being filled */
    struct slab *retired; /* full, with events that are not published yet */
    struct queued **pending;
    size_t count, room;
    void (*wake)(void *arg);
    void *arg;
    struct bus_port *next; /* (lock) list of all ports */
};

/* ---- queue.c: the bounded queue of a sink ---- */

struct sink {
    struct bus *bus;
    char *name, *group;
    void *instance;
    struct bus_sink_ops ops;
    uint64_t kinds;
    struct bus_queue_config config;
    /* (lock) a ring of pointers; bytes counts what is in it and in the batch at hand */
    struct queued **ring;
    size_t room, head, count;
    uint64_t bytes;
    bool sleeping, full, off, reopen, running;
    bool fresh_losses; /* losses that no report was made of, reports of losses aside */
    uint64_t lost_since_write, lost_to_report, first_lost, last_lost;
    uint64_t written, lost, undelivered;
    pthread_t thread;
    pthread_cond_t ready;
    unsigned failures; /* the thread's own: of write, in a row */
    /* (lock) change.c: a sink waits, is one of bus.sinks, then leaves */
    bool waiting, cancelled, leaving, gone;
    uint64_t number, leave_by_ns;
    struct sink *next; /* among those that leave */
};

/* (lock) All of them. */
bool queue_put(struct sink *sink, struct queued *q); /* false: the event is lost, and counted */
uint32_t queue_take(struct sink *sink, struct queued **out, uint32_t max);
void queue_lost(struct sink *sink, const struct soth_event *event);
void queue_clear(struct sink *sink);    /* all of it is lost */
void queue_relieved(struct sink *sink); /* after take: a pause_flow sink with room again lets the workers go on */

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
    uint64_t kinds;      /* any sink wants */
    uint64_t sequence;   /* (lock) */
    unsigned full_sinks; /* (lock) pause_flow sinks that are full */
    bool stopping;       /* (lock) */
    uint64_t stop_deadline_ns;
    char run_id[33];
    struct slab_pool pool;
    struct bus_port *ports;  /* (lock) */
    struct bus_port *system; /* (lock) for events of the process itself */
    struct event_source system_source;
};

struct sink *sink_new(struct bus *bus, const char *name, const char *group, void *instance, const struct bus_sink_ops *ops, uint64_t kinds,
                      const struct bus_queue_config *queue);
void sink_free(struct sink *sink); /* its thread has ended */
void *sink_main(void *arg);
void sink_report_losses(struct sink *sink); /* (lock) if there are any */
/* change.c (lock): the end of a sink's thread, and what its beginning waits for: false = it is not needed. */
void sink_gone(struct sink *sink);
bool sink_may_begin(struct sink *sink);
/* (lock) No more events will come for it. */
static inline bool sink_ends(const struct sink *sink) { return sink->bus->stopping || sink->leaving; }
/* (lock) When it must have ended; 0 = it goes on. */
uint64_t sink_deadline(const struct sink *sink);
/* (lock) numbers and queues what the port has collected. */
void bus_publish(struct bus *bus, struct bus_port *port);
/* (lock) an event of flow 0. */
void bus_system_event(struct bus *bus, unsigned kind, const struct soth_attr *attrs, size_t n);
/* (lock) tells every port that the bus is no longer congested. */
void bus_wake_ports(struct bus *bus);
uint64_t bus_now_ns(void);

#endif
