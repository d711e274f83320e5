/* SPDX-License-Identifier: MPL-2.0 */
/*
 * host/tls/session.h when something is wrong: certificates, alerts, time-outs. Connections that end:
 * test_session_ends.c.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "host/tls/cert.h"
#include "host/tls/issuer.h"
#include "host/tls/leaf.h"
#include "host/tls/session_state.h"
#include "session_pair.h"

#define DAY 86400

static struct pair_world world;
static struct trust *nobody, *careless; /* trusts no CA; does not verify */

static const struct pair_terms usual = {.leaf_host = "a.test", .host = "a.test", .sni = "a.test", .offered = "", .chosen = ""};

static struct trust *trust_of(const struct trust_config *config)
{
    char err[256];
    struct trust *trust = trust_new(config, err, sizeof err);
    if (!trust)
        fail_msg("%s", err);
    return trust;
}

static int set_up(void **state)
{
    (void)state;
    pair_world_init(&world);
    nobody = trust_of(&(struct trust_config){.session_cache = 4, .profile = TLS_PROFILE_DEFAULT});
    careless = trust_of(&(struct trust_config){.session_cache = 4, .profile = TLS_PROFILE_DEFAULT, .skip_verify = 1});
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    trust_free(nobody);
    trust_free(careless);
    pair_world_fini(&world);
    return 0;
}

/* A handshake in which the client refuses what it sees; `code` is wolfSSL's. */
static void refused(const struct pair_terms *terms, enum tls_reason reason, int code, int alert)
{
    struct pair pair;
    struct tls_failure f;
    int c, s;
    pair_open(&pair, &world, terms);
    pair_handshake(&pair, 0, &c, &s);
    assert_int_equal(c, -SOTH_ETLS);
    session_failure(pair.client, &f);
    if (f.reason != reason || f.facts.verify_code != code || f.facts.alert_tx != alert)
        fail_msg("%s: %s", tls_reason_name(f.reason), f.raw);
    assert_int_equal(f.rejected_ca, REJECTED_NO);
    assert_int_equal(f.facts.is_server, 0);
    assert_int_equal(session_should_retry(pair.client), 0);
    assert_int_equal(s, -SOTH_ETLS); /* and the alert reaches the server */
    session_failure(pair.server, &f);
    assert_int_equal(f.facts.alert_rx, alert);
    assert_int_equal(f.rejected_ca, REJECTED_CERTAIN);
    assert_int_equal(f.reason, alert == 48 ? TLS_REASON_UNKNOWN_CA : TLS_REASON_CERT_VALIDATION);
    assert_int_equal(session_handshake(pair.client), -SOTH_ETLS); /* it stays so */
    assert_int_equal(session_handshake(pair.server), -SOTH_ETLS);
    pair_close(&pair);
}

static void certificates(void **state)
{
    (void)state;
    for (int tls12 = 0; tls12 <= 1; tls12++) {
        struct pair_terms terms = usual;
        terms.tls12 = tls12;
        terms.trust = nobody;
        refused(&terms, TLS_REASON_UNKNOWN_CA, -188, 48);
        terms.trust = NULL;
        terms.host = "b.test";
        refused(&terms, TLS_REASON_CERT_VALIDATION, -322, 42);
        terms.host = "192.0.2.7"; /* an address, and a certificate for a name */
        refused(&terms, TLS_REASON_CERT_VALIDATION, -322, 42);
        terms.leaf_host = "192.0.2.8";
        refused(&terms, TLS_REASON_CERT_VALIDATION, -322, 42);
        terms.leaf_host = "2001:db8::8";
        terms.host = "2001:db8::7";
        refused(&terms, TLS_REASON_CERT_VALIDATION, -322, 42);
        terms.leaf_host = "*.x.test"; /* one label only */
        terms.host = "a.b.x.test";
        refused(&terms, TLS_REASON_CERT_VALIDATION, -322, 42);
        terms.leaf_host = terms.host = "old.test";
        terms.leaf_age = 60 * DAY;
        refused(&terms, TLS_REASON_CERT_VALIDATION, -151, 45);
        terms.leaf_host = terms.host = "new.test";
        terms.leaf_age = -60 * DAY;
        refused(&terms, TLS_REASON_CERT_VALIDATION, -150, 45);
    }
}

static void not_verified(void **state)
{
    static const struct {
        const char *host;
        int code;
    } rows[] = {{"a.test", -188}, {"b.test", -322}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pair pair;
        struct tls_failure f;
        struct pair_terms terms = usual;
        terms.trust = careless;
        terms.host = rows[i].host;
        pair_connect(&pair, &world, &terms);
        session_failure(pair.client, &f);
        assert_int_equal(f.facts.verify_code, rows[i].code); /* known all the same */
        pair_close(&pair);
    }
    struct pair pair;
    struct tls_failure f;
    struct trust_config config = {.extra_ca_file = world.files.cert, .skip_verify = 1, .profile = TLS_PROFILE_DEFAULT};
    struct pair_terms terms = usual;
    struct trust *trust = terms.trust = trust_of(&config);
    terms.host = "b.test";
    pair_connect(&pair, &world, &terms);
    session_failure(pair.client, &f);
    assert_int_equal(f.facts.verify_code, -322);
    pair_close(&pair);
    trust_free(trust);
}

static const char small_rsa[] =
    "-----BEGIN RSA PRIVATE KEY-----\n"
    "MIICXAIBAAKBgQDh2iuwxTaoZl2aBo6i7XvO9oPJkCbK7AL0D2GxoBF5Fro3aFhA\n"
    "nS0PbmwPs6XXTrOPQ3zQRZ5TIM2I56/lm7WLHOMLeEKu0vaCAqsd4oBs0YZ3G9zl\n"
    "tNxYAR0RQHBdSixMFuYaPtOJKOEt4LqBp5zghK9q5ejKf8qrj+odig2m/wIDAQAB\n"
    "AoGAAi9UIN+nibWDzkul8ZmOixADcl28olXqKWZEsa00vhEkOAkAYY+jsfSFgxlf\n"
    "z1dpkUc729/wiilVE6/6GaSJ+wvjC9pmvnVcLZ4mpZdKMGHdgslmeRlAb4T4jC/q\n"
    "C3AShy/HjsQpXbObBtukPZhwNvU/yDHpznEXdJjSrSbX/hECQQD3JH7KzTVTVBHd\n"
    "+baH7uR0hyfsIk+d1tPJ01gBP8wx3LsbB3T1aHcptp1k6VLzA+FzVi0VgexL9aOf\n"
    "nAhvEv6DAkEA6fJWyxkQeOq5f9d2uSSkmzkw8DrJ4retpEhyzTqE7yNy+sL3xbsT\n"
    "ODWu5sfMtxjWGSAg3VKJC36/JRcthrtM1QJAPtcwxjBXltCRmnecSgQcYuTa6dfv\n"
    "lprBT1hF0EuAiE0v5jeHLb9aTWj5rGcHiHM8KC+JVyaqBsZ2zGbIXjXeMQJACJBN\n"
    "awvU1YhKGArsFqTnvaLfTrvoLftpSM06HpcYzKQwjktaxIsvjewxJdOEg+NN2weZ\n"
    "DGD8EUanepUZnof2rQJBAJPkpsG7Y4zYEYd+KJAEFUexvJ8urL+W3GMiAHCypv6H\n"
    "Kk45N60mOpMXMBCbKYGUTYTBSB4fZFBKZNEqvh9mHSk=\n"
    "-----END RSA PRIVATE KEY-----\n";

static void small_key(void **state)
{
    uint8_t bytes[CERT_DER_MAX];
    struct der cert = {.p = bytes, .cap = sizeof bytes};
    const struct cert_terms valid = {.serial = {0x41}, .not_before = time(NULL) - DAY, .not_after = time(NULL) + DAY};
    const char *fault;
    struct pair pair;
    struct tls_failure f;
    size_t n;
    int c, s;
    (void)state;
    struct private_key *key = private_key_parse(small_rsa, strlen(small_rsa), &fault);
    assert_non_null(key);
    assert_int_equal(cert_make_leaf(world.authority->issuer->key, &world.authority->issuer->cert, key, soth_span("a.test"), &valid, &cert), 0);
    const uint8_t *der = private_key_traditional(key, &n);
    pair_open(&pair, &world, &usual);
    assert_int_equal(wolfSSL_SetMinRsaKey_Sz(pair.server->tls, 1024), WOLFSSL_SUCCESS);
    assert_int_equal(wolfSSL_use_certificate_buffer(pair.server->tls, cert.p, (long)cert.len, WOLFSSL_FILETYPE_ASN1), WOLFSSL_SUCCESS);
    assert_int_equal(wolfSSL_use_PrivateKey_buffer(pair.server->tls, der, (long)n, WOLFSSL_FILETYPE_ASN1), WOLFSSL_SUCCESS);
    pair_handshake(&pair, 0, &c, &s);
    assert_int_equal(c, -SOTH_ETLS);
    session_failure(pair.client, &f);
    assert_int_equal(f.reason, TLS_REASON_CERT_VALIDATION);
    assert_int_equal(f.facts.error, -409);
    pair_close(&pair);
    private_key_free(key);
}

/* What OpenSSL's clients send in TLS 1.3 when they refuse a certificate: in plaintext, which wolfSSL does not read. */
static void plaintext_alert(void **state)
{
    static const uint8_t alert[] = {21, 3, 3, 0, 2, 2, 48};
    (void)state;
    for (size_t first = 0; first <= sizeof alert; first++) { /* cut in two everywhere; and, at 0, byte by byte */
        struct pair pair;
        struct tls_failure f;
        pair_open(&pair, &world, &usual);
        assert_int_equal(session_handshake(pair.client), -SOTH_EAGAIN);
        session_feed(pair.server, buffer_data(&pair.to_server), buffer_size(&pair.to_server));
        assert_int_equal(session_handshake(pair.server), -SOTH_EAGAIN);
        int r = -SOTH_EAGAIN;
        for (size_t at = 0; at < sizeof alert;) {
            size_t n = first == 0 ? 1 : at < first ? first - at : sizeof alert - at;
            assert_int_equal(r, -SOTH_EAGAIN);
            session_feed(pair.server, alert + at, n);
            r = session_handshake(pair.server);
            assert_int_equal(session_unused(pair.server), 0);
            at += n;
        }
        assert_int_equal(r, -SOTH_ETLS);
        session_failure(pair.server, &f);
        assert_int_equal(f.reason, TLS_REASON_UNKNOWN_CA);
        assert_int_equal(f.rejected_ca, REJECTED_CERTAIN);
        assert_int_equal(f.facts.alert_rx, 48);
        pair_close(&pair);
    }
}

static void plaintext_alert_that_ends(void **state)
{
    static const uint8_t header[] = {21, 3, 3, 0, 2};
    struct pair pair;
    struct tls_failure f;
    (void)state;
    pair_open(&pair, &world, &usual);
    assert_int_equal(session_handshake(pair.client), -SOTH_EAGAIN);
    session_feed(pair.server, buffer_data(&pair.to_server), buffer_size(&pair.to_server));
    assert_int_equal(session_handshake(pair.server), -SOTH_EAGAIN);
    session_feed(pair.server, header, sizeof header);
    assert_int_equal(session_handshake(pair.server), -SOTH_EAGAIN);
    session_feed(pair.server, NULL, 0);
    session_transport_ended(pair.server, 0);
    assert_int_equal(session_handshake(pair.server), -SOTH_ETLS);
    session_failure(pair.server, &f);
    assert_int_equal(f.facts.alert_rx, -1);
    assert_int_equal(f.reason, TLS_REASON_HANDSHAKE);
    pair_close(&pair);
}

static void damaged_record(void **state)
{
    struct pair pair;
    struct tls_failure f;
    uint8_t got[64];
    (void)state;
    pair_connect(&pair, &world, &usual);
    assert_int_equal(session_write(pair.client, (const uint8_t *)"0123456789", 10), 0);
    pair.to_server.p[pair.to_server.len - 1] ^= 1;
    session_feed(pair.server, buffer_data(&pair.to_server), buffer_size(&pair.to_server));
    assert_int_equal(session_read(pair.server, got, sizeof got), -SOTH_ETLS);
    assert_int_equal(session_read(pair.server, got, sizeof got), -SOTH_ETLS);
    session_failure(pair.server, &f);
    assert_int_equal(f.reason, TLS_REASON_HANDSHAKE);
    assert_int_equal(session_write(pair.server, (const uint8_t *)"x", 1), -SOTH_ETLS);
    pair_close(&pair);
}

/* An origin that wants a client certificate: in TLS 1.3 our side is done before it hears of it. */
static void client_certificate_wanted(void **state)
{
    struct pair pair;
    struct tls_failure f;
    uint8_t got[64];
    int c, s;
    (void)state;
    pair_open(&pair, &world, &usual);
    wolfSSL_set_verify(pair.server->tls, WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    pair_handshake(&pair, 0, &c, &s);
    assert_int_equal(c, 1);
    assert_int_equal(s, -SOTH_ETLS);
    session_feed(pair.client, buffer_data(&pair.to_client), buffer_size(&pair.to_client));
    assert_int_equal(session_read(pair.client, got, sizeof got), -SOTH_ETLS);
    session_failure(pair.client, &f);
    assert_int_equal(f.reason, TLS_REASON_HANDSHAKE);
    assert_int_equal(f.facts.alert_rx, 116);
    pair_close(&pair);
}

static void silence(void **state)
{
    struct pair pair;
    struct tls_failure f;
    (void)state;
    pair_open(&pair, &world, &usual);
    assert_int_equal(session_handshake(pair.client), -SOTH_EAGAIN);
    session_timed_out(pair.client);
    session_failure(pair.client, &f);
    assert_int_equal(f.reason, TLS_REASON_TIMEOUT);
    session_timed_out(pair.server);
    session_failure(pair.server, &f);
    assert_int_equal(f.reason, TLS_REASON_TIMEOUT);
    assert_int_equal(f.facts.is_server, 1);
    pair_close(&pair);
}

static void trust_files(void **state)
{
    char err[256];
    (void)state;
    assert_null(trust_new(&(struct trust_config){.extra_ca_file = "/nonexistent/ca.pem"}, err, sizeof err));
    assert_non_null(strstr(err, "/nonexistent/ca.pem"));
    assert_null(trust_new(&(struct trust_config){.extra_ca_file = world.files.key}, err, sizeof err));
    assert_non_null(strstr(err, world.files.key));
    struct trust *trust = trust_new(&(struct trust_config){.use_system_store = 1}, err, sizeof err);
    if (trust)
        trust_free(trust);
    else
        assert_non_null(strstr(err, "ca-certificates"));
    trust_free(NULL);
    session_free(NULL);
    leaf_put(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates),
        cmocka_unit_test(not_verified),
        cmocka_unit_test(small_key),
        cmocka_unit_test(plaintext_alert),
        cmocka_unit_test(plaintext_alert_that_ends),
        cmocka_unit_test(damaged_record),
        cmocka_unit_test(client_certificate_wanted),
        cmocka_unit_test(silence),
        cmocka_unit_test(trust_files),
    };
    if (tls_library_init() < 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    tls_library_fini();
    return failed;
}
