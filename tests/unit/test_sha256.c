/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/sink_file/sha256.c */
/* SHA-256: the examples of FIPS 180-4, and every cut gives the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "modules/sink_file/sha256.h"

static void says(const void *p, size_t n, const char *wanted)
{
    char hex[65];
    for (size_t cut = 0; cut <= n && cut < 300; cut++) {
        struct sha256 s;
        sha256_init(&s);
        sha256_add(&s, p, cut);
        sha256_add(&s, (const char *)p + cut, n - cut);
        sha256_hex(&s, hex);
        assert_string_equal(hex, wanted);
    }
}

static void known_answers(void **state)
{
    static const char two[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    char *million = malloc(1000000);
    (void)state;
    says("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    says("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    says(two, sizeof two - 1, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    memset(million, 'a', 1000000);
    says(million, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

static void byte_by_byte(void **state)
{
    char text[200], whole[65], pieces[65];
    (void)state;
    memset(text, 'x', sizeof text);
    for (size_t n = 0; n <= sizeof text; n++) {
        struct sha256 a, b;
        sha256_init(&a);
        sha256_init(&b);
        sha256_add(&a, text, n);
        for (size_t i = 0; i < n; i++)
            sha256_add(&b, text + i, 1);
        sha256_hex(&a, whole);
        sha256_hex(&b, pieces);
        assert_string_equal(whole, pieces);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_answers), cmocka_unit_test(byte_by_byte)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
