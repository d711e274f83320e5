/* SPDX-License-Identifier: MPL-2.0 */
/*
 * WebSockets over HTTP/2 (RFC 8441) in the flow: extended CONNECT on either side, HTTP/1 on the other, refusals, resets, windows. Both peers are
 * in memory. What the bytes mean is nobody's business here.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "h2_talk.h"
#include "host/http/websocket.h"

#define UPGRADE "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static struct driver *const d = &talk.driver;
static struct h2_peer *const client = &talk.client, *const origin = &talk.origin;

/* Prior knowledge inside a CONNECT, and the stream's request. */
static int32_t asked(const char *fields)
{
    talk_begin();
    talk_connect();
    assert_true(h2_peer_connect_protocol(client->h2));
    int32_t id = h2_peer_connect(client, "websocket", "/ws", "a.test", fields);
    talk_run();
    return id;
}

/* The same with an origin that takes it and has answered. */
static void opened(void)
{
    assert_int_equal(asked("sec-websocket-version: 13\norigin: http://a.test\n"), 1);
    talk_answered_connecting();
    talk_expect(origin, "1 head CONNECT /ws a.test :protocol=websocket sec-websocket-version=13 origin=http://a.test\n");
    h2_peer_respond(origin, 1, 200, "sec-websocket-protocol: chat\n", false);
    talk_expect(client, "1 head 200 sec-websocket-protocol=chat\n");
}

static void closed_as(const char *code, const char *detail)
{
    assert_int_equal(rig_count(d, "stream_closed"), 1);
    assert_string_equal(rig_attr(d, "stream_closed", "reason_code"), code);
    assert_string_equal(rig_attr(d, "stream_closed", "reason_detail"), detail);
}

static void h2_to_h2(void **state)
{
    (void)state;
    opened();
    assert_string_equal(rig_attr(d, "request_headers", "method"), "GET");
    assert_string_equal(rig_attr(d, "request_headers", "target"), "/ws");
    assert_string_equal(rig_attr(d, "request_headers", "version"), "HTTP/2");
    assert_string_equal(rig_attr(d, "response_headers", "status_code"), "101");
    h2_peer_body(client, 1, "to you", 6, false);
    h2_peer_body(origin, 1, "to me", 5, false);
    talk_expect(origin, "1 body to you\n");
    talk_expect(client, "1 body to me\n");
    h2_peer_body(origin, 1, "", 0, true);
    talk_expect(client, "1 end\n");
    h2_peer_body(client, 1, "more", 4, true);
    talk_expect(origin, "1 body more\n1 end\n");
    assert_int_equal(rig_count(d, "request_body_chunk"), 0);
    closed_as("relay_eof", "");
    assert_string_equal(rig_attr(d, "stream_closed", "bytes_from_server"), "105"); /* a head of 100 and 5 */
    talk_end();
}

/* What its client says before the answer is there follows it. */
static void said_early(void **state)
{
    (void)state;
    assert_int_equal(asked(""), 1);
    h2_peer_body(client, 1, "early", 5, true);
    talk_run();
    talk_answered_connecting();
    talk_expect(origin, "1 head CONNECT /ws a.test :protocol=websocket\n");
    h2_peer_respond(origin, 1, 200, "", false);
    talk_expect(origin, "1 body early\n1 end\n");
    h2_peer_body(origin, 1, "late", 4, true);
    talk_expect(client, "1 head 200\n1 body late\n1 end\n");
    closed_as("relay_eof", "");
    talk_end();
}

static void a_refusal(void **state)
{
    (void)state;
    assert_int_equal(asked(""), 1);
    talk_answered_connecting();
    h2_peer_log(origin);
    h2_peer_respond(origin, 1, 403, "x: 1\n", false);
    h2_peer_body(origin, 1, "no", 2, true);
    talk_expect(client, "1 head 403 x=1\n1 body no\n1 end\n");
    talk_expect(origin, "1 closed cancel\n");
    closed_as("mitm_http_completed", "");
    h2_peer_body(client, 1, "", 0, true); /* it may end it, and go on */
    h2_peer_ask(client, "GET", "/", "a.test", "", true);
    talk_expect(origin, "3 head GET / a.test\n3 end\n");
    talk_end();
}

static void the_policy_sees_a_request(void **state)
{
    (void)state;
    talk_begin();
    talk_connect();
    d->policy.request.action = SOTH_BLOCK;
    d->policy.request.reason = "rule";
    h2_peer_connect(client, "websocket", "/no", "a.test", "");
    talk_run();
    const char *log = h2_peer_log(client);
    assert_non_null(strstr(log, "1 head 403 content-type=text/plain"));
    assert_non_null(strstr(log, "1 end\n"));
    assert_null(strstr(log, "closed"));
    assert_int_equal(d->dials, 0);
    d->policy.request.action = SOTH_ALLOW;
    h2_peer_connect(client, "websocket", "/yes", "a.test", "");
    talk_run();
    talk_answered_connecting();
    talk_expect(origin, "1 head CONNECT /yes a.test :protocol=websocket\n");
    talk_end();
}

/* It thinks about it, and meanwhile comes what is to follow. */
static void a_policy_that_thinks(void **state)
{
    (void)state;
    talk_begin();
    talk_connect();
    d->policy.pauses = true;
    h2_peer_connect(client, "websocket", "/ws", "a.test", "");
    h2_peer_body(client, 1, "early", 5, false);
    talk_run();
    assert_int_equal(d->dials, 0);
    h2_reset(client->h2, 1, H2_CANCEL);
    talk_run();
    closed_as("client_aborted", "request_body");
    assert_int_equal(d->dials, 0);
    talk_end();
}

static void other_protocols(void **state)
{
    (void)state;
    talk_begin();
    talk_connect();
    h2_peer_connect(client, "connect-udp", "/masque", "a.test", "");
    talk_run();
    const char *log = h2_peer_log(client);
    assert_non_null(strstr(log, "1 head 501 "));
    assert_non_null(strstr(log, "1 end\n"));
    assert_int_equal(d->dials, 0);
    assert_string_equal(rig_attr(d, "stream_closed", "reason_detail"), "connect_protocol");
    h2_peer_ask(client, "GET", "/", "a.test", "", true); /* a sibling */
    talk_run();
    assert_int_equal(d->dials, 1);
    talk_end();
}

static void the_client_resets(void **state)
{
    (void)state;
    opened();
    h2_reset(client->h2, 1, H2_CANCEL);
    talk_expect(origin, "1 closed cancel\n");
    closed_as("client_aborted", "tunnel");
    talk_end();
}

static void the_origin_resets(void **state)
{
    (void)state;
    opened();
    h2_peer_body(origin, 1, "half", 4, false);
    talk_run();
    h2_reset(origin->h2, 1, H2_ENHANCE_YOUR_CALM);
    talk_expect(client, "1 body half\n1 closed enhance_your_calm\n");
    closed_as("relay_error", "origin_reset:enhance_your_calm");
    talk_end();
}

/* It ends its side and wants to hear no more, as servers do whose handler has returned. */
static void the_origin_ends_and_resets(void **state)
{
    (void)state;
    opened();
    h2_peer_body(origin, 1, "bye", 3, true);
    h2_reset(origin->h2, 1, H2_NO_ERROR);
    talk_expect(client, "1 body bye\n1 end\n");
    closed_as("relay_eof", "");
    talk_end();
}

static void the_origin_is_lost(void **state)
{
    (void)state;
    opened();
    rig_hang_up(d, SIDE_ORIGIN, 0);
    talk_expect(client, "1 closed cancel\n");
    closed_as("relay_error", "origin_truncated");
    talk_end();
}

static void the_client_leaves(void **state)
{
    (void)state;
    opened();
    rig_hang_up(d, SIDE_CLIENT, 0);
    assert_true(d->closed);
    assert_int_equal(rig_count(d, "stream_closed"), 2);
    assert_int_equal(d->counters.closed[CLOSE_CLIENT_ABORTED], 2);
    talk_end();
}

/* ---- windows ---- */

static char bulk[1 << 22];

static void a_slow_client(void **state)
{
    size_t taken = 0;
    (void)state;
    opened();
    memset(bulk, 'x', sizeof bulk);
    client->holds = true;
    for (size_t before = SIZE_MAX; taken < sizeof bulk && before != taken;) {
        before = taken;
        taken += h2_peer_body(origin, 1, bulk + taken, sizeof bulk - taken, false);
        talk_run();
    }
    assert_int_equal(client->body_bytes, 1 << 20);
    assert_in_range(taken, 2 << 20, 3 << 20);
    h2_peer_body(client, 1, "the other way is open", 21, false);
    talk_expect(origin, "1 body the other way is open\n");
    for (size_t before = SIZE_MAX; before != client->body_bytes || taken < sizeof bulk;) {
        before = client->body_bytes;
        client->last_body = 1;
        h2_peer_consume(client);
        talk_run();
        taken += h2_peer_body(origin, 1, bulk + taken, sizeof bulk - taken, false);
        talk_run();
    }
    assert_int_equal(client->body_bytes, sizeof bulk);
    talk_end();
}

/* ---- an origin of HTTP/1 ---- */

static const char *told_of(unsigned kin)
{
    struct buffer *got = &d->kin[kin].origin.got;
    buffer_append(got, "", 1);
    return (const char *)buffer_data(got);
}

static void answers(unsigned kin, const char *text)
{
    buffer_append(&d->kin[kin].origin.inbox, text, strlen(text));
    talk_run();
}

/* A proxy's listener without TLS: each stream has an origin of its own, of HTTP/1. Returns the key that it was sent. */
static const char *h1_asked(void)
{
    static char key[25];
    talk_begin();
    driver_accept(d);
    talk_speak();
    h2_peer_connect(client, "websocket", "/ws?q", "a.test:81", "sec-websocket-version: 13\nsec-websocket-key: mine\ncookie: a=1\n");
    talk_run();
    assert_true(driver_kin_dialed(d, 0));
    talk_run();
    const char *head = told_of(0), *at = strstr(head, "sec-websocket-key: ");
    assert_non_null(at);
    snprintf(key, sizeof key, "%s", at + 19);
    char wanted[400];
    snprintf(wanted, sizeof wanted, "GET /ws?q HTTP/1.1\r\nHost: a.test:81\r\nsec-websocket-version: 13\r\ncookie: a=1\r\nsec-websocket-key: %s\r\n"
             "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", key);
    assert_string_equal(head, wanted);
    buffer_clear(&d->kin[0].origin.got);
    return key;
}

static void answer_101(const char *accept)
{
    char text[300];
    snprintf(text, sizeof text, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: %s\r\n"
             "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\nfirst", accept);
    answers(0, text);
}

static void h1_opened(void)
{
    char accept[WEBSOCKET_ACCEPT_SIZE];
    websocket_accept(soth_span(h1_asked()), accept);
    answer_101(accept);
    talk_expect(client, "1 head 200 sec-websocket-extensions=permessage-deflate\n1 body first\n");
}

static void h2_to_h1(void **state)
{
    (void)state;
    h1_opened();
    h2_peer_body(client, 1, "hello", 5, false);
    talk_run();
    assert_string_equal(told_of(0), "hello");
    buffer_clear(&d->kin[0].origin.got);
    h2_peer_body(client, 1, "end", 3, true);
    talk_run();
    assert_string_equal(told_of(0), "end");
    assert_true(d->kin[0].origin.shut);
    answers(0, "last");
    d->kin[0].origin.ends = true;
    talk_expect(client, "1 body last\n1 end\n");
    assert_string_equal(rig_attr(d, "stream_closed", "reason_code"), "relay_eof");
    talk_end();
}

static void the_wrong_accept(void **state)
{
    (void)state;
    h1_asked();
    answer_101("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_non_null(strstr(h2_peer_log(client), "1 head 502 "));
    assert_string_equal(rig_attr(d, "stream_closed", "reason_code"), "mitm_http_error");
    talk_end();
}

/* 2xx says to an extended CONNECT that the WebSocket is open; an origin of HTTP/1 says so by 101 alone. */
static void a_page_instead_of_it(void **state)
{
    (void)state;
    h1_asked();
    answers(0, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok!");
    const char *log = h2_peer_log(client);
    assert_non_null(strstr(log, "1 head 502 "));
    assert_null(strstr(log, "ok!"));
    assert_string_equal(rig_attr(d, "stream_closed", "reason_code"), "mitm_http_error");
    assert_string_equal(rig_attr(d, "stream_closed", "reason_detail"), "websocket_not_switched");
    talk_end();
}

static void refused_by_h1(void **state)
{
    (void)state;
    h1_asked();
    answers(0, "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno");
    talk_expect(client, "1 head 426 content-length=2\n1 body no\n1 end\n");
    assert_string_equal(rig_attr(d, "stream_closed", "reason_code"), "mitm_http_completed");
    talk_end();
}

static void h1_breaks(void **state)
{
    (void)state;
    h1_opened();
    d->kin[0].origin.ends = true;
    d->kin[0].origin.error = 104;
    talk_expect(client, "1 closed cancel\n");
    assert_string_equal(rig_attr(d, "stream_closed", "reason_code"), "relay_error");
    assert_string_equal(rig_attr(d, "stream_closed", "reason_detail"), "ECONNRESET");
    talk_end();
}

/* Its settings have come and do not say that it takes extended CONNECT: another connection, over which it is asked in HTTP/1. */
static void an_h2_origin_without_it(void **state)
{
    (void)state;
    assert_int_equal(asked(""), 1);
    talk_answered(0);
    talk_expect(origin, "");
    assert_true(driver_kin_dialed(d, 0));
    talk_run();
    assert_non_null(strstr(told_of(0), "GET /ws HTTP/1.1\r\nHost: a.test\r\n"));
    h2_peer_ask(client, "GET", "/", "a.test", "", true); /* a sibling shares what there is */
    talk_expect(origin, "1 head GET / a.test\n1 end\n");
    talk_end();
}

/* ---- a client of HTTP/1 ---- */

static void h1_client(void)
{
    talk_client_of_http1();
    rig_dialed(d);
    buffer_clear(&d->end[SIDE_CLIENT].got);
    rig_say(d, SIDE_CLIENT, UPGRADE);
    assert_int_equal(d->dials, 1);
}

static void h1_to_h2(void **state)
{
    (void)state;
    h1_client();
    h2_peer_init_connecting(origin, d, -1);
    talk_expect(origin, "1 head CONNECT /ws a.test :protocol=websocket sec-websocket-version=13\n");
    rig_expect_sent(d, SIDE_CLIENT, "");
    h2_peer_respond(origin, 1, 200, "sec-websocket-protocol: chat\n", false);
    h2_peer_body(origin, 1, "first", 5, false);
    talk_run();
    rig_expect_sent(d, SIDE_CLIENT, "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-protocol: chat\r\n"
                                     "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst");
    rig_say(d, SIDE_CLIENT, "hello");
    talk_expect(origin, "1 body hello\n");
    h2_peer_body(origin, 1, "bye", 3, true);
    talk_run();
    rig_expect_sent(d, SIDE_CLIENT, "bye");
    assert_true(d->end[SIDE_CLIENT].shut);
    driver_close_notify(d, SIDE_CLIENT);
    rig_hang_up(d, SIDE_CLIENT, 0);
    talk_expect(origin, "1 end\n");
    rig_expect_closed(d, "relay_eof", NULL);
    talk_end();
}

static void h1_to_h2_that_refuses(void **state)
{
    (void)state;
    h1_client();
    h2_peer_init_connecting(origin, d, -1);
    talk_run();
    h2_peer_log(origin);
    h2_peer_respond(origin, 1, 404, "", true);
    talk_run();
    rig_expect_sent(d, SIDE_CLIENT, "HTTP/1.1 404 \r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    talk_expect(origin, "1 closed cancel\n");
    rig_say(d, SIDE_CLIENT, GET); /* the connection goes on */
    talk_expect(origin, "3 head GET / a.test\n3 end\n");
    talk_end();
}

static void h1_to_h2_without_it(void **state)
{
    (void)state;
    h1_client();
    h2_peer_init(origin, d, SIDE_ORIGIN, -1, 0);
    h2_peer_turn(origin);
    rig_run(d);
    driver_origin_tls(d, "a.test", "http/1.1");
    rig_dialed(d);
    rig_expect_sent(d, SIDE_ORIGIN, "GET /ws HTTP/1.1\r\nHost: a.test\r\nSec-WebSocket-Version: 13\r\n"
                                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    talk_end();
}

static void h1_to_h2_that_says_nothing(void **state)
{
    (void)state;
    h1_client();
    assert_true(driver_deadline(d));
    rig_expect_reply(d, 504, "connection_timeout", "ETIMEDOUT");
    talk_end();
}

static void h1_to_h2_that_leaves(void **state)
{
    (void)state;
    h1_client();
    rig_hang_up(d, SIDE_ORIGIN, 0);
    rig_expect_reply(d, 502, "connection_terminated", "origin_eof");
    talk_end();
}

static void h1_to_h2_that_resets(void **state)
{
    (void)state;
    h1_client();
    h2_peer_init_connecting(origin, d, -1);
    talk_run();
    h2_peer_respond(origin, 1, 200, "", false);
    talk_run();
    h2_reset(origin->h2, 1, H2_CANCEL);
    talk_run();
    rig_expect_closed(d, "relay_error", "origin_reset:cancel");
    assert_true(d->aborted);
    talk_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(h2_to_h2),
        cmocka_unit_test(said_early),
        cmocka_unit_test(a_refusal),
        cmocka_unit_test(the_policy_sees_a_request),
        cmocka_unit_test(a_policy_that_thinks),
        cmocka_unit_test(other_protocols),
        cmocka_unit_test(the_client_resets),
        cmocka_unit_test(the_origin_resets),
        cmocka_unit_test(the_origin_ends_and_resets),
        cmocka_unit_test(the_origin_is_lost),
        cmocka_unit_test(the_client_leaves),
        cmocka_unit_test(a_slow_client),
        cmocka_unit_test(h2_to_h1),
        cmocka_unit_test(the_wrong_accept),
        cmocka_unit_test(a_page_instead_of_it),
        cmocka_unit_test(refused_by_h1),
        cmocka_unit_test(h1_breaks),
        cmocka_unit_test(an_h2_origin_without_it),
        cmocka_unit_test(h1_to_h2),
        cmocka_unit_test(h1_to_h2_that_refuses),
        cmocka_unit_test(h1_to_h2_without_it),
        cmocka_unit_test(h1_to_h2_that_says_nothing),
        cmocka_unit_test(h1_to_h2_that_leaves),
        cmocka_unit_test(h1_to_h2_that_resets),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
