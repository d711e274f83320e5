/* SPDX-License-Identifier: MPL-2.0 */
/* Sinks that come and go while events flow: no event is in none or in two of them, and two of a group never write at once. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "host/event/bus.h"

#define EVERY (~UINT64_C(1))
#define SEEN_MAX 100000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned writing, most_writing; /* of sinks that are in write right now, and ever were */

struct probe {
    bool closed, inside; /* closed: write waits; inside: it does */
    int answer;          /* of write */
    uint64_t *seen;
    size_t n, lost_told, faults;
    unsigned flushes, given_back;
};

static struct probe *probe_new(void)
{
    struct probe *p = calloc(1, sizeof *p);
    assert_non_null(p);
    assert_non_null(p->seen = calloc(SEEN_MAX, sizeof *p->seen));
    return p;
}

static void probe_free(struct probe *p)
{
    free(p->seen);
    free(p);
}

static void take(struct probe *p, const struct soth_event *e)
{
    if (e->kind == SOTH_EV_EVENTS_LOST)
        p->lost_told += e->attrs[0].number;
    p->faults += e->kind == SOTH_EV_MODULE_FAULT;
    p->seen[p->n++] = e->sequence_id;
}

static int probe_write(void *arg, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    struct probe *p = arg;
    pthread_mutex_lock(&lock);
    most_writing = ++writing > most_writing ? writing : most_writing;
    p->inside = true;
    pthread_cond_broadcast(&changed);
    while (p->closed)
        pthread_cond_wait(&changed, &lock);
    p->inside = false;
    for (*done = 0; p->answer == SOTH_OK && *done < batch->count; ++*done)
        take(p, batch->events[*done]);
    writing--;
    *retry_ms = p->answer == SOTH_OK ? 0 : 1;
    int answer = p->answer;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return answer;
}

static int probe_flush(void *arg, uint32_t deadline_ms)
{
    struct probe *p = arg;
    (void)deadline_ms;
    pthread_mutex_lock(&lock);
    p->flushes++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return SOTH_OK;
}

static const struct bus_sink_ops ops = {probe_write, probe_flush, NULL};

#define SET(field, value)              \
    do {                               \
        pthread_mutex_lock(&lock);     \
        (field) = (value);             \
        pthread_cond_broadcast(&changed); \
        pthread_mutex_unlock(&lock);   \
    } while (0)

/* Waits, a minute at most, until the condition holds. */
#define WAIT(condition)                                                      \
    do {                                                                     \
        struct timespec until;                                               \
        clock_gettime(CLOCK_REALTIME, &until);                               \
        until.tv_sec += 60;                                                  \
        pthread_mutex_lock(&lock);                                           \
        while (!(condition))                                                 \
            if (pthread_cond_timedwait(&changed, &lock, &until) != 0)        \
                break;                                                       \
        bool holds_ = (condition);                                           \
        pthread_mutex_unlock(&lock);                                         \
        assert_true(holds_);                                                 \
    } while (0)

/* ---- one bus, one port ---- */

static struct bus *bus;
static struct bus_port *port;
static struct event_source source;
static atomic_uint gone, wakes;

static void is_gone(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    gone++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void woken(void *arg)
{
    (void)arg;
    wakes++;
}

static void give_back(void *instance)
{
    ((struct probe *)instance)->given_back++;
}

static int begin(void **state)
{
    (void)state;
    assert_non_null(bus = bus_new());
    bus_on_gone(bus, is_gone, NULL);
    assert_non_null(port = bus_port_new(bus, woken, NULL));
    source = (struct event_source){.flow_id = 1, .next_sequence = 1};
    gone = wakes = 0;
    writing = most_writing = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    bus_port_free(port);
    bus_stop(bus, 5000);
    bus_reap(bus, give_back);
    bus_free(bus);
    return 0;
}

/* One in, one out (either may be NULL). */
static struct bus_change *change(const char *group, struct probe *in, struct probe *out, uint32_t on_full)
{
    struct bus_queue_config queue = {.max_events = on_full == QUEUE_PAUSE_FLOW ? 16 : 65536, .max_bytes = 64 << 20, .on_full = on_full};
    struct bus_change *c = bus_change_new(bus);
    assert_non_null(c);
    if (out)
        assert_int_equal(bus_change_remove(c, out), SOTH_OK);
    if (in)
        assert_int_equal(bus_change_add(c, "probe", group, in, &ops, EVERY, &queue), SOTH_OK);
    return c;
}

static void exchange(const char *group, struct probe *in, struct probe *out)
{
    bus_change_commit(change(group, in, out, QUEUE_DROP_NEWEST), 5000);
}

static void emit(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        bus_emit(port, &source, SOTH_EV_REQUEST_HEADERS, NULL, 0);
    bus_flush(port);
}

/* ---- no gap ---- */

static atomic_bool stop_producing;

static void *produce(void *arg)
{
    struct bus_port *own = bus_port_new(bus, NULL, NULL);
    struct event_source flow = {.flow_id = 2, .next_sequence = 1};
    (void)arg;
    while (!stop_producing) {
        for (unsigned i = 0; i < 5; i++)
            bus_emit(own, &flow, SOTH_EV_REQUEST_HEADERS, NULL, 0);
        bus_flush(own);
        nanosleep(&(struct timespec){0, 50000}, NULL); /* the queues never fill */
    }
    bus_port_free(own);
    return NULL;
}

#define ROUNDS 30
static void every_event_is_in_one_of_them(void **state)
{
    struct probe *probes[ROUNDS];
    pthread_t thread;
    uint64_t next = 1;
    (void)state;
    stop_producing = false;
    for (unsigned i = 0; i < ROUNDS; i++) {
        probes[i] = probe_new();
        exchange("file", probes[i], i ? probes[i - 1] : NULL);
        if (i == 0)
            assert_int_equal(pthread_create(&thread, NULL, produce, NULL), 0);
        WAIT(probes[i]->n > 20);
        bus_reap(bus, give_back);
    }
    stop_producing = true;
    pthread_join(thread, NULL);
    assert_int_equal(bus_stop(bus, 5000), 0);
    bus_reap(bus, give_back);
    for (unsigned i = 0; i < ROUNDS; i++) {
        for (size_t k = 0; k < probes[i]->n; k++)
            assert_int_equal(probes[i]->seen[k], next++);
        assert_int_equal(probes[i]->flushes, 1);
        assert_int_equal(probes[i]->given_back, 1);
        probe_free(probes[i]);
    }
    assert_int_equal(most_writing, 1);
}

/* ---- who waits for whom ---- */

static void the_next_of_a_group_waits_for_the_one_before(void **state)
{
    struct probe *a = probe_new(), *b = probe_new(), *c = probe_new();
    (void)state;
    exchange("file", a, NULL);
    bus_port_woken(port);
    SET(a->closed, true);
    emit(1);
    WAIT(a->inside);
    emit(3);
    exchange("file", b, a);
    emit(2);
    exchange("file", c, b); /* b has its two events, and writes them after a */
    emit(1);
    exchange("other", NULL, NULL);
    assert_int_equal(gone, 0);
    assert_int_equal(bus_reap(bus, give_back), 2);
    SET(a->closed, false);
    WAIT(c->n == 1);
    assert_true(a->n == 4 && b->n == 2 && a->flushes == 1 && b->flushes == 1 && most_writing == 1);
    WAIT(gone == 2);
    assert_int_equal(bus_reap(bus, give_back), 0);
    assert_true(a->given_back == 1 && b->given_back == 1 && c->given_back == 0);
    exchange("file", NULL, c);
    WAIT(gone == 3);
    bus_reap(bus, give_back);
    probe_free(a);
    probe_free(b);
    probe_free(c);
}

static void another_group_does_not_wait(void **state)
{
    struct probe *a = probe_new(), *b = probe_new();
    (void)state;
    exchange("file", a, NULL);
    bus_port_woken(port);
    SET(a->closed, true);
    emit(1);
    WAIT(a->inside);
    exchange("console", b, a);
    emit(2);
    WAIT(b->n == 2);
    assert_int_equal(a->n, 0);
    SET(a->closed, false);
    WAIT(gone == 1 && a->n == 1);
    exchange(NULL, NULL, b);
    WAIT(gone == 2);
    bus_reap(bus, give_back);
    probe_free(a);
    probe_free(b);
}

/* ---- what goes wrong ---- */

static void what_could_not_be_written_in_time_is_told(void **state)
{
    struct probe *a = probe_new(), *b = probe_new();
    (void)state;
    exchange("file", a, NULL);
    bus_port_woken(port);
    SET(a->answer, SOTH_RETRY);
    emit(5);
    bus_change_commit(change("file", b, a, QUEUE_DROP_NEWEST), 50);
    WAIT(gone == 1 && b->lost_told == 5);
    emit(1);
    WAIT(b->n == 2);
    assert_int_equal(b->seen[1], 7); /* 1 to 5 are lost, 6 tells it */
    exchange(NULL, NULL, b);
    WAIT(gone == 2);
    bus_reap(bus, give_back);
    probe_free(a);
    probe_free(b);
}

/* It does not come back from its module, also when its time is over: the next one does not wait for ever, and tells why. */
static void one_that_is_stuck_does_not_hold_up_the_next(void **state)
{
    struct probe *a = probe_new(), *b = probe_new();
    (void)state;
    exchange("file", a, NULL);
    bus_port_woken(port);
    SET(a->closed, true);
    emit(1);
    WAIT(a->inside);
    bus_change_commit(change("file", b, a, QUEUE_DROP_NEWEST), 50);
    emit(2);
    WAIT(b->n == 3 && b->faults == 1);
    assert_true(a->n == 0 && gone == 0);
    SET(a->closed, false);
    WAIT(gone == 1 && a->n == 1);
    exchange(NULL, NULL, b);
    WAIT(gone == 2);
    bus_reap(bus, give_back);
    probe_free(a);
    probe_free(b);
}

static void a_cancelled_change_changes_nothing(void **state)
{
    struct probe *a = probe_new(), *b = probe_new();
    (void)state;
    exchange("file", a, NULL);
    bus_port_woken(port);
    emit(1);
    bus_change_cancel(change("file", b, a, QUEUE_DROP_NEWEST));
    emit(2);
    WAIT(a->n == 3);
    assert_true(b->n == 0 && b->flushes == 0 && a->flushes == 0);
    assert_int_equal(bus_reap(bus, give_back), 0);
    exchange(NULL, NULL, a);
    WAIT(gone == 1);
    bus_reap(bus, give_back);
    assert_int_equal(b->given_back, 0);
    probe_free(a);
    probe_free(b);
}

static void a_full_sink_that_leaves_lets_flows_go_on(void **state)
{
    struct probe *a = probe_new();
    (void)state;
    bus_change_commit(change("file", a, NULL, QUEUE_PAUSE_FLOW), 5000);
    bus_port_woken(port);
    SET(a->closed, true);
    emit(40);
    assert_true(port->congested);
    exchange("file", NULL, a);
    assert_true(wakes > 0);
    bus_port_woken(port);
    assert_false(port->congested);
    SET(a->closed, false);
    WAIT(gone == 1 && a->n == 40);
    bus_reap(bus, give_back);
    probe_free(a);
}

static void the_end_finds_sinks_that_leave(void **state)
{
    struct probe *a = probe_new(), *b = probe_new();
    (void)state;
    exchange("file", a, NULL);
    bus_port_woken(port);
    SET(a->answer, SOTH_RETRY);
    emit(5);
    exchange("file", b, a);
    emit(3);
    SET(a->answer, SOTH_OK);
    assert_int_equal(bus_stop(bus, 5000), 0);
    assert_true(a->n == 5 && b->n == 3 && a->flushes == 1 && b->flushes == 1);
    assert_int_equal(bus_reap(bus, give_back), 0);
    assert_true(a->given_back == 1 && b->given_back == 1);
    probe_free(a);
    probe_free(b);
}

static void masks_follow(void **state)
{
    struct probe *a = probe_new();
    (void)state;
    assert_false(bus_wants(port, SOTH_EV_REQUEST_HEADERS));
    exchange("file", a, NULL);
    bus_flush(port);
    assert_true(bus_wants(port, SOTH_EV_REQUEST_HEADERS));
    exchange("file", NULL, a);
    assert_true(bus_wants(port, SOTH_EV_REQUEST_HEADERS)); /* until it looks */
    emit(1);
    assert_false(bus_wants(port, SOTH_EV_REQUEST_HEADERS));
    WAIT(gone == 1);
    bus_reap(bus, give_back);
    assert_int_equal(a->n, 0);
    probe_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_event_is_in_one_of_them, begin, end),
        cmocka_unit_test_setup_teardown(the_next_of_a_group_waits_for_the_one_before, begin, end),
        cmocka_unit_test_setup_teardown(another_group_does_not_wait, begin, end),
        cmocka_unit_test_setup_teardown(what_could_not_be_written_in_time_is_told, begin, end),
        cmocka_unit_test_setup_teardown(one_that_is_stuck_does_not_hold_up_the_next, begin, end),
        cmocka_unit_test_setup_teardown(a_cancelled_change_changes_nothing, begin, end),
        cmocka_unit_test_setup_teardown(a_full_sink_that_leaves_lets_flows_go_on, begin, end),
        cmocka_unit_test_setup_teardown(the_end_finds_sinks_that_leave, begin, end),
        cmocka_unit_test_setup_teardown(masks_follow, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
