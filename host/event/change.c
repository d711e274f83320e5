/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Other sinks while events flow: the lock under which events are published is also the one under which the set of sinks changes, so that
 * each event finds the one or the other. Nothing that can fail is left for the moment of the change.
 */
#include <stdlib.h>
#include <string.h>

#include "host/event/private.h"

#define STUCK_NS UINT64_C(1000000000) /* a sink whose time is over has this long to notice it */

struct bus_change {
    struct bus *bus;
    struct sink **in, **room; /* room: for all that there will be */
    const void **out;         /* instances */
    size_t in_count, out_count;
};

/* ---- on a sink's thread (lock held) ---- */

uint64_t sink_deadline(const struct sink *sink)
{
    uint64_t stop = sink->bus->stopping ? sink->bus->stop_deadline_ns : 0, leave = sink->leaving ? sink->leave_by_ns : 0;
    if (stop && leave)
        return stop < leave ? stop : leave;
    return stop ? stop : leave;
}

/* The older one of its group that still writes; NULL = none. */
static const struct sink *predecessor(const struct sink *sink)
{
    for (const struct sink *other = sink->bus->leaving; other; other = other->next)
        if (!other->gone && other->number < sink->number && *sink->group && strcmp(other->group, sink->group) == 0)
            return other;
    return NULL;
}

/* It does not come back from its module: nobody waits for it for ever. */
static void tell_stuck(const struct sink *sink)
{
    struct soth_attr attrs[] = {ATTR_WORD("detail", "the sink that a reload took out does not come back from its module; its successor begins"),
                                ATTR_WORD("hook", "write"), ATTR_WORD("module", sink->name)};
    bus_system_event(sink->bus, SOTH_EV_MODULE_FAULT, attrs, 3);
}

bool sink_may_begin(struct sink *sink)
{
    const struct sink *before;
    while (!sink->cancelled && sink->waiting)
        pthread_cond_wait(&sink->ready, &sink->bus->lock);
    while (!sink->cancelled && (before = predecessor(sink))) {
        uint64_t until = before->leave_by_ns + STUCK_NS;
        if (bus_now_ns() >= until) {
            tell_stuck(before);
            break;
        }
        sink_doze(sink, until);
    }
    return !sink->cancelled;
}

void sinks_wake(struct bus *bus)
{
    for (size_t i = 0; i < bus->sink_count; i++)
        pthread_cond_signal(&bus->sinks[i]->ready);
    for (struct sink *sink = bus->leaving; sink; sink = sink->next)
        pthread_cond_signal(&sink->ready);
}

/* What one that leaves has still in its queue, or has no acknowledgement of, is lost, and told to those that stay; when the process ends,
 * bus_stop counts it. What it lost before is told in any case, or counted, too. */
static void give_up(struct sink *sink)
{
    if (sink->leaving && !sink->bus->stopping)
        queue_clear(sink);
    if (sink->leaving || sink->untold)
        sink_report_losses(sink);
}

void sink_gone(struct sink *sink)
{
    give_up(sink);
    sink->gone = true;
    sinks_wake(sink->bus);
    if (sink->leaving && sink->bus->on_gone)
        sink->bus->on_gone(sink->bus->on_gone_arg);
}

/* ---- the change (control thread) ---- */

static bool make_room(struct bus_change *change, size_t more)
{
    size_t n = change->bus->sink_count + change->in_count + more;
    struct sink **room = realloc(change->room, (n + 1) * sizeof *room);
    struct sink **in = room ? realloc(change->in, (change->in_count + more + 1) * sizeof *in) : NULL;
    change->room = room ? room : change->room;
    change->in = in ? in : change->in;
    return in != NULL;
}

struct bus_change *bus_change_new(struct bus *bus)
{
    struct bus_change *change = calloc(1, sizeof *change);
    if (!change)
        return NULL;
    change->bus = bus;
    if (make_room(change, 0))
        return change;
    bus_change_cancel(change);
    return NULL;
}

int bus_change_add(struct bus_change *change, const char *name, const char *group, void *instance, const struct bus_sink_ops *ops,
                   uint64_t kinds, const struct bus_queue_config *queue)
{
    struct sink *sink = make_room(change, 1) ? sink_new(change->bus, name, group, instance, ops, kinds, queue) : NULL;
    if (!sink)
        return -SOTH_ENOMEM;
    sink->waiting = true;
    if (pthread_create(&sink->thread, NULL, sink_main, sink) != 0) {
        sink_free(sink);
        return -SOTH_EIO;
    }
    sink->running = true;
    change->in[change->in_count++] = sink;
    return SOTH_OK;
}

int bus_change_remove(struct bus_change *change, const void *instance)
{
    const void **bigger = realloc(change->out, (change->out_count + 1) * sizeof *bigger);
    if (!bigger)
        return -SOTH_ENOMEM;
    change->out = bigger;
    bigger[change->out_count++] = instance;
    return SOTH_OK;
}

static bool is_taken_out(const struct bus_change *change, const struct sink *sink)
{
    for (size_t i = 0; i < change->out_count; i++)
        if (change->out[i] == sink->instance)
            return true;
    return false;
}

/* (lock held) */
static void leave(struct bus *bus, struct sink *sink, uint64_t by_ns)
{
    sink->leaving = true;
    sink->leave_by_ns = by_ns;
    if (sink->full) {
        sink->full = false;
        if (--bus->full_sinks == 0)
            bus_wake_ports(bus);
    }
    sink->next = bus->leaving;
    bus->leaving = sink;
    pthread_cond_signal(&sink->ready);
}

static void exchange(struct bus_change *change, uint64_t leave_by_ns)
{
    struct bus *bus = change->bus;
    struct sink **room = change->room;
    size_t n = 0;
    for (size_t i = 0; i < bus->sink_count; i++) {
        if (is_taken_out(change, bus->sinks[i]))
            leave(bus, bus->sinks[i], leave_by_ns);
        else
            room[n++] = bus->sinks[i];
    }
    for (size_t i = 0; i < change->in_count; i++) {
        change->in[i]->waiting = false;
        room[n++] = change->in[i];
    }
    change->room = bus->sinks; /* freed with the change */
    bus->sinks = room;
    bus->sink_count = n;
    bus_sum_up(bus);
    sinks_wake(bus);
}

static void change_free(struct bus_change *change)
{
    free(change->in);
    free(change->out);
    free(change->room);
    free(change);
}

void bus_change_commit(struct bus_change *change, uint32_t leave_ms)
{
    struct bus *bus = change->bus;
    pthread_mutex_lock(&bus->lock);
    exchange(change, bus_now_ns() + leave_ms * UINT64_C(1000000));
    pthread_mutex_unlock(&bus->lock);
    change_free(change);
}

void bus_change_cancel(struct bus_change *change)
{
    if (!change)
        return;
    for (size_t i = 0; i < change->in_count; i++) {
        struct sink *sink = change->in[i];
        pthread_mutex_lock(&change->bus->lock);
        sink->cancelled = true;
        pthread_cond_signal(&sink->ready);
        pthread_mutex_unlock(&change->bus->lock);
        pthread_join(sink->thread, NULL);
        sink_free(sink);
    }
    change_free(change);
}

void bus_on_gone(struct bus *bus, void (*gone)(void *arg), void *arg)
{
    pthread_mutex_lock(&bus->lock);
    bus->on_gone = gone;
    bus->on_gone_arg = arg;
    pthread_mutex_unlock(&bus->lock);
}

/* One that has ended, taken out of the list. */
static struct sink *take_gone(struct bus *bus, size_t *left)
{
    struct sink *found = NULL, **at = &bus->leaving;
    *left = 0;
    pthread_mutex_lock(&bus->lock);
    while (*at) {
        struct sink *sink = *at;
        if (sink->gone && !found) {
            found = sink;
            *at = sink->next;
            continue;
        }
        ++*left;
        at = &sink->next;
    }
    if (!found && bus->stopping && bus->sink_count > 0)
        found = bus->sinks[--bus->sink_count];
    pthread_mutex_unlock(&bus->lock);
    return found;
}

size_t bus_reap(struct bus *bus, void (*take)(void *instance))
{
    size_t left;
    for (struct sink *sink; (sink = take_gone(bus, &left));) {
        void *instance = sink->instance;
        if (sink->running) /* bus_stop has done it otherwise */
            pthread_join(sink->thread, NULL);
        sink_free(sink);
        take(instance);
    }
    return left;
}
