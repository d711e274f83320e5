/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A peer leaves while a policy keeps the flow waiting and nobody reads: the question is given up at once where nothing of it can be of use any
 * more, and only there. A client that only ended its side may still read.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "flow_rig.h"

#define CONNECT "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"
#define GET_A "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"
#define GET "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
#define OK_2 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
#define LEFT_MS 5000 /* for a client that has ended its side */

static void start(struct driver *d)
{
    rig_init(d);
    d->policy.pause_ms = 60000;
    driver_accept(d);
}

/* The policy thinks about this head. */
static void judged(struct driver *d, const char *head)
{
    start(d);
    d->policy.pauses = true;
    rig_say(d, SIDE_CLIENT, head);
    assert_true(flow_waits(d->flow));
}

/* And now about this beginning of a response. */
static void answered(struct driver *d, const char *response)
{
    start(d);
    rig_say(d, SIDE_CLIENT, GET_A);
    rig_dialed(d);
    rig_expect_sent(d, SIDE_ORIGIN, GET);
    d->policy.pauses = true;
    rig_say(d, SIDE_ORIGIN, response);
    assert_true(flow_waits(d->flow));
}

/* It has lost its interest in one question, at once. */
static void given_up(struct driver *d, const char *code, const char *detail)
{
    rig_expect_closed(d, code, detail);
    assert_int_equal(d->forgotten, 1);
    assert_true(rig_world.port->monotonic_ns == WORLD_START_NS);
    rig_fini(d);
}

/* ---- the client ---- */

static void a_client_that_resets_ends_the_question(void **state)
{
    struct driver d;
    (void)state;
    judged(&d, CONNECT);
    rig_hung_up(&d, SIDE_CLIENT, ECONNRESET);
    assert_string_equal(rig_attr(&d, "connect_decision", "action"), "block");
    given_up(&d, "client_aborted", "connect");
    answered(&d, OK_2);
    rig_hung_up(&d, SIDE_CLIENT, ECONNRESET);
    given_up(&d, "client_aborted", "response_body");
}

static void a_client_in_tls_that_resets(void **state)
{
    struct driver d;
    (void)state;
    start(&d);
    rig_intercepted(&d, "a.test");
    d.policy.pauses = true;
    rig_say(&d, SIDE_CLIENT, GET);
    assert_true(flow_waits(d.flow));
    rig_hung_up(&d, SIDE_CLIENT, ECONNRESET);
    given_up(&d, "client_aborted", "request_body");
}

/* printf 'GET ...' | nc: it has ended its side and waits for the answer. */
static void a_client_that_ends_its_side_gets_its_answer(void **state)
{
    struct driver d;
    (void)state;
    judged(&d, GET_A);
    d.policy.pauses = false;
    rig_hung_up(&d, SIDE_CLIENT, 0);
    rig_time(&d, LEFT_MS - 1);
    rig_expect_open(&d);
    driver_resume(&d, false);
    rig_run(&d);
    rig_dialed(&d);
    rig_say(&d, SIDE_ORIGIN, OK_2);
    assert_non_null(strstr(rig_take(&d, SIDE_CLIENT), "\r\n\r\nhi"));
    assert_int_equal(d.forgotten, 0);
    rig_expect_closed(&d, "mitm_http_completed", NULL);
    rig_fini(&d);
}

static void a_client_that_ended_its_side_is_gone_after_a_while(void **state)
{
    struct driver d;
    (void)state;
    judged(&d, GET_A);
    rig_time(&d, 10000);
    rig_hung_up(&d, SIDE_CLIENT, 0);
    rig_deadline(&d, LEFT_MS);
    rig_expect_closed(&d, "client_aborted", "request_body");
    assert_int_equal(d.forgotten, 1);
    rig_fini(&d);
}

/* The next wait has a time of its own. */
static void the_time_of_a_client_that_ended_counts_from_wait_to_wait(void **state)
{
    struct driver d;
    (void)state;
    judged(&d, GET_A);
    rig_hung_up(&d, SIDE_CLIENT, 0);
    rig_time(&d, LEFT_MS - 1000);
    d.policy.pauses = false;
    driver_resume(&d, false);
    rig_run(&d);
    rig_dialed(&d);
    d.policy.pauses = true;
    rig_time(&d, 2000);
    rig_say(&d, SIDE_ORIGIN, OK_2);
    assert_true(flow_waits(d.flow));
    rig_time(&d, LEFT_MS);
    rig_expect_open(&d);
    d.policy.pauses = false;
    driver_resume(&d, false);
    rig_run(&d);
    assert_non_null(strstr(rig_take(&d, SIDE_CLIENT), "\r\n\r\nhi"));
    rig_fini(&d);
}

/* ---- the origin ---- */

/* What it has sent is no whole response and never will be. */
static void an_origin_that_resets_ends_the_question(void **state)
{
    static const char *const halves[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nuntil it closes",
    };
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct driver d;
        answered(&d, halves[i]);
        rig_hung_up(&d, SIDE_ORIGIN, ECONNRESET);
        rig_expect_reply(&d, 502, "connection_terminated", "origin_truncated");
        given_up(&d, "mitm_http_error", "origin_truncated");
    }
}

/* All of it is here: the answer of the policy is worth waiting for. */
static void a_whole_response_outlives_its_origin(void **state)
{
    static const char *const wholes[] = {
        OK_2,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    };
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct driver d;
        answered(&d, wholes[i]);
        rig_hung_up(&d, SIDE_ORIGIN, ECONNRESET);
        assert_true(flow_waits(d.flow));
        d.policy.pauses = false;
        driver_resume(&d, false);
        rig_run(&d);
        assert_memory_equal(rig_take(&d, SIDE_CLIENT), "HTTP/1.1 20", 11);
        assert_int_equal(d.forgotten, 0);
        rig_expect_open(&d);
        rig_fini(&d);
    }
}

/* It is not this connection that the request needs. */
static void an_idle_origin_that_resets_changes_nothing(void **state)
{
    struct driver d;
    (void)state;
    start(&d);
    rig_say(&d, SIDE_CLIENT, GET_A);
    rig_dialed(&d);
    rig_say(&d, SIDE_ORIGIN, OK_2);
    rig_take(&d, SIDE_CLIENT);
    d.policy.pauses = true;
    rig_say(&d, SIDE_CLIENT, GET_A);
    rig_hung_up(&d, SIDE_ORIGIN, ECONNRESET);
    assert_true(flow_waits(d.flow));
    d.policy.pauses = false;
    driver_resume(&d, false);
    rig_run(&d);
    rig_dialed(&d);
    rig_say(&d, SIDE_ORIGIN, OK_2);
    assert_non_null(strstr(rig_take(&d, SIDE_CLIENT), "\r\n\r\nhi"));
    assert_int_equal(d.forgotten, 0);
    rig_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_resets_ends_the_question),
        cmocka_unit_test(a_client_in_tls_that_resets),
        cmocka_unit_test(a_client_that_ends_its_side_gets_its_answer),
        cmocka_unit_test(a_client_that_ended_its_side_is_gone_after_a_while),
        cmocka_unit_test(the_time_of_a_client_that_ended_counts_from_wait_to_wait),
        cmocka_unit_test(an_origin_that_resets_ends_the_question),
        cmocka_unit_test(a_whole_response_outlives_its_origin),
        cmocka_unit_test(an_idle_origin_that_resets_changes_nothing),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
