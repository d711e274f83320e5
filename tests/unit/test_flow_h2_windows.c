/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Windows. Whoever is slow slows its own stream alone, and nothing piles up for it. And they follow what is held of bodies: they get smaller for
 * streams that are open too, what was promised before is still taken, no byte is lost, and they grow back.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "h2_talk.h"

#define MOST 400000u  /* bytes of bodies that may be held */
#define PART 300000u  /* three quarters of it */
#define LARGE (1u << 20)
#define SMALL (64u << 10)

static struct driver *const d = &talk.driver;
static struct h2_peer *const client = &talk.client, *const origin = &talk.origin;
static char bulk[1 << 22];

/* ---- who is slow ---- */

/* Fills the stream from the origin until nothing moves. Returns how much it took. */
static size_t pour(int32_t stream, size_t from, size_t most)
{
    for (size_t before = SIZE_MAX; from < most && before != from;) {
        before = from;
        from += h2_peer_body(origin, stream, bulk + from, most - from, false);
        talk_run();
    }
    return from;
}

static void a_slow_client(void **state)
{
    (void)state;
    talk_warm();
    client->holds = true;
    h2_peer_ask(client, "GET", "/a", "a.test", "", true);
    h2_peer_ask(client, "GET", "/b", "a.test", "", true);
    talk_run();
    h2_peer_respond(origin, 3, 200, "", false);
    size_t taken = pour(3, 0, sizeof bulk);
    assert_int_equal(client->body_bytes, 1 << 20); /* its window */
    assert_in_range(taken, 2 << 20, 3 << 20);     /* the stream's own is not given back either */
    h2_peer_respond(origin, 5, 200, "", false);  /* a sibling goes on */
    h2_peer_body(origin, 5, "sibling", 7, true);
    talk_run();
    assert_int_equal(client->body_bytes, (1 << 20) + 7);
    client->held -= 7;
    h2_consume(client->h2, 5, 7);
    client->last_body = 3;
    for (size_t before = 0; taken < sizeof bulk || before != client->body_bytes;) {
        before = client->body_bytes;
        h2_peer_consume(client);
        client->last_body = 3;
        talk_run();
        taken = pour(3, taken, sizeof bulk);
        client->last_body = 3;
    }
    assert_int_equal(client->body_bytes, sizeof bulk + 7);
    h2_peer_body(origin, 3, "", 0, true);
    client->log.len = client->log.off = 0;
    client->last_body = 0;
    talk_expect(client, "3 end\n");
    talk_end();
}

/* The socket of the client takes nothing: nothing piles up for it, and all of it comes when it does. */
static void a_full_socket(void **state)
{
    (void)state;
    talk_warm();
    h2_peer_ask(client, "GET", "/a", "a.test", "", true);
    talk_run();
    driver_block(d, SIDE_CLIENT, true);
    h2_peer_respond(origin, 3, 200, "", false);
    size_t taken = pour(3, 0, sizeof bulk);
    assert_in_range(taken, 1 << 20, 2 << 20);
    assert_true(client->body_bytes == 0);
    driver_block(d, SIDE_CLIENT, false);
    talk_run();
    taken = pour(3, taken, sizeof bulk);
    assert_int_equal(taken, sizeof bulk);
    assert_int_equal(client->body_bytes, sizeof bulk);
    talk_end();
}

/* It is stepped whenever the client's socket has room, but nothing of it moves: its own deadline ends it, and nothing else. */
static void a_stream_that_is_paused(void **state)
{
    (void)state;
    talk_warm();
    client->holds = true;
    h2_peer_ask(client, "GET", "/a", "a.test", "", true);
    h2_peer_ask(client, "GET", "/b", "a.test", "", true);
    talk_run();
    h2_peer_respond(origin, 5, 200, "", false);
    h2_peer_respond(origin, 3, 200, "", false);
    pour(3, 0, sizeof bulk);
    assert_int_equal(client->body_bytes, 1 << 20);
    for (int i = 0; i < 11; i++) { /* many times what all may dwell */
        rig_time(d, 5000);
        driver_block(d, SIDE_CLIENT, true);
        h2_peer_body(origin, 5, "b", 1, false);
        talk_run();
        driver_block(d, SIDE_CLIENT, false);
        talk_run();
    }
    assert_int_equal(client->body_bytes, (1 << 20) + 11);
    assert_int_equal(rig_count(d, "stream_closed"), 1);
    rig_time(d, 5000);
    talk_run();
    assert_int_equal(rig_count(d, "stream_closed"), 2);
    assert_string_equal(rig_attr(d, "stream_closed", "reason_code"), "idle_watchdog_timeout");
    assert_string_equal(rig_attr(d, "stream_closed", "reason_detail"), "response_body");
    rig_expect_open(d);
    client->log.len = client->log.off = 0;
    client->last_body = 0;
    h2_peer_body(origin, 5, "end", 3, true);
    talk_expect(client, "5 body end\n5 end\n");
    talk_end();
}

/* ---- what is held of bodies ---- */

/* Its origin takes a window of 64 KiB and no more. */
static void uploading(void)
{
    talk_begin();
    driver_accept(d);
    d->env.body_bytes_most = MOST;
    talk_connect();
    assert_int_equal(h2_peer_ask(client, "POST", "/", "a.test", "", false), 1);
    talk_run();
    talk_answered(65535);
    origin->holds = true;
    assert_int_equal(h2_room(client->h2, 1), LARGE);
}

static void end(void)
{
    talk_end();
    assert_int_equal(d->counters.h2_body_bytes, 0);
}

static size_t room_of_another(void)
{
    int32_t id = h2_peer_ask(client, "POST", "/other", "a.test", "", false);
    talk_run();
    size_t room = h2_room(client->h2, id);
    h2_reset(client->h2, id, H2_CANCEL);
    talk_run();
    return room;
}

static void they_shrink_and_grow(void **state)
{
    (void)state;
    uploading();
    assert_int_equal(h2_peer_body(client, 1, bulk, PART, false), PART);
    rig_run(d); /* which decides; its client has not heard of it, and goes on as it was promised */
    assert_int_equal(d->counters.h2_window_changes, 2); /* on both sides */
    assert_int_equal(h2_peer_body(client, 1, bulk, PART, false), PART);
    talk_run();
    assert_true(d->counters.h2_body_bytes > PART);
    assert_int_equal(h2_room(client->h2, 1), 0);
    assert_int_equal(room_of_another(), SMALL);
    origin->holds = false;
    h2_peer_consume(origin);
    talk_run();
    assert_int_equal(origin->body_bytes, 2 * PART);
    assert_int_equal(d->counters.h2_body_bytes, 0);
    assert_int_equal(h2_peer_body(client, 1, bulk, PART, true), PART);
    talk_run();
    assert_int_equal(origin->body_bytes, 3 * PART);
    assert_int_equal(room_of_another(), LARGE);
    h2_peer_respond(origin, origin->heard[0], 200, "", true);
    talk_run();
    assert_non_null(strstr(h2_peer_log(client), "1 head 200"));
    end();
}

/* Who comes while there is little room begins with little; and so does who is left behind. */
static void little_is_held_for_long(void **state)
{
    (void)state;
    uploading();
    assert_int_equal(h2_peer_body(client, 1, bulk, MOST / 2, false), MOST / 2);
    talk_run();
    assert_int_equal(room_of_another(), 256u << 10); /* half of it */
    assert_int_equal(h2_peer_body(client, 1, bulk, 20, false), 20);
    h2_reset(client->h2, 1, H2_CANCEL);
    talk_run();
    assert_int_equal(d->counters.h2_body_bytes, 0);
    assert_int_equal(room_of_another(), LARGE);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_client),        cmocka_unit_test(a_full_socket),           cmocka_unit_test(a_stream_that_is_paused),
        cmocka_unit_test(they_shrink_and_grow), cmocka_unit_test(little_is_held_for_long),
    };
    memset(bulk, 'x', sizeof bulk);
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
