/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The host for tests of modules: right decoders pass, and get everything that a host tells them.
 * build: sdk/testhost/
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf_text.h"
#include "module_build.h"
#include "testhost_rig.h"

static char *folder;

static const struct soth_module *fixture(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.so", folder, name);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(handle);
    return dlsym(handle, "soth_mitm_module");
}

static int build(void **state)
{
    (void)state;
    folder = scratch_new();
    return module_build("tests/fixtures/lines.c", folder, "lines", "") || module_build("tests/fixtures/transform.c", folder, "transform", "");
}

static int drop(void **state)
{
    (void)state;
    scratch_free(folder);
    return 0;
}

/* ---- right ones ---- */

static void a_right_decoder_passes(void **state)
{
    (void)state;
    struct testhost *host = testhost_new(fixture("lines"), NULL, NULL);
    assert_non_null(host);
    struct testhost_case c = {.name = "lines", .response = PLAIN, .steps = SAYS("one\ntwo\n#note\n\nthree"), .step_count = 1, .events = "",
                              .out[SOTH_TO_CLIENT] = TESTHOST_TEXT("one\ntwo\n\nthree")};
    assert_int_equal(testhost_decoder(host, &c), 0);
    assert_true(testhost_count(host, "lines") > 100);
    c.response = "HTTP/1.1 200 OK\nContent-Type: text/html"; /* not watched: all of it passes */
    c.out[SOTH_TO_CLIENT] = (struct testhost_bytes)TESTHOST_TEXT("one\ntwo\n#note\n\nthree");
    assert_int_equal(testhost_decoder(host, &c), 0);
    assert_int_equal(testhost_free(host), 0);
}

static void a_failure_is_a_line(void **state)
{
    (void)state;
    struct testhost *host = testhost_new(fixture("lines"), (const char *[]){"max_line=3", NULL}, NULL);
    struct testhost_case c = {.response = PLAIN, .steps = SAYS("one\nthree\nfour\n"), .step_count = 1, .events = "failed limit\n"};
    c.out[SOTH_TO_CLIENT] = (struct testhost_bytes)TESTHOST_TEXT("one\nthree\nfour\n");
    assert_int_equal(testhost_decoder(host, &c), 0);
    assert_string_equal(testhost_events(host), "failed limit\n");
    assert_int_equal(testhost_out(host, SOTH_TO_CLIENT).n, 15);
    assert_int_equal(testhost_free(host), 0);
}

static void a_right_transform_passes(void **state)
{
    (void)state;
    struct testhost *host = testhost_new(fixture("transform"), (const char *[]){"to=elephant", "busy_every=7", NULL}, NULL);
    const struct testhost_step steps[] = {{SOTH_TO_SERVER, TESTHOST_TEXT("a cat, a ca")},
                                          {SOTH_TO_SERVER, TESTHOST_TEXT("tca")},
                                          {SOTH_TO_CLIENT, TESTHOST_TEXT("catcat")}};
    struct testhost_case c = {.request = "POST /a HTTP/1.1\nHost: a.test", .response = PLAIN, .steps = steps, .step_count = 3};
    c.out[SOTH_TO_SERVER] = (struct testhost_bytes)TESTHOST_TEXT("a elephant, a elephantca");
    c.out[SOTH_TO_CLIENT] = (struct testhost_bytes)TESTHOST_TEXT("elephantelephant");
    assert_int_equal(testhost_decoder(host, &c), 0);
    assert_int_equal(testhost_free(host), 0);
}

static void pauses_are_waited_for(void **state)
{
    (void)state;
    struct testhost *host = testhost_new(fixture("transform"), (const char *[]){"pause_every=3", "deadline=5ms", "on_timeout=closed", NULL}, NULL);
    struct testhost_case c = {.response = PLAIN, .steps = SAYS("abc"), .step_count = 1, .leave_out = ~TESTHOST_RESUME & ~TESTHOST_CLOSE};
    assert_int_equal(testhost_decoder(host, &c), 0);
    assert_int_equal(testhost_free(host), 0);
}

/* ---- what a decoder gets ---- */

static struct {
    unsigned opened, closed, complete, trailers, timers;
    uint32_t flags;
    char heads[256];
} seen;

static int notes_match(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    (void)self;
    struct soth_span host = rig_api->hdr_get(flow, "host", 0), none = rig_api->hdr_get(flow, "none", 0);
    snprintf(seen.heads + strlen(seen.heads), sizeof seen.heads - strlen(seen.heads), "%u %.*s %.*s %u %.*s%s;", (unsigned)message->direction,
             SOTH_SPAN(message->method), SOTH_SPAN(message->target), (unsigned)message->status, SOTH_SPAN(host), none.p ? "?" : "");
    return SOTH_WATCH_BOTH;
}

static int notes_open(void *self, struct soth_flow *flow)
{
    (void)self;
    seen.opened++;
    return rig_api->timer(self, flow, 100);
}

static int notes_data(void *self, struct soth_flow *flow, struct soth_cursor *cur)
{
    (void)self;
    (void)flow;
    seen.flags |= cur->flags;
    return SOTH_CONTINUE;
}

static int notes_trailers(void *self, struct soth_flow *flow, const struct soth_message *trailers)
{
    (void)self;
    (void)flow;
    assert_int_equal(trailers->field_count, 2);
    assert_true(soth_span_is(trailers->fields[1].value, "two"));
    assert_false(seen.flags & SOTH_CUR_END); /* they come before the end */
    seen.trailers++;
    return SOTH_CONTINUE;
}

static int notes_timer(void *self, struct soth_flow *flow)
{
    (void)self;
    (void)flow;
    seen.timers++;
    return SOTH_CONTINUE;
}

static void notes_close(void *self, struct soth_flow *flow, uint32_t complete)
{
    (void)self;
    seen.closed++;
    seen.complete += complete;
    rig_api->emit(self, flow, SOTH_EV_RESPONSE_BODY_CHUNK, SOTH_ATTRS({"offset", SOTH_U64(7)}, {"bytes", SOTH_U64(complete)}));
}

static void a_decoder_gets_everything(void **state)
{
    static const struct soth_module module = DECODER(SOTH_TAP, SOTH_STAGE_SANITIZE, .create = rig_keeps_host, .match = notes_match, .open = notes_open,
                                                     .data = notes_data, .trailers = notes_trailers, .on_timer = notes_timer, .close = notes_close,
                                                     .state_size = 8);
    const struct testhost_step steps[] = {{SOTH_TO_CLIENT, TESTHOST_TEXT("abc")}, {TESTHOST_LATER, {NULL, 101}}, {SOTH_TO_CLIENT, TESTHOST_TEXT("d")}};
    struct testhost_case c = {.request = "POST /x?y HTTP/1.1\nHost: b.test", .response = PLAIN, .steps = steps, .step_count = 3,
                              .trailers[SOTH_TO_CLIENT] = "A: one\nB: two", .events = "response_body_chunk bytes=1 offset=7\n", .leave_out = ~0u};
    (void)state;
    struct testhost *host = testhost_new(&module, NULL, NULL);
    assert_int_equal(testhost_decoder(host, &c), 0);
    assert_string_equal(seen.heads, "0 POST /x?y 0 b.test;1 POST /x?y 200 ;");
    assert_int_equal(seen.opened, 1);
    assert_int_equal(seen.closed, 1);
    assert_int_equal(seen.complete, 1);
    assert_int_equal(seen.trailers, 1);
    assert_int_equal(seen.timers, 1);
    assert_int_equal(seen.flags, SOTH_CUR_END);
    assert_int_equal(testhost_free(host), 0);
}

static void after_a_101(void **state)
{
    const struct testhost_step steps[] = {{SOTH_TO_SERVER, TESTHOST_TEXT("up\n")}, {SOTH_TO_CLIENT, TESTHOST_TEXT("down\n")},
                                          {SOTH_TO_SERVER, TESTHOST_TEXT("#\nup\n")}};
    struct testhost_case c = {.response = "HTTP/1.1 101 Switching Protocols\nContent-Type: text/plain\nUpgrade: x", .steps = steps, .step_count = 3};
    (void)state;
    c.out[SOTH_TO_SERVER] = (struct testhost_bytes)TESTHOST_TEXT("up\nup\n");
    c.out[SOTH_TO_CLIENT] = (struct testhost_bytes)TESTHOST_TEXT("down\n");
    struct testhost *host = testhost_new(fixture("lines"), NULL, NULL);
    assert_int_equal(testhost_decoder(host, &c), 0);
    assert_int_equal(testhost_free(host), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_right_decoder_passes),
        cmocka_unit_test(a_failure_is_a_line),
        cmocka_unit_test(a_right_transform_passes),
        cmocka_unit_test(pauses_are_waited_for),
        cmocka_unit_test(a_decoder_gets_everything),
        cmocka_unit_test(after_a_101),
    };
    return cmocka_run_group_tests(tests, build, drop);
}
