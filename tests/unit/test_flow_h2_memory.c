/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Memory that is not there while HTTP/2 is spoken: a connection with some streams again and again, every time with another allocation of the
 * flows' failing. A stream or the connection may be cut for it, but each ends once and nothing stays behind.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failing_alloc.h"
#include "flow_rig.h"
#include "h2_peer.h"

#define MOST_ALLOCATIONS 5000

static struct driver d;
static struct h2_peer client, origin;

static void move(void)
{
    bool moved = true;
    while (moved && !d.fault[0]) {
        moved = false;
        while (driver_read(&d, SIDE_CLIENT, SIZE_MAX) || driver_read(&d, SIDE_ORIGIN, SIZE_MAX))
            moved = true;
        for (unsigned i = 0; i < d.kin_count; i++)
            while (driver_kin_read(&d, i, SIZE_MAX))
                moved = true;
        moved = h2_peer_turn(&client) || moved;
        moved = (origin.h2 && h2_peer_turn(&origin)) || moved;
    }
}

static void say(const char *text)
{
    driver_say(&d, SIDE_CLIENT, text, strlen(text));
    while (driver_read(&d, SIDE_CLIENT, SIZE_MAX))
        ;
    buffer_clear(&d.end[SIDE_CLIENT].got);
}

static void origin_comes(void)
{
    if (!driver_dialed(&d))
        return;
    h2_peer_fini(&origin);
    h2_peer_init_connecting(&origin, &d, -1);
    move();
}

/* Bodies and trailers both ways, a WebSocket, a reset, a block, an answer of HTTP/1, a drain. */
static void talk(bool proxy)
{
    static char bulk[40000];
    static const char answer[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n";
    int32_t one = h2_peer_ask(&client, "POST", "/one", "a.test", "x-a: 1\nte: trailers\n", false);
    h2_peer_body(&client, one, bulk, sizeof bulk, false);
    h2_peer_trailers(&client, one, "x-t: 1\n");
    int32_t two = h2_peer_ask(&client, "GET", "/two", "a.test", "", true);
    h2_peer_ask(&client, "GET", "/three", "b.test", "", true);
    int32_t four = h2_peer_connect(&client, "websocket", "/four", "a.test", "sec-websocket-version: 13\n");
    h2_peer_body(&client, four, bulk, sizeof bulk, true);
    move();
    origin_comes();
    for (unsigned i = 0; proxy && i < d.kin_count; i++)
        if (driver_kin_dialed(&d, i))
            buffer_append(&d.kin[i].origin.inbox, answer, sizeof answer - 1);
    move();
    for (unsigned i = 0; origin.h2 && i < origin.heard_count; i++) {
        h2_peer_respond(&origin, origin.heard[i], 103, "link: a\n", false);
        h2_peer_respond(&origin, origin.heard[i], 200, "x-b: 2\n", false);
        h2_peer_body(&origin, origin.heard[i], bulk, sizeof bulk, false);
    }
    move();
    h2_reset(client.h2, two, H2_CANCEL);
    for (unsigned i = 0; origin.h2 && i < origin.heard_count; i++)
        h2_peer_trailers(&origin, origin.heard[i], "x-t: 2\n");
    move();
    driver_step(&d, (struct input){.type = INPUT_DRAIN});
    move();
}

/* true: there were so many allocations that one failed. */
static bool live(long which, bool proxy)
{
    assert_true(world_reset(&rig_world));
    driver_init(&d, &rig_world);
    d.settings.http2_enabled = 1;
    d.policy.blocked = "b.test";
    d.inside = failing_counts;
    origin = client = (struct h2_peer){.h2 = NULL};
    driver_open(&d);
    assert_non_null(d.flow);
    failing_arm(which);
    driver_step(&d, (struct input){.type = INPUT_ACCEPTED});
    if (!proxy)
        say("CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n");
    h2_peer_init(&client, &d, SIDE_CLIENT, -1, 0);
    talk(proxy);
    bool failed = failing_disarm();
    h2_peer_fini(&client);
    h2_peer_fini(&origin);
    char log[4096];
    snprintf(log, sizeof log, "%s", driver_log(&d));
    driver_fini(&d);
    if (d.fault[0])
        fail_msg("allocation %ld: %s, after\n%s", which, d.fault, log);
    assert_int_equal(d.counters.active, 0);
    return failed;
}

static void any_allocation_may_fail(void **state)
{
    unsigned long failures = 0;
    (void)state;
    for (int proxy = 0; proxy < 2; proxy++)
        for (long which = 1; which < MOST_ALLOCATIONS && live(which, proxy); which++)
            failures++;
    print_message("%lu failures\n", failures);
    assert_true(failures > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_allocation_may_fail)};
#ifdef FAILING_SKIPPED
    print_message("skipped: the sanitizer's allocator is in use\n");
    return 77; /* automake counts it */
#endif
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
