/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A sink's thread: takes what its ring has, hands it to the module, deals with what the module answers. It sleeps until a worker has
 * published something, then waits a moment more, so that a busy proxy wakes it a few hundred times a second and not for every event.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "host/event/private.h"

#define BATCH 512
#define LINGER_NS 4000000       /* a moment for more events to come */
#define RETRY_DEFAULT_MS 100
#define FAILURES_ALLOWED 10     /* in a row; then the sink is switched off */

struct batch {
    struct queued *queued[BATCH];
    const struct soth_event *events[BATCH];
    uint32_t count;
    uint64_t lost;
};

static void wait_until(struct sink *sink, uint64_t deadline_ns)
{
    struct timespec at = {(time_t)(deadline_ns / 1000000000u), (long)(deadline_ns % 1000000000u)};
    sink->sleeping = true;
    if (deadline_ns)
        pthread_cond_timedwait(&sink->ready, &sink->bus->lock, &at);
    else
        pthread_cond_wait(&sink->ready, &sink->bus->lock);
    sink->sleeping = false;
}

/* (lock held) Losses are told as soon as there is room again. */
static void report_losses(struct sink *sink)
{
    if (sink->lost_to_report == 0 || sink->off)
        return;
    uint64_t count = sink->lost_to_report;
    sink->lost_to_report = 0;
    struct soth_attr attrs[] = {
        ATTR_NUMBER("count", count),
        ATTR_NUMBER("first_sequence_id", sink->first_lost),
        ATTR_NUMBER("last_sequence_id", sink->last_lost),
        ATTR_WORD("sink", sink->name),
    };
    bus_system_event(sink->bus, SOTH_EV_EVENTS_LOST, attrs, 4);
}

/* (lock held) */
static void take(struct sink *sink, struct batch *batch)
{
    batch->count = 0;
    while (sink->count > 0 && batch->count < BATCH) {
        struct queued *q = sink->ring[sink->head];
        sink->head = (sink->head + 1) & (sink->room - 1);
        sink->count--;
        sink->bytes -= q->bytes;
        batch->queued[batch->count] = q;
        batch->events[batch->count++] = &q->event;
    }
    batch->lost = sink->lost_since_write;
    sink->lost_since_write = 0;
    report_losses(sink);
    if (sink->full && sink->count <= sink->config.max_events / 2 && sink->bytes <= sink->config.max_bytes / 2) {
        sink->full = false;
        if (--sink->bus->full_sinks == 0)
            bus_wake_ports(sink->bus);
    }
}

static void release(const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->count;) {
        struct slab *slab = batch->queued[i]->slab;
        unsigned refs = 0;
        while (i < batch->count && batch->queued[i]->slab == slab) {
            refs++;
            i++;
        }
        slab_put(slab, refs);
    }
}

static void fault(struct sink *sink, const char *detail)
{
    pthread_mutex_lock(&sink->bus->lock);
    struct soth_attr attrs[] = {ATTR_WORD("detail", detail), ATTR_WORD("hook", "write"), ATTR_WORD("module", sink->name)};
    bus_system_event(sink->bus, SOTH_EV_MODULE_FAULT, attrs, 3);
    pthread_mutex_unlock(&sink->bus->lock);
}

static void count_lost(struct sink *sink, const struct batch *batch, uint32_t from)
{
    pthread_mutex_lock(&sink->bus->lock);
    for (uint32_t i = from; i < batch->count; i++) {
        if (sink->lost_to_report++ == 0)
            sink->first_lost = batch->events[i]->sequence_id;
        sink->last_lost = batch->events[i]->sequence_id;
        sink->lost++;
    }
    pthread_mutex_unlock(&sink->bus->lock);
}

/* Waits before the rest is offered again; false when the process ends before that. */
static bool patience(struct sink *sink, uint32_t ms)
{
    struct bus *bus = sink->bus;
    uint64_t until = bus_now_ns() + (ms ? ms : RETRY_DEFAULT_MS) * UINT64_C(1000000);
    bool go_on = true;
    pthread_mutex_lock(&bus->lock);
    while (go_on && bus_now_ns() < until) {
        uint64_t wake = until;
        if (bus->stopping && bus->stop_deadline_ns < wake)
            wake = bus->stop_deadline_ns;
        wait_until(sink, wake);
        go_on = !(bus->stopping && bus_now_ns() >= bus->stop_deadline_ns);
    }
    pthread_mutex_unlock(&bus->lock);
    return go_on;
}

static void broken(struct sink *sink, const struct batch *batch, uint32_t done)
{
    count_lost(sink, batch, done);
    if (++sink->failures == 1)
        fault(sink, "the sink failed to write; its events are lost until it works again");
    if (sink->failures == FAILURES_ALLOWED) {
        fault(sink, "the sink failed too often and is switched off");
        pthread_mutex_lock(&sink->bus->lock);
        sink->off = true;
        pthread_mutex_unlock(&sink->bus->lock);
    }
}

/* Offers the batch until it is taken, dropped or time is up. Returns what the module asked for: a wake-up in so many ms, 0 = none. */
static uint32_t offer(struct sink *sink, struct batch *batch)
{
    uint32_t at = 0, retry_ms = 0;
    for (;;) {
        uint32_t done = 0;
        struct soth_batch view = {sizeof view, batch->count - at, batch->events + at, batch->lost};
        retry_ms = 0;
        int r = sink->ops.write(sink->instance, &view, &done, &retry_ms);
        batch->lost = 0;
        at += done < view.count ? done : view.count;
        if (r == SOTH_OK) {
            sink->failures = 0;
            break;
        }
        if (r == SOTH_RETRY && patience(sink, retry_ms))
            continue;
        if (r < 0)
            broken(sink, batch, at);
        else
            count_lost(sink, batch, at);
        break;
    }
    pthread_mutex_lock(&sink->bus->lock);
    sink->written += at;
    pthread_mutex_unlock(&sink->bus->lock);
    return retry_ms;
}

/* (lock held) Sleeps until there is something to do. */
static void wait_for_work(struct sink *sink, uint64_t wake_ns)
{
    struct bus *bus = sink->bus;
    while (sink->count == 0 && !bus->stopping && !sink->reopen) {
        if (wake_ns && bus_now_ns() >= wake_ns)
            return;
        wait_until(sink, wake_ns);
    }
    if (sink->count < BATCH && !bus->stopping && !sink->reopen) {
        struct timespec moment = {0, LINGER_NS};
        pthread_mutex_unlock(&bus->lock);
        nanosleep(&moment, NULL);
        pthread_mutex_lock(&bus->lock);
    }
}

static void reopen_now(struct sink *sink)
{
    if (sink->ops.reopen && sink->ops.reopen(sink->instance) < 0)
        fault(sink, "reopening failed");
}

static bool out_of_time(const struct bus *bus)
{
    return bus->stopping && bus_now_ns() >= bus->stop_deadline_ns;
}

static void finish(struct sink *sink)
{
    uint64_t now = bus_now_ns(), deadline = sink->bus->stop_deadline_ns;
    if (sink->ops.flush)
        sink->ops.flush(sink->instance, deadline > now ? (uint32_t)((deadline - now) / 1000000u) : 0);
}

void *sink_main(void *arg)
{
    struct sink *sink = arg;
    struct bus *bus = sink->bus;
    static _Thread_local struct batch batch;
    char name[16];
    uint64_t wake_ns = 0;
    snprintf(name, sizeof name, "sink-%.10s", sink->name);
    pthread_setname_np(pthread_self(), name);
    pthread_mutex_lock(&bus->lock);
    for (;;) {
        wait_for_work(sink, wake_ns);
        bool reopen = sink->reopen;
        sink->reopen = false;
        take(sink, &batch);
        bool end = bus->stopping && batch.count == 0 && sink->count == 0;
        pthread_mutex_unlock(&bus->lock);
        if (reopen)
            reopen_now(sink);
        if (end)
            break;
        uint32_t again_ms = offer(sink, &batch);
        release(&batch);
        wake_ns = again_ms ? bus_now_ns() + again_ms * UINT64_C(1000000) : 0;
        pthread_mutex_lock(&bus->lock);
        if (out_of_time(bus)) {
            pthread_mutex_unlock(&bus->lock);
            break;
        }
    }
    finish(sink);
    return NULL;
}
