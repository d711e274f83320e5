/* SPDX-License-Identifier: MPL-2.0 */
/* The bus between workers and sinks: what an event is, order, subscription, several producers. Also run under TSan. */
#include "bus_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    struct bus_queue_config queue = {.max_events = 16, .max_bytes = 1 << 20, .on_full = QUEUE_DROP_NEWEST};
    struct bus *bus = bus_new();
    (void)state;
    assert_int_equal(bus_add_sink(bus, "keeper", NULL, &ops, EVERY, &queue), SOTH_OK);
    assert_int_equal(bus_start(bus), SOTH_OK);
    struct bus_port *port = bus_port_new(bus, NULL, NULL);
    char address[] = "192.0.2.1:9", value[] = "GET";
    struct event_source source = {.flow_id = 3, .parent_flow_id = 2, .next_sequence = 5, .client_addr = soth_span(address),
                                  .protocol = SOTH_PROTO_HTTP1};
    struct soth_attr attrs[] = {ATTR_NUMBER("status_code", 200), ATTR_WORD("method", value), ATTR_TEXT("absent", ((struct soth_span){NULL, 0})),
                                ATTR_BOOL("interim", true), ATTR_WORD("meth", "x")};
    port->monotonic_ns = 11;
    port->unix_ms = 12;
    bus_emit(port, &source, SOTH_EV_RESPONSE_HEADERS, attrs, 5);
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
    struct sink_line rig;
    (void)state;
    line_init(&rig, 65536, QUEUE_DROP_NEWEST);
    for (unsigned i = 0; i < 100; i++)
        line_emit(&rig, 20);
    PROBE_WAIT(&rig.probe, n, 2000);
    for (size_t i = 0; i < 2000; i++) {
        assert_int_equal(rig.probe.seen[i].sequence_id, i + 1);
        assert_int_equal(rig.probe.seen[i].flow_sequence_id, i + 1);
    }
    struct bus_sink_stats stats;
    assert_int_equal(bus_stats(rig.bus, &stats, 1), 1);
    assert_string_equal(stats.name, "probe");
    assert_int_equal(stats.lost, 0);
    assert_int_equal(line_fini(&rig), 0);
}

static void a_sink_gets_the_kinds_it_asked_for(void **state)
{
    struct bus_queue_config queue = {.max_events = 1024, .max_bytes = 1 << 20, .on_full = QUEUE_DROP_NEWEST};
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
    struct sink_line rig;
    static char big[100000];
    (void)state;
    memset(big, 'x', sizeof big);
    line_init(&rig, 65536, QUEUE_DROP_NEWEST);
    line_emit(&rig, 50);
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
    assert_int_equal(line_fini(&rig), 0);
}

static void a_busy_bus_wakes_its_sink_seldom(void **state)
{
    struct sink_line rig;
    (void)state;
    line_init(&rig, 65536, QUEUE_DROP_NEWEST);
    for (unsigned i = 0; i < 2000; i++)
        line_emit(&rig, 1);
    PROBE_WAIT(&rig.probe, n, 2000);
    assert_in_range(rig.probe.writes, 1, 500);
    line_fini(&rig);
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
    struct sink_line rig;
    pthread_t threads[2];
    struct producer producers[2];
    uint64_t next[3] = {0, 1, 1};
    (void)state;
    line_init(&rig, 1 << 20, QUEUE_DROP_NEWEST);
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
        cmocka_unit_test(two_producers_one_sequence),
        cmocka_unit_test(kinds_and_groups_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
