/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The bounded queue in front of a sink: a ring of pointers to events, guarded by the bus's lock. When it is full its on_full decides; what
 * is lost is counted and remembered as ranges until it can be told. The report of that finds room always, and is not dropped for others.
 */
#include <stdlib.h>
#include <string.h>

#include "host/event/private.h"

/* Is this the report of this sink's own losses? Its attributes are count, first_sequence_id, last_sequence_id, sink. */
static inline bool is_own_report(const struct sink *sink, const struct queued *q)
{
    return __builtin_expect(q->kind == SOTH_EV_EVENTS_LOST, 0) && q->attr_count == 4 && soth_span_is(queued_attrs(q)[3].text, sink->name);
}

void queue_lost(struct sink *sink, const struct queued *q, uint64_t arrived)
{
    if (is_own_report(sink, q)) { /* what it told will be told again */
        const struct soth_attr *told = queued_attrs(q);
        losses_add(&sink->losses, (struct loss){told[1].number, told[2].number, told[0].number}, UINT64_MAX);
        sink->untold += sink->bus->stopping ? 0 : told[0].number;
    } else {
        sink->fresh_losses = true;
    }
    sink->untold += !sink->bus->stopping; /* later ones are counted where they are lost */
    losses_add(&sink->losses, (struct loss){q->sequence_id, q->sequence_id, 1}, arrived);
    sink->lost_since_write++;
    sink->lost++;
}

/* ---- the ring ---- */

static struct queued **slot(const struct sink *sink, size_t i)
{
    return &sink->ring[(sink->head + i) & (sink->room - 1)];
}

static bool ring_grow(struct sink *sink)
{
    size_t room = sink->room ? sink->room * 2 : 1024;
    struct queued **bigger = malloc(room * sizeof *bigger);
    if (!bigger)
        return false;
    for (size_t i = 0; i < sink->count; i++)
        bigger[i] = *slot(sink, i);
    free(sink->ring);
    sink->ring = bigger;
    sink->room = room;
    sink->head = 0;
    return true;
}

static inline bool ring_room(struct sink *sink)
{
    return sink->count < sink->room || ring_grow(sink);
}

static void lose_head(struct sink *sink)
{
    struct queued *oldest = *slot(sink, 0);
    sink->head = (sink->head + 1) & (sink->room - 1);
    sink->count--;
    sink->bytes -= oldest->bytes;
    queue_lost(sink, oldest, 0); /* what was taken out before is told about already: since then all were lost */
    slab_put(queued_slab(oldest), 1);
}

/* False: there are only reports. */
static bool drop_oldest(struct sink *sink)
{
    size_t reports = 0;
    while (reports < sink->count && is_own_report(sink, *slot(sink, reports)))
        reports++;
    if (reports == sink->count)
        return false;
    struct queued *oldest = *slot(sink, reports);
    for (size_t i = reports; i > 0; i--)
        *slot(sink, i) = *slot(sink, i - 1);
    *slot(sink, 0) = oldest;
    lose_head(sink);
    return true;
}

/* ---- in and out ---- */

static inline bool queue_over(const struct sink *sink, const struct queued *q)
{
    return sink->count + sink->acks.at_hand + sink->acks.count >= sink->config.max_events || sink->bytes + q->bytes > sink->config.max_bytes;
}

/* The newest go on being lost while one more would be a range that there is no place for: what is told stays exact. */
static bool must_go_on_losing(const struct sink *sink)
{
    const struct losses *losses = &sink->losses;
    return losses->n == LOSSES && losses->v[LOSSES - 1].last > sink->queued_last;
}

static bool make_room(struct sink *sink, const struct queued *q)
{
    if (!queue_over(sink, q) || is_own_report(sink, q))
        return ring_room(sink);
    switch (sink->config.on_full) {
    case QUEUE_DROP_OLDEST:
        while (queue_over(sink, q))
            if (!drop_oldest(sink))
                return false;
        return ring_room(sink);
    case QUEUE_PAUSE_FLOW: /* what was read already still goes in; reading stops now */
        if (!sink->full) {
            sink->full = true;
            sink->bus->full_sinks++;
        }
        return ring_room(sink);
    default:
        return false;
    }
}

bool queue_put_special(struct sink *sink, struct queued *q)
{
    if (sink->off || must_go_on_losing(sink) || !make_room(sink, q)) {
        queue_lost(sink, q, sink->queued_last);
        return false;
    }
    *slot(sink, sink->count++) = q;
    sink->bytes += q->bytes;
    if (!is_own_report(sink, q))
        sink->queued_last = q->sequence_id;
    return true;
}

uint32_t queue_take(struct sink *sink, struct queued **out, uint32_t max)
{
    uint32_t n = sink->count < max ? (uint32_t)sink->count : max;
    if (n == 0)
        return 0;
    size_t straight = sink->room - sink->head < n ? sink->room - sink->head : n;
    memcpy(out, sink->ring + sink->head, straight * sizeof *out);
    memcpy(out + straight, sink->ring, (n - straight) * sizeof *out);
    sink->head = (sink->head + n) & (sink->room - 1);
    sink->count -= n;
    sink->at_hand = n;
    if (sink->config.acks) { /* others are not looked at while the lock is held: they come from another core */
        sink->acks.at_hand = n;
        sink->acks.offered = out[n - 1]->sequence_id;
    }
    return n;
}

void queue_clear(struct sink *sink)
{
    acks_lost(sink); /* they came before what waits */
    while (sink->count > 0)
        lose_head(sink);
}

void queue_relieved(struct sink *sink)
{
    size_t count = sink->count + sink->acks.at_hand + sink->acks.count;
    if (!sink->full || count > sink->config.max_events / 2 || sink->bytes > sink->config.max_bytes / 2)
        return;
    sink->full = false;
    if (--sink->bus->full_sinks == 0)
        bus_wake_ports(sink->bus);
}
