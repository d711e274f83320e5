/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/grpc/frames.c modules/grpc/web.c modules/grpc/call.c modules/match/path.c modules/coding/ */
/* needs: CODING */
/* The pure parts of the module grpc: framing (tests/golden/grpc/frames.md), base64 and trailers of gRPC-Web, which heads are calls and whose. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "golden.h"
#include "http_play.h"
#include "modules/grpc/call.h"
#include "modules/grpc/frames.h"
#include "modules/grpc/web.h"
#include "modules/match/path.h"

/* ---- framing ---- */

static uint64_t seen = UINT64_MAX, kept = UINT64_MAX; /* bytes of a message that a sink sees, that are kept */

static void say(struct buffer *out, const struct frames_found *found)
{
    const uint64_t most = found->kind == FRAMES_MESSAGE && found->data.n > seen ? seen : found->data.n;
    static const char *const kinds[] = {"", "message", "trailers", "malformed"};
    http_say(out, "%s", kinds[found->kind]);
    if (found->kind == FRAMES_MALFORMED)
        http_say(out, " %s", frames_class_name(found->class));
    http_say(out, " %llu at=%llu length=%llu", (unsigned long long)found->sequence_no, (unsigned long long)found->offset,
             (unsigned long long)found->message_len);
    if (found->compressed)
        http_say(out, " compressed");
    if (found->has_decompressed)
        http_say(out, " decompressed=%llu", (unsigned long long)found->decompressed_len);
    if (found->data.p && (seen > 0 || found->kind != FRAMES_MESSAGE)) {
        http_say(out, " ");
        http_say_bytes(out, found->data.p, (size_t)most);
    }
    http_say(out, "\n");
}

static void set_up(struct frames *f, const char *with)
{
    const char *coding = with ? strstr(with, "coding ") : NULL, *max = with ? strstr(with, "max ") : NULL;
    *f = (struct frames){.max_message_bytes = max ? strtoull(max + 4, NULL, 10) : 1 << 20, .inflate = 1, .keep_most = kept};
    f->trailers = with && strstr(with, "web");
    if (with && strstr(with, "drop"))
        f->keep_most = f->inflate = 0;
    if (coding) {
        struct coding_list list = {.n = 0};
        f->may_compress = 1;
        if (coding_list_add(&list, (struct soth_span){coding + 7, strcspn(coding + 7, "\n")}) == SOTH_OK)
            f->coding = list.ids[0];
    }
}

static void play(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    struct frames f;
    struct frames_found found;
    set_up(&f, golden_text(c, "with"));
    for (size_t at = 0; at < n;) {
        size_t piece = golden_piece(cut, at, n);
        char *exact = malloc(piece);
        memcpy(exact, p + at, piece);
        struct soth_span in = {exact, piece};
        int r;
        while ((r = frames_take(&f, &in, &found)) != FRAMES_MORE) {
            assert_true(r > 0);
            say(out, &found);
        }
        assert_int_equal(in.n, 0);
        free(exact);
        at += piece;
    }
    if (frames_end(&f, &found) != FRAMES_MORE)
        say(out, &found);
    assert_int_equal(frames_end(&f, &found), FRAMES_MORE); /* once */
    frames_fini(&f);
}

static void documents(void **state)
{
    (void)state;
    golden_check_all("tests/golden/grpc/frames.md", play);
}

static void play_kept(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    kept = seen;
    play(c, p, n, cut, out);
    kept = UINT64_MAX;
}

/* What a sink sees that wants so many bytes of a message is the same, whether all of it was kept or no more than that. */
static void samples_are_beginnings(void **state)
{
    (void)state;
    for (seen = 0; seen < 25; seen++)
        golden_same_all("tests/golden/grpc/frames.md", play, play_kept);
    seen = UINT64_MAX;
}

static void a_sample_needs_no_more_memory(void **state)
{
    static char body[60000];
    struct frames f = {.max_message_bytes = 1 << 20, .keep_most = 64};
    struct frames_found found;
    (void)state;
    memset(body, 'x', sizeof body);
    for (unsigned i = 0; i < 100; i++) {
        char head[5] = {0, 0, 0, (char)(60000 >> 8 & 255), (char)(60000 & 255)};
        struct soth_span in = {head, 5};
        assert_int_equal(frames_take(&f, &in, &found), FRAMES_MORE);
        in = (struct soth_span){body, sizeof body};
        assert_int_equal(frames_take(&f, &in, &found), FRAMES_MESSAGE);
        assert_int_equal(found.data.n, 64);
        assert_memory_equal(found.data.p, body, 64);
        assert_int_equal(f.kept_room, 64);
    }
    f.keep_most = 100; /* a sink that wants more has come */
    struct soth_span in = {"\0\0\0\0\3abc", 8};
    assert_int_equal(frames_take(&f, &in, &found), FRAMES_MESSAGE);
    assert_int_equal(found.data.n, 3);
    assert_int_equal(f.kept_room, 100);
    frames_fini(&f);
}

/* What is longer than 64 KiB is not kept, and counted all the same. */
static void a_long_message(void **state)
{
    struct frames f = {.max_message_bytes = 1 << 20, .keep_most = UINT64_MAX};
    struct frames_found found;
    static char body[70000];
    char head[5] = {0, 0, 1, (char)(70000 >> 8 & 255), (char)(70000 & 255)};
    struct soth_span in = {head, 5};
    (void)state;
    assert_int_equal(frames_take(&f, &in, &found), FRAMES_MORE);
    in = (struct soth_span){body, sizeof body};
    assert_int_equal(frames_take(&f, &in, &found), FRAMES_MESSAGE);
    assert_int_equal(found.message_len, sizeof body);
    assert_null(found.data.p);
    f.keep_most = 64; /* nor is its beginning: what one sink sees does not depend on what another wants */
    in = (struct soth_span){head, 5};
    assert_int_equal(frames_take(&f, &in, &found), FRAMES_MORE);
    in = (struct soth_span){body, sizeof body};
    assert_int_equal(frames_take(&f, &in, &found), FRAMES_MESSAGE);
    assert_null(found.data.p);
    frames_fini(&f);
}

/* ---- gRPC-Web ---- */

static void base64_in_pieces(void **state)
{
    static const struct {
        const char *text, *bytes;
        int bad;
    } cases[] = {{"aGVsbG8=", "hello", 0},     {"aGVsbG8=aGVsbG8=", "hellohello", 0}, {"YQ==Yg==", "ab", 0},   {"YWJj\r\nZGVm", "abcdef", 0},
                 {"", "", 0},                  {"YW Jj", "", 1},                        {"=AAA", "", 1},         {"YQ=a", "", 1},
                 {"Y===", "", 1},              {"\x80", "", 1},                         {"_-8A", "\xff\xef", 0}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t every = 1; every <= 5; every++) {
            struct web_base64 b = {.have = 0};
            char out[64], made[3];
            size_t n = 0, size = strlen(cases[i].text);
            int bad = 0;
            for (size_t at = 0; at < size && !bad;) {
                size_t piece = every < size - at ? every : size - at, used = 0;
                int r = web_base64_take(&b, cases[i].text + at, piece, &used, made);
                bad = r < 0;
                if (!bad && r > 0)
                    memcpy(out + n, made, (size_t)r);
                n += bad ? 0 : (size_t)r;
                at += used;
            }
            assert_int_equal(bad, cases[i].bad);
            if (!bad)
                assert_memory_equal(out, cases[i].bytes, strlen(cases[i].bytes));
        }
}

static void trailers_as_text(void **state)
{
    struct soth_field f;
    struct soth_span text = soth_span("grpc-status: 5\r\nno line\r\n: x\r\nGrpc-Message:not%20found \nlast:");
    (void)state;
    assert_true(web_trailer(text, 0, &f));
    assert_true(soth_span_is(f.name, "grpc-status") && soth_span_is(f.value, "5"));
    assert_true(web_trailer(text, 1, &f));
    assert_true(soth_span_is(f.name, "Grpc-Message") && soth_span_is(f.value, "not%20found"));
    assert_true(web_trailer(text, 2, &f));
    assert_true(soth_span_is(f.name, "last") && f.value.n == 0);
    assert_false(web_trailer(text, 3, &f));
}

/* ---- heads ---- */

static void which_types_are_calls(void **state)
{
    static const struct {
        const char *type;
        enum call_kind kind;
    } types[] = {{"application/grpc", CALL_GRPC},
                 {"Application/gRPC+proto", CALL_GRPC},
                 {"application/grpc+json", CALL_GRPC},
                 {"application/grpc-web", CALL_WEB},
                 {"application/grpc-web+proto", CALL_WEB},
                 {"application/grpc-web-text", CALL_WEB_TEXT},
                 {"application/grpc-web-text+proto", CALL_WEB_TEXT},
                 {"application/grpc-webby", CALL_NONE},
                 {"application/grpcx", CALL_NONE},
                 {"application/json", CALL_NONE},
                 {"", CALL_NONE}};
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        assert_int_equal(call_kind(soth_span(types[i].type)), types[i].kind);
    assert_int_equal(call_kind((struct soth_span){NULL, 0}), CALL_NONE);
}

static void whose_calls(void **state)
{
    static const struct {
        const char *target, *service, *method;
    } targets[] = {{"/pkg.Svc/Get", "pkg.Svc", "Get"}, {"/prefix/pkg.Svc/Get?x=/y", "pkg.Svc", "Get"}, {"/Get", NULL, "Get"},
                   {"/pkg.Svc/", "pkg.Svc", NULL},     {"//Get", NULL, "Get"},                         {"/", NULL, NULL},
                   {"*", NULL, NULL},                  {"", NULL, NULL}};
    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        struct soth_span service, method;
        path_call(soth_span(targets[i].target), &service, &method);
        assert_int_equal(service.p != NULL, targets[i].service != NULL);
        assert_int_equal(method.p != NULL, targets[i].method != NULL);
        assert_true(!service.p || soth_span_is(service, targets[i].service));
        assert_true(!method.p || soth_span_is(method, targets[i].method));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents),
        cmocka_unit_test(samples_are_beginnings),
        cmocka_unit_test(a_sample_needs_no_more_memory),
        cmocka_unit_test(a_long_message),
        cmocka_unit_test(base64_in_pieces),
        cmocka_unit_test(trailers_as_text),
        cmocka_unit_test(which_types_are_calls),
        cmocka_unit_test(whose_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
