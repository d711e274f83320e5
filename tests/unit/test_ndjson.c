/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/ndjson/ndjson.c modules/ndjson/records.c modules/match/media.c sdk/testhost/config.c sdk/testhost/cursor.c sdk/testhost/decode.c sdk/testhost/decoder.c sdk/testhost/event.c sdk/testhost/exchange.c sdk/testhost/fields.c sdk/testhost/guard.c sdk/testhost/head.c sdk/testhost/host.c sdk/testhost/policy.c sdk/testhost/sink.c sdk/testhost/text.c sdk/testhost/tokens.c */
/* The module ndjson: which messages it reads in which way, both directions, limits, and bodies that are none of its business. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sdk/testhost/testhost.h"

extern const struct soth_module soth_mitm_module;

#define SAYS(text_) ((const struct testhost_step[]){{SOTH_TO_CLIENT, TESTHOST_TEXT(text_)}})
#define HEAD "HTTP/1.1 200 OK\nContent-Type: "

static unsigned check(const char *const *config, const struct testhost_case *c)
{
    struct testhost *host = testhost_new(&soth_mitm_module, config, NULL);
    assert_non_null(host);
    unsigned faults = testhost_decoder(host, c);
    return testhost_free(host) + faults;
}

static void lines_in_both_directions(void **state)
{
    static const struct testhost_step steps[] = {{SOTH_TO_SERVER, TESTHOST_TEXT("{\"q\":1}\r\n\n2\n")}, {SOTH_TO_CLIENT, TESTHOST_TEXT("[1]\n{}")}};
    (void)state;
    assert_int_equal(check(NULL, &(struct testhost_case){
        .request = "POST / HTTP/1.1\nHost: a.test\nContent-Type: application/jsonl", .response = HEAD "Application/X-NDJSON; charset=utf-8",
        .steps = steps, .step_count = 2,
        .events = "stream_record data={\"q\":1} direction=client_to_server record_len=7 sequence_no=1\n"
                  "stream_record data=2 direction=client_to_server record_len=1 sequence_no=2\n"
                  "stream_record data=[1] direction=server_to_client record_len=3 sequence_no=1\n"
                  "stream_record data={} direction=server_to_client record_len=2 sequence_no=2\n"}), 0);
}

/* As much of a record as sinks want, and not more than there is. */
static void samples(void **state)
{
    static const struct {
        uint64_t most;
        const char *data;
    } cases[] = {{0, ""}, {1, "data=[ "}, {2, "data=[1 "}, {3, "data=[1] "}, {4, "data=[1] "}, {UINT64_MAX, "data=[1] "}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char events[128];
        struct testhost *host = testhost_new(&soth_mitm_module, NULL, NULL);
        assert_non_null(host);
        testhost_wanted(host, UINT64_MAX, cases[i].most);
        snprintf(events, sizeof events, "stream_record %sdirection=server_to_client record_len=3 sequence_no=1\n", cases[i].data);
        testhost_decoder(host, &(struct testhost_case){.response = HEAD "application/x-ndjson", .steps = SAYS(" [1]  \n"), .step_count = 1, .events = events});
        assert_int_equal(testhost_free(host), 0);
    }
}

static void sequences(void **state)
{
    static const char *const heads[] = {HEAD "application/json-seq", HEAD "application/geo+json-seq"};
    (void)state;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(check(NULL, &(struct testhost_case){
            .response = heads[i], .steps = SAYS("\x1e{\"a\":\n1}\n\x1e[1\x1e{}\n"), .step_count = 1,
            .events = "stream_record data={\"a\":\\n1} direction=server_to_client record_len=8 sequence_no=1\n"
                      "stream_record data={} direction=server_to_client record_len=2 sequence_no=2\n"}), 0);
}

static void concatenated(void **state)
{
    (void)state;
    assert_int_equal(check((const char *[]){"concatenated_types=[application/x-mine]", NULL}, &(struct testhost_case){
        .response = HEAD "application/x-mine", .steps = SAYS("{\"a\":[]}{} 7"), .step_count = 1,
        .events = "stream_record data={\"a\":[]} direction=server_to_client record_len=8 sequence_no=1\n"
                  "stream_record data={} direction=server_to_client record_len=2 sequence_no=2\n"
                  "stream_record data=7 direction=server_to_client record_len=1 sequence_no=3\n"}), 0);
}

static void opaque_bodies_yield_nothing(void **state)
{
    static const char *const heads[] = {HEAD "application/msgpack", HEAD "application/x-protobuf", HEAD "application/octet-stream",
                                        HEAD "application/json", HEAD "text/plain", "HTTP/1.1 200 OK", HEAD "application/jsonl\nContent-Encoding: br"};
    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        assert_int_equal(check(NULL, &(struct testhost_case){.response = heads[i], .steps = SAYS("\x83\xa1\x61\n\x01{}\n\x1e{}\n"), .step_count = 1,
                                                             .events = "", .leave_out = TESTHOST_LEAKS}), 0);
}

static void a_limit_detaches_or_closes(void **state)
{
    struct testhost_case c = {.response = HEAD "application/jsonl", .steps = SAYS("[1]\n[12345678]\n[2]\n"), .step_count = 1};
    (void)state;
    c.events = "stream_record data=[1] direction=server_to_client record_len=3 sequence_no=1\nfailed max_record_bytes\n";
    assert_int_equal(check((const char *[]){"max_record_bytes=8", NULL}, &c), 0);
    c.events = "stream_record data=[1] direction=server_to_client record_len=3 sequence_no=1\nfailed max_record_bytes close\n";
    assert_int_equal(check((const char *[]){"max_record_bytes=8", "on_overflow=close", NULL}, &c), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_in_both_directions),
        cmocka_unit_test(samples),
        cmocka_unit_test(sequences),
        cmocka_unit_test(concatenated),
        cmocka_unit_test(opaque_bodies_yield_nothing),
        cmocka_unit_test(a_limit_detaches_or_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
