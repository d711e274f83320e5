/* SPDX-License-Identifier: MPL-2.0 */
/* host/http/grpc.h: which requests are answered with a gRPC status, and how it is written. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "host/http/grpc.h"

static const char *type_of(const char *content_type, bool http2)
{
    struct message msg = {.is_request = true, .http2 = http2, .content_type = soth_span(content_type)};
    return grpc_answer_type(&msg);
}

static void which_requests_are_calls(void **state)
{
    (void)state;
    assert_string_equal(type_of("application/grpc", true), "application/grpc");
    assert_string_equal(type_of("Application/gRPC+proto; charset=x", true), "application/grpc");
    assert_null(type_of("application/grpc", false)); /* not over HTTP/1 */
    assert_string_equal(type_of("application/grpc-web", false), "application/grpc-web");
    assert_string_equal(type_of("application/grpc-web+proto", true), "application/grpc-web");
    assert_string_equal(type_of("application/grpc-web-text;x", false), "application/grpc-web-text");
    assert_null(type_of("application/grpcx", true));
    assert_null(type_of("application/json", true));
    assert_null(type_of(NULL, true));
}

static void what_a_status_becomes(void **state)
{
    (void)state;
    assert_int_equal(grpc_status(403), 7);
    assert_int_equal(grpc_status(502), 14);
    assert_int_equal(grpc_status(503), 14);
    assert_int_equal(grpc_status(508), 14);
    assert_int_equal(grpc_status(504), 4);
    assert_int_equal(grpc_status(408), 4);
    assert_int_equal(grpc_status(431), 8);
}

static void fields_are(unsigned status, const char *message, size_t n, const char *wanted)
{
    struct buffer out = {0};
    assert_int_equal(grpc_fields(&out, status, (struct soth_span){message, n}), 0);
    assert_int_equal(buffer_append(&out, "", 1), 0);
    assert_string_equal((const char *)buffer_data(&out), wanted);
    buffer_fini(&out);
}

static void messages_are_percent_encoded(void **state)
{
    char text[2000], wanted[1100] = "grpc-status: 14\r\ngrpc-message: ";
    (void)state;
    fields_are(7, "blocked by policy\n", 18, "grpc-status: 7\r\ngrpc-message: blocked by policy\r\n");
    fields_are(4, "50%\r\nx: \xc3\xa9\0", 11, "grpc-status: 4\r\ngrpc-message: 50%25%0D%0Ax: %C3%A9%00\r\n");
    fields_are(0, NULL, 0, "grpc-status: 0\r\ngrpc-message: \r\n");
    memset(text, 'x', sizeof text);
    memset(wanted + strlen(wanted), 'x', 1024);
    strcat(wanted, "\r\n");
    fields_are(14, text, sizeof text, wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_requests_are_calls),
        cmocka_unit_test(what_a_status_becomes),
        cmocka_unit_test(messages_are_percent_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
