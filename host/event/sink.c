/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A sink's thread: takes what its queue has, hands it to the module, deals with what the module answers. It sleeps until a worker has
 * published something, then waits a moment more, so that a busy proxy wakes it a few hundred times a second and not for every event.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "host/event/private.h"

#define BATCH 512
#define LINGER_NS 4000000   /* a moment for more events to come */
#define RETRY_DEFAULT_MS 100
#define BACK_OFF_MS 20      /* after the first failure, doubled with each, */
#define BACK_OFF_MOST_MS 320

struct batch {
    struct queued *queued[BATCH];
    const struct soth_event *events[BATCH];
    uint32_t count;
    uint64_t lost;
};

/* (lock held) until the deadline (0 = none) or a signal. */
static void doze(struct sink *sink, uint64_t deadline_ns)
{
    struct timespec at = {(time_t)(deadline_ns / 1000000000u), (long)(deadline_ns % 1000000000u)};
    if (deadline_ns)
        pthread_cond_timedwait(&sink->ready, &sink->bus->lock, &at);
    else
        pthread_cond_wait(&sink->ready, &sink->bus->lock);
}

/* (lock held) Losses are told as soon as there is room for the report. */
void sink_report_losses(struct sink *sink)
{
    if (sink->lost_to_report == 0 || sink->off)
        return;
    struct soth_attr attrs[] = {
        ATTR_NUMBER("count", sink->lost_to_report),
        ATTR_NUMBER("first_sequence_id", sink->first_lost),
        ATTR_NUMBER("last_sequence_id", sink->last_lost),
        ATTR_WORD("sink", sink->name),
    };
    sink->lost_to_report = 0;
    sink->fresh_losses = false;
    bus_system_event(sink->bus, SOTH_EV_EVENTS_LOST, attrs, 4);
}

/* ---- what the module answers ---- */

static bool out_of_time(const struct sink *sink)
{
    uint64_t deadline = sink_deadline(sink);
    return deadline && bus_now_ns() >= deadline;
}

static void reopen_now(struct sink *sink)
{
    if (sink->ops.reopen && sink->ops.reopen(sink->instance) < 0)
        bus_fault(sink->bus, sink->name, "reopen", "reopening failed");
}

/* Waits before the rest is offered again, no longer than the process has; reopens when asked to. False when time is up. Publishers do
 * not wake it: there is nothing it could do with more events. */
static bool patience(struct sink *sink, uint32_t ms)
{
    struct bus *bus = sink->bus;
    uint64_t until = bus_now_ns() + ms * UINT64_C(1000000);
    pthread_mutex_lock(&bus->lock);
    while (bus_now_ns() < until && !sink->reopen && !out_of_time(sink)) {
        uint64_t deadline = sink_deadline(sink);
        doze(sink, deadline && deadline < until ? deadline : until);
    }
    bool reopen = sink->reopen, go_on = !out_of_time(sink);
    sink->reopen = false;
    pthread_mutex_unlock(&bus->lock);
    if (reopen)
        reopen_now(sink);
    return go_on;
}

static void lose_rest(struct sink *sink, const struct batch *batch, uint32_t from)
{
    pthread_mutex_lock(&sink->bus->lock);
    for (uint32_t i = from; i < batch->count; i++)
        queue_lost(sink, batch->events[i]);
    if (sink->bus->stopping)
        sink->undelivered += batch->count - from;
    pthread_mutex_unlock(&sink->bus->lock);
}

static void broken(struct sink *sink)
{
    if (++sink->failures == 1)
        bus_fault(sink->bus, sink->name, "write", "the sink failed to write; its events are lost until it works again");
    if (sink->failures < SINK_MAX_FAILURES) {
        uint32_t wait = BACK_OFF_MS;
        for (unsigned i = 1; i < sink->failures && wait < BACK_OFF_MOST_MS; i++)
            wait *= 2;
        patience(sink, wait);
        return;
    }
    bus_fault(sink->bus, sink->name, "write", "the sink failed too often and is switched off");
    pthread_mutex_lock(&sink->bus->lock);
    sink->off = true;
    queue_clear(sink);
    pthread_mutex_unlock(&sink->bus->lock);
}

/* Offers the batch until it is taken, dropped or time is up. Returns how many events were taken; *again_ms is the wake-up that the
 * module asked for, 0 = none. */
static uint32_t offer(struct sink *sink, struct batch *batch, uint32_t *again_ms)
{
    uint32_t at = 0;
    for (;;) {
        uint32_t done = 0, ms = 0;
        struct soth_batch view = {sizeof view, batch->count - at, batch->events + at, batch->lost};
        int r = sink->ops.write(sink->instance, &view, &done, &ms);
        batch->lost = 0;
        *again_ms = ms;
        at = r == SOTH_OK ? batch->count : at + (done < view.count ? done : view.count);
        if (r == SOTH_OK) {
            sink->failures = 0;
            return at;
        }
        if (r == SOTH_RETRY && patience(sink, ms ? ms : RETRY_DEFAULT_MS))
            continue;
        *again_ms = 0;
        lose_rest(sink, batch, at);
        if (r < 0)
            broken(sink);
        return at;
    }
}

/* ---- the loop ---- */

/* Events of one slab come in a row mostly. Returns the bytes that were held. */
static uint64_t release(const struct batch *batch)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < batch->count;) {
        struct slab *slab = batch->queued[i]->slab;
        unsigned refs = 0;
        while (i < batch->count && batch->queued[i]->slab == slab) {
            bytes += batch->queued[i]->bytes;
            refs++;
            i++;
        }
        slab_put(slab, refs);
    }
    return bytes;
}

/* (lock held) Sleeps until there is something to do; wake_ns != 0: until then at the latest. */
static void wait_for_work(struct sink *sink, uint64_t wake_ns)
{
    struct bus *bus = sink->bus;
    while (sink->count == 0 && !sink_ends(sink) && !sink->reopen && (wake_ns == 0 || bus_now_ns() < wake_ns)) {
        if (sink->fresh_losses && !sink->off) {
            sink_report_losses(sink);
            continue;
        }
        sink->sleeping = true;
        doze(sink, wake_ns);
        sink->sleeping = false;
    }
    if (sink->count > 0 && sink->count < BATCH && !sink_ends(sink) && !sink->reopen) {
        struct timespec moment = {0, LINGER_NS};
        pthread_mutex_unlock(&bus->lock);
        nanosleep(&moment, NULL);
        pthread_mutex_lock(&bus->lock);
    }
}

/* (lock held) */
static void take(struct sink *sink, struct batch *batch)
{
    batch->count = queue_take(sink, batch->queued, BATCH);
    batch->lost = sink->lost_since_write;
    sink->lost_since_write = 0;
    sink_report_losses(sink);
}

/* One turn of the loop; lock held before and after, not between. */
static uint64_t turn(struct sink *sink, struct batch *batch, bool reopen)
{
    struct bus *bus = sink->bus;
    uint32_t again_ms = 0;
    pthread_mutex_unlock(&bus->lock);
    if (reopen)
        reopen_now(sink);
    for (uint32_t i = 0; i < batch->count; i++)
        batch->events[i] = &batch->queued[i]->event;
    uint32_t taken = sink->off ? 0 : offer(sink, batch, &again_ms); /* only this thread switches it off */
    uint64_t bytes = release(batch);
    pthread_mutex_lock(&bus->lock);
    sink->written += taken;
    sink->bytes -= bytes;
    queue_relieved(sink);
    return again_ms ? bus_now_ns() + again_ms * UINT64_C(1000000) : 0;
}

static void finish(struct sink *sink)
{
    pthread_mutex_lock(&sink->bus->lock);
    uint64_t now = bus_now_ns(), deadline = sink_deadline(sink);
    pthread_mutex_unlock(&sink->bus->lock);
    uint32_t left_ms = deadline > now ? (uint32_t)((deadline - now) / 1000000u) : 0;
    if (sink->ops.flush && sink->ops.flush(sink->instance, left_ms) < 0)
        sink->undelivered++; /* at least; how many it was the module says */
}

/* Until nothing more can come; lock held before and after. */
static void serve(struct sink *sink)
{
    struct batch batch;
    uint64_t wake_ns = 0;
    for (;;) {
        wait_for_work(sink, wake_ns);
        bool reopen = sink->reopen;
        sink->reopen = false;
        take(sink, &batch);
        if (sink_ends(sink) && batch.count == 0 && sink->count == 0)
            break;
        wake_ns = turn(sink, &batch, reopen);
        if (out_of_time(sink))
            break;
    }
}

void *sink_main(void *arg)
{
    struct sink *sink = arg;
    struct bus *bus = sink->bus;
    char name[16];
    snprintf(name, sizeof name, "sink-%.10s", sink->name);
    pthread_setname_np(pthread_self(), name);
    if (bus->on_begin)
        bus->on_begin();
    pthread_mutex_lock(&bus->lock);
    if (sink_may_begin(sink)) {
        serve(sink);
        pthread_mutex_unlock(&bus->lock);
        finish(sink);
        pthread_mutex_lock(&bus->lock);
        sink_gone(sink);
    }
    pthread_mutex_unlock(&bus->lock);
    if (bus->on_end)
        bus->on_end();
    return NULL;
}
