/* SPDX-License-Identifier: MPL-2.0 */
/* What the TLS library is patched for (scripts/wolfssl): keys of X25519 are those of RFC 7748, however they are made, and randomness is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "host/tls/session.h"
#include "host/tls/wolf.h"

#include <wolfssl/wolfcrypt/curve25519.h>
#include <wolfssl/wolfcrypt/random.h>

#define SIZE 32u

static void clamp(uint8_t key[SIZE])
{
    key[0] &= 248;
    key[31] = (uint8_t)((key[31] & 127) | 64);
}

/* RFC 7748, 6.1 */
static void keys_of_the_rfc(void **state)
{
    static const uint8_t secret[2][SIZE] = {
        {0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45,
         0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a},
        {0x5d, 0xab, 0x08, 0x7e, 0x62, 0x4a, 0x8a, 0x4b, 0x79, 0xe1, 0x7f, 0x8b, 0x83, 0x80, 0x0e, 0xe6,
         0x6f, 0x3b, 0xb1, 0x29, 0x26, 0x18, 0xb6, 0xfd, 0x1c, 0x2f, 0x8b, 0x27, 0xff, 0x88, 0xe0, 0xeb},
    };
    static const uint8_t public[2][SIZE] = {
        {0x85, 0x20, 0xf0, 0x09, 0x89, 0x30, 0xa7, 0x54, 0x74, 0x8b, 0x7d, 0xdc, 0xb4, 0x3e, 0xf7, 0x5a,
         0x0d, 0xbf, 0x3a, 0x0d, 0x26, 0x38, 0x1a, 0xf4, 0xeb, 0xa4, 0xa9, 0x8e, 0xaa, 0x9b, 0x4e, 0x6a},
        {0xde, 0x9e, 0xdb, 0x7d, 0x7b, 0x7d, 0xc1, 0xb4, 0xd3, 0x5b, 0x61, 0xc2, 0xec, 0xe4, 0x35, 0x37,
         0x3f, 0x83, 0x43, 0xc8, 0x5b, 0x78, 0x67, 0x4d, 0xad, 0xfc, 0x7e, 0x14, 0x6f, 0x88, 0x2b, 0x4f},
    };
    (void)state;
    for (int i = 0; i < 2; i++) {
        uint8_t key[SIZE], made[SIZE];
        memcpy(key, secret[i], SIZE);
        clamp(key);
        assert_int_equal(wc_curve25519_make_pub(SIZE, made, SIZE, key), 0);
        assert_memory_equal(made, public[i], SIZE);
    }
}

/* The ladder, given the base point, is the other way to the same key. */
static void keys_as_the_ladder_makes_them(void **state)
{
    static const uint8_t base[SIZE] = {9};
    uint8_t key[SIZE], made[SIZE], climbed[SIZE];
    WC_RNG rng;
    (void)state;
    assert_int_equal(wc_InitRng(&rng), 0);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(wc_RNG_GenerateBlock(&rng, key, SIZE), 0);
        if (i < 2)
            memset(key, i ? 0xff : 0, SIZE);
        clamp(key);
        assert_int_equal(wc_curve25519_make_pub(SIZE, made, SIZE, key), 0);
        assert_int_equal(wc_curve25519_generic(SIZE, climbed, SIZE, key, SIZE, base), 0);
        assert_memory_equal(made, climbed, SIZE);
    }
    wc_FreeRng(&rng);
}

/* Whole blocks of it, also longer ones than the kernel gives at once. */
static void randomness_to_the_end(void **state)
{
    uint8_t a[1000] = {0}, b[1000] = {0};
    static const uint8_t nothing[16];
    WC_RNG rng;
    (void)state;
    assert_int_equal(wc_InitRng(&rng), 0);
    assert_int_equal(wc_RNG_GenerateBlock(&rng, a, sizeof a), 0);
    assert_int_equal(wc_RNG_GenerateBlock(&rng, b, sizeof b), 0);
    wc_FreeRng(&rng);
    for (size_t at = 0; at + sizeof nothing <= sizeof a; at += sizeof nothing) {
        assert_memory_not_equal(a + at, nothing, sizeof nothing);
        assert_memory_not_equal(a + at, b + at, sizeof nothing);
    }
    assert_memory_not_equal(a + sizeof a - sizeof nothing, nothing, sizeof nothing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_of_the_rfc),
        cmocka_unit_test(keys_as_the_ladder_makes_them),
        cmocka_unit_test(randomness_to_the_end),
    };
    if (tls_library_init() != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tls_library_fini();
    return failed;
}
