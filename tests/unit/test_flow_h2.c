/* SPDX-License-Identifier: MPL-2.0 */
/*
 * HTTP/2 in the flow: the four pairings, refusals, resets, lost connections, windows. Both peers are in memory; what a stream does, its
 * siblings do not notice.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "flow_rig.h"
#include "h2_peer.h"

#define CONNECT_A "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n"
#define ESTABLISHED "HTTP/1.1 200 Connection Established\r\n\r\n"
#define H2_TOO "\x02h2\x08http/1.1"

static struct driver d;
static struct h2_peer client, origin;

static void run(void)
{
    bool moved = true;
    while (moved) {
        rig_run(&d);
        moved = client.h2 && h2_peer_turn(&client);
        if (origin.h2)
            moved = h2_peer_turn(&origin) || moved;
        for (unsigned i = 0; i < d.kin_count; i++)
            while (driver_kin_read(&d, i, SIZE_MAX))
                moved = true;
    }
}

static void expect(struct h2_peer *peer, const char *wanted)
{
    run();
    const char *got = h2_peer_log(peer);
    if (strcmp(got, wanted) != 0)
        fail_msg("heard\n%s\nnot\n%s\nafter\n%s", got, wanted, driver_log(&d));
}

/* Prior knowledge inside a CONNECT. */
static void begin(void)
{
    rig_init(&d);
    d.settings.http2_enabled = 1;
    origin = client = (struct h2_peer){.h2 = NULL};
}

static void connected(void)
{
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT_A);
    rig_expect_sent(&d, SIDE_CLIENT, ESTABLISHED);
    h2_peer_init(&client, &d, SIDE_CLIENT, -1, 0);
    run();
}

static void origin_answers(uint32_t window)
{
    assert_true(driver_dialed(&d));
    h2_peer_init(&origin, &d, SIDE_ORIGIN, -1, window);
    run();
}

/* One GET is answered; streams that follow find a connection. */
static void warm(void)
{
    begin();
    connected();
    assert_int_equal(h2_peer_ask(&client, "GET", "/", "a.test", "", true), 1);
    run();
    origin_answers(0);
    expect(&origin, "1 head GET / a.test\n1 end\n");
    h2_peer_respond(&origin, 1, 200, "", true);
    expect(&client, "1 head 200\n1 end\n");
}

static void done(void)
{
    h2_peer_fini(&client);
    h2_peer_fini(&origin);
    rig_fini(&d);
}

static void one_exchange(void **state)
{
    (void)state;
    begin();
    connected();
    assert_int_equal(h2_peer_ask(&client, "POST", "/up?q", "a.test", "x-one: 1\nte: trailers\ncookie: a=1\n", false), 1);
    h2_peer_body(&client, 1, "hello", 5, false);
    run();
    assert_int_equal(d.dials, 1);
    origin_answers(0);
    expect(&origin, "1 head POST /up?q a.test x-one=1 cookie=a=1 te=trailers\n1 body hello\n");
    h2_peer_respond(&origin, 1, 103, "link: </a>\n", false);
    h2_peer_respond(&origin, 1, 200, "x-two: 2\n", false);
    h2_peer_body(&origin, 1, "answer", 6, false);
    expect(&client, "1 interim 103 link=</a>\n1 head 200 x-two=2\n1 body answer\n");
    h2_peer_trailers(&client, 1, "x-sum: 7\n");
    expect(&origin, "1 trailers x-sum=7\n1 end\n");
    h2_peer_trailers(&origin, 1, "grpc-status: 0\n");
    expect(&client, "1 trailers grpc-status=0\n1 end\n");
    assert_int_equal(rig_count(&d, "stream_closed"), 1);
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_code"), "mitm_http_completed");
    assert_string_equal(rig_attr(&d, "request_trailers", "http2_stream_id"), "1");
    rig_hang_up(&d, SIDE_CLIENT, 0);
    run();
    assert_true(d.closed);
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_code"), "mitm_http_completed");
    done();
}

static void streams_share_the_origin(void **state)
{
    (void)state;
    warm();
    for (int32_t id = 3; id <= 9; id += 2)
        assert_int_equal(h2_peer_ask(&client, "GET", "/x", "a.test", "", true), id);
    expect(&origin, "3 head GET /x a.test\n3 end\n5 head GET /x a.test\n5 end\n7 head GET /x a.test\n7 end\n9 head GET /x a.test\n9 end\n");
    h2_peer_respond(&origin, 7, 204, "", true);
    h2_peer_respond(&origin, 3, 404, "", true);
    expect(&client, "7 head 204\n7 end\n3 head 404\n3 end\n");
    assert_int_equal(d.dials, 1);
    done();
}

static void a_blocked_stream(void **state)
{
    (void)state;
    warm();
    d.policy.request.action = SOTH_BLOCK;
    d.policy.request.reason = "rule";
    h2_peer_ask(&client, "POST", "/no", "a.test", "", false);
    h2_peer_body(&client, 3, "abc", 3, false);
    run();
    expect(&origin, "");
    const char *log = h2_peer_log(&client);
    assert_non_null(strstr(log, "3 head 403 content-type=text/plain"));
    assert_non_null(strstr(log, "3 end\n"));
    h2_peer_body(&client, 3, "def", 3, true); /* it may say the rest, which goes nowhere */
    run();
    expect(&origin, "");
    d.policy.request.action = SOTH_ALLOW;
    h2_peer_ask(&client, "GET", "/yes", "a.test", "", true);
    expect(&origin, "3 head GET /yes a.test\n3 end\n"); /* the ids of its own connection */
    h2_peer_respond(&origin, 3, 204, "", true);
    expect(&client, "5 head 204\n5 end\n"); /* and no reset of 3 */
    done();
}

static void a_name_that_is_blocked(void **state)
{
    (void)state;
    warm();
    d.policy.blocked = "b.test";
    h2_peer_ask(&client, "GET", "/", "b.test", "", true);
    h2_peer_ask(&client, "GET", "/", "c.test", "", true);
    h2_peer_ask(&client, "GET", "/", "a.test", "host: b.test\n", true);
    run();
    const char *log = h2_peer_log(&client);
    assert_non_null(strstr(log, "3 head 403"));
    assert_non_null(strstr(log, "5 head 403"));
    expect(&origin, "3 head GET / a.test\n3 end\n"); /* our own codec sends no Host beside :authority */
    done();
}

static void the_client_resets(void **state)
{
    (void)state;
    warm();
    h2_peer_ask(&client, "GET", "/a", "a.test", "", true);
    h2_peer_ask(&client, "GET", "/b", "a.test", "", true);
    expect(&origin, "3 head GET /a a.test\n3 end\n5 head GET /b a.test\n5 end\n");
    h2_reset(client.h2, 3, H2_CANCEL);
    expect(&origin, "3 closed cancel\n");
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_code"), "client_aborted");
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_detail"), "response_head");
    h2_peer_respond(&origin, 5, 200, "", true);
    expect(&client, "5 head 200\n5 end\n");
    done();
}

static void the_origin_resets(void **state)
{
    (void)state;
    warm();
    h2_peer_ask(&client, "POST", "/a", "a.test", "", false);
    h2_peer_ask(&client, "GET", "/b", "a.test", "", true);
    run();
    h2_peer_respond(&origin, 3, 200, "", false);
    h2_peer_body(&origin, 3, "half", 4, false);
    run();
    h2_reset(origin.h2, 3, H2_ENHANCE_YOUR_CALM);
    expect(&client, "3 head 200\n3 body half\n3 closed enhance_your_calm\n");
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_detail"), "origin_reset:enhance_your_calm");
    h2_peer_respond(&origin, 5, 200, "", true);
    expect(&client, "5 head 200\n5 end\n");
    done();
}

/* An answer before the request's end, and then the origin wants no more. */
static void an_early_answer(void **state)
{
    (void)state;
    warm();
    h2_peer_ask(&client, "POST", "/a", "a.test", "", false);
    run();
    h2_peer_respond(&origin, 3, 200, "", true);
    run();
    h2_reset(origin.h2, 3, H2_NO_ERROR);
    expect(&client, "3 head 200\n3 end\n"); /* it may say the rest, which goes nowhere */
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_code"), "mitm_http_completed");
    done();
}

static void a_refused_stream_is_sent_again(void **state)
{
    (void)state;
    warm();
    h2_peer_ask(&client, "POST", "/a", "a.test", "", true);
    run();
    h2_reset(origin.h2, 3, H2_REFUSED_STREAM);
    expect(&origin, "3 head POST /a a.test\n3 end\n5 head POST /a a.test\n5 end\n");
    h2_reset(origin.h2, 5, H2_REFUSED_STREAM); /* once is enough */
    expect(&client, "3 closed refused_stream\n");
    done();
}

static void a_goaway_of_the_origin(void **state)
{
    (void)state;
    warm();
    h2_peer_ask(&client, "GET", "/a", "a.test", "", true);
    expect(&origin, "3 head GET /a a.test\n3 end\n");
    h2_goaway(origin.h2, H2_GOAWAY_LAST, H2_NO_ERROR);
    run();
    h2_peer_ask(&client, "GET", "/b", "a.test", "", true);
    run();
    assert_true(d.kin[2].dialing); /* a connection of its own */
    assert_true(driver_kin_dialed(&d, 2));
    struct h2_peer other;
    h2_peer_init(&other, &d, SIDE_ORIGIN, 2, 0);
    while (h2_peer_turn(&other) || driver_kin_read(&d, 2, SIZE_MAX))
        ;
    assert_string_equal(h2_peer_log(&other), "1 head GET /b a.test\n1 end\n");
    h2_peer_respond(&other, 1, 200, "", true);
    while (h2_peer_turn(&other) || driver_kin_read(&d, 2, SIZE_MAX))
        ;
    expect(&client, "5 head 200\n5 end\n");
    h2_peer_respond(&origin, 3, 200, "", true);
    expect(&client, "3 head 200\n3 end\n");
    h2_peer_fini(&other);
    assert_int_equal(d.origin_closes, 1); /* the last stream of the old one is over */
    done();
}

static void turn_kin(struct h2_peer *peer, unsigned i)
{
    while (h2_peer_turn(peer) || driver_kin_read(&d, i, SIZE_MAX))
        ;
}

/* It refuses a stream and goes: what is sent again does not go to the same connection. */
static void a_goaway_that_refuses(void **state)
{
    (void)state;
    warm();
    h2_peer_ask(&client, "GET", "/a", "a.test", "", true);
    run();
    h2_goaway(origin.h2, H2_GOAWAY_LAST, H2_NO_ERROR);
    run();
    h2_peer_ask(&client, "GET", "/b", "a.test", "", true);
    run();
    assert_true(driver_kin_dialed(&d, 2)); /* a connection of its own */
    struct h2_peer other;
    h2_peer_init(&other, &d, SIDE_ORIGIN, 2, 0);
    turn_kin(&other, 2);
    assert_string_equal(h2_peer_log(&other), "1 head GET /b a.test\n1 end\n");
    h2_goaway(other.h2, H2_GOAWAY_LAST, H2_NO_ERROR);
    h2_reset(other.h2, 1, H2_REFUSED_STREAM);
    turn_kin(&other, 2);
    h2_peer_fini(&other);
    expect(&client, "");
    assert_true(driver_kin_dialed(&d, 2)); /* one more */
    h2_peer_init(&other, &d, SIDE_ORIGIN, 2, 0);
    turn_kin(&other, 2);
    assert_string_equal(h2_peer_log(&other), "1 head GET /b a.test\n1 end\n");
    h2_peer_respond(&other, 1, 200, "", true);
    turn_kin(&other, 2);
    expect(&client, "5 head 200\n5 end\n");
    h2_peer_fini(&other);
    done();
}

static void the_origin_is_lost(void **state)
{
    (void)state;
    warm();
    h2_peer_ask(&client, "GET", "/safe", "a.test", "", true);
    h2_peer_ask(&client, "POST", "/unsafe", "a.test", "", true);
    run();
    rig_hang_up(&d, SIDE_ORIGIN, 0);
    run();
    const char *log = h2_peer_log(&client);
    assert_non_null(strstr(log, "5 head 502"));
    assert_null(strstr(log, "3 head"));
    h2_peer_fini(&origin);
    origin_answers(0);
    expect(&origin, "1 head GET /safe a.test\n1 end\n");
    h2_peer_respond(&origin, 1, 200, "", true);
    expect(&client, "3 head 200\n3 end\n");
    done();
}

static void no_origin(void **state)
{
    (void)state;
    begin();
    connected();
    h2_peer_ask(&client, "GET", "/a", "a.test", "", true);
    h2_peer_ask(&client, "GET", "/b", "a.test", "", true);
    run();
    assert_int_equal(d.dials, 1);
    assert_true(driver_dial_failed(&d, DIAL_FAILURE_REFUSED, "ECONNREFUSED"));
    run();
    const char *log = h2_peer_log(&client);
    assert_non_null(strstr(log, "1 head 502"));
    assert_non_null(strstr(log, "3 head 502"));
    rig_expect_open(&d);
    h2_peer_ask(&client, "GET", "/c", "a.test", "", true); /* another try */
    run();
    assert_int_equal(d.dials, 2);
    done();
}

/* ---- windows ---- */

static char bulk[1 << 22];

/* Fills the stream from the origin until nothing moves. Returns how much it took. */
static size_t pour(int32_t stream, size_t from, size_t most)
{
    for (size_t before = SIZE_MAX; from < most && before != from;) {
        before = from;
        from += h2_peer_body(&origin, stream, bulk + from, most - from, false);
        run();
    }
    return from;
}

static void a_slow_client(void **state)
{
    (void)state;
    warm();
    memset(bulk, 'x', sizeof bulk);
    client.holds = true;
    h2_peer_ask(&client, "GET", "/a", "a.test", "", true);
    h2_peer_ask(&client, "GET", "/b", "a.test", "", true);
    run();
    h2_peer_respond(&origin, 3, 200, "", false);
    size_t taken = pour(3, 0, sizeof bulk);
    assert_int_equal(client.body_bytes, 1 << 20); /* its window */
    assert_in_range(taken, 2 << 20, 3 << 20);     /* the stream's own is not given back either */
    h2_peer_respond(&origin, 5, 200, "", false);  /* a sibling goes on */
    h2_peer_body(&origin, 5, "sibling", 7, true);
    run();
    assert_int_equal(client.body_bytes, (1 << 20) + 7);
    client.held -= 7;
    h2_consume(client.h2, 5, 7);
    client.last_body = 3;
    for (size_t before = 0; taken < sizeof bulk || before != client.body_bytes;) {
        before = client.body_bytes;
        h2_peer_consume(&client);
        client.last_body = 3;
        run();
        taken = pour(3, taken, sizeof bulk);
        client.last_body = 3;
    }
    assert_int_equal(client.body_bytes, sizeof bulk + 7);
    h2_peer_body(&origin, 3, "", 0, true);
    client.log.len = client.log.off = 0;
    client.last_body = 0;
    expect(&client, "3 end\n");
    done();
}

/* The socket of the client takes nothing: nothing piles up for it, and all of it comes when it does. */
static void a_full_socket(void **state)
{
    (void)state;
    warm();
    h2_peer_ask(&client, "GET", "/a", "a.test", "", true);
    run();
    driver_block(&d, SIDE_CLIENT, true);
    h2_peer_respond(&origin, 3, 200, "", false);
    size_t taken = pour(3, 0, sizeof bulk);
    assert_in_range(taken, 1 << 20, 2 << 20);
    assert_true(client.body_bytes == 0);
    driver_block(&d, SIDE_CLIENT, false);
    run();
    taken = pour(3, taken, sizeof bulk);
    assert_int_equal(taken, sizeof bulk);
    assert_int_equal(client.body_bytes, sizeof bulk);
    done();
}

/* It is stepped whenever the client's socket has room, but nothing of it moves: its own deadline ends it, and nothing else. */
static void a_stream_that_is_paused(void **state)
{
    (void)state;
    warm();
    client.holds = true;
    h2_peer_ask(&client, "GET", "/a", "a.test", "", true);
    h2_peer_ask(&client, "GET", "/b", "a.test", "", true);
    run();
    h2_peer_respond(&origin, 5, 200, "", false);
    h2_peer_respond(&origin, 3, 200, "", false);
    pour(3, 0, sizeof bulk);
    assert_int_equal(client.body_bytes, 1 << 20);
    for (int i = 0; i < 11; i++) { /* many times what all may dwell */
        rig_time(&d, 5000);
        driver_block(&d, SIDE_CLIENT, true);
        h2_peer_body(&origin, 5, "b", 1, false);
        run();
        driver_block(&d, SIDE_CLIENT, false);
        run();
    }
    assert_int_equal(client.body_bytes, (1 << 20) + 11);
    assert_int_equal(rig_count(&d, "stream_closed"), 1);
    rig_time(&d, 5000);
    run();
    assert_int_equal(rig_count(&d, "stream_closed"), 2);
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_code"), "idle_watchdog_timeout");
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_detail"), "response_body");
    rig_expect_open(&d);
    client.log.len = client.log.off = 0;
    client.last_body = 0;
    h2_peer_body(&origin, 5, "end", 3, true);
    expect(&client, "5 body end\n5 end\n");
    done();
}

/* ---- an origin that takes no streams ---- */

/* Its SETTINGS allow none, and it refuses those that were on their way. */
static void origin_takes_none(void)
{
    static const struct h2_limits none = {.max_header_list = 65536, .max_concurrent_streams = 0};
    assert_true(driver_dialed(&d));
    h2_peer_init(&origin, &d, SIDE_ORIGIN, -1, 0);
    h2_free(origin.h2);
    origin.h2 = h2_new_server(&none);
    run();
}

static void streams_that_no_origin_takes(void **state)
{
    (void)state;
    begin();
    connected();
    h2_peer_ask(&client, "GET", "/a", "a.test", "", true);
    h2_peer_ask(&client, "POST", "/b", "a.test", "", true);
    run();
    origin_takes_none();
    h2_peer_ask(&client, "GET", "/c", "a.test", "", true);
    expect(&client, "");
    rig_time(&d, 2999);
    expect(&client, "");
    rig_time(&d, 1);
    run();
    const char *log = h2_peer_log(&client);
    for (int id = 1; id <= 5; id += 2) {
        char head[32];
        snprintf(head, sizeof head, "%d head 504", id);
        assert_non_null(strstr(log, head));
    }
    assert_non_null(strstr(log, "proxy-status=soth-mitm; error=connection_timeout"));
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_code"), "upstream_connect_failed");
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_detail"), "h2_no_stream");
    assert_int_equal(d.dials, 1);
    rig_expect_open(&d);
    done();
}

static void a_client_of_http1_whose_origin_takes_none(void **state)
{
    (void)state;
    begin();
    d.settings.upstream_http2 = UPSTREAM_HTTP2_ALWAYS;
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
    driver_client_tls(&d, "a.test", HTTP11);
    rig_run(&d);
    driver_origin_tls(&d, "a.test", "h2");
    origin_takes_none();
    rig_say(&d, SIDE_CLIENT, "GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n");
    run();
    assert_int_equal(d.dials, 1); /* that it spoke before it was asked is no fault of an origin of HTTP/2 */
    rig_take(&d, SIDE_CLIENT);
    rig_time(&d, 2999);
    run();
    rig_expect_open(&d);
    rig_time(&d, 1);
    rig_expect_reply(&d, 504, "connection_timeout", "h2_no_stream");
    rig_expect_closed(&d, "upstream_connect_failed", "h2_no_stream");
    done();
}

/* ---- the other pairings ---- */

static void a_client_of_http1(void **state)
{
    (void)state;
    begin();
    d.settings.upstream_http2 = UPSTREAM_HTTP2_ALWAYS;
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
    driver_client_tls(&d, "a.test", HTTP11);
    rig_run(&d);
    driver_origin_tls(&d, "a.test", "h2");
    rig_dialed(&d);
    buffer_clear(&d.end[SIDE_CLIENT].got);
    rig_say(&d, SIDE_CLIENT, "POST /up HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\r\n"
                             "3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n");
    h2_peer_init(&origin, &d, SIDE_ORIGIN, -1, 0);
    expect(&origin, "1 head POST /up a.test\n1 body abc\n1 trailers x-t=1\n1 end\n");
    h2_peer_respond(&origin, 1, 200, "x-two: 2\n", false);
    h2_peer_body(&origin, 1, "hello", 5, false);
    h2_peer_trailers(&origin, 1, "x-u: 2\n");
    run();
    rig_expect_sent(&d, SIDE_CLIENT, "HTTP/1.1 200 \r\nx-two: 2\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                                     "5\r\nhello\r\n0\r\nx-u: 2\r\n\r\n");
    rig_expect_closed(&d, "mitm_http_completed", NULL);
    done();
}

static void an_upgrade_needs_http1(void **state)
{
    (void)state;
    begin();
    d.settings.upstream_http2 = UPSTREAM_HTTP2_ALWAYS;
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
    driver_client_tls(&d, "a.test", HTTP11);
    rig_run(&d);
    driver_origin_tls(&d, "a.test", "h2");
    rig_dialed(&d);
    rig_say(&d, SIDE_CLIENT, "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    driver_origin_tls(&d, "a.test", "http/1.1");
    rig_dialed(&d);
    rig_expect_sent(&d, SIDE_ORIGIN, "GET /ws HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    done();
}

/* A proxy's listener without TLS: each stream names a target of its own, which is decided. */
static void targets_of_their_own(void **state)
{
    (void)state;
    begin();
    driver_accept(&d);
    h2_peer_init(&client, &d, SIDE_CLIENT, -1, 0);
    h2_peer_ask(&client, "POST", "/a", "a.test:81", "x: 1\n", false);
    h2_peer_body(&client, 1, "abc", 3, true);
    d.policy.blocked = "b.test";
    h2_peer_ask(&client, "GET", "/b", "b.test", "", true);
    run();
    assert_non_null(strstr(h2_peer_log(&client), "3 head 403"));
    assert_int_equal(rig_count(&d, "connect_decision"), 2);
    assert_true(driver_kin_dialed(&d, 0));
    run();
    struct buffer *got = &d.kin[0].origin.got;
    buffer_append(got, "", 1);
    assert_string_equal((const char *)buffer_data(got),
                        "POST /a HTTP/1.1\r\nHost: a.test:81\r\nx: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    const char *answer = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the close";
    buffer_append(&d.kin[0].origin.inbox, answer, strlen(answer));
    d.kin[0].origin.ends = true;
    expect(&client, "1 head 200\n1 body until the close\n1 end\n");
    done();
}

/* What one stream has left the next one uses; two at once need two. */
static void connections_of_http1_are_used_again(void **state)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    (void)state;
    begin();
    driver_accept(&d);
    h2_peer_init(&client, &d, SIDE_CLIENT, -1, 0);
    for (unsigned i = 0; i < 4; i++) {
        h2_peer_ask(&client, "GET", "/a", "a.test", "", true);
        run();
        assert_int_equal(d.kin[i].dialing, i == 0);
        driver_kin_dialed(&d, i);
        buffer_append(&d.kin[i].origin.inbox, answer, sizeof answer - 1);
        run();
    }
    assert_string_equal(h2_peer_log(&client), "1 head 200 content-length=2\n1 body hi\n1 end\n3 head 200 content-length=2\n3 body hi\n3 end\n"
                        "5 head 200 content-length=2\n5 body hi\n5 end\n7 head 200 content-length=2\n7 body hi\n7 end\n");
    assert_int_equal(d.dials, 1);
    assert_int_equal(d.reused, 3);
    h2_peer_ask(&client, "GET", "/b", "a.test", "", true);
    h2_peer_ask(&client, "GET", "/c", "a.test", "", true);
    h2_peer_ask(&client, "GET", "/d", "b.test", "", true);
    run();
    assert_int_equal(d.dials, 3);
    done();
}

/* ---- ends ---- */

static void the_client_leaves(void **state)
{
    (void)state;
    warm();
    h2_peer_ask(&client, "GET", "/a", "a.test", "", true);
    h2_peer_ask(&client, "POST", "/b", "a.test", "", false);
    run();
    rig_hang_up(&d, SIDE_CLIENT, 0);
    assert_true(d.closed);
    assert_int_equal(rig_count(&d, "stream_closed"), 4);
    assert_int_equal(d.counters.closed[CLOSE_CLIENT_ABORTED], 3);
    done();
}

static void a_drain(void **state)
{
    (void)state;
    warm();
    h2_peer_ask(&client, "GET", "/a", "a.test", "", true);
    run();
    h2_peer_log(&origin);
    rig_step(&d, INPUT_DRAIN);
    expect(&client, "goaway no_error -1\ngoaway no_error 3\n");
    rig_expect_open(&d);
    h2_peer_respond(&origin, 3, 200, "", true);
    run();
    assert_true(d.closed);
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_code"), "mitm_http_completed");
    done();
}

static void a_flood(void **state)
{
    static const char ping[] = "\0\0\x08\6\0\0\0\0\0xxxxxxxx";
    (void)state;
    warm();
    h2_peer_ask(&client, "GET", "/a", "a.test", "", true);
    run();
    for (int i = 0; i < 3000 && !d.closed; i++)
        rig_say_bytes(&d, SIDE_CLIENT, ping, sizeof ping - 1);
    assert_true(d.closed);
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_detail"), "h2_flood:ping");
    assert_int_equal(d.counters.closed[CLOSE_MITM_HTTP_ERROR], 2);
    done();
}

static void an_idle_connection(void **state)
{
    (void)state;
    warm();
    rig_deadline(&d, 60000);
    run();
    assert_true(d.closed);
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_code"), "idle_watchdog_timeout");
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_detail"), "idle");
    done();
}

static void a_policy_that_thinks(void **state)
{
    (void)state;
    warm();
    d.policy.pauses = true;
    h2_peer_ask(&client, "GET", "/slow", "a.test", "", true);
    expect(&origin, "");
    h2_reset(client.h2, 3, H2_CANCEL); /* it does not wait for that */
    run();
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_code"), "client_aborted");
    d.policy.pauses = false;
    h2_peer_ask(&client, "GET", "/fast", "a.test", "", true);
    expect(&origin, "3 head GET /fast a.test\n3 end\n");
    done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_exchange),
        cmocka_unit_test(streams_share_the_origin),
        cmocka_unit_test(a_blocked_stream),
        cmocka_unit_test(a_name_that_is_blocked),
        cmocka_unit_test(the_client_resets),
        cmocka_unit_test(the_origin_resets),
        cmocka_unit_test(an_early_answer),
        cmocka_unit_test(a_refused_stream_is_sent_again),
        cmocka_unit_test(a_goaway_of_the_origin),
        cmocka_unit_test(a_goaway_that_refuses),
        cmocka_unit_test(the_origin_is_lost),
        cmocka_unit_test(no_origin),
        cmocka_unit_test(a_slow_client),
        cmocka_unit_test(a_full_socket),
        cmocka_unit_test(a_stream_that_is_paused),
        cmocka_unit_test(streams_that_no_origin_takes),
        cmocka_unit_test(a_client_of_http1_whose_origin_takes_none),
        cmocka_unit_test(a_client_of_http1),
        cmocka_unit_test(an_upgrade_needs_http1),
        cmocka_unit_test(targets_of_their_own),
        cmocka_unit_test(connections_of_http1_are_used_again),
        cmocka_unit_test(the_client_leaves),
        cmocka_unit_test(a_drain),
        cmocka_unit_test(a_flood),
        cmocka_unit_test(an_idle_connection),
        cmocka_unit_test(a_policy_that_thinks),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
