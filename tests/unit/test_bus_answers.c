/* SPDX-License-Identifier: MPL-2.0 */
/* What a sink may answer, acknowledgements, and the end of the bus. Also run under TSan. */
#include "bus_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One sink with these answers gets all events but module_fault, another one gets that. */
struct pair {
    struct probe bad, good;
    struct bus *bus;
    struct bus_port *port;
    struct event_source source;
};

static void pair_init(struct pair *pair, bool acks)
{
    struct bus_queue_config queue = {.max_events = 1024, .max_bytes = 1 << 20, .on_full = QUEUE_PAUSE_FLOW, .acks = acks};
    probe_init(&pair->bad);
    probe_init(&pair->good);
    pair->bus = bus_new();
    pair->source = (struct event_source){.flow_id = 1, .next_sequence = 1};
    bus_add_sink(pair->bus, "bad", &pair->bad, &probe_ops, KINDS(SOTH_EV_REQUEST_HEADERS), &queue);
    queue.acks = false;
    bus_add_sink(pair->bus, "good", &pair->good, &probe_ops, KINDS(SOTH_EV_MODULE_FAULT), &queue);
    bus_start(pair->bus);
    pair->port = bus_port_new(pair->bus, NULL, NULL);
}

static void pair_emit(struct pair *pair, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        bus_emit(pair->port, &pair->source, SOTH_EV_REQUEST_HEADERS, NULL, 0);
    bus_flush(pair->port);
}

static void pair_fini(struct pair *pair)
{
    bus_free(pair->bus);
    probe_fini(&pair->bad);
    probe_fini(&pair->good);
}

/* ---- what a sink answers ---- */

static void retry_loses_nothing(void **state)
{
    struct sink_line rig;
    (void)state;
    line_init(&rig, 1024, QUEUE_DROP_NEWEST);
    for (unsigned i = 0; i < 5; i++)
        rig.probe.answers[rig.probe.answer_count++] = SOTH_RETRY;
    rig.probe.take_first = 3;
    line_emit(&rig, 100);
    PROBE_WAIT(&rig.probe, n, 100);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(rig.probe.seen[i].sequence_id, i + 1);
    assert_int_equal(rig.probe.writes, 6);
    assert_int_equal(line_fini(&rig), 0);
}

/* Every loss is told once, even when the event that tells it is lost itself. */
static void dropped_batches_are_told(void **state)
{
    struct sink_line rig;
    (void)state;
    line_init(&rig, 1024, QUEUE_DROP_NEWEST);
    for (unsigned i = 0; i < 3; i++)
        rig.probe.answers[rig.probe.answer_count++] = SOTH_DROP;
    rig.probe.take_first = 2;
    line_emit(&rig, 10); /* 1, 2 taken, 8 lost; then the report of it, taken; */
    PROBE_WAIT(&rig.probe, writes, 2);
    PROBE_WAIT(&rig.probe, n, 3);
    line_emit(&rig, 5); /* 2 of these and 3 lost */
    PROBE_WAIT(&rig.probe, n, 6);
    line_emit(&rig, 1);
    PROBE_WAIT(&rig.probe, n, 7);
    assert_int_equal(probe_told_lost(&rig.probe), 11);
    assert_int_equal(line_fini(&rig), 0);
}

static void a_lost_report_is_told_again(void **state)
{
    struct sink_line rig;
    (void)state;
    line_init(&rig, 1024, QUEUE_DROP_NEWEST);
    rig.probe.answers[0] = SOTH_DROP; /* events 1..10 */
    rig.probe.answers[1] = SOTH_DROP; /* the report, 11 */
    rig.probe.answer_count = 2;
    line_emit(&rig, 10);
    PROBE_WAIT(&rig.probe, answer_at, 2);
    line_emit(&rig, 1);
    PROBE_WAIT(&rig.probe, n, 2);
    const struct seen *report = &rig.probe.seen[1];
    assert_int_equal(report->kind, SOTH_EV_EVENTS_LOST);
    assert_int_equal(report->count, 11);
    assert_int_equal(report->first, 1);
    assert_int_equal(report->last, 11);
    assert_int_equal(line_fini(&rig), 0);
}

static void a_broken_sink_is_switched_off_and_told_to_others(void **state)
{
    struct bus_queue_config queue = {.max_events = 1024, .max_bytes = 1 << 20, .on_full = QUEUE_DROP_NEWEST};
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
    struct sink_line rig;
    (void)state;
    line_init(&rig, 1024, QUEUE_DROP_NEWEST);
    rig.probe.retry_ms = 2;
    line_emit(&rig, 1);
    PROBE_WAIT(&rig.probe, empty_writes, 3);
    pthread_mutex_lock(&rig.probe.lock);
    rig.probe.retry_ms = 0;
    pthread_mutex_unlock(&rig.probe.lock);
    assert_int_equal(line_fini(&rig), 0);
}

static void sinks_reopen_also_while_they_retry(void **state)
{
    struct sink_line rig;
    (void)state;
    line_init(&rig, 1024, QUEUE_DROP_NEWEST);
    bus_reopen(rig.bus);
    PROBE_WAIT(&rig.probe, reopens, 1);
    pthread_mutex_lock(&rig.probe.lock);
    rig.probe.always = SOTH_RETRY;
    const unsigned before = rig.probe.writes;
    pthread_mutex_unlock(&rig.probe.lock);
    line_emit(&rig, 1);
    PROBE_WAIT(&rig.probe, writes, before + 3);
    bus_reopen(rig.bus);
    PROBE_WAIT(&rig.probe, reopens, 2);
    pthread_mutex_lock(&rig.probe.lock);
    rig.probe.always = SOTH_OK;
    pthread_mutex_unlock(&rig.probe.lock);
    assert_int_equal(line_fini(&rig), 0);
}

/* ---- the end ---- */

static void what_was_published_is_written_before_the_end(void **state)
{
    struct sink_line rig;
    (void)state;
    line_init(&rig, 65536, QUEUE_DROP_NEWEST);
    line_emit(&rig, 5000);
    bus_port_free(rig.port);
    assert_int_equal(bus_stop(rig.bus, 5000), 0);
    assert_int_equal(rig.probe.n, 5000);
    assert_int_equal(rig.probe.flushes, 1);
    bus_free(rig.bus);
    probe_fini(&rig.probe);
}

/* What one sink loses at the very end another one is still told. */
static void sinks_wait_for_each_other_at_the_end(void **state)
{
    struct bus_queue_config queue = {.max_events = 1024, .max_bytes = 1 << 20, .on_full = QUEUE_DROP_NEWEST};
    struct probe quick, slow;
    struct bus *bus = bus_new();
    (void)state;
    probe_init(&quick);
    probe_init(&slow);
    for (unsigned i = 0; i < 3; i++)
        slow.answers[slow.answer_count++] = SOTH_RETRY;
    slow.answers[slow.answer_count++] = SOTH_DROP;
    slow.retry_ms = 20;
    bus_add_sink(bus, "quick", &quick, &probe_ops, KINDS(SOTH_EV_EVENTS_LOST), &queue);
    bus_add_sink(bus, "slow", &slow, &probe_ops, KINDS(SOTH_EV_REQUEST_HEADERS), &queue);
    bus_start(bus);
    struct bus_port *port = bus_port_new(bus, NULL, NULL);
    struct event_source source = {.flow_id = 1, .next_sequence = 1};
    bus_emit(port, &source, SOTH_EV_REQUEST_HEADERS, NULL, 0);
    bus_port_free(port);
    assert_int_equal(bus_stop(bus, 20000), 1); /* the one that was dropped */
    assert_int_equal(quick.n, 1);
    assert_int_equal(quick.seen[0].count, 1);
    assert_int_equal(quick.flushes, 1);
    bus_free(bus);
    probe_fini(&quick);
    probe_fini(&slow);
}

/* One that never comes to an end leaves the others time to flush. */
static void a_sink_does_not_wait_for_the_deadline_of_another(void **state)
{
    struct pair pair;
    struct timespec begin, end;
    (void)state;
    pair_init(&pair, false);
    pair.bad.always = SOTH_RETRY;
    pair_emit(&pair, 10);
    PROBE_WAIT(&pair.bad, writes, 2);
    bus_port_free(pair.port);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    assert_int_equal(bus_stop(pair.bus, 3000), 10);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - begin.tv_sec < 10);
    assert_in_range(pair.good.flush_ms, 1, 1500); /* it waits half of it for the other; all of this may have to wait for its turn, too */
    pair_fini(&pair);
}

static void the_end_comes_at_its_deadline(void **state)
{
    struct sink_line rig;
    struct timespec begin, end;
    (void)state;
    line_init(&rig, 65536, QUEUE_DROP_NEWEST);
    rig.probe.always = SOTH_RETRY;
    line_emit(&rig, 1000);
    PROBE_WAIT(&rig.probe, writes, 2);
    bus_port_free(rig.port);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    assert_int_equal(bus_stop(rig.bus, 50), 1000);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - begin.tv_sec < 5);
    bus_free(rig.bus);
    probe_fini(&rig.probe);
}

static void refusals_come_at_growing_intervals(void **state)
{
    struct sink_line rig;
    (void)state;
    line_init(&rig, 1024, QUEUE_DROP_NEWEST);
    rig.probe.retry_ms = UINT32_MAX; /* it names no time itself */
    for (unsigned i = 0; i < 4; i++)
        rig.probe.answers[rig.probe.answer_count++] = SOTH_RETRY;
    line_emit(&rig, 3);
    PROBE_WAIT(&rig.probe, n, 3);
    for (unsigned i = 0; i < 4; i++)
        assert_true(rig.probe.gave_ns[i + 1] - rig.probe.gave_ns[i] >= (UINT64_C(20000000) << i));
    assert_int_equal(line_fini(&rig), 0);
}

/* "All taken, but leave me alone for a while" is no reason to ask again with nothing. */
static void a_refusal_with_nothing_left_is_the_end_of_a_batch(void **state)
{
    struct sink_line rig;
    (void)state;
    line_init(&rig, 1024, QUEUE_DROP_NEWEST);
    rig.probe.always = SOTH_RETRY;
    rig.probe.take_first = 10;
    line_emit(&rig, 10);
    PROBE_WAIT(&rig.probe, n, 10);
    line_emit(&rig, 10);
    PROBE_WAIT(&rig.probe, n, 20);
    assert_int_equal(rig.probe.writes, 2);
    assert_int_equal(line_fini(&rig), 0);
}

/* ---- the end of a sink ---- */

static void a_dead_sink_is_never_called_again(void **state)
{
    struct pair pair;
    struct bus_sink_stats stats;
    (void)state;
    pair_init(&pair, false);
    pair.bad.always = SOTH_DEAD;
    pair.bad.take_first = 2;
    pair_emit(&pair, 10);
    PROBE_WAIT(&pair.good, n, 1);
    assert_int_equal(pair.good.seen[0].kind, SOTH_EV_MODULE_FAULT);
    pair_emit(&pair, 2000); /* a full queue of a dead sink stops nobody */
    assert_false(pair.port->congested);
    bus_port_free(pair.port);
    assert_int_equal(bus_stop(pair.bus, 5000), 0);
    bus_stats(pair.bus, &stats, 1);
    assert_int_equal(pair.bad.writes, 1);
    assert_int_equal(pair.good.n, 1);
    assert_int_equal(stats.written, 2);
    assert_int_equal(stats.lost, 2008);
    assert_int_equal(stats.queued_bytes, 0);
    pair_fini(&pair);
}

static void what_a_dead_sink_did_not_acknowledge_is_lost(void **state)
{
    struct pair pair;
    struct bus_sink_stats stats;
    (void)state;
    pair_init(&pair, true);
    pair_emit(&pair, 10);
    PROBE_WAIT(&pair.bad, n, 10);
    probe_answer(&pair.bad, SOTH_DEAD);
    pair_emit(&pair, 1);
    PROBE_WAIT(&pair.good, n, 1);
    bus_ack(pair.bus, &pair.bad, 10); /* too late */
    bus_port_free(pair.port);
    assert_int_equal(bus_stop(pair.bus, 5000), 0);
    bus_stats(pair.bus, &stats, 1);
    assert_int_equal(stats.lost, 11);
    assert_int_equal(stats.queued_events, 0);
    assert_int_equal(stats.queued_bytes, 0);
    pair_fini(&pair);
}

static void a_verdict_that_no_sink_has_is_a_failure(void **state)
{
    struct pair pair;
    (void)state;
    pair_init(&pair, false);
    pair.bad.answers[0] = SOTH_PAUSE;
    pair.bad.answer_count = 1;
    pair_emit(&pair, 1);
    PROBE_WAIT(&pair.good, n, 1);
    pair_emit(&pair, 1); /* it is not switched off for that */
    PROBE_WAIT(&pair.bad, n, 1);
    bus_port_free(pair.port);
    assert_int_equal(bus_stop(pair.bus, 5000), 0);
    pair_fini(&pair);
}

/* ---- acknowledgements ---- */

static void line_init_acks(struct sink_line *rig, uint64_t max_events, uint32_t on_full)
{
    struct bus_queue_config queue = {.max_events = max_events, .max_bytes = 1 << 20, .on_full = on_full, .acks = true};
    line_init_queue(rig, &queue);
}

static struct bus_sink_stats stats_of(const struct sink_line *rig)
{
    struct bus_sink_stats stats;
    assert_int_equal(bus_stats(rig->bus, &stats, 1), 1);
    return stats;
}

/* Until that many count in the queue: they wait, are in write, or are not acknowledged. */
static void wait_booked(const struct sink_line *rig, uint64_t queued)
{
    for (unsigned i = 0; i < 10000 && stats_of(rig).queued_events != queued; i++) {
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
    assert_int_equal(stats_of(rig).queued_events, queued);
}

static void what_is_taken_counts_until_it_is_acknowledged(void **state)
{
    struct sink_line rig;
    (void)state;
    line_init_acks(&rig, 16, QUEUE_DROP_NEWEST);
    line_emit(&rig, 16);
    PROBE_WAIT(&rig.probe, n, 16);
    wait_booked(&rig, 16);
    uint64_t bytes = stats_of(&rig).queued_bytes;
    assert_int_equal(stats_of(&rig).written, 0);
    line_emit(&rig, 3); /* no room; the report of it finds some */
    PROBE_WAIT(&rig.probe, n, 17);
    assert_int_equal(stats_of(&rig).lost, 3);
    bus_ack(rig.bus, &rig.probe, 8);
    wait_booked(&rig, 9);
    assert_true(stats_of(&rig).queued_bytes < bytes);
    assert_int_equal(stats_of(&rig).written, 8);
    line_emit(&rig, 7);
    PROBE_WAIT(&rig.probe, n, 24);
    assert_int_equal(stats_of(&rig).lost, 3);
    bus_ack(rig.bus, &rig.probe, rig.probe.seen[23].sequence_id);
    wait_booked(&rig, 0);
    assert_int_equal(stats_of(&rig).queued_bytes, 0);
    assert_int_equal(stats_of(&rig).written, 24);
    assert_int_equal(line_fini(&rig), 0);
}

static void an_acknowledgement_may_come_inside_write(void **state)
{
    struct sink_line rig;
    (void)state;
    line_init_acks(&rig, 16, QUEUE_DROP_NEWEST);
    rig.probe.ack = rig.bus;
    for (unsigned i = 1; i <= 20; i++) {
        line_emit(&rig, 16);
        PROBE_WAIT(&rig.probe, n, 16 * i);
        wait_booked(&rig, 0);
    }
    assert_int_equal(stats_of(&rig).lost, 0);
    assert_int_equal(stats_of(&rig).written, 320);
    assert_int_equal(stats_of(&rig).queued_bytes, 0);
    assert_int_equal(line_fini(&rig), 0);
}

/* What is acknowledged was offered before: numbers of the future and of others' instances do nothing. */
static void nobody_acknowledges_what_he_has_not_seen(void **state)
{
    struct sink_line rig;
    (void)state;
    line_init_acks(&rig, 64, QUEUE_DROP_NEWEST);
    bus_ack(rig.bus, &rig.probe, 1000);
    line_emit(&rig, 4);
    PROBE_WAIT(&rig.probe, n, 4);
    wait_booked(&rig, 4);
    bus_ack(rig.bus, &rig, 4);
    assert_int_equal(stats_of(&rig).queued_events, 4);
    bus_ack(rig.bus, &rig.probe, 1000);
    wait_booked(&rig, 0);
    line_emit(&rig, 1);
    PROBE_WAIT(&rig.probe, n, 5);
    wait_booked(&rig, 1);
    bus_ack(rig.bus, &rig.probe, 5);
    assert_int_equal(line_fini(&rig), 0);
}

static void flows_pause_until_enough_is_acknowledged(void **state)
{
    struct sink_line rig;
    (void)state;
    line_init_acks(&rig, 16, QUEUE_PAUSE_FLOW);
    line_emit(&rig, 20);
    PROBE_WAIT(&rig.probe, n, 20);
    wait_booked(&rig, 20);
    assert_true(rig.port->congested);
    bus_ack(rig.bus, &rig.probe, 11);
    bus_port_woken(rig.port);
    assert_true(rig.port->congested);
    bus_ack(rig.bus, &rig.probe, 12); /* half of it is free */
    PROBE_WAIT(&rig.probe, wakes, 1);
    bus_port_woken(rig.port);
    assert_false(rig.port->congested);
    bus_ack(rig.bus, &rig.probe, 20);
    assert_int_equal(line_fini(&rig), 0);
}

static void *acknowledge_after_flush(void *arg)
{
    struct sink_line *rig = arg;
    struct probe *p = &rig->probe;
    pthread_mutex_lock(&p->lock);
    while (p->flushes == 0)
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    for (uint64_t i = 1; i <= 100; i++)
        bus_ack(rig->bus, p, i);
    return NULL;
}

static void the_end_waits_for_acknowledgements(void **state)
{
    struct sink_line rig;
    pthread_t thread;
    (void)state;
    line_init_acks(&rig, 1024, QUEUE_DROP_NEWEST);
    line_emit(&rig, 100);
    assert_int_equal(pthread_create(&thread, NULL, acknowledge_after_flush, &rig), 0);
    assert_int_equal(line_stop(&rig, 20000), 0);
    pthread_join(thread, NULL);
    assert_int_equal(stats_of(&rig).written, 100);
    line_free(&rig);
}

static void what_was_never_acknowledged_is_undelivered(void **state)
{
    struct sink_line rig;
    (void)state;
    line_init_acks(&rig, 1024, QUEUE_DROP_NEWEST);
    line_emit(&rig, 100);
    PROBE_WAIT(&rig.probe, n, 100);
    bus_ack(rig.bus, &rig.probe, 60);
    assert_int_equal(line_stop(&rig, 50), 40);
    assert_int_equal(rig.probe.flushes, 1);
    line_free(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retry_loses_nothing),
        cmocka_unit_test(dropped_batches_are_told),
        cmocka_unit_test(a_lost_report_is_told_again),
        cmocka_unit_test(a_broken_sink_is_switched_off_and_told_to_others),
        cmocka_unit_test(a_sink_is_called_again_when_it_asked_for_it),
        cmocka_unit_test(sinks_reopen_also_while_they_retry),
        cmocka_unit_test(what_was_published_is_written_before_the_end),
        cmocka_unit_test(sinks_wait_for_each_other_at_the_end),
        cmocka_unit_test(a_sink_does_not_wait_for_the_deadline_of_another),
        cmocka_unit_test(the_end_comes_at_its_deadline),
        cmocka_unit_test(refusals_come_at_growing_intervals),
        cmocka_unit_test(a_refusal_with_nothing_left_is_the_end_of_a_batch),
        cmocka_unit_test(a_dead_sink_is_never_called_again),
        cmocka_unit_test(what_a_dead_sink_did_not_acknowledge_is_lost),
        cmocka_unit_test(a_verdict_that_no_sink_has_is_a_failure),
        cmocka_unit_test(what_is_taken_counts_until_it_is_acknowledged),
        cmocka_unit_test(an_acknowledgement_may_come_inside_write),
        cmocka_unit_test(nobody_acknowledges_what_he_has_not_seen),
        cmocka_unit_test(flows_pause_until_enough_is_acknowledged),
        cmocka_unit_test(the_end_waits_for_acknowledgements),
        cmocka_unit_test(what_was_never_acknowledged_is_undelivered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
