/* SPDX-License-Identifier: MPL-2.0 */
/* host/tls/failure.h: each row of what was measured of TLS peers that fail, by numbers; and the bounded counters. */
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/tls/failure.h"

#define SECOND UINT64_C(1000000000)

struct row {
    const char *what;
    struct tls_facts facts;
    enum tls_reason reason;
    enum tls_rejected rejected;
    const char *says; /* part of detail */
};

#define ORIGIN(e, rx, tx) {.error = (e), .alert_rx = (rx), .alert_tx = (tx), .verify_code = (e) > -300 ? (e) : 0}
#define ORIGIN_END(e, rx, no, end) {.error = (e), .alert_rx = (rx), .alert_tx = -1, .sys_errno = (no), .eof = (end)}
#define CLIENT(e, rx) {.error = (e), .alert_rx = (rx), .alert_tx = -1, .is_server = 1}
#define CLIENT_END(e, rx, no) {.error = (e), .alert_rx = (rx), .alert_tx = -1, .sys_errno = (no), .eof = 1, .is_server = 1}

static const struct row rows[] = {
    {"unknown CA", ORIGIN(-188, -1, 48), TLS_REASON_UNKNOWN_CA, REJECTED_NO, "upstream_ca_file"},
    {"self-signed", ORIGIN(-275, -1, 42), TLS_REASON_UNKNOWN_CA, REJECTED_NO, "self-signed"},
    {"expired", ORIGIN(-151, -1, 45), TLS_REASON_CERT_VALIDATION, REJECTED_NO, "expired"},
    {"not yet valid", ORIGIN(-150, -1, 45), TLS_REASON_CERT_VALIDATION, REJECTED_NO, "clocks"},
    {"path length", ORIGIN(-238, -1, 48), TLS_REASON_CERT_VALIDATION, REJECTED_NO, "chain"},
    {"host name", ORIGIN(-322, -1, 42), TLS_REASON_CERT_VALIDATION, REJECTED_NO, "other names"},
    {"address", ORIGIN(-325, -1, 42), TLS_REASON_CERT_VALIDATION, REJECTED_NO, "address"},
    {"clientAuth only", ORIGIN(-386, -1, 42), TLS_REASON_CERT_VALIDATION, REJECTED_NO, "extendedKeyUsage"},
    {"name constraints", ORIGIN(-198, -1, 42), TLS_REASON_CERT_VALIDATION, REJECTED_NO, "name constraints"},
    {"revoked", ORIGIN(-361, -1, 44), TLS_REASON_CERT_VALIDATION, REJECTED_NO, "revoked"},
    {"no CRL", ORIGIN(-362, -1, 42), TLS_REASON_CERT_VALIDATION, REJECTED_NO, "revocation list"},
    {"small RSA key", ORIGIN(-409, -1, 42), TLS_REASON_CERT_VALIDATION, REJECTED_NO, "min_rsa_bits"},
    {"bad signature", ORIGIN(-155, -1, 42), TLS_REASON_CERT_VALIDATION, REJECTED_NO, "signature"},
    {"a verify error without a row", ORIGIN(-243, -1, 42), TLS_REASON_CERT_VALIDATION, REJECTED_NO, "refused"},
    {"handshake_failure", ORIGIN(-313, 40, -1), TLS_REASON_HANDSHAKE, REJECTED_NO, "in common"},
    {"protocol_version", ORIGIN(-313, 70, -1), TLS_REASON_HANDSHAKE, REJECTED_NO, "TLS 1.2"},
    {"no_application_protocol", ORIGIN(-313, 120, -1), TLS_REASON_HANDSHAKE, REJECTED_NO, "ALPN"},
    {"unrecognized_name", ORIGIN(-313, 112, -1), TLS_REASON_HANDSHAKE, REJECTED_NO, "SNI"},
    {"internal_error", ORIGIN(-313, 80, -1), TLS_REASON_HANDSHAKE, REJECTED_NO, "log"},
    {"access_denied", ORIGIN(-313, 49, -1), TLS_REASON_HANDSHAKE, REJECTED_NO, "client certificate"},
    {"certificate_required", ORIGIN(-313, 116, -1), TLS_REASON_HANDSHAKE, REJECTED_NO, "client certificate"},
    {"an alert of no meaning", ORIGIN(-313, 99, -1), TLS_REASON_HANDSHAKE, REJECTED_NO, "alert"},
    {"origin refuses a certificate", ORIGIN(-313, 42, -1), TLS_REASON_HANDSHAKE, REJECTED_NO, "our client certificate"},
    {"warning, then close", ORIGIN_END(-308, 112, 0, 1), TLS_REASON_HANDSHAKE, REJECTED_NO, "SNI"},
    {"EOF", ORIGIN_END(-308, -1, 0, 1), TLS_REASON_EOF_OR_RESET, REJECTED_NO, "hung up"},
    {"EOF before any step", ORIGIN_END(0, -1, 0, 1), TLS_REASON_EOF_OR_RESET, REJECTED_NO, "hung up"},
    {"RST", ORIGIN_END(-308, -1, ECONNRESET, 1), TLS_REASON_EOF_OR_RESET, REJECTED_NO, "reset"},
    {"RST seen by nobody but errno", ORIGIN_END(-308, -1, ECONNRESET, 0), TLS_REASON_EOF_OR_RESET, REJECTED_NO, "reset"},
    {"bare FIN after the handshake", ORIGIN_END(-397, -1, 0, 1), TLS_REASON_EOF_OR_RESET, REJECTED_NO, "hung up"},
    {"close_notify, then EOF", ORIGIN_END(-308, 0, 0, 1), TLS_REASON_EOF_OR_RESET, REJECTED_NO, "hung up"},
    {"plain HTTP", ORIGIN_END(-341, -1, 0, 0), TLS_REASON_OTHER, REJECTED_NO, "not speak TLS"},
    {"SSH", ORIGIN_END(-311, -1, 0, 0), TLS_REASON_OTHER, REJECTED_NO, "not speak TLS"},
    {"HTTP after a ServerHello", {.error = -341, .alert_rx = -1, .alert_tx = -1, .spoke_tls = 1}, TLS_REASON_HANDSHAKE, REJECTED_NO, "rules"},
    {"SSH after a ServerHello", {.error = -311, .alert_rx = -1, .alert_tx = -1, .spoke_tls = 1}, TLS_REASON_HANDSHAKE, REJECTED_NO, "rules"},
    {"garbage ServerHello", ORIGIN_END(-326, -1, 0, 0), TLS_REASON_HANDSHAKE, REJECTED_NO, "version"},
    {"out of order", ORIGIN_END(-373, -1, 0, 0), TLS_REASON_HANDSHAKE, REJECTED_NO, "out of order"},
    {"any other error", ORIGIN_END(-304, -1, 0, 0), TLS_REASON_HANDSHAKE, REJECTED_NO, "rules"},
    {"no memory", ORIGIN_END(-303, -1, 0, 0), TLS_REASON_OTHER, REJECTED_NO, "memory"},
    {"nothing known", ORIGIN_END(0, -1, 0, 0), TLS_REASON_OTHER, REJECTED_NO, "not known"},
    {"silence", {.alert_rx = -1, .alert_tx = -1, .timeout = 1}, TLS_REASON_TIMEOUT, REJECTED_NO, "tls_handshake_timeout"},
    {"silent client", {.alert_rx = -1, .alert_tx = -1, .timeout = 1, .is_server = 1}, TLS_REASON_TIMEOUT, REJECTED_NO, "in time"},
    {"client: unknown_ca in plaintext", CLIENT(-306, 48), TLS_REASON_UNKNOWN_CA, REJECTED_CERTAIN, "ca env"},
    {"client: unknown_ca", CLIENT(-313, 48), TLS_REASON_UNKNOWN_CA, REJECTED_CERTAIN, "ca export"},
    {"client: bad_certificate", CLIENT(-313, 42), TLS_REASON_CERT_VALIDATION, REJECTED_CERTAIN, "ca env"},
    {"client: unsupported_certificate", CLIENT(-313, 43), TLS_REASON_CERT_VALIDATION, REJECTED_CERTAIN, "compat"},
    {"client: certificate_revoked", CLIENT(-313, 44), TLS_REASON_CERT_VALIDATION, REJECTED_LIKELY, "revocation"},
    {"client: certificate_expired", CLIENT(-313, 45), TLS_REASON_CERT_VALIDATION, REJECTED_CERTAIN, "clocks"},
    {"client: certificate_unknown", CLIENT(-313, 46), TLS_REASON_CERT_VALIDATION, REJECTED_CERTAIN, "pins"},
    {"client: protocol_version", CLIENT(-313, 70), TLS_REASON_HANDSHAKE, REJECTED_NO, "TLS 1.2"},
    {"client: hangs up", CLIENT_END(-308, -1, 0), TLS_REASON_EOF_OR_RESET, REJECTED_LIKELY, "may not trust"},
    {"client: resets", CLIENT_END(-308, -1, ECONNRESET), TLS_REASON_EOF_OR_RESET, REJECTED_LIKELY, "may not trust"},
    {"client: close_notify", CLIENT_END(-308, 0, 0), TLS_REASON_EOF_OR_RESET, REJECTED_LIKELY, "may not trust"},
    {"client: parse error without an alert", CLIENT(-306, -1), TLS_REASON_HANDSHAKE, REJECTED_NO, "rules"},
    {"client: no shared suite", CLIENT(-501, -1), TLS_REASON_HANDSHAKE, REJECTED_NO, "in common"},
};

static void taxonomy(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        struct tls_failure out;
        tls_failure_classify(&row->facts, &out);
        if (out.reason != row->reason || out.rejected_ca != row->rejected || !strstr(out.detail, row->says))
            fail_msg("%s: %s, rejected %s, \"%s\"", row->what, tls_reason_name(out.reason), tls_rejected_name(out.rejected_ca), out.detail);
        assert_memory_equal(&out.facts, &row->facts, sizeof out.facts);
        assert_true(strlen(out.detail) < sizeof out.detail - 1); /* nothing was cut */
    }
}

static void raw_has_the_numbers(void **state)
{
    struct tls_failure out;
    const struct tls_facts facts = {.error = -188, .alert_rx = 80, .alert_tx = 48, .verify_code = -188, .sys_errno = 104};
    (void)state;
    tls_failure_classify(&facts, &out);
    assert_non_null(strstr(out.raw, "wolfSSL -188 ("));
    assert_non_null(strstr(out.raw, "alert received 80, alert sent 48, verify -188, errno 104"));
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(tls_reason_name(TLS_REASON_UNKNOWN_CA), "unknown_ca");
    assert_string_equal(tls_reason_name(TLS_REASON_EOF_OR_RESET), "eof_or_reset");
    assert_string_equal(tls_reason_name(TLS_REASON_OTHER), "other");
    assert_string_equal(tls_rejected_name(REJECTED_CERTAIN), "certain");
    assert_string_equal(tls_rejected_name(REJECTED_NO), "no");
    assert_string_equal(tls_alert_name(48), "unknown_ca");
    assert_string_equal(tls_alert_name(120), "no_application_protocol");
    assert_null(tls_alert_name(-1));
    assert_null(tls_alert_name(99));
}

static struct tls_failure_counts add(struct tls_failure_stats *stats, const char *host, enum tls_reason reason, uint64_t seconds)
{
    struct tls_failure_counts counts;
    tls_failure_stats_add(stats, soth_span(host), reason, seconds * SECOND, &counts);
    return counts;
}

static void counters(void **state)
{
    (void)state;
    struct tls_failure_stats *stats = tls_failure_stats_new(2);
    assert_non_null(stats);
    struct tls_failure_counts c = add(stats, "a.test", TLS_REASON_UNKNOWN_CA, 1000);
    assert_true(c.host == 1 && c.host_rolling == 1 && c.source == 1 && c.reason == 1 && c.global == 1);
    c = add(stats, "b.test", TLS_REASON_UNKNOWN_CA, 1001);
    assert_true(c.host == 1 && c.host_rolling == 1 && c.source == 2 && c.reason == 2 && c.global == 2);
    c = add(stats, "a.test", TLS_REASON_TIMEOUT, 1250);
    assert_true(c.host == 2 && c.host_rolling == 2 && c.source == 3 && c.reason == 1 && c.global == 3);
    c = add(stats, "a.test", TLS_REASON_TIMEOUT, 1400); /* the one of 1000 is out, that of 1250 is not */
    assert_true(c.host == 3 && c.host_rolling == 2 && c.reason == 2);
    c = add(stats, "a.test", TLS_REASON_TIMEOUT, 9000);
    assert_true(c.host == 4 && c.host_rolling == 1);
    c = add(stats, "c.test", TLS_REASON_OTHER, 9000); /* b.test goes, it failed longest ago */
    assert_true(c.host == 1);
    c = add(stats, "a.test", TLS_REASON_OTHER, 9000);
    assert_true(c.host == 5);
    c = add(stats, "b.test", TLS_REASON_OTHER, 9000);
    assert_true(c.host == 1 && c.global == 8);
    tls_failure_stats_free(stats);
    tls_failure_stats_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taxonomy),
        cmocka_unit_test(raw_has_the_numbers),
        cmocka_unit_test(names),
        cmocka_unit_test(counters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
