/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/coding/ */
/* needs: CODING */
/* Content codings by document (tests/golden/coding/streams.md), their names, and what is made with little room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "golden.h"
#include "http_play.h"
#include "modules/coding/coding.h"

static size_t room = 16384; /* of one call */
static bool places = true;  /* say where a fault is: with little room the libraries read ahead, and limits are found a byte or so later */

static struct coding *make(const struct golden_case *c)
{
    struct coding_limits limits = {.max_ratio = 1000, .max_bytes = 0, .max_window = 8u << 20};
    struct coding_list list = {.n = 0};
    const char *names = golden_text(c, "codings"), *limit = golden_text(c, "limits");
    assert_int_equal(coding_list_add(&list, soth_span(names)), 0);
    if (limit) {
        uint64_t value = strtoull(strchr(limit, ' ') + 1, NULL, 10);
        *(*limit == 'r' ? &limits.max_ratio : *limit == 'b' ? &limits.max_bytes : &limits.max_window) = value;
    }
    return coding_new(&list, &limits);
}

/* Takes all; 0 or the failure; *taken: up to where. */
static int take(struct coding *coding, const uint8_t *p, size_t n, struct buffer *made, size_t *taken)
{
    char *exact = malloc(n ? n : 1), *out = malloc(room);
    memcpy(exact, p, n);
    struct soth_span in = {exact, n};
    size_t got = room;
    int r = 0;
    while (r == 0 && (in.n > 0 || got == room)) {
        r = coding_take(coding, &in, out, room, &got);
        buffer_append(made, out, got);
    }
    *taken += n - in.n;
    free(exact);
    free(out);
    return r;
}

static void say_made(struct buffer *out, const struct buffer *made)
{
    const uint8_t *p = buffer_data(made);
    size_t n = buffer_size(made);
    if (n == 0)
        return;
    if (n > 1000) {
        uint32_t sum = 0;
        for (size_t i = 0; i < n; i++)
            sum = sum * 31 + p[i];
        http_say(out, sum == 0 ? "out %zu zeros\n" : "out %zu bytes, sum %u\n", n, sum);
        return;
    }
    http_say(out, "out ");
    for (size_t i = 0; i < n; i++)
        http_say(out, p[i] >= ' ' && p[i] <= '~' && p[i] != '\\' ? "%c" : "\\x%02x", p[i]);
    http_say(out, "\n");
}

static void play(const struct golden_case *c, const uint8_t *p, size_t n, const struct golden_cut *cut, struct buffer *out)
{
    struct coding *coding = make(c);
    struct buffer made = {0};
    size_t taken = 0;
    int r = 0;
    for (size_t at = 0; at < n && r == 0;) {
        size_t piece = golden_piece(cut, at, n);
        r = take(coding, p + at, piece, &made, &taken);
        at += piece;
    }
    if (r == 0)
        r = coding_end(coding);
    say_made(out, &made);
    if (r < 0 && (!places || strchr(golden_text(c, "codings"), ','))) /* what is in front of a stack may have read more */
        http_say(out, "fault %s\n", coding_fault(coding));
    else if (r < 0)
        http_say(out, "fault %s at %zu\n", coding_fault(coding), taken);
    assert_int_equal(coding_is_over_limit(coding), strncmp(coding_fault(coding), "max_", 4) == 0);
    buffer_fini(&made);
    coding_free(coding);
}

static void by_document(void **state)
{
    (void)state;
    golden_check_all("tests/golden/coding/streams.md", play);
}

static void by_document_with_little_room(void **state)
{
    struct golden golden;
    static const size_t rooms[] = {1, 7, 100};
    (void)state;
    golden_open(&golden, "tests/golden/coding/streams.md");
    places = false;
    for (size_t k = 0; k < 3; k++) {
        room = rooms[k];
        for (size_t i = 0; i < golden.count; i++) {
            struct buffer in = {0}, out = {0};
            golden_bytes(&golden.cases[i], "in", &in);
            play(&golden.cases[i], buffer_data(&in), buffer_size(&in), &(struct golden_cut){0}, &out);
            buffer_append(&out, "", 1);
            const char *wanted = golden_text(&golden.cases[i], "events"), *at = strstr(wanted, " at ");
            if (strncmp((char *)buffer_data(&out), wanted, at ? (size_t)(at - wanted) : strlen(wanted)) != 0)
                fail_msg("%s, room %zu:\n%s", golden.cases[i].title, room, (char *)buffer_data(&out));
            buffer_fini(&in);
            buffer_fini(&out);
        }
    }
    room = 16384;
    places = true;
    golden_close(&golden);
}

static void play_says(const struct golden_case *c, const struct buffer *in, size_t every, size_t first, struct buffer *out)
{
    buffer_clear(out);
    play(c, buffer_data(in), buffer_size(in), &(struct golden_cut){.every = every, .first = first}, out);
    buffer_append(out, "", 1);
}

/* Whichever byte of a stream is another one: what is made in front of the fault, what is the fault, and where it is, does not depend on the cut. Of br
 * it does, and of stacks the place. */
static void a_fault_is_where_it_is(void **state)
{
    struct golden golden;
    (void)state;
    golden_open(&golden, "tests/golden/coding/streams.md");
    for (size_t i = 0; i < golden.count; i++) {
        const struct golden_case *c = &golden.cases[i];
        struct buffer in = {0}, whole = {0}, cut = {0};
        golden_bytes(c, "in", &in);
        const char *limits = golden_text(c, "limits");
        size_t n = strstr(golden_text(c, "codings"), "br") || buffer_size(&in) > 200 || (limits && *limits == 'r') ? 0 : buffer_size(&in);
        for (size_t at = 0; at < n; at++)
            for (unsigned flip = 1; flip < 256; flip *= 7) {
                in.p[at] = (uint8_t)(in.p[at] ^ flip);
                play_says(c, &in, 0, 0, &whole);
                for (size_t k = n; k > 0; k /= 2) {
                    play_says(c, &in, k == n, k == n ? 0 : k, &cut);
                    if (strcmp((char *)buffer_data(&whole), (char *)buffer_data(&cut)) != 0)
                        fail_msg("%s, byte %zu, bit %u, cut at %zu:\n%s\nwhole:\n%s", c->title, at, flip, k, (char *)buffer_data(&cut), (char *)buffer_data(&whole));
                }
                in.p[at] = (uint8_t)(in.p[at] ^ flip);
            }
        buffer_fini(&in);
        buffer_fini(&whole);
        buffer_fini(&cut);
    }
    golden_close(&golden);
}

static void names(void **state)
{
    struct coding_list list = {.n = 0};
    (void)state;
    assert_int_equal(coding_list_add(&list, soth_span(" identity ,, ")), 0);
    assert_int_equal(list.n, 0);
    assert_int_equal(coding_list_add(&list, soth_span("GZip,\tbr ")), 0);
    assert_int_equal(coding_list_add(&list, soth_span("zstd")), 0);
    assert_int_equal(list.n, 3);
    assert_int_equal(list.ids[0], CODING_GZIP);
    assert_int_equal(list.ids[2], CODING_ZSTD);
    assert_int_equal(coding_list_add(&list, soth_span("compress")), -SOTH_EUNSUPPORTED);
    assert_int_equal(coding_list_add(&list, soth_span("gzip;q=1")), -SOTH_EUNSUPPORTED);
    assert_int_equal(coding_list_add(&list, soth_span("deflate, deflate")), -SOTH_EUNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_document),
        cmocka_unit_test(by_document_with_little_room),
        cmocka_unit_test(a_fault_is_where_it_is),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
