/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The bounded queue in front of a sink: a ring of pointers to events, guarded by the bus's lock. When it is full its on_full decides; what
 * is lost is counted and remembered as a range until it can be told.
 */
#include <stdlib.h>
#include <string.h>

#include "host/event/private.h"

static bool over(const struct sink *sink, const struct queued *q)
{
    return sink->count >= sink->config.max_events || sink->bytes + q->bytes > sink->config.max_bytes;
}

/* Is this the report of this sink's own losses? Its attributes are count, first_sequence_id, last_sequence_id, sink. */
static bool is_own_report(const struct sink *sink, const struct soth_event *event)
{
    return event->kind == SOTH_EV_EVENTS_LOST && event->attr_count == 4 && soth_span_is(event->attrs[3].text, sink->name);
}

void queue_lost(struct sink *sink, const struct soth_event *event)
{
    uint64_t count = 1, first = event->sequence_id;
    if (is_own_report(sink, event)) { /* what it told will be told again */
        count += event->attrs[0].number;
        first = event->attrs[1].number;
    } else {
        sink->fresh_losses = true;
    }
    if (sink->lost_to_report == 0 || first < sink->first_lost)
        sink->first_lost = first;
    if (sink->lost_to_report == 0 || event->sequence_id > sink->last_lost)
        sink->last_lost = event->sequence_id;
    sink->lost_to_report += count;
    sink->lost_since_write++;
    sink->lost++;
}

static bool ring_room(struct sink *sink)
{
    if (sink->count < sink->room)
        return true;
    size_t room = sink->room ? sink->room * 2 : 1024;
    struct queued **bigger = malloc(room * sizeof *bigger);
    if (!bigger)
        return false;
    for (size_t i = 0; i < sink->count; i++)
        bigger[i] = sink->ring[(sink->head + i) & (sink->room - 1)];
    free(sink->ring);
    sink->ring = bigger;
    sink->room = room;
    sink->head = 0;
    return true;
}

static void drop_oldest(struct sink *sink)
{
    struct queued *oldest = sink->ring[sink->head];
    sink->head = (sink->head + 1) & (sink->room - 1);
    sink->count--;
    sink->bytes -= oldest->bytes;
    queue_lost(sink, &oldest->event);
    slab_put(oldest->slab, 1);
}

static bool make_room(struct sink *sink, const struct queued *q)
{
    if (!over(sink, q))
        return ring_room(sink);
    switch (sink->config.on_full) {
    case QUEUE_DROP_OLDEST:
        while (sink->count > 0 && over(sink, q))
            drop_oldest(sink);
        return !over(sink, q) && ring_room(sink);
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

bool queue_put(struct sink *sink, struct queued *q)
{
    if (sink->off || !make_room(sink, q)) {
        queue_lost(sink, &q->event);
        return false;
    }
    sink->ring[(sink->head + sink->count++) & (sink->room - 1)] = q;
    sink->bytes += q->bytes;
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
    return n;
}

void queue_clear(struct sink *sink)
{
    while (sink->count > 0)
        drop_oldest(sink);
}

void queue_relieved(struct sink *sink)
{
    if (!sink->full || sink->count > sink->config.max_events / 2 || sink->bytes > sink->config.max_bytes / 2)
        return;
    sink->full = false;
    if (--sink->bus->full_sinks == 0)
        bus_wake_ports(sink->bus);
}
