/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/tlsops_mitmproxy/line.c */
/* needs: JANSSON */
/* tlsops_mitmproxy: what becomes of a line of the add-on, and that its numbers mean what the same numbers mean to the host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/tls/failure.h"
#include "modules/tlsops_mitmproxy/line.h"

#define HEAD "{\"v\":1,\"event\":\"failed\",\"provider\":\"mitmproxy\","

static struct line line;

/* On memory of exactly that size. */
static int read_text(const char *text)
{
    size_t n = strlen(text);
    char *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    memcpy(exact, text, n);
    int r = line_read(exact, n, &line);
    free(exact);
    return r;
}

static void good(const char *text)
{
    if (read_text(text) != SOTH_OK)
        fail_msg("%s: %s", text, line.fault);
}

static void is_span(struct soth_span span, const char *text)
{
    if (!text)
        assert_null(span.p);
    else if (span.n != strlen(text) || memcmp(span.p, text, span.n) != 0)
        fail_msg("\"%.*s\", expected \"%s\"", SOTH_SPAN(span), text);
}

static void a_whole_line(void **state)
{
    (void)state;
    good(HEAD "\"provider_identity\":\"mitmproxy 11.0.2\",\"peer\":\"downstream\",\"host\":\"Origin.TEST.\",\"port\":8443,"
              "\"client\":\"127.0.0.1:4711\",\"alert_received\":48,\"alert_sent\":null,\"closed\":false,\"timeout\":false,"
              "\"error\":\"ssl/tls alert\\t unknown ca\\n\",\"something\":{\"new\":[1,2]}}");
    const struct soth_signal *s = &line.signal;
    assert_int_equal(s->size, sizeof *s);
    assert_int_equal(s->phase, SOTH_TLS_FAILED);
    assert_int_equal(s->authoritative, 1);
    assert_int_equal(s->flow_id, 0);
    assert_string_equal(s->peer, "downstream");
    assert_string_equal(s->reason, "unknown_ca");
    assert_string_equal(s->source, "mitmproxy_authoritative");
    assert_string_equal(s->provider, "mitmproxy");
    assert_string_equal(s->rejected_ca, "certain");
    is_span(s->host, "origin.test");
    is_span(s->client, "127.0.0.1:4711");
    is_span(s->identity, "mitmproxy 11.0.2");
    is_span(s->raw_error, "ssl/tls alert  unknown ca ");
    assert_int_equal(s->alert, 48);
    assert_int_equal(s->port, 8443);
}

static void the_least(void **state)
{
    (void)state;
    good(HEAD "\"peer\":\"upstream\"}");
    is_span(line.signal.host, NULL);
    is_span(line.signal.client, NULL);
    is_span(line.signal.raw_error, NULL);
    assert_int_equal(line.signal.alert, UINT32_MAX);
    assert_string_equal(line.signal.reason, "other");
    good("{\"v\":1,\"event\":\"started\",\"provider\":\"mitmproxy\",\"peer\":\"upstream\",\"host\":\"[2001:DB8::1]\"}");
    assert_int_equal(line.signal.phase, SOTH_TLS_STARTED);
    is_span(line.signal.host, "2001:db8::1");
    good("{\"v\":1,\"event\":\"established\",\"provider\":\"mitmproxy\",\"peer\":\"upstream\"}");
    assert_int_equal(line.signal.phase, SOTH_TLS_SUCCEEDED);
}

/* Whatever it claims to be. */
static void hudsucker_is_inferred(void **state)
{
    static const char *const claims[] = {"", ",\"confidence\":\"authoritative\"", ",\"confidence\":\"inferred\""};
    char text[256];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "{\"v\":1,\"event\":\"failed\",\"provider\":\"hudsucker\",\"peer\":\"downstream\",\"alert_received\":48%s}", claims[i]);
        good(text);
        assert_int_equal(line.signal.authoritative, 0);
        assert_string_equal(line.signal.source, "hudsucker_inferred");
        assert_string_equal(line.signal.provider, "hudsucker");
    }
    good(HEAD "\"peer\":\"downstream\",\"confidence\":\"inferred\"}");
    assert_int_equal(line.signal.authoritative, 0);
    assert_string_equal(line.signal.source, "mitmproxy_authoritative");
}

static void what_makes_no_sense(void **state)
{
    static const struct {
        const char *text, *fault;
    } rows[] = {
        {"", "it is no JSON"}, {"hello", "it is no JSON"}, {"[1]", "it is no JSON object"}, {"{\"v\":1", "it is no JSON"},
        {"{\"v\":1,\"v\":1}", "it is no JSON"}, {"\xff\xfe", "it is no JSON"}, {"{}", "its v is not 1: the add-on is of another version"},
        {"{\"v\":2,\"event\":\"failed\"}", "its v is not 1: the add-on is of another version"},
        {"{\"v\":\"1\",\"event\":\"failed\"}", "its v is not 1: the add-on is of another version"},
        {"{\"v\":1,\"event\":\"lost\"}", "its event is none of started, established, failed"},
        {"{\"v\":1,\"event\":\"failed\"}", "its provider is neither mitmproxy nor hudsucker"},
        {"{\"v\":1,\"event\":\"failed\",\"provider\":\"soth-mitm\",\"peer\":\"upstream\"}", "its provider is neither mitmproxy nor hudsucker"},
        {HEAD "\"confidence\":\"sure\",\"peer\":\"upstream\"}", "its confidence is neither authoritative nor inferred"},
        {HEAD "\"confidence\":1,\"peer\":\"upstream\"}", "its confidence is neither authoritative nor inferred"},
        {HEAD "\"peer\":\"sideways\"}", "its peer is neither downstream nor upstream"},
        {HEAD "\"peer\":\"upstream\",\"host\":\"a\\u0000b\"}", "it is no JSON"}, {HEAD "\"peer\":\"upstream\",\"host\":7}", "its host is none"}, {HEAD "\"peer\":\"upstream\",\"host\":\"a b\"}", "its host is none"},
        {HEAD "\"peer\":\"upstream\",\"port\":65536}", "its port is none"}, {HEAD "\"peer\":\"upstream\",\"port\":-1}", "its port is none"},
        {HEAD "\"peer\":\"upstream\",\"port\":\"443\"}", "its port is none"}, {HEAD "\"peer\":\"upstream\",\"client\":[]}", "its client is no text"},
        {HEAD "\"peer\":\"upstream\",\"alert_received\":256}", "its alert is not a number from 0 to 255"},
        {HEAD "\"peer\":\"upstream\",\"alert_sent\":1.5}", "its alert is not a number from 0 to 255"},
        {HEAD "\"peer\":\"upstream\",\"verify_code\":1e99}", "its verify_code is not a number"},
        {HEAD "\"peer\":\"upstream\",\"closed\":1}", "closed and timeout are true or false"},
        {HEAD "\"peer\":\"upstream\",\"error\":{}}", "its error is no text"}, {HEAD "\"peer\":\"upstream\",\"provider_identity\":1}", "its provider_identity is no text"},
        {HEAD "\"peer\":\"upstream\",\"port\":99999999999999999999999}", "it is no JSON"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(read_text(rows[i].text), -SOTH_EINVALID);
        if (strcmp(line.fault, rows[i].fault) != 0)
            fail_msg("%s: \"%s\", expected \"%s\"", rows[i].text, line.fault, rows[i].fault);
    }
}

static void long_texts_are_cut(void **state)
{
    char text[LINE_MOST + 64];
    (void)state;
    snprintf(text, sizeof text, HEAD "\"peer\":\"upstream\",\"error\":\"%0600d\"}", 0);
    good(text);
    assert_int_equal(line.signal.raw_error.n, LINE_TEXT_MOST);
    /* between characters: 511 bytes, then one of two */
    snprintf(text, sizeof text, HEAD "\"peer\":\"upstream\",\"error\":\"%0511d\xc3\xa9\"}", 0);
    good(text);
    assert_int_equal(line.signal.raw_error.n, LINE_TEXT_MOST - 1);
    memset(text, ' ', sizeof text);
    assert_int_equal(line_read(text, LINE_MOST + 1, &line), -SOTH_EINVALID);
    assert_string_equal(line.fault, "it is longer than 16384 bytes");
    snprintf(text, sizeof text, HEAD "\"peer\":\"upstream\",\"host\":\"%0300d\"}", 0);
    assert_int_equal(read_text(text), -SOTH_EINVALID);
    memset(text, '[', LINE_MOST);
    assert_int_equal(line_read(text, LINE_MOST, &line), -SOTH_EINVALID); /* deep */
}

/* Alerts and ends mean the same here and to the host, for every alert there is. */
static void numbers_mean_what_they_mean_to_the_host(void **state)
{
    (void)state;
    for (int downstream = 0; downstream < 2; downstream++)
        for (int alert = -1; alert < 256; alert++)
            for (int what = 0; what < 3; what++) {
                struct line_facts here = {.alert_received = alert, .alert_sent = -1, .closed = what == 1, .timeout = what == 2, .downstream = downstream};
                struct tls_facts facts = {.alert_rx = alert, .alert_tx = -1, .eof = what == 1, .timeout = what == 2, .is_server = (uint8_t)downstream};
                struct tls_failure failure;
                tls_failure_classify(&facts, &failure);
                if (strcmp(line_reason(&here), tls_reason_name(failure.reason)) != 0)
                    fail_msg("alert %d, case %d, downstream %d: %s, the host says %s", alert, what, downstream, line_reason(&here),
                             tls_reason_name(failure.reason));
                if (downstream && what == 0 && strcmp(line_rejected(&here), tls_rejected_name(failure.rejected_ca)) != 0)
                    fail_msg("alert %d: %s, the host says %s", alert, line_rejected(&here), tls_rejected_name(failure.rejected_ca));
            }
}

static void verification(void **state)
{
    static const int unknown[] = {2, 18, 19, 20, 21, 24, 27, 79}, wrong[] = {1, 7, 9, 10, 23, 25, 26, 47, 48, 62, 64, 66, 68};
    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_string_equal(line_reason(&(struct line_facts){.alert_received = -1, .alert_sent = 42, .verify_code = unknown[i]}), "unknown_ca");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_string_equal(line_reason(&(struct line_facts){.alert_received = -1, .alert_sent = 42, .verify_code = wrong[i]}), "cert_validation");
    /* the client's certificate is not what this is about */
    assert_string_equal(line_reason(&(struct line_facts){.alert_received = -1, .alert_sent = 70, .verify_code = 18, .downstream = 1}), "handshake");
    assert_string_equal(line_reason(&(struct line_facts){.alert_received = -1, .alert_sent = 22}), "other");
    assert_string_equal(line_reason(&(struct line_facts){.alert_received = -1, .alert_sent = -1}), "other");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_line),        cmocka_unit_test(the_least),          cmocka_unit_test(hudsucker_is_inferred),
        cmocka_unit_test(what_makes_no_sense), cmocka_unit_test(long_texts_are_cut), cmocka_unit_test(numbers_mean_what_they_mean_to_the_host),
        cmocka_unit_test(verification),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
