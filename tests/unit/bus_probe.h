/* SPDX-License-Identifier: MPL-2.0 */
/* For tests of the bus: a sink that remembers what it got and answers what the test wants, and a bus with one such sink and one port. */
#ifndef TESTS_UNIT_BUS_PROBE_H
#define TESTS_UNIT_BUS_PROBE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "host/event/bus.h"

#define KINDS(kind) (UINT64_C(1) << (kind))
#define EVERY (~UINT64_C(1))
#define SEEN_MAX 200000

struct seen {
    uint64_t sequence_id, flow_id, flow_sequence_id;
    uint16_t kind;
    uint64_t count, first, last; /* of events_lost */
};

struct probe {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed;     /* gate: write waits */
    unsigned passes; /* that many writes may go on all the same */
    bool inside;     /* write waits right now */
    int answers[32]; /* of the next writes; then SOTH_OK */
    unsigned answer_count, answer_at, take_first; /* events that a write takes that is not SOTH_OK */
    int always;      /* != 0: of all further writes */
    uint32_t retry_ms;
    uint64_t gave_ns[32]; /* when the first writes came, */
    uint64_t waiting[32]; /* and what they said that waits behind them */
    uint32_t flush_ms; /* that flush was given */
    bool flush_waits;  /* until it is false */
    unsigned writes, empty_writes, flushes, reopens, wakes;
    uint64_t lost; /* as told by batches */
    struct seen *seen;
    size_t n;
    struct bus *ack; /* != NULL: what a write takes is acknowledged in it */
};

void probe_init(struct probe *p);
void probe_fini(struct probe *p);
void probe_gate(struct probe *p, bool closed);
void probe_pass(struct probe *p);           /* lets one write go on and waits for the next */
void probe_answer(struct probe *p, int always); /* sets `always` */
extern const struct bus_sink_ops probe_ops;
void probe_woken(void *arg);               /* for bus_port_new; counts wakes */
uint64_t probe_told_lost(const struct probe *p); /* the sum of all events_lost */
/* Every number from 1 to `last` was seen, or is in exactly one range of an events_lost, in which nothing was seen but such reports; fails
 * the test if not. */
void probe_accounts_for(const struct probe *p, uint64_t last);

/* Waits, a minute at most, until *field >= least. */
#define PROBE_WAIT(p, field, least)                                            \
    do {                                                                       \
        struct timespec until;                                                 \
        clock_gettime(CLOCK_REALTIME, &until);                                 \
        until.tv_sec += 60;                                                    \
        pthread_mutex_lock(&(p)->lock);                                        \
        while ((p)->field < (least))                                           \
            if (pthread_cond_timedwait(&(p)->changed, &(p)->lock, &until) != 0) \
                break;                                                         \
        bool there_ = (p)->field >= (least);                                   \
        pthread_mutex_unlock(&(p)->lock);                                      \
        assert_true(there_);                                                   \
    } while (0)

struct sink_line {
    struct bus *bus;
    struct bus_port *port;
    struct event_source source;
    struct probe probe;
};

void line_init(struct sink_line *rig, uint64_t max_events, uint32_t on_full);
void line_init_queue(struct sink_line *rig, const struct bus_queue_config *queue);
uint64_t line_stop(struct sink_line *rig, uint32_t deadline_ms); /* the port is gone then */
void line_free(struct sink_line *rig);
uint64_t line_fini(struct sink_line *rig); /* both */
void line_emit(struct sink_line *rig, unsigned n); /* request_body_chunk, one flush */
void line_hold(struct sink_line *rig); /* brings the sink into write with one event and keeps it there */

#endif
