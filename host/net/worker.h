/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A worker: one thread, one event loop, its own listening sockets, its own flows. Nothing of a flow is shared with another worker; what
 * workers share is read-mostly (struct shared). The control thread talks to a worker by commands only.
 */
#ifndef HOST_NET_WORKER_H
#define HOST_NET_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/conf/settings.h"
#include "host/flow/flow.h"
#include "host/limit/governor.h"
#include "host/module/registry.h"
#include "host/net/listener.h"

struct generation;
struct watchdog;
struct worker;
struct worker_env;
struct conn;
struct hangup;

/* What all workers and generations have in common. Made before the workers start, outlives them. */
struct shared {
    unsigned workers;
    struct bus *bus;
    struct registry_shared modules;
    struct session_tickets *tickets;
    struct tls_failure_stats *failures;
    struct watchdog *watchdog;
    struct governor governor;
    atomic_uint_fast64_t next_flow_id;
};

/* Commands, ored; taken by the worker at its next turn. */
#define WORKER_DRAIN 1u /* stop accepting, let flows end */
#define WORKER_ABORT 2u /* end every flow and every connection now */
#define WORKER_STOP 4u  /* leave the loop */
#define WORKER_WAKE 8u  /* the bus is not congested any more, or has other sinks */
#define WORKER_MAIL 16u /* modules let flows go on */
/* To be answered. Each generation is prepared by all workers before any adopts it; if one cannot, all discard it. */
#define WORKER_PREPARE 32u  /* make ready for the generation on offer */
#define WORKER_ADOPT 64u    /* connections accepted from here on are of it */
#define WORKER_DISCARD 128u /* forget it */
#define WORKER_COUNT 256u   /* give the counters */

/* What a worker tells, on its own thread; none of these may block. */
struct worker_reports {
    void (*idle)(void *arg);     /* it drains, and its last connection has gone */
    void (*cut)(void *arg);      /* WORKER_ABORT has met a flow, or last bytes of one; told before idle */
    void (*released)(void *arg); /* it is done with a generation */
    void (*answered)(void *arg, const char *fault); /* a command was carried out; fault: a sentence, NULL = well */
    void (*counted)(void *arg, unsigned number, const struct flow_counters *counters);
    void *arg;
};

/* A worker without a generation: it accepts nothing yet. NULL on failure. */
struct worker *worker_start(struct shared *shared, unsigned number, const struct worker_reports *reports);
void worker_command(struct worker *worker, unsigned commands); /* any thread */
/* Before WORKER_PREPARE; control thread. */
void worker_offer(struct worker *worker, struct generation *generation);
void worker_join(struct worker *worker);                       /* after WORKER_STOP; frees it */
/* How many workers `workers: 0` means. */
unsigned worker_cores(void);

/* ---- for conn.c ---- */

struct event_base;
struct worker_io {
    struct shared *shared;
    unsigned number;
    struct event_base *base;
    struct hangup *hangup;
    struct bus_port *bus;
    struct mailbox *mailbox;
    struct worker_env *env; /* of connections that are accepted now */
    struct flow_counters counters;
    uint8_t *slab;  /* every read of this worker goes here */
    uint8_t *plain; /* scratch for plaintext */
    struct buffer out[2];
    bool stopped_reading; /* the bus is congested: no connection reads */
    struct conn *conns;   /* all connections of this worker */
    unsigned conn_count, closed_count;
    int reserved_fds;     /* worker_reserve */
    bool draining;
};
/* What one read takes: three TLS records, which with a begun fourth in front never make four. What is sent then fits into one segment, also
 * on loopback (65,464 bytes). With more, a congestion control that paces (BBR) arms a timer for what is left of each send: that costs more
 * than the calls which it saves. docs/testing/perf-baselines.md has the measurements. */
#define WORKER_SLAB (48u * 1024u)
#define WORKER_PLAIN 16384u /* one TLS record's plaintext */

/* The time of this loop turn, read once. */
void worker_clock(struct worker_io *io);
void worker_conn_gone(struct worker_io *io);
/* Before a descriptor is given to the loop for the first time. libevent keeps an entry of a few bytes for every number it has seen; made
 * one by one among connections each would pin a page of memory long after the connection. */
void worker_reserve(struct worker_io *io, int fd);

#endif
