/* SPDX-License-Identifier: MPL-2.0 */
/*
 * After the 200: what the first bytes lead to (peek), tunnels, half-closes, and what becomes of a tunnelled ClientHello. The wire is memory, TLS
 * bytes are relayed unread where they are tunnelled.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "flow_rig.h"

static void start(struct driver *d)
{
    rig_init(d);
    driver_accept(d);
    rig_say(d, SIDE_CLIENT, CONNECT);
    rig_expect_sent(d, SIDE_CLIENT, OK_200);
    assert_int_equal(rig_count(d, "connect_decision"), 0); /* final at the first bytes */
}

static const struct verdict tunnel = {.action = SOTH_TUNNEL, .reason = "ignored_host", .policy_module = "test"};

/* A CONNECT that the policy tunnels: dialled first, then the 200. */
static void start_tunnel(struct driver *d)
{
    rig_init(d);
    d->policy.target = tunnel;
    driver_accept(d);
    rig_say(d, SIDE_CLIENT, CONNECT);
    rig_expect_nothing_sent(d);
    rig_dialed(d);
    rig_expect_sent(d, SIDE_CLIENT, OK_200);
}

static void expect_decision(struct driver *d, const char *action, const char *reason)
{
    assert_int_equal(rig_count(d, "connect_decision"), 1);
    assert_string_equal(rig_attr(d, "connect_decision", "action"), action);
    assert_string_equal(rig_attr(d, "connect_decision", "reason"), reason);
}

static const char *said_hello(struct driver *d)
{
    static char text[4096];
    const struct buffer *inbox = &d->end[SIDE_CLIENT].inbox;
    assert_true(buffer_size(inbox) < sizeof text);
    memset(text, 0, sizeof text);
    memcpy(text, buffer_data(inbox), buffer_size(inbox));
    return text;
}

static void expect_got_bytes(struct driver *d, enum side side, const char *p, size_t n)
{
    assert_int_equal(buffer_size(&d->end[side].got), n);
    assert_memory_equal(buffer_data(&d->end[side].got), p, n);
    buffer_clear(&d->end[side].got);
}

/* ---- peek ---- */

static void tls_is_intercepted(void **state)
{
    struct driver d;
    (void)state;
    start(&d);
    driver_client_tls(&d, "a.test", HTTP11);
    rig_run(&d);
    expect_decision(&d, "intercept", "default_intercept");
    driver_origin_tls(&d, "a.test", "http/1.1");
    rig_dialed(&d);
    rig_say(&d, SIDE_CLIENT, GET);
    rig_expect_sent(&d, SIDE_ORIGIN, GET);
    assert_int_equal(rig_count(&d, "tls_handshake_succeeded"), 2);
    rig_fini(&d);
}

static void cleartext_http_is_intercepted(void **state)
{
    struct driver d;
    (void)state;
    start(&d);
    rig_say(&d, SIDE_CLIENT, "GE");
    assert_int_equal(rig_count(&d, "connect_decision"), 0);
    rig_say(&d, SIDE_CLIENT, "T / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    expect_decision(&d, "intercept", "default_intercept");
    rig_dialed(&d);
    rig_expect_sent(&d, SIDE_ORIGIN, GET);
    assert_string_equal(rig_attr(&d, "request_headers", "scheme"), "http");
    rig_fini(&d);
}

static void other_bytes_are_tunnelled(void **state)
{
    struct driver d;
    (void)state;
    start(&d);
    rig_say(&d, SIDE_CLIENT, "\x01\x02");
    expect_decision(&d, "tunnel", "not_tls");
    rig_say(&d, SIDE_CLIENT, "\x03");
    rig_dialed(&d);
    rig_expect_sent(&d, SIDE_ORIGIN, "\x01\x02\x03");
    rig_say(&d, SIDE_ORIGIN, "pong");
    rig_expect_sent(&d, SIDE_CLIENT, "pong");
    rig_fini(&d);
}

static void other_bytes_are_blocked(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.settings.not_tls = NOT_TLS_BLOCK;
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT "\x01\x02");
    rig_expect_sent(&d, SIDE_CLIENT, OK_200);
    expect_decision(&d, "block", "not_tls");
    rig_expect_closed(&d, "blocked", "not_tls");
    assert_int_equal(d.dials, 0);
    rig_fini(&d);
}

static void other_bytes_meet_a_late_block(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.target.needs_hello = true;
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT);
    d.policy.target = (struct verdict){.action = SOTH_BLOCK, .reason = "rule", .rule_id = {"r1", 2}, .policy_module = "test"};
    rig_say(&d, SIDE_CLIENT, "\x01\x02");
    expect_decision(&d, "block", "rule");
    rig_expect_closed(&d, "blocked", "r1");
    assert_int_equal(d.dials, 0);
    rig_fini(&d);
}

static void after_silence_a_late_hello(void **state)
{
    (void)state;
    for (int connected = 0; connected <= 1; connected++) {
        struct driver d;
        start(&d);
        rig_deadline(&d, 300);
        if (connected)
            rig_dialed(&d);
        rig_time(&d, 20000);
        driver_client_tls(&d, "a.test", HTTP11);
        driver_origin_tls(&d, "a.test", "http/1.1");
        rig_run(&d);
        expect_decision(&d, "intercept", "default_intercept");
        if (!connected)
            rig_dialed(&d);
        rig_say(&d, SIDE_CLIENT, GET);
        rig_expect_sent(&d, SIDE_ORIGIN, GET);
        assert_int_equal(d.dials, 1);
        rig_fini(&d);
    }
}

static void after_silence_the_origin_speaks(void **state)
{
    (void)state;
    for (int block = 0; block <= 1; block++) {
        struct driver d;
        rig_init(&d);
        d.settings.not_tls = block ? NOT_TLS_BLOCK : NOT_TLS_TUNNEL;
        driver_accept(&d);
        rig_say(&d, SIDE_CLIENT, CONNECT);
        rig_take(&d, SIDE_CLIENT);
        rig_deadline(&d, 300);
        rig_dialed(&d);
        rig_say(&d, SIDE_ORIGIN, "220 mail\r\n");
        rig_expect_sent(&d, SIDE_CLIENT, block ? "" : "220 mail\r\n");
        expect_decision(&d, block ? "block" : "tunnel", "not_tls");
        if (block)
            rig_expect_closed(&d, "blocked", "not_tls");
        else
            rig_expect_open(&d);
        rig_fini(&d);
    }
}

/* ... and is dropped when the hello is refused, connected or not. */
static void after_silence_a_hello_that_is_blocked(void **state)
{
    (void)state;
    for (int connected = 0; connected <= 1; connected++) {
        struct driver d;
        rig_init(&d);
        d.policy.blocked = "b.test";
        driver_accept(&d);
        rig_say(&d, SIDE_CLIENT, CONNECT);
        rig_deadline(&d, 300);
        if (connected)
            rig_dialed(&d);
        driver_client_tls(&d, "b.test", HTTP11);
        rig_run(&d);
        assert_int_equal(d.origin_closes, 1);
        assert_false(d.dialing);
        rig_say(&d, SIDE_CLIENT, GET);
        rig_expect_reply(&d, 403, "http_request_denied", "blocked_host");
        rig_fini(&d);
    }
}

/* The origin was first, whatever the client had begun to say. */
static void an_origin_speaks_into_a_beginning(void **state)
{
    struct driver d;
    (void)state;
    start(&d);
    rig_say(&d, SIDE_CLIENT, "E"); /* EHLO or a method */
    rig_deadline(&d, 300);
    rig_dialed(&d);
    rig_say(&d, SIDE_ORIGIN, "220 mail\r\n");
    expect_decision(&d, "tunnel", "not_tls");
    rig_expect_sent(&d, SIDE_CLIENT, "220 mail\r\n");
    rig_expect_sent(&d, SIDE_ORIGIN, "E");
    rig_fini(&d);
}

static void after_silence_the_origin_cannot_be_had(void **state)
{
    struct driver d;
    (void)state;
    start(&d);
    rig_deadline(&d, 300);
    rig_dial_failed(&d, DIAL_FAILURE_REFUSED, "ECONNREFUSED");
    rig_expect_open(&d); /* a ClientHello may come, and its client be told */
    rig_say(&d, SIDE_CLIENT, "\x01\x02");
    assert_int_equal(d.dials, 2);
    rig_dial_failed(&d, DIAL_FAILURE_REFUSED, "ECONNREFUSED");
    rig_expect_closed(&d, "upstream_connect_failed", "ECONNREFUSED");
    rig_fini(&d);
}

static void an_origin_that_left_is_dialled_again(void **state)
{
    struct driver d;
    (void)state;
    start(&d);
    rig_deadline(&d, 300);
    rig_dialed(&d);
    rig_hang_up(&d, SIDE_ORIGIN, 0);
    rig_say(&d, SIDE_CLIENT, "\x01\x02");
    rig_dialed(&d);
    rig_expect_sent(&d, SIDE_ORIGIN, "\x01\x02");
    assert_int_equal(d.dials, 2);
    rig_fini(&d);
}

static void a_hello_that_is_none(void **state)
{
    static const char broken[] = "\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00";
    struct driver d;
    (void)state;
    start(&d);
    rig_say_bytes(&d, SIDE_CLIENT, broken, sizeof broken - 1);
    expect_decision(&d, "intercept", "default_intercept");
    rig_expect_closed(&d, "tls_handshake_failed", "downstream:other");
    assert_int_equal(rig_count(&d, "tls_handshake_started"), 1);
    expect_got_bytes(&d, SIDE_CLIENT, "\x15\x03\x01\x00\x02\x02\x32", 7);
    rig_fini(&d);
}

static void a_client_leaves_the_peek(void **state)
{
    (void)state;
    for (int partial = 0; partial <= 1; partial++) {
        struct driver d;
        start(&d);
        rig_say(&d, SIDE_CLIENT, partial ? "GE" : "");
        rig_hang_up(&d, SIDE_CLIENT, partial ? ECONNRESET : 0);
        rig_expect_closed(&d, "client_aborted", "peek");
        expect_decision(&d, "intercept", "default_intercept");
        rig_fini(&d);
    }
}

static void a_client_leaves_its_hello(void **state)
{
    struct driver d;
    (void)state;
    start(&d);
    rig_say(&d, SIDE_CLIENT, "\x16\x03\x01\x02");
    rig_hang_up(&d, SIDE_CLIENT, ECONNRESET);
    rig_expect_closed(&d, "tls_handshake_failed", "downstream:eof_or_reset");
    expect_decision(&d, "intercept", "default_intercept");
    assert_string_equal(rig_attr(&d, "tls_handshake_failed", "raw_provider_error"), "reset"); /* to the first space */
    assert_string_equal(rig_attr(&d, "tls_handshake_failed", "peer_rejected_ca"), "no");
    rig_fini(&d);
}

static void a_rule_for_the_hello_tunnels(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.target.needs_hello = true;
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT);
    d.policy.target = tunnel;
    driver_client_tls(&d, "a.test", HTTP11);
    const char *hello = said_hello(&d);
    size_t n = buffer_size(&d.end[SIDE_CLIENT].inbox);
    rig_run(&d);
    expect_decision(&d, "tunnel", "ignored_host");
    rig_dialed(&d);
    expect_got_bytes(&d, SIDE_ORIGIN, hello, n);
    rig_fini(&d);
}

/* ---- tunnels by policy ---- */

static void bytes_both_ways(void **state)
{
    struct driver d;
    (void)state;
    start_tunnel(&d);
    rig_say(&d, SIDE_CLIENT, "ping");
    rig_expect_sent(&d, SIDE_ORIGIN, "ping");
    expect_decision(&d, "tunnel", "ignored_host");
    rig_say(&d, SIDE_ORIGIN, "pong");
    rig_expect_sent(&d, SIDE_CLIENT, "pong");
    rig_hang_up(&d, SIDE_CLIENT, 0);
    rig_hang_up(&d, SIDE_ORIGIN, 0);
    rig_expect_closed(&d, "relay_eof", NULL);
    assert_string_equal(rig_attr(&d, "stream_closed", "bytes_from_server"), "4");
    rig_fini(&d);
}

static void bytes_behind_the_head(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.target = tunnel;
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT "early");
    rig_expect_nothing_sent(&d);
    rig_dialed(&d);
    rig_expect_sent(&d, SIDE_ORIGIN, "early");
    rig_fini(&d);
}

static void the_origin_may_be_first(void **state)
{
    struct driver d;
    (void)state;
    start_tunnel(&d);
    rig_say(&d, SIDE_ORIGIN, "220 mail\r\n");
    rig_expect_sent(&d, SIDE_CLIENT, "220 mail\r\n");
    expect_decision(&d, "tunnel", "ignored_host");
    rig_fini(&d);
}

static void decided_at_the_close(void **state)
{
    struct driver d;
    (void)state;
    start_tunnel(&d);
    assert_int_equal(rig_count(&d, "connect_decision"), 0);
    rig_hang_up(&d, SIDE_CLIENT, 0);
    rig_hang_up(&d, SIDE_ORIGIN, 0);
    rig_expect_closed(&d, "relay_eof", NULL);
    expect_decision(&d, "tunnel", "ignored_host");
    rig_fini(&d);
}

static void a_hello_in_a_tunnel(struct driver *d, const char *sni)
{
    start_tunnel(d);
    driver_client_tls(d, sni, HTTP11);
    rig_run(d);
}

static void a_hello_of_the_target_passes(void **state)
{
    struct driver d;
    (void)state;
    start_tunnel(&d);
    driver_client_tls(&d, "a.test", HTTP11);
    const char *hello = said_hello(&d);
    size_t n = buffer_size(&d.end[SIDE_CLIENT].inbox);
    while (driver_read(&d, SIDE_CLIENT, 7))
        ;
    expect_got_bytes(&d, SIDE_ORIGIN, hello, n);
    expect_decision(&d, "tunnel", "ignored_host");
    rig_fini(&d);
}

/* Not judged by the rig's policy as ignored too: `tunnel` is what it says to every name, unless it is blocked. */
static void a_hello_of_another_ignored_host_passes(void **state)
{
    struct driver d;
    (void)state;
    a_hello_in_a_tunnel(&d, "b.test");
    expect_decision(&d, "tunnel", "ignored_host");
    assert_int_not_equal(buffer_size(&d.end[SIDE_ORIGIN].got), 0);
    rig_fini(&d);
}

static void a_hello_of_somebody_else_is_a_mismatch(void **state)
{
    struct driver d;
    (void)state;
    start_tunnel(&d);
    d.policy.target = (struct verdict){.action = SOTH_INTERCEPT, .is_default = true, .reason = "default_intercept", .policy_module = ""};
    driver_client_tls(&d, "b.test", HTTP11);
    rig_run(&d);
    expect_decision(&d, "block", "authority_mismatch");
    assert_int_equal(d.origin_closes, 1);
    rig_say(&d, SIDE_CLIENT, GET);
    rig_expect_reply(&d, 403, "http_request_denied", "authority_mismatch");
    rig_expect_closed(&d, "blocked", "authority_mismatch");
    rig_fini(&d);
}

static void a_hello_of_a_blocked_host_is_blocked(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.target = tunnel;
    d.policy.blocked = "b.test";
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT);
    rig_dialed(&d);
    driver_client_tls(&d, "b.test", HTTP11);
    rig_run(&d);
    expect_decision(&d, "block", "blocked_host");
    rig_expect_sent(&d, SIDE_ORIGIN, "");
    rig_say(&d, SIDE_CLIENT, GET);
    rig_expect_reply(&d, 403, "http_request_denied", "blocked_host");
    rig_expect_closed(&d, "blocked", "blocked_host");
    rig_fini(&d);
}

/* ---- ends ---- */

static void a_half_close_is_relayed(void **state)
{
    (void)state;
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++) {
        struct driver d;
        enum side other = side == SIDE_CLIENT ? SIDE_ORIGIN : SIDE_CLIENT;
        start_tunnel(&d);
        rig_say(&d, side, "all of it");
        rig_hang_up(&d, side, 0);
        rig_expect_sent(&d, other, "all of it");
        rig_expect_open(&d);
        assert_true(d.end[other].shut);
        assert_false(d.end[side].shut);
        rig_say(&d, other, "and the answer");
        rig_say(&d, other, ", late");
        rig_expect_sent(&d, side, "and the answer, late");
        rig_hang_up(&d, other, 0);
        rig_expect_closed(&d, "relay_eof", NULL);
        assert_false(d.aborted);
        rig_fini(&d);
    }
}

static void an_end_behind_the_first_bytes(void **state)
{
    struct driver d;
    (void)state;
    start_tunnel(&d);
    rig_say(&d, SIDE_CLIENT, "\x16"); /* a hello may follow */
    rig_expect_sent(&d, SIDE_ORIGIN, "");
    rig_hang_up(&d, SIDE_CLIENT, 0);
    rig_expect_sent(&d, SIDE_ORIGIN, "\x16");
    assert_true(d.end[SIDE_ORIGIN].shut);
    rig_fini(&d);
}

static void a_reset_is_relayed(void **state)
{
    (void)state;
    for (enum side side = SIDE_CLIENT; side <= SIDE_ORIGIN; side++) {
        struct driver d;
        start_tunnel(&d);
        rig_say(&d, SIDE_CLIENT, "x");
        rig_hang_up(&d, side, ECONNRESET);
        if (side == SIDE_CLIENT)
            rig_expect_closed(&d, "client_aborted", "tunnel");
        else
            rig_expect_closed(&d, "relay_error", "ECONNRESET");
        assert_true(d.aborted);
        rig_fini(&d);
    }
}

static void a_client_leaves_the_dial(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.target = tunnel;
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT);
    rig_hang_up(&d, SIDE_CLIENT, 0);
    rig_expect_closed(&d, "client_aborted", "dial");
    expect_decision(&d, "tunnel", "ignored_host");
    rig_fini(&d);
}

static void a_client_leaves_before_its_head(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    driver_accept(&d);
    rig_hang_up(&d, SIDE_CLIENT, 0);
    rig_expect_closed(&d, "client_aborted", "connect");
    rig_expect_nothing_sent(&d);
    rig_fini(&d);
}

/* ---- reverse ---- */

static void a_reverse_listener_tunnels(void **state)
{
    (void)state;
    for (int tls = 0; tls <= 1; tls++) {
        struct driver d;
        rig_init(&d);
        d.listen.mode = LISTEN_REVERSE;
        d.listen.tls = (uint8_t)tls;
        d.policy.target = tunnel;
        driver_accept(&d);
        if (tls)
            driver_client_tls(&d, "a.test", HTTP11);
        else
            driver_say(&d, SIDE_CLIENT, "hello", 5);
        const char *said = said_hello(&d);
        size_t n = buffer_size(&d.end[SIDE_CLIENT].inbox);
        rig_run(&d);
        expect_decision(&d, "tunnel", "ignored_host");
        rig_dialed(&d);
        expect_got_bytes(&d, SIDE_ORIGIN, said, n);
        rig_fini(&d);
    }
}

static void cleartext_on_a_tls_listener(void **state)
{
    static const char *const said[] = {GET, "\x01\x02"};
    (void)state;
    for (int i = 0; i <= 1; i++) {
        struct driver d;
        rig_init(&d);
        d.listen.mode = LISTEN_REVERSE;
        d.listen.tls = true;
        driver_accept(&d);
        rig_say(&d, SIDE_CLIENT, said[i]);
        rig_expect_closed(&d, "tls_handshake_failed", "downstream:other");
        assert_int_equal(rig_count(&d, "connect_decision"), 1);
        assert_int_equal(d.dials, 0);
        rig_fini(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls_is_intercepted),
        cmocka_unit_test(cleartext_http_is_intercepted),
        cmocka_unit_test(other_bytes_are_tunnelled),
        cmocka_unit_test(other_bytes_are_blocked),
        cmocka_unit_test(other_bytes_meet_a_late_block),
        cmocka_unit_test(after_silence_a_late_hello),
        cmocka_unit_test(after_silence_the_origin_speaks),
        cmocka_unit_test(after_silence_a_hello_that_is_blocked),
        cmocka_unit_test(an_origin_speaks_into_a_beginning),
        cmocka_unit_test(after_silence_the_origin_cannot_be_had),
        cmocka_unit_test(an_origin_that_left_is_dialled_again),
        cmocka_unit_test(a_hello_that_is_none),
        cmocka_unit_test(a_client_leaves_the_peek),
        cmocka_unit_test(a_client_leaves_its_hello),
        cmocka_unit_test(a_rule_for_the_hello_tunnels),
        cmocka_unit_test(bytes_both_ways),
        cmocka_unit_test(bytes_behind_the_head),
        cmocka_unit_test(the_origin_may_be_first),
        cmocka_unit_test(decided_at_the_close),
        cmocka_unit_test(a_hello_of_the_target_passes),
        cmocka_unit_test(a_hello_of_another_ignored_host_passes),
        cmocka_unit_test(a_hello_of_somebody_else_is_a_mismatch),
        cmocka_unit_test(a_hello_of_a_blocked_host_is_blocked),
        cmocka_unit_test(a_half_close_is_relayed),
        cmocka_unit_test(an_end_behind_the_first_bytes),
        cmocka_unit_test(a_reset_is_relayed),
        cmocka_unit_test(a_client_leaves_the_dial),
        cmocka_unit_test(a_client_leaves_before_its_head),
        cmocka_unit_test(a_reverse_listener_tunnels),
        cmocka_unit_test(cleartext_on_a_tls_listener),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
