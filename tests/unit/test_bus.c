/* SPDX-License-Identifier: MPL-2.0 */
/* The bus between workers and sinks: order, what a full queue does, what a sink may answer, and the end. Also run under TSan. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "host/event/bus.h"

#define KINDS(kind) (UINT64_C(1) << (kind))
#define EVERY (~UINT64_C(1))
#define SEEN_MAX 200000

/* ---- a sink that remembers, and answers what the test wants ---- */

struct seen {
    uint64_t sequence_id, flow_id, flow_sequence_id;
    uint16_t kind;
    uint64_t count, first, last; /* of events_lost */
};

struct probe {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed;     /* gate: write waits */
    bool inside;     /* write waits right now */
    int answers[32]; /* of the next writes; then SOTH_OK */
    unsigned answer_count, answer_at, take_first; /* events that a write takes that is not SOTH_OK */
    int always;      /* != 0: of all further writes */
    uint32_t retry_ms;
    unsigned writes, empty_writes, flushes, reopens, wakes;
    uint64_t lost; /* as told by batches */
    struct seen *seen;
    size_t n;
};

static void probe_init(struct probe *p)
{
    *p = (struct probe){.seen = calloc(SEEN_MAX, sizeof(struct seen))};
    assert_non_null(p->seen);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
}

static void probe_fini(struct probe *p)
{
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    free(p->seen);
}

static void probe_gate(struct probe *p, bool closed)
{
    pthread_mutex_lock(&p->lock);
    p->closed = closed;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

/* Waits, ten seconds at most, until *field >= least. */
#define PROBE_WAIT(p, field, least)                                            \
    do {                                                                       \
        struct timespec until;                                                 \
        clock_gettime(CLOCK_REALTIME, &until);                                 \
        until.tv_sec += 10;                                                    \
        pthread_mutex_lock(&(p)->lock);                                        \
        while ((p)->field < (least))                                           \
            if (pthread_cond_timedwait(&(p)->changed, &(p)->lock, &until) != 0) \
                break;                                                         \
        bool there_ = (p)->field >= (least);                                   \
        pthread_mutex_unlock(&(p)->lock);                                      \
        assert_true(there_);                                                   \
    } while (0)

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

static int probe_write(void *instance, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    struct probe *p = instance;
    pthread_mutex_lock(&p->lock);
    p->writes++;
    p->empty_writes += batch->count == 0;
    p->inside = true;
    pthread_cond_broadcast(&p->changed);
    while (p->closed)
        pthread_cond_wait(&p->changed, &p->lock);
    p->inside = false;
    p->lost += batch->lost;
    int r = p->answer_at < p->answer_count ? p->answers[p->answer_at++] : p->always;
    uint32_t most = r == SOTH_OK ? batch->count : p->take_first < batch->count ? p->take_first : batch->count;
    for (*done = 0; *done < most; ++*done)
        note(p, batch->events[*done]);
    *retry_ms = r == SOTH_OK ? p->retry_ms : 1;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return r;
}

static int probe_flush(void *instance, uint32_t deadline_ms)
{
    struct probe *p = instance;
    (void)deadline_ms;
    p->flushes++;
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

static void probe_woken(void *arg)
{
    struct probe *p = arg;
    pthread_mutex_lock(&p->lock);
    p->wakes++;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static const struct bus_sink_ops probe_ops = {probe_write, probe_flush, probe_reopen};

/* ---- one bus, one port ---- */

struct rig {
    struct bus *bus;
    struct bus_port *port;
    struct event_source source;
    struct probe probe;
};

static void rig_init(struct rig *rig, uint64_t max_events, uint32_t on_full)
{
    struct bus_queue_config queue = {max_events, 64 << 20, on_full};
    memset(rig, 0, sizeof *rig);
    probe_init(&rig->probe);
    rig->bus = bus_new();
    assert_non_null(rig->bus);
    assert_int_equal(bus_add_sink(rig->bus, "probe", &rig->probe, &probe_ops, EVERY, &queue), SOTH_OK);
    assert_int_equal(bus_start(rig->bus), SOTH_OK);
    rig->port = bus_port_new(rig->bus, probe_woken, &rig->probe);
    assert_non_null(rig->port);
    rig->source = (struct event_source){.flow_id = 7, .next_sequence = 1, .client_addr = soth_span("127.0.0.1:1"),
                                        .server_host = soth_span("example.com"), .server_port = 443};
}

static uint64_t rig_fini(struct rig *rig)
{
    bus_port_free(rig->port);
    uint64_t undelivered = bus_stop(rig->bus, 5000);
    bus_free(rig->bus);
    probe_fini(&rig->probe);
    return undelivered;
}

static void emit(struct rig *rig, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct soth_attr attrs[] = {ATTR_NUMBER("bytes", i), ATTR_NUMBER("offset", i)};
        bus_emit(rig->port, &rig->source, SOTH_EV_REQUEST_BODY_CHUNK, attrs, 2);
    }
    bus_flush(rig->port);
}

/* Brings the sink into write with one event and keeps it there. */
static void hold(struct rig *rig)
{
    probe_gate(&rig->probe, true);
    emit(rig, 1);
    PROBE_WAIT(&rig->probe, inside, true);
}

/* ---- what an event is ---- */

static struct soth_event kept;
static struct soth_attr kept_attrs[8];
static char kept_text[4][64];

static void keep_text(char *to, struct soth_span text)
{
    snprintf(to, 64, "%.*s", SOTH_SPAN(text));
}

static int keeping_write(void *instance, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    const struct soth_event *e = batch->count ? batch->events[0] : NULL;
    (void)instance;
    (void)retry_ms;
    if (e) {
        kept = *e;
        memcpy(kept_attrs, e->attrs, e->attr_count * sizeof *e->attrs);
        keep_text(kept_text[0], e->client_addr);
        keep_text(kept_text[1], e->server_host);
        for (uint32_t i = 0; i < e->attr_count && i < 2; i++)
            keep_text(kept_text[2 + i], e->attrs[i].text);
        keep_text(kept_text[3], e->run_id);
    }
    *done = batch->count;
    return SOTH_OK;
}

static void an_event_is_a_sorted_copy(void **state)
{
    struct bus_sink_ops ops = {keeping_write, NULL, NULL};
    struct bus_queue_config queue = {16, 1 << 20, QUEUE_DROP_NEWEST};
    struct bus *bus = bus_new();
    (void)state;
    assert_int_equal(bus_add_sink(bus, "keeper", NULL, &ops, EVERY, &queue), SOTH_OK);
    assert_int_equal(bus_start(bus), SOTH_OK);
    struct bus_port *port = bus_port_new(bus, NULL, NULL);
    char address[] = "192.0.2.1:9", value[] = "GET";
    struct event_source source = {.flow_id = 3, .parent_flow_id = 2, .next_sequence = 5, .client_addr = soth_span(address),
                                  .protocol = SOTH_PROTO_HTTP1};
    struct soth_attr attrs[] = {ATTR_NUMBER("status_code", 200), ATTR_WORD("method", value), ATTR_TEXT("absent", ((struct soth_span){NULL, 0})),
                                ATTR_BOOL("interim", true), ATTR_WORD("meth", "x"), ATTR_WORD("empty", "")};
    port->monotonic_ns = 11;
    port->unix_ms = 12;
    bus_emit(port, &source, SOTH_EV_RESPONSE_HEADERS, attrs, 6);
    memset(address, '?', sizeof address - 1);
    memset(value, '?', sizeof value - 1);
    bus_flush(port);
    bus_port_free(port);
    char run_id[33];
    snprintf(run_id, sizeof run_id, "%s", bus_run_id(bus));
    assert_int_equal(bus_stop(bus, 5000), 0);
    assert_int_equal(kept.sequence_id, 1);
    assert_int_equal(kept.flow_id, 3);
    assert_int_equal(kept.parent_flow_id, 2);
    assert_int_equal(kept.flow_sequence_id, 5);
    assert_int_equal(source.next_sequence, 6);
    assert_int_equal(kept.monotonic_ns, 11);
    assert_int_equal(kept.unix_ms, 12);
    assert_string_equal(kept.kind_name, "response_headers");
    assert_string_equal(kept.protocol_name, "http1");
    assert_string_equal(kept_text[0], "192.0.2.1:9");
    assert_null(kept.server_host.p);
    assert_int_equal(kept.attr_count, 4);
    assert_string_equal(kept_attrs[0].name, "interim");
    assert_string_equal(kept_attrs[1].name, "meth");
    assert_string_equal(kept_attrs[2].name, "method");
    assert_string_equal(kept_attrs[3].name, "status_code");
    assert_int_equal(kept_attrs[3].number, 200);
    assert_int_equal(kept_attrs[2].text.n, 3);
    assert_string_equal(kept_text[3], run_id);
    assert_int_equal(strspn(run_id, "0123456789abcdef"), 32);
    bus_free(bus);
}

/* ---- order and subscription ---- */

static void events_arrive_in_order(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 65536, QUEUE_DROP_NEWEST);
    for (unsigned i = 0; i < 100; i++)
        emit(&rig, 20);
    PROBE_WAIT(&rig.probe, n, 2000);
    for (size_t i = 0; i < 2000; i++) {
        assert_int_equal(rig.probe.seen[i].sequence_id, i + 1);
        assert_int_equal(rig.probe.seen[i].flow_sequence_id, i + 1);
    }
    struct bus_sink_stats stats;
    assert_int_equal(bus_stats(rig.bus, &stats, 1), 1);
    assert_string_equal(stats.name, "probe");
    assert_int_equal(stats.lost, 0);
    assert_int_equal(rig_fini(&rig), 0);
}

static void a_sink_gets_the_kinds_it_asked_for(void **state)
{
    struct bus_queue_config queue = {1024, 1 << 20, QUEUE_DROP_NEWEST};
    struct probe heads, closes;
    struct bus *bus = bus_new();
    (void)state;
    probe_init(&heads);
    probe_init(&closes);
    bus_add_sink(bus, "heads", &heads, &probe_ops, KINDS(SOTH_EV_REQUEST_HEADERS) | KINDS(SOTH_EV_STREAM_CLOSED), &queue);
    bus_add_sink(bus, "closes", &closes, &probe_ops, KINDS(SOTH_EV_STREAM_CLOSED), &queue);
    bus_start(bus);
    struct bus_port *port = bus_port_new(bus, NULL, NULL);
    struct event_source source = {.flow_id = 1, .next_sequence = 1};
    assert_false(bus_wants(port, SOTH_EV_CONNECT_RECEIVED));
    bus_emit(port, &source, SOTH_EV_CONNECT_RECEIVED, NULL, 0);
    assert_false(port->pending);
    bus_emit(port, &source, SOTH_EV_REQUEST_HEADERS, NULL, 0);
    bus_emit(port, &source, SOTH_EV_STREAM_CLOSED, NULL, 0);
    assert_true(port->pending);
    bus_port_free(port);
    assert_int_equal(bus_stop(bus, 5000), 0);
    assert_int_equal(heads.n, 2);
    assert_int_equal(closes.n, 1);
    assert_int_equal(heads.seen[0].flow_sequence_id, 2); /* consumed by what nobody wanted */
    assert_int_equal(heads.seen[0].sequence_id, 1);      /* numbers what is published */
    assert_int_equal(closes.seen[0].sequence_id, 2);
    assert_int_equal(heads.flushes, 1);
    bus_free(bus);
    probe_fini(&heads);
    probe_fini(&closes);
}

/* A turn may emit more than a slab holds; nothing of it is given back before it is published. */
static void one_turn_may_fill_many_slabs(void **state)
{
    struct rig rig;
    static char big[100000];
    (void)state;
    memset(big, 'x', sizeof big);
    rig_init(&rig, 65536, QUEUE_DROP_NEWEST);
    emit(&rig, 50);
    PROBE_WAIT(&rig.probe, n, 50);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 500; i++) {
            size_t n = i % 100 == 99 ? sizeof big : 500 + i;
            struct soth_attr attr = ATTR_TEXT("target", ((struct soth_span){big, n}));
            bus_emit(rig.port, &rig.source, SOTH_EV_REQUEST_HEADERS, &attr, 1);
        }
        bus_flush(rig.port);
    }
    PROBE_WAIT(&rig.probe, n, 2550);
    for (size_t i = 0; i < 2550; i++) {
        assert_int_equal(rig.probe.seen[i].sequence_id, i + 1);
        assert_int_equal(rig.probe.seen[i].flow_id, 7);
        assert_int_equal(rig.probe.seen[i].flow_sequence_id, i + 1);
    }
    assert_int_equal(rig_fini(&rig), 0);
}

static void a_busy_bus_wakes_its_sink_seldom(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 65536, QUEUE_DROP_NEWEST);
    for (unsigned i = 0; i < 2000; i++)
        emit(&rig, 1);
    PROBE_WAIT(&rig.probe, n, 2000);
    assert_in_range(rig.probe.writes, 1, 500);
    rig_fini(&rig);
}

/* ---- a full queue ---- */

static void the_newest_are_dropped_and_told(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 16, QUEUE_DROP_NEWEST);
    hold(&rig); /* event 1 */
    emit(&rig, 26); /* 2..17 wait, 18..27 are lost */
    probe_gate(&rig.probe, false);
    PROBE_WAIT(&rig.probe, n, 18);
    assert_int_equal(rig.probe.seen[16].sequence_id, 17);
    assert_int_equal(rig.probe.seen[17].kind, SOTH_EV_EVENTS_LOST);
    assert_int_equal(rig.probe.seen[17].flow_id, 0);
    assert_int_equal(rig.probe.seen[17].count, 10);
    assert_int_equal(rig.probe.seen[17].first, 18);
    assert_int_equal(rig.probe.seen[17].last, 27);
    assert_int_equal(rig.probe.lost, 10);
    struct bus_sink_stats stats;
    bus_stats(rig.bus, &stats, 1);
    assert_int_equal(stats.lost, 10);
    assert_int_equal(rig_fini(&rig), 0);
}

static void the_oldest_are_dropped(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 16, QUEUE_DROP_OLDEST);
    hold(&rig);
    emit(&rig, 26); /* 2..11 make room for 18..27 */
    probe_gate(&rig.probe, false);
    PROBE_WAIT(&rig.probe, n, 18);
    assert_int_equal(rig.probe.seen[1].sequence_id, 12);
    assert_int_equal(rig.probe.seen[16].sequence_id, 27);
    assert_int_equal(rig.probe.seen[17].kind, SOTH_EV_EVENTS_LOST);
    assert_int_equal(rig.probe.seen[17].count, 10);
    assert_int_equal(rig.probe.seen[17].first, 2);
    assert_int_equal(rig.probe.seen[17].last, 11);
    assert_int_equal(rig_fini(&rig), 0);
}

static void bytes_bound_the_queue_too(void **state)
{
    struct rig rig;
    static char text[4096];
    struct bus_queue_config queue = {1000, 65536, QUEUE_DROP_NEWEST};
    struct probe second;
    (void)state;
    memset(text, 'x', sizeof text);
    probe_init(&second);
    memset(&rig, 0, sizeof rig);
    rig.bus = bus_new();
    bus_add_sink(rig.bus, "second", &second, &probe_ops, EVERY, &queue);
    bus_start(rig.bus);
    rig.port = bus_port_new(rig.bus, NULL, NULL);
    rig.source.next_sequence = 1;
    struct soth_attr attr = ATTR_TEXT("target", ((struct soth_span){text, sizeof text}));
    for (unsigned i = 0; i < 100; i++)
        bus_emit(rig.port, &rig.source, SOTH_EV_REQUEST_HEADERS, &attr, 1);
    bus_flush(rig.port);
    struct bus_sink_stats stats;
    bus_stats(rig.bus, &stats, 1);
    assert_in_range(stats.lost, 84, 99);
    bus_port_free(rig.port);
    bus_stop(rig.bus, 5000);
    bus_stats(rig.bus, &stats, 1);
    assert_int_equal(stats.queued_bytes, 0);
    bus_free(rig.bus);
    probe_fini(&second);
}

static void flows_pause_and_nothing_is_lost(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 16, QUEUE_PAUSE_FLOW);
    hold(&rig);
    emit(&rig, 16);
    assert_false(rig.port->congested);
    emit(&rig, 4); /* read before: they still go in */
    assert_true(rig.port->congested);
    bus_port_woken(rig.port);
    assert_true(rig.port->congested);
    probe_gate(&rig.probe, false);
    PROBE_WAIT(&rig.probe, wakes, 1);
    bus_port_woken(rig.port);
    assert_false(rig.port->congested);
    PROBE_WAIT(&rig.probe, n, 21);
    assert_int_equal(rig.probe.seen[20].sequence_id, 21);
    assert_int_equal(rig.probe.lost, 0);
    assert_int_equal(rig_fini(&rig), 0);
}

/* ---- what a sink answers ---- */

static void retry_loses_nothing(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1024, QUEUE_DROP_NEWEST);
    for (unsigned i = 0; i < 5; i++)
        rig.probe.answers[rig.probe.answer_count++] = SOTH_RETRY;
    rig.probe.take_first = 3;
    emit(&rig, 100);
    PROBE_WAIT(&rig.probe, n, 100);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(rig.probe.seen[i].sequence_id, i + 1);
    assert_int_equal(rig.probe.writes, 6);
    assert_int_equal(rig_fini(&rig), 0);
}

static uint64_t told_lost(const struct probe *p)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < p->n; i++)
        sum += p->seen[i].count;
    return sum;
}

/* Every loss is told once, even when the event that tells it is lost itself. */
static void dropped_batches_are_told(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1024, QUEUE_DROP_NEWEST);
    for (unsigned i = 0; i < 3; i++)
        rig.probe.answers[rig.probe.answer_count++] = SOTH_DROP;
    rig.probe.take_first = 2;
    emit(&rig, 10); /* 1, 2 taken, 8 lost; then the report of it, taken; */
    PROBE_WAIT(&rig.probe, writes, 2);
    PROBE_WAIT(&rig.probe, n, 3);
    emit(&rig, 5); /* 2 of these and 3 lost */
    PROBE_WAIT(&rig.probe, n, 6);
    emit(&rig, 1);
    PROBE_WAIT(&rig.probe, n, 7);
    assert_int_equal(told_lost(&rig.probe), 11);
    assert_int_equal(rig_fini(&rig), 0);
}

static void a_lost_report_is_told_again(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1024, QUEUE_DROP_NEWEST);
    rig.probe.answers[0] = SOTH_DROP; /* events 1..10 */
    rig.probe.answers[1] = SOTH_DROP; /* the report, 11 */
    rig.probe.answer_count = 2;
    emit(&rig, 10);
    PROBE_WAIT(&rig.probe, answer_at, 2);
    emit(&rig, 1);
    PROBE_WAIT(&rig.probe, n, 2);
    const struct seen *report = &rig.probe.seen[1];
    assert_int_equal(report->kind, SOTH_EV_EVENTS_LOST);
    assert_int_equal(report->count, 11);
    assert_int_equal(report->first, 1);
    assert_int_equal(report->last, 11);
    assert_int_equal(rig_fini(&rig), 0);
}

static void a_broken_sink_is_switched_off_and_told_to_others(void **state)
{
    struct bus_queue_config queue = {1024, 1 << 20, QUEUE_DROP_NEWEST};
    struct probe bad, good;
    struct bus *bus = bus_new();
    (void)state;
    probe_init(&bad);
    probe_init(&good);
    bad.always = -SOTH_EIO;
    bus_add_sink(bus, "bad", &bad, &probe_ops, KINDS(SOTH_EV_REQUEST_HEADERS), &queue);
    bus_add_sink(bus, "good", &good, &probe_ops, KINDS(SOTH_EV_MODULE_FAULT), &queue);
    bus_start(bus);
    struct bus_port *port = bus_port_new(bus, NULL, NULL);
    struct event_source source = {.flow_id = 1, .next_sequence = 1};
    for (unsigned i = 1; i <= 10; i++) {
        bus_emit(port, &source, SOTH_EV_REQUEST_HEADERS, NULL, 0);
        bus_flush(port);
        PROBE_WAIT(&bad, writes, i);
    }
    PROBE_WAIT(&good, n, 2); /* at the first failure and when it is switched off */
    for (unsigned i = 0; i < 10; i++)
        bus_emit(port, &source, SOTH_EV_REQUEST_HEADERS, NULL, 0);
    bus_port_free(port);
    assert_int_equal(bus_stop(bus, 5000), 0);
    assert_int_equal(bad.writes, 10);
    assert_int_equal(good.n, 2);
    struct bus_sink_stats stats;
    bus_stats(bus, &stats, 1);
    assert_int_equal(stats.lost, 20);
    bus_free(bus);
    probe_fini(&bad);
    probe_fini(&good);
}

static void a_sink_is_called_again_when_it_asked_for_it(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1024, QUEUE_DROP_NEWEST);
    rig.probe.retry_ms = 2;
    emit(&rig, 1);
    PROBE_WAIT(&rig.probe, empty_writes, 3);
    pthread_mutex_lock(&rig.probe.lock);
    rig.probe.retry_ms = 0;
    pthread_mutex_unlock(&rig.probe.lock);
    assert_int_equal(rig_fini(&rig), 0);
}

static void sinks_reopen_also_while_they_retry(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1024, QUEUE_DROP_NEWEST);
    bus_reopen(rig.bus);
    PROBE_WAIT(&rig.probe, reopens, 1);
    pthread_mutex_lock(&rig.probe.lock);
    rig.probe.always = SOTH_RETRY;
    pthread_mutex_unlock(&rig.probe.lock);
    unsigned before = rig.probe.writes;
    emit(&rig, 1);
    PROBE_WAIT(&rig.probe, writes, before + 3);
    bus_reopen(rig.bus);
    PROBE_WAIT(&rig.probe, reopens, 2);
    pthread_mutex_lock(&rig.probe.lock);
    rig.probe.always = SOTH_OK;
    pthread_mutex_unlock(&rig.probe.lock);
    assert_int_equal(rig_fini(&rig), 0);
}

/* ---- the end ---- */

static void what_was_published_is_written_before_the_end(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 65536, QUEUE_DROP_NEWEST);
    emit(&rig, 5000);
    bus_port_free(rig.port);
    assert_int_equal(bus_stop(rig.bus, 5000), 0);
    assert_int_equal(rig.probe.n, 5000);
    assert_int_equal(rig.probe.flushes, 1);
    bus_free(rig.bus);
    probe_fini(&rig.probe);
}

static void the_end_comes_at_its_deadline(void **state)
{
    struct rig rig;
    struct timespec begin, end;
    (void)state;
    rig_init(&rig, 65536, QUEUE_DROP_NEWEST);
    rig.probe.always = SOTH_RETRY;
    emit(&rig, 1000);
    PROBE_WAIT(&rig.probe, writes, 2);
    bus_port_free(rig.port);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    assert_int_equal(bus_stop(rig.bus, 50), 1000);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - begin.tv_sec < 5);
    bus_free(rig.bus);
    probe_fini(&rig.probe);
}

/* ---- several producers ---- */

#define EACH 20000u

struct producer {
    struct bus *bus;
    uint64_t flow_id;
};

static void *produce(void *arg)
{
    struct producer *me = arg;
    struct bus_port *port = bus_port_new(me->bus, NULL, NULL);
    struct event_source source = {.flow_id = me->flow_id, .next_sequence = 1, .client_addr = soth_span("127.0.0.1:1")};
    for (unsigned i = 0; i < EACH; i++) {
        struct soth_attr attr = ATTR_NUMBER("bytes", i);
        bus_emit(port, &source, SOTH_EV_REQUEST_BODY_CHUNK, &attr, 1);
        if (i % 7 == 0)
            bus_flush(port);
    }
    bus_port_free(port);
    return NULL;
}

static void two_producers_one_sequence(void **state)
{
    struct rig rig;
    pthread_t threads[2];
    struct producer producers[2];
    uint64_t next[3] = {0, 1, 1};
    (void)state;
    rig_init(&rig, 1 << 20, QUEUE_DROP_NEWEST);
    for (unsigned i = 0; i < 2; i++) {
        producers[i] = (struct producer){rig.bus, i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    bus_port_free(rig.port);
    assert_int_equal(bus_stop(rig.bus, 10000), 0);
    assert_int_equal(rig.probe.n, 2 * EACH);
    for (size_t i = 0; i < rig.probe.n; i++) {
        const struct seen *s = &rig.probe.seen[i];
        assert_int_equal(s->sequence_id, i + 1);
        assert_int_equal(s->flow_sequence_id, next[s->flow_id]++);
    }
    bus_free(rig.bus);
    probe_fini(&rig.probe);
}

/* ---- names ---- */

static void kinds_and_groups_have_names(void **state)
{
    (void)state;
    assert_string_equal(event_kind_name(SOTH_EV_STREAM_CLOSED), "stream_closed");
    assert_string_equal(event_kind_name(SOTH_EV_COUNT), "");
    assert_string_equal(event_protocol_name(SOTH_PROTO_STREAMABLE_HTTP), "streamable_http");
    assert_int_equal(event_kinds_by_name(soth_span("request_headers")), KINDS(SOTH_EV_REQUEST_HEADERS));
    assert_int_equal(event_kinds_by_name(soth_span("nothing")), 0);
    uint64_t all = event_kinds_by_name(soth_span("all"));
    for (unsigned k = 1; k < SOTH_EV_COUNT; k++) {
        assert_true(event_kinds_by_name(soth_span(event_kind_name(k))) == KINDS(k));
        assert_true(all & KINDS(k));
    }
    assert_true(event_kinds_by_name(soth_span("body")) & KINDS(SOTH_EV_REQUEST_BODY_CHUNK));
    assert_false(event_kinds_by_name(soth_span("body")) & KINDS(SOTH_EV_REQUEST_HEADERS));
    assert_true(event_group_kinds(SOTH_GROUP_HTTP) & event_group_kinds(SOTH_GROUP_CONNECT) & KINDS(SOTH_EV_STREAM_CLOSED));
    assert_true(event_kinds_by_name(soth_span("grpc")) != 0); /* a group without a kind yet */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_a_sorted_copy),
        cmocka_unit_test(events_arrive_in_order),
        cmocka_unit_test(a_sink_gets_the_kinds_it_asked_for),
        cmocka_unit_test(one_turn_may_fill_many_slabs),
        cmocka_unit_test(a_busy_bus_wakes_its_sink_seldom),
        cmocka_unit_test(the_newest_are_dropped_and_told),
        cmocka_unit_test(the_oldest_are_dropped),
        cmocka_unit_test(bytes_bound_the_queue_too),
        cmocka_unit_test(flows_pause_and_nothing_is_lost),
        cmocka_unit_test(retry_loses_nothing),
        cmocka_unit_test(dropped_batches_are_told),
        cmocka_unit_test(a_lost_report_is_told_again),
        cmocka_unit_test(a_broken_sink_is_switched_off_and_told_to_others),
        cmocka_unit_test(a_sink_is_called_again_when_it_asked_for_it),
        cmocka_unit_test(sinks_reopen_also_while_they_retry),
        cmocka_unit_test(what_was_published_is_written_before_the_end),
        cmocka_unit_test(the_end_comes_at_its_deadline),
        cmocka_unit_test(two_producers_one_sequence),
        cmocka_unit_test(kinds_and_groups_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
