/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Contract section 4, the table of causes: what the client sees, the Proxy-Status error, reason_code and reason_detail of each that a flow
 * produces before it has an origin - parsing, policy, identity, limits, dials - on every way into the proxy.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "flow_rig.h"

#define CONNECT_TO(target) "CONNECT " target " HTTP/1.1\r\nHost: " target "\r\n\r\n"
#define GET_OF(target) "GET " target " HTTP/1.1\r\nHost: a.test\r\n\r\n"

/* ---- heads that cannot be parsed ---- */

static void unparsed(const char *head, int error, bool ends, int status, const char *code)
{
    struct driver d;
    rig_init(&d);
    d.settings.max_http_head_bytes = 256;
    driver_accept(&d);
    driver_say(&d, SIDE_CLIENT, head, strlen(head));
    if (ends)
        driver_hang_up(&d, SIDE_CLIENT, error);
    rig_run(&d);
    rig_expect_reply(&d, status, "http_request_error", "Connection: close");
    rig_expect_closed(&d, "connect_parse_failed", code);
    assert_string_equal(rig_attr(&d, "connect_parse_failed", "parse_error_code"), code);
    assert_int_equal(rig_count(&d, "connect_received") + rig_count(&d, "connect_decision"), 0);
    assert_true(d.lingers);
    rig_fini(&d);
}

static void heads_that_are_none(void **state)
{
    char long_head[400];
    (void)state;
    snprintf(long_head, sizeof long_head, "CONNECT a.test:443 HTTP/1.1\r\nX: %0300d\r\n\r\n", 0);
    unparsed("CONNECT a.test:443 HTTP/1.1\r\nHo", 0, true, 400, "incomplete_headers");
    unparsed("CONN", 0, true, 400, "incomplete_headers");
    unparsed("CONNECT a.test:443 HTTP/1.1\r\nHo", ECONNRESET, true, 400, "read_error");
    unparsed("CONNECT a\xff.test:443 HTTP/1.1\r\n\r\n", 0, false, 400, "invalid_utf8");
    unparsed("\r\n\r\n", 0, false, 400, "empty_request_line");
    unparsed("CONNECT  a.test:443 HTTP/1.1\r\n\r\n", 0, false, 400, "invalid_request_line");
    unparsed("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 0, false, 400, "method_not_connect");
    unparsed("CONNECT a.test:443 HTTP/2.0\r\n\r\n", 0, false, 400, "invalid_http_version");
    unparsed("CONNECT u@a.test:443 HTTP/1.1\r\n\r\n", 0, false, 400, "invalid_authority");
    unparsed("CONNECT a.test HTTP/1.1\r\n\r\n", 0, false, 400, "missing_port");
    unparsed("CONNECT a.test:0 HTTP/1.1\r\n\r\n", 0, false, 400, "invalid_port");
    unparsed(long_head, 0, false, 431, "header_too_large");
}

static void bad_absolute_requests(void **state)
{
    static const struct {
        const char *head, *class;
        int status;
    } cases[] = {
        {"GET http://a.test/ HTTP/1.1\r\nHost : a.test\r\n\r\n", "space_before_colon", 400},
        {"GET http://a.test/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "duplicate_host", 400},
        {"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "te_and_cl", 400},
        {"GET https://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "https_without_connect", 400},
        {"GET http://u@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "invalid_authority", 400},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        rig_init(&d);
        driver_accept(&d);
        rig_say(&d, SIDE_CLIENT, cases[i].head);
        rig_expect_reply(&d, cases[i].status, "http_request_error", cases[i].class);
        rig_expect_closed(&d, "mitm_http_error", cases[i].class);
        assert_int_equal(d.dials, 0);
        rig_fini(&d);
    }
}

static void a_bad_request_inside_tls(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    driver_accept(&d);
    rig_intercepted(&d, "a.test");
    rig_say(&d, SIDE_CLIENT, "GET / HTTP/1.1\r\nno colon\r\n\r\n");
    rig_expect_reply(&d, 400, "http_request_error", "Connection: close");
    rig_expect_sent(&d, SIDE_ORIGIN, "");
    assert_string_equal(rig_attr(&d, "stream_closed", "reason_code"), "mitm_http_error");
    rig_fini(&d);
}

static void no_target_inside_tls(void **state)
{
    static const struct {
        const char *head, *class;
    } cases[] = {
        {"GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "invalid_target"},
        {"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n", "connect_in_tunnel"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        rig_init(&d);
        driver_accept(&d);
        rig_intercepted(&d, "a.test");
        rig_say(&d, SIDE_CLIENT, cases[i].head);
        rig_expect_reply(&d, 400, "http_request_error", cases[i].class);
        rig_expect_closed(&d, "mitm_http_error", cases[i].class);
        rig_fini(&d);
    }
}

/* ---- refused before anything is dialled ---- */

struct refusal_case {
    const char *head; /* NULL: a reverse listener gets a request */
    int status;
    const char *error, *code, *detail;
    void (*set_up)(struct driver *d);
};

static void play_refusal(const struct refusal_case *c)
{
    struct driver d;
    rig_init(&d);
    if (!c->head)
        d.listen.mode = LISTEN_REVERSE;
    if (c->set_up)
        c->set_up(&d);
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, c->head ? c->head : GET_OF("/"));
    rig_expect_reply(&d, c->status, c->error, "Connection: close");
    rig_expect_closed(&d, c->code, c->detail);
    assert_string_equal(rig_attr(&d, "connect_decision", "action"), "block");
    assert_int_equal(rig_count(&d, "connect_decision"), 1);
    assert_int_equal(d.dials, 0);
    rig_fini(&d);
}

static void from_elsewhere(struct driver *d)
{
    d->loopback.addr.bytes[0] = 10;
}

static void block_by_rule(struct driver *d)
{
    d->policy.target = (struct verdict){.action = SOTH_BLOCK, .reason = "rule", .rule_id = {"no-admin", 8}, .policy_module = "test"};
}

static void block_by_list(struct driver *d)
{
    d->policy.target = (struct verdict){.action = SOTH_BLOCK, .reason = "blocked_host", .policy_module = "test"};
}

static void too_many(struct driver *d)
{
    d->refused_because = "max_concurrent_flows";
}

static void loop_upstream(struct driver *d)
{
    d->settings.reverse_upstream = (struct settings_upstream){.host = "127.0.0.1", .port = 8080};
}

static void denied_upstream(struct driver *d)
{
    d->settings.reverse_upstream = (struct settings_upstream){.host = "169.254.169.254", .port = 80};
}

static void refused_at_once(void **state)
{
    static const struct refusal_case cases[] = {
        {CONNECT_TO("a.test:443"), 403, "http_request_denied", "blocked", "client_not_allowed", from_elsewhere},
        {GET_OF("http://a.test/"), 403, "http_request_denied", "blocked", "client_not_allowed", from_elsewhere},
        {NULL, 403, "http_request_denied", "blocked", "client_not_allowed", from_elsewhere},
        {CONNECT_TO("a.test:443"), 403, "http_request_denied", "blocked", "no-admin", block_by_rule},
        {CONNECT_TO("a.test:443"), 403, "http_request_denied", "blocked", "blocked_host", block_by_list},
        {NULL, 403, "http_request_denied", "blocked", "no-admin", block_by_rule},
        {CONNECT_TO("169.254.169.254:80"), 403, "destination_ip_prohibited", "blocked", "denied_upstream", NULL},
        {GET_OF("http://169.254.169.254/"), 403, "destination_ip_prohibited", "blocked", "denied_upstream", NULL},
        {NULL, 403, "destination_ip_prohibited", "blocked", "denied_upstream", denied_upstream},
        {CONNECT_TO("127.0.0.1:8080"), 508, "proxy_loop_detected", "route_planner_failed", "loop", NULL},
        {GET_OF("http://127.0.0.1:8080/"), 508, "proxy_loop_detected", "route_planner_failed", "loop", NULL},
        {NULL, 508, "proxy_loop_detected", "route_planner_failed", "loop", loop_upstream},
        {CONNECT_TO("a.test:443"), 503, "proxy_internal_response", "budget_exceeded", "max_concurrent_flows", too_many},
        {GET_OF("http://a.test/"), 503, "proxy_internal_response", "budget_exceeded", "max_concurrent_flows", too_many},
        {NULL, 503, "proxy_internal_response", "budget_exceeded", "max_concurrent_flows", too_many},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        play_refusal(&cases[i]);
}

static void a_full_house_says_so(void **state)
{
    static const char *const heads[] = {CONNECT_TO("a.test:443"), GET_OF("http://a.test/"), GET_OF("/")};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct driver d;
        rig_init(&d);
        too_many(&d);
        d.listen.mode = i == 2 ? LISTEN_REVERSE : LISTEN_EXPLICIT;
        driver_accept(&d);
        rig_say(&d, SIDE_CLIENT, heads[i]);
        rig_expect_reply(&d, 503, "proxy_internal_response", "\r\nRetry-After: ");
        assert_int_equal(rig_count(&d, "budget_denied"), 1);
        assert_string_equal(rig_attr(&d, "budget_denied", "limit"), "max_concurrent_flows");
        assert_string_equal(rig_attr(&d, "budget_denied", "limit_value"), "10");
        rig_fini(&d);
    }
}

static void block_response_is_the_configured_one(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    block_by_rule(&d);
    d.settings.block_response = (struct settings_block_response){451, "{reason}/{rule_id}/{host}/{other}", "text/x"};
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT_TO("a.test:443"));
    rig_expect_reply(&d, 451, "http_request_denied", "\r\n\r\nrule/no-admin/a.test/{other}");
    rig_fini(&d);
}

/* ---- further names ---- */

static void connect_with_another_host(void **state)
{
    static const char head[] = "CONNECT a.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n";
    (void)state;
    for (int blocked = 0; blocked <= 1; blocked++) {
        struct driver d;
        rig_init(&d);
        d.policy.blocked = blocked ? "b.test" : NULL;
        driver_accept(&d);
        rig_say(&d, SIDE_CLIENT, head);
        rig_expect_reply(&d, 403, "http_request_denied", "Connection: close");
        rig_expect_closed(&d, "blocked", blocked ? "blocked_host" : "authority_mismatch");
        rig_fini(&d);
    }
}

static void connect_with_another_host_is_audited(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.settings.authority_mismatch = MISMATCH_AUDIT;
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, "CONNECT a.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n");
    rig_expect_sent(&d, SIDE_CLIENT, OK_200);
    rig_say(&d, SIDE_CLIENT, "\x01\x02");
    assert_string_equal(rig_attr(&d, "connect_decision", "authority_mismatch"), "audit");
    rig_fini(&d);
}

/* The refusal is heard inside TLS: the client shakes hands, asks, and gets the answer. */
static void expect_inside_tls(struct driver *d, const char *sni, int status, const char *error, const char *code, const char *detail)
{
    driver_client_tls(d, sni, HTTP11);
    rig_run(d);
    assert_int_equal(rig_count(d, "connect_decision"), 1);
    assert_int_equal(session_handshake(d->end[SIDE_CLIENT].tls), 1);
    rig_say(d, SIDE_CLIENT, GET_OF("/"));
    rig_expect_reply(d, status, error, "Connection: close");
    rig_expect_closed(d, code, detail);
    assert_int_equal(d->dials, 0);
}

static void sni_of_somebody_else(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT_TO("a.test:443"));
    expect_inside_tls(&d, "b.test", 403, "http_request_denied", "blocked", "authority_mismatch");
    assert_string_equal(rig_attr(&d, "connect_decision", "reason"), "authority_mismatch");
    rig_fini(&d);
}

static void sni_that_is_blocked(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.blocked = "b.test";
    d.settings.authority_mismatch = MISMATCH_ALLOW;
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT_TO("a.test:443"));
    expect_inside_tls(&d, "b.test", 403, "http_request_denied", "blocked", "blocked_host");
    rig_fini(&d);
}

static void block_when_the_hello_is_known(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.target.needs_hello = true;
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT_TO("a.test:443"));
    rig_expect_sent(&d, SIDE_CLIENT, OK_200);
    block_by_rule(&d);
    expect_inside_tls(&d, "a.test", 403, "http_request_denied", "blocked", "no-admin");
    rig_fini(&d);
}

static void a_late_block_of_cleartext(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.target.needs_hello = true;
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT_TO("a.test:80"));
    rig_expect_sent(&d, SIDE_CLIENT, OK_200);
    block_by_rule(&d);
    rig_say(&d, SIDE_CLIENT, GET_OF("/"));
    rig_expect_reply(&d, 403, "http_request_denied", "Connection: close");
    rig_expect_closed(&d, "blocked", "no-admin");
    assert_int_equal(d.dials, 0);
    rig_fini(&d);
}

static void refused_and_gone(void **state)
{
    (void)state;
    for (int asks = 0; asks <= 1; asks++) {
        struct driver d;
        rig_init(&d);
        d.policy.blocked = "b.test";
        driver_accept(&d);
        rig_say(&d, SIDE_CLIENT, CONNECT_TO("a.test:443"));
        driver_client_tls(&d, "b.test", HTTP11);
        if (asks)
            rig_run(&d);
        rig_hang_up(&d, SIDE_CLIENT, 0);
        rig_expect_closed(&d, "blocked", "blocked_host");
        rig_fini(&d);
    }
}

static void requests_one_by_one(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.blocked = "b.test";
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, "POST http://b.test/ HTTP/1.1\r\nHost: b.test\r\nContent-Length: 4\r\n\r\nbody");
    rig_expect_reply(&d, 403, "http_request_denied", "blocked: blocked_host  b.test");
    rig_expect_open(&d);
    assert_int_equal(d.dials, 0);
    rig_say(&d, SIDE_CLIENT, GET_OF("http://a.test/"));
    assert_int_equal(d.dials, 1);
    rig_dialed(&d);
    rig_expect_sent(&d, SIDE_ORIGIN, GET_OF("/"));
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 204 No Content\r\n\r\n");
    rig_hang_up(&d, SIDE_CLIENT, 0);
    rig_expect_closed(&d, "mitm_http_completed", NULL);
    assert_int_equal(rig_count(&d, "connect_decision"), 2);
    assert_string_equal(rig_attr(&d, "connect_decision", "exchange_no"), "2");
    rig_fini(&d);
}

static void a_request_hook_blocks(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    driver_accept(&d);
    rig_intercepted(&d, "a.test");
    d.policy.request = (struct verdict){.action = SOTH_BLOCK, .reason = "rule", .rule_id = {"no-delete", 9}, .policy_module = "test"};
    rig_say(&d, SIDE_CLIENT, GET_OF("/x"));
    rig_expect_reply(&d, 403, "http_request_denied", "blocked: rule no-delete a.test");
    assert_string_equal(rig_attr(&d, "request_decision", "action"), "block");
    rig_expect_open(&d);
    rig_expect_sent(&d, SIDE_ORIGIN, "");
    d.policy.request = (struct verdict){.action = SOTH_ALLOW, .is_default = true, .policy_module = ""};
    rig_say(&d, SIDE_CLIENT, GET_OF("/y"));
    rig_expect_sent(&d, SIDE_ORIGIN, GET_OF("/y"));
    rig_fini(&d);
}

static void a_blocked_host_field(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.blocked = "b.test";
    driver_accept(&d);
    rig_intercepted(&d, "a.test");
    rig_say(&d, SIDE_CLIENT, "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n");
    rig_expect_reply(&d, 403, "http_request_denied", "blocked: blocked_host");
    rig_expect_open(&d);
    rig_say(&d, SIDE_CLIENT, "GET / HTTP/1.1\r\nHost: c.test\r\n\r\n");
    rig_expect_reply(&d, 403, "http_request_denied", "authority_mismatch");
    rig_expect_closed(&d, "blocked", "authority_mismatch");
    rig_fini(&d);
}

/* ---- dials ---- */

static const struct {
    enum dial_failure failure;
    const char *given;
    int status;
    const char *error, *code, *detail;
} dials[] = {
    {DIAL_FAILURE_DNS, "dns:NXDOMAIN", 502, "dns_error", "upstream_connect_failed", "dns:NXDOMAIN"},
    {DIAL_FAILURE_DNS, "dns:SERVFAIL", 502, "dns_error", "upstream_connect_failed", "dns:SERVFAIL"},
    {DIAL_FAILURE_DNS_TIMEOUT, "dns:timeout", 504, "dns_timeout", "upstream_connect_failed", "dns:timeout"},
    {DIAL_FAILURE_DENIED, "denied_upstream", 403, "destination_ip_prohibited", "blocked", "denied_upstream"},
    {DIAL_FAILURE_LOOP, "loop", 508, "proxy_loop_detected", "route_planner_failed", "loop"},
    {DIAL_FAILURE_REFUSED, "ECONNREFUSED", 502, "connection_refused", "upstream_connect_failed", "ECONNREFUSED"},
    {DIAL_FAILURE_UNREACHABLE, "EHOSTUNREACH", 502, "destination_ip_unroutable", "upstream_connect_failed", "EHOSTUNREACH"},
    {DIAL_FAILURE_TIMEOUT, "ETIMEDOUT", 504, "connection_timeout", "upstream_connect_failed", "ETIMEDOUT"},
    {DIAL_FAILURE_OTHER, "EMFILE", 502, "connection_terminated", "upstream_connect_failed", "EMFILE"},
};

static void a_tunnel_is_not_dialled(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof dials / sizeof *dials; i++) {
        struct driver d;
        rig_init(&d);
        d.policy.target = (struct verdict){.action = SOTH_TUNNEL, .reason = "ignored_host", .policy_module = "test"};
        driver_accept(&d);
        rig_say(&d, SIDE_CLIENT, CONNECT_TO("a.test:443"));
        rig_expect_nothing_sent(&d);
        rig_dial_failed(&d, dials[i].failure, dials[i].given);
        rig_expect_reply(&d, dials[i].status, dials[i].error, "Connection: close");
        rig_expect_closed(&d, dials[i].code, dials[i].detail);
        assert_string_equal(rig_attr(&d, "connect_decision", "action"), "tunnel");
        rig_fini(&d);
    }
}

static void an_interception_is_not_dialled(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof dials / sizeof *dials; i++) {
        struct driver d;
        rig_init(&d);
        driver_accept(&d);
        rig_say(&d, SIDE_CLIENT, CONNECT_TO("a.test:443"));
        driver_client_tls(&d, "a.test", HTTP11);
        rig_run(&d);
        rig_dial_failed(&d, dials[i].failure, dials[i].given);
        rig_say(&d, SIDE_CLIENT, GET_OF("/"));
        rig_expect_reply(&d, dials[i].status, dials[i].error, "Connection: close");
        rig_expect_closed(&d, dials[i].code, dials[i].detail);
        rig_fini(&d);
    }
}

static void a_request_is_not_dialled(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3 * sizeof dials / sizeof *dials; i++) {
        static const char *const heads[] = {GET_OF("http://a.test/"), GET_OF("/"), GET_OF("/")};
        struct driver d;
        size_t k = i / 3;
        rig_init(&d);
        d.listen.mode = i % 3 ? LISTEN_REVERSE : LISTEN_EXPLICIT;
        d.settings.reverse_upstream.tls = i % 3 == 2; /* dialled before the request comes */
        driver_accept(&d);
        if (i % 3 < 2)
            rig_say(&d, SIDE_CLIENT, heads[i % 3]);
        rig_dial_failed(&d, dials[k].failure, dials[k].given);
        if (i % 3 == 2)
            rig_say(&d, SIDE_CLIENT, heads[2]);
        rig_expect_reply(&d, dials[k].status, dials[k].error, "Connection: close");
        rig_expect_closed(&d, dials[k].code, dials[k].detail);
        rig_fini(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_that_are_none),
        cmocka_unit_test(bad_absolute_requests),
        cmocka_unit_test(a_bad_request_inside_tls),
        cmocka_unit_test(no_target_inside_tls),
        cmocka_unit_test(refused_at_once),
        cmocka_unit_test(a_full_house_says_so),
        cmocka_unit_test(block_response_is_the_configured_one),
        cmocka_unit_test(connect_with_another_host),
        cmocka_unit_test(connect_with_another_host_is_audited),
        cmocka_unit_test(sni_of_somebody_else),
        cmocka_unit_test(sni_that_is_blocked),
        cmocka_unit_test(block_when_the_hello_is_known),
        cmocka_unit_test(a_late_block_of_cleartext),
        cmocka_unit_test(refused_and_gone),
        cmocka_unit_test(requests_one_by_one),
        cmocka_unit_test(a_request_hook_blocks),
        cmocka_unit_test(a_blocked_host_field),
        cmocka_unit_test(a_tunnel_is_not_dialled),
        cmocka_unit_test(an_interception_is_not_dialled),
        cmocka_unit_test(a_request_is_not_dialled),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
