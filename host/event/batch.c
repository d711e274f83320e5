/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A batch of events in the hands of a sink's module: offered as often as it takes, and what the module answers is dealt with. On the
 * sink's own thread; the lock is taken for a moment where it says so.
 */
#include "host/event/private.h"

#define BACK_OFF_MS 20 /* after the first failure or refusal, doubled with each, */
#define BACK_OFF_MOST_MS 320
#define RETRY_MOST_MS 5120

/* ---- what the module answers ---- */

/* Waits before the rest is offered again, no longer than the process has; reopens when asked to. False when time is up. Publishers do
 * not wake it: there is nothing it could do with more events. */
static bool patience(struct sink *sink, uint32_t ms)
{
    struct bus *bus = sink->bus;
    uint64_t until = bus_now_ns() + ms * UINT64_C(1000000);
    pthread_mutex_lock(&bus->lock);
    while (bus_now_ns() < until && !sink->reopen && !sink_out_of_time(sink)) {
        uint64_t deadline = sink_deadline(sink);
        sink_doze(sink, deadline && deadline < until ? deadline : until);
    }
    bool reopen = sink->reopen, go_on = !sink_out_of_time(sink);
    sink->reopen = false;
    pthread_mutex_unlock(&bus->lock);
    if (reopen)
        sink_reopen(sink);
    return go_on;
}

static uint32_t back_off(unsigned times, uint32_t most)
{
    uint32_t ms = BACK_OFF_MS;
    for (unsigned i = 1; i < times && ms < most; i++)
        ms *= 2;
    return ms < most ? ms : most;
}

static void lose_rest(struct sink *sink, const struct batch *batch, uint32_t from)
{
    pthread_mutex_lock(&sink->bus->lock);
    for (uint32_t i = from; i < batch->count; i++)
        queue_lost(sink, batch->queued[i], i == from ? UINT64_MAX : 0);
    if (sink->bus->stopping)
        sink->undelivered += batch->count - from;
    pthread_mutex_unlock(&sink->bus->lock);
}

static void switch_off(struct sink *sink, const char *why)
{
    pthread_mutex_lock(&sink->bus->lock);
    sink->off = true;
    queue_clear(sink);
    pthread_mutex_unlock(&sink->bus->lock);
    bus_fault(sink->bus, sink->name, "write", why);
}

static void broken(struct sink *sink)
{
    if (++sink->failures == 1)
        bus_fault(sink->bus, sink->name, "write", "the sink failed to write; its events are lost until it works again");
    if (sink->failures < SINK_MAX_FAILURES)
        patience(sink, back_off(sink->failures, BACK_OFF_MOST_MS));
    else
        switch_off(sink, "the sink failed too often and is switched off");
}

/* The rest of the batch will not be written. */
static void give_up(struct sink *sink, const struct batch *batch, uint32_t from, int answer)
{
    lose_rest(sink, batch, from);
    if (answer == SOTH_DEAD)
        switch_off(sink, "the sink says that it will never work again and is switched off");
    else if (answer != SOTH_DROP && answer != SOTH_RETRY) /* or a verdict that no sink has */
        broken(sink);
}

/* ---- offering ---- */

#define AHEAD 6u  /* events */
#define LINE 64u  /* of the cache */

/* What another core has written last is fetched while those before it are made. */
static inline void fetch(const struct batch *batch, uint32_t i)
{
    if (i >= batch->count)
        return;
    const char *p = (const char *)batch->queued[i];
    __builtin_prefetch(p);
    __builtin_prefetch(p + LINE);
    __builtin_prefetch(p + 2 * LINE);
}

/* False when time was up before there was memory for it. */
static bool look(struct sink *sink, struct batch *batch)
{
    for (uint32_t i = 0; i < AHEAD; i++)
        fetch(batch, i);
    while (!views_begin(&batch->views))
        if (!patience(sink, BACK_OFF_MOST_MS))
            return false;
    for (uint32_t i = 0; i < batch->count; i++) {
        fetch(batch, i + AHEAD);
        batch->events[i] = view_make(&batch->views, batch->queued[i], sink->config.payload);
    }
    return true;
}

uint32_t batch_offer(struct sink *sink, struct batch *batch, uint32_t *again_ms)
{
    uint32_t at = 0;
    unsigned refused = 0; /* in a row, nothing taken */
    if (!look(sink, batch)) {
        lose_rest(sink, batch, 0);
        return 0;
    }
    for (;;) {
        uint32_t done = 0, ms = 0, before = at;
        struct soth_batch view = {sizeof view, batch->count - at, batch->events + at, batch->lost, batch->waiting};
        int r = sink->ops.write(sink->instance, &view, &done, &ms);
        batch->lost = 0;
        at = r == SOTH_OK ? batch->count : at + (done < view.count ? done : view.count);
        if (r == SOTH_OK) {
            sink->failures = 0;
            *again_ms = ms;
            return at;
        }
        refused = at > before ? 1 : refused + 1;
        bool go_on = r == SOTH_RETRY && patience(sink, ms ? ms : back_off(refused, RETRY_MOST_MS));
        if (go_on && at < batch->count)
            continue;
        if (!go_on)
            give_up(sink, batch, at, r);
        return at;
    }
}

/* ---- afterwards ---- */

/* Events of one slab come in a row mostly. */
static void give_back(const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->count;) {
        struct slab *slab = queued_slab(batch->queued[i]);
        unsigned refs = 0;
        for (; i < batch->count && queued_slab(batch->queued[i]) == slab; i++)
            refs++;
        slab_put(slab, refs);
    }
}

void batch_release(struct sink *sink, const struct batch *batch, uint32_t taken)
{
    uint64_t bytes = 0;
    uint32_t waiting = sink->config.acks && !sink->off ? taken : 0; /* only this thread switches it off */
    for (uint32_t i = waiting; i < batch->count; i++)
        bytes += batch->queued[i]->bytes;
    pthread_mutex_lock(&sink->bus->lock);
    for (uint32_t i = 0; i < waiting; i++)
        acks_taken(sink, batch->queued[i]->sequence_id, batch->queued[i]->bytes);
    sink->at_hand = sink->acks.at_hand = 0;
    sink->written += taken - waiting;
    sink->bytes -= bytes;
    queue_relieved(sink);
    pthread_mutex_unlock(&sink->bus->lock);
    give_back(batch);
    pthread_mutex_lock(&sink->bus->lock);
}
