/* SPDX-License-Identifier: MPL-2.0 */
/* HTTP/2 on both sides of a flow: exchanges, refusals, resets, ends. What a stream does, its siblings do not notice. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "h2_talk.h"

static struct driver *const d = &talk.driver;
static struct h2_peer *const client = &talk.client, *const origin = &talk.origin;

static void one_exchange(void **state)
{
    (void)state;
    talk_begin();
    talk_connect();
    assert_int_equal(h2_peer_ask(client, "POST", "/up?q", "a.test", "x-one: 1\nte: trailers\ncookie: a=1\n", false), 1);
    h2_peer_body(client, 1, "hello", 5, false);
    talk_run();
    assert_int_equal(d->dials, 1);
    talk_answered(0);
    talk_expect(origin, "1 head POST /up?q a.test x-one=1 cookie=a=1 te=trailers\n1 body hello\n");
    h2_peer_respond(origin, 1, 103, "link: </a>\n", false);
    h2_peer_respond(origin, 1, 200, "x-two: 2\n", false);
    h2_peer_body(origin, 1, "answer", 6, false);
    talk_expect(client, "1 interim 103 link=</a>\n1 head 200 x-two=2\n1 body answer\n");
    h2_peer_trailers(client, 1, "x-sum: 7\n");
    talk_expect(origin, "1 trailers x-sum=7\n1 end\n");
    h2_peer_trailers(origin, 1, "grpc-status: 0\n");
    talk_expect(client, "1 trailers grpc-status=0\n1 end\n");
    assert_int_equal(rig_count(d, "stream_closed"), 1);
    assert_string_equal(rig_attr(d, "stream_closed", "reason_code"), "mitm_http_completed");
    assert_string_equal(rig_attr(d, "request_trailers", "http2_stream_id"), "1");
    rig_hang_up(d, SIDE_CLIENT, 0);
    talk_run();
    assert_true(d->closed);
    assert_string_equal(rig_attr(d, "stream_closed", "reason_code"), "mitm_http_completed");
    talk_end();
}

static void streams_share_the_origin(void **state)
{
    (void)state;
    talk_warm();
    for (int32_t id = 3; id <= 9; id += 2)
        assert_int_equal(h2_peer_ask(client, "GET", "/x", "a.test", "", true), id);
    talk_expect(origin, "3 head GET /x a.test\n3 end\n5 head GET /x a.test\n5 end\n7 head GET /x a.test\n7 end\n9 head GET /x a.test\n9 end\n");
    h2_peer_respond(origin, 7, 204, "", true);
    h2_peer_respond(origin, 3, 404, "", true);
    talk_expect(client, "7 head 204\n7 end\n3 head 404\n3 end\n");
    assert_int_equal(d->dials, 1);
    talk_end();
}

static void a_blocked_stream(void **state)
{
    (void)state;
    talk_warm();
    d->policy.request.action = SOTH_BLOCK;
    d->policy.request.reason = "rule";
    h2_peer_ask(client, "POST", "/no", "a.test", "", false);
    h2_peer_body(client, 3, "abc", 3, false);
    talk_run();
    talk_expect(origin, "");
    const char *log = h2_peer_log(client);
    assert_non_null(strstr(log, "3 head 403 content-type=text/plain"));
    assert_non_null(strstr(log, "3 end\n"));
    h2_peer_body(client, 3, "def", 3, true); /* it may say the rest, which goes nowhere */
    talk_run();
    talk_expect(origin, "");
    d->policy.request.action = SOTH_ALLOW;
    h2_peer_ask(client, "GET", "/yes", "a.test", "", true);
    talk_expect(origin, "3 head GET /yes a.test\n3 end\n"); /* the ids of its own connection */
    h2_peer_respond(origin, 3, 204, "", true);
    talk_expect(client, "5 head 204\n5 end\n"); /* and no reset of 3 */
    talk_end();
}

static void a_name_that_is_blocked(void **state)
{
    (void)state;
    talk_warm();
    d->policy.blocked = "b.test";
    h2_peer_ask(client, "GET", "/", "b.test", "", true);
    h2_peer_ask(client, "GET", "/", "c.test", "", true);
    h2_peer_ask(client, "GET", "/", "a.test", "host: b.test\n", true);
    talk_run();
    const char *log = h2_peer_log(client);
    assert_non_null(strstr(log, "3 head 403"));
    assert_non_null(strstr(log, "5 head 403"));
    talk_expect(origin, "3 head GET / a.test\n3 end\n"); /* our own codec sends no Host beside :authority */
    talk_end();
}

static void the_client_resets(void **state)
{
    (void)state;
    talk_warm();
    h2_peer_ask(client, "GET", "/a", "a.test", "", true);
    h2_peer_ask(client, "GET", "/b", "a.test", "", true);
    talk_expect(origin, "3 head GET /a a.test\n3 end\n5 head GET /b a.test\n5 end\n");
    h2_reset(client->h2, 3, H2_CANCEL);
    talk_expect(origin, "3 closed cancel\n");
    assert_string_equal(rig_attr(d, "stream_closed", "reason_code"), "client_aborted");
    assert_string_equal(rig_attr(d, "stream_closed", "reason_detail"), "response_head");
    h2_peer_respond(origin, 5, 200, "", true);
    talk_expect(client, "5 head 200\n5 end\n");
    talk_end();
}

static void the_origin_resets(void **state)
{
    (void)state;
    talk_warm();
    h2_peer_ask(client, "POST", "/a", "a.test", "", false);
    h2_peer_ask(client, "GET", "/b", "a.test", "", true);
    talk_run();
    h2_peer_respond(origin, 3, 200, "", false);
    h2_peer_body(origin, 3, "half", 4, false);
    talk_run();
    h2_reset(origin->h2, 3, H2_ENHANCE_YOUR_CALM);
    talk_expect(client, "3 head 200\n3 body half\n3 closed enhance_your_calm\n");
    assert_string_equal(rig_attr(d, "stream_closed", "reason_detail"), "origin_reset:enhance_your_calm");
    h2_peer_respond(origin, 5, 200, "", true);
    talk_expect(client, "5 head 200\n5 end\n");
    talk_end();
}

/* An answer before the request's end, and then the origin wants no more. */
static void an_early_answer(void **state)
{
    (void)state;
    talk_warm();
    h2_peer_ask(client, "POST", "/a", "a.test", "", false);
    talk_run();
    h2_peer_respond(origin, 3, 200, "", true);
    talk_run();
    h2_reset(origin->h2, 3, H2_NO_ERROR);
    talk_expect(client, "3 head 200\n3 end\n"); /* it may say the rest, which goes nowhere */
    assert_string_equal(rig_attr(d, "stream_closed", "reason_code"), "mitm_http_completed");
    talk_end();
}

/* ---- ends ---- */

static void the_client_leaves(void **state)
{
    (void)state;
    talk_warm();
    h2_peer_ask(client, "GET", "/a", "a.test", "", true);
    h2_peer_ask(client, "POST", "/b", "a.test", "", false);
    talk_run();
    rig_hang_up(d, SIDE_CLIENT, 0);
    assert_true(d->closed);
    assert_int_equal(rig_count(d, "stream_closed"), 4);
    assert_int_equal(d->counters.closed[CLOSE_CLIENT_ABORTED], 3);
    talk_end();
}

static void a_drain(void **state)
{
    (void)state;
    talk_warm();
    h2_peer_ask(client, "GET", "/a", "a.test", "", true);
    talk_run();
    h2_peer_log(origin);
    rig_step(d, INPUT_DRAIN);
    talk_expect(client, "goaway no_error -1\ngoaway no_error 3\n");
    rig_deadline(d, 1000);
    talk_expect(client, ""); /* it was told */
    rig_expect_open(d);
    h2_peer_respond(origin, 3, 200, "", true);
    talk_run();
    assert_true(d->closed);
    assert_string_equal(rig_attr(d, "stream_closed", "reason_code"), "mitm_http_completed");
    talk_end();
}

static void a_flood(void **state)
{
    static const char ping[] = "\0\0\x08\6\0\0\0\0\0xxxxxxxx";
    (void)state;
    talk_warm();
    h2_peer_ask(client, "GET", "/a", "a.test", "", true);
    talk_run();
    for (int i = 0; i < 3000 && !d->closed; i++)
        rig_say_bytes(d, SIDE_CLIENT, ping, sizeof ping - 1);
    assert_true(d->closed);
    assert_string_equal(rig_attr(d, "stream_closed", "reason_detail"), "h2_flood:ping");
    assert_int_equal(d->counters.closed[CLOSE_MITM_HTTP_ERROR], 2);
    talk_end();
}

static void an_idle_connection(void **state)
{
    (void)state;
    talk_warm();
    rig_deadline(d, 60000);
    talk_run();
    assert_true(d->closed);
    assert_string_equal(rig_attr(d, "stream_closed", "reason_code"), "idle_watchdog_timeout");
    assert_string_equal(rig_attr(d, "stream_closed", "reason_detail"), "idle");
    talk_end();
}

static void a_policy_that_thinks(void **state)
{
    (void)state;
    talk_warm();
    d->policy.pauses = true;
    h2_peer_ask(client, "GET", "/slow", "a.test", "", true);
    talk_expect(origin, "");
    h2_reset(client->h2, 3, H2_CANCEL); /* it does not wait for that */
    talk_run();
    assert_string_equal(rig_attr(d, "stream_closed", "reason_code"), "client_aborted");
    d->policy.pauses = false;
    h2_peer_ask(client, "GET", "/fast", "a.test", "", true);
    talk_expect(origin, "3 head GET /fast a.test\n3 end\n");
    talk_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_exchange),
        cmocka_unit_test(streams_share_the_origin),
        cmocka_unit_test(a_blocked_stream),
        cmocka_unit_test(a_name_that_is_blocked),
        cmocka_unit_test(the_client_resets),
        cmocka_unit_test(the_origin_resets),
        cmocka_unit_test(an_early_answer),
        cmocka_unit_test(the_client_leaves),
        cmocka_unit_test(a_drain),
        cmocka_unit_test(a_flood),
        cmocka_unit_test(an_idle_connection),
        cmocka_unit_test(a_policy_that_thinks),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
