/* SPDX-License-Identifier: MPL-2.0 */
/* host/tls/session.h: a client and a server session talking over memory. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session_pair.h"

static struct pair_world world;

static const struct pair_terms usual = {.leaf_host = "a.test", .host = "a.test", .sni = "a.test", .offered = "\x02h2\x08http/1.1",
                                        .chosen = "http/1.1"};

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(tls_library_init(), 0);
    pair_world_init(&world, 0, 30);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pair_world_fini(&world);
    tls_library_fini();
    return 0;
}

static void full_handshake(void **state)
{
    struct pair pair;
    struct session_info info;
    (void)state;
    pair_connect(&pair, &world, &usual);
    session_describe(pair.client, &info);
    assert_string_equal(info.version, "TLSv1.3");
    assert_string_equal(info.cipher, "TLS_AES_128_GCM_SHA256");
    assert_string_equal(info.alpn, "http/1.1");
    assert_int_equal(info.resumed, 0);
    pair_say(&pair, 1, "question");
    pair_say(&pair, 0, "answer");
    session_describe(pair.server, &info);
    assert_string_equal(info.alpn, "http/1.1");
    assert_string_equal(info.cipher, "TLS_AES_128_GCM_SHA256");
    pair_close(&pair);
}

static void resumption(void **state)
{
    struct pair pair;
    struct session_info info;
    (void)state;
    for (int i = 0; i < 4; i++) {
        pair_connect(&pair, &world, &usual);
        pair_say(&pair, 1, "question");
        pair_say(&pair, 0, "answer");
        session_describe(pair.client, &info);
        if (i > 0)
            assert_int_equal(info.resumed, 1);
        session_describe(pair.server, &info);
        if (i > 0)
            assert_int_equal(info.resumed, 1);
        assert_string_equal(info.alpn, "http/1.1");
        pair_close(&pair);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_handshake),
        cmocka_unit_test(resumption),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
