/* SPDX-License-Identifier: MPL-2.0 */
/* host/http/h2_flood.def: what a peer may send for nothing, with a clock that the test turns; and what an honest peer sends, which passes. */
#include <stdarg.h>
#include <setjmp.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "h2_wire.h"
#include "host/http/h2.h"

#define MS 1000000ull
#define SECOND (1000 * MS)

struct world {
    struct h2 *h2;
    struct h2_wire wire;
    struct buffer in, out;
    uint64_t now;
    int error;           /* of h2_take */
    size_t heads, closed, bodies, writable;
    enum h2_cause cause; /* of the last stream that closed */
    bool deaf;           /* does not read what is sent */
};

static void send_due(struct world *w)
{
    assert_int_equal(h2_output(w->h2, &w->out), 0);
    buffer_clear(&w->out);
}

static void play(struct world *w)
{
    struct h2_event event = {.type = H2_HEAD};
    size_t at = 0;
    while (event.type != H2_NONE && w->error == 0) {
        ssize_t r = h2_take(w->h2, buffer_data(&w->in) + at, buffer_size(&w->in) - at, w->now, &event);
        if (r < 0) {
            w->error = (int)r;
            break;
        }
        at += (size_t)r;
        w->heads += event.type == H2_HEAD;
        w->closed += event.type == H2_CLOSED;
        w->writable += event.type == H2_WRITABLE;
        if (event.type == H2_CLOSED)
            w->cause = event.cause;
        if (event.type == H2_BODY) {
            w->bodies++;
            h2_consume(w->h2, event.stream, event.data.n);
        }
    }
    buffer_clear(&w->in);
    if (!w->deaf)
        send_due(w);
}

static void say(struct world *w, const char *lines)
{
    h2_wire_write_all(&w->wire, lines, &w->in);
}

static void begin_with(struct world *w, const struct h2_limits *limits, const char *settings)
{
    memset(w, 0, sizeof *w);
    w->now = 5 * SECOND;
    w->h2 = h2_new_server(limits);
    assert_non_null(w->h2);
    h2_wire_init(&w->wire);
    say(w, "PREFACE");
    say(w, settings);
    play(w);
}

static void begin(struct world *w)
{
    static const struct h2_limits limits = {.max_header_list = 65536, .max_concurrent_streams = 100};
    begin_with(w, &limits, "SETTINGS");
}

static void end(struct world *w)
{
    h2_free(w->h2);
    h2_wire_fini(&w->wire);
    buffer_fini(&w->in);
    buffer_fini(&w->out);
}

static void request(struct world *w, int32_t id, const char *method, const char *flags)
{
    char text[160];
    snprintf(text, sizeof text, "HEADERS %d %s\n  :method: %s\n  :scheme: https\n  :authority: a\n  :path: /", id, flags, method);
    say(w, text);
}

static void respond(struct world *w, int32_t id, bool whole)
{
    static const struct message ok = {.status = 200};
    assert_int_equal(h2_response(w->h2, id, &ok, &(struct h2_response){.end = whole}), 0);
}

/* ---- floods: all in one read ---- */

static void ends_as(struct world *w, const char *fault)
{
    play(w);
    assert_string_equal(h2_fault(w->h2), fault);
    assert_int_equal(w->error, -SOTH_ELIMIT);
    assert_int_equal(h2_stream_count(w->h2), 0);
    end(w);
}

static void many(struct world *w, const char *line, int n)
{
    for (int i = 0; i < n; i++)
        say(w, line);
}

static void frames_that_cost_nothing(void **state)
{
    static const struct {
        const char *line, *fault;
    } floods[] = {
        {"SETTINGS", "h2_flood:settings"},
        {"PING abcdefgh", "h2_flood:ping"},
        {"PING ACK abcdefgh", "h2_flood:ping"},
        {"PRIORITY 3 on=0", "h2_flood:priority"},
        {"PRIORITY_UPDATE 1 u=1", "h2_flood:priority"},
        {"WINDOW_UPDATE 0 1", "h2_flood:window_update"},
        {"WINDOW_UPDATE 1 1", "h2_flood:window_update"},
        {"DATA 1", "h2_flood:empty_data"},
        {"RAW type=200", "h2_flood:unknown"},
        {"GOAWAY 0 no_error", "h2_flood:unknown"},
        {"RST_STREAM 1 cancel", "h2_flood:rapid_reset"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof floods / sizeof *floods; i++) {
        struct world w;
        begin(&w);
        request(&w, 1, "POST", "");
        many(&w, floods[i].line, 3000);
        ends_as(&w, floods[i].fault);
    }
}

/* Padding is no body: it neither passes for one nor earns anything. */
static void padding_alone(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    request(&w, 1, "POST", "");
    for (int i = 0; i < 3000; i++)
        h2_wire_frame(&w.in, 0, 8, 1, (const uint8_t *)"\3\0\0\0", 4);
    ends_as(&w, "h2_flood:empty_data");
    begin(&w);
    request(&w, 1, "POST", "");
    for (int i = 0; i < 3000; i++)
        h2_wire_frame(&w.in, 0, 8, 1, (const uint8_t *)"\3x\0\0\0", 5);
    play(&w);
    assert_int_equal(w.error, 0);
    assert_int_equal(w.bodies, 3000);
    end(&w);
}

/* The same frames, a few a second, for an hour. */
static void the_same_at_leisure(void **state)
{
    static const char *const lines[] = {"SETTINGS", "PING abcdefgh", "PRIORITY 3 on=0", "WINDOW_UPDATE 0 1", "DATA 1", "RAW type=200"};
    struct world w;
    (void)state;
    begin(&w);
    request(&w, 1, "POST", "");
    for (int i = 0; i < 3600; i++) {
        for (size_t k = 0; k < sizeof lines / sizeof *lines; k++)
            many(&w, lines[k], 5);
        play(&w);
        w.now += SECOND;
    }
    assert_int_equal(w.error, 0);
    end(&w);
}

static void rapid_reset(void **state)
{
    struct world w;
    char reset[64];
    (void)state;
    begin(&w);
    for (int i = 0; i < 3000; i++) {
        request(&w, 2 * i + 1, "GET", "END_STREAM");
        snprintf(reset, sizeof reset, "RST_STREAM %d cancel", 2 * i + 1);
        say(&w, reset);
    }
    play(&w);
    assert_int_equal(w.error, -SOTH_ELIMIT);
    assert_string_equal(h2_fault(w.h2), "h2_flood:rapid_reset");
    assert_true(w.heads <= 201); /* not all 3000 were begun */
    assert_int_equal(w.closed, w.heads);
    end(&w);
}

/* Streams that we must reset cost the same: a request that is wrong, a window that is none. */
static void made_to_reset(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    for (int i = 0; i < 3000; i++)
        request(&w, 2 * i + 1, "G ET", "END_STREAM");
    ends_as(&w, "h2_flood:rapid_reset");
    begin(&w);
    for (int i = 0; i < 300; i++) {
        char text[64];
        request(&w, 2 * i + 1, "POST", "");
        snprintf(text, sizeof text, "WINDOW_UPDATE %d 2147483647", 2 * i + 1);
        say(&w, text);
    }
    ends_as(&w, "h2_flood:rapid_reset");
}

/* A client that gives up every second request of thousands is no attacker. */
static void cancels_among_work(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    for (int i = 0; i < 5000; i++) {
        char reset[64];
        int32_t id = 4 * i + 1;
        request(&w, id, "GET", "END_STREAM");
        play(&w);
        respond(&w, id, true);
        request(&w, id + 2, "GET", "END_STREAM");
        snprintf(reset, sizeof reset, "RST_STREAM %d cancel", id + 2);
        say(&w, reset);
        play(&w);
    }
    assert_int_equal(w.error, 0);
    assert_int_equal(w.closed, 10000);
    end(&w);
}

static void continuation(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    say(&w, "HEADERS 1 END_STREAM SPLIT=2\n  :method: GET\n  :scheme: https\n  :authority: a.test\n  :path: /\n  x: 0123456789012345678901234567890");
    ends_as(&w, "h2_flood:continuation"); /* of one head */
    begin(&w);
    for (int i = 0; i < 3000; i++) {
        char text[160];
        snprintf(text, sizeof text, "HEADERS %d END_STREAM SPLIT=1\n  :method: GET\n  :scheme: https\n  :path: /\n  host:", 2 * i + 1);
        say(&w, text);
        if (i % 50 == 0)
            play(&w);
        if (w.error)
            break;
    }
    ends_as(&w, "h2_flood:rapid_reset"); /* of many: each is wrong */
}

/* gRPC's keep-alive and its measuring of the bandwidth: a ping with each message, two credits for each frame. */
static void an_honest_stream(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    request(&w, 1, "POST", "");
    play(&w);
    respond(&w, 1, false);
    for (int i = 0; i < 20000; i++) {
        struct buffer out = {0};
        say(&w, "DATA 1\n  message\nPING abcdefgh");
        play(&w);
        assert_int_equal(h2_body(w.h2, 1, (struct soth_span){"answer", 6}, false, &out), 6);
        say(&w, "WINDOW_UPDATE 0 6\nWINDOW_UPDATE 1 6");
        buffer_fini(&out);
    }
    play(&w);
    assert_int_equal(w.error, 0);
    assert_int_equal(w.bodies, 20000);
    end(&w);
}

/* It asks and does not read the answers: they do not pile up without end, however slowly it asks. */
static void answers_that_nobody_reads(void **state)
{
    struct world w;
    int asked = 0;
    (void)state;
    begin(&w);
    w.deaf = true;
    for (; asked < 10000 && w.error == 0; asked++) {
        say(&w, "PING abcdefgh");
        play(&w);
        w.now += 10 * MS;
    }
    assert_int_equal(w.error, -SOTH_ELIMIT);
    assert_string_equal(h2_fault(w.h2), "h2_flood:unread");
    assert_in_range(asked, 3000, 4500);
    end(&w);
    begin(&w);
    for (asked = 0; asked < 10000; asked++) {
        say(&w, "PING abcdefgh");
        play(&w);
        w.now += 10 * MS;
    }
    assert_int_equal(w.error, 0);
    end(&w);
}

/* ---- a window that stays shut ---- */

static const struct h2_limits dwelling = {.max_header_list = 65536, .max_concurrent_streams = 100, .zero_window_ns = 10 * SECOND};

static void begin_shut(struct world *w)
{
    struct buffer out = {0};
    begin_with(w, &dwelling, "SETTINGS initial_window_size=0");
    assert_int_equal(h2_deadline_ns(w->h2), 0);
    request(w, 1, "GET", "END_STREAM");
    play(w);
    respond(w, 1, false);
    assert_int_equal(h2_body(w->h2, 1, (struct soth_span){"body", 4}, true, &out), 0);
    buffer_fini(&out);
    assert_int_equal(h2_deadline_ns(w->h2), w->now + 10 * SECOND);
}

static void zero_window(void **state)
{
    struct world w;
    (void)state;
    begin_shut(&w);
    assert_int_equal(h2_check(w.h2, w.now + 10 * SECOND - 1), 0);
    assert_int_equal(h2_check(w.h2, w.now + 10 * SECOND), -SOTH_ELIMIT);
    ends_as(&w, "h2_flood:zero_window");
}

static void a_window_that_opens_in_time(void **state)
{
    struct world w;
    struct buffer out = {0};
    (void)state;
    begin_shut(&w);
    w.now += 9 * SECOND;
    say(&w, "WINDOW_UPDATE 1 2");
    play(&w);
    assert_int_equal(w.writable, 1);
    assert_int_equal(h2_body(w.h2, 1, (struct soth_span){"body", 4}, true, &out), 2);
    assert_int_equal(h2_deadline_ns(w.h2), w.now + 10 * SECOND); /* anew */
    assert_int_equal(h2_check(w.h2, w.now + 9 * SECOND), 0);
    assert_int_equal(h2_reset(w.h2, 1, H2_CANCEL), 0);
    assert_int_equal(h2_deadline_ns(w.h2), 0); /* nobody waits any more */
    assert_int_equal(h2_check(w.h2, w.now + 90 * SECOND), 0);
    buffer_fini(&out);
    end(&w);
}

static size_t body(struct world *w, int32_t id, const char *text)
{
    struct buffer out = {0};
    ssize_t taken = h2_body(w->h2, id, soth_span(text), false, &out);
    buffer_fini(&out);
    assert_true(taken >= 0);
    return (size_t)taken;
}

static void open_sibling(struct world *w, int32_t id)
{
    request(w, id, "GET", "END_STREAM");
    play(w);
    respond(w, id, false);
}

/* One stream that is kept back among others that wait for no window is its flow's affair, also when they have nothing to say. */
static void one_that_is_paused(void **state)
{
    struct world w;
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
    say(&w, "WINDOW_UPDATE 3 7");
    play(&w);
    assert_int_equal(body(&w, 3, "sibling"), 7);
    assert_int_equal(h2_deadline_ns(w.h2), 0);
    w.now += 90 * SECOND;
    assert_int_equal(h2_check(w.h2, w.now), 0);
    assert_int_equal(h2_reset(w.h2, 3, H2_CANCEL), 0); /* it is alone again: from now on */
    assert_int_equal(h2_deadline_ns(w.h2), w.now + 10 * SECOND);
    assert_int_equal(h2_check(w.h2, w.now + 10 * SECOND), -SOTH_ELIMIT);
    ends_as(&w, "h2_flood:zero_window");
}

/* What moves in between does not make those that stay shut forgotten. */
static void all_shut_after_one_has_moved(void **state)
{
    struct world w;
    (void)state;
    begin_shut(&w);
    open_sibling(&w, 3);
    assert_int_equal(body(&w, 3, "ab"), 0);
    w.now += 5 * SECOND;
    say(&w, "WINDOW_UPDATE 3 2");
    play(&w);
    assert_int_equal(body(&w, 3, "ab"), 2);
    assert_int_equal(body(&w, 3, "cd"), 0);
    assert_int_equal(h2_deadline_ns(w.h2), w.now + 10 * SECOND);
    assert_int_equal(h2_check(w.h2, w.now + 10 * SECOND), -SOTH_ELIMIT);
    ends_as(&w, "h2_flood:zero_window");
}

/* The connection's window is for all: who keeps it shut keeps back those as well that have nothing to say yet. */
static void a_connection_that_is_shut(void **state)
{
    static char bulk[70000];
    struct world w;
    struct buffer out = {0};
    (void)state;
    begin_with(&w, &dwelling, "SETTINGS initial_window_size=1000000");
    request(&w, 1, "GET", "END_STREAM");
    play(&w);
    respond(&w, 1, false);
    open_sibling(&w, 3);
    assert_int_equal(h2_body(w.h2, 1, (struct soth_span){bulk, sizeof bulk}, false, &out), 65535);
    buffer_fini(&out);
    assert_int_equal(h2_deadline_ns(w.h2), w.now + 10 * SECOND);
    w.now += 9 * SECOND;
    say(&w, "WINDOW_UPDATE 0 10"); /* and it says no more: nothing waits for a window any longer */
    play(&w);
    assert_int_equal(w.writable, 1);
    assert_int_equal(h2_deadline_ns(w.h2), 0);
    assert_int_equal(body(&w, 1, "0123456789"), 10);
    assert_int_equal(body(&w, 1, "0"), 0);
    assert_int_equal(h2_check(w.h2, w.now + 10 * SECOND), -SOTH_ELIMIT);
    ends_as(&w, "h2_flood:zero_window");
}

/* A reply of the proxy's own waits as well, and also when its owner has left it. */
static void a_reply_that_no_window_takes(void **state)
{
    static const struct reply page = {.status = 403, .content_type = "text/plain", .body = {"the reason", 10}};
    struct world w;
    (void)state;
    begin_with(&w, &dwelling, "SETTINGS initial_window_size=0");
    for (int32_t id = 1; id <= 3; id += 2) {
        request(&w, id, "POST", "");
        play(&w);
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
    say(&w, "WINDOW_UPDATE 1 4");
    play(&w);
    assert_int_equal(h2_deadline_ns(w.h2), w.now + 10 * SECOND); /* anew: something moved */
    say(&w, "WINDOW_UPDATE 3 10");
    play(&w);
    assert_true(h2_owes(w.h2));
    assert_int_equal(h2_deadline_ns(w.h2), 0); /* the other's is out, and its request may go on */
    assert_int_equal(h2_leave(w.h2, 3), 0);
    assert_int_equal(h2_stream_count(w.h2), 0);
    assert_int_equal(h2_deadline_ns(w.h2), w.now + 10 * SECOND);
    say(&w, "RST_STREAM 1 cancel");
    play(&w);
    assert_false(h2_owes(w.h2));
    assert_int_equal(h2_deadline_ns(w.h2), 0);
    request(&w, 5, "GET", "END_STREAM");
    play(&w);
    assert_int_equal(h2_reply(w.h2, 5, &page), 0);
    assert_int_equal(h2_check(w.h2, w.now + 10 * SECOND), -SOTH_ELIMIT);
    assert_false(h2_owes(w.h2));
    ends_as(&w, "h2_flood:zero_window");
}

/* All of them at once, when the window opens: that is not what FLOOD_UNREAD counts. */
static void many_replies_at_once(void **state)
{
    static char text[2000];
    const struct reply page = {.status = 403, .content_type = "text/plain", .body = {text, sizeof text}};
    struct world w;
    (void)state;
    begin_with(&w, &dwelling, "SETTINGS initial_window_size=0");
    for (int32_t id = 1; id < 200; id += 2) {
        request(&w, id, "GET", "END_STREAM");
        play(&w);
        assert_int_equal(h2_reply(w.h2, id, &page), 0);
        send_due(&w);
    }
    w.deaf = true;
    say(&w, "WINDOW_UPDATE 0 1000000");
    say(&w, "SETTINGS initial_window_size=2000");
    play(&w);
    assert_int_equal(w.error, 0);
    assert_int_equal(w.closed, 100);
    assert_false(h2_owes(w.h2));
    assert_int_equal(h2_output(w.h2, &w.out), 0);
    assert_in_range(buffer_size(&w.out), 100 * (9 + sizeof text), 100 * (9 + sizeof text) + 100);
    end(&w);
}

/* ---- memory ---- */

/* 64 MiB of fields in 16 KiB of bytes: the decoder stops at the limit, the stream is reset, the connection goes on. */
static void a_bomb_of_header_compression(void **state)
{
    struct world w;
    struct buffer bomb = {0};
    char text[4300];
    (void)state;
    begin(&w);
    memset(text, 'x', sizeof text);
    memcpy(text, "HEADERS 1 END_STREAM\n  :method: GET\n  :scheme: https\n  :authority: a\n  :path: /\n  x: ", 85);
    text[4000] = 0;
    say(&w, text);
    play(&w);
    assert_int_equal(w.heads, 1);
    for (int i = 0; i < 16000; i++)
        buffer_append(&bomb, "\xbe", 1);
    h2_wire_frame(&w.in, 1, 5, 3, buffer_data(&bomb), buffer_size(&bomb));
    request(&w, 5, "GET", "END_STREAM");
    struct mallinfo2 before = mallinfo2();
    play(&w);
    assert_true(mallinfo2().uordblks < before.uordblks + 300000);
    assert_int_equal(w.error, 0);
    assert_int_equal(w.closed, 1);
    assert_int_equal(w.cause, H2_BY_FAULT);
    assert_int_equal(w.heads, 2);
    buffer_fini(&bomb);
    end(&w);
}

static void streams_leave_nothing(void **state)
{
    struct world w;
    size_t after_some = 0;
    (void)state;
    begin(&w);
    for (int i = 0; i < 10000; i++) {
        request(&w, 2 * i + 1, "GET", "END_STREAM");
        play(&w);
        respond(&w, 2 * i + 1, true);
        play(&w);
        if (i == 200)
            after_some = mallinfo2().uordblks;
    }
    assert_int_equal(w.closed, 10000);
    assert_true(mallinfo2().uordblks <= after_some + 1024);
    end(&w);
}

static void open_streams_are_small(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 100; i++)
        request(&w, 2 * i + 1, "POST", "");
    play(&w);
    assert_int_equal(h2_stream_count(w.h2), 100);
    buffer_fini(&w.in);
    assert_true(mallinfo2().uordblks < before + 100 * 1024);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_that_cost_nothing),
        cmocka_unit_test(padding_alone),
        cmocka_unit_test(the_same_at_leisure),
        cmocka_unit_test(rapid_reset),
        cmocka_unit_test(made_to_reset),
        cmocka_unit_test(cancels_among_work),
        cmocka_unit_test(continuation),
        cmocka_unit_test(an_honest_stream),
        cmocka_unit_test(answers_that_nobody_reads),
        cmocka_unit_test(zero_window),
        cmocka_unit_test(a_window_that_opens_in_time),
        cmocka_unit_test(one_that_is_paused),
        cmocka_unit_test(all_shut_after_one_has_moved),
        cmocka_unit_test(a_connection_that_is_shut),
        cmocka_unit_test(a_reply_that_no_window_takes),
        cmocka_unit_test(many_replies_at_once),
        cmocka_unit_test(a_bomb_of_header_compression),
        cmocka_unit_test(streams_leave_nothing),
        cmocka_unit_test(open_streams_are_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
