/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/coding/ */
/* needs: CODING */
/* Content codings by document (tests/golden/coding/streams.md), their names, and what is made with little room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

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

/* ---- limits, however the bytes are cut ---- */

#define ZEROS 1500000u
#define RANDOM_MOST 14000u

/* python: c = brotli.Compressor(quality=5, lgwin=18); c.process(b"\0" * 1500000) + c.flush() */
static const char br_zeros[] = "\xa3\xff\xff\x03\x40\x02\x20\x1e\x0b\x24\xf7\xfe\x40\xff\xff\x07\x80\x04\x40\x1c\x16\x80\xee\xfd\x81\xbe\xc6\x0d\x00\x09"
                               "\x80\x38\x2c\x00\x8d\x6d\x03";

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 16;
}

/* Blocks that are stored (RFC 7932 9.2), after br_zeros or as a stream of their own. */
static void br_stored(const uint8_t *p, size_t n, int begun, struct buffer *out)
{
    for (size_t at = 0; at < n;) {
        size_t m = n - at < 65536 ? n - at : 65536;
        uint32_t head = ((uint32_t)(m - 1) << 3 | 1u << 19) << (begun ? 0 : 1);
        uint8_t bytes[3] = {(uint8_t)head, (uint8_t)(head >> 8), (uint8_t)(head >> 16)};
        begun = 1;
        buffer_append(out, bytes, 3);
        buffer_append(out, p + at, m);
        at += m;
    }
    buffer_append(out, begun ? "\x03" : "\x06", 1);
}

static void encode_br(const struct buffer *in, struct buffer *out)
{
    const uint8_t *p = buffer_data(in);
    size_t n = buffer_size(in), skip = n >= ZEROS && p[0] == 0 && p[ZEROS - 1] == 0 ? ZEROS : 0;
    if (skip)
        buffer_append(out, br_zeros, sizeof br_zeros - 1);
    br_stored(p + skip, n - skip, skip > 0, out);
}

static void encode_zlib(const struct buffer *in, int bits, struct buffer *out)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)buffer_data(in), .avail_in = (uInt)buffer_size(in)};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    uLong most = deflateBound(&z, z.avail_in);
    uint8_t *p = malloc(most);
    z.next_out = p;
    z.avail_out = (uInt)most;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    buffer_append(out, p, z.total_out);
    deflateEnd(&z);
    free(p);
}

static void encode_zstd(const struct buffer *in, struct buffer *out)
{
    size_t most = ZSTD_compressBound(buffer_size(in));
    uint8_t *p = malloc(most);
    buffer_append(out, p, ZSTD_compress(p, most, buffer_data(in), buffer_size(in), 3));
    free(p);
}

static void encode(uint8_t id, const struct buffer *in, struct buffer *out)
{
    if (id == CODING_BR)
        encode_br(in, out);
    else if (id == CODING_ZSTD)
        encode_zstd(in, out);
    else
        encode_zlib(in, id == CODING_GZIP ? 15 + 16 : 15, out);
}

struct outcome {
    char fault[32];
    size_t made, taken;
    uint32_t sum;
};

/* `every`: bytes of a piece; 0: any. */
static struct outcome decode(const struct coding_list *list, const struct coding_limits *limits, const struct buffer *in, size_t every, uint32_t seed)
{
    struct coding *coding = coding_new(list, limits);
    struct buffer made = {0};
    struct outcome o = {.made = 0};
    int r = 0;
    for (size_t at = 0, n = buffer_size(in); at < n && r == 0;) {
        size_t m = every ? every : 1 + next_random(&seed) % 3000;
        m = m < n - at ? m : n - at;
        r = take(coding, buffer_data(in) + at, m, &made, &o.taken);
        at += m;
    }
    if (r == 0)
        coding_end(coding);
    strcpy(o.fault, coding_fault(coding));
    o.made = buffer_size(&made);
    o.sum = (uint32_t)crc32(0, buffer_data(&made), (uInt)o.made);
    buffer_fini(&made);
    coding_free(coding);
    return o;
}

static void same_at_every_cut(const struct coding_list *list, const struct coding_limits *limits, const struct buffer *in)
{
    struct outcome whole = decode(list, limits, in, buffer_size(in), 0);
    static const size_t cuts[] = {1, 700, 0, 0};
    int place = list->n == 1 && list->ids[0] != CODING_BR;
    for (uint32_t i = 0; i < 4; i++) {
        struct outcome o = decode(list, limits, in, cuts[i], i);
        if (strcmp(o.fault, whole.fault) != 0 || o.made != whole.made || o.sum != whole.sum || (place && o.taken != whole.taken))
            fail_msg("%u codings, %u %u, ratio %u, %zu bytes, cut %u: %s at %zu, out %zu; whole: %s at %zu, out %zu", list->n, list->ids[0],
                     list->ids[1], (unsigned)limits->max_ratio, buffer_size(in), i, o.fault, o.taken, o.made, whole.fault, whole.taken, whole.made);
    }
}

static void check_limits(const struct coding_list *list, const struct buffer *in)
{
    static const uint64_t ratios[] = {30, 100, 1000};
    for (size_t i = 0; i < 3; i++)
        for (uint64_t bytes = 0; bytes <= 1200000; bytes += 1200000)
            same_at_every_cut(list, &(struct coding_limits){.max_ratio = ratios[i], .max_bytes = bytes, .max_window = 8u << 20}, in);
}

/* Whether a limit is reached, and what came out before, is the stream's own; the place, too, but for br and stacks. */
static void a_limit_is_where_it_is(void **state)
{
    static const size_t random[] = {0, 9000, RANDOM_MOST};
    struct buffer plain = {0}, noise = {0};
    uint32_t seed = 5;
    (void)state;
    for (size_t i = 0; i < ZEROS; i++)
        buffer_append(&plain, "", 1);
    for (size_t i = 0; i < RANDOM_MOST; i++)
        buffer_append(&noise, &(uint8_t){(uint8_t)next_random(&seed)}, 1);
    for (uint32_t k = 0; k < 3 * 4 * 5; k++) {
        struct coding_list list = {{(uint8_t)(1 + k % 4), (uint8_t)(k / 4 % 5)}, k / 4 % 5 ? 2 : 1};
        struct buffer body = {0}, one = {0}, two = {0};
        buffer_append(&body, buffer_data(&plain), buffer_size(&plain));
        buffer_append(&body, buffer_data(&noise), random[k / 20]);
        encode(list.ids[0], &body, &one);
        if (list.n == 2)
            encode(list.ids[1], &one, &two);
        check_limits(&list, list.n == 2 ? &two : &one);
        buffer_fini(&body);
        buffer_fini(&one);
        buffer_fini(&two);
    }
    buffer_fini(&plain);
    buffer_fini(&noise);
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
        cmocka_unit_test(a_limit_is_where_it_is),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
