/* SPDX-License-Identifier: MPL-2.0 */
/* host/http/h2_flood.def: what a peer may send for nothing, with a clock that the test turns; and what an honest peer sends, which passes. */
#include <stdarg.h>
#include <setjmp.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "h2_server.h"

/* ---- floods: all in one read ---- */

static void many(struct h2_server *w, const char *line, int n)
{
    for (int i = 0; i < n; i++)
        h2s_say(w, line);
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
        struct h2_server w;
        h2s_begin(&w);
        h2s_request(&w, 1, "POST", "");
        many(&w, floods[i].line, 3000);
        h2s_ends_as(&w, floods[i].fault);
    }
}

/* Padding is no body: it neither passes for one nor earns anything. */
static void padding_alone(void **state)
{
    struct h2_server w;
    (void)state;
    h2s_begin(&w);
    h2s_request(&w, 1, "POST", "");
    for (int i = 0; i < 3000; i++)
        h2_wire_frame(&w.in, 0, 8, 1, (const uint8_t *)"\3\0\0\0", 4);
    h2s_ends_as(&w, "h2_flood:empty_data");
    h2s_begin(&w);
    h2s_request(&w, 1, "POST", "");
    for (int i = 0; i < 3000; i++)
        h2_wire_frame(&w.in, 0, 8, 1, (const uint8_t *)"\3x\0\0\0", 5);
    h2s_play(&w);
    assert_int_equal(w.error, 0);
    assert_int_equal(w.bodies, 3000);
    h2s_end(&w);
}

/* The same frames, a few a second, for an hour. */
static void the_same_at_leisure(void **state)
{
    static const char *const lines[] = {"SETTINGS", "PING abcdefgh", "PRIORITY 3 on=0", "WINDOW_UPDATE 0 1", "DATA 1", "RAW type=200"};
    struct h2_server w;
    (void)state;
    h2s_begin(&w);
    h2s_request(&w, 1, "POST", "");
    for (int i = 0; i < 3600; i++) {
        for (size_t k = 0; k < sizeof lines / sizeof *lines; k++)
            many(&w, lines[k], 5);
        h2s_play(&w);
        w.now += SECOND;
    }
    assert_int_equal(w.error, 0);
    h2s_end(&w);
}

static void rapid_reset(void **state)
{
    struct h2_server w;
    char reset[64];
    (void)state;
    h2s_begin(&w);
    for (int i = 0; i < 3000; i++) {
        h2s_request(&w, 2 * i + 1, "GET", "END_STREAM");
        snprintf(reset, sizeof reset, "RST_STREAM %d cancel", 2 * i + 1);
        h2s_say(&w, reset);
    }
    h2s_play(&w);
    assert_int_equal(w.error, -SOTH_ELIMIT);
    assert_string_equal(h2_fault(w.h2), "h2_flood:rapid_reset");
    assert_true(w.heads <= 201); /* not all 3000 were begun */
    assert_int_equal(w.closed, w.heads);
    h2s_end(&w);
}

/* Streams that we must reset cost the same: a request that is wrong, a window that is none. */
static void made_to_reset(void **state)
{
    struct h2_server w;
    (void)state;
    h2s_begin(&w);
    for (int i = 0; i < 3000; i++)
        h2s_request(&w, 2 * i + 1, "G ET", "END_STREAM");
    h2s_ends_as(&w, "h2_flood:rapid_reset");
    h2s_begin(&w);
    for (int i = 0; i < 300; i++) {
        char text[64];
        h2s_request(&w, 2 * i + 1, "POST", "");
        snprintf(text, sizeof text, "WINDOW_UPDATE %d 2147483647", 2 * i + 1);
        h2s_say(&w, text);
    }
    h2s_ends_as(&w, "h2_flood:rapid_reset");
}

/* A client that gives up every second request of thousands is no attacker. */
static void cancels_among_work(void **state)
{
    struct h2_server w;
    (void)state;
    h2s_begin(&w);
    for (int i = 0; i < 5000; i++) {
        char reset[64];
        int32_t id = 4 * i + 1;
        h2s_request(&w, id, "GET", "END_STREAM");
        h2s_play(&w);
        h2s_respond(&w, id, true);
        h2s_request(&w, id + 2, "GET", "END_STREAM");
        snprintf(reset, sizeof reset, "RST_STREAM %d cancel", id + 2);
        h2s_say(&w, reset);
        h2s_play(&w);
    }
    assert_int_equal(w.error, 0);
    assert_int_equal(w.closed, 10000);
    h2s_end(&w);
}

static void continuation(void **state)
{
    struct h2_server w;
    (void)state;
    h2s_begin(&w);
    h2s_say(&w, "HEADERS 1 END_STREAM SPLIT=2\n  :method: GET\n  :scheme: https\n  :authority: a.test\n  :path: /\n  x: 0123456789012345678901234567890");
    h2s_ends_as(&w, "h2_flood:continuation"); /* of one head */
    h2s_begin(&w);
    for (int i = 0; i < 3000; i++) {
        char text[160];
        snprintf(text, sizeof text, "HEADERS %d END_STREAM SPLIT=1\n  :method: GET\n  :scheme: https\n  :path: /\n  host:", 2 * i + 1);
        h2s_say(&w, text);
        if (i % 50 == 0)
            h2s_play(&w);
        if (w.error)
            break;
    }
    h2s_ends_as(&w, "h2_flood:rapid_reset"); /* of many: each is wrong */
}

/* gRPC's keep-alive and its measuring of the bandwidth: a ping with each message, two credits for each frame. */
static void an_honest_stream(void **state)
{
    struct h2_server w;
    (void)state;
    h2s_begin(&w);
    h2s_request(&w, 1, "POST", "");
    h2s_play(&w);
    h2s_respond(&w, 1, false);
    for (int i = 0; i < 20000; i++) {
        struct buffer out = {0};
        h2s_say(&w, "DATA 1\n  message\nPING abcdefgh");
        h2s_play(&w);
        assert_int_equal(h2_body(w.h2, 1, (struct soth_span){"answer", 6}, false, &out), 6);
        h2s_say(&w, "WINDOW_UPDATE 0 6\nWINDOW_UPDATE 1 6");
        buffer_fini(&out);
    }
    h2s_play(&w);
    assert_int_equal(w.error, 0);
    assert_int_equal(w.bodies, 20000);
    h2s_end(&w);
}

/* It asks and does not read the answers: they do not pile up without end, however slowly it asks. */
static void answers_that_nobody_reads(void **state)
{
    struct h2_server w;
    int asked = 0;
    (void)state;
    h2s_begin(&w);
    w.deaf = true;
    for (; asked < 10000 && w.error == 0; asked++) {
        h2s_say(&w, "PING abcdefgh");
        h2s_play(&w);
        w.now += 10 * MS;
    }
    assert_int_equal(w.error, -SOTH_ELIMIT);
    assert_string_equal(h2_fault(w.h2), "h2_flood:unread");
    assert_in_range(asked, 3000, 4500);
    h2s_end(&w);
    h2s_begin(&w);
    for (asked = 0; asked < 10000; asked++) {
        h2s_say(&w, "PING abcdefgh");
        h2s_play(&w);
        w.now += 10 * MS;
    }
    assert_int_equal(w.error, 0);
    h2s_end(&w);
}

/* ---- memory ---- */

/* 64 MiB of fields in 16 KiB of bytes: the decoder stops at the limit, the stream is reset, the connection goes on. */
static void a_bomb_of_header_compression(void **state)
{
    struct h2_server w;
    struct buffer bomb = {0};
    char text[4300];
    (void)state;
    h2s_begin(&w);
    memset(text, 'x', sizeof text);
    memcpy(text, "HEADERS 1 END_STREAM\n  :method: GET\n  :scheme: https\n  :authority: a\n  :path: /\n  x: ", 85);
    text[4000] = 0;
    h2s_say(&w, text);
    h2s_play(&w);
    assert_int_equal(w.heads, 1);
    for (int i = 0; i < 16000; i++)
        buffer_append(&bomb, "\xbe", 1);
    h2_wire_frame(&w.in, 1, 5, 3, buffer_data(&bomb), buffer_size(&bomb));
    h2s_request(&w, 5, "GET", "END_STREAM");
    struct mallinfo2 before = mallinfo2();
    h2s_play(&w);
    assert_true(mallinfo2().uordblks < before.uordblks + 300000);
    assert_int_equal(w.error, 0);
    assert_int_equal(w.closed, 1);
    assert_int_equal(w.cause, H2_BY_FAULT);
    assert_int_equal(w.heads, 2);
    buffer_fini(&bomb);
    h2s_end(&w);
}

static void streams_leave_nothing(void **state)
{
    struct h2_server w;
    size_t after_some = 0;
    (void)state;
    h2s_begin(&w);
    for (int i = 0; i < 10000; i++) {
        h2s_request(&w, 2 * i + 1, "GET", "END_STREAM");
        h2s_play(&w);
        h2s_respond(&w, 2 * i + 1, true);
        h2s_play(&w);
        if (i == 200)
            after_some = mallinfo2().uordblks;
    }
    assert_int_equal(w.closed, 10000);
    assert_true(mallinfo2().uordblks <= after_some + 1024);
    h2s_end(&w);
}

static void open_streams_are_small(void **state)
{
    struct h2_server w;
    (void)state;
    h2s_begin(&w);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 100; i++)
        h2s_request(&w, 2 * i + 1, "POST", "");
    h2s_play(&w);
    assert_int_equal(h2_stream_count(w.h2), 100);
    buffer_fini(&w.in);
    assert_true(mallinfo2().uordblks < before + 100 * 1024);
    h2s_end(&w);
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
        cmocka_unit_test(a_bomb_of_header_compression),
        cmocka_unit_test(streams_leave_nothing),
        cmocka_unit_test(open_streams_are_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
