/* SPDX-License-Identifier: MPL-2.0 */
/* host/tls/staple_watch.h: a CertificateStatus among other handshake messages, cut at every byte; responses of every kind and garbage. */
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include "host/tls/der.h"
#include "host/tls/staple_watch.h"

/* An OCSPResponse that says the status with this tag: 0x80 good, 0xa1 revoked, 0x82 unknown. */
static size_t response(uint8_t *out, size_t cap, uint8_t status, int version)
{
    static const uint8_t basic_oid[] = {0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1};
    struct der der = {.p = out, .cap = cap};
    size_t all = der_open(&der, DER_SEQUENCE);
    der_put(&der, 0x0a, "\0", 1);
    size_t tagged = der_open(&der, DER_CONTEXT_CONSTRUCTED | 0), bytes = der_open(&der, DER_SEQUENCE);
    der_put(&der, DER_OID, basic_oid, sizeof basic_oid);
    size_t octets = der_open(&der, DER_OCTET_STRING), basic = der_open(&der, DER_SEQUENCE), data = der_open(&der, DER_SEQUENCE);
    if (version)
        der_put(&der, DER_CONTEXT_CONSTRUCTED | 0, "\2\1\0", 3);
    der_put(&der, DER_CONTEXT_CONSTRUCTED | 2, "\4\4abcd", 6);
    der_put(&der, DER_GENERALIZED_TIME, "20260101000000Z", 15);
    size_t responses = der_open(&der, DER_SEQUENCE), single = der_open(&der, DER_SEQUENCE);
    der_put(&der, DER_SEQUENCE, "\4\1a", 3); /* certID */
    der_put(&der, status, "\x18\x0f" "20260101000000Z", status == 0xa1 ? 17 : 0);
    der_close(&der, single);
    der_close(&der, responses);
    der_close(&der, data);
    der_close(&der, basic);
    der_close(&der, octets);
    der_close(&der, bytes);
    der_close(&der, tagged);
    der_close(&der, all);
    assert_false(der.failed);
    return der.len;
}

static void statuses(void **state)
{
    uint8_t der[256];
    (void)state;
    for (int version = 0; version < 2; version++) {
        assert_int_equal(staple_says_revoked(der, response(der, sizeof der, 0xa1, version)), 1);
        assert_int_equal(staple_says_revoked(der, response(der, sizeof der, 0x80, version)), 0);
        assert_int_equal(staple_says_revoked(der, response(der, sizeof der, 0x82, version)), 0);
    }
}

/* Every prefix at the end of a block of its own, so that reading on traps. */
static void cut_short(void **state)
{
    uint8_t der[256];
    size_t n = response(der, sizeof der, 0xa1, 1);
    (void)state;
    for (size_t part = 0; part < n; part++) {
        uint8_t *own = malloc(part ? part : 1);
        assert_non_null(own);
        memcpy(own, der, part);
        assert_int_equal(staple_says_revoked(own, part), 0);
        free(own);
    }
}

static void among_messages(void **state)
{
    uint8_t stream[512] = {2, 0, 0, 3, 'a', 'b', 'c', 14, 0, 0, 0, 22, 0, 0, 0, 1}, *at = stream + 16;
    size_t n = response(at + 3, 256, 0xa1, 1);
    (void)state;
    assert_true(n < 250);
    at[2] = (uint8_t)n;             /* of the response */
    stream[14] = (uint8_t)(n + 4);  /* of the message */
    size_t all = 16 + 3 + n;
    for (size_t cut = 0; cut < all; cut++) {
        struct staple_watch *watch = staple_watch_new();
        assert_non_null(watch);
        for (size_t done = 0; done < all;) {
            size_t part = cut == 0 ? 1 : done < cut ? cut - done : all - done;
            staple_watch_feed(watch, stream + done, part);
            done += part;
        }
        assert_int_equal(staple_watch_revoked(watch), 1);
        staple_watch_free(watch);
    }
}

static void nothing(void **state)
{
    struct staple_watch *watch = staple_watch_new();
    uint8_t huge[4096] = {22, 0xff, 0xff, 0xff};
    (void)state;
    assert_int_equal(staple_watch_revoked(watch), 0);
    for (int i = 0; i < 64; i++)
        staple_watch_feed(watch, huge, sizeof huge); /* bounded */
    assert_int_equal(staple_watch_revoked(watch), 0);
    staple_watch_free(watch);
    staple_watch_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses),
        cmocka_unit_test(cut_short),
        cmocka_unit_test(among_messages),
        cmocka_unit_test(nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
