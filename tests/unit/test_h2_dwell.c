/* SPDX-License-Identifier: MPL-2.0 */
/* host/http/h2.h: a peer that keeps its windows shut. What is due to it waits, the proxy's own replies too, but not for ever. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "h2_server.h"

static const struct h2_limits dwelling = {.max_header_list = 65536, .max_concurrent_streams = 100, .zero_window_ns = 10 * SECOND};

static void begin_shut(struct h2_server *w)
{
    struct buffer out = {0};
    h2s_begin_with(w, &dwelling, "SETTINGS initial_window_size=0");
    assert_int_equal(h2_deadline_ns(w->h2), 0);
    h2s_request(w, 1, "GET", "END_STREAM");
    h2s_play(w);
    h2s_respond(w, 1, false);
    assert_int_equal(h2_body(w->h2, 1, (struct soth_span){"body", 4}, true, &out), 0);
    buffer_fini(&out);
    assert_int_equal(h2_deadline_ns(w->h2), w->now + 10 * SECOND);
}

static void zero_window(void **state)
{
    struct h2_server w;
    (void)state;
    begin_shut(&w);
    assert_int_equal(h2_check(w.h2, w.now + 10 * SECOND - 1), 0);
    assert_int_equal(h2_check(w.h2, w.now + 10 * SECOND), -SOTH_ELIMIT);
    h2s_ends_as(&w, "h2_flood:zero_window");
}

static void a_window_that_opens_in_time(void **state)
{
    struct h2_server w;
    struct buffer out = {0};
    (void)state;
    begin_shut(&w);
    w.now += 9 * SECOND;
    h2s_say(&w, "WINDOW_UPDATE 1 2");
    h2s_play(&w);
    assert_int_equal(w.writable, 1);
    assert_int_equal(h2_body(w.h2, 1, (struct soth_span){"body", 4}, true, &out), 2);
    assert_int_equal(h2_deadline_ns(w.h2), w.now + 10 * SECOND); /* anew */
    assert_int_equal(h2_check(w.h2, w.now + 9 * SECOND), 0);
    assert_int_equal(h2_reset(w.h2, 1, H2_CANCEL), 0);
    assert_int_equal(h2_deadline_ns(w.h2), 0); /* nobody waits any more */
    assert_int_equal(h2_check(w.h2, w.now + 90 * SECOND), 0);
    buffer_fini(&out);
    h2s_end(&w);
}

static size_t body(struct h2_server *w, int32_t id, const char *text)
{
    struct buffer out = {0};
    ssize_t taken = h2_body(w->h2, id, soth_span(text), false, &out);
    buffer_fini(&out);
    assert_true(taken >= 0);
    return (size_t)taken;
}

static void open_sibling(struct h2_server *w, int32_t id)
{
    h2s_request(w, id, "GET", "END_STREAM");
    h2s_play(w);
    h2s_respond(w, id, false);
}

/* One stream that is kept back among others that wait for no window is its flow's affair, also when they have nothing to say. */
static void one_that_is_paused(void **state)
{
    struct h2_server w;
    (void)state;
    begin_shut(&w);
    w.now += 9 * SECOND;
    open_sibling(&w, 3);
    assert_int_equal(h2_deadline_ns(w.h2), 0);
    w.now += 90 * SECOND;
    assert_int_equal(h2_check(w.h2, w.now), 0);
    assert_int_equal(body(&w, 3, "sibling"), 0); /* now it waits for its window, too */
    assert_int_equal(h2_deadline_ns(w.h2), w.now + 10 * SECOND);
    w.now += 9 * SECOND;
    h2s_say(&w, "WINDOW_UPDATE 3 7");
    h2s_play(&w);
    assert_int_equal(body(&w, 3, "sibling"), 7);
    assert_int_equal(h2_deadline_ns(w.h2), 0);
    w.now += 90 * SECOND;
    assert_int_equal(h2_check(w.h2, w.now), 0);
    assert_int_equal(h2_reset(w.h2, 3, H2_CANCEL), 0); /* it is alone again: from now on */
    assert_int_equal(h2_deadline_ns(w.h2), w.now + 10 * SECOND);
    assert_int_equal(h2_check(w.h2, w.now + 10 * SECOND), -SOTH_ELIMIT);
    h2s_ends_as(&w, "h2_flood:zero_window");
}

/* What moves in between does not make those that stay shut forgotten. */
static void all_shut_after_one_has_moved(void **state)
{
    struct h2_server w;
    (void)state;
    begin_shut(&w);
    open_sibling(&w, 3);
    assert_int_equal(body(&w, 3, "ab"), 0);
    w.now += 5 * SECOND;
    h2s_say(&w, "WINDOW_UPDATE 3 2");
    h2s_play(&w);
    assert_int_equal(body(&w, 3, "ab"), 2);
    assert_int_equal(body(&w, 3, "cd"), 0);
    assert_int_equal(h2_deadline_ns(w.h2), w.now + 10 * SECOND);
    assert_int_equal(h2_check(w.h2, w.now + 10 * SECOND), -SOTH_ELIMIT);
    h2s_ends_as(&w, "h2_flood:zero_window");
}

/* The connection's window is for all: who keeps it shut keeps back those as well that have nothing to say yet. */
static void a_connection_that_is_shut(void **state)
{
    static char bulk[70000];
    struct h2_server w;
    struct buffer out = {0};
    (void)state;
    h2s_begin_with(&w, &dwelling, "SETTINGS initial_window_size=1000000");
    h2s_request(&w, 1, "GET", "END_STREAM");
    h2s_play(&w);
    h2s_respond(&w, 1, false);
    open_sibling(&w, 3);
    assert_int_equal(h2_body(w.h2, 1, (struct soth_span){bulk, sizeof bulk}, false, &out), 65535);
    buffer_fini(&out);
    assert_int_equal(h2_deadline_ns(w.h2), w.now + 10 * SECOND);
    w.now += 9 * SECOND;
    h2s_say(&w, "WINDOW_UPDATE 0 10"); /* and it says no more: nothing waits for a window any longer */
    h2s_play(&w);
    assert_int_equal(w.writable, 1);
    assert_int_equal(h2_deadline_ns(w.h2), 0);
    assert_int_equal(body(&w, 1, "0123456789"), 10);
    assert_int_equal(body(&w, 1, "0"), 0);
    assert_int_equal(h2_check(w.h2, w.now + 10 * SECOND), -SOTH_ELIMIT);
    h2s_ends_as(&w, "h2_flood:zero_window");
}

/* A reply of the proxy's own waits as well, and also when its owner has left it. */
static void a_reply_that_no_window_takes(void **state)
{
    static const struct reply page = {.status = 403, .content_type = "text/plain", .body = {"the reason", 10}};
    struct h2_server w;
    (void)state;
    h2s_begin_with(&w, &dwelling, "SETTINGS initial_window_size=0");
    for (int32_t id = 1; id <= 3; id += 2) {
        h2s_request(&w, id, "POST", "");
        h2s_play(&w);
        assert_int_equal(h2_owes(w.h2), id > 1);
        assert_int_equal(h2_deadline_ns(w.h2), 0); /* one that waits for no window is among them */
        assert_int_equal(h2_reply(w.h2, id, &page), 0);
        assert_true(h2_owes(w.h2));
        assert_int_equal(h2_deadline_ns(w.h2), w.now + 10 * SECOND);
    }
    assert_int_equal(h2_leave(w.h2, 1), 0);
    assert_int_equal(h2_stream_count(w.h2), 1);
    assert_int_equal(h2_deadline_ns(w.h2), w.now + 10 * SECOND);
    w.now += 9 * SECOND;
    h2s_say(&w, "WINDOW_UPDATE 1 4");
    h2s_play(&w);
    assert_int_equal(h2_deadline_ns(w.h2), w.now + 10 * SECOND); /* anew: something moved */
    h2s_say(&w, "WINDOW_UPDATE 3 10");
    h2s_play(&w);
    assert_true(h2_owes(w.h2));
    assert_int_equal(h2_deadline_ns(w.h2), 0); /* the other's is out, and its request may go on */
    assert_int_equal(h2_leave(w.h2, 3), 0);
    assert_int_equal(h2_stream_count(w.h2), 0);
    assert_int_equal(h2_deadline_ns(w.h2), w.now + 10 * SECOND);
    h2s_say(&w, "RST_STREAM 1 cancel");
    h2s_play(&w);
    assert_false(h2_owes(w.h2));
    assert_int_equal(h2_deadline_ns(w.h2), 0);
    h2s_request(&w, 5, "GET", "END_STREAM");
    h2s_play(&w);
    assert_int_equal(h2_reply(w.h2, 5, &page), 0);
    assert_int_equal(h2_check(w.h2, w.now + 10 * SECOND), -SOTH_ELIMIT);
    assert_false(h2_owes(w.h2));
    h2s_ends_as(&w, "h2_flood:zero_window");
}

/* All of them at once, when the window opens: that is not what FLOOD_UNREAD counts. */
static void many_replies_at_once(void **state)
{
    static char text[2000];
    const struct reply page = {.status = 403, .content_type = "text/plain", .body = {text, sizeof text}};
    struct h2_server w;
    (void)state;
    h2s_begin_with(&w, &dwelling, "SETTINGS initial_window_size=0");
    for (int32_t id = 1; id < 200; id += 2) {
        h2s_request(&w, id, "GET", "END_STREAM");
        h2s_play(&w);
        assert_int_equal(h2_reply(w.h2, id, &page), 0);
        h2s_send_due(&w);
    }
    w.deaf = true;
    h2s_say(&w, "WINDOW_UPDATE 0 1000000");
    h2s_say(&w, "SETTINGS initial_window_size=2000");
    h2s_play(&w);
    assert_int_equal(w.error, 0);
    assert_int_equal(w.closed, 100);
    assert_false(h2_owes(w.h2));
    assert_int_equal(h2_output(w.h2, &w.out), 0);
    assert_in_range(buffer_size(&w.out), 100 * (9 + sizeof text), 100 * (9 + sizeof text) + 100);
    h2s_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_window),
        cmocka_unit_test(a_window_that_opens_in_time),
        cmocka_unit_test(one_that_is_paused),
        cmocka_unit_test(all_shut_after_one_has_moved),
        cmocka_unit_test(a_connection_that_is_shut),
        cmocka_unit_test(a_reply_that_no_window_takes),
        cmocka_unit_test(many_replies_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
