/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/sse/sse.c modules/sse/parser.c modules/match/media.c sdk/testhost/config.c sdk/testhost/cursor.c sdk/testhost/decode.c sdk/testhost/decoder.c sdk/testhost/event.c sdk/testhost/exchange.c sdk/testhost/fields.c sdk/testhost/guard.c sdk/testhost/head.c sdk/testhost/host.c sdk/testhost/policy.c sdk/testhost/sink.c sdk/testhost/text.c sdk/testhost/tokens.c */
/* The module sse: which messages it reads, what it publishes, how frames are judged, what a limit means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sdk/testhost/testhost.h"

extern const struct soth_module soth_mitm_module;

#define SAYS(text_) ((const struct testhost_step[]){{SOTH_TO_CLIENT, TESTHOST_TEXT(text_)}})
#define STREAM "HTTP/1.1 200 OK\nContent-Type: Text/Event-Stream; charset=utf-8"

static unsigned check(const char *const *config, const struct testhost_case *c)
{
    struct testhost *host = testhost_new(&soth_mitm_module, config, NULL);
    assert_non_null(host);
    unsigned faults = testhost_decoder(host, c);
    return testhost_free(host) + faults;
}

static void events_in_every_way(void **state)
{
    (void)state;
    assert_int_equal(check(NULL, &(struct testhost_case){
        .response = STREAM, .step_count = 1,
        .steps = SAYS(": hi\r\n\r\nid: 7\nevent: token\ndata: a\ndata: b\n\nretry: 100\rdata: c\r\rdata: rest"),
        .events = "sse_event data=a\\nb data_len=3 data_line_count=2 event=token id=7 sequence_no=1\n"
                  "sse_event data=c data_len=1 data_line_count=1 id=7 retry_ms=100 sequence_no=2\n"
                  "sse_event data=rest data_len=4 data_line_count=1 id=7 partial=true sequence_no=3\n"}), 0);
}

/* As much of the data as sinks want, and not more than there is. */
static void samples(void **state)
{
    static const struct {
        uint64_t most;
        const char *data;
    } cases[] = {{0, ""}, {1, "data=a "}, {2, "data=a\\n "}, {3, "data=a\\nb "}, {4, "data=a\\nbc "}, {5, "data=a\\nbc "}, {UINT64_MAX, "data=a\\nbc "}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char events[128];
        struct testhost *host = testhost_new(&soth_mitm_module, NULL, NULL);
        assert_non_null(host);
        testhost_wanted(host, UINT64_MAX, cases[i].most);
        snprintf(events, sizeof events, "sse_event %sdata_len=4 data_line_count=2 sequence_no=1\n", cases[i].data);
        testhost_decoder(host, &(struct testhost_case){.response = STREAM, .steps = SAYS("data: a\ndata: bc\n\n"), .step_count = 1, .events = events});
        assert_int_equal(testhost_free(host), 0);
    }
}

/* An id is told whole by the event that brings it; what stays of a long one does not make all that follow long. */
static void a_long_id_is_told_once(void **state)
{
    char long_id[358], stream[1000], events[2000];
    (void)state;
    memset(long_id, 'x', 255);
    memcpy(long_id + 255, "\xc3\xa9", 2); /* the 256th byte ends no character */
    memset(long_id + 257, 'y', 100);
    long_id[357] = 0;
    snprintf(stream, sizeof stream, "id:%s\ndata:a\n\ndata:b\n\nid:%.256s\ndata:c\n\ndata:d\n\n", long_id, long_id + 100);
    snprintf(events, sizeof events, "sse_event data=a data_len=1 data_line_count=1 id=%s sequence_no=1\n"
             "sse_event data=b data_len=1 data_line_count=1 id=%.255s id_len=357 sequence_no=2\n"
             "sse_event data=c data_len=1 data_line_count=1 id=%.256s sequence_no=3\n"
             "sse_event data=d data_len=1 data_line_count=1 id=%.256s sequence_no=4\n", long_id, long_id, long_id + 100, long_id + 100);
    assert_int_equal(check(NULL, &(struct testhost_case){.response = STREAM, .steps = &(struct testhost_step){SOTH_TO_CLIENT, {stream, strlen(stream)}},
                                                         .step_count = 1, .events = events}), 0);
}

static void other_messages_are_left_alone(void **state)
{
    static const char *const heads[] = {"HTTP/1.1 200 OK\nContent-Type: text/plain", "HTTP/1.1 200 OK", STREAM "\nContent-Encoding: gzip",
                                        "HTTP/1.1 200 OK\nContent-Type: text/event-streams", "HTTP/1.1 204 No Content\nContent-Type: text/event-stream",
                                        "HTTP/1.1 304 Not Modified\nContent-Type: text/event-stream"};
    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        assert_int_equal(check(NULL, &(struct testhost_case){.response = heads[i], .steps = SAYS("data: a\n\n"), .step_count = 1, .events = ""}), 0);
    assert_int_equal(check(NULL, &(struct testhost_case){.request = "HEAD / HTTP/1.1\nHost: a.test", .response = STREAM, .steps = SAYS("data: a\n\n"),
                                                         .step_count = 1, .events = ""}), 0);
    static const struct testhost_step upload = {SOTH_TO_SERVER, TESTHOST_TEXT("data: a\n\n")};
    assert_int_equal(check(NULL, &(struct testhost_case){.request = "POST / HTTP/1.1\nHost: a.test\nContent-Type: text/event-stream",
                                                         .steps = &upload, .step_count = 1, .events = ""}), 0);
}

static void identity_is_no_coding(void **state)
{
    (void)state;
    assert_int_equal(check(NULL, &(struct testhost_case){
        .response = STREAM "\nContent-Encoding: identity", .steps = SAYS("data: a\n\n"), .step_count = 1,
        .events = "sse_event data=a data_len=1 data_line_count=1 sequence_no=1\n"}), 0);
}

static void a_limit_detaches_or_closes(void **state)
{
    struct testhost_case c = {.response = STREAM, .steps = SAYS("data: a\n\ndata: 0123456789012345678901234567890123456789\n\ndata: b\n\n"), .step_count = 1};
    (void)state;
    c.events = "sse_event data=a data_len=1 data_line_count=1 sequence_no=1\nfailed max_event_bytes\n";
    assert_int_equal(check((const char *[]){"max_event_bytes=32", NULL}, &c), 0);
    c.events = "sse_event data=a data_len=1 data_line_count=1 sequence_no=1\nfailed max_event_bytes close\n";
    assert_int_equal(check((const char *[]){"max_event_bytes=32", "on_overflow=close", NULL}, &c), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_in_every_way),
        cmocka_unit_test(samples),
        cmocka_unit_test(a_long_id_is_told_once),
        cmocka_unit_test(other_messages_are_left_alone),
        cmocka_unit_test(identity_is_no_coding),
        cmocka_unit_test(a_limit_detaches_or_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
