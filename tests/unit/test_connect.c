/* SPDX-License-Identifier: MPL-2.0 */
/* host/http/connect.h: the document of CONNECT heads, targets by themselves, absolute URIs, and which names are one host. */
#include <stdarg.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include "host/http/connect.h"
#include "http_play.h"

static void documents(void **state)
{
    (void)state;
    golden_check_all("tests/golden/http/connect.md", http_play_connect);
}

static void codes_have_the_names_of_the_contract(void **state)
{
    static const char *const names[] = {"",
                                        "incomplete_headers",
                                        "invalid_utf8",
                                        "empty_request_line",
                                        "invalid_request_line",
                                        "method_not_connect",
                                        "invalid_http_version",
                                        "invalid_authority",
                                        "missing_port",
                                        "invalid_port",
                                        "header_too_large",
                                        "read_error"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_string_equal(connect_error_name((enum connect_error)i), names[i]);
}

static void a_port_may_have_a_default(void **state)
{
    struct target target;
    const char *detail;
    (void)state;
    assert_int_equal(target_parse(soth_span("a.test"), false, 80, &target, &detail), CONNECT_OK);
    assert_int_equal(target.port, 80);
    assert_int_equal(target_parse(soth_span("[::1]"), false, 80, &target, &detail), CONNECT_OK);
    assert_int_equal(target.port, 80);
    assert_string_equal(target.host, "::1");
    assert_int_equal(target_parse(soth_span("a.test:81"), false, 80, &target, &detail), CONNECT_OK);
    assert_int_equal(target.port, 81);
    assert_int_equal(target_parse(soth_span(""), true, 80, &target, &detail), CONNECT_INVALID_AUTHORITY);
    assert_int_equal(target_parse(soth_span("/"), true, 80, &target, &detail), CONNECT_INVALID_AUTHORITY);
}

static void addresses_are_in_network_order(void **state)
{
    static const uint8_t four[16] = {192, 0, 2, 1}, six[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    struct target target;
    const char *detail;
    (void)state;
    assert_int_equal(target_parse(soth_span("192.0.2.1:1"), false, 0, &target, &detail), CONNECT_OK);
    assert_int_equal(target.addr.family, 4);
    assert_memory_equal(target.addr.bytes, four, 16);
    assert_int_equal(target_parse(soth_span("[::ffff:c000:201]:1"), false, 0, &target, &detail), CONNECT_OK);
    assert_int_equal(target.addr.family, 4);
    assert_memory_equal(target.addr.bytes, four, 16);
    assert_int_equal(target_parse(soth_span("[2001:db8::1]:1"), false, 0, &target, &detail), CONNECT_OK);
    assert_int_equal(target.addr.family, 6);
    assert_memory_equal(target.addr.bytes, six, 16);
}

static void absolute_uris(void **state)
{
    static const struct {
        const char *uri, *scheme, *host, *form; /* host NULL: refused */
        uint16_t port;
    } cases[] = {
        {"http://a.test/x?y=1", "http", "a.test", "/x?y=1", 80},
        {"HTTP://A.test:8080/", "http", "a.test", "/", 8080},
        {"https://a.test", "https", "a.test", "/", 443},
        {"http://[::1]:81/x", "http", "::1", "/x", 81},
        {"http://a.test/http://b.test/", "http", "a.test", "/http://b.test/", 80},
        {"http://a.test/@b", "http", "a.test", "/@b", 80},
        {"http://a.test?x", "http", "a.test", "?x", 80},
        {"http://a.test:81?x/y", "http", "a.test", "?x/y", 81},
        {"http://?x", NULL, NULL, NULL, 0},
        {"http:///x", NULL, NULL, NULL, 0},
        {"http://", NULL, NULL, NULL, 0},
        {"http:/a.test/", NULL, NULL, NULL, 0},
        {"http:a.test", NULL, NULL, NULL, 0},
        {"ftp://a.test/", NULL, NULL, NULL, 0},
        {"http://me@a.test/", NULL, NULL, NULL, 0},
        {"http://me:x@a.test:80/", NULL, NULL, NULL, 0},
        {"http://a.test:0/", NULL, NULL, NULL, 0},
        {"http://a.test:80:81/", NULL, NULL, NULL, 0},
        {"http://a\\b/", NULL, NULL, NULL, 0},
        {"http://127.1/", NULL, NULL, NULL, 0},
        {"/x", NULL, NULL, NULL, 0},
        {"*", NULL, NULL, NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct target target;
        struct soth_span scheme, form;
        const char *detail = NULL;
        enum connect_error e = target_parse_absolute(soth_span(cases[i].uri), &target, &scheme, &form, &detail);
        if (!cases[i].host) {
            assert_int_not_equal(e, CONNECT_OK);
            assert_non_null(detail);
            continue;
        }
        assert_int_equal(e, CONNECT_OK);
        assert_string_equal(target.host, cases[i].host);
        assert_int_equal(target.port, cases[i].port);
        assert_true(soth_span_is(scheme, cases[i].scheme));
        assert_true(soth_span_is(form, cases[i].form));
    }
}

static void same_hosts(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"a.test", "A.TEST", true},
        {"a.test.", "a.test", true},
        {"a.test:80", "a.test:443", true},
        {"a.test.:80", "a.test", true},
        {"[::1]", "::1", true},
        {"[::1]:80", "[0:0:0:0:0:0:0:1]:81", true},
        {"2001:DB8::1", "[2001:db8:0::1]:443", true},
        {"a.test", "b.test", false},
        {"a.test", "a.test.evil", false},
        {"a.test", "", false},
        {"", "", false},
        {".", ".", false},
        {"[::1]", "[::2]", false},
        {"1.2.3.4", "1.2.3.5", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(target_same_host(soth_span(cases[i].a), soth_span(cases[i].b)), cases[i].same);
        assert_int_equal(target_same_host(soth_span(cases[i].b), soth_span(cases[i].a)), cases[i].same);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents),
        cmocka_unit_test(codes_have_the_names_of_the_contract),
        cmocka_unit_test(a_port_may_have_a_default),
        cmocka_unit_test(addresses_are_in_network_order),
        cmocka_unit_test(absolute_uris),
        cmocka_unit_test(same_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
