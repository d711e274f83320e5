/* SPDX-License-Identifier: MPL-2.0 */
/* The inside of the bus, shared by the files of this room only. Everything marked (lock) is guarded by bus.lock. */
#ifndef HOST_EVENT_PRIVATE_H
#define HOST_EVENT_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "host/event/bus.h"

#define SLAB_SIZE 65536u

/* Events are carved from slabs; a slab lives while its port fills it or an event of it waits in a queue. */
struct slab {
    atomic_uint refs;
    struct slab *next; /* in a port's list of full slabs */
    uint32_t used, size;
    _Alignas(16) uint8_t data[];
};

struct queued {
    struct slab *slab;
    uint32_t bytes;
    struct soth_event event;
};

struct bus_port_private {
    struct slab *slab;    /* is being filled */
    struct slab *retired; /* are full; their events may still be pending, so they are kept until the next publication */
    struct queued **pending;
    size_t count, room;
    void (*wake)(void *arg);
    void *arg;
    struct bus_port *next; /* (lock) list of all ports */
};

struct sink {
    struct bus *bus;
    char *name;
    void *instance;
    struct bus_sink_ops ops;
    uint64_t kinds;
    struct bus_queue_config config;
    /* (lock) the ring */
    struct queued **ring;
    size_t room, head, count;
    uint64_t bytes;
    bool sleeping, full, off;
    uint64_t lost_since_write, lost_to_report, first_lost, last_lost;
    uint64_t written, lost;
    bool reopen;
    pthread_t thread;
    pthread_cond_t ready;
    unsigned failures; /* the thread's own */
};

struct bus {
    pthread_mutex_t lock;
    struct sink **sinks;
    size_t sink_count;
    uint64_t kinds;     /* any sink wants */
    uint64_t sequence;  /* (lock) */
    unsigned full_sinks; /* (lock) pause_flow sinks that are full */
    bool started, stopping;
    uint64_t stop_deadline_ns;
    char run_id[33];
    struct bus_port *ports;          /* (lock) */
    struct bus_port *system;         /* (lock) for events of the process itself */
    struct event_source system_source;
};

void *sink_main(void *arg);
void slab_put(struct slab *slab, unsigned refs);
/* (lock held) numbers and queues what the port has collected. */
void bus_publish(struct bus *bus, struct bus_port *port);
/* (lock held) an event of flow 0. */
void bus_system_event(struct bus *bus, unsigned kind, const struct soth_attr *attrs, size_t n);
/* (lock held) tells every port that the bus is no longer congested. */
void bus_wake_ports(struct bus *bus);
uint64_t bus_now_ns(void);

#endif
