/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/content_decode/content_decode.c modules/coding/ modules/match/media.c sdk/testhost/ */
/* needs: CODING */
/* The module content_decode: which messages it decodes, what those behind it see, and what a limit or a fault means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sdk/testhost/testhost.h"

extern const struct soth_module soth_mitm_module;

/* python: gzip.compress(b"one two three, one two three", 9, mtime=0) */
#define GZIPPED "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\xcf\x4b\x55\x28\x29\xcf\x57\x28\xc9\x28\x4a\x4d\xd5\x51\xc8\x47\xe6\x02\x00\xcb\x6c\xc7\xaf\x1c\x00\x00\x00"
#define PLAIN "one two three, one two three"
#define HEAD "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Encoding: "
#define SAYS(text_) ((const struct testhost_step[]){{SOTH_TO_CLIENT, TESTHOST_TEXT(text_)}})


static unsigned check(const char *const *config, const struct testhost_case *c)
{
    struct testhost *host = testhost_new(&soth_mitm_module, config, NULL);
    assert_non_null(host);
    unsigned faults = testhost_decoder(host, c);
    return testhost_free(host) + faults;
}

static void both_directions(void **state)
{
    static const struct testhost_step steps[] = {{SOTH_TO_SERVER, TESTHOST_TEXT(GZIPPED)}, {SOTH_TO_CLIENT, TESTHOST_TEXT(GZIPPED GZIPPED)}};
    struct testhost_case c = {.request = "POST / HTTP/1.1\nHost: a.test\nContent-Encoding: gzip", .response = HEAD "x-gzip", .steps = steps,
                              .step_count = 2, .events = ""};
    (void)state;
    c.out[SOTH_TO_SERVER] = (struct testhost_bytes)TESTHOST_TEXT(PLAIN);
    c.out[SOTH_TO_CLIENT] = (struct testhost_bytes)TESTHOST_TEXT(PLAIN PLAIN);
    assert_int_equal(check(NULL, &c), 0);
}

static void only_the_response(void **state)
{
    static const struct testhost_step steps[] = {{SOTH_TO_SERVER, TESTHOST_TEXT("question")}, {SOTH_TO_CLIENT, TESTHOST_TEXT(GZIPPED)}};
    struct testhost_case c = {.request = "POST / HTTP/1.1\nHost: a.test", .response = HEAD "gzip", .steps = steps, .step_count = 2, .events = ""};
    (void)state;
    c.out[SOTH_TO_SERVER] = (struct testhost_bytes)TESTHOST_TEXT("question");
    c.out[SOTH_TO_CLIENT] = (struct testhost_bytes)TESTHOST_TEXT(PLAIN);
    assert_int_equal(check(NULL, &c), 0);
}

static void what_it_does_not_know_passes(void **state)
{
    static const char *const heads[] = {HEAD "compress", HEAD "gzip, aes128gcm", HEAD "gzip\nContent-Encoding: unknown", HEAD "identity",
                                        HEAD "gzip\nContent-Range: bytes 0-5/100", "HTTP/1.1 200 OK"};
    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct testhost_case c = {.response = heads[i], .steps = SAYS(GZIPPED), .step_count = 1, .events = "", .leave_out = TESTHOST_LEAKS};
        c.out[SOTH_TO_CLIENT] = (struct testhost_bytes)TESTHOST_TEXT(GZIPPED);
        assert_int_equal(check(NULL, &c), 0);
    }
}

static void faults_have_names(void **state)
{
    struct testhost_case c = {.response = HEAD "gzip", .step_count = 1};
    (void)state;
    c.leave_out = TESTHOST_ROOM;
    c.steps = SAYS(PLAIN);
    c.events = "failed wrong_coding\n";
    assert_int_equal(check(NULL, &c), 0);
    c.steps = SAYS(GZIPPED "more");
    c.events = "failed trailing_garbage\n";
    assert_int_equal(check(NULL, &c), 0);
    c.steps = &(const struct testhost_step){SOTH_TO_CLIENT, {GZIPPED, sizeof GZIPPED - 5}};
    c.events = "failed truncated\n";
    c.leave_out = 0;
    assert_int_equal(check(NULL, &c), 0);
}

static void limits_close_if_they_are_told_to(void **state)
{
    struct testhost_case c = {.response = HEAD "gzip", .steps = SAYS(GZIPPED), .step_count = 1, .leave_out = TESTHOST_ROOM};
    (void)state;
    c.events = "failed max_bytes\n";
    assert_int_equal(check((const char *[]){"max_bytes=10", NULL}, &c), 0);
    c.events = "failed max_bytes close\n";
    assert_int_equal(check((const char *[]){"max_bytes=10", "on_overflow=close", NULL}, &c), 0);
    c.response = "HTTP/1.1 200 OK\nContent-Type: text/event-stream; x=y\nContent-Encoding: gzip"; /* bounded by its reader */
    c.events = "";
    c.leave_out = 0;
    c.out[SOTH_TO_CLIENT] = (struct testhost_bytes)TESTHOST_TEXT(PLAIN);
    assert_int_equal(check((const char *[]){"max_bytes=10", NULL}, &c), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_directions),
        cmocka_unit_test(only_the_response),
        cmocka_unit_test(what_it_does_not_know_passes),
        cmocka_unit_test(faults_have_names),
        cmocka_unit_test(limits_close_if_they_are_told_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
