/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Acknowledgements: a sink that delivers later takes an event with `done` and acknowledges it when it has arrived. Its memory is gone by
 * then; what is kept here is its number and what it counts in the queue.
 */
#include <stdlib.h>

#include "host/event/private.h"

static bool room_for_one(struct acks *acks)
{
    if (acks->count < acks->room)
        return true;
    size_t room = acks->room ? acks->room * 2 : 256;
    struct unacked *bigger = malloc(room * sizeof *bigger);
    if (!bigger)
        return false;
    for (size_t i = 0; i < acks->count; i++)
        bigger[i] = acks->ring[(acks->head + i) & (acks->room - 1)];
    free(acks->ring);
    acks->ring = bigger;
    acks->room = room;
    acks->head = 0;
    return true;
}

void acks_taken(struct sink *sink, uint64_t sequence_id, uint32_t bytes)
{
    struct acks *acks = &sink->acks;
    if (sequence_id <= acks->upto || !room_for_one(acks)) { /* it was acknowledged before write returned */
        sink->bytes -= bytes;
        sink->written++;
        return;
    }
    acks->ring[(acks->head + acks->count++) & (acks->room - 1)] = (struct unacked){sequence_id, bytes};
}

void acks_done(struct sink *sink, uint64_t upto)
{
    struct acks *acks = &sink->acks;
    while (acks->count > 0 && acks->ring[acks->head].sequence_id <= upto) {
        sink->bytes -= acks->ring[acks->head].bytes;
        acks->head = (acks->head + 1) & (acks->room - 1);
        acks->count--;
    }
}

void acks_lost(struct sink *sink)
{
    struct acks *acks = &sink->acks;
    for (size_t i = 0; i < acks->count; i++) {
        uint64_t number = acks->ring[(acks->head + i) & (acks->room - 1)].sequence_id;
        losses_add(&sink->losses, (struct loss){number, number, 1}, acks->upto);
        sink->fresh_losses = true;
    }
    sink->lost += acks->count;
    acks_done(sink, UINT64_MAX);
}

static struct sink *sink_of(struct bus *bus, const void *instance)
{
    for (size_t i = 0; i < bus->sink_count; i++)
        if (bus->sinks[i]->instance == instance && bus->sinks[i]->config.acks)
            return bus->sinks[i];
    for (struct sink *sink = bus->leaving; sink; sink = sink->next)
        if (sink->instance == instance && sink->config.acks)
            return sink;
    return NULL;
}

void bus_ack(struct bus *bus, const void *instance, uint64_t sequence_id)
{
    pthread_mutex_lock(&bus->lock);
    struct sink *sink = sink_of(bus, instance);
    struct acks *acks = sink ? &sink->acks : NULL;
    if (acks && sequence_id > acks->offered)
        sequence_id = acks->offered;
    if (acks && sequence_id > acks->upto) {
        size_t before = acks->count;
        acks->upto = sequence_id;
        acks_done(sink, sequence_id);
        sink->written += before - acks->count;
        queue_relieved(sink);
        if (acks->count == 0 && sink_ends(sink))
            pthread_cond_signal(&sink->ready);
    }
    pthread_mutex_unlock(&bus->lock);
}
