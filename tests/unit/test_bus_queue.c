/* SPDX-License-Identifier: MPL-2.0 */
/* The queue in front of a sink: what happens when it is full, and how losses are told. Also run under TSan. */
#include "bus_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/event/private.h"

/* What a batch says that waits comes with the next calls, one after the other. */
static void batches_say_what_comes_behind_them(void **state)
{
    struct sink_line rig;
    (void)state;
    line_init(&rig, 10000, QUEUE_DROP_NEWEST);
    line_hold(&rig);
    line_emit(&rig, 2 * BATCH + 10);
    probe_gate(&rig.probe, false);
    PROBE_WAIT(&rig.probe, n, 2 * BATCH + 11);
    const uint64_t *waiting = rig.probe.waiting;
    assert_int_equal(waiting[0], 0);
    assert_int_equal(waiting[1], BATCH + 10);
    assert_int_equal(waiting[2], 10);
    assert_int_equal(waiting[3], 0);
    assert_int_equal(line_fini(&rig), 0);
}

/* ---- a full queue ---- */

static void the_newest_are_dropped_and_told(void **state)
{
    struct sink_line rig;
    (void)state;
    line_init(&rig, 16, QUEUE_DROP_NEWEST);
    line_hold(&rig); /* event 1 */
    line_emit(&rig, 26); /* 2..17 wait, 18..27 are lost */
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
    assert_int_equal(line_fini(&rig), 0);
}

static void the_oldest_are_dropped(void **state)
{
    struct sink_line rig;
    (void)state;
    line_init(&rig, 16, QUEUE_DROP_OLDEST);
    line_hold(&rig);
    line_emit(&rig, 26); /* 2..11 make room for 18..27 */
    probe_gate(&rig.probe, false);
    PROBE_WAIT(&rig.probe, n, 18);
    assert_int_equal(rig.probe.seen[1].sequence_id, 12);
    assert_int_equal(rig.probe.seen[16].sequence_id, 27);
    assert_int_equal(rig.probe.seen[17].kind, SOTH_EV_EVENTS_LOST);
    assert_int_equal(rig.probe.seen[17].count, 10);
    assert_int_equal(rig.probe.seen[17].first, 2);
    assert_int_equal(rig.probe.seen[17].last, 11);
    assert_int_equal(line_fini(&rig), 0);
}

static void bytes_bound_the_queue_too(void **state)
{
    struct sink_line rig;
    static char text[4096];
    struct bus_queue_config queue = {.max_events = 1000, .max_bytes = 65536, .on_full = QUEUE_DROP_NEWEST};
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
    struct sink_line rig;
    (void)state;
    line_init(&rig, 16, QUEUE_PAUSE_FLOW);
    line_hold(&rig);
    line_emit(&rig, 16);
    assert_false(rig.port->congested);
    line_emit(&rig, 4); /* read before: they still go in */
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
    assert_int_equal(line_fini(&rig), 0);
}

/* A page of text as an attribute: events that fill a queue by bytes. */
static void emit_big(struct sink_line *rig, size_t n)
{
    static char text[65536];
    memset(text, 'x', sizeof text);
    struct soth_attr attr = ATTR_TEXT("target", ((struct soth_span){text, n}));
    bus_emit(rig->port, &rig->source, SOTH_EV_REQUEST_HEADERS, &attr, 1);
    bus_flush(rig->port);
}

static void a_gathering_turn_is_published_before_its_end(void **state)
{
    struct sink_line rig;
    static char text[60000];
    (void)state;
    line_init(&rig, 1024, QUEUE_DROP_NEWEST);
    memset(text, 'x', sizeof text);
    struct soth_attr attr = ATTR_TEXT("target", ((struct soth_span){text, sizeof text}));
    for (unsigned i = 0; i < 20; i++) /* more than a megabyte, and nobody flushes */
        bus_emit(rig.port, &rig.source, SOTH_EV_REQUEST_HEADERS, &attr, 1);
    PROBE_WAIT(&rig.probe, n, 17);
    assert_int_equal(line_fini(&rig), 0);
}

/* ---- losses are told exactly ---- */

static void ranges_grow_where_nothing_arrived_in_between(void **state)
{
    struct losses l = {.n = 0};
    (void)state;
    losses_add(&l, (struct loss){10, 10, 1}, 9);
    losses_add(&l, (struct loss){14, 14, 1}, 9); /* 11 to 13 were of kinds that it does not get */
    assert_int_equal(l.n, 1);
    losses_add(&l, (struct loss){20, 20, 1}, 17);
    losses_add(&l, (struct loss){21, 21, 1}, UINT64_MAX); /* a neighbour is a neighbour */
    losses_add(&l, (struct loss){3, 5, 2}, UINT64_MAX);   /* from before all of them */
    assert_int_equal(l.n, 3);
    assert_memory_equal(l.v, ((struct loss[]){{3, 5, 2}, {10, 14, 2}, {20, 21, 2}}), 3 * sizeof *l.v);
}

static void more_ranges_than_fit_keep_the_count(void **state)
{
    struct losses l = {.n = 0};
    uint64_t sum = 0;
    (void)state;
    for (uint64_t k = 1; k <= 2 * LOSSES; k++)
        losses_add(&l, (struct loss){100 + 10 * k, 100 + 10 * k, 1}, 100 + 10 * k - 1);
    losses_add(&l, (struct loss){7, 7, 1}, 6);
    assert_int_equal(l.n, LOSSES);
    for (unsigned i = 0; i < l.n; i++)
        sum += l.v[i].count;
    assert_int_equal(sum, 2 * LOSSES + 1);
    assert_int_equal(l.v[0].first, 7);
    assert_int_equal(l.v[LOSSES - 1].last, 100 + 20 * LOSSES);
}

/* The report of losses waits at the tail and would be the oldest soon. */
static void a_report_is_not_dropped_for_others(void **state)
{
    struct sink_line rig;
    (void)state;
    line_init(&rig, 16, QUEUE_DROP_OLDEST);
    line_hold(&rig); /* in 1 */
    for (unsigned round = 0; round < 4; round++) {
        line_emit(&rig, 100);
        probe_pass(&rig.probe); /* the last 16 are in write, the report waits */
    }
    probe_gate(&rig.probe, false);
    assert_int_equal(line_stop(&rig, 5000), 0);
    assert_int_equal(rig.probe.seen[17].kind, SOTH_EV_EVENTS_LOST); /* first of the second sixteen */
    assert_int_equal(rig.probe.seen[17].first, 2);
    assert_int_equal(rig.probe.seen[17].last, 85);
    assert_int_equal(probe_told_lost(&rig.probe), 4 * 84 + 3);
    probe_accounts_for(&rig.probe, 1 + 400 + 3);
    line_free(&rig);
}

static void losses_under_load_are_told_exactly(uint32_t on_full)
{
    struct sink_line rig;
    line_init(&rig, 64, on_full);
    for (unsigned i = 0; i < 4000; i++)
        line_emit(&rig, 1 + i * 7 % 13);
    assert_int_equal(line_stop(&rig, 5000), 0);
    uint64_t last = rig.source.next_sequence - 1 + rig.probe.n; /* at least, with the reports */
    struct bus_sink_stats stats;
    bus_stats(rig.bus, &stats, 1);
    assert_true(stats.lost > 0);
    assert_int_equal(probe_told_lost(&rig.probe), stats.lost);
    while (last > 0 && last > rig.probe.seen[rig.probe.n - 1].sequence_id)
        last--;
    probe_accounts_for(&rig.probe, last);
    line_free(&rig);
}

static void what_drop_oldest_loses_under_load_is_told_exactly(void **state)
{
    (void)state;
    losses_under_load_are_told_exactly(QUEUE_DROP_OLDEST);
}

static void what_drop_newest_loses_under_load_is_told_exactly(void **state)
{
    (void)state;
    losses_under_load_are_told_exactly(QUEUE_DROP_NEWEST);
}

/* Small ones fit in between where big ones do not: many holes, until there is no place for one more to be told. */
static void holes_in_a_queue_full_of_bytes_are_told_exactly(void **state)
{
    struct bus_queue_config queue = {.max_events = 1024, .max_bytes = 100000, .on_full = QUEUE_DROP_NEWEST};
    struct sink_line rig;
    (void)state;
    line_init_queue(&rig, &queue);
    line_hold(&rig);
    for (unsigned i = 0; i < 40; i++)
        emit_big(&rig, i % 2 ? 100 : 60000); /* the first fits, of the others only the small ones */
    probe_gate(&rig.probe, false);
    assert_int_equal(line_stop(&rig, 5000), 0);
    assert_in_range(rig.probe.lost, 19, 39);
    probe_accounts_for(&rig.probe, 41);
    unsigned reports = 0;
    for (size_t i = 0; i < rig.probe.n; i++)
        reports += rig.probe.seen[i].kind == SOTH_EV_EVENTS_LOST;
    assert_int_equal(reports, LOSSES);
    line_free(&rig);
}

/* ---- pause_flow ---- */

struct reader { /* a worker: what it reads it emits, and it stops reading when it is told to */
    struct sink_line *rig;
    unsigned turns, most_waiting;
};

/* What is in the hands of the module waits no more; bus_stats counts that, too. */
static unsigned waiting_in(struct bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    const size_t count = bus->sinks[0]->count;
    pthread_mutex_unlock(&bus->lock);
    return (unsigned)count;
}

static void *read_and_emit(void *arg)
{
    struct reader *reader = arg;
    struct sink_line *rig = reader->rig;
    for (unsigned i = 0; i < reader->turns;) {
        if (rig->port->congested) {
            struct timespec moment = {0, 100000};
            nanosleep(&moment, NULL);
            bus_port_woken(rig->port);
            continue;
        }
        line_emit(rig, 4);
        i++;
        const unsigned waiting = waiting_in(rig->bus);
        reader->most_waiting = waiting > reader->most_waiting ? waiting : reader->most_waiting;
    }
    return NULL;
}

/* The sink takes five events a write and then wants a rest: the queue never holds more than its limit and what one turn brought. */
static void a_slow_sink_slows_the_reader_and_keeps_the_queue_short(void **state)
{
    struct sink_line rig;
    struct reader reader = {&rig, 250, 0};
    pthread_t thread;
    (void)state;
    line_init(&rig, 32, QUEUE_PAUSE_FLOW);
    rig.probe.always = SOTH_RETRY;
    rig.probe.take_first = 5;
    assert_int_equal(pthread_create(&thread, NULL, read_and_emit, &reader), 0);
    pthread_join(thread, NULL);
    PROBE_WAIT(&rig.probe, n, 1000);
    probe_answer(&rig.probe, SOTH_OK);
    assert_in_range(reader.most_waiting, 28, 36);
    assert_true(rig.probe.writes >= 200);
    assert_int_equal(line_stop(&rig, 5000), 0);
    assert_int_equal(rig.probe.n, 1000);
    probe_accounts_for(&rig.probe, 1000);
    line_free(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_say_what_comes_behind_them),
        cmocka_unit_test(the_newest_are_dropped_and_told),
        cmocka_unit_test(the_oldest_are_dropped),
        cmocka_unit_test(bytes_bound_the_queue_too),
        cmocka_unit_test(flows_pause_and_nothing_is_lost),
        cmocka_unit_test(a_gathering_turn_is_published_before_its_end),
        cmocka_unit_test(ranges_grow_where_nothing_arrived_in_between),
        cmocka_unit_test(more_ranges_than_fit_keep_the_count),
        cmocka_unit_test(a_report_is_not_dropped_for_others),
        cmocka_unit_test(what_drop_oldest_loses_under_load_is_told_exactly),
        cmocka_unit_test(what_drop_newest_loses_under_load_is_told_exactly),
        cmocka_unit_test(holes_in_a_queue_full_of_bytes_are_told_exactly),
        cmocka_unit_test(a_slow_sink_slows_the_reader_and_keeps_the_queue_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
