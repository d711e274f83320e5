/* SPDX-License-Identifier: MPL-2.0 */
/* host/http/rewrite.h: what the documents of requests and responses do not show: another target and Host, plans, chunks, replies of our own,
 * and a buffer that gets no memory. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "host/http/h1.h"
#include "host/http/rewrite.h"

static const struct h1_limits strict = {.max_head_bytes = 65536, .strict_responses = true};

static const struct message *head(struct h1 **h1, bool response, const char *text)
{
    struct h1_event event;
    *h1 = response ? h1_new_response(&strict) : h1_new_request(&strict);
    assert_int_equal(h1_take(*h1, (const uint8_t *)text, strlen(text), &event), strlen(text));
    assert_int_equal(event.type, H1_HEAD);
    return event.message;
}

static void assert_bytes(struct buffer *out, const char *expected)
{
    assert_int_equal(buffer_append(out, "", 1), 0);
    assert_string_equal((const char *)buffer_data(out), expected);
    buffer_clear(out);
}

static void request_to(const char *text, struct rewrite_request how, const char *expected)
{
    struct h1 *h1;
    struct buffer out = {0};
    const struct message *msg = head(&h1, false, text);
    assert_int_equal(rewrite_request_head(&out, msg, &how), 0);
    assert_bytes(&out, expected);
    buffer_fini(&out);
    h1_free(h1);
}

static void another_target_and_host(void **state)
{
    struct rewrite_request how = {.target = soth_span("/x"), .host = soth_span("b.test:81")};
    (void)state;
    request_to("GET http://b.test:81/x HTTP/1.1\r\nA: 1\r\nhost: a.test\r\nB: 2\r\n\r\n", how,
               "GET /x HTTP/1.1\r\nA: 1\r\nhost: b.test:81\r\nB: 2\r\n\r\n");
    request_to("GET http://b.test:81/x HTTP/1.0\r\nA: 1\r\n\r\n", how, "GET /x HTTP/1.1\r\nHost: b.test:81\r\nA: 1\r\n\r\n");
    how.host = (struct soth_span){NULL, 0};
    request_to("GET http://b.test:81/x HTTP/1.1\r\nHost: a.test\r\n\r\n", how, "GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
}

static void an_upgrade_goes_only_where_it_is_kept(void **state)
{
    static const char text[] = "GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    struct rewrite_request how = {.target = soth_span("/x")};
    (void)state;
    request_to(text, how, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    how.keep_upgrade = true;
    request_to(text, how, "GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    request_to("GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", how, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void plans(void **state)
{
    static const struct {
        enum framing from;
        uint8_t minor;
        bool close, asks_10;
        enum rewrite_framing to;
        bool closes, keeps_10;
    } cases[] = {
        {FRAMING_NONE, 1, false, false, REWRITE_NONE, false, false},
        {FRAMING_LENGTH, 1, false, false, REWRITE_LENGTH, false, false},
        {FRAMING_LENGTH, 1, true, false, REWRITE_LENGTH, true, false},
        {FRAMING_LENGTH, 0, false, true, REWRITE_LENGTH, false, true},
        {FRAMING_LENGTH, 0, true, true, REWRITE_LENGTH, true, false},
        {FRAMING_CHUNKED, 1, false, false, REWRITE_CHUNKED, false, false},
        {FRAMING_CHUNKED, 0, false, true, REWRITE_UNTIL_CLOSE, true, false},
        {FRAMING_UNTIL_CLOSE, 1, false, false, REWRITE_UNTIL_CLOSE, true, false},
        {FRAMING_UNTIL_CLOSE, 0, false, true, REWRITE_UNTIL_CLOSE, true, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct message msg = {.framing = cases[i].from};
        struct rewrite_response how = {.client_minor = cases[i].minor, .close = cases[i].close, .keep_alive_10 = cases[i].asks_10};
        rewrite_plan_response(&msg, &how);
        assert_int_equal(how.framing, cases[i].to);
        assert_int_equal(how.close, cases[i].closes);
        assert_int_equal(how.keep_alive_10, cases[i].keeps_10);
    }
}

static void chunks(void **state)
{
    struct buffer out = {0};
    (void)state;
    assert_int_equal(rewrite_chunk_begin(&out, 1), 0);
    assert_bytes(&out, "1\r\n");
    assert_int_equal(rewrite_chunk_begin(&out, 0xabcdef0), 0);
    assert_bytes(&out, "abcdef0\r\n");
    assert_int_equal(rewrite_chunk_begin(&out, SIZE_MAX), 0);
    assert_bytes(&out, "ffffffffffffffff\r\n");
    assert_int_equal(rewrite_chunk_end(&out), 0);
    assert_bytes(&out, "\r\n");
    assert_int_equal(rewrite_last_chunk(&out, NULL), 0);
    assert_bytes(&out, "0\r\n\r\n");
    buffer_fini(&out);
}

static void what_may_be_a_trailer(void **state)
{
    static const char *const never[] = {"Host", "AUTHORIZATION", "Proxy-Authorization", "Proxy-Connection", "Set-Cookie", "Cookie",
                                        "Connection", "TE", "Trailer",
                                        "Transfer-Encoding", "Content-Length", "Content-Type", "Content-Encoding", "Content-Range",
                                        "Cache-Control", "Location", "Upgrade", "Range", "If-Match", "Expect", "Vary"};
    static const char *const may[] = {"X-Sum", "Digest", "Server-Timing", "grpc-status", "grpc-message", "ETag", "Hos", "Hosts"};
    struct soth_field field = {.value = {"1", 1}};
    uint8_t id = FIELD_OTHER;
    struct message msg = {.fields = &field, .ids = &id, .field_count = 1};
    struct buffer out = {0};
    char expected[64];
    (void)state;
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
        field.name = soth_span(never[i]);
        assert_int_equal(rewrite_last_chunk(&out, &msg), 0);
        assert_bytes(&out, "0\r\n\r\n");
    }
    for (size_t i = 0; i < sizeof may / sizeof *may; i++) {
        field.name = soth_span(may[i]);
        snprintf(expected, sizeof expected, "0\r\n%s: 1\r\n\r\n", may[i]);
        assert_int_equal(rewrite_last_chunk(&out, &msg), 0);
        assert_bytes(&out, expected);
    }
    buffer_fini(&out);
}

static void replies(void **state)
{
    struct buffer out = {0};
    struct reply reply = {.status = 403,
                          .error = "http_request_denied",
                          .content_type = "text/plain",
                          .body = soth_span("no\n"),
                          .client_minor = 1};
    (void)state;
    assert_int_equal(rewrite_reply(&out, &reply), 0);
    assert_bytes(&out, "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nCache-Control: no-store\r\n"
                       "Proxy-Status: soth-mitm; error=http_request_denied\r\n\r\nno\n");
    reply.head_only = true;
    reply.close = true;
    assert_int_equal(rewrite_reply(&out, &reply), 0);
    assert_bytes(&out, "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nCache-Control: no-store\r\n"
                       "Proxy-Status: soth-mitm; error=http_request_denied\r\nConnection: close\r\n\r\n");
    reply = (struct reply){.status = 503, .content_type = "text/plain", .extra = "Retry-After: 1\r\n", .client_minor = 0};
    assert_int_equal(rewrite_reply(&out, &reply), 0);
    assert_bytes(&out, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 0\r\nCache-Control: no-store\r\n"
                       "Retry-After: 1\r\nConnection: keep-alive\r\n\r\n");
    buffer_fini(&out);
}

/* Each status of the contract's table has its words. */
static void status_texts(void **state)
{
    static const int statuses[] = {400, 403, 407, 408, 413, 431, 502, 503, 504, 508};
    (void)state;
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        assert_string_not_equal(rewrite_status_text(statuses[i]), "Refused");
        assert_string_not_equal(rewrite_status_text(statuses[i]), "Error");
    }
    assert_string_equal(rewrite_status_text(499), "Refused");
    assert_string_equal(rewrite_status_text(599), "Error");
}

/* A value longer than any memory: reported once, at the end, and what was there stays. */
static void no_memory(void **state)
{
    struct soth_field field = {{"X", 1}, {"", SIZE_MAX / 2 + 2}};
    uint8_t id = FIELD_OTHER;
    struct message msg = {.is_request = true, .method = {"GET", 3}, .fields = &field, .ids = &id, .field_count = 1};
    struct rewrite_request how = {.target = soth_span("/")};
    struct rewrite_response response = {.client_minor = 1};
    struct buffer out = {0};
    (void)state;
    assert_int_equal(rewrite_request_head(&out, &msg, &how), -SOTH_ENOMEM);
    assert_memory_equal(buffer_data(&out), "GET / HTTP/1.1\r\n", 16);
    buffer_clear(&out);
    assert_int_equal(rewrite_response_head(&out, &msg, &response), -SOTH_ENOMEM);
    buffer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_target_and_host),
        cmocka_unit_test(an_upgrade_goes_only_where_it_is_kept),
        cmocka_unit_test(plans),
        cmocka_unit_test(chunks),
        cmocka_unit_test(what_may_be_a_trailer),
        cmocka_unit_test(replies),
        cmocka_unit_test(status_texts),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
