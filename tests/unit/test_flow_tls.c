/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Interception: handshakes that fail on either side and what the client hears of it (contract section 4, "upstream TLS fails", "client TLS
 * fails"), resumption that fails, origins that leave or speak between the handshakes, hellos in pieces.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "flow_rig.h"

#define ILLEGAL_PARAMETER "\x15\x03\x03\x00\x02\x02\x2f"
#define DIAL_MS 3000
#define SHAKE_MS 1500

static struct world stranger; /* another CA */

/* CONNECT and the client's hello: the origin is being dialled. */
static void start(struct driver *d)
{
    rig_init(d);
    driver_accept(d);
    rig_say(d, SIDE_CLIENT, CONNECT);
    driver_client_tls(d, "a.test", HTTP11);
    rig_run(d);
    assert_true(d->dialing);
}

/* The client, whose own handshake worked, asks and hears why the origin is not to be had. */
static void expect_told(struct driver *d, int status, const char *error, const char *detail)
{
    assert_int_equal(session_handshake(d->end[SIDE_CLIENT].tls), 1);
    rig_say(d, SIDE_CLIENT, GET);
    rig_expect_reply(d, status, error, detail);
    rig_expect_closed(d, "tls_handshake_failed", detail);
    assert_string_equal(rig_attr(d, "tls_handshake_failed", "peer"), "upstream");
    assert_string_equal(rig_attr(d, "tls_handshake_failed", "tls_failure_reason"), detail + strlen("upstream:"));
    rig_fini(d);
}

/* ---- the origin ---- */

static void an_origin_with_another_name(void **state)
{
    struct driver d;
    (void)state;
    start(&d);
    driver_origin_tls(&d, "b.test", "http/1.1");
    rig_dialed(&d);
    expect_told(&d, 502, "tls_certificate_error", "upstream:cert_validation");
}

static void an_origin_of_an_unknown_ca(void **state)
{
    struct driver d;
    (void)state;
    start(&d);
    d.world = &stranger;
    stranger.port->unix_ms = rig_world.port->unix_ms;
    driver_origin_tls(&d, "a.test", "http/1.1");
    d.world = &rig_world;
    rig_dialed(&d);
    expect_told(&d, 502, "tls_certificate_error", "upstream:unknown_ca");
}

static void an_origin_says(const void *bytes, size_t n, const char *error, const char *detail)
{
    struct driver d;
    start(&d);
    rig_dialed(&d);
    rig_say_bytes(&d, SIDE_ORIGIN, bytes, n);
    expect_told(&d, 502, error, detail);
}

static void an_origin_refuses_or_speaks_no_tls(void **state)
{
    static const char alert[] = "\x15\x03\x03\x00\x02\x02\x28", http[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    (void)state;
    an_origin_says(alert, sizeof alert - 1, "tls_alert_received", "upstream:handshake");
    an_origin_says(http, sizeof http - 1, "tls_protocol_error", "upstream:other");
}

static void an_origin_leaves_its_handshake(void **state)
{
    static const int errors[] = {0, ECONNRESET};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct driver d;
        start(&d);
        rig_dialed(&d);
        rig_hang_up(&d, SIDE_ORIGIN, errors[i]);
        expect_told(&d, 502, "tls_protocol_error", "upstream:eof_or_reset");
    }
}

static void an_origin_behind_a_reverse_listener(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.listen.mode = LISTEN_REVERSE;
    d.settings.reverse_upstream = (struct settings_upstream){.host = "origin.test", .port = 443, .tls = 1};
    driver_accept(&d);
    driver_origin_tls(&d, "b.test", "http/1.1");
    rig_dialed(&d);
    rig_say(&d, SIDE_CLIENT, GET);
    rig_expect_reply(&d, 502, "tls_certificate_error", "upstream:cert_validation");
    rig_expect_closed(&d, "tls_handshake_failed", "upstream:cert_validation");
    rig_fini(&d);
}

static void the_second_connection_of_an_exchange_fails(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    driver_accept(&d);
    rig_intercepted(&d, "a.test");
    rig_hang_up(&d, SIDE_ORIGIN, 0);
    rig_say(&d, SIDE_CLIENT, GET);
    driver_origin_tls(&d, "b.test", "http/1.1");
    rig_dialed(&d);
    rig_expect_reply(&d, 502, "tls_certificate_error", "upstream:cert_validation");
    rig_expect_closed(&d, "tls_handshake_failed", "upstream:cert_validation");
    rig_fini(&d);
}

/* ---- resumption ---- */

/* Leaves a session for a.test in the cache. */
static void remember_session(void)
{
    struct driver d;
    rig_init(&d);
    driver_accept(&d);
    rig_intercepted(&d, "a.test");
    rig_say(&d, SIDE_CLIENT, GET);
    rig_say(&d, SIDE_ORIGIN, OK_2); /* its ticket was read */
    rig_fini(&d);
}

static void resumption_that_fails_is_tried_without(void **state)
{
    struct driver d;
    (void)state;
    remember_session();
    start(&d);
    rig_dialed(&d);
    rig_say_bytes(&d, SIDE_ORIGIN, ILLEGAL_PARAMETER, 7);
    assert_int_equal(d.dials, 2);
    assert_int_equal(rig_count(&d, "tls_handshake_failed"), 0);
    driver_origin_tls(&d, "a.test", "http/1.1");
    rig_dialed(&d);
    rig_say(&d, SIDE_CLIENT, GET);
    rig_expect_sent(&d, SIDE_ORIGIN, GET);
    rig_fini(&d);
}

static void once(void **state)
{
    struct driver d;
    (void)state;
    remember_session();
    start(&d);
    rig_dialed(&d);
    rig_say_bytes(&d, SIDE_ORIGIN, ILLEGAL_PARAMETER, 7);
    rig_dialed(&d);
    rig_say_bytes(&d, SIDE_ORIGIN, ILLEGAL_PARAMETER, 7);
    assert_int_equal(d.dials, 2);
    expect_told(&d, 502, "tls_alert_received", "upstream:handshake");
}

static void the_second_try_has_its_own_time(void **state)
{
    struct driver d;
    (void)state;
    remember_session();
    start(&d);
    rig_dialed(&d);
    rig_time(&d, SHAKE_MS - 1);
    rig_say_bytes(&d, SIDE_ORIGIN, ILLEGAL_PARAMETER, 7);
    rig_deadline(&d, DIAL_MS);
    rig_say(&d, SIDE_CLIENT, GET);
    rig_expect_reply(&d, 504, "connection_timeout", "ETIMEDOUT");
    rig_expect_closed(&d, "upstream_connect_failed", "ETIMEDOUT");
    rig_fini(&d);
}

/* The same when the connection is made anew for an exchange. */
static void the_second_try_of_an_exchange(void **state)
{
    (void)state;
    for (int dialed = 0; dialed <= 1; dialed++) {
        struct driver d;
        rig_init(&d);
        driver_accept(&d);
        rig_intercepted(&d, "a.test");
        rig_say(&d, SIDE_CLIENT, GET);
        rig_say(&d, SIDE_ORIGIN, OK_2);
        rig_hang_up(&d, SIDE_ORIGIN, 0);
        rig_take(&d, SIDE_CLIENT);
        rig_say(&d, SIDE_CLIENT, GET);
        rig_dialed(&d);
        rig_time(&d, SHAKE_MS - 1);
        rig_say_bytes(&d, SIDE_ORIGIN, ILLEGAL_PARAMETER, 7);
        assert_int_equal(d.dials, 3);
        if (dialed) {
            driver_origin_tls(&d, "a.test", "http/1.1");
            rig_dialed(&d);
            rig_expect_sent(&d, SIDE_ORIGIN, GET);
        } else {
            rig_deadline(&d, DIAL_MS);
            rig_expect_reply(&d, 504, "connection_timeout", "ETIMEDOUT");
            rig_expect_closed(&d, "upstream_connect_failed", "ETIMEDOUT");
        }
        rig_fini(&d);
    }
}

/* ---- between the handshakes ---- */

static void begin_client_handshake(struct driver *d, const char *last_words)
{
    start(d);
    driver_origin_tls(d, "a.test", "http/1.1");
    driver_dialed(d);
    while (!d->fault[0] && d->watch.shaking[SIDE_CLIENT] == false && driver_read(d, SIDE_ORIGIN, SIZE_MAX))
        ;
    assert_true(d->watch.shaking[SIDE_CLIENT]); /* and its answer is not read yet */
    if (last_words)
        driver_say(d, SIDE_ORIGIN, last_words, strlen(last_words));
    else
        driver_hang_up(d, SIDE_ORIGIN, 0);
    while (driver_read(d, SIDE_ORIGIN, SIZE_MAX))
        ;
}

static void an_origin_that_is_gone_is_dialled_again(void **state)
{
    (void)state;
    for (int speaks = 0; speaks <= 1; speaks++) {
        struct driver d;
        begin_client_handshake(&d, speaks ? "HTTP/1.1 200 OK\r\n" : NULL);
        rig_run(&d);
        rig_say(&d, SIDE_CLIENT, GET);
        driver_origin_tls(&d, "a.test", "http/1.1");
        rig_dialed(&d);
        rig_expect_sent(&d, SIDE_ORIGIN, GET);
        rig_expect_sent(&d, SIDE_CLIENT, "");
        assert_int_equal(d.dials, 2);
        rig_fini(&d);
    }
}

/* ---- the client ---- */

static void a_client_that_refuses_our_ca(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT);
    d.world = &stranger;
    driver_client_tls(&d, "a.test", HTTP11);
    d.world = &rig_world;
    driver_origin_tls(&d, "a.test", "http/1.1");
    rig_run(&d);
    rig_dialed(&d);
    rig_expect_closed(&d, "tls_handshake_failed", "downstream:unknown_ca");
    assert_string_equal(rig_attr(&d, "tls_handshake_failed", "peer"), "downstream");
    assert_string_equal(rig_attr(&d, "tls_handshake_failed", "peer_rejected_ca"), "certain");
    rig_fini(&d);
}

static void a_client_leaves_its_handshake(void **state)
{
    struct driver d;
    (void)state;
    start(&d);
    driver_origin_tls(&d, "a.test", "http/1.1");
    driver_dialed(&d);
    while (!d.watch.shaking[SIDE_CLIENT] && driver_read(&d, SIDE_ORIGIN, SIZE_MAX))
        ;
    buffer_clear(&d.end[SIDE_CLIENT].inbox); /* its answer is never sent */
    rig_hang_up(&d, SIDE_CLIENT, ECONNRESET);
    rig_expect_closed(&d, "tls_handshake_failed", "downstream:eof_or_reset");
    rig_fini(&d);
}

static void a_client_leaves_while_the_origin_is_made_ready(void **state)
{
    (void)state;
    for (int dialed = 0; dialed <= 1; dialed++) {
        struct driver d;
        start(&d);
        if (dialed)
            rig_dialed(&d);
        rig_hang_up(&d, SIDE_CLIENT, 0);
        rig_expect_closed(&d, "client_aborted", dialed ? "tls_origin" : "dial");
        rig_fini(&d);
    }
}

static void a_client_leaves_without_a_byte(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    driver_accept(&d);
    rig_intercepted(&d, "a.test");
    rig_hang_up(&d, SIDE_CLIENT, 0);
    rig_expect_closed(&d, "client_aborted", "request_head");
    assert_string_equal(rig_attr(&d, "stream_closed", "peer_rejected_ca"), "likely");
    assert_int_equal(rig_count(&d, "tls_handshake_failed"), 0);
    rig_fini(&d);
}

static void one_byte_says_that_it_did_not_reject(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    driver_accept(&d);
    rig_intercepted(&d, "a.test");
    rig_say(&d, SIDE_CLIENT, "G");
    rig_hang_up(&d, SIDE_CLIENT, 0);
    rig_expect_closed(&d, "client_aborted", "request_head");
    assert_string_equal(rig_attr(&d, "stream_closed", "peer_rejected_ca"), "");
    rig_fini(&d);
}

static void garbage_inside_tls(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    driver_accept(&d);
    rig_intercepted(&d, "a.test");
    buffer_append(&d.end[SIDE_CLIENT].inbox, "\x17\x03\x03\x00\x04oops", 9);
    rig_run(&d);
    rig_expect_closed(&d, "client_aborted", "request_head");
    rig_expect_sent(&d, SIDE_ORIGIN, "");
    rig_fini(&d);
}

/* More than a TLS record in one read, from an origin without TLS. */
static void a_big_body(void **state)
{
    static char body[100000];
    struct driver d;
    (void)state;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)('a' + i % 23);
    rig_init(&d);
    d.listen.mode = LISTEN_REVERSE;
    d.listen.tls = true;
    driver_accept(&d);
    driver_client_tls(&d, "a.test", HTTP11);
    rig_run(&d);
    rig_say(&d, SIDE_CLIENT, GET);
    rig_dialed(&d);
    driver_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", 43);
    driver_say(&d, SIDE_ORIGIN, body, sizeof body);
    rig_run(&d);
    struct buffer *got = &d.end[SIDE_CLIENT].got;
    assert_int_equal(buffer_size(got), 43 + sizeof body);
    assert_memory_equal(buffer_data(got) + 43, body, sizeof body);
    assert_int_equal(rig_count(&d, "response_body_chunk"), 1);
    rig_fini(&d);
}

static void a_listener_with_a_certificate_of_its_own(void **state)
{
    struct driver d;
    int hit;
    (void)state;
    rig_init(&d);
    d.listen.mode = LISTEN_REVERSE;
    d.listen.tls = true;
    d.fixed_leaf = leaf_get(rig_world.authority, soth_span("a.test"), (int64_t)(rig_world.port->unix_ms / 1000), &hit);
    driver_accept(&d);
    driver_client_tls(&d, "a.test", HTTP11);
    rig_run(&d);
    assert_string_equal(rig_attr(&d, "tls_handshake_succeeded", "cert_cache_status"), "");
    assert_int_equal(d.counters.leaf_hits + d.counters.leaf_misses, 0);
    rig_fini(&d);
    leaf_put(d.fixed_leaf);
}

/* A hello in records of some bytes each, each in a read of its own. */
static void a_hello_in_many_records(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT);
    driver_client_tls(&d, "a.test", HTTP11);
    struct buffer hello = d.end[SIDE_CLIENT].inbox;
    d.end[SIDE_CLIENT].inbox = (struct buffer){0};
    for (size_t at = 5; at < buffer_size(&hello); at += 50) {
        size_t n = buffer_size(&hello) - at < 50 ? buffer_size(&hello) - at : 50;
        const uint8_t header[] = {0x16, 3, 1, 0, (uint8_t)n};
        buffer_append(&d.end[SIDE_CLIENT].inbox, header, sizeof header);
        buffer_append(&d.end[SIDE_CLIENT].inbox, buffer_data(&hello) + at, n);
        driver_read(&d, SIDE_CLIENT, SIZE_MAX);
    }
    buffer_fini(&hello);
    driver_origin_tls(&d, "a.test", "http/1.1");
    rig_dialed(&d);
    rig_say(&d, SIDE_CLIENT, GET);
    rig_expect_sent(&d, SIDE_ORIGIN, GET);
    rig_fini(&d);
}

static void a_client_without_alpn_and_sni(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT);
    driver_client_tls(&d, "", "");
    rig_run(&d);
    driver_origin_tls(&d, "a.test", "http/1.1");
    rig_dialed(&d);
    assert_string_equal(rig_attr(&d, "tls_handshake_started", "alpn_offered"), "");
    assert_string_equal(rig_attr(&d, "tls_handshake_started", "sni"), "");
    assert_int_equal(rig_count(&d, "tls_handshake_started"), 2);
    rig_fini(&d); /* this client wants another name: what becomes of it is not of interest */
}

/* An address says nothing about names: the name beside it is written down, not refused. */
static void a_name_for_an_address(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, "CONNECT 192.0.2.1:443 HTTP/1.1\r\n\r\n");
    driver_client_tls(&d, "a.test", HTTP11);
    rig_run(&d);
    assert_string_equal(rig_attr(&d, "connect_decision", "authority_mismatch"), "audit");
    driver_origin_tls(&d, "a.test", "http/1.1");
    rig_dialed(&d);
    rig_say(&d, SIDE_CLIENT, GET);
    rig_expect_sent(&d, SIDE_ORIGIN, GET);
    rig_fini(&d);
}

static int set_up(void **state)
{
    char err[512];
    if (rig_set_up(state) != 0)
        return 1;
    return world_init(&stranger, err, sizeof err) ? 0 : 1;
}

static int tear_down(void **state)
{
    world_fini(&stranger);
    return rig_tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_origin_with_another_name),
        cmocka_unit_test(an_origin_of_an_unknown_ca),
        cmocka_unit_test(an_origin_refuses_or_speaks_no_tls),
        cmocka_unit_test(an_origin_leaves_its_handshake),
        cmocka_unit_test(an_origin_behind_a_reverse_listener),
        cmocka_unit_test(the_second_connection_of_an_exchange_fails),
        cmocka_unit_test(resumption_that_fails_is_tried_without),
        cmocka_unit_test(once),
        cmocka_unit_test(the_second_try_has_its_own_time),
        cmocka_unit_test(the_second_try_of_an_exchange),
        cmocka_unit_test(an_origin_that_is_gone_is_dialled_again),
        cmocka_unit_test(a_client_that_refuses_our_ca),
        cmocka_unit_test(a_client_leaves_its_handshake),
        cmocka_unit_test(a_client_leaves_while_the_origin_is_made_ready),
        cmocka_unit_test(a_client_leaves_without_a_byte),
        cmocka_unit_test(one_byte_says_that_it_did_not_reject),
        cmocka_unit_test(garbage_inside_tls),
        cmocka_unit_test(a_big_body),
        cmocka_unit_test(a_listener_with_a_certificate_of_its_own),
        cmocka_unit_test(a_hello_in_many_records),
        cmocka_unit_test(a_client_without_alpn_and_sni),
        cmocka_unit_test(a_name_for_an_address),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
