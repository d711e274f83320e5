/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What time does to a flow: the deadline of every phase and what the client gets when it passes, idle connections. The clock is a number: rig_deadline says in how many ms the flow wants to be woken, and wakes it.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "flow_rig.h"

/* of driver_init */
#define HEAD_MS 2000
#define RESPONSE_MS 5000
#define DIAL_MS (1000 + 1000 + 1000) /* dial, resolver, and a second for the dialler to say so itself */
#define SHAKE_MS 1500
#define IDLE_MS 60000
#define SILENCE_MS 300
#define LEFT_MS 5000 /* for a client that has ended its side, from piece to piece of its response */

/* ---- heads ---- */

static void head_too_late(struct driver *d, uint64_t ms)
{
    rig_deadline(d, ms);
    rig_expect_reply(d, 408, "http_request_error", "Connection: close");
    rig_expect_closed(d, "stream_stage_timeout", "request_head");
    assert_true(d->lingers);
    rig_fini(d);
}

static void a_head_has_one_deadline(void **state)
{
    struct driver d;
    (void)state;
    rig_start(&d);
    head_too_late(&d, HEAD_MS); /* not a byte */
    rig_start(&d);
    rig_time(&d, 500);
    rig_say(&d, SIDE_CLIENT, "CONNECT a.te");
    rig_time(&d, 500);
    rig_say(&d, SIDE_CLIENT, "st:443");
    head_too_late(&d, HEAD_MS - 1000);
    rig_start(&d);
    rig_say(&d, SIDE_CLIENT, "GET http://a.test/ HTTP/1.1\r\n");
    rig_time(&d, 1000);
    rig_say(&d, SIDE_CLIENT, "Host: a.test\r\n");
    head_too_late(&d, HEAD_MS - 1000);
}

static void the_next_head_has_its_own(void **state)
{
    struct driver d;
    (void)state;
    rig_exchanged(&d);
    rig_time(&d, 30000);
    rig_say(&d, SIDE_CLIENT, "G");
    rig_time(&d, 1000);
    rig_say(&d, SIDE_CLIENT, "ET http://a.t");
    head_too_late(&d, HEAD_MS - 1000);
    rig_exchanged(&d);
    rig_say(&d, SIDE_CLIENT, "CONN"); /* the beginning of a CONNECT is the beginning of a head, too */
    head_too_late(&d, HEAD_MS);
}

static void the_head_inside_tls(void **state)
{
    struct driver d;
    (void)state;
    rig_start(&d);
    rig_intercepted(&d, "a.test");
    head_too_late(&d, HEAD_MS);
}

static void the_head_behind_a_reverse_listener(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.listen.mode = LISTEN_REVERSE;
    driver_accept(&d);
    head_too_late(&d, HEAD_MS);
}

static void refused_and_silent(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.blocked = "b.test";
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT);
    driver_client_tls(&d, "b.test", HTTP11);
    rig_run(&d);
    rig_deadline(&d, HEAD_MS);
    rig_expect_closed(&d, "blocked", "blocked_host");
    rig_fini(&d);
}

/* ---- peek ---- */

static void silence_dials(void **state)
{
    struct driver d;
    (void)state;
    rig_start(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT);
    rig_expect_sent(&d, SIDE_CLIENT, OK_200);
    assert_int_equal(d.dials, 0);
    rig_deadline(&d, SILENCE_MS);
    assert_int_equal(d.dials, 1);
    rig_dialed(&d);
    assert_int_equal(rig_count(&d, "connect_decision"), 0);
    rig_deadline(&d, IDLE_MS);
    rig_expect_closed(&d, "idle_watchdog_timeout", "peek");
    assert_int_equal(rig_count(&d, "connect_decision"), 1);
    rig_fini(&d);
}

static void silence_dials_nothing_while_a_policy_waits(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.target.needs_hello = true;
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT);
    rig_deadline(&d, SILENCE_MS);
    assert_int_equal(d.dials, 0);
    rig_deadline(&d, IDLE_MS);
    rig_expect_closed(&d, "idle_watchdog_timeout", "peek");
    rig_fini(&d);
}

static void a_hello_that_trickles(void **state)
{
    struct driver d;
    (void)state;
    rig_start(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT);
    driver_client_tls(&d, "a.test", HTTP11);
    while (buffer_size(&d.end[SIDE_CLIENT].inbox) > 20 && driver_read(&d, SIDE_CLIENT, 16) && buffer_size(&d.end[SIDE_CLIENT].inbox) > 120)
        driver_time(&d, 10);
    assert_non_null(d.flow);
    uint64_t left = flow_deadline(d.flow) - rig_world.port->monotonic_ns;
    assert_true(left < SHAKE_MS * 1000000ull); /* each piece is no reprieve */
    assert_true(driver_deadline(&d));
    rig_expect_closed(&d, "tls_handshake_failed", "downstream:timeout");
    rig_fini(&d);
}

static void a_silent_client_of_a_tls_listener(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.listen.mode = LISTEN_REVERSE;
    d.listen.tls = true;
    driver_accept(&d);
    rig_deadline(&d, SHAKE_MS);
    rig_expect_closed(&d, "tls_handshake_failed", "downstream:timeout");
    assert_int_equal(rig_count(&d, "connect_decision"), 1);
    rig_fini(&d);
}

/* ---- dial and handshakes ---- */

static void a_dial_of_a_tunnel(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.target = (struct verdict){.action = SOTH_TUNNEL, .reason = "ignored_host", .policy_module = "test"};
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT);
    rig_deadline(&d, DIAL_MS);
    rig_expect_reply(&d, 504, "connection_timeout", "ETIMEDOUT");
    rig_expect_closed(&d, "upstream_connect_failed", "ETIMEDOUT");
    rig_fini(&d);
}

static void a_dial_of_an_exchange(void **state)
{
    struct driver d;
    (void)state;
    rig_start(&d);
    rig_say(&d, SIDE_CLIENT, GET_A);
    rig_deadline(&d, DIAL_MS);
    rig_expect_reply(&d, 504, "connection_timeout", "ETIMEDOUT");
    rig_expect_closed(&d, "upstream_connect_failed", "ETIMEDOUT");
    rig_fini(&d);
    rig_start(&d);
    rig_say(&d, SIDE_CLIENT, "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nab");
    rig_deadline(&d, DIAL_MS);
    rig_expect_reply(&d, 504, "connection_timeout", "ETIMEDOUT");
    rig_fini(&d);
}

static void a_dial_of_an_interception(void **state)
{
    struct driver d;
    (void)state;
    rig_start(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT);
    driver_client_tls(&d, "a.test", HTTP11);
    rig_run(&d);
    rig_deadline(&d, DIAL_MS);
    rig_say(&d, SIDE_CLIENT, GET);
    rig_expect_reply(&d, 504, "connection_timeout", "ETIMEDOUT");
    rig_expect_closed(&d, "upstream_connect_failed", "ETIMEDOUT");
    rig_fini(&d);
}

static void a_handshake_of_the_origin(void **state)
{
    struct driver d;
    (void)state;
    rig_start(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT);
    driver_client_tls(&d, "a.test", HTTP11);
    rig_run(&d);
    rig_dialed(&d);
    rig_time(&d, 1000);
    rig_deadline(&d, SHAKE_MS - 1000);
    assert_string_equal(rig_attr(&d, "tls_handshake_failed", "tls_failure_reason"), "timeout");
    rig_say(&d, SIDE_CLIENT, GET);
    rig_expect_reply(&d, 504, "connection_timeout", "upstream:timeout");
    rig_expect_closed(&d, "tls_handshake_failed", "upstream:timeout");
    rig_fini(&d);
}

static void a_second_handshake_of_the_origin(void **state)
{
    struct driver d;
    (void)state;
    rig_start(&d);
    rig_intercepted(&d, "a.test");
    rig_hang_up(&d, SIDE_ORIGIN, 0);
    rig_say(&d, SIDE_CLIENT, GET);
    rig_dialed(&d);
    rig_deadline(&d, SHAKE_MS);
    rig_expect_reply(&d, 504, "connection_timeout", "upstream:timeout");
    rig_expect_closed(&d, "tls_handshake_failed", "upstream:timeout");
    rig_fini(&d);
}

static void a_handshake_of_the_client(void **state)
{
    struct driver d;
    (void)state;
    rig_start(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT);
    driver_client_tls(&d, "a.test", HTTP11);
    rig_run(&d);
    d.end[SIDE_CLIENT].open = false; /* it says no more */
    driver_origin_tls(&d, "a.test", "http/1.1");
    rig_dialed(&d);
    rig_deadline(&d, SHAKE_MS);
    rig_expect_closed(&d, "tls_handshake_failed", "downstream:timeout");
    rig_fini(&d);
}

/* ---- exchanges ---- */

static void a_response_head(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, GET_A);
    rig_time(&d, 1000);
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 O"); /* no reprieve */
    rig_take(&d, SIDE_CLIENT);
    rig_deadline(&d, RESPONSE_MS - 1000);
    rig_expect_reply(&d, 504, "http_response_timeout", "Connection: close");
    rig_expect_closed(&d, "stream_stage_timeout", "response_header");
    rig_fini(&d);
}

static void a_response_is_waited_for_from_the_request_s_end(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nab");
    rig_time(&d, RESPONSE_MS + 1);
    rig_expect_open(&d);
    rig_say(&d, SIDE_CLIENT, "c");
    rig_deadline(&d, RESPONSE_MS);
    rig_expect_closed(&d, "stream_stage_timeout", "response_header");
    rig_fini(&d);
}

static void nothing_moves(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\n");
    rig_time(&d, IDLE_MS - 1);
    rig_say(&d, SIDE_CLIENT, "a");
    rig_deadline(&d, IDLE_MS);
    rig_expect_closed(&d, "idle_watchdog_timeout", "request_body");
    rig_fini(&d);

    rig_asked(&d, GET_A);
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    rig_time(&d, IDLE_MS - 1);
    rig_say(&d, SIDE_ORIGIN, "a");
    rig_deadline(&d, IDLE_MS);
    rig_expect_closed(&d, "idle_watchdog_timeout", "response_body");
    rig_fini(&d);

    rig_exchanged(&d);
    rig_deadline(&d, IDLE_MS);
    rig_expect_closed(&d, "idle_watchdog_timeout", "idle");
    rig_expect_nothing_sent(&d);
    rig_fini(&d);
}

/* A body that only the end of the connection ends must not look whole. */
static void an_idle_until_close_body_is_reset(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, GET_A);
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\n\r\nhal");
    rig_deadline(&d, IDLE_MS);
    rig_expect_closed(&d, "idle_watchdog_timeout", "response_body");
    assert_true(d.aborted);
    rig_fini(&d);
}

static void a_tunnel_at_rest(void **state)
{
    struct driver d;
    (void)state;
    rig_start(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT "\x01\x02");
    rig_dialed(&d);
    rig_time(&d, IDLE_MS - 1);
    rig_say(&d, SIDE_ORIGIN, "x");
    rig_deadline(&d, IDLE_MS);
    rig_expect_closed(&d, "idle_watchdog_timeout", "tunnel");
    rig_fini(&d);
}

static void an_upgraded_connection_at_rest(void **state)
{
    struct driver d;
    (void)state;
    rig_start(&d);
    rig_intercepted(&d, "a.test");
    rig_say(&d, SIDE_CLIENT, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello");
    rig_deadline(&d, IDLE_MS);
    rig_expect_closed(&d, "idle_watchdog_timeout", "tunnel");
    uint8_t byte;
    assert_int_equal(session_read(d.end[SIDE_CLIENT].tls, &byte, 1), -SOTH_EAGAIN); /* cut: no close_notify */
    rig_fini(&d);
}

/* ---- a client that has gone half ---- */

static void a_client_that_hears_only(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, GET_A);
    rig_hang_up(&d, SIDE_CLIENT, 0);
    rig_expect_open(&d);
    rig_deadline(&d, LEFT_MS);
    rig_expect_closed(&d, "client_aborted", "response_head");
    rig_fini(&d);
}

static void what_flows_to_it_goes_on(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, GET_A);
    rig_hang_up(&d, SIDE_CLIENT, 0);
    rig_time(&d, LEFT_MS - 1);
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\n\r\nhal");
    for (int i = 0; i < 3; i++) {
        rig_time(&d, LEFT_MS - 1);
        rig_say(&d, SIDE_ORIGIN, "lo");
    }
    rig_expect_open(&d);
    rig_deadline(&d, LEFT_MS);
    rig_expect_closed(&d, "client_aborted", "response_body");
    assert_true(d.aborted);
    rig_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_has_one_deadline),
        cmocka_unit_test(the_next_head_has_its_own),
        cmocka_unit_test(the_head_inside_tls),
        cmocka_unit_test(the_head_behind_a_reverse_listener),
        cmocka_unit_test(refused_and_silent),
        cmocka_unit_test(silence_dials),
        cmocka_unit_test(silence_dials_nothing_while_a_policy_waits),
        cmocka_unit_test(a_hello_that_trickles),
        cmocka_unit_test(a_silent_client_of_a_tls_listener),
        cmocka_unit_test(a_dial_of_a_tunnel),
        cmocka_unit_test(a_dial_of_an_exchange),
        cmocka_unit_test(a_dial_of_an_interception),
        cmocka_unit_test(a_handshake_of_the_origin),
        cmocka_unit_test(a_second_handshake_of_the_origin),
        cmocka_unit_test(a_handshake_of_the_client),
        cmocka_unit_test(a_response_head),
        cmocka_unit_test(a_response_is_waited_for_from_the_request_s_end),
        cmocka_unit_test(nothing_moves),
        cmocka_unit_test(an_idle_until_close_body_is_reset),
        cmocka_unit_test(a_tunnel_at_rest),
        cmocka_unit_test(an_upgraded_connection_at_rest),
        cmocka_unit_test(a_client_that_hears_only),
        cmocka_unit_test(what_flows_to_it_goes_on),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
