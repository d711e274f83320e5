/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/sink_console/sink_console.c */
/* One line an exchange, and what a person must see when something was refused or failed. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_host.h"
#include "host/event/bus.h"

extern const struct soth_module soth_mitm_module;

static struct fake_instance console;
static char shown[4096];

static int begin(void **state)
{
    (void)state;
    fake_reset();
    return fake_open(&console, &soth_mitm_module, "color: never\n");
}

static int end(void **state)
{
    (void)state;
    fake_close(&console);
    return 0;
}

/* What the module prints for one event. */
static const char *show(struct soth_event *e)
{
    uint32_t done, retry_ms;
    char name[] = "/tmp/soth-console-XXXXXX";
    int to = mkstemp(name), old = dup(STDOUT_FILENO);
    assert_true(to >= 0 && old >= 0);
    fflush(stdout);
    dup2(to, STDOUT_FILENO);
    int r = fake_write(&console, &e, 1, &done, &retry_ms);
    dup2(old, STDOUT_FILENO);
    close(old);
    ssize_t n = pread(to, shown, sizeof shown - 1, 0);
    close(to);
    unlink(name);
    assert_int_equal(r, SOTH_OK);
    assert_int_equal(done, 1);
    shown[n > 0 ? n : 0] = 0;
    return shown;
}

static const char *request(uint64_t flow, const char *method, const char *target)
{
    return show(FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, flow, ATTR_WORD("method", method), ATTR_WORD("scheme", "https"), ATTR_WORD("target", target), ));
}

static const char *response(uint64_t flow, unsigned status, int64_t length)
{
    struct soth_attr attrs[] = {ATTR_NUMBER("content_length", length), ATTR_WORD("content_type", "text/html; charset=utf-8"),
                                ATTR_NUMBER("status_code", status), {NULL, {NULL, 0}, 0, 0, 0}};
    return show(fake_event(SOTH_EV_RESPONSE_HEADERS, flow, length < 0 ? attrs + 1 : attrs));
}

static const char *body(uint64_t flow, unsigned bytes)
{
    return show(FAKE_EVENT(SOTH_EV_RESPONSE_BODY_CHUNK, flow, ATTR_NUMBER("bytes", bytes), ));
}

static const char *closed(uint64_t flow, const char *code, const char *detail)
{
    return show(FAKE_EVENT(SOTH_EV_STREAM_CLOSED, flow, ATTR_WORD("reason_code", code), ATTR_WORD("reason_detail", detail), ));
}

static void one_line_an_exchange(void **state)
{
    (void)state;
    assert_string_equal(request(1, "GET", "/a/b"), "");
    fake.now_ns += 34000000;
    assert_string_equal(response(1, 200, 1500), "");
    assert_string_equal(body(1, 1000), "");
    assert_string_equal(body(1, 500), "GET https://example.com/a/b -> 200 text/html 1.5k 34ms\n");
    assert_string_equal(closed(1, "mitm_http_completed", ""), "");
}

static void several_on_one_connection(void **state)
{
    (void)state;
    request(1, "GET", "/1");
    assert_string_equal(response(1, 404, 0), "GET https://example.com/1 -> 404 text/html 0B 0ms\n");
    request(1, "POST", "/2");
    request(2, "PUT", "/3");
    assert_string_equal(response(2, 201, 0), "PUT https://example.com/3 -> 201 text/html 0B 0ms\n");
}

static void interim_heads_are_no_answer(void **state)
{
    (void)state;
    request(1, "POST", "/");
    assert_string_equal(show(FAKE_EVENT(SOTH_EV_RESPONSE_HEADERS, 1, ATTR_BOOL("interim", true), ATTR_NUMBER("status_code", 100), )), "");
    assert_string_equal(response(1, 200, 0), "POST https://example.com/ -> 200 text/html 0B 0ms\n");
}

static void answers_without_a_body(void **state)
{
    (void)state;
    request(1, "HEAD", "/");
    assert_string_equal(response(1, 200, 5000), "HEAD https://example.com/ -> 200 text/html 0B 0ms\n");
    request(1, "GET", "/");
    assert_string_equal(response(1, 304, 5000), "GET https://example.com/ -> 304 text/html 0B 0ms\n");
    request(1, "GET", "/");
    assert_string_equal(response(1, 204, -1), "GET https://example.com/ -> 204 text/html 0B 0ms\n");
    request(1, "GET", "/");
    assert_string_equal(response(1, 200, -1), "GET https://example.com/ -> 200 text/html stream 0ms\n");
    assert_string_equal(body(1, 100), "");
}

static void what_is_blocked_says_why(void **state)
{
    (void)state;
    struct soth_event *e = FAKE_EVENT(SOTH_EV_CONNECT_DECISION, 1, ATTR_WORD("action", "block"), ATTR_WORD("reason", "blocked_host"), );
    e->protocol = SOTH_PROTO_TUNNEL;
    assert_string_equal(show(e), "BLOCKED https://example.com: blocked_host\n");
    assert_string_equal(closed(1, "blocked", "blocked_host"), "");
    request(2, "DELETE", "/x");
    assert_string_equal(show(FAKE_EVENT(SOTH_EV_REQUEST_DECISION, 2, ATTR_WORD("action", "block"), ATTR_WORD("reason", "rule"),
                                        ATTR_WORD("rule_id", "no-delete"), )), "BLOCKED https://example.com/x: rule no-delete\n");
    assert_string_equal(closed(2, "mitm_http_completed", ""), "");
}

static void what_is_allowed_is_an_exchange(void **state)
{
    (void)state;
    request(1, "GET", "/x");
    assert_string_equal(show(FAKE_EVENT(SOTH_EV_REQUEST_DECISION, 1, ATTR_WORD("action", "allow"), ATTR_WORD("reason", "rule"),
                                        ATTR_WORD("rule_id", "public"), )), "");
    response(1, 200, 10);
    assert_string_equal(body(1, 10), "GET https://example.com/x -> 200 text/html 10B 0ms\n");
}

static void what_failed_says_why(void **state)
{
    (void)state;
    assert_string_equal(closed(1, "upstream_connect_failed", "ECONNREFUSED"), "FAILED https://example.com: upstream_connect_failed ECONNREFUSED\n");
    assert_string_equal(show(FAKE_EVENT(SOTH_EV_TLS_HANDSHAKE_FAILED, 2, ATTR_WORD("detail", "unknown_ca"), ATTR_WORD("peer", "downstream"),
                                        ATTR_WORD("tls_failure_reason", "unknown_ca"), )),
                        "TLS FAILED https://example.com: client unknown_ca: unknown_ca\n");
    assert_string_equal(show(FAKE_EVENT(SOTH_EV_CONNECT_PARSE_FAILED, 3, )), "BAD REQUEST from 127.0.0.1:4711\n");
    request(4, "GET", "/");
    assert_non_null(strstr(closed(4, "mitm_http_error", "origin_eof"), "no response"));
    assert_non_null(strstr(shown, "FAILED https://example.com/: mitm_http_error origin_eof\n"));
}

static void names_and_ports(void **state)
{
    (void)state;
    struct soth_event *e = FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, 1, ATTR_WORD("method", "GET"), ATTR_WORD("scheme", "http"), ATTR_WORD("target", "/"), );
    e->server_host = soth_span("2001:db8::1");
    e->server_port = 8080;
    show(e);
    assert_string_equal(response(1, 200, 0), "GET http://[2001:db8::1]:8080/ -> 200 text/html 0B 0ms\n");
}

/* The target is a peer's text: nothing of it reaches a terminal as a command. */
static void no_control_characters(void **state)
{
    (void)state;
    request(1, "GET", "/\033[31m\a\r\n\x9b" "31m\xc2\x9b" "2J\xc3\x9f\x7f");
    assert_string_equal(response(1, 200, 0), "GET https://example.com/?[31m????31m\xc2?2J\xc3\x9f? -> 200 text/html 0B 0ms\n");
}

static void errors_only(void **state)
{
    (void)state;
    fake_close(&console);
    assert_int_equal(fake_open(&console, &soth_mitm_module, "{color: never, flow: errors}"), SOTH_OK);
    request(1, "GET", "/good");
    assert_string_equal(response(1, 200, 0), "");
    request(1, "GET", "/bad");
    assert_string_equal(response(1, 500, 0), "GET https://example.com/bad -> 500 text/html 0B 0ms\n");
    assert_string_equal(show(FAKE_EVENT(SOTH_EV_CONNECT_DECISION, 2, ATTR_WORD("action", "tunnel"), ATTR_WORD("reason", "ignored_host"), )), "");
}

static void color_on_request(void **state)
{
    (void)state;
    fake_close(&console);
    assert_int_equal(fake_open(&console, &soth_mitm_module, "color: always"), SOTH_OK);
    request(1, "GET", "/");
    assert_non_null(strstr(response(1, 503, 0), "\033[31m503\033[0m"));
}

/* More flows than there is room for: the oldest are forgotten, nothing else happens. */
static void memory_is_bounded(void **state)
{
    (void)state;
    for (uint64_t flow = 1; flow <= 20; flow++)
        request(flow * 8192, "GET", "/");
    assert_string_equal(response(8192, 200, 0), "");
    assert_string_equal(response(20 * 8192, 200, 0), "GET https://example.com/ -> 200 text/html 0B 0ms\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_line_an_exchange),      TEST(several_on_one_connection), TEST(interim_heads_are_no_answer), TEST(answers_without_a_body),
        TEST(what_is_blocked_says_why),  TEST(what_is_allowed_is_an_exchange), TEST(what_failed_says_why),  TEST(names_and_ports),
        TEST(no_control_characters),     TEST(errors_only),               TEST(color_on_request),            TEST(memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
