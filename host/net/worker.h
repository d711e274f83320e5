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
#include "host/chain/chain.h"
#include "host/flow/flow.h"
#include "host/limit/governor.h"
#include "host/net/listener.h"

struct registry;
struct worker;
struct conn;

/* Made before the workers start, outlives them. */
struct shared {
    const struct settings *settings;
    struct bus *bus;
    struct registry *registry;
    struct authority *authority;
    struct trust *trust, *trust_any;
    struct session_tickets *tickets;
    struct tls_failure_stats *failures;
    struct listener_set *listeners;
    struct leaf **fixed_leaves; /* one per listener, NULL where it has none */
    struct governor governor;
    atomic_uint_fast64_t next_flow_id;
};

/* Commands, ored; taken by the worker at its next turn. */
#define WORKER_DRAIN 1u /* stop accepting, let flows end */
#define WORKER_ABORT 2u /* end every flow now */
#define WORKER_STOP 4u  /* leave the loop */
#define WORKER_WAKE 8u  /* the bus is not congested any more */
#define WORKER_MAIL 16u /* modules let flows go on */

/* NULL on failure. `idle` is called on the worker's thread when it drains and its last connection has gone. */
struct worker *worker_start(struct shared *shared, unsigned number, void (*idle)(void *arg), void *arg);
void worker_command(struct worker *worker, unsigned commands); /* any thread */
void worker_join(struct worker *worker);                       /* after WORKER_STOP; frees it */
/* A snapshot; counters are written by the worker without locks, each is a machine word. */
void worker_counters(const struct worker *worker, struct flow_counters *out);

/* ---- for conn.c ---- */

struct event_base;
struct worker_io {
    struct shared *shared;
    struct event_base *base;
    struct dialer *dialer;
    struct flow_env env;
    struct mailbox *mailbox;
    struct chain_env chains;
    struct flow_counters counters;
    uint8_t *slab; /* every read of this worker goes here */
    struct buffer out[2];
    bool stopped_reading; /* the bus is congested: no connection reads */
    struct conn *conns;   /* all connections of this worker */
    unsigned conn_count, closed_count;
    int reserved_fds;     /* worker_reserve */
    bool draining;
};
#define WORKER_SLAB (256u * 1024u)

/* The time of this loop turn, read once. */
void worker_clock(struct worker_io *io);
void worker_conn_gone(struct worker_io *io);
/* Before a descriptor is given to the loop for the first time. libevent keeps an entry of a few bytes for every number it has seen; made
 * one by one among connections each would pin a page of memory long after the connection. */
void worker_reserve(struct worker_io *io, int fd);

#endif
