/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Whose a request is: absolute-form requests on one connection, each decided anew, a CONNECT that follows them however it is cut, requests that
 * are answered by us while their body still comes, reverse listeners.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "flow_rig.h"

#define GET_B "GET http://b.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n"
#define POST_A "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\n"
#define CONNECT_A "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"

/* ---- one connection, many targets ---- */

static void every_request_is_decided(void **state)
{
    struct driver d;
    (void)state;
    rig_exchanged(&d);
    rig_say(&d, SIDE_CLIENT, GET_A);
    rig_expect_sent(&d, SIDE_ORIGIN, GET); /* on the same connection */
    rig_say(&d, SIDE_ORIGIN, OK_2);
    rig_say(&d, SIDE_CLIENT, GET_B);
    assert_int_equal(d.origin_closes, 1);
    rig_dialed(&d);
    rig_expect_sent(&d, SIDE_ORIGIN, "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n");
    rig_say(&d, SIDE_ORIGIN, OK_2);
    rig_hang_up(&d, SIDE_CLIENT, 0);
    rig_expect_closed(&d, "mitm_http_completed", NULL);
    assert_int_equal(rig_count(&d, "connect_received"), 3);
    assert_int_equal(rig_count(&d, "connect_decision"), 3);
    assert_int_equal(d.counters.origin_reused, 1);
    assert_string_equal(rig_attr(&d, "stream_closed", "bytes_from_server"), "120"); /* of both connections */
    rig_fini(&d);
}

static void a_policy_that_tunnels_does_not_change_a_request(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.target = (struct verdict){.action = SOTH_TUNNEL, .reason = "ignored_host", .policy_module = "test"};
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, GET_A);
    rig_dialed(&d);
    rig_expect_sent(&d, SIDE_ORIGIN, GET);
    rig_fini(&d);
}

static void host_is_rewritten_to_the_target(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, "GET http://a.test:81?q HTTP/1.1\r\nHost: b.test\r\n\r\n");
    rig_expect_sent(&d, SIDE_ORIGIN, "GET /?q HTTP/1.1\r\nHost: a.test:81\r\n\r\n");
    assert_string_equal(rig_attr(&d, "request_headers", "authority"), "a.test:81");
    rig_fini(&d);
}

static void a_blocked_host_field_blocks_an_absolute_request(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.blocked = "b.test";
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, "GET http://a.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n");
    rig_expect_reply(&d, 403, "http_request_denied", "blocked_host");
    assert_int_equal(d.dials, 0);
    rig_expect_open(&d);
    rig_fini(&d);
}

/* ---- a CONNECT after requests ---- */

static void expect_intercepted(struct driver *d)
{
    rig_expect_sent(d, SIDE_CLIENT, OK_200);
    assert_string_equal(rig_attr(d, "connect_received", "exchange_no"), "");
    driver_client_tls(d, "a.test", HTTP11);
    rig_run(d);
    driver_origin_tls(d, "a.test", "http/1.1");
    rig_dialed(d);
}

static void a_connect_may_follow(void **state)
{
    struct driver d;
    (void)state;
    rig_exchanged(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT_A);
    assert_int_equal(d.origin_closes, 1);
    expect_intercepted(&d);
    rig_say(&d, SIDE_CLIENT, GET);
    rig_expect_sent(&d, SIDE_ORIGIN, GET);
    assert_string_equal(rig_attr(&d, "request_headers", "exchange_no"), "2");
    rig_fini(&d);
}

static void a_connect_may_follow_in_pieces(void **state)
{
    (void)state;
    for (size_t first = 1; first < sizeof CONNECT_A - 1; first++) {
        struct driver d;
        rig_exchanged(&d);
        rig_say_bytes(&d, SIDE_CLIENT, CONNECT_A, first);
        rig_say_bytes(&d, SIDE_CLIENT, &CONNECT_A[first], sizeof CONNECT_A - 1 - first);
        rig_expect_sent(&d, SIDE_CLIENT, OK_200);
        rig_fini(&d);
    }
}

static void a_method_may_begin_like_connect(void **state)
{
    static const char head[] = "CONN http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n";
    (void)state;
    for (size_t first = 1; first < sizeof head - 1; first++) {
        struct driver d;
        rig_exchanged(&d);
        rig_say_bytes(&d, SIDE_CLIENT, head, first);
        rig_say_bytes(&d, SIDE_CLIENT, head + first, sizeof head - 1 - first);
        rig_expect_sent(&d, SIDE_ORIGIN, "CONN / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        rig_fini(&d);
    }
}

static void an_empty_line_may_come_before_it(void **state)
{
    struct driver d;
    (void)state;
    rig_exchanged(&d);
    rig_say(&d, SIDE_CLIENT, "\r\n" CONNECT_A);
    rig_expect_sent(&d, SIDE_CLIENT, OK_200);
    rig_fini(&d);
    rig_exchanged(&d);
    rig_say(&d, SIDE_CLIENT, "\r");
    rig_say(&d, SIDE_CLIENT, "\nCO");
    rig_say(&d, SIDE_CLIENT, &CONNECT_A[2]);
    rig_expect_sent(&d, SIDE_CLIENT, OK_200);
    rig_fini(&d);
}

static void a_lenient_proxy_knows_it_in_any_case(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.settings.connect_parse_mode = PARSE_LENIENT;
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, GET_A);
    rig_dialed(&d);
    rig_say(&d, SIDE_ORIGIN, OK_2);
    rig_take(&d, SIDE_CLIENT);
    rig_say(&d, SIDE_CLIENT, "Connect a.test HTTP/1.1\r\n\r\n");
    rig_expect_sent(&d, SIDE_CLIENT, OK_200);
    rig_fini(&d);
}

static void a_connect_that_is_none_follows(void **state)
{
    struct driver d;
    (void)state;
    rig_exchanged(&d);
    rig_say(&d, SIDE_CLIENT, "CONNECT a.test HTTP/1.1\r\n\r\n");
    rig_expect_reply(&d, 400, "http_request_error", "port");
    rig_expect_closed(&d, "connect_parse_failed", "missing_port");
    rig_fini(&d);
}

static void a_beginning_and_the_end(void **state)
{
    struct driver d;
    (void)state;
    rig_exchanged(&d);
    rig_say(&d, SIDE_CLIENT, "CONN");
    rig_hang_up(&d, SIDE_CLIENT, 0);
    rig_expect_closed(&d, "client_aborted", "request_head");
    rig_fini(&d);
}

static void nothing_asked_inside_the_second_connect(void **state)
{
    struct driver d;
    (void)state;
    rig_exchanged(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT_A);
    expect_intercepted(&d);
    rig_hang_up(&d, SIDE_CLIENT, 0);
    rig_expect_closed(&d, "client_aborted", "request_head");
    assert_string_equal(rig_attr(&d, "stream_closed", "peer_rejected_ca"), "likely");
    rig_fini(&d);
}

static void the_second_connect_is_refused(void **state)
{
    struct driver d;
    (void)state;
    rig_exchanged(&d);
    d.policy.blocked = "b.test";
    rig_say(&d, SIDE_CLIENT, CONNECT_A);
    driver_client_tls(&d, "b.test", HTTP11);
    rig_run(&d);
    rig_hang_up(&d, SIDE_CLIENT, 0);
    rig_expect_closed(&d, "blocked", "blocked_host");
    rig_fini(&d);
}

/* ---- requests answered by us whose body still comes ---- */

static void a_refused_body_is_dropped(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.blocked = "a.test";
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, POST_A "Content-Length: 10\r\n\r\nabc");
    rig_expect_reply(&d, 403, "http_request_denied", "blocked_host");
    rig_say(&d, SIDE_CLIENT, "defghij" GET_B);
    rig_dialed(&d);
    rig_expect_sent(&d, SIDE_ORIGIN, "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n");
    rig_fini(&d);
}

static void one_answer_is_enough(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.blocked = "a.test";
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, POST_A "Transfer-Encoding: chunked\r\n\r\n");
    rig_expect_reply(&d, 403, "http_request_denied", "blocked_host");
    rig_say(&d, SIDE_CLIENT, "zz\r\n");
    rig_expect_nothing_sent(&d);
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_code"), "mitm_http_error");
    rig_fini(&d);
}

/* The silence before the first request had the origin dialled; what comes of that is no answer to anything. */
static void a_dial_that_nobody_waits_for(void **state)
{
    (void)state;
    for (int refused = 0; refused <= 1; refused++) {
        for (int fails = 0; fails <= 1; fails++) {
            struct driver d;
            rig_start(&d);
            rig_say(&d, SIDE_CLIENT, "CONNECT a.test:80 HTTP/1.1\r\n\r\n");
            rig_take(&d, SIDE_CLIENT);
            rig_deadline(&d, 300);
            d.policy.request.action = refused ? SOTH_BLOCK : SOTH_ALLOW;
            rig_say(&d, SIDE_CLIENT, refused ? "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n" : "GET / HT");
            rig_take(&d, SIDE_CLIENT);
            if (fails)
                rig_dial_failed(&d, DIAL_FAILURE_REFUSED, "ECONNREFUSED");
            else
                rig_dialed(&d);
            rig_expect_nothing_sent(&d);
            rig_expect_open(&d);
            d.policy.request.action = SOTH_ALLOW;
            rig_say(&d, SIDE_CLIENT, refused ? "12345" GET : "TP/1.1\r\nHost: a.test\r\n\r\n");
            if (fails)
                rig_dialed(&d);
            rig_expect_sent(&d, SIDE_ORIGIN, GET);
            rig_fini(&d);
        }
    }
}

/* ---- reverse ---- */

static void a_reverse_listener_relays(void **state)
{
    struct driver d;
    (void)state;
    rig_reverse(&d);
    assert_int_equal(rig_count(&d, "connect_decision"), 1);
    assert_int_equal(d.dials, 0); /* no byte has come */
    rig_say(&d, SIDE_CLIENT, GET);
    rig_dialed(&d);
    rig_expect_sent(&d, SIDE_ORIGIN, GET);
    rig_say(&d, SIDE_ORIGIN, OK_2);
    rig_say(&d, SIDE_CLIENT, "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n");
    rig_take(&d, SIDE_CLIENT);
    rig_expect_closed(&d, "mitm_http_error", "connect_in_tunnel");
    rig_fini(&d);
}

static void host_header_upstream(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.listen.mode = LISTEN_REVERSE;
    d.listen.host_header = HOST_HEADER_UPSTREAM;
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, GET);
    rig_dialed(&d);
    rig_expect_sent(&d, SIDE_ORIGIN, "GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n");
    rig_fini(&d);
}

static void sni_and_host_differ_behind_a_reverse_listener(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.listen.mode = LISTEN_REVERSE;
    d.listen.tls = true;
    driver_accept(&d);
    driver_client_tls(&d, "a.test", HTTP11);
    rig_run(&d);
    rig_say(&d, SIDE_CLIENT, GET);
    rig_dialed(&d);
    rig_expect_sent(&d, SIDE_ORIGIN, GET);
    rig_say(&d, SIDE_ORIGIN, OK_2);
    rig_take(&d, SIDE_CLIENT);
    rig_say(&d, SIDE_CLIENT, "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n");
    rig_expect_reply(&d, 403, "http_request_denied", "authority_mismatch");
    rig_expect_closed(&d, "blocked", "authority_mismatch");
    rig_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_is_decided),
        cmocka_unit_test(a_policy_that_tunnels_does_not_change_a_request),
        cmocka_unit_test(host_is_rewritten_to_the_target),
        cmocka_unit_test(a_blocked_host_field_blocks_an_absolute_request),
        cmocka_unit_test(a_connect_may_follow),
        cmocka_unit_test(a_connect_may_follow_in_pieces),
        cmocka_unit_test(a_method_may_begin_like_connect),
        cmocka_unit_test(an_empty_line_may_come_before_it),
        cmocka_unit_test(a_lenient_proxy_knows_it_in_any_case),
        cmocka_unit_test(a_connect_that_is_none_follows),
        cmocka_unit_test(a_beginning_and_the_end),
        cmocka_unit_test(nothing_asked_inside_the_second_connect),
        cmocka_unit_test(the_second_connect_is_refused),
        cmocka_unit_test(a_refused_body_is_dropped),
        cmocka_unit_test(one_answer_is_enough),
        cmocka_unit_test(a_dial_that_nobody_waits_for),
        cmocka_unit_test(a_reverse_listener_relays),
        cmocka_unit_test(host_header_upstream),
        cmocka_unit_test(sni_and_host_differ_behind_a_reverse_listener),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
