/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Windows follow what is held of bodies: they get smaller for streams that are open too, what was promised before is still taken, no byte is
 * lost, and they grow back.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "flow_rig.h"
#include "h2_peer.h"

#define MOST 400000u  /* bytes of bodies that may be held */
#define PART 300000u  /* three quarters of it */
#define LARGE (1u << 20)
#define SMALL (64u << 10)

static struct driver d;
static struct h2_peer client, origin;
static char bulk[PART];

static void run(void)
{
    bool moved = true;
    while (moved) {
        rig_run(&d);
        moved = h2_peer_turn(&client);
        moved = (origin.h2 && h2_peer_turn(&origin)) || moved;
    }
}

/* Its origin takes a window of 64 KiB and no more. */
static void uploading(void)
{
    rig_init(&d);
    d.settings.http2_enabled = 1;
    origin = client = (struct h2_peer){.h2 = NULL};
    driver_accept(&d);
    d.env.body_bytes_most = MOST;
    rig_say(&d, SIDE_CLIENT, "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n");
    rig_run(&d);
    buffer_clear(&d.end[SIDE_CLIENT].got);
    h2_peer_init(&client, &d, SIDE_CLIENT, -1, 0);
    run();
    assert_int_equal(h2_peer_ask(&client, "POST", "/", "a.test", "", false), 1);
    run();
    assert_true(driver_dialed(&d));
    h2_peer_init(&origin, &d, SIDE_ORIGIN, -1, 65535);
    origin.holds = true;
    run();
    assert_int_equal(h2_room(client.h2, 1), LARGE);
}

static void end(void)
{
    h2_peer_fini(&client);
    h2_peer_fini(&origin);
    driver_fini(&d);
    if (d.fault[0])
        fail_msg("%s, after\n%s", d.fault, driver_log(&d));
    assert_int_equal(d.counters.h2_body_bytes, 0);
}

static size_t room_of_another(void)
{
    int32_t id = h2_peer_ask(&client, "POST", "/other", "a.test", "", false);
    run();
    size_t room = h2_room(client.h2, id);
    h2_reset(client.h2, id, H2_CANCEL);
    run();
    return room;
}

static void they_shrink_and_grow(void **state)
{
    (void)state;
    uploading();
    assert_int_equal(h2_peer_body(&client, 1, bulk, PART, false), PART);
    rig_run(&d); /* which decides; its client has not heard of it, and goes on as it was promised */
    assert_int_equal(d.counters.h2_window_changes, 2); /* on both sides */
    assert_int_equal(h2_peer_body(&client, 1, bulk, PART, false), PART);
    run();
    assert_true(d.counters.h2_body_bytes > PART);
    assert_int_equal(h2_room(client.h2, 1), 0);
    assert_int_equal(room_of_another(), SMALL);
    origin.holds = false;
    h2_peer_consume(&origin);
    run();
    assert_int_equal(origin.body_bytes, 2 * PART);
    assert_int_equal(d.counters.h2_body_bytes, 0);
    assert_int_equal(h2_peer_body(&client, 1, bulk, PART, true), PART);
    run();
    assert_int_equal(origin.body_bytes, 3 * PART);
    assert_int_equal(room_of_another(), LARGE);
    h2_peer_respond(&origin, origin.heard[0], 200, "", true);
    run();
    assert_non_null(strstr(h2_peer_log(&client), "1 head 200"));
    end();
}

/* Who comes while there is little room begins with little; and so does who is left behind. */
static void little_is_held_for_long(void **state)
{
    (void)state;
    uploading();
    assert_int_equal(h2_peer_body(&client, 1, bulk, MOST / 2, false), MOST / 2);
    run();
    assert_int_equal(room_of_another(), 256u << 10); /* half of it */
    assert_int_equal(h2_peer_body(&client, 1, bulk, 20, false), 20);
    h2_reset(client.h2, 1, H2_CANCEL);
    run();
    assert_int_equal(d.counters.h2_body_bytes, 0);
    assert_int_equal(room_of_another(), LARGE);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(they_shrink_and_grow), cmocka_unit_test(little_is_held_for_long)};
    memset(bulk, 'x', sizeof bulk);
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
