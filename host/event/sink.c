/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A sink's thread: takes what its queue has, hands it to the module, deals with what the module answers. It sleeps until a worker has
 * published something; then it waits for more: a moment after it has been at work, so that a busy proxy wakes it a hundred times a second or two and
 * not for every event; a small part of a millisecond when an event comes out of silence, which somebody may be looking for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/event/private.h"

#define LINGER_NS UINT64_C(4000000)    /* from writing to writing, */
#define LINGER_MANY_NS UINT64_C(12000000) /* after many: each time it comes it has a worker's core, and leaves that with a cold cache */
#define LINGER_LEAST_NS UINT64_C(200000) /* but that long at least, for the events that come with the first one: */
#define MANY 512u                      /* if they are fewer */
#define BUSY 32u                       /* so many in a moment: more will come */
#define EVENT_NS UINT64_C(200)         /* so soon one follows the other at the most, from all workers; a sink takes three times as long, */
#define BYTES_A_NS UINT64_C(5)         /* and so many come: a queue as large as by default is not full within LINGER_MANY_NS */
#define QUIET_NS UINT64_C(250000000)   /* a moment without any: what they were in is given back */

void sink_doze(struct sink *sink, uint64_t deadline_ns)
{
    struct timespec at = {(time_t)(deadline_ns / 1000000000u), (long)(deadline_ns % 1000000000u)};
    if (deadline_ns)
        pthread_cond_timedwait(&sink->ready, &sink->bus->lock, &at);
    else
        pthread_cond_wait(&sink->ready, &sink->bus->lock);
}

bool sink_out_of_time(const struct sink *sink)
{
    uint64_t deadline = sink_deadline(sink);
    return deadline && bus_now_ns() >= deadline;
}

void sink_reopen(struct sink *sink)
{
    if (sink->ops.reopen && sink->ops.reopen(sink->instance) < 0)
        bus_fault(sink->bus, sink->name, "reopen", "reopening failed");
}

static bool anybody_hears(const struct bus *bus)
{
    for (size_t i = 0; i < bus->sink_count; i++) {
        const struct sink *sink = bus->sinks[i];
        if (sink->running && !sink->deaf && !sink->off && (sink->kinds >> SOTH_EV_EVENTS_LOST) & 1)
            return true;
    }
    return false;
}

/* Losses are told as soon as it is known that they are. */
void sink_report_losses(struct sink *sink)
{
    struct losses told = sink->losses;
    if (sink->off)
        return;
    if (sink->untold && sink->bus->stopping && !anybody_hears(sink->bus))
        sink->undelivered += sink->untold;
    sink->untold = 0;
    sink->losses.n = 0;
    sink->fresh_losses = false;
    for (unsigned i = 0; i < told.n; i++) {
        struct soth_attr attrs[] = {
            ATTR_NUMBER("count", told.v[i].count),
            ATTR_NUMBER("first_sequence_id", told.v[i].first),
            ATTR_NUMBER("last_sequence_id", told.v[i].last),
            ATTR_WORD("sink", sink->name),
        };
        bus_system_event(sink->bus, SOTH_EV_EVENTS_LOST, attrs, 4);
    }
}

/* A burst gives no notice, so it does not matter what came of late, but how soon what is free could be full: of a small queue an awake sink
 * would have made room meanwhile. What is not acknowledged has its place still. */
uint64_t sink_nap_most(const struct sink *sink)
{
    const uint64_t count = sink->count + sink->acks.at_hand + sink->acks.count;
    if (sink->count >= MANY || sink_ends(sink) || sink->reopen || count >= sink->config.max_events || sink->bytes >= sink->config.max_bytes)
        return 0;
    const uint64_t events_ns = (sink->config.max_events - count) * EVENT_NS, bytes_ns = (sink->config.max_bytes - sink->bytes) / BYTES_A_NS;
    const uint64_t most = events_ns < bytes_ns ? events_ns : bytes_ns;
    return most >= LINGER_LEAST_NS ? most : 0;
}

/* (lock held) */
static uint64_t nap_wanted(const struct sink *sink)
{
    const uint64_t linger = sink->cycle >= MANY ? LINGER_MANY_NS : LINGER_NS;
    if (sink->count == 0)
        return sink->cycle >= BUSY ? linger : 0;
    const uint64_t now = bus_now_ns(), until = sink->served_ns + linger;
    return until > now + LINGER_LEAST_NS ? until - now : LINGER_LEAST_NS;
}

/* (lock held) Nobody wakes it. */
static void nap(struct sink *sink, uint64_t ns)
{
    struct timespec moment = {0, (long)ns};
    pthread_mutex_unlock(&sink->bus->lock);
    nanosleep(&moment, NULL);
    pthread_mutex_lock(&sink->bus->lock);
}

/* (lock held) All is written, and more will come in a moment: it looks again by itself then, which is cheaper for all than to be woken. */
static void nap_between(struct sink *sink)
{
    if (sink->count > 0 && sink->waited > 0)
        return;
    const uint64_t most = sink_nap_most(sink), wanted = most > 0 ? nap_wanted(sink) : 0;
    if (wanted > 0)
        nap(sink, wanted < most ? wanted : most);
    sink->waited = sink->cycle = sink->count;
}

/* (lock held) Sleeps until there is something to do; wake_ns != 0: until then at the latest. */
static void wait_for_work(struct sink *sink, struct views *views, uint64_t wake_ns)
{
    struct bus *bus = sink->bus;
    bool quiet = wake_ns != 0;
    nap_between(sink);
    if (sink->count > 0)
        return;
    while (sink->count == 0 && !sink_ends(sink) && !sink->reopen && (wake_ns == 0 || bus_now_ns() < wake_ns)) {
        if (sink->fresh_losses && !sink->off) {
            sink_report_losses(sink);
            continue;
        }
        const uint64_t until = quiet ? wake_ns : bus_now_ns() + QUIET_NS;
        sink->sleeping = true;
        sink_doze(sink, until);
        sink->sleeping = false;
        if (!quiet && sink->count == 0 && bus_now_ns() >= until) {
            slab_pool_trim(&bus->pool);
            views_free(views);
            quiet = true;
        }
    }
    nap_between(sink);
}

/* (lock held) */
static void take(struct sink *sink, struct batch *batch)
{
    batch->count = queue_take(sink, batch->queued, BATCH);
    sink->waited -= batch->count < sink->waited ? batch->count : sink->waited;
    batch->waiting = sink->waited < sink->count ? sink->waited : sink->count;
    batch->lost = sink->lost_since_write;
    sink->lost_since_write = 0;
    sink_report_losses(sink);
}

/* One turn of the loop; lock held before and after, not between. */
static uint64_t turn(struct sink *sink, struct batch *batch, bool reopen)
{
    uint32_t again_ms = 0;
    pthread_mutex_unlock(&sink->bus->lock);
    if (reopen)
        sink_reopen(sink);
    uint32_t taken = sink->off ? 0 : batch_offer(sink, batch, &again_ms); /* only this thread switches it off */
    batch_release(sink, batch, taken);
    if (sink->waited == 0)
        sink->served_ns = bus_now_ns();
    return again_ms ? bus_now_ns() + again_ms * UINT64_C(1000000) : 0;
}

/* What was taken is flushed; what has to be acknowledged is waited for. Lock held before and after. */
static void finish(struct sink *sink)
{
    struct bus *bus = sink->bus;
    uint64_t now = bus_now_ns(), deadline = sink_deadline(sink);
    uint32_t left_ms = deadline > now ? (uint32_t)((deadline - now) / 1000000u) : 0;
    pthread_mutex_unlock(&bus->lock);
    int r = sink->ops.flush ? sink->ops.flush(sink->instance, left_ms) : SOTH_OK;
    pthread_mutex_lock(&bus->lock);
    while (sink->acks.count > 0 && !sink_out_of_time(sink))
        sink_doze(sink, sink_deadline(sink)); /* which may come nearer meanwhile */
    if (bus->stopping)
        sink->undelivered += sink->acks.count;
    if (r < 0 && sink->acks.count == 0)
        sink->undelivered++; /* at least; how many it was the module says */
}

static bool is_busy(const struct sink *sink)
{
    return sink->running && !sink->gone && (sink->count > 0 || sink->at_hand > 0 || (sink->fresh_losses && !sink->off));
}

static bool any_is_busy(const struct bus *bus)
{
    bool busy = false;
    for (size_t i = 0; i < bus->sink_count; i++)
        busy |= is_busy(bus->sinks[i]);
    for (const struct sink *sink = bus->leaving; sink; sink = sink->next)
        busy |= is_busy(sink);
    return busy;
}

/* (lock held) At the end of all: those that are still at work may lose something, and this sink wants to know - unless it leaves, then
 * nothing more comes for it. It does not wait for them all the time that there is, since it has to flush. False: look again. */
static bool others_are_done(struct sink *sink)
{
    struct bus *bus = sink->bus;
    if (!sink->leaving && any_is_busy(bus) && bus_now_ns() < bus->stop_wait_ns) {
        sink->sleeping = true;
        sink_doze(sink, bus->stop_wait_ns);
        sink->sleeping = false;
        return false;
    }
    sinks_wake(bus);
    return true;
}

/* Until nothing more can come; lock held before and after. */
static void serve(struct sink *sink)
{
    struct batch batch = {.views.run_id = {sink->bus->run_id, sizeof sink->bus->run_id - 1}};
    uint64_t wake_ns = 0;
    sink->served_ns = bus_now_ns();
    for (;;) {
        wait_for_work(sink, &batch.views, wake_ns);
        bool reopen = sink->reopen;
        sink->reopen = false;
        take(sink, &batch);
        if (sink_ends(sink) && batch.count == 0 && sink->count == 0 && others_are_done(sink))
            break;
        if (!sink_ends(sink) || batch.count > 0 || reopen)
            wake_ns = turn(sink, &batch, reopen);
        if (sink_out_of_time(sink))
            break;
    }
    sink->deaf = true;
    views_free(&batch.views);
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
        finish(sink);
        sink_gone(sink);
    }
    pthread_mutex_unlock(&bus->lock);
    if (bus->on_end)
        bus->on_end();
    return NULL;
}
