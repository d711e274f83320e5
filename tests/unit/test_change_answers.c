/* SPDX-License-Identifier: MPL-2.0 */
/* Sinks that leave while events flow: what they have not acknowledged, which losses they tell, who waits for them, and what content is wanted
 * when they have gone. Also run under TSan. */
#include "bus_probe.h"

#include <string.h>

/* A sink that acknowledges and one that hears of losses alone. */
struct two {
    struct bus *bus;
    struct bus_port *port;
    struct event_source source;
    struct probe leaver, rest;
};

static void two_begin(struct two *t, uint64_t payload)
{
    struct bus_queue_config queue = {.max_events = 1024, .max_bytes = 1 << 20, .acks = payload == 0, .payload = payload}, plain = queue;
    plain.acks = false;
    plain.payload = 0;
    memset(t, 0, sizeof *t);
    probe_init(&t->leaver);
    probe_init(&t->rest);
    t->bus = bus_new();
    bus_add_sink(t->bus, "leaver", &t->leaver, &probe_ops, KINDS(SOTH_EV_REQUEST_HEADERS), &queue);
    bus_add_sink(t->bus, "rest", &t->rest, &probe_ops, KINDS(SOTH_EV_EVENTS_LOST), &plain);
    assert_int_equal(bus_start(t->bus), SOTH_OK);
    t->port = bus_port_new(t->bus, NULL, NULL);
    t->source = (struct event_source){.flow_id = 1, .next_sequence = 1};
}

static void two_emit(struct two *t, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        bus_emit(t->port, &t->source, SOTH_EV_REQUEST_HEADERS, NULL, 0);
    bus_flush(t->port);
}

static void two_part(struct two *t, uint32_t leave_ms)
{
    struct bus_change *change = bus_change_new(t->bus);
    assert_non_null(change);
    assert_int_equal(bus_change_remove(change, &t->leaver), SOTH_OK);
    bus_change_commit(change, leave_ms);
}

static unsigned given_back;

static void give_back(void *instance)
{
    (void)instance;
    given_back++;
}

/* Within ten seconds; false: it still leaves. */
static bool has_left(struct two *t)
{
    for (unsigned i = 0; i < 1000; i++) {
        if (bus_reap(t->bus, give_back) == 0)
            return true;
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    return false;
}

static uint64_t two_stop(struct two *t, uint32_t deadline_ms)
{
    bus_port_free(t->port);
    return bus_stop(t->bus, deadline_ms);
}

static void two_fini(struct two *t)
{
    bus_free(t->bus);
    probe_fini(&t->leaver);
    probe_fini(&t->rest);
}

/* ---- acknowledgements ---- */

static void one_that_leaves_waits_for_its_acknowledgements(void **state)
{
    struct two t;
    (void)state;
    two_begin(&t, 0);
    two_emit(&t, 3);
    PROBE_WAIT(&t.leaver, n, 3);
    two_part(&t, 60000);
    PROBE_WAIT(&t.leaver, flushes, 1);
    bus_ack(t.bus, &t.leaver, 2);
    nanosleep(&(struct timespec){0, 30000000}, NULL);
    assert_int_equal(bus_reap(t.bus, give_back), 1);
    bus_ack(t.bus, &t.leaver, 3);
    assert_true(has_left(&t));
    assert_int_equal(two_stop(&t, 5000), 0);
    assert_int_equal(t.rest.n, 0);
    two_fini(&t);
}

static void what_is_not_acknowledged_in_time_is_told(void **state)
{
    struct two t;
    (void)state;
    two_begin(&t, 0);
    two_emit(&t, 5);
    PROBE_WAIT(&t.leaver, n, 5);
    bus_ack(t.bus, &t.leaver, 2);
    two_part(&t, 50);
    assert_true(has_left(&t));
    PROBE_WAIT(&t.rest, n, 1);
    assert_int_equal(two_stop(&t, 5000), 0);
    assert_int_equal(t.rest.n, 1);
    assert_true(t.rest.seen[0].count == 3 && t.rest.seen[0].first == 3 && t.rest.seen[0].last == 5);
    two_fini(&t);
}

/* Taken and not acknowledged, refused, and still in the queue: each is told once. */
static void all_that_is_left_is_told_exactly(void **state)
{
    uint64_t told = 0;
    struct two t;
    (void)state;
    two_begin(&t, 0);
    two_emit(&t, 3);
    PROBE_WAIT(&t.leaver, n, 3);
    bus_ack(t.bus, &t.leaver, 1);
    probe_gate(&t.leaver, true);
    two_emit(&t, 2);
    PROBE_WAIT(&t.leaver, inside, true);
    two_emit(&t, 4);
    probe_answer(&t.leaver, SOTH_RETRY);
    two_part(&t, 50);
    probe_gate(&t.leaver, false);
    assert_true(has_left(&t));
    assert_int_equal(two_stop(&t, 5000), 0);
    for (size_t i = 0; i < t.rest.n; i++) {
        assert_int_equal(t.rest.seen[i].first, told ? told + 1 : 2);
        told = t.rest.seen[i].last;
    }
    assert_int_equal(told, 9);
    assert_int_equal(probe_told_lost(&t.rest), 8);
    two_fini(&t);
}

static void at_the_end_of_all_it_is_counted_instead(void **state)
{
    struct two t;
    (void)state;
    two_begin(&t, 0);
    two_emit(&t, 4);
    PROBE_WAIT(&t.leaver, n, 4);
    bus_ack(t.bus, &t.leaver, 1);
    two_part(&t, 60000);
    assert_int_equal(two_stop(&t, 100), 3);
    assert_int_equal(t.rest.n, 0);
    assert_int_equal(bus_reap(t.bus, give_back), 0);
    two_fini(&t);
}

/* ---- who waits ---- */

/* What one that leaves loses at the very end the others are still told. */
static void the_others_wait_for_it_at_the_end(void **state)
{
    struct two t;
    (void)state;
    two_begin(&t, 0);
    for (unsigned i = 0; i < 3; i++)
        t.leaver.answers[t.leaver.answer_count++] = SOTH_RETRY;
    t.leaver.answers[t.leaver.answer_count++] = SOTH_DROP;
    t.leaver.retry_ms = 20;
    two_emit(&t, 1);
    two_part(&t, 60000);
    assert_int_equal(two_stop(&t, 20000), 1);
    assert_int_equal(t.rest.n, 1);
    assert_int_equal(t.rest.seen[0].count, 1);
    assert_true(t.leaver.flushes == 1 && t.rest.flushes == 1);
    two_fini(&t);
}

/* ---- the end begins while one leaves ---- */

static void *flush_on_soon(void *arg)
{
    struct probe *p = arg;
    nanosleep(&(struct timespec){0, 100000000}, NULL); /* bus_stop has begun; were it later, the loss were told as ever */
    pthread_mutex_lock(&p->lock);
    p->flush_waits = false;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* It has lost its last batch, and flushes when the end begins. Returns what bus_stop says. */
static uint64_t loses_its_last(struct two *t)
{
    pthread_t other;
    t->leaver.always = SOTH_RETRY;
    t->leaver.flush_waits = true;
    two_emit(t, 3);
    PROBE_WAIT(&t->leaver, writes, 1);
    two_part(t, 20);
    PROBE_WAIT(&t->leaver, flushes, 1);
    assert_int_equal(pthread_create(&other, NULL, flush_on_soon, &t->leaver), 0);
    uint64_t undelivered = two_stop(t, 20000);
    pthread_join(other, NULL);
    return undelivered;
}

static void what_it_lost_before_is_told_to_who_hears(void **state)
{
    struct two t;
    (void)state;
    two_begin(&t, 16);
    assert_int_equal(loses_its_last(&t), 0);
    assert_true(t.rest.n == 1 && t.rest.seen[0].count == 3);
    two_fini(&t);
}

static void what_it_lost_before_is_counted_where_nobody_hears(void **state)
{
    struct two t;
    struct bus_change *change;
    (void)state;
    two_begin(&t, 16);
    assert_non_null(change = bus_change_new(t.bus));
    assert_int_equal(bus_change_remove(change, &t.rest), SOTH_OK);
    bus_change_commit(change, 5000);
    assert_int_equal(loses_its_last(&t), 3);
    assert_int_equal(t.rest.n, 0);
    two_fini(&t);
}

/* ---- content ---- */

static void content_is_wanted_while_somebody_is_there_who_wants_it(void **state)
{
    struct bus_queue_config queue = {.max_events = 1024, .max_bytes = 1 << 20, .payload = 16};
    struct probe sampler;
    struct two t;
    (void)state;
    probe_init(&sampler);
    two_begin(&t, BUS_PAYLOAD_FULL);
    bus_flush(t.port);
    assert_true(bus_payload(t.port, SOTH_EV_REQUEST_HEADERS) == BUS_PAYLOAD_FULL);
    struct bus_change *change = bus_change_new(t.bus);
    assert_int_equal(bus_change_add(change, "sampler", NULL, &sampler, &probe_ops, KINDS(SOTH_EV_REQUEST_HEADERS), &queue), SOTH_OK);
    assert_int_equal(bus_change_remove(change, &t.leaver), SOTH_OK);
    bus_change_commit(change, 5000);
    bus_port_woken(t.port);
    assert_true(bus_payload(t.port, SOTH_EV_REQUEST_HEADERS) == 16);
    change = bus_change_new(t.bus);
    assert_int_equal(bus_change_remove(change, &sampler), SOTH_OK);
    bus_change_commit(change, 5000);
    bus_port_woken(t.port);
    assert_false(bus_payload(t.port, SOTH_EV_REQUEST_HEADERS) > 0);
    assert_true(has_left(&t));
    assert_int_equal(two_stop(&t, 5000), 0);
    two_fini(&t);
    probe_fini(&sampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_leaves_waits_for_its_acknowledgements),
        cmocka_unit_test(what_is_not_acknowledged_in_time_is_told),
        cmocka_unit_test(all_that_is_left_is_told_exactly),
        cmocka_unit_test(at_the_end_of_all_it_is_counted_instead),
        cmocka_unit_test(the_others_wait_for_it_at_the_end),
        cmocka_unit_test(what_it_lost_before_is_told_to_who_hears),
        cmocka_unit_test(what_it_lost_before_is_counted_where_nobody_hears),
        cmocka_unit_test(content_is_wanted_while_somebody_is_there_who_wants_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
