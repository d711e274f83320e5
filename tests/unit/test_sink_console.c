/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/sink_console/ */
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
#include "modules/sink_console/text.h"

extern const struct soth_module soth_mitm_module;

static struct fake_instance console;
static char shown[4096];
static int verdict;

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

static void use(const char *config)
{
    fake_close(&console);
    assert_int_equal(fake_open(&console, &soth_mitm_module, config), SOTH_OK);
}

/* One write while standard output is this file. */
static void write_to(int fd, struct soth_event *e)
{
    uint32_t done, retry_ms;
    fflush(stdout);
    int old = dup(STDOUT_FILENO);
    assert_true(old >= 0 && dup2(fd, STDOUT_FILENO) >= 0);
    verdict = fake_write(&console, &e, 1, &done, &retry_ms);
    assert_true(dup2(old, STDOUT_FILENO) >= 0);
    close(old);
    assert_int_equal(done, verdict == SOTH_OK ? 1 : 0);
}

/* What the module prints for one event. */
static const char *show(struct soth_event *e)
{
    char name[] = "/tmp/soth-console-XXXXXX";
    int to = mkstemp(name);
    assert_true(to >= 0);
    unlink(name);
    write_to(to, e);
    ssize_t n = pread(to, shown, sizeof shown - 1, 0);
    close(to);
    assert_int_equal(verdict, SOTH_OK);
    shown[n > 0 ? n : 0] = 0;
    return shown;
}

static struct soth_event *request_event(uint64_t flow, const char *method, const char *target)
{
    return FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, flow, ATTR_WORD("method", method), ATTR_WORD("scheme", "https"), ATTR_WORD("target", target), );
}

static const char *request(uint64_t flow, const char *method, const char *target)
{
    return show(request_event(flow, method, target));
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

/* A decision about the connection (before a codec is chosen) or about an absolute-form request. */
static const char *connected(uint64_t flow, unsigned protocol, const char *action, const char *reason, const char *rule_id)
{
    struct soth_attr attrs[] = {ATTR_WORD("action", action), ATTR_WORD("reason", reason), ATTR_WORD("rule_id", rule_id), {NULL, {NULL, 0}, 0, 0, 0}};
    if (!rule_id)
        attrs[2].name = NULL;
    struct soth_event *e = fake_event(SOTH_EV_CONNECT_DECISION, flow, attrs);
    e->protocol = (uint16_t)protocol;
    return show(e);
}

static const char *judged(uint64_t flow, const char *action, const char *rule_id)
{
    return show(FAKE_EVENT(SOTH_EV_REQUEST_DECISION, flow, ATTR_WORD("action", action), ATTR_WORD("reason", "rule"), ATTR_WORD("rule_id", rule_id), ));
}

static const char *closed(uint64_t flow, const char *code, const char *detail)
{
    struct soth_attr attrs[] = {ATTR_WORD("reason_code", code), ATTR_WORD("reason_detail", detail), {NULL, {NULL, 0}, 0, 0, 0}};
    if (!detail)
        attrs[1].name = NULL;
    return show(fake_event(SOTH_EV_STREAM_CLOSED, flow, attrs));
}

/* ---- exchanges ---- */

static void one_line_an_exchange(void **state)
{
    (void)state;
    assert_string_equal(request(1, "GET", "/a/b"), "");
    fake.now_ns += 34000000;
    assert_string_equal(response(1, 200, 1500), "");
    assert_string_equal(body(1, 1000), "");
    assert_string_equal(body(1, 500), "GET https://example.com/a/b -> 200 text/html 1.5k 34ms\n");
    assert_string_equal(closed(1, "mitm_http_completed", NULL), "");
}

static void several_on_one_connection(void **state)
{
    (void)state;
    request(1, "GET", "/1");
    response(1, 404, 9);
    assert_string_equal(body(1, 9), "GET https://example.com/1 -> 404 text/html 9B 0ms\n");
    request(1, "POST", "/2");
    request(2, "PUT", "/3");
    assert_string_equal(response(2, 201, 0), "PUT https://example.com/3 -> 201 text/html 0B 0ms\n");
    fake.now_ns += 5000000;
    assert_string_equal(response(1, 200, 3), "");
    assert_string_equal(body(1, 3), "POST https://example.com/2 -> 200 text/html 3B 5ms\n");
    request(1, "GET", "/4");
    assert_string_equal(closed(1, "mitm_http_error", "origin_eof"), "GET https://example.com/4 -> no response: mitm_http_error origin_eof\n");
}

/* A sink that did not subscribe to bodies has the next request, or the end, to tell it. */
static void without_bodies(void **state)
{
    (void)state;
    request(1, "GET", "/1");
    response(1, 200, 10);
    assert_string_equal(request(1, "GET", "/2"), "GET https://example.com/1 -> 200 text/html 0B 0ms\n");
    response(1, 200, 10);
    assert_string_equal(closed(1, "mitm_http_completed", NULL), "GET https://example.com/2 -> 200 text/html 0B 0ms\n");
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
    assert_string_equal(show(FAKE_EVENT(SOTH_EV_RESPONSE_HEADERS, 1, ATTR_NUMBER("content_length", 0), ATTR_NUMBER("status_code", 200), )),
                        "GET https://example.com/ -> 200 - 0B 0ms\n");
}

/* It may run for hours: it is told when it begins, and once. */
static void a_stream_of_unknown_length(void **state)
{
    (void)state;
    request(1, "GET", "/");
    assert_string_equal(response(1, 200, -1), "GET https://example.com/ -> 200 text/html stream 0ms\n");
    assert_string_equal(body(1, 100), "");
    assert_string_equal(closed(1, "mitm_http_completed", NULL), "");
    request(2, "GET", "/x");
    response(2, 200, -1);
    assert_string_equal(closed(2, "mitm_http_error", "origin_truncated"), "FAILED https://example.com/x: mitm_http_error origin_truncated\n");
}

static void an_upgraded_connection(void **state)
{
    (void)state;
    request(1, "GET", "/ws");
    assert_string_equal(show(FAKE_EVENT(SOTH_EV_RESPONSE_HEADERS, 1, ATTR_NUMBER("status_code", 101), )),
                        "GET https://example.com/ws -> 101 - stream 0ms\n");
    assert_string_equal(closed(1, "relay_eof", NULL), "");
}

/* ---- refusals ---- */

static void a_connection_that_is_blocked(void **state)
{
    (void)state;
    assert_string_equal(connected(1, SOTH_PROTO_TUNNEL, "block", "blocked_host", NULL), "BLOCKED https://example.com: blocked_host\n");
    assert_string_equal(closed(1, "blocked", "blocked_host"), "");
    assert_string_equal(connected(2, SOTH_PROTO_TUNNEL, "block", "rule", "no-x"), "BLOCKED https://example.com: rule no-x\n");
    assert_string_equal(closed(2, "blocked", "no-x"), "");
    assert_string_equal(connected(3, SOTH_PROTO_TUNNEL, "block", "max_concurrent_flows", NULL), "BLOCKED https://example.com: max_concurrent_flows\n");
    assert_string_equal(closed(3, "budget_exceeded", "max_concurrent_flows"), "");
    assert_string_equal(connected(4, SOTH_PROTO_TUNNEL, "intercept", "default_intercept", NULL), "");
}

/* Blocked by its hello: the client learns it as a 403 inside the TLS, the requests that it sends there get no line. */
static void a_connection_that_is_blocked_late(void **state)
{
    (void)state;
    connected(1, SOTH_PROTO_TUNNEL, "block", "rule", "by-sni");
    assert_string_equal(request(1, "GET", "/"), "");
    assert_string_equal(closed(1, "blocked", "by-sni"), "");
}

static void a_request_that_is_blocked(void **state)
{
    (void)state;
    request(1, "DELETE", "/x");
    assert_string_equal(judged(1, "block", "no-delete"), "BLOCKED https://example.com/x: rule no-delete\n");
    request(1, "GET", "/y"); /* the connection goes on */
    assert_string_equal(response(1, 200, 0), "GET https://example.com/y -> 200 text/html 0B 0ms\n");
    request(1, "DELETE", "/z");
    judged(1, "block", "no-delete");
    assert_string_equal(response(1, 403, 0), "");
    assert_string_equal(closed(1, "blocked", "authority_mismatch"), "");
}

/* An absolute-form request is decided before its head is told. */
static void an_absolute_form_request_that_is_blocked(void **state)
{
    (void)state;
    assert_string_equal(connected(1, SOTH_PROTO_HTTP1, "block", "blocked_host", NULL), "");
    assert_string_equal(request(1, "GET", "/ads"), "BLOCKED https://example.com/ads: blocked_host\n");
    assert_string_equal(connected(1, SOTH_PROTO_HTTP1, "intercept", "default_intercept", NULL), "");
    request(1, "GET", "/good");
    assert_string_equal(response(1, 200, 0), "GET https://example.com/good -> 200 text/html 0B 0ms\n");
    connected(1, SOTH_PROTO_HTTP1, "block", "client_not_allowed", NULL);
    assert_string_equal(request(1, "GET", "/"), "BLOCKED https://example.com/: client_not_allowed\n");
    assert_string_equal(closed(1, "blocked", "client_not_allowed"), "");
}

/* Found out when it was looked up: nothing else has told it. */
static void an_address_that_is_denied(void **state)
{
    (void)state;
    request(1, "GET", "/x");
    assert_string_equal(closed(1, "blocked", "denied_upstream"), "BLOCKED https://example.com/x: denied_upstream\n");
    connected(2, SOTH_PROTO_TUNNEL, "tunnel", "ignored_host", NULL);
    assert_string_equal(closed(2, "blocked", "denied_upstream"), "BLOCKED https://example.com: denied_upstream\n");
}

static void what_is_allowed_is_an_exchange(void **state)
{
    (void)state;
    request(1, "GET", "/x");
    assert_string_equal(judged(1, "allow", "public"), "");
    response(1, 200, 10);
    assert_string_equal(body(1, 10), "GET https://example.com/x -> 200 text/html 10B 0ms\n");
}

static void what_is_tunnelled_is_told(void **state)
{
    (void)state;
    assert_string_equal(connected(1, SOTH_PROTO_TUNNEL, "tunnel", "ignored_host", NULL), "TUNNEL https://example.com: ignored_host\n");
    assert_string_equal(closed(1, "relay_eof", NULL), "");
}

/* ---- failures ---- */

static void an_exchange_that_failed_has_one_line(void **state)
{
    (void)state;
    request(1, "GET", "/");
    assert_string_equal(closed(1, "upstream_connect_failed", "ECONNREFUSED"),
                        "GET https://example.com/ -> no response: upstream_connect_failed ECONNREFUSED\n");
    request(2, "GET", "/");
    response(2, 200, 5000);
    body(2, 1000);
    assert_string_equal(closed(2, "mitm_http_error", "origin_truncated"),
                        "GET https://example.com/ -> 200 text/html 1.0k 0ms: mitm_http_error origin_truncated\n");
    request(3, "GET", "/");
    assert_string_equal(closed(3, "client_aborted", "response"), "GET https://example.com/ -> no response: client_aborted response\n");
}

static void a_flow_that_failed_without_an_exchange(void **state)
{
    (void)state;
    assert_string_equal(closed(1, "upstream_connect_failed", "dns:NXDOMAIN"), "FAILED https://example.com: upstream_connect_failed dns:NXDOMAIN\n");
    assert_string_equal(closed(2, "relay_error", NULL), "FAILED https://example.com: relay_error\n");
    request(3, "GET", "/done");
    response(3, 200, 0);
    assert_string_equal(closed(3, "relay_error", "EPIPE"), "FAILED https://example.com: relay_error EPIPE\n"); /* that exchange was good */
    struct soth_event *e = FAKE_EVENT(SOTH_EV_STREAM_CLOSED, 4, ATTR_WORD("reason_code", "stream_stage_timeout"), ATTR_WORD("reason_detail", "request_head"), );
    e->server_host = (struct soth_span){NULL, 0};
    e->server_port = 0;
    assert_string_equal(show(e), "FAILED from 127.0.0.1:4711: stream_stage_timeout request_head\n");
}

/* What every client does at the end, and what other lines have told. */
static void an_ordinary_end_is_not_told(void **state)
{
    static const char *const codes[] = {"client_aborted", "idle_watchdog_timeout", "shutdown_drain", "mitm_http_completed", "relay_eof",
                                        "connect_parse_failed", "tls_handshake_failed", "websocket_completed"};
    (void)state;
    for (uint64_t flow = 1; flow <= 8; flow++) {
        request(flow, "GET", "/");
        response(flow, 200, 0);
        assert_string_equal(closed(flow, codes[flow - 1], "keep_alive"), "");
    }
}

static void handshakes_that_failed(void **state)
{
    (void)state;
    assert_string_equal(show(FAKE_EVENT(SOTH_EV_TLS_HANDSHAKE_FAILED, 1, ATTR_WORD("detail", "alert 48"), ATTR_WORD("peer", "downstream"),
                                        ATTR_WORD("tls_failure_reason", "unknown_ca"), )),
                        "TLS FAILED https://example.com: client unknown_ca: alert 48\n");
    assert_string_equal(closed(1, "tls_handshake_failed", "downstream:unknown_ca"), "");
    assert_string_equal(show(FAKE_EVENT(SOTH_EV_TLS_HANDSHAKE_FAILED, 2, ATTR_WORD("peer", "upstream"), ATTR_WORD("tls_failure_reason", "timeout"), )),
                        "TLS FAILED https://example.com: origin timeout\n");
}

static void heads_that_could_not_be_parsed(void **state)
{
    (void)state;
    assert_string_equal(show(FAKE_EVENT(SOTH_EV_CONNECT_PARSE_FAILED, 1, ATTR_WORD("parse_error_code", "missing_port"),
                                        ATTR_WORD("parse_error_detail", "CONNECT wants host:port"), )),
                        "BAD REQUEST from 127.0.0.1:4711: missing_port CONNECT wants host:port\n");
    assert_string_equal(closed(1, "connect_parse_failed", "missing_port"), "");
    struct soth_event *e = FAKE_EVENT(SOTH_EV_CONNECT_PARSE_FAILED, 2, ATTR_WORD("parse_error_code", "invalid_utf8"), );
    e->client_addr = soth_span("unix:/tmp/\033[2J");
    assert_string_equal(show(e), "BAD REQUEST from unix:/tmp/?[2J: invalid_utf8\n");
}

/* ---- what a line looks like ---- */

static void names_and_ports(void **state)
{
    static const struct {
        const char *scheme, *host;
        uint32_t port;
        const char *url;
    } places[] = {
        {"http", "2001:db8::1", 8080, "http://[2001:db8::1]:8080/"}, {"http", "a.test", 80, "http://a.test/"},
        {"https", "a.test", 443, "https://a.test/"},                 {"https", "a.test", 80, "https://a.test:80/"},
        {"http", "a.test", 443, "http://a.test:443/"},               {"https", "a.test", 0, "https://a.test/"},
    };
    char wanted[200];
    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct soth_event *e = FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, 1, ATTR_WORD("method", "GET"), ATTR_WORD("scheme", places[i].scheme), ATTR_WORD("target", "/"), );
        e->server_host = soth_span(places[i].host);
        e->server_port = places[i].port;
        show(e);
        snprintf(wanted, sizeof wanted, "GET %s -> 200 text/html 0B 0ms\n", places[i].url);
        assert_string_equal(response(1, 200, 0), wanted);
    }
}

/* The target is a peer's text: nothing of it reaches a terminal as a command, begins a line or turns the line around. */
static void no_control_characters(void **state)
{
    (void)state;
    request(1, "GET", "/\033[31m\a\r\n\x9b" "31m\xc2\x9b" "2J\xc3\x9f\x7f\xe2\x80\xae" "x\xe2\x80\xa8\xff\xc0\xaf");
    assert_string_equal(response(1, 200, 0), "GET https://example.com/?[31m????31m?2J\xc3\x9f??x???? -> 200 text/html 0B 0ms\n");
}

static void long_text_is_cut(void **state)
{
    char target[1000];
    (void)state;
    memset(target, 'a', sizeof target);
    target[0] = '/';
    target[sizeof target - 1] = 0;
    request(1, "A-METHOD-THAT-IS-RATHER-LONG", target);
    response(1, 200, 0);
    assert_memory_equal(shown, "A-METHOD-THAT-IS-RAT... https://example.com/aaaa", 48);
    assert_non_null(strstr(shown, "aaaa... -> 200 text/html 0B 0ms\n"));
    assert_in_range(strlen(shown), 300, 340);
}

static const char *cleaned(size_t size, const char *text)
{
    static char out[64];
    memset(out, '#', sizeof out);
    size_t n = strlen(text);
    char behind[64];
    memset(behind, 0x80, sizeof behind); /* what is behind would complete a character that is cut off */
    memcpy(behind, text, n);
    text_clean(out, size, (struct soth_span){behind, n});
    assert_int_equal(out[size], '#');
    return out;
}

static void text_is_cut_between_characters(void **state)
{
    (void)state;
    assert_string_equal(cleaned(8, "1234567"), "1234567");
    assert_string_equal(cleaned(8, "12345678"), "1234...");
    assert_string_equal(cleaned(8, "123\xc3\xa4" "56"), "123\xc3\xa4" "56");
    assert_string_equal(cleaned(8, "123\xc3\xa4" "567"), "123...");
    assert_string_equal(cleaned(8, "1\xe2\x82\xac" "567"), "1\xe2\x82\xac" "567");
    assert_string_equal(cleaned(8, "12\xf0\x9f\x98\x80\xf0\x9f\x98\x80"), "12...");
    assert_string_equal(cleaned(8, ""), "");
    assert_string_equal(cleaned(8, "\xf0\x9f\x98"), "???");
    assert_string_equal(cleaned(8, "\xe2\x80\xae"), "?");
    assert_string_equal(cleaned(8, "\xed\xa0\x80"), "???"); /* surrogate */
    assert_string_equal(cleaned(8, "\xc1\xbf"), "??");       /* overlong */
    assert_string_equal(cleaned(8, "\xf4\x90\x80\x80"), "????");
}

static void sizes_are_short(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {{0, "0B"}, {999, "999B"}, {1000, "1.0k"}, {1536, "1.5k"}, {1023948, "999.9k"}, {1023999, "1.0M"}, {1 << 20, "1.0M"},
                 {UINT64_C(3) << 30, "3.0G"}, {UINT64_MAX, "16.0E"}};
    char out[16];
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        text_bytes(out, sizes[i].bytes);
        assert_string_equal(out, sizes[i].text);
    }
}

static void errors_only(void **state)
{
    (void)state;
    use("{color: never, flow: errors}");
    request(1, "GET", "/good");
    assert_string_equal(response(1, 200, 0), "");
    request(1, "GET", "/moved");
    assert_string_equal(response(1, 302, 0), "");
    request(1, "GET", "/bad");
    assert_string_equal(response(1, 404, 0), "GET https://example.com/bad -> 404 text/html 0B 0ms\n");
    request(1, "GET", "/cut");
    response(1, 200, 10);
    assert_string_equal(closed(1, "mitm_http_error", "origin_truncated"), "GET https://example.com/cut -> 200 text/html 0B 0ms: mitm_http_error origin_truncated\n");
    assert_string_equal(connected(2, SOTH_PROTO_TUNNEL, "tunnel", "ignored_host", NULL), "");
    assert_string_equal(connected(3, SOTH_PROTO_TUNNEL, "block", "blocked_host", NULL), "BLOCKED https://example.com: blocked_host\n");
}

static void color_on_request(void **state)
{
    static const struct {
        unsigned status;
        const char *color;
    } colors[] = {{204, "\033[32m204\033[0m"}, {302, "\033[36m302\033[0m"}, {404, "\033[33m404\033[0m"}, {503, "\033[31m503\033[0m"}};
    (void)state;
    use("color: always");
    for (unsigned i = 0; i < 4; i++) {
        request(1, "GET", "/");
        assert_non_null(strstr(response(1, colors[i].status, 0), colors[i].color));
        assert_memory_equal(shown, "\033[1mGET\033[0m ", 12);
    }
    assert_memory_equal(connected(2, SOTH_PROTO_TUNNEL, "block", "rule", NULL), "\033[31mBLOCKED\033[0m ", 17);
    assert_memory_equal(connected(3, SOTH_PROTO_TUNNEL, "tunnel", "rule", NULL), "\033[36mTUNNEL\033[0m ", 16);
}

static void no_color_without_a_terminal(void **state)
{
    (void)state;
    if (isatty(STDOUT_FILENO))
        return; /* run by hand */
    use("color: auto");
    request(1, "GET", "/");
    assert_null(strchr(response(1, 503, 0), '\033'));
}

/* ---- bounds ---- */

/* More flows than there is room for: those before are forgotten, nothing else happens. */
static void memory_is_bounded(void **state)
{
    (void)state;
    for (uint64_t flow = 1; flow <= 20; flow++)
        request(flow * 8192, "GET", "/");
    assert_string_equal(response(8192, 200, 0), "");
    assert_string_equal(body(8192, 1), "");
    assert_string_equal(closed(8192, "mitm_http_completed", NULL), "");
    assert_string_equal(response(20 * 8192, 200, 0), "GET https://example.com/ -> 200 text/html 0B 0ms\n");
}

static void what_was_not_asked_for_is_no_trouble(void **state)
{
    (void)state;
    assert_string_equal(response(1, 200, 0), "");
    assert_string_equal(body(1, 5), "");
    assert_string_equal(show(FAKE_EVENT(SOTH_EV_EVENTS_LOST, 0, )), "");
    assert_string_equal(show(FAKE_EVENT(SOTH_EV_REQUEST_HEADERS, 1, )), "");
    assert_string_equal(show(FAKE_EVENT(SOTH_EV_RESPONSE_HEADERS, 1, )), " http://example.com:443 -> no response\n");
    struct soth_event *e = FAKE_EVENT(SOTH_EV_STREAM_CLOSED, 1, );
    e->kind = SOTH_EV_COUNT + 5; /* of a later host */
    assert_string_equal(show(e), "");
}

/* Nobody reads it: those events are lost and counted by the host, it is said once and works again by itself. */
static void a_console_that_takes_nothing(void **state)
{
    (void)state;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(full >= 0);
    for (unsigned i = 0; i < 3; i++) {
        write_to(full, FAKE_EVENT(SOTH_EV_CONNECT_PARSE_FAILED, 1, ));
        assert_int_equal(verdict, SOTH_DROP);
    }
    assert_string_equal(fake.log, "error cannot write to standard output: No space left on device; its events are lost\n");
    request(1, "GET", "/");
    assert_string_equal(response(1, 200, 0), "GET https://example.com/ -> 200 text/html 0B 0ms\n"); /* nothing of before */
    write_to(full, FAKE_EVENT(SOTH_EV_CONNECT_PARSE_FAILED, 1, ));
    assert_non_null(strstr(strchr(fake.log, '\n'), "cannot write to standard output"));
    close(full);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static void messages_of_websockets(void **state)
{
    (void)state;
    request(7, "GET", "/chat");
    const char *line = show(FAKE_EVENT(SOTH_EV_WS_MESSAGE, 7, ATTR_WORD("direction", "client_to_server"), ATTR_NUMBER("inflated_len", 120),
                                       ATTR_NUMBER("message_no", 3), ATTR_WORD("opcode_label", "text"), ATTR_NUMBER("payload_len", 40), ));
    assert_non_null(strstr(line, "  ws_message #3 > text 120B "));
    assert_non_null(strstr(line, "/chat\n"));
    line = show(FAKE_EVENT(SOTH_EV_WS_MESSAGE, 7, ATTR_WORD("direction", "server_to_client"), ATTR_NUMBER("message_no", 4),
                           ATTR_WORD("opcode_label", "binary"), ATTR_NUMBER("payload_len", 40), ATTR_WORD("violation", "invalid_deflate"), ));
    assert_non_null(strstr(line, "  ws_message #4 < binary 40B invalid_deflate "));
    use("{color: never, streams: false}");
    assert_string_equal(show(FAKE_EVENT(SOTH_EV_WS_MESSAGE, 7, ATTR_NUMBER("message_no", 5), ATTR_WORD("opcode_label", "text"), )), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages_of_websockets, begin, end),
        TEST(one_line_an_exchange),
        TEST(several_on_one_connection),
        TEST(without_bodies),
        TEST(interim_heads_are_no_answer),
        TEST(answers_without_a_body),
        TEST(a_stream_of_unknown_length),
        TEST(an_upgraded_connection),
        TEST(a_connection_that_is_blocked),
        TEST(a_connection_that_is_blocked_late),
        TEST(a_request_that_is_blocked),
        TEST(an_absolute_form_request_that_is_blocked),
        TEST(an_address_that_is_denied),
        TEST(what_is_allowed_is_an_exchange),
        TEST(what_is_tunnelled_is_told),
        TEST(an_exchange_that_failed_has_one_line),
        TEST(a_flow_that_failed_without_an_exchange),
        TEST(an_ordinary_end_is_not_told),
        TEST(handshakes_that_failed),
        TEST(heads_that_could_not_be_parsed),
        TEST(names_and_ports),
        TEST(no_control_characters),
        TEST(long_text_is_cut),
        TEST(text_is_cut_between_characters),
        TEST(sizes_are_short),
        TEST(errors_only),
        TEST(color_on_request),
        TEST(no_color_without_a_terminal),
        TEST(memory_is_bounded),
        TEST(what_was_not_asked_for_is_no_trouble),
        TEST(a_console_that_takes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
