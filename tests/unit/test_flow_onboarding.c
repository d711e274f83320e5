/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What http://soth.mitm/ hands out: the page and the files of the CA that signs, in the clear and inside TLS that the proxy ends itself. Nothing is
 * dialled (the driver holds the flow to that: there is no origin here). Names that are not it, and text that would be markup.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "flow_rig.h"
#include "host/flow/onboarding.h"

static void ask(struct driver *d, const char *method, const char *host, const char *path)
{
    char text[512];
    rig_init(d);
    driver_accept(d);
    snprintf(text, sizeof text, "%s http://%s%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", method, host, path, host);
    rig_say(d, SIDE_CLIENT, text);
}

static const char *body_of(const char *reply)
{
    const char *end = strstr(reply, "\r\n\r\n");
    assert_non_null(end);
    return end + 4;
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in \"%s\"", part, text);
}

static void answered(struct driver *d)
{
    assert_int_equal(d->dials, 0);
    assert_string_equal(rig_attr(d, "connect_decision", "reason"), "onboarding");
    assert_string_equal(rig_attr(d, "connect_decision", "action"), "intercept");
    rig_expect_closed(d, "mitm_http_completed", NULL);
    rig_fini(d);
}

static void the_page(void **state)
{
    struct driver d;
    struct authority_info info;
    (void)state;
    authority_describe(rig_world.authority, &info);
    ask(&d, "GET", "soth.mitm", "/");
    const char *got = rig_take(&d, SIDE_CLIENT);
    has(got, "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n");
    has(got, "\r\nContent-Security-Policy: default-src 'none'");
    has(body_of(got), info.sha256);
    has(body_of(got), "href=\"/cert.pem\"");
    has(body_of(got), info.subject); /* CN=test CA, O=test */
    assert_null(strstr(got, "<script"));
    assert_string_equal(rig_attr(&d, "response_headers", "status_code"), "200");
    answered(&d);
    ask(&d, "GET", "SOTH.MITM.", "/?utm=1"); /* a name is compared as names are; a query is nobody's business */
    has(rig_take(&d, SIDE_CLIENT), "HTTP/1.1 200 OK\r\n");
    answered(&d);
    ask(&d, "GET", "soth.mitm:8443", "/");
    has(rig_take(&d, SIDE_CLIENT), "HTTP/1.1 200 OK\r\n");
    answered(&d);
}

static void the_files(void **state)
{
    struct driver d;
    struct authority_info info;
    (void)state;
    char *pem = authority_pem(rig_world.authority, 0);
    authority_describe(rig_world.authority, &info);
    ask(&d, "GET", "soth.mitm", "/cert.pem");
    const char *got = rig_take(&d, SIDE_CLIENT);
    has(got, "\r\nContent-Type: application/x-x509-ca-cert\r\n");
    assert_string_equal(body_of(got), pem);
    answered(&d);
    for (int i = 0; i < 2; i++) {
        ask(&d, "GET", "soth.mitm", i ? "/cert.crt" : "/cert.der");
        struct buffer *raw = &d.end[SIDE_CLIENT].got;
        assert_true(buffer_size(raw) > info.cert_der_size);
        assert_memory_equal(buffer_data(raw) + buffer_size(raw) - info.cert_der_size, info.cert_der, info.cert_der_size);
        has(rig_take(&d, SIDE_CLIENT), "\r\nContent-Type: application/x-x509-ca-cert\r\n");
        answered(&d);
    }
    ask(&d, "GET", "soth.mitm", "/cert.p12");
    has(rig_take(&d, SIDE_CLIENT), "\r\nContent-Type: application/x-pkcs12\r\n");
    answered(&d);
    free(pem);
}

static void head_has_no_body(void **state)
{
    static const char *const paths[] = {"/", "/cert.pem", "/cert.der", "/cert.p12", "/none"};
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct driver d;
        char length[64];
        ask(&d, "GET", "soth.mitm", paths[i]);
        snprintf(length, sizeof length, "%.50s", strstr(rig_take(&d, SIDE_CLIENT), "Content-Length: "));
        length[strcspn(length, "\r")] = 0;
        answered(&d);
        ask(&d, "HEAD", "soth.mitm", paths[i]);
        const char *got = rig_take(&d, SIDE_CLIENT);
        if (strcmp(paths[i], "/cert.p12") != 0) /* its salt, its length */
            has(got, length);
        assert_string_equal(body_of(got), "");
        answered(&d);
    }
}

static void inside_tls(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, "CONNECT soth.mitm:443 HTTP/1.1\r\nHost: soth.mitm:443\r\n\r\n");
    rig_expect_sent(&d, SIDE_CLIENT, "HTTP/1.1 200 Connection Established\r\n\r\n");
    driver_client_tls(&d, "soth.mitm", HTTP11);
    rig_run(&d);
    assert_int_equal(session_handshake(d.end[SIDE_CLIENT].tls), 1);
    for (int i = 0; i < 2; i++) {
        rig_say(&d, SIDE_CLIENT, "GET /cert.pem HTTP/1.1\r\nHost: soth.mitm\r\n\r\n");
        has(rig_take(&d, SIDE_CLIENT), "-----BEGIN CERTIFICATE-----");
    }
    assert_int_equal(d.dials, 0);
    assert_string_equal(rig_attr(&d, "request_headers", "scheme"), "https");
    rig_hang_up(&d, SIDE_CLIENT, 0);
    answered(&d);
}

/* The name of another beside it is a mismatch as everywhere. */
static void inside_tls_with_another_host(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, "CONNECT soth.mitm:80 HTTP/1.1\r\nHost: soth.mitm:80\r\n\r\n");
    rig_take(&d, SIDE_CLIENT);
    rig_say(&d, SIDE_CLIENT, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    rig_expect_reply(&d, 403, "http_request_denied", "authority_mismatch");
    rig_fini(&d);
}

static void blocked(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.policy.blocked = "soth.mitm";
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, "GET http://soth.mitm/cert.pem HTTP/1.1\r\nHost: soth.mitm\r\n\r\n");
    rig_expect_reply(&d, 403, "http_request_denied", "blocked_host");
    rig_say(&d, SIDE_CLIENT, "CONNECT soth.mitm:443 HTTP/1.1\r\nHost: soth.mitm:443\r\n\r\n");
    rig_expect_reply(&d, 403, "http_request_denied", "blocked_host");
    assert_int_equal(d.dials, 0);
    rig_fini(&d);
    rig_init(&d); /* a request rule is asked, too */
    d.policy.request = (struct verdict){.action = SOTH_BLOCK, .reason = "rule", .policy_module = "test"};
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, "GET http://soth.mitm/ HTTP/1.1\r\nHost: soth.mitm\r\n\r\n");
    rig_expect_reply(&d, 403, "http_request_denied", "rule");
    rig_fini(&d);
}

static void a_client_that_is_not_served(void **state)
{
    struct driver d;
    (void)state;
    rig_init(&d);
    d.loopback.addr.bytes[0] = 10;
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, "GET http://soth.mitm/ HTTP/1.1\r\nHost: soth.mitm\r\n\r\n");
    rig_expect_reply(&d, 403, "http_request_denied", "client_not_allowed");
    rig_fini(&d);
}

/* Neither names around it, nor its name in the wrong place. */
static void no_other_name(void **state)
{
    static const char *const hosts[] = {"www.soth.mitm", "soth.mitm.test", "xsoth.mitm", "soth-mitm", "mitm.it"};
    struct driver d;
    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        ask(&d, "GET", hosts[i], "/cert.pem");
        assert_true(d.dialing);
        rig_fini(&d);
    }
    rig_init(&d);
    driver_accept(&d);
    rig_say(&d, SIDE_CLIENT, "GET http://a.test/cert.pem HTTP/1.1\r\nHost: soth.mitm\r\n\r\n");
    assert_true(d.dialing);
    rig_fini(&d);
}

static void markup_is_escaped(void **state)
{
    struct ca_certificate c = {.role = CA_PREVIOUS, .subject = "CN=<script>alert('x' & \"y\")</script>", .sha256 = "AA:BB"};
    const struct ca_certificates list = {&c, 1};
    struct buffer out = {0};
    (void)state;
    onboarding_page(&out, &list);
    buffer_append(&out, "", 1);
    const char *page = (const char *)buffer_data(&out);
    has(page, "CN=&lt;script&gt;alert(&#39;x&#39; &amp; &quot;y&quot;)&lt;/script&gt;");
    assert_null(strstr(page, "<script"));
    assert_true(buffer_size(&out) < 16000); /* fits into the first window of any HTTP/2 client */
    buffer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page),
        cmocka_unit_test(the_files),
        cmocka_unit_test(head_has_no_body),
        cmocka_unit_test(inside_tls),
        cmocka_unit_test(inside_tls_with_another_host),
        cmocka_unit_test(blocked),
        cmocka_unit_test(a_client_that_is_not_served),
        cmocka_unit_test(no_other_name),
        cmocka_unit_test(markup_is_escaped),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
