/* SPDX-License-Identifier: MPL-2.0 */
/* host/http/h2.h: the documents of both roles. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "h2_play.h"
#include "h2_wire.h"

static void from_clients(void **state)
{
    (void)state;
    h2_play_all("tests/golden/h2/server.md");
}

static void from_origins(void **state)
{
    (void)state;
    h2_play_all("tests/golden/h2/client.md");
}

/* User information in an authority: guard.c refuses it, and the newer of the two nghttp2 that are in use (1.52, 1.64) before guard.c is asked. */
static void user_information(void **state)
{
    (void)state;
    static const struct h2_limits limits = {.max_header_list = 65536, .max_concurrent_streams = 100};
    static const char said[] = "PREFACE\nSETTINGS\nHEADERS 1 END_STREAM\n  :method: GET\n  :scheme: https\n  :authority: u@a.test\n  :path: /\n";
    struct h2 *h2 = h2_new_server(&limits);
    struct h2_wire wire;
    struct buffer in = {0};
    struct h2_event event = {.type = H2_HEAD};
    unsigned closed = 0;
    h2_wire_init(&wire);
    h2_wire_write_all(&wire, said, &in);
    for (size_t at = 0; event.type != H2_NONE;) {
        ssize_t r = h2_take(h2, buffer_data(&in) + at, buffer_size(&in) - at, 0, &event);
        assert_true(r >= 0);
        at += (size_t)r;
        assert_int_not_equal(event.type, H2_HEAD);
        if (event.type != H2_CLOSED)
            continue;
        closed++;
        assert_int_equal(event.cause, H2_BY_FAULT);
        assert_int_equal(event.code, NGHTTP2_PROTOCOL_ERROR);
        assert_true(strcmp(event.fault, "invalid_host") == 0 || strcmp(event.fault, "malformed_head") == 0);
    }
    assert_int_equal(closed, 1);
    buffer_fini(&in);
    h2_wire_fini(&wire);
    h2_free(h2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_clients),
        cmocka_unit_test(from_origins),
        cmocka_unit_test(user_information),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
