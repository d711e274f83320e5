/* SPDX-License-Identifier: MPL-2.0 */
/* A flow at the end of the process: what a drain lets go on and what it ends, and its deadline in every phase. */
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "flow_rig.h"

/* ---- drain ---- */

static void drained(struct driver *d, const char *code)
{
    rig_step(d, INPUT_DRAIN);
    rig_expect_closed(d, code, NULL);
    rig_fini(d);
}

static void a_drain_ends_what_rests(void **state)
{
    struct driver d;
    (void)state;
    rig_start(&d);
    drained(&d, "shutdown_drain");
    rig_exchanged(&d);
    drained(&d, "mitm_http_completed");
}

static void a_drain_lets_an_exchange_end(void **state)
{
    struct driver d;
    (void)state;
    rig_asked(&d, GET_A);
    rig_step(&d, INPUT_DRAIN);
    rig_expect_open(&d);
    rig_say(&d, SIDE_ORIGIN, OK_2);
    rig_expect_sent(&d, SIDE_CLIENT, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
    rig_expect_closed(&d, "mitm_http_completed", NULL);
    rig_fini(&d);

    rig_asked(&d, GET_A);
    rig_say(&d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh");
    rig_step(&d, INPUT_DRAIN);
    rig_say(&d, SIDE_ORIGIN, "i");
    rig_expect_closed(&d, "mitm_http_completed", NULL);
    rig_fini(&d);
}

static void a_drain_lets_a_head_come(void **state)
{
    struct driver d;
    (void)state;
    rig_start(&d);
    rig_say(&d, SIDE_CLIENT, "GET http://a.test/ HTTP/1.1\r\n");
    rig_step(&d, INPUT_DRAIN);
    rig_say(&d, SIDE_CLIENT, "Host: a.test\r\n\r\n");
    rig_dialed(&d);
    rig_say(&d, SIDE_ORIGIN, OK_2);
    rig_expect_closed(&d, "mitm_http_completed", NULL);
    rig_fini(&d);
}

static void a_drain_lets_a_tunnel_run(void **state)
{
    struct driver d;
    (void)state;
    rig_start(&d);
    rig_say(&d, SIDE_CLIENT, CONNECT "\x01\x02");
    rig_dialed(&d);
    rig_step(&d, INPUT_DRAIN);
    rig_say(&d, SIDE_ORIGIN, "x");
    rig_expect_open(&d);
    rig_step(&d, INPUT_ABORT);
    rig_expect_closed(&d, "shutdown_drain", NULL);
    rig_fini(&d);
}

/* ---- the drain's deadline, in every phase ---- */

static void begun(struct driver *d, unsigned phase)
{
    static const char *const said[] = {"", "CONN", CONNECT, CONNECT "\x01", GET_A};
    rig_start(d);
    rig_say(d, SIDE_CLIENT, said[phase < 5 ? phase : 2]);
    if (phase < 5)
        return;
    driver_client_tls(d, "a.test", HTTP11);
    rig_run(d);
    if (phase == 5)
        return;
    if (phase > 6)
        driver_origin_tls(d, "a.test", "http/1.1");
    rig_dialed(d);
    if (phase > 7)
        rig_say(d, SIDE_CLIENT, GET);
    if (phase > 8)
        rig_say(d, SIDE_ORIGIN, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx");
}

static void aborted_in_every_phase(void **state)
{
    (void)state;
    for (unsigned phase = 0; phase < 10; phase++) {
        struct driver d;
        begun(&d, phase);
        rig_step(&d, INPUT_ABORT);
        rig_expect_closed(&d, "shutdown_drain", NULL);
        rig_fini(&d);
    }
}

/* The driver frees it at once; whoever does not gets nothing more out of it. */
static void nothing_comes_after_the_close(void **state)
{
    static const uint8_t byte = 'x';
    static const struct input inputs[] = {
        {.type = INPUT_ABORT}, {.type = INPUT_ACCEPTED}, {.type = INPUT_DATA, .data = &byte, .size = 1}, {.type = INPUT_EOF},
        {.type = INPUT_DATA, .side = SIDE_ORIGIN, .data = &byte, .size = 1}, {.type = INPUT_EOF, .side = SIDE_ORIGIN, .error = EPIPE},
        {.type = INPUT_DIALED}, {.type = INPUT_DIAL_FAILED}, {.type = INPUT_TIMER}, {.type = INPUT_DRAIN}, {.type = INPUT_ABORT},
    };
    (void)state;
    for (unsigned phase = 0; phase < 10; phase++) {
        struct driver d;
        begun(&d, phase);
        for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
            struct buffer out[2] = {{0}, {0}};
            struct effects fx = {.out = {&out[0], &out[1]}};
            flow_step(d.flow, &inputs[i], &fx);
            assert_int_equal(fx.close, i == 0);
            assert_false(fx.dial || fx.close_origin || fx.shut[0] || fx.shut[1] || fx.direct[0] || fx.direct[1]);
            assert_true(i == 0 || buffer_size(&out[0]) + buffer_size(&out[1]) == 0);
            assert_false(flow_wants(d.flow, SIDE_CLIENT) || flow_wants(d.flow, SIDE_ORIGIN));
            assert_int_equal(flow_deadline(d.flow), 0);
            buffer_fini(&out[0]);
            buffer_fini(&out[1]);
        }
        rig_fini(&d);
    }
}

static void freed_in_every_phase(void **state)
{
    (void)state;
    for (unsigned phase = 0; phase < 10; phase++) {
        struct driver d;
        begun(&d, phase);
        rig_fini(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_drain_ends_what_rests),
        cmocka_unit_test(a_drain_lets_an_exchange_end),
        cmocka_unit_test(a_drain_lets_a_head_come),
        cmocka_unit_test(a_drain_lets_a_tunnel_run),
        cmocka_unit_test(aborted_in_every_phase),
        cmocka_unit_test(nothing_comes_after_the_close),
        cmocka_unit_test(freed_in_every_phase),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
