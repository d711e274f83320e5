/* SPDX-License-Identifier: MPL-2.0 */
/* An origin of HTTP/2 that refuses streams, leaves, is lost or takes none: what is sent again, where, and what its client is told. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "h2_talk.h"

static struct driver *const d = &talk.driver;
static struct h2_peer *const client = &talk.client, *const origin = &talk.origin;

static void turn_kin(struct h2_peer *peer, unsigned i)
{
    while (h2_peer_turn(peer) || driver_kin_read(d, i, SIZE_MAX))
        ;
}

static void a_refused_stream_is_sent_again(void **state)
{
    (void)state;
    talk_warm();
    h2_peer_ask(client, "POST", "/a", "a.test", "", true);
    talk_run();
    h2_reset(origin->h2, 3, H2_REFUSED_STREAM);
    talk_expect(origin, "3 head POST /a a.test\n3 end\n5 head POST /a a.test\n5 end\n");
    h2_reset(origin->h2, 5, H2_REFUSED_STREAM); /* once is enough */
    talk_expect(client, "3 closed refused_stream\n");
    talk_end();
}

static void a_goaway_of_the_origin(void **state)
{
    (void)state;
    talk_warm();
    h2_peer_ask(client, "GET", "/a", "a.test", "", true);
    talk_expect(origin, "3 head GET /a a.test\n3 end\n");
    h2_goaway(origin->h2, H2_GOAWAY_LAST, H2_NO_ERROR);
    talk_run();
    h2_peer_ask(client, "GET", "/b", "a.test", "", true);
    talk_run();
    assert_true(d->kin[2].dialing); /* a connection of its own */
    assert_true(driver_kin_dialed(d, 2));
    struct h2_peer other;
    h2_peer_init(&other, d, SIDE_ORIGIN, 2, 0);
    turn_kin(&other, 2);
    assert_string_equal(h2_peer_log(&other), "1 head GET /b a.test\n1 end\n");
    h2_peer_respond(&other, 1, 200, "", true);
    turn_kin(&other, 2);
    talk_expect(client, "5 head 200\n5 end\n");
    h2_peer_respond(origin, 3, 200, "", true);
    talk_expect(client, "3 head 200\n3 end\n");
    h2_peer_fini(&other);
    assert_int_equal(d->origin_closes, 1); /* the last stream of the old one is over */
    talk_end();
}

/* It refuses a stream and goes: what is sent again does not go to the same connection. */
static void a_goaway_that_refuses(void **state)
{
    (void)state;
    talk_warm();
    h2_peer_ask(client, "GET", "/a", "a.test", "", true);
    talk_run();
    h2_goaway(origin->h2, H2_GOAWAY_LAST, H2_NO_ERROR);
    talk_run();
    h2_peer_ask(client, "GET", "/b", "a.test", "", true);
    talk_run();
    assert_true(driver_kin_dialed(d, 2)); /* a connection of its own */
    struct h2_peer other;
    h2_peer_init(&other, d, SIDE_ORIGIN, 2, 0);
    turn_kin(&other, 2);
    assert_string_equal(h2_peer_log(&other), "1 head GET /b a.test\n1 end\n");
    h2_goaway(other.h2, H2_GOAWAY_LAST, H2_NO_ERROR);
    h2_reset(other.h2, 1, H2_REFUSED_STREAM);
    turn_kin(&other, 2);
    h2_peer_fini(&other);
    talk_expect(client, "");
    assert_true(driver_kin_dialed(d, 2)); /* one more */
    h2_peer_init(&other, d, SIDE_ORIGIN, 2, 0);
    turn_kin(&other, 2);
    assert_string_equal(h2_peer_log(&other), "1 head GET /b a.test\n1 end\n");
    h2_peer_respond(&other, 1, 200, "", true);
    turn_kin(&other, 2);
    talk_expect(client, "5 head 200\n5 end\n");
    h2_peer_fini(&other);
    talk_end();
}

static void the_origin_is_lost(void **state)
{
    (void)state;
    talk_warm();
    h2_peer_ask(client, "GET", "/safe", "a.test", "", true);
    h2_peer_ask(client, "POST", "/unsafe", "a.test", "", true);
    talk_run();
    rig_hang_up(d, SIDE_ORIGIN, 0);
    talk_run();
    const char *log = h2_peer_log(client);
    assert_non_null(strstr(log, "5 head 502"));
    assert_null(strstr(log, "3 head"));
    h2_peer_fini(origin);
    talk_answered(0);
    talk_expect(origin, "1 head GET /safe a.test\n1 end\n");
    h2_peer_respond(origin, 1, 200, "", true);
    talk_expect(client, "3 head 200\n3 end\n");
    talk_end();
}

static void no_origin(void **state)
{
    (void)state;
    talk_begin();
    talk_connect();
    h2_peer_ask(client, "GET", "/a", "a.test", "", true);
    h2_peer_ask(client, "GET", "/b", "a.test", "", true);
    talk_run();
    assert_int_equal(d->dials, 1);
    assert_true(driver_dial_failed(d, DIAL_FAILURE_REFUSED, "ECONNREFUSED"));
    talk_run();
    const char *log = h2_peer_log(client);
    assert_non_null(strstr(log, "1 head 502"));
    assert_non_null(strstr(log, "3 head 502"));
    rig_expect_open(d);
    h2_peer_ask(client, "GET", "/c", "a.test", "", true); /* another try */
    talk_run();
    assert_int_equal(d->dials, 2);
    talk_end();
}

/* ---- an origin that takes no streams ---- */

/* Its SETTINGS allow none, and it refuses those that were on their way. */
static void origin_takes_none(void)
{
    static const struct h2_limits none = {.max_header_list = 65536, .max_concurrent_streams = 0};
    assert_true(driver_dialed(d));
    h2_peer_init(origin, d, SIDE_ORIGIN, -1, 0);
    h2_free(origin->h2);
    origin->h2 = h2_new_server(&none);
    talk_run();
}

static void streams_that_no_origin_takes(void **state)
{
    (void)state;
    talk_begin();
    talk_connect();
    h2_peer_ask(client, "GET", "/a", "a.test", "", true);
    h2_peer_ask(client, "POST", "/b", "a.test", "", true);
    talk_run();
    origin_takes_none();
    h2_peer_ask(client, "GET", "/c", "a.test", "", true);
    talk_expect(client, "");
    rig_time(d, 2999);
    talk_expect(client, "");
    rig_time(d, 1);
    talk_run();
    const char *log = h2_peer_log(client);
    for (int id = 1; id <= 5; id += 2) {
        char head[32];
        snprintf(head, sizeof head, "%d head 504", id);
        assert_non_null(strstr(log, head));
    }
    assert_non_null(strstr(log, "proxy-status=soth-mitm; error=connection_timeout"));
    assert_string_equal(rig_attr(d, "stream_closed", "reason_code"), "upstream_connect_failed");
    assert_string_equal(rig_attr(d, "stream_closed", "reason_detail"), "h2_no_stream");
    assert_int_equal(d->dials, 1);
    rig_expect_open(d);
    talk_end();
}

static void a_client_of_http1_whose_origin_takes_none(void **state)
{
    (void)state;
    talk_client_of_http1();
    origin_takes_none();
    rig_say(d, SIDE_CLIENT, "GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n");
    talk_run();
    assert_int_equal(d->dials, 1); /* that it spoke before it was asked is no fault of an origin of HTTP/2 */
    rig_take(d, SIDE_CLIENT);
    rig_time(d, 2999);
    talk_run();
    rig_expect_open(d);
    rig_time(d, 1);
    rig_expect_reply(d, 504, "connection_timeout", "h2_no_stream");
    rig_expect_closed(d, "upstream_connect_failed", "h2_no_stream");
    talk_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_stream_is_sent_again),
        cmocka_unit_test(a_goaway_of_the_origin),
        cmocka_unit_test(a_goaway_that_refuses),
        cmocka_unit_test(the_origin_is_lost),
        cmocka_unit_test(no_origin),
        cmocka_unit_test(streams_that_no_origin_takes),
        cmocka_unit_test(a_client_of_http1_whose_origin_takes_none),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
