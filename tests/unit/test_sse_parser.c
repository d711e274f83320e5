/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/sse/parser.c */
/* Event streams by document (tests/golden/sse), and what is kept between events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "golden.h"
#include "http_play.h"
#include "modules/sse/parser.h"

static void say_bytes(struct buffer *out, struct soth_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '\n')
            http_say(out, "\\n");
        else if (c == '\t')
            http_say(out, "\\t");
        else if (c < ' ' || c > '~')
            http_say(out, "\\x%02x", c);
        else
            http_say(out, "%c", c);
    }
}

static uint64_t seen = UINT64_MAX; /* bytes of data that a sink sees */

static void say(struct buffer *out, const struct sse_event *e)
{
    http_say(out, "%llu", (unsigned long long)e->sequence_no);
    if (e->event.n) {
        http_say(out, " event=");
        say_bytes(out, e->event);
    }
    if (e->id.n) {
        http_say(out, " id=");
        say_bytes(out, e->id);
    }
    if (e->partial)
        http_say(out, " partial");
    if (e->has_retry)
        http_say(out, " retry=%llu", (unsigned long long)e->retry_ms);
    http_say(out, " lines=%llu len=%llu", (unsigned long long)e->data_lines, (unsigned long long)e->data_len);
    if (e->data.p && seen > 0) {
        http_say(out, " data=");
        say_bytes(out, (struct soth_span){e->data.p, e->data.n < seen ? e->data.n : (size_t)seen});
    }
    http_say(out, "\n");
}

static size_t place; /* up to where the last stream was read */

/* 0: all was taken. */
static int feed(struct sse *s, const uint8_t *p, size_t n, struct buffer *out)
{
    char *exact = malloc(n ? n : 1); /* so that reading beyond is seen */
    memcpy(exact, p, n);
    struct sse_input in = sse_input(exact, n);
    struct sse_event event;
    int r;
    while ((r = sse_next(s, &in, &event)) > 0)
        say(out, &event);
    place += (size_t)(in.at - exact);
    free(exact);
    return r;
}

static void run(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out, uint64_t keep)
{
    const char *limit = golden_text(c, "limit");
    struct sse s = {.max_event_bytes = limit ? strtoull(limit, NULL, 10) : 1000000, .keep_most = keep};
    struct sse_event event;
    int r = 0;
    place = 0;
    for (size_t at = 0; at < n && r == 0;) {
        size_t piece = golden_piece(cut, at, n);
        r = feed(&s, p + at, piece, out);
        at += piece;
    }
    if (r < 0)
        http_say(out, "fault %s at %zu\n", s.fault, place);
    else if (sse_finish(&s, &event))
        say(out, &event);
    sse_fini(&s);
}

static void play(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    run(c, p, n, cut, out, UINT64_MAX);
}

static void by_document(void **state)
{
    (void)state;
    golden_check_all("tests/golden/sse/events.md", play);
}

/* The numbers are the same when nobody wants the data. */
static void without_data(void **state)
{
    struct golden golden;
    (void)state;
    golden_open(&golden, "tests/golden/sse/events.md");
    for (size_t i = 0; i < golden.count; i++) {
        const struct golden_case *c = &golden.cases[i];
        struct buffer in = {0}, with = {0};
        golden_bytes(c, "in", &in);
        run(c, buffer_data(&in), buffer_size(&in), &(struct golden_cut){0}, &with, UINT64_MAX);
        buffer_append(&with, "", 1);
        char *text = (char *)buffer_data(&with), *to = text;
        for (char *line = text; *line;) { /* takes the data away */
            char *over = strchr(line, '\n'), *data = strstr(line, " data=");
            size_t n = (size_t)((data && data < over ? data : over) - line);
            memmove(to, line, n);
            to += n;
            *to++ = '\n';
            line = over + 1;
        }
        *to = 0;
        for (size_t cut = 0; cut <= buffer_size(&in); cut++) {
            struct buffer out = {0};
            run(c, buffer_data(&in), buffer_size(&in), &(struct golden_cut){.first = cut}, &out, 0);
            buffer_append(&out, "", 1);
            if (strcmp((char *)buffer_data(&out), text) != 0)
                fail_msg("%s, cut at %zu:\n%s\nnot\n%s", c->title, cut, (char *)buffer_data(&out), text);
            buffer_fini(&out);
        }
        buffer_fini(&in);
        buffer_fini(&with);
    }
    golden_close(&golden);
}

static void play_kept(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    run(c, p, n, cut, out, seen);
}

/* What a sink sees that wants so many bytes of the data is the same, whether all of it was kept or no more than that. */
static void samples_are_beginnings(void **state)
{
    (void)state;
    for (seen = 0; seen < 25; seen++)
        golden_same_all("tests/golden/sse/events.md", play, play_kept);
    seen = UINT64_MAX;
}

static void a_sample_needs_no_more_memory(void **state)
{
    struct sse s = {.max_event_bytes = UINT64_C(1) << 30, .keep_most = 64};
    static char line[65536];
    struct buffer out = {0};
    (void)state;
    memset(line, 'x', sizeof line);
    for (unsigned i = 0; i < 256; i++) {
        memcpy(line, "data: ", 6);
        line[sizeof line - 1] = '\n';
        assert_int_equal(feed(&s, (const uint8_t *)line, sizeof line, &out), 0); /* 16 MiB of lines */
        assert_true(s.data.n <= 64 && s.data.room <= 128);
    }
    assert_int_equal(feed(&s, (const uint8_t *)"\n", 1, &out), 0);
    assert_int_equal(s.sequence_no, 1);
    char want[128];
    int n = snprintf(want, sizeof want, "1 lines=256 len=%u data=%.64s\n", 256 * (65536 - 7) + 255, line + 6);
    assert_int_equal(buffer_size(&out), n);
    assert_memory_equal(buffer_data(&out), want, n);
    sse_fini(&s);
    buffer_fini(&out);
}

/* From where on bytes wait for a policy's verdict. */
static void play_gaps(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    struct sse s = {.max_event_bytes = 1000000, .gaps = 1};
    struct sse_event event;
    size_t held = 0;
    (void)c;
    for (size_t at = 0; at < n;) {
        size_t piece = golden_piece(cut, at, n);
        char *exact = malloc(piece);
        memcpy(exact, p + at, piece);
        struct sse_input in = sse_input(exact, piece);
        for (int r; (r = sse_next(&s, &in, &event)) > 0; held = at + (size_t)(in.at - exact))
            if (r != SSE_BETWEEN)
                http_say(out, "%llu %zu\n", (unsigned long long)event.sequence_no, held);
        free(exact);
        at += piece;
    }
    http_say(out, "rest %zu\n", held);
    sse_fini(&s);
}

static void what_is_between_events(void **state)
{
    (void)state;
    golden_check_all("tests/golden/sse/between.md", play_gaps);
}

/* What is wanted when an event begins holds for all of it. */
static void a_sample_holds_for_its_event(void **state)
{
    struct sse s = {.max_event_bytes = 1000, .keep_most = 4};
    struct buffer out = {0};
    (void)state;
    assert_int_equal(feed(&s, (const uint8_t *)"data: ab\n", 9, &out), 0);
    s.keep_most = 0;
    assert_int_equal(feed(&s, (const uint8_t *)"data: cd\n", 9, &out), 0);
    s.keep_most = UINT64_MAX;
    assert_int_equal(feed(&s, (const uint8_t *)"data: ef\n\n", 10, &out), 0);
    assert_int_equal(feed(&s, (const uint8_t *)"data: gh\n\n", 10, &out), 0);
    assert_int_equal(buffer_append(&out, "", 1), 0);
    assert_string_equal((const char *)buffer_data(&out), "1 lines=3 len=8 data=ab\\nc\n2 lines=1 len=2 data=gh\n");
    sse_fini(&s);
    buffer_fini(&out);
    s = (struct sse){.max_event_bytes = 1000};
    assert_int_equal(feed(&s, (const uint8_t *)"data: ab\n", 9, &out), 0);
    s.keep_most = 5; /* of an event that has begun without it nothing is shown */
    assert_int_equal(feed(&s, (const uint8_t *)"data: cd\n\n", 10, &out), 0);
    assert_int_equal(buffer_append(&out, "", 1), 0);
    assert_string_equal((const char *)buffer_data(&out), "1 lines=2 len=5\n");
    sse_fini(&s);
    buffer_fini(&out);
}

/* A day of a stream: ten million events leave nothing behind. */
static void memory_stays_flat(void **state)
{
    static const char text[] = "id: 12345\nevent: token\ndata: {\"delta\":\"hello\"}\n\n";
    struct sse s = {.max_event_bytes = 1000000, .keep_most = UINT64_MAX};
    struct sse_event event;
    (void)state;
    for (unsigned i = 0; i < 10000000; i++) {
        struct sse_input in = sse_input(text, sizeof text - 1);
        assert_int_equal(sse_next(&s, &in, &event), 1);
        assert_int_equal(sse_next(&s, &in, &event), 0);
    }
    assert_int_equal(s.sequence_no, 10000000);
    assert_true(s.event.room + s.id.room + s.id_line.room + s.data.room < 1000);
    sse_fini(&s);
}

/* One large event does not stay for the small ones behind it. */
static void a_large_event_is_given_back(void **state)
{
    struct sse s = {.max_event_bytes = 1u << 20, .keep_most = UINT64_MAX};
    struct buffer out = {0};
    char *text = malloc(900000);
    (void)state;
    memset(text, 'x', 900000);
    memcpy(text, "data:", 5);
    memcpy(text + 900000 - 2, "\n\n", 2);
    assert_int_equal(feed(&s, (uint8_t *)text, 900000, &out), 0);
    assert_int_equal(feed(&s, (const uint8_t *)"data: a\n\n", 9, &out), 0);
    assert_int_equal(s.sequence_no, 2);
    assert_true(s.data.room <= 16384);
    sse_fini(&s);
    free(text);
    buffer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_document),
        cmocka_unit_test(without_data),
        cmocka_unit_test(samples_are_beginnings),
        cmocka_unit_test(a_sample_needs_no_more_memory),
        cmocka_unit_test(what_is_between_events),
        cmocka_unit_test(a_sample_holds_for_its_event),
        cmocka_unit_test(memory_stays_flat),
        cmocka_unit_test(a_large_event_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
