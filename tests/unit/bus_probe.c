/* SPDX-License-Identifier: MPL-2.0 */
/* See bus_probe.h. */
#include "bus_probe.h"

#include <stdlib.h>
#include <string.h>

void probe_init(struct probe *p)
{
    *p = (struct probe){.seen = calloc(SEEN_MAX, sizeof(struct seen))};
    assert_non_null(p->seen);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
}

void probe_fini(struct probe *p)
{
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    free(p->seen);
}

void probe_gate(struct probe *p, bool closed)
{
    pthread_mutex_lock(&p->lock);
    p->closed = closed;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void probe_pass(struct probe *p)
{
    pthread_mutex_lock(&p->lock);
    unsigned before = p->writes;
    p->passes = 1;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    PROBE_WAIT(p, writes, before + 1);
}

void probe_answer(struct probe *p, int always)
{
    pthread_mutex_lock(&p->lock);
    p->always = always;
    pthread_mutex_unlock(&p->lock);
}

static void note(struct probe *p, const struct soth_event *e)
{
    struct seen *s = &p->seen[p->n++];
    *s = (struct seen){e->sequence_id, e->flow_id, e->flow_sequence_id, e->kind, 0, 0, 0};
    if (e->kind == SOTH_EV_EVENTS_LOST) {
        s->count = e->attrs[0].number;
        s->first = e->attrs[1].number;
        s->last = e->attrs[2].number;
    }
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static int probe_write(void *instance, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    struct probe *p = instance;
    pthread_mutex_lock(&p->lock);
    if (p->writes < sizeof p->gave_ns / sizeof *p->gave_ns) {
        p->gave_ns[p->writes] = now_ns();
        p->waiting[p->writes] = batch->waiting;
    }
    p->writes++;
    p->empty_writes += batch->count == 0;
    p->inside = true;
    pthread_cond_broadcast(&p->changed);
    while (p->closed && p->passes == 0)
        pthread_cond_wait(&p->changed, &p->lock);
    p->passes -= p->passes > 0;
    p->inside = false;
    p->lost += batch->lost;
    int r = p->answer_at < p->answer_count ? p->answers[p->answer_at++] : p->always;
    uint32_t most = r == SOTH_OK ? batch->count : p->take_first < batch->count ? p->take_first : batch->count;
    for (*done = 0; *done < most; ++*done)
        note(p, batch->events[*done]);
    *retry_ms = r == SOTH_OK || p->retry_ms ? p->retry_ms : 1;
    if (*retry_ms == UINT32_MAX)
        *retry_ms = 0;
    struct bus *ack = most ? p->ack : NULL;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (ack)
        bus_ack(ack, p, batch->events[most - 1]->sequence_id);
    return r;
}

static int probe_flush(void *instance, uint32_t deadline_ms)
{
    struct probe *p = instance;
    pthread_mutex_lock(&p->lock);
    p->flush_ms = deadline_ms;
    p->flushes++;
    pthread_cond_broadcast(&p->changed);
    while (p->flush_waits)
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return SOTH_OK;
}

static int probe_reopen(void *instance)
{
    struct probe *p = instance;
    pthread_mutex_lock(&p->lock);
    p->reopens++;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return SOTH_OK;
}

void probe_woken(void *arg)
{
    struct probe *p = arg;
    pthread_mutex_lock(&p->lock);
    p->wakes++;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

const struct bus_sink_ops probe_ops = {probe_write, probe_flush, probe_reopen};

uint64_t probe_told_lost(const struct probe *p)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < p->n; i++)
        sum += p->seen[i].count;
    return sum;
}

void probe_accounts_for(const struct probe *p, uint64_t last)
{
    uint8_t *fate = calloc(last + 1, 1); /* 1: arrived, 2: told to be lost, 4: is a report of losses */
    assert_non_null(fate);
    for (size_t i = 0; i < p->n; i++)
        if (p->seen[i].sequence_id <= last)
            fate[p->seen[i].sequence_id] |= p->seen[i].kind == SOTH_EV_EVENTS_LOST ? 5 : 1;
    for (size_t i = 0; i < p->n; i++) {
        const struct seen *s = &p->seen[i];
        uint64_t missing = 0;
        for (uint64_t k = s->count ? s->first : 1; s->count && k <= s->last; k++) {
            if (fate[k] & 2)
                fail_msg("%llu is told to be lost twice", (unsigned long long)k);
            if (fate[k] == 1)
                fail_msg("%llu arrived and is told to be lost", (unsigned long long)k);
            missing += !(fate[k] & 1);
            fate[k] |= 2;
        }
        assert_int_equal(missing, s->count); /* own reports in between are not counted */
    }
    for (uint64_t k = 1; k <= last; k++)
        if (!fate[k])
            fail_msg("%llu neither arrived nor is it told to be lost", (unsigned long long)k);
    free(fate);
}

/* ---- one bus, one port ---- */

void line_init_queue(struct sink_line *rig, const struct bus_queue_config *queue)
{
    memset(rig, 0, sizeof *rig);
    probe_init(&rig->probe);
    rig->bus = bus_new();
    assert_non_null(rig->bus);
    assert_int_equal(bus_add_sink(rig->bus, "probe", &rig->probe, &probe_ops, EVERY, queue), SOTH_OK);
    assert_int_equal(bus_start(rig->bus), SOTH_OK);
    rig->port = bus_port_new(rig->bus, probe_woken, &rig->probe);
    assert_non_null(rig->port);
    rig->source = (struct event_source){.flow_id = 7, .next_sequence = 1, .client_addr = soth_span("127.0.0.1:1"),
                                        .server_host = soth_span("example.com"), .server_port = 443};
}

void line_init(struct sink_line *rig, uint64_t max_events, uint32_t on_full)
{
    struct bus_queue_config queue = {.max_events = max_events, .max_bytes = 64 << 20, .on_full = on_full};
    line_init_queue(rig, &queue);
}

uint64_t line_stop(struct sink_line *rig, uint32_t deadline_ms)
{
    bus_port_free(rig->port);
    return bus_stop(rig->bus, deadline_ms);
}

void line_free(struct sink_line *rig)
{
    bus_free(rig->bus);
    probe_fini(&rig->probe);
}

uint64_t line_fini(struct sink_line *rig)
{
    uint64_t undelivered = line_stop(rig, 5000);
    line_free(rig);
    return undelivered;
}

void line_emit(struct sink_line *rig, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct soth_attr attrs[] = {ATTR_NUMBER("bytes", i), ATTR_NUMBER("offset", i)};
        bus_emit(rig->port, &rig->source, SOTH_EV_REQUEST_BODY_CHUNK, attrs, 2);
    }
    bus_flush(rig->port);
}

void line_hold(struct sink_line *rig)
{
    probe_gate(&rig->probe, true);
    line_emit(rig, 1);
    PROBE_WAIT(&rig->probe, inside, true);
}
