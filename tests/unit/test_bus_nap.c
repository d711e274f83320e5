/* SPDX-License-Identifier: MPL-2.0 */
/* How long a sink stays away from its queue, so that a busy proxy need not wake it: no longer than what is free there lasts. */
#include "bus_probe.h"

#include <stdatomic.h>

#include "host/event/private.h"

#define NAP UINT64_C(4000000)         /* that a busy sink wants, */
#define NAP_MANY UINT64_C(12000000)   /* the longest, after many events, */
#define NAP_LEAST UINT64_C(200000)    /* and the shortest */
#define EVENTS_OF(ns) ((ns) / 200)    /* in that time at the most */
#define BYTES_OF(ns) ((ns) * 5)

static uint64_t nap_of(uint64_t max_events, uint64_t max_bytes, size_t count, size_t unacked, uint64_t bytes)
{
    struct bus bus = {.stopping = false};
    const struct sink sink = {.bus = &bus, .config = {.max_events = max_events, .max_bytes = max_bytes}, .count = count,
                              .acks = {.count = unacked}, .bytes = bytes};
    return sink_nap_most(&sink);
}

static void a_nap_is_no_longer_than_there_is_room_for(void **state)
{
    (void)state;
    assert_true(nap_of(65536, 64 << 20, 0, 0, 0) >= NAP_MANY); /* the default */
    assert_true(nap_of(65536, 64 << 20, 511, 0, 511 * 4096) >= NAP_MANY);
    assert_true(nap_of(65536, 64 << 20, 0, 3000, 3000000) >= NAP_MANY);
    assert_int_equal(nap_of(65536, 64 << 20, 512, 0, 512 * 400), 0); /* so many are to be written now */
    const uint64_t small[] = {16, 256, 900, EVENTS_OF(NAP_LEAST) - 1};
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(nap_of(small[i], 64 << 20, 0, 0, 0), 0);
    assert_int_equal(nap_of(EVENTS_OF(NAP_LEAST), 64 << 20, 0, 0, 0), NAP_LEAST);
    assert_int_equal(nap_of(EVENTS_OF(NAP_LEAST), 64 << 20, 1, 0, 400), 0);
    assert_int_equal(nap_of(EVENTS_OF(NAP_LEAST), 64 << 20, 0, 1, 400), 0); /* not acknowledged: it takes the place of one */
    assert_int_equal(nap_of(EVENTS_OF(NAP) / 2, 64 << 20, 0, 0, 0), NAP / 2);
    assert_int_equal(nap_of(65536, BYTES_OF(NAP_LEAST) - 1, 0, 0, 0), 0);
    assert_int_equal(nap_of(65536, BYTES_OF(NAP_LEAST), 0, 0, 0), NAP_LEAST);
    assert_int_equal(nap_of(65536, BYTES_OF(NAP), 1, 0, BYTES_OF(NAP) / 2), NAP / 2);
}

static void a_queue_that_is_full_gets_no_nap(void **state)
{
    (void)state;
    for (size_t over = 0; over < 3; over++) { /* what was read before goes into one of pause_flow still */
        assert_int_equal(nap_of(65536, 64 << 20, 0, 65536 + over, 1000000), 0);
        assert_int_equal(nap_of(65536, 64 << 20, 100, 65436 + over, 1000000), 0);
        assert_int_equal(nap_of(65536, 64 << 20, 100, 0, (64 << 20) + over), 0);
    }
    assert_true(nap_of(UINT64_C(1) << 40, UINT64_C(1) << 40, 0, 0, 0) >= NAP);
}

static void who_has_to_end_or_reopen_gets_no_nap(void **state)
{
    (void)state;
    struct bus bus = {.stopping = false};
    struct sink sink = {.bus = &bus, .config = {.max_events = 65536, .max_bytes = 64 << 20}};
    assert_true(sink_nap_most(&sink) > 0);
    sink.reopen = true;
    assert_int_equal(sink_nap_most(&sink), 0);
    sink.reopen = false;
    sink.leaving = true;
    assert_int_equal(sink_nap_most(&sink), 0);
    sink.leaving = false;
    bus.stopping = true;
    assert_int_equal(sink_nap_most(&sink), 0);
}

static atomic_uint naps, longest; /* ns */

/* In place of the system's: sinks nap with it. */
int nanosleep(const struct timespec *moment, struct timespec *left)
{
    const unsigned ns = (unsigned)(moment->tv_sec * 1000000000 + moment->tv_nsec);
    atomic_fetch_add(&naps, 1);
    if (ns > atomic_load(&longest))
        atomic_store(&longest, ns); /* one sink: nobody else writes */
    return clock_nanosleep(CLOCK_MONOTONIC, 0, moment, left);
}

static unsigned naps_with(uint64_t max_events, unsigned at_once)
{
    struct sink_line rig;
    atomic_store(&naps, 0);
    atomic_store(&longest, 0);
    line_init(&rig, max_events, QUEUE_DROP_NEWEST);
    for (unsigned i = 1; i <= 20; i++) {
        line_emit(&rig, at_once);
        PROBE_WAIT(&rig.probe, n, i * at_once);
    }
    assert_int_equal(line_fini(&rig), 0);
    return atomic_load(&naps);
}

static void only_a_sink_with_room_naps(void **state)
{
    (void)state;
    assert_int_equal(naps_with(50, 50), 0);
    assert_int_equal(naps_with(256, 50), 0);
    assert_true(naps_with(65536, 50) > 0);
}

static void it_naps_longer_after_many(void **state)
{
    (void)state;
    assert_true(naps_with(65536, 50) > 0 && atomic_load(&longest) <= NAP);
    assert_true(naps_with(65536, 600) > 0 && atomic_load(&longest) > NAP && atomic_load(&longest) <= NAP_MANY);
    assert_true(naps_with(EVENTS_OF(NAP), 600) > 0 && atomic_load(&longest) <= NAP); /* unless there is less room */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_nap_is_no_longer_than_there_is_room_for),
        cmocka_unit_test(a_queue_that_is_full_gets_no_nap),
        cmocka_unit_test(who_has_to_end_or_reopen_gets_no_nap),
        cmocka_unit_test(only_a_sink_with_room_naps),
        cmocka_unit_test(it_naps_longer_after_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
