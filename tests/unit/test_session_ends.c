/* SPDX-License-Identifier: MPL-2.0 */
/* host/tls/session.h over connections that end at any byte, and towards peers that speak no TLS. */
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session_pair.h"

static struct pair_world world;

static const struct pair_terms usual = {.leaf_host = "a.test", .host = "a.test", .sni = "a.test", .offered = "", .chosen = ""};

static int set_up(void **state)
{
    (void)state;
    pair_world_init(&world);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pair_world_fini(&world);
    return 0;
}

/* Feeds the first n bytes of the flight and ends the connection. */
static void end_at(struct session *s, const struct buffer *flight, size_t n, int sys_errno, int is_server)
{
    struct tls_failure f;
    session_feed(s, buffer_data(flight), n);
    assert_int_equal(session_handshake(s), -SOTH_EAGAIN);
    session_feed(s, NULL, 0);
    session_transport_ended(s, sys_errno);
    assert_int_equal(session_handshake(s), -SOTH_ETLS);
    session_failure(s, &f);
    if (f.reason != TLS_REASON_EOF_OR_RESET)
        fail_msg("ended after %zu bytes: %s, %s", n, tls_reason_name(f.reason), f.raw);
    assert_int_equal(f.facts.sys_errno, sys_errno);
    assert_int_equal(f.facts.eof, 1);
    assert_int_equal(f.rejected_ca, is_server ? REJECTED_LIKELY : REJECTED_NO);
    assert_int_equal(session_should_retry(s), 0);
}

static void end_within_the_hello(void **state)
{
    size_t size = 1;
    (void)state;
    for (size_t n = 0; n < size; n++) {
        struct pair pair;
        pair_open(&pair, &world, &usual);
        assert_int_equal(session_handshake(pair.client), -SOTH_EAGAIN);
        size = buffer_size(&pair.to_server);
        end_at(pair.server, &pair.to_server, n, n % 2 ? ECONNRESET : 0, 1);
        pair_close(&pair);
    }
    assert_true(size > 100);
}

static void end_within_the_answer(void **state)
{
    (void)state;
    for (int tls12 = 0; tls12 <= 1; tls12++) {
        size_t size = 1;
        for (size_t n = 0; n < size; n++) {
            struct pair pair;
            struct pair_terms terms = usual;
            terms.tls12 = tls12;
            pair_open(&pair, &world, &terms);
            assert_int_equal(session_handshake(pair.client), -SOTH_EAGAIN);
            session_feed(pair.server, buffer_data(&pair.to_server), buffer_size(&pair.to_server));
            assert_int_equal(session_handshake(pair.server), -SOTH_EAGAIN);
            size = buffer_size(&pair.to_client); /* a signature is some bytes longer or shorter each time */
            if (n < size)
                end_at(pair.client, &pair.to_client, n, n % 2 ? ECONNRESET : 0, 0);
            pair_close(&pair);
        }
        assert_true(size > 400);
    }
}

static void end_within_the_data(void **state)
{
    size_t size = 1;
    (void)state;
    for (size_t n = 0; n < size; n++) {
        struct pair pair;
        uint8_t got[64];
        pair_connect(&pair, &world, &usual);
        pair_say(&pair, 0, "tickets come with this");
        assert_int_equal(session_write(pair.server, (const uint8_t *)"0123456789", 10), 0);
        size = buffer_size(&pair.to_client);
        session_feed(pair.client, buffer_data(&pair.to_client), n);
        assert_int_equal(session_read(pair.client, got, sizeof got), -SOTH_EAGAIN);
        session_feed(pair.client, NULL, 0);
        session_transport_ended(pair.client, n % 2 ? ECONNRESET : 0);
        assert_int_equal(session_read(pair.client, got, sizeof got), -SOTH_EEOF);
        assert_int_equal(session_read(pair.client, got, sizeof got), -SOTH_EEOF);
        pair_close(&pair);
    }
    assert_true(size > 20);
}

static void garbage(const char *bytes, size_t n, enum tls_reason reason)
{
    struct pair pair;
    struct tls_failure f;
    pair_open(&pair, &world, &usual);
    assert_int_equal(session_handshake(pair.client), -SOTH_EAGAIN);
    session_feed(pair.client, (const uint8_t *)bytes, n);
    int r = session_handshake(pair.client);
    session_feed(pair.client, NULL, 0);
    if (r == -SOTH_EAGAIN) {
        session_transport_ended(pair.client, 0);
        r = session_handshake(pair.client);
    }
    assert_int_equal(r, -SOTH_ETLS);
    session_failure(pair.client, &f);
    if (f.reason != reason)
        fail_msg("%.10s: %s, %s", bytes, tls_reason_name(f.reason), f.raw);
    pair_close(&pair);
}

static void no_tls(void **state)
{
    static const char http[] = "HTTP/1.1 400 Bad Request\r\n\r\n", ssh[] = "SSH-2.0-OpenSSH_9.2\r\n";
    (void)state;
    garbage(http, sizeof http - 1, TLS_REASON_OTHER);
    garbage(ssh, sizeof ssh - 1, TLS_REASON_OTHER);
    garbage("\x15\x03\x03\0\x02\x02\x28", 7, TLS_REASON_HANDSHAKE); /* handshake_failure */
    garbage("\x15\x03\x03\0\x02\x02\x46", 7, TLS_REASON_HANDSHAKE); /* protocol_version */
    garbage("\x15\x03\x03\0\x02\x01\x70", 7, TLS_REASON_HANDSHAKE); /* unrecognized_name, a warning, and the end */
    garbage("\x16\x03\x03\0\x04\x02\0\0\0", 9, TLS_REASON_HANDSHAKE); /* an empty ServerHello */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(end_within_the_hello),
        cmocka_unit_test(end_within_the_answer),
        cmocka_unit_test(end_within_the_data),
        cmocka_unit_test(no_tls),
    };
    if (tls_library_init() < 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    tls_library_fini();
    return failed;
}
