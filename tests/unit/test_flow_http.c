/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Exchanges: bodies in every framing and how their ends are told, origins that end too early or speak unasked, early and interim responses,
 * upgrades, stale origin connections, clients that leave. Whose a request is: test_flow_proxy.c.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "flow_rig.h"

#define POST_A "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\n"

static void expect_reset_body(struct driver *d, const char *code, const char *detail)
{
    rig_expect_closed(d, code, detail);
    assert_true(d->aborted);
    rig_fini(d);
}

/* ---- bodies ---- */

static void framings_are_kept(void **state)
{
    static const char chunked[] = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n";
    struct driver d;
    (void)state;
    rig_asked(&d, POST_A "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n");
    rig_expect_sent(&d, SIDE_ORIGIN, "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
                                     "3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n");
    char response[256];
    snprintf(response, sizeof response, "HTTP/1.1 200 OK\r\n%s", chunked);
    rig_say(&d, SIDE_ORIGIN, response);
    rig_expect_sent(&d, SIDE_CLIENT, response);
    rig_expect_open(&d);
    assert_int_equal(rig_count(&d, "request_trailers") + rig_count(&d, "response_trailers"), 2);
    rig_fini(&d);
}

/* Who captures bodies hears with the end of a message, or with its last byte where that is known, that there is no more: once, in front of trailers. */
static void ends_are_told(uint64_t bytes)
{
    struct driver d;
    rig_start(&d);
    driver_capture(&d, bytes);
    rig_say(&d, SIDE_CLIENT, POST_A "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    rig_dialed(&d);
    assert_string_equal(rig_attr(&d, "request_body_chunk", "last"), "");
    rig_say(&d, SIDE_CLIENT, "0\r\nX-T: 1\r\n\r\n");
    assert_string_equal(rig_attr(&d, "request_body_chunk", "last"), bytes ? "1" : "");
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
    assert_string_equal(rig_attr(&d, "response_body_chunk", "last"), "");
    rig_say(&d, SIDE_ORIGIN, "0\r\n\r\n");
    assert_string_equal(rig_attr(&d, "response_body_chunk", "last"), bytes ? "1" : "");
    assert_int_equal(rig_count(&d, "response_body_chunk"), bytes ? 2 : 1);
    rig_say(&d, SIDE_CLIENT, POST_A "Content-Length: 4\r\n\r\nab");
    assert_string_equal(rig_attr(&d, "request_body_chunk", "last"), "");
    rig_say(&d, SIDE_CLIENT, "cd");
    assert_string_equal(rig_attr(&d, "request_body_chunk", "last"), bytes ? "1" : "");
    rig_say(&d, SIDE_ORIGIN, OK_2);
    rig_say(&d, SIDE_CLIENT, GET_A);
    assert_int_equal(rig_count(&d, "request_body_chunk"), bytes ? 4 : 3); /* nothing of nothing, and none twice */
    assert_int_equal(rig_count(&d, "response_body_chunk"), bytes ? 3 : 2);
    assert_string_equal(rig_attr(&d, "response_body_chunk", "last"), bytes ? "1" : "");
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\n\r\nuntil the close");
    assert_string_equal(rig_attr(&d, "response_body_chunk", "last"), "");
    rig_hang_up(&d, SIDE_ORIGIN, 0);
    assert_string_equal(rig_attr(&d, "response_body_chunk", "last"), bytes ? "1" : "");
    rig_fini(&d);
}

static void the_end_of_a_body_is_told(void **state)
{
    (void)state;
    ends_are_told(BUS_PAYLOAD_FULL);
    ends_are_told(1);
    ends_are_told(0);
}

static void a_body_that_breaks_off_has_no_last_piece(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, GET_A);
    driver_capture(&d, BUS_PAYLOAD_FULL);
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
    rig_hang_up(&d, SIDE_ORIGIN, 0);
    assert_int_equal(rig_count(&d, "response_body_chunk"), 1);
    assert_string_equal(rig_attr(&d, "response_body_chunk", "last"), "");
    rig_fini(&d);
}

/* Names in an event are as many as have room; the trailers themselves all go on. */
static void many_trailers(void **state)
{
    char message[2048];
    size_t n = (size_t)snprintf(message, sizeof message, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n");
    struct driver d;
    (void)state;
    for (int i = 0; i < 20; i++)
        n += (size_t)snprintf(message + n, sizeof message - n, "X-%030d: 1\r\n", i);
    snprintf(message + n, sizeof message - n, "\r\n");
    rig_asked(&d, GET_A);
    rig_say(&d, SIDE_ORIGIN, message);
    rig_expect_sent(&d, SIDE_CLIENT, message);
    assert_string_equal(rig_attr(&d, "response_trailers", "trailer_count"), "20");
    const char *names = rig_attr(&d, "response_trailers", "names");
    assert_memory_equal(names, "x-000000000000000000000000000000,x-000000000000000000000000000001,", 66);
    assert_int_equal(strlen(names), 15 * 33 - 1);
    rig_fini(&d);
}

static void an_old_client_gets_no_chunks(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, "GET http://a.test/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    rig_expect_sent(&d, SIDE_CLIENT, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc");
    rig_expect_closed(&d, "mitm_http_completed", NULL);
    assert_false(d.aborted);
    rig_fini(&d);
}

static void a_body_until_the_close(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, GET_A);
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\n\r\nall");
    rig_say(&d, SIDE_ORIGIN, " of it");
    rig_hang_up(&d, SIDE_ORIGIN, 0);
    rig_expect_sent(&d, SIDE_CLIENT, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it");
    rig_expect_closed(&d, "mitm_http_completed", NULL);
    assert_false(d.aborted);
    rig_fini(&d);
}

/* ---- origins that end too early ---- */

static void no_response(void **state)
{
    static const char *const said[] = {"", "HTTP/1.1 200 O", "HTTP/1.1 100 Continue\r\n\r\n"};
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct driver d;
        rig_asked(&d, GET_A);
        rig_say(&d, SIDE_ORIGIN, said[i / 2]);
        rig_take(&d, SIDE_CLIENT);
        rig_hang_up(&d, SIDE_ORIGIN, i % 2 ? ECONNRESET : 0);
        rig_expect_reply(&d, 502, "connection_terminated", "origin_eof");
        rig_expect_closed(&d, "mitm_http_error", "origin_eof");
        rig_fini(&d);
    }
}

static void half_a_response(void **state)
{
    static const struct {
        const char *head;
        int error;
        bool reset;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal", 0, false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhal", 0, false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhal\r\n", 0, false},
        {"HTTP/1.1 200 OK\r\n\r\nhal", ECONNRESET, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        rig_asked(&d, GET_A);
        rig_say(&d, SIDE_ORIGIN, cases[i].head);
        rig_hang_up(&d, SIDE_ORIGIN, cases[i].error);
        rig_expect_closed(&d, "mitm_http_error", "origin_truncated");
        assert_int_equal(d.aborted, cases[i].reset);
        rig_fini(&d);
    }
}

static void half_of_chunks_for_an_old_client(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, "GET http://a.test/ HTTP/1.0\r\n\r\n");
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    rig_hang_up(&d, SIDE_ORIGIN, 0);
    expect_reset_body(&d, "mitm_http_error", "origin_truncated");
}

static void a_response_that_is_none(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, GET_A);
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n");
    rig_expect_reply(&d, 502, "http_protocol_error", "content_length");
    rig_expect_closed(&d, "mitm_http_error", "content_length");
    rig_fini(&d);
    rig_asked(&d, GET_A);
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n");
    rig_expect_sent(&d, SIDE_CLIENT, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_code"), "mitm_http_error");
    rig_fini(&d);
}

/* A body that an origin's close ends needs that close to be told by TLS too (RFC 9112 9.8). */
static void a_body_that_tls_does_not_end(void **state)
{
    (void)state;
    for (int notify = 0; notify <= 1; notify++) {
        struct driver d;
        uint8_t byte;
        rig_start(&d);
        rig_intercepted(&d, "a.test");
        rig_say(&d, SIDE_CLIENT, GET);
        rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\n\r\nbody");
        if (notify)
            driver_close_notify(&d, SIDE_ORIGIN);
        rig_hang_up(&d, SIDE_ORIGIN, 0);
        rig_expect_sent(&d, SIDE_CLIENT, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody");
        rig_expect_closed(&d, notify ? "mitm_http_completed" : "mitm_http_error", notify ? NULL : "origin_truncated");
        assert_int_equal(session_read(d.end[SIDE_CLIENT].tls, &byte, 1), notify ? 0 : -SOTH_EAGAIN);
        rig_fini(&d);
    }
}

/* ---- what an origin says when it is not asked ---- */

static void an_origin_speaks_unasked(void **state)
{
    struct driver d;
    (void)state;
    rig_exchanged(&d);
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    rig_expect_sent(&d, SIDE_CLIENT, "");
    assert_int_equal(d.origin_closes, 1);
    rig_say(&d, SIDE_CLIENT, GET_A);
    rig_dialed(&d);
    rig_expect_sent(&d, SIDE_ORIGIN, GET);
    rig_fini(&d);
}

static void what_follows_a_response_answers_no_other_request(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, GET_A GET_A);
    rig_say(&d, SIDE_ORIGIN, OK_2 "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    rig_expect_sent(&d, SIDE_CLIENT, OK_2);
    rig_dialed(&d); /* the second request has a connection of its own */
    rig_expect_sent(&d, SIDE_ORIGIN, GET);
    rig_fini(&d);
}

static void an_origin_closes_behind_its_response(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, GET_A);
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
    rig_expect_sent(&d, SIDE_CLIENT, OK_2); /* its connection is not the client's */
    rig_expect_open(&d);
    assert_int_equal(d.origin_closes, 1);
    rig_fini(&d);
}

/* ---- early, interim, upgrade ---- */

static void an_early_response(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, POST_A "Content-Length: 100\r\n\r\npart");
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
    rig_expect_sent(&d, SIDE_CLIENT, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    rig_expect_closed(&d, "mitm_http_completed", NULL);
    assert_true(d.lingers); /* what the client still sends must not destroy the answer */
    rig_fini(&d);
}

static void a_response_that_overtakes_its_request(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, POST_A "Content-Length: 4\r\n\r\nab");
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    rig_say(&d, SIDE_CLIENT, "cd");
    rig_expect_open(&d);
    rig_say(&d, SIDE_ORIGIN, "cd");
    rig_expect_sent(&d, SIDE_ORIGIN, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nabcd");
    assert_string_equal(rig_attr(&d, "response_body_chunk", "offset"), "2");
    rig_fini(&d);
}

/* What is wrong with the rest of the request cannot be told any more: half of the answer is out. */
static void a_bad_chunk_under_an_early_response(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, POST_A "Transfer-Encoding: chunked\r\n\r\n");
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\n\r\nhal");
    rig_take(&d, SIDE_CLIENT);
    rig_say(&d, SIDE_CLIENT, "zz\r\n");
    rig_expect_sent(&d, SIDE_CLIENT, "");
    expect_reset_body(&d, "mitm_http_error", "chunk_size");
}

static void interim_responses(void **state)
{
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    struct driver d;
    (void)state;
    rig_asked(&d, POST_A "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    rig_say(&d, SIDE_ORIGIN, interim);
    rig_expect_sent(&d, SIDE_CLIENT, interim);
    rig_say(&d, SIDE_CLIENT, "ab");
    rig_say(&d, SIDE_ORIGIN, OK_2);
    rig_expect_sent(&d, SIDE_CLIENT, OK_2);
    rig_expect_open(&d);
    assert_int_equal(rig_count(&d, "response_headers"), 3);
    rig_fini(&d);
}

static void an_old_client_gets_none(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, "GET http://a.test/ HTTP/1.0\r\n\r\n");
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 103 Early Hints\r\n\r\n");
    rig_expect_sent(&d, SIDE_CLIENT, "");
    assert_string_equal(rig_attr(&d, "response_headers", "interim"), "1");
    rig_fini(&d);
}

#define UPGRADE "Connection: Upgrade\r\nUpgrade: x\r\n\r\n"
#define SWITCHING "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"

static void an_upgrade(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n" UPGRADE "early");
    rig_expect_sent(&d, SIDE_ORIGIN, "GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n");
    rig_say(&d, SIDE_ORIGIN, SWITCHING "hello");
    rig_expect_sent(&d, SIDE_CLIENT, SWITCHING "hello");
    rig_expect_sent(&d, SIDE_ORIGIN, "early");
    rig_say(&d, SIDE_CLIENT, "GET / HTTP/1.1\r\n\r\n");
    rig_expect_sent(&d, SIDE_ORIGIN, "GET / HTTP/1.1\r\n\r\n");
    rig_hang_up(&d, SIDE_ORIGIN, 0);
    assert_true(d.end[SIDE_CLIENT].shut);
    rig_say(&d, SIDE_CLIENT, "more");
    rig_expect_sent(&d, SIDE_ORIGIN, "more");
    rig_hang_up(&d, SIDE_CLIENT, 0);
    rig_expect_closed(&d, "relay_eof", NULL);
    rig_fini(&d);
}

static void an_upgrade_inside_tls(void **state)
{
    (void)state;
    for (int notify = 0; notify <= 1; notify++) {
        struct driver d;
        uint8_t byte;
        rig_start(&d);
        rig_intercepted(&d, "a.test");
        rig_say(&d, SIDE_CLIENT, "GET / HTTP/1.1\r\nHost: a.test\r\n" UPGRADE);
        rig_say(&d, SIDE_ORIGIN, SWITCHING "hello");
        rig_expect_sent(&d, SIDE_CLIENT, SWITCHING "hello");
        rig_take(&d, SIDE_ORIGIN);
        if (notify)
            driver_close_notify(&d, SIDE_ORIGIN);
        rig_hang_up(&d, SIDE_ORIGIN, 0);
        assert_true(d.end[SIDE_CLIENT].shut);
        rig_say(&d, SIDE_CLIENT, "more");
        rig_expect_sent(&d, SIDE_ORIGIN, "more");
        /* an end that its TLS did not tell is handed on untold */
        assert_int_equal(session_read(d.end[SIDE_CLIENT].tls, &byte, 1), notify ? 0 : -SOTH_EAGAIN);
        rig_hang_up(&d, SIDE_CLIENT, 0);
        rig_expect_closed(&d, "relay_eof", NULL);
        rig_fini(&d);
    }
}

static void an_upgrade_nobody_asked_for(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, GET_A);
    rig_say(&d, SIDE_ORIGIN, SWITCHING);
    rig_expect_reply(&d, 502, "http_protocol_error", "unrequested_upgrade");
    rig_expect_closed(&d, "mitm_http_error", "unrequested_upgrade");
    rig_fini(&d);
}

/* ---- stale origin connections ---- */

static void a_stale_connection_is_replaced(void **state)
{
    static const int errors[] = {0, ECONNRESET, EPIPE};
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct driver d;
        rig_exchanged(&d);
        rig_say(&d, SIDE_CLIENT, GET_A);
        rig_expect_sent(&d, SIDE_ORIGIN, GET);
        rig_hang_up(&d, SIDE_ORIGIN, errors[i]);
        rig_dialed(&d);
        rig_expect_sent(&d, SIDE_ORIGIN, GET);
        assert_int_equal(d.counters.origin_retries, 1);
        rig_hang_up(&d, SIDE_ORIGIN, 0); /* once */
        rig_expect_reply(&d, 502, "connection_terminated", "origin_eof");
        rig_expect_closed(&d, "mitm_http_error", "origin_eof");
        rig_fini(&d);
    }
}

static void a_request_that_may_have_worked_is_not_repeated(void **state)
{
    struct driver d;
    (void)state;
    rig_exchanged(&d);
    rig_say(&d, SIDE_CLIENT, POST_A "Content-Length: 1\r\n\r\nx");
    rig_hang_up(&d, SIDE_ORIGIN, 0);
    rig_expect_reply(&d, 502, "connection_terminated", "origin_eof");
    assert_int_equal(d.counters.origin_retries, 0);
    rig_fini(&d);
}

static void nor_one_that_was_answered_in_part(void **state)
{
    struct driver d;
    (void)state;
    rig_exchanged(&d);
    rig_say(&d, SIDE_CLIENT, GET_A);
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    rig_hang_up(&d, SIDE_ORIGIN, 0);
    rig_expect_closed(&d, "mitm_http_error", "origin_truncated");
    rig_fini(&d);
}

/* ---- clients that leave ---- */

static void a_client_leaves(void **state)
{
    static const struct {
        const char *said, *answered, *phase;
        int error;
        bool dialed;
    } cases[] = {
        {"GET http://a.test/ HT", NULL, "request_head", 0, false},
        {POST_A "Content-Length: 9\r\n\r\nabc", NULL, "request_body", 0, true},
        {POST_A "Content-Length: 9\r\n\r\nabc", NULL, "dial", 0, false},
        {GET_A, NULL, "response_head", ECONNRESET, true},
        {GET_A, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", "response_body", ECONNRESET, true},
        {GET_A, OK_2, "idle", ECONNRESET, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        rig_start(&d);
        rig_say(&d, SIDE_CLIENT, cases[i].said);
        if (cases[i].dialed)
            rig_dialed(&d);
        if (cases[i].answered)
            rig_say(&d, SIDE_ORIGIN, cases[i].answered);
        driver_break(&d, SIDE_CLIENT, cases[i].error);
        rig_expect_closed(&d, "client_aborted", cases[i].phase);
        rig_fini(&d);
    }
}

static void two_requests_and_the_end(void **state)
{
    (void)state;
    for (int tls = 0; tls <= 1; tls++) {
        struct driver d;
        if (tls) {
            rig_start(&d);
            rig_intercepted(&d, "a.test");
            driver_say(&d, SIDE_CLIENT, GET GET, 2 * (sizeof GET - 1));
            driver_close_notify(&d, SIDE_CLIENT); /* in the same read */
            rig_run(&d);
        } else {
            rig_start(&d);
            driver_say(&d, SIDE_CLIENT, GET_A GET_A, 2 * (sizeof GET_A - 1));
            rig_hang_up(&d, SIDE_CLIENT, 0);
            rig_dialed(&d);
        }
        rig_say(&d, SIDE_ORIGIN, OK_2);
        rig_say(&d, SIDE_ORIGIN, OK_2);
        rig_expect_sent(&d, SIDE_CLIENT, OK_2 OK_2);
        rig_expect_closed(&d, "mitm_http_completed", NULL);
        rig_fini(&d);
    }
}

/* What came with the end is no request: known when the exchange before it is over. */
static void a_request_and_something_and_the_end(void **state)
{
    static const struct {
        const char *rest, *code, *detail;
    } cases[] = {{"", "mitm_http_completed", NULL}, {"\r\n", "mitm_http_completed", NULL}, {"GE", "client_aborted", "request_head"}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct driver d;
        rig_start(&d);
        rig_intercepted(&d, "a.test");
        driver_say(&d, SIDE_CLIENT, GET, sizeof GET - 1);
        driver_say(&d, SIDE_CLIENT, cases[i].rest, strlen(cases[i].rest));
        driver_close_notify(&d, SIDE_CLIENT);
        rig_run(&d);
        rig_say(&d, SIDE_ORIGIN, OK_2);
        rig_expect_sent(&d, SIDE_CLIENT, OK_2);
        rig_expect_closed(&d, cases[i].code, cases[i].detail);
        rig_fini(&d);
    }
}

/* ---- events say nothing where there is nothing ---- */

static void empty_values_are_absent(void **state)
{
    struct driver d;
    (void)state;
    rig_reverse(&d);
    rig_say(&d, SIDE_CLIENT, "GET / HTTP/1.1\r\nHost: a.test\r\nContent-Type:\r\n\r\n"); /* the driver looks at every attribute */
    rig_dialed(&d);
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\nContent-Type:\r\nContent-Encoding:\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(rig_count(&d, "response_headers"), 1);
    rig_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(framings_are_kept),
        cmocka_unit_test(the_end_of_a_body_is_told),
        cmocka_unit_test(a_body_that_breaks_off_has_no_last_piece),
        cmocka_unit_test(many_trailers),
        cmocka_unit_test(an_old_client_gets_no_chunks),
        cmocka_unit_test(a_body_until_the_close),
        cmocka_unit_test(no_response),
        cmocka_unit_test(half_a_response),
        cmocka_unit_test(half_of_chunks_for_an_old_client),
        cmocka_unit_test(a_response_that_is_none),
        cmocka_unit_test(a_body_that_tls_does_not_end),
        cmocka_unit_test(an_origin_speaks_unasked),
        cmocka_unit_test(what_follows_a_response_answers_no_other_request),
        cmocka_unit_test(an_origin_closes_behind_its_response),
        cmocka_unit_test(an_early_response),
        cmocka_unit_test(a_response_that_overtakes_its_request),
        cmocka_unit_test(a_bad_chunk_under_an_early_response),
        cmocka_unit_test(interim_responses),
        cmocka_unit_test(an_old_client_gets_none),
        cmocka_unit_test(an_upgrade),
        cmocka_unit_test(an_upgrade_inside_tls),
        cmocka_unit_test(an_upgrade_nobody_asked_for),
        cmocka_unit_test(a_stale_connection_is_replaced),
        cmocka_unit_test(a_request_that_may_have_worked_is_not_repeated),
        cmocka_unit_test(nor_one_that_was_answered_in_part),
        cmocka_unit_test(a_client_leaves),
        cmocka_unit_test(two_requests_and_the_end),
        cmocka_unit_test(a_request_and_something_and_the_end),
        cmocka_unit_test(empty_values_are_absent),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
