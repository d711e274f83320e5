/* SPDX-License-Identifier: MPL-2.0 */
/* HTTP/2 on one side of a flow and HTTP/1 on the other; and streams that have an origin of their own. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "h2_talk.h"

static struct driver *const d = &talk.driver;
static struct h2_peer *const client = &talk.client, *const origin = &talk.origin;

static void a_client_of_http1(void **state)
{
    (void)state;
    talk_client_of_http1();
    rig_dialed(d);
    buffer_clear(&d->end[SIDE_CLIENT].got);
    rig_say(d, SIDE_CLIENT, "POST /up HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\r\n"
                             "3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n");
    h2_peer_init(origin, d, SIDE_ORIGIN, -1, 0);
    talk_expect(origin, "1 head POST /up a.test\n1 body abc\n1 trailers x-t=1\n1 end\n");
    h2_peer_respond(origin, 1, 200, "x-two: 2\n", false);
    h2_peer_body(origin, 1, "hello", 5, false);
    h2_peer_trailers(origin, 1, "x-u: 2\n");
    talk_run();
    rig_expect_sent(d, SIDE_CLIENT, "HTTP/1.1 200 \r\nx-two: 2\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                                     "5\r\nhello\r\n0\r\nx-u: 2\r\n\r\n");
    rig_expect_closed(d, "mitm_http_completed", NULL);
    talk_end();
}

/* Who captures bodies hears with the end of a stream that there is no more, whatever came with it. */
static void the_end_of_a_body_is_told(void **state)
{
    (void)state;
    talk_warm();
    driver_capture(d, BUS_PAYLOAD_FULL);
    h2_peer_ask(client, "POST", "/a", "a.test", "", false);
    h2_peer_body(client, 3, "abc", 3, false);
    talk_run();
    assert_string_equal(rig_attr(d, "request_body_chunk", "last"), "");
    h2_peer_body(client, 3, "", 0, true);
    talk_run();
    assert_string_equal(rig_attr(d, "request_body_chunk", "last"), "1");
    h2_peer_respond(origin, 3, 200, "", false);
    h2_peer_body(origin, 3, "hello", 5, false);
    talk_run();
    assert_string_equal(rig_attr(d, "response_body_chunk", "last"), "");
    h2_peer_trailers(origin, 3, "x-u: 2\n");
    talk_run();
    assert_string_equal(rig_attr(d, "response_body_chunk", "last"), "1");
    assert_string_equal(rig_attr(d, "response_body_chunk", "offset"), "5");
    assert_string_equal(rig_attr(d, "response_body_chunk", "http2_stream_id"), "3");
    h2_peer_ask(client, "POST", "/b", "a.test", "", false);
    h2_peer_body(client, 5, "abc", 3, true);
    talk_run();
    h2_peer_respond(origin, 5, 200, "", false);
    h2_peer_body(origin, 5, "last", 4, true);
    talk_run();
    assert_string_equal(rig_attr(d, "request_body_chunk", "last"), "1");
    assert_string_equal(rig_attr(d, "response_body_chunk", "last"), "1");
    assert_int_equal(rig_count(d, "request_body_chunk"), 4);
    talk_end();
}

static void an_upgrade_needs_http1(void **state)
{
    (void)state;
    talk_client_of_http1();
    rig_dialed(d);
    rig_say(d, SIDE_CLIENT, "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    driver_origin_tls(d, "a.test", "http/1.1");
    rig_dialed(d);
    rig_expect_sent(d, SIDE_ORIGIN, "GET /ws HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    talk_end();
}

/* A proxy's listener without TLS: each stream names a target of its own, which is decided. */
static void targets_of_their_own(void **state)
{
    (void)state;
    talk_begin();
    driver_accept(d);
    talk_speak();
    h2_peer_ask(client, "POST", "/a", "a.test:81", "x: 1\n", false);
    h2_peer_body(client, 1, "abc", 3, true);
    d->policy.blocked = "b.test";
    h2_peer_ask(client, "GET", "/b", "b.test", "", true);
    talk_run();
    assert_non_null(strstr(h2_peer_log(client), "3 head 403"));
    assert_int_equal(rig_count(d, "connect_decision"), 2);
    assert_true(driver_kin_dialed(d, 0));
    talk_run();
    struct buffer *got = &d->kin[0].origin.got;
    buffer_append(got, "", 1);
    assert_string_equal((const char *)buffer_data(got),
                        "POST /a HTTP/1.1\r\nHost: a.test:81\r\nx: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    const char *answer = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the close";
    buffer_append(&d->kin[0].origin.inbox, answer, strlen(answer));
    d->kin[0].origin.ends = true;
    talk_expect(client, "1 head 200\n1 body until the close\n1 end\n");
    talk_end();
}

/* What one stream has left the next one uses; two at once need two. */
static void connections_of_http1_are_used_again(void **state)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    (void)state;
    talk_begin();
    driver_accept(d);
    talk_speak();
    for (unsigned i = 0; i < 4; i++) {
        h2_peer_ask(client, "GET", "/a", "a.test", "", true);
        talk_run();
        assert_int_equal(d->kin[i].dialing, i == 0);
        driver_kin_dialed(d, i);
        buffer_append(&d->kin[i].origin.inbox, answer, sizeof answer - 1);
        talk_run();
    }
    assert_string_equal(h2_peer_log(client), "1 head 200 content-length=2\n1 body hi\n1 end\n3 head 200 content-length=2\n3 body hi\n3 end\n"
                        "5 head 200 content-length=2\n5 body hi\n5 end\n7 head 200 content-length=2\n7 body hi\n7 end\n");
    assert_int_equal(d->dials, 1);
    assert_int_equal(d->reused, 3);
    h2_peer_ask(client, "GET", "/b", "a.test", "", true);
    h2_peer_ask(client, "GET", "/c", "a.test", "", true);
    h2_peer_ask(client, "GET", "/d", "b.test", "", true);
    talk_run();
    assert_int_equal(d->dials, 3);
    talk_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_of_http1),
        cmocka_unit_test(the_end_of_a_body_is_told),
        cmocka_unit_test(an_upgrade_needs_http1),
        cmocka_unit_test(targets_of_their_own),
        cmocka_unit_test(connections_of_http1_are_used_again),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
