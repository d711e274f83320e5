/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What is told of a body and when: its chunks are what was relayed, also when a policy holds records back and blocks one; what decoders find at the
 * end of a message comes before its last chunk, and that before its trailers.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "flow_lines.h"
#include "h2_talk.h"
#include "host/flow/stage.h"

#define POST_A "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\n"
#define OK "HTTP/1.1 200 OK\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n\r\n"
#define END "0\r\n\r\n"
#define END_WITH_TRAILERS "0\r\nX-T: 1\r\n\r\n"
#define CLOSED(code) "stream_closed reason_code=" code "\n"

static struct driver d;

static void expect(struct lines *l, const char *wanted)
{
    const char *got = lines_told(l);
    if (strcmp(got, wanted) != 0)
        fail_msg("told\n%s\nnot\n%s", got, wanted);
}

/* A request is with its origin. `captures` of each body. */
static void ask(struct lines *l, const char *head, uint64_t captures)
{
    rig_init(&d);
    driver_accept(&d);
    lines_begin(l, &d);
    driver_capture(&d, captures);
    rig_say(&d, SIDE_CLIENT, head);
    rig_dialed(&d);
}

static void answered(struct lines *l, uint64_t captures, const char *first, const char *second)
{
    ask(l, GET_A, captures);
    expect(l, "");
    rig_say(&d, SIDE_ORIGIN, first);
    if (second)
        rig_say(&d, SIDE_ORIGIN, second);
}

static void fini(struct lines *l)
{
    if (!d.closed)
        rig_step(&d, INPUT_ABORT);
    rig_fini(&d);
    lines_fini(l);
}

/* ---- a policy holds and blocks ---- */

struct blocked_case {
    const char *first, *second, *body; /* what the client gets of it */
    const char *captured, *counted;
};

#define RECORD "stream_record data=a\n"
#define BLOCK "stream_record data=bX\nframe_decision action=block\n"
#define CHUNK "response_body_chunk bytes=2 offset=0"
#define BLOCKED_2 RECORD CHUNK " payload=a;\n" BLOCK CLOSED("blocked")
#define COUNTED_2 RECORD CHUNK "\n" BLOCK CLOSED("blocked")
#define BLOCKED_1 RECORD BLOCK CHUNK " payload=a;\n" CLOSED("blocked")
#define COUNTED_1 RECORD BLOCK CHUNK "\n" CLOSED("blocked")

static const struct blocked_case blocked_cases[] = {
    {OK CHUNKED "4\r\na;bX\r\n", END, OK CHUNKED "2\r\na;\r\n", BLOCKED_2, COUNTED_2},           /* the last one, without its end, */
    {OK CHUNKED "4\r\na;bX\r\n" END, NULL, OK CHUNKED "2\r\na;\r\n", BLOCKED_2, COUNTED_1},      /* also in one read */
    {OK CHUNKED "3\r\na;b\r\n", "2\r\nX;\r\n", OK CHUNKED "2\r\na;\r\n", BLOCKED_2, COUNTED_2},  /* one in two reads */
    {OK CHUNKED "7\r\na;bX;c;\r\n" END, NULL, OK CHUNKED "2\r\na;\r\n", BLOCKED_1, COUNTED_1},   /* one among others */
    {OK "Content-Length: 5\r\n\r\na;bX;", NULL, OK "Content-Length: 5\r\n\r\na;", BLOCKED_1, COUNTED_1},
    {OK "Content-Length: 4\r\n\r\na;bX", NULL, OK "Content-Length: 4\r\n\r\na;", BLOCKED_2, COUNTED_1},
};

static void what_is_blocked_is_in_no_chunk(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof blocked_cases / sizeof *blocked_cases; i++)
        for (unsigned captures = 0; captures < 2; captures++) {
            const struct blocked_case *c = &blocked_cases[i];
            struct lines l = {.judged = true};
            answered(&l, captures ? BUS_PAYLOAD_FULL : 0, c->first, c->second);
            rig_expect_sent(&d, SIDE_CLIENT, c->body);
            rig_expect_closed(&d, "blocked", "rule");
            expect(&l, captures ? c->captured : c->counted);
            fini(&l);
        }
}

static void a_request_that_is_blocked(void **state)
{
    struct lines l = {.judged = true};
    (void)state;
    ask(&l, POST_A "Content-Length: 8\r\n\r\na;", BUS_PAYLOAD_FULL);
    rig_say(&d, SIDE_CLIENT, "bX;");
    assert_non_null(strstr(rig_take(&d, SIDE_CLIENT), "blocked: rule"));
    rig_say(&d, SIDE_CLIENT, "c;d");
    expect(&l, RECORD "request_body_chunk bytes=2 offset=0 payload=a;\n" BLOCK CLOSED("blocked"));
    fini(&l);
}

static void what_waits_when_the_origin_breaks_off(void **state)
{
    struct lines l = {.judged = true};
    (void)state;
    answered(&l, BUS_PAYLOAD_FULL, OK CHUNKED "6\r\na;P;bc\r\n", NULL);
    expect(&l, "stream_record data=a\nstream_record data=P\nresponse_body_chunk bytes=2 offset=0 payload=a;\n");
    driver_resume(&d, false);
    expect(&l, "response_body_chunk bytes=2 offset=2 payload=P;\n");
    rig_hang_up(&d, SIDE_ORIGIN, 0);
    rig_expect_sent(&d, SIDE_CLIENT, OK CHUNKED "2\r\na;\r\n2\r\nP;\r\n");
    expect(&l, CLOSED("mitm_http_error"));
    fini(&l);
}

/* Of a sample the events go on without content. */
static void a_sample_of_what_was_held(void **state)
{
    struct lines l = {.judged = true};
    (void)state;
    answered(&l, 3, OK CHUNKED "3\r\na;b\r\n", "3\r\n;c;\r\n");
    expect(&l, "stream_record data=a\nresponse_body_chunk bytes=2 offset=0 payload=a;\n"
               "stream_record data=b\nstream_record data=c\nresponse_body_chunk bytes=1 offset=2 payload=b\nresponse_body_chunk bytes=3 offset=3\n");
    rig_say(&d, SIDE_ORIGIN, "4\r\nd;e;\r\n" END);
    expect(&l, "stream_record data=d\nstream_record data=e\nresponse_body_chunk bytes=4 last=1 offset=6\n");
    fini(&l);
}

/* The last record may still be judged when everything of its message has come. */
static void the_end_waits_for_the_verdict(void **state)
{
    static const char *const messages[] = {OK CHUNKED "3\r\na;P\r\n" END_WITH_TRAILERS, OK "Content-Length: 3\r\n\r\na;P"};
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct lines l = {.judged = true};
        answered(&l, BUS_PAYLOAD_FULL, messages[i], NULL);
        expect(&l, "stream_record data=a\nresponse_body_chunk bytes=2 offset=0 payload=a;\nstream_record data=P\n");
        driver_resume(&d, false);
        expect(&l, i ? "response_body_chunk bytes=1 last=1 offset=2 payload=P\n"
                     : "response_body_chunk bytes=1 offset=2 payload=P\nresponse_body_chunk bytes=0 last=1 offset=3\nresponse_trailers\n");
        rig_expect_sent(&d, SIDE_CLIENT, i ? messages[i] : OK CHUNKED "2\r\na;\r\n1\r\nP\r\n" END_WITH_TRAILERS);
        rig_expect_open(&d);
        fini(&l);
    }
}

/* All of it was here before its head was judged, and then a record of it waits: so does the end. */
static void a_body_that_was_peeked_at_waits_with_its_end(void **state)
{
    struct lines l = {.judged = true, .peeks = SOTH_HOOK_REQUEST}, m = {.judged = true, .peeks = SOTH_HOOK_RESPONSE};
    (void)state;
    ask(&l, POST_A CHUNKED "5\r\na;P;b\r\n" END_WITH_TRAILERS, BUS_PAYLOAD_FULL);
    expect(&l, "stream_record data=a\nstream_record data=P\nrequest_body_chunk bytes=2 offset=0 payload=a;\n");
    driver_resume(&d, false);
    expect(&l, "request_body_chunk bytes=2 offset=2 payload=P;\nstream_record data=b\nrequest_body_chunk bytes=1 offset=4 payload=b\n"
               "request_body_chunk bytes=0 last=1 offset=5\nrequest_trailers\n");
    rig_expect_sent(&d, SIDE_ORIGIN, "POST / HTTP/1.1\r\nHost: a.test\r\n" CHUNKED "2\r\na;\r\n2\r\nP;\r\n1\r\nb\r\n" END_WITH_TRAILERS);
    fini(&l);
    answered(&m, BUS_PAYLOAD_FULL, OK CHUNKED "5\r\na;P;b\r\n" END_WITH_TRAILERS, NULL);
    driver_resume(&d, false);
    rig_expect_sent(&d, SIDE_CLIENT, OK CHUNKED "2\r\na;\r\n2\r\nP;\r\n1\r\nb\r\n" END_WITH_TRAILERS);
    rig_expect_open(&d);
    fini(&m);
}

/* What is relayed is twice as long as the head said that the origin's body is. */
static void a_changed_body_is_told_as_it_is_relayed(void **state)
{
    struct lines l = {.judged = true, .doubles = true};
    (void)state;
    answered(&l, BUS_PAYLOAD_FULL, OK "Content-Length: 4\r\n\r\na;", "b;");
    rig_expect_sent(&d, SIDE_CLIENT, OK CHUNKED "4\r\naa;;\r\n4\r\nbb;;\r\n" END);
    expect(&l, "stream_record data=aa\nstream_record\nresponse_body_chunk bytes=4 offset=0 payload=aa;;\n"
               "stream_record data=bb\nstream_record\nresponse_body_chunk bytes=4 offset=4 payload=bb;;\n"
               "response_body_chunk bytes=0 last=1 offset=8\n");
    fini(&l);
}

/* ---- whatever comes ---- */

/* What a client has of a body. */
static size_t body_of(const char *got, char *body)
{
    const char *at = strstr(got, "\r\n\r\n");
    bool chunked = strstr(got, "chunked") != NULL;
    size_t n = 0, size;
    for (at += 4; *at; at += size + (chunked ? 2 : 0)) {
        char *end = (char *)(uintptr_t)at;
        size = chunked ? strtoul(at, &end, 16) : strlen(at);
        at = chunked ? end + 2 : at;
        memcpy(body + n, at, size);
        n += size;
    }
    return n;
}

/* What the chunks say that it has; *last: and that it is all. */
static size_t told_of(struct lines *l, char *body, bool *last)
{
    size_t n = 0;
    *last = false;
    for (const char *line = lines_told(l), *end; (end = strchr(line, '\n')); line = end + 1) {
        const char *bytes = memmem(line, (size_t)(end - line), " bytes=", 7), *payload = memmem(line, (size_t)(end - line), " payload=", 9);
        if (!bytes)
            continue;
        assert_int_equal(strtoul(bytes + 7, NULL, 10), payload ? end - payload - 9 : 0);
        assert_false(*last);
        *last = memmem(line, (size_t)(end - line), " last=1", 7) != NULL;
        for (payload = payload ? payload + 9 : end; payload < end; payload++)
            body[n++] = *payload;
    }
    return n;
}

static size_t draw_response(unsigned *seed, char *out, size_t size)
{
    static const char letters[] = "ab;ab;ab;P;P";
    char body[64];
    size_t n = (size_t)rand_r(seed) % 40 + 1, at;
    for (size_t i = 0; i < n; i++)
        body[i] = rand_r(seed) % 60 ? letters[(size_t)rand_r(seed) % (sizeof letters - 1)] : 'X';
    if (rand_r(seed) % 2)
        return (size_t)snprintf(out, size, OK "Content-Length: %zu\r\n\r\n%.*s", n, (int)n, body);
    at = (size_t)snprintf(out, size, OK CHUNKED);
    for (size_t i = 0, part; i < n; i += part) {
        part = (size_t)rand_r(seed) % (n - i) + 1;
        at += (size_t)snprintf(out + at, size - at, "%zx\r\n%.*s\r\n", part, (int)part, body + i);
    }
    return at + (size_t)snprintf(out + at, size - at, rand_r(seed) % 2 ? END : END_WITH_TRAILERS);
}

static void resume(unsigned times)
{
    while (times-- > 0 && !d.closed && chained_stuck(d.flow, SIDE_ORIGIN)) {
        driver_resume(&d, false);
        rig_run(&d);
    }
}

static void what_is_told_is_what_the_client_got(void **state)
{
    (void)state;
    for (unsigned seed = 1, i = 0; i < 3000; i++) {
        struct lines l = {.judged = true, .reads_trailers = rand_r(&seed) % 4 == 0, .doubles = rand_r(&seed) % 4 == 0};
        char response[1024], got[256], told[256];
        size_t n = draw_response(&seed, response, sizeof response), sent = rand_r(&seed) % 3 ? n : (size_t)rand_r(&seed) % n;
        bool last;
        l.peeks = rand_r(&seed) % 4 ? 0 : SOTH_HOOK_RESPONSE;
        ask(&l, GET_A, BUS_PAYLOAD_FULL);
        for (size_t at = 0, part; at < sent && !d.closed; at += part) {
            part = (size_t)rand_r(&seed) % (sent - at) + 1;
            rig_say_bytes(&d, SIDE_ORIGIN, response + at, part);
            resume((unsigned)rand_r(&seed) % 3);
        }
        if (!d.closed && sent < n)
            rig_hang_up(&d, SIDE_ORIGIN, 0);
        resume(100);
        const char *text = rig_take(&d, SIDE_CLIENT);
        size_t has = strstr(text, "200 OK") ? body_of(text, got) : 0;
        assert_int_equal(told_of(&l, told, &last), has);
        assert_memory_equal(told, got, has);
        assert_int_equal(last, !d.closed);
        fini(&l);
    }
}

/* ---- the order at a message's end ---- */

static void what_the_end_completes_comes_before_the_last_chunk(void **state)
{
    (void)state;
    for (unsigned judged = 0; judged < 2; judged++) {
        struct lines l = {.judged = judged};
        answered(&l, BUS_PAYLOAD_FULL, OK CHUNKED "3\r\na;b\r\n" END_WITH_TRAILERS, NULL);
        expect(&l, judged ? "stream_record data=a\nresponse_body_chunk bytes=2 offset=0 payload=a;\nstream_record data=b\n"
                            "response_body_chunk bytes=1 offset=2 payload=b\nresponse_body_chunk bytes=0 last=1 offset=3\nresponse_trailers\n"
                          : "stream_record data=a\nresponse_body_chunk bytes=3 offset=0 payload=a;b\nstream_record data=b\n"
                            "response_body_chunk bytes=0 last=1 offset=3\nresponse_trailers\n");
        rig_say(&d, SIDE_CLIENT, GET_A);
        rig_say(&d, SIDE_ORIGIN, OK "Content-Length: 3\r\n\r\na;b");
        expect(&l, judged ? "stream_record data=a\nresponse_body_chunk bytes=2 offset=0 payload=a;\nstream_record data=b\n"
                            "response_body_chunk bytes=1 last=1 offset=2 payload=b\n"
                          : "stream_record data=a\nstream_record data=b\nresponse_body_chunk bytes=3 last=1 offset=0 payload=a;b\n");
        rig_say(&d, SIDE_CLIENT, GET_A);
        rig_say(&d, SIDE_ORIGIN, "HTTP/1.0 200 OK\r\n\r\nc");
        expect(&l, judged ? "" : "response_body_chunk bytes=1 offset=0 payload=c\n");
        rig_hang_up(&d, SIDE_ORIGIN, 0);
        expect(&l, judged ? "stream_record data=c\nresponse_body_chunk bytes=1 offset=0 payload=c\n"
                            "response_body_chunk bytes=0 last=1 offset=1\n"
                            CLOSED("mitm_http_completed")
                          : "stream_record data=c\nresponse_body_chunk bytes=0 last=1 offset=1\n" CLOSED("mitm_http_completed"));
        fini(&l);
    }
}

static void the_same_where_nobody_captures(void **state)
{
    struct lines l = {.judged = false};
    (void)state;
    answered(&l, 0, OK CHUNKED "3\r\na;b\r\n" END_WITH_TRAILERS, NULL);
    expect(&l, "stream_record data=a\nstream_record data=b\nresponse_body_chunk bytes=3 offset=0\nresponse_trailers\n");
    fini(&l);
}

static void the_same_of_a_request(void **state)
{
    struct lines l = {.judged = false};
    (void)state;
    ask(&l, POST_A CHUNKED "3\r\na;b\r\n", BUS_PAYLOAD_FULL);
    expect(&l, "stream_record data=a\nrequest_body_chunk bytes=3 offset=0 payload=a;b\n");
    rig_say(&d, SIDE_CLIENT, END_WITH_TRAILERS);
    expect(&l, "stream_record data=b\nrequest_body_chunk bytes=0 last=1 offset=3\nrequest_trailers\n");
    rig_expect_sent(&d, SIDE_ORIGIN, "POST / HTTP/1.1\r\nHost: a.test\r\n" CHUNKED "3\r\na;b\r\n" END_WITH_TRAILERS);
    rig_say(&d, SIDE_ORIGIN, OK_2);
    expect(&l, "stream_record data=hi\nresponse_body_chunk bytes=2 last=1 offset=0 payload=hi\n");
    rig_say(&d, SIDE_CLIENT, POST_A "Content-Length: 3\r\n\r\na;b");
    expect(&l, "stream_record data=a\nstream_record data=b\nrequest_body_chunk bytes=3 last=1 offset=0 payload=a;b\n");
    rig_expect_sent(&d, SIDE_ORIGIN, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\na;b");
    fini(&l);
}

static void a_body_that_breaks_off_has_no_last_chunk(void **state)
{
    struct lines l = {.judged = false};
    (void)state;
    answered(&l, BUS_PAYLOAD_FULL, OK "Content-Length: 4\r\n\r\na;b", NULL);
    rig_hang_up(&d, SIDE_ORIGIN, 0);
    expect(&l, "stream_record data=a\nresponse_body_chunk bytes=3 offset=0 payload=a;b\n" CLOSED("mitm_http_error"));
    fini(&l);
}

/* Who reads trailers gets them before the end: what it tells of them follows theirs, and what only the end shows it follows that. */
static void a_decoder_that_reads_trailers(void **state)
{
    struct lines l = {.reads_trailers = true}, m = {.judged = true, .reads_trailers = true};
    (void)state;
    answered(&l, BUS_PAYLOAD_FULL, OK CHUNKED "3\r\na;b\r\n" END_WITH_TRAILERS, NULL);
    expect(&l, "stream_record data=a\nresponse_body_chunk bytes=3 offset=0 payload=a;b\nresponse_body_chunk bytes=0 last=1 offset=3\n"
               "response_trailers\ngrpc_response_trailers\nstream_record data=b\n");
    fini(&l);
    answered(&m, BUS_PAYLOAD_FULL, OK CHUNKED "2\r\na;\r\n" END_WITH_TRAILERS, NULL);
    expect(&m, "stream_record data=a\nresponse_body_chunk bytes=2 offset=0 payload=a;\nresponse_body_chunk bytes=0 last=1 offset=2\n"
               "response_trailers\ngrpc_response_trailers\n");
    rig_say(&d, SIDE_CLIENT, GET_A);
    rig_say(&d, SIDE_ORIGIN, OK CHUNKED "3\r\na;b\r\n" END_WITH_TRAILERS); /* bytes are held: their chunk comes first */
    expect(&m, "stream_record data=a\nresponse_body_chunk bytes=2 offset=0 payload=a;\ngrpc_response_trailers\nstream_record data=b\n"
               "response_body_chunk bytes=1 offset=2 payload=b\nresponse_body_chunk bytes=0 last=1 offset=3\nresponse_trailers\n");
    fini(&m);
}

/* Bytes that a decoder does not let pass are in no chunk either, whether or not somebody captures. */
static void a_decoder_that_closes(void **state)
{
    (void)state;
    for (unsigned captures = 0; captures < 2; captures++) {
        struct lines l = {.closed = true};
        answered(&l, captures ? BUS_PAYLOAD_FULL : 0, OK CHUNKED "2\r\na;\r\n", "2\r\nb!\r\n");
        rig_expect_sent(&d, SIDE_CLIENT, OK CHUNKED "2\r\na;\r\n");
        expect(&l, captures ? "stream_record data=a\nresponse_body_chunk bytes=2 offset=0 payload=a;\n" CLOSED("mitm_http_error")
                            : "stream_record data=a\nresponse_body_chunk bytes=2 offset=0\n" CLOSED("mitm_http_error"));
        fini(&l);
    }
}

/* ---- HTTP/2 ---- */

static void h2_asked(struct lines *l)
{
    talk_begin();
    talk_connect();
    lines_begin(l, &talk.driver);
    driver_capture(&talk.driver, BUS_PAYLOAD_FULL);
    h2_peer_ask(&talk.client, "POST", "/", "a.test", "", false);
    h2_peer_body(&talk.client, 1, "q;r", 3, false);
    talk_run();
    talk_answered(0);
    h2_peer_trailers(&talk.client, 1, "x-q: 1\n");
    talk_run();
}

static void the_same_order_in_http2(void **state)
{
    struct lines l = {.judged = false};
    (void)state;
    h2_asked(&l);
    expect(&l, "stream_record data=q\nrequest_body_chunk bytes=3 offset=0 payload=q;r\n"
               "stream_record data=r\nrequest_body_chunk bytes=0 last=1 offset=3\nrequest_trailers\n");
    h2_peer_respond(&talk.origin, 1, 200, "content-length: 3\n", false);
    h2_peer_body(&talk.origin, 1, "a;b", 3, false);
    talk_run();
    expect(&l, "stream_record data=a\nstream_record data=b\nresponse_body_chunk bytes=3 last=1 offset=0 payload=a;b\n");
    h2_peer_trailers(&talk.origin, 1, "x-r: 1\n");
    talk_expect(&talk.client, "1 head 200 content-length=3\n1 body a;b\n1 trailers x-r=1\n1 end\n");
    expect(&l, "response_trailers\n" CLOSED("mitm_http_completed"));
    talk_end();
    lines_fini(&l);
}

static void a_blocked_end_in_http2(void **state)
{
    struct lines l = {.judged = true};
    (void)state;
    h2_asked(&l);
    expect(&l, "stream_record data=q\nrequest_body_chunk bytes=2 offset=0 payload=q;\n"
               "stream_record data=r\nrequest_body_chunk bytes=1 offset=2 payload=r\nrequest_body_chunk bytes=0 last=1 offset=3\nrequest_trailers\n");
    h2_peer_respond(&talk.origin, 1, 200, "", false);
    h2_peer_body(&talk.origin, 1, "a;bX", 4, true);
    talk_expect(&talk.client, "1 head 200\n1 body a;\n1 closed internal_error\n");
    expect(&l, BLOCKED_2);
    talk_end();
    lines_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_blocked_is_in_no_chunk),
        cmocka_unit_test(a_request_that_is_blocked),
        cmocka_unit_test(what_waits_when_the_origin_breaks_off),
        cmocka_unit_test(a_sample_of_what_was_held),
        cmocka_unit_test(the_end_waits_for_the_verdict),
        cmocka_unit_test(a_body_that_was_peeked_at_waits_with_its_end),
        cmocka_unit_test(a_changed_body_is_told_as_it_is_relayed),
        cmocka_unit_test(what_is_told_is_what_the_client_got),
        cmocka_unit_test(what_the_end_completes_comes_before_the_last_chunk),
        cmocka_unit_test(the_same_where_nobody_captures),
        cmocka_unit_test(the_same_of_a_request),
        cmocka_unit_test(a_body_that_breaks_off_has_no_last_chunk),
        cmocka_unit_test(a_decoder_that_reads_trailers),
        cmocka_unit_test(a_decoder_that_closes),
        cmocka_unit_test(the_same_order_in_http2),
        cmocka_unit_test(a_blocked_end_in_http2),
    };
    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
