/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The pure parts of the module ws, each against the obvious way to do it: headers, masks, UTF-8, Close, what extensions were agreed on, inflation.
 * build: modules/ws/framing.c modules/ws/mask.c modules/ws/utf8.c modules/ws/closing.c modules/ws/extension.c modules/ws/inflater.c
 * needs: ZLIB
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "modules/ws/closing.h"
#include "modules/ws/extension.h"
#include "modules/ws/framing.h"
#include "modules/ws/inflater.h"
#include "modules/ws/mask.h"
#include "modules/ws/utf8.h"

static uint64_t random_state = 20;

static unsigned below(unsigned n)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u); /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (unsigned)((z ^ (z >> 31)) % n);
}

/* ---- headers ---- */

static const uint64_t lengths[] = {0, 1, 125, 126, 127, 65535, 65536, UINT32_MAX, INT64_MAX};
#define LENGTHS (sizeof lengths / sizeof *lengths)

static void what_is_put_is_taken(void **state)
{
    static const uint8_t key[4] = {1, 2, 3, 4};
    (void)state;
    for (size_t i = 0; i < LENGTHS; i++)
        for (unsigned masked = 0; masked < 2; masked++)
            for (uint8_t opcode = 0; opcode < 16; opcode++) {
                uint8_t bytes[FRAMING_HEAD_MOST];
                struct framing framing = {.have = 0};
                struct frame_head head;
                bool whole;
                size_t n = framing_put(bytes, opcode, lengths[i], masked ? key : NULL);
                assert_true(n <= sizeof bytes);
                assert_int_equal(framing_take(&framing, bytes, n, &head, &whole), n);
                assert_true(whole && head.fin && head.minimal && head.rsv == 0);
                assert_int_equal(head.opcode, opcode);
                assert_int_equal(head.masked, masked);
                assert_true(head.length == lengths[i]);
                assert_true(!masked || memcmp(head.key, key, 4) == 0);
            }
}

static void a_header_may_come_in_pieces(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t bytes[FRAMING_HEAD_MOST + 3];
        struct framing whole_way = {.have = 0}, piece_way = {.have = 0};
        struct frame_head a, b;
        bool whole = false;
        for (size_t k = 0; k < sizeof bytes; k++)
            bytes[k] = (uint8_t)below(256);
        size_t n = framing_take(&whole_way, bytes, sizeof bytes, &a, &whole), at = 0;
        assert_true(whole && n <= FRAMING_HEAD_MOST);
        memset(&b, 0, sizeof b);
        for (whole = false; !whole;) {
            size_t piece = 1 + below(4), most = sizeof bytes - at;
            at += framing_take(&piece_way, bytes + at, piece < most ? piece : most, &b, &whole);
        }
        assert_int_equal(at, n);
        assert_true(a.length == b.length && a.opcode == b.opcode && a.rsv == b.rsv && a.fin == b.fin && a.masked == b.masked && a.minimal == b.minimal);
        assert_true(!a.masked || memcmp(a.key, b.key, 4) == 0);
        assert_int_equal(piece_way.have, 0);
    }
}

static void lengths_that_are_too_long(void **state)
{
    static const struct {
        uint8_t bytes[10];
        size_t n;
        bool minimal;
    } cases[] = {{{0x81, 126, 0, 125}, 4, false},
                 {{0x81, 126, 0, 126}, 4, true},
                 {{0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 10, false},
                 {{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}, 10, true}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct framing framing = {.have = 0};
        struct frame_head head;
        bool whole;
        assert_int_equal(framing_take(&framing, cases[i].bytes, cases[i].n, &head, &whole), cases[i].n);
        assert_int_equal(head.minimal, cases[i].minimal);
    }
}

/* ---- masks ---- */

/* As this processor does it, and as one without AVX2 would. */
static const struct {
    void (*apply)(uint8_t *out, const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset);
    bool (*hides_ascii)(const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset);
} masks[] = {{mask_apply, mask_hides_ascii}, {mask_apply_plain, mask_hides_ascii_plain}};

static void masks_are_byte_by_byte(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10000; i++) {
        uint8_t in[300], out[300], key[4];
        size_t n = below(sizeof in);
        uint64_t offset = below(9);
        for (size_t k = 0; k < 4; k++)
            key[k] = (uint8_t)below(256);
        for (size_t k = 0; k < n; k++)
            in[k] = (uint8_t)below(256);
        masks[i % 2].apply(out, in, n, key, offset);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(out[k], in[k] ^ key[(offset + k) % 4]);
        masks[i % 2].apply(out, out, n, key, offset); /* in place */
        assert_memory_equal(out, in, n);
    }
}

static void ascii_is_known_behind_its_mask(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10000; i++) {
        uint8_t in[700], key[4];
        size_t n = below(sizeof in), other = below(n + 1);
        uint64_t offset = below(9);
        for (size_t k = 0; k < 4; k++)
            key[k] = (uint8_t)below(256);
        for (size_t k = 0; k < n; k++)
            in[k] = (uint8_t)below(128) ^ key[(offset + k) % 4];
        assert_true(masks[i % 2].hides_ascii(in, n, key, offset));
        if (other == n)
            continue;
        in[other] ^= 0x80;
        assert_false(masks[i % 2].hides_ascii(in, n, key, offset));
        assert_true(masks[i % 2].hides_ascii(in, other, key, offset));
    }
}

/* ---- UTF-8 ---- */

/* RFC 3629 4, written down as it stands there: the length of the character at p, 0 when there is none. */
static size_t character(const uint8_t *p, size_t n)
{
#define IN(i, low, high) (n > (i) && p[i] >= (low) && p[i] <= (high))
#define TAIL(i) IN(i, 0x80, 0xbf)
    if (IN(0, 0x00, 0x7f))
        return 1;
    if (IN(0, 0xc2, 0xdf) && TAIL(1))
        return 2;
    if ((IN(0, 0xe0, 0xe0) && IN(1, 0xa0, 0xbf) && TAIL(2)) || (IN(0, 0xe1, 0xec) && TAIL(1) && TAIL(2)) ||
        (IN(0, 0xed, 0xed) && IN(1, 0x80, 0x9f) && TAIL(2)) || (IN(0, 0xee, 0xef) && TAIL(1) && TAIL(2)))
        return 3;
    if ((IN(0, 0xf0, 0xf0) && IN(1, 0x90, 0xbf) && TAIL(2) && TAIL(3)) || (IN(0, 0xf1, 0xf3) && TAIL(1) && TAIL(2) && TAIL(3)) ||
        (IN(0, 0xf4, 0xf4) && IN(1, 0x80, 0x8f) && TAIL(2) && TAIL(3)))
        return 4;
    return 0;
}

static bool is_text(const uint8_t *p, size_t n)
{
    while (n > 0) {
        size_t one = character(p, n);
        if (one == 0)
            return false;
        p += one;
        n -= one;
    }
    return true;
}

static bool taken(const uint8_t *p, size_t n, size_t cut)
{
    struct utf8 utf8 = {.left = 0};
    return utf8_take(&utf8, p, cut) && utf8_take(&utf8, p + cut, n - cut) && utf8_whole(&utf8);
}

static void every_character_of_few_bytes(void **state)
{
    uint8_t p[4];
    (void)state;
    for (unsigned a = 0; a < 256; a++)
        for (unsigned b = 0; b < 256; b++) {
            p[0] = (uint8_t)a;
            p[1] = (uint8_t)b;
            assert_int_equal(taken(p, 2, 1), is_text(p, 2));
            for (unsigned c = 0x7e; c < 0xc2; c++) {
                p[2] = (uint8_t)c;
                p[3] = 0xbf;
                if (taken(p, 3, 2) != is_text(p, 3) || taken(p, 4, 3) != is_text(p, 4))
                    fail_msg("%02x %02x %02x", a, b, c);
            }
        }
}

static void text_of_any_bytes(void **state)
{
    static const char *const words[] = {"plain", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80", "\x80",
                                        "a long piece of plain text without anything else in it, "};
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t p[1024];
        size_t n = 0;
        for (unsigned k = below(8); k > 0; k--) {
            const char *word = words[below(below(6) ? 4 : 9)];
            memcpy(p + n, word, strlen(word));
            n += strlen(word);
        }
        n -= n > 0 ? below(2) : 0;
        size_t cut = n > 0 ? below((unsigned)n + 1) : 0;
        assert_int_equal(taken(p, n, cut), is_text(p, n));
    }
}

/* ---- Close ---- */

static void codes_of_close(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 65536; code++) {
        const uint8_t p[] = {(uint8_t)(code >> 8), (uint8_t)code, 'x'};
        struct closing c = closing_read(p, 3);
        bool right = (code >= 3000 && code <= 4999) || (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006);
        assert_true(c.has_code && c.code == code);
        assert_int_equal(c.fault == NULL, right);
        assert_true(soth_span_is(c.reason, "x"));
    }
    struct closing none = closing_read((const uint8_t *)"", 0);
    assert_true(!none.has_code && !none.fault && !none.reason.p);
}

/* ---- extensions ---- */

static struct extension agreed(const char *text)
{
    struct extension e = {.deflate = false};
    extension_read(&e, soth_span(text));
    return e;
}

static void what_was_agreed_on(void **state)
{
    (void)state;
    struct extension e = agreed("permessage-deflate");
    assert_true(e.deflate && !e.unknown && !e.fresh[0] && !e.fresh[1] && e.window[0] == 15 && e.window[1] == 15);
    e = agreed(" PerMessage-Deflate ;\tclient_no_context_takeover ; server_max_window_bits = 10;client_max_window_bits=\"8\" ");
    assert_true(e.deflate && !e.unknown && e.fresh[SOTH_TO_SERVER] && !e.fresh[SOTH_TO_CLIENT]);
    assert_true(e.window[SOTH_TO_CLIENT] == 10 && e.window[SOTH_TO_SERVER] == 8);
    assert_true(agreed("x-other; a=\"b, permessage-deflate\"").unknown);
    assert_false(agreed("x-other; a=\"b, permessage-deflate\"").deflate);
    e = agreed("x-other, permessage-deflate");
    assert_true(e.deflate && e.unknown);
    assert_false(agreed("").unknown || agreed(" , ,").unknown);
}

static void what_cannot_be_agreed_on(void **state)
{
    static const char *const wrong[] = {"permessage-deflate; server_max_window_bits=7",  "permessage-deflate; server_max_window_bits=16",
                                        "permessage-deflate; client_max_window_bits",    "permessage-deflate; client_max_window_bits=1x",
                                        "permessage-deflate; server_no_context_takeover=1", "permessage-deflate; something_else",
                                        "permessage-deflate; client_max_window_bits=0009"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (agreed(wrong[i]).deflate || !agreed(wrong[i]).unknown)
            fail_msg("%s", wrong[i]);
    struct extension twice = agreed("permessage-deflate, permessage-deflate");
    assert_true(twice.unknown);
}

/* ---- inflation ---- */

struct gathered {
    uint8_t p[200000];
    size_t n, most;
};

static int gather(void *arg, const uint8_t *p, size_t n)
{
    struct gathered *g = arg;
    if (g->n + n > g->most)
        return -77;
    memcpy(g->p + g->n, p, n);
    g->n += n;
    return 0;
}

/* Compresses a message as RFC 7692 7.2.1 says. */
static size_t deflated(z_stream *z, const void *p, size_t n, uint8_t *out, size_t room)
{
    z->next_in = (uint8_t *)(uintptr_t)p;
    z->avail_in = (uInt)n;
    z->next_out = out;
    z->avail_out = (uInt)room;
    assert_int_equal(deflate(z, Z_SYNC_FLUSH), Z_OK);
    size_t made = room - z->avail_out;
    assert_true(made >= 4 && memcmp(out + made - 4, "\0\0\xff\xff", 4) == 0);
    return made - 4;
}

static void messages_come_back(void **state)
{
    static uint8_t text[100000], packed[120000];
    static struct gathered got;
    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        unsigned bits = 9 + below(7);
        bool fresh = below(2);
        z_stream z = {.zalloc = NULL};
        struct inflater *inflater = NULL;
        assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, -(int)bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
        for (unsigned message = 0; message < 6; message++) {
            size_t n = below(below(3) ? 300 : sizeof text), at = 0;
            for (size_t i = 0; i < n; i++)
                text[i] = (uint8_t)("abcdefgh"[below(8)] + (i / 1000 % 5));
            size_t size = deflated(&z, text, n, packed, sizeof packed);
            got.n = 0;
            got.most = sizeof got.p;
            while (at < size) {
                size_t piece = 1 + below(5000);
                piece = piece < size - at ? piece : size - at;
                assert_int_equal(inflater_take(&inflater, fresh, packed + at, piece, false, gather, &got), 0);
                at += piece;
            }
            assert_int_equal(inflater_take(&inflater, fresh, packed, 0, true, gather, &got), 0);
            assert_int_equal(got.n, n);
            assert_memory_equal(got.p, text, n);
            if (fresh)
                deflateReset(&z);
        }
        inflater_free(inflater);
        deflateEnd(&z);
    }
}

/* One block, by a compressor that knows what was before it; `final`: with BFINAL, else flushed. Both end at a whole byte. */
static size_t block(const uint8_t *text, size_t at, size_t n, bool final, uint8_t *out, size_t room)
{
    z_stream z = {.next_in = (uint8_t *)(uintptr_t)text + at, .avail_in = (uInt)n, .next_out = out, .avail_out = (uInt)room};
    size_t known = at < 32768 ? at : 32768;
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, -15, 8, below(2) ? Z_FIXED : Z_DEFAULT_STRATEGY), Z_OK);
    if (known > 0)
        assert_int_equal(deflateSetDictionary(&z, text + at - known, (uInt)known), Z_OK);
    assert_int_equal(deflate(&z, final ? Z_FINISH : Z_SYNC_FLUSH), final ? Z_STREAM_END : Z_OK);
    deflateEnd(&z);
    return room - z.avail_out;
}

/* The compressed form of what a message says: text from `at` on, in blocks. */
static size_t message_of_blocks(const uint8_t *text, size_t at, size_t n, uint8_t *out, size_t room)
{
    size_t size = 0;
    bool final;
    do {
        size_t piece = 1 + below((unsigned)n);
        final = below(3) > 0;
        size += block(text, at, piece, final, out + size, room - size);
        at += piece;
        n -= piece;
    } while (n > 0);
    if (!final)
        return size - 4;
    out[size] = 0; /* the beginning of an empty block: RFC 7692 7.2.3.4 */
    return size + 1;
}

/* Any block may have BFINAL; those behind it, in the same message and in the next ones, refer to what was before it. */
static void a_window_outlives_final_blocks(void **state)
{
    static uint8_t text[150000], packed[150000];
    static struct gathered got;
    (void)state;
    for (unsigned round = 0; round < 30; round++) {
        struct inflater *inflater = NULL;
        size_t at = 0;
        for (size_t i = 0; i < sizeof text; i++) /* from anywhere in the window, often */
            text[i] = i < 1000 || below(30) == 0 ? (uint8_t)below(256) : text[i - 1 - (i / 50 * 977) % (i < 32768 ? i : 32768)];
        for (unsigned message = 0; message < 8; message++) {
            size_t n = 1 + below(below(2) ? 200 : sizeof text / 8 - 1), fed = 0;
            size_t size = message_of_blocks(text, at, n, packed, sizeof packed);
            got.n = 0;
            got.most = sizeof got.p;
            while (fed < size) {
                size_t piece = 1 + below(below(2) ? 3 : 5000);
                piece = piece < size - fed ? piece : size - fed;
                assert_int_equal(inflater_take(&inflater, false, packed + fed, piece, false, gather, &got), 0);
                fed += piece;
            }
            assert_int_equal(inflater_take(&inflater, false, packed, 0, true, gather, &got), 0);
            assert_int_equal(got.n, n);
            assert_memory_equal(got.p, text + at, n);
            at += n;
        }
        inflater_free(inflater);
    }
}

static void who_takes_the_output_may_stop_it(void **state)
{
    static uint8_t zeros[100000], packed[1000];
    static struct gathered got;
    z_stream z = {.zalloc = NULL};
    struct inflater *inflater = NULL;
    (void)state;
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t n = deflated(&z, zeros, sizeof zeros, packed, sizeof packed);
    deflateEnd(&z);
    got.n = 0;
    got.most = 50000;
    assert_int_equal(inflater_take(&inflater, false, packed, n, true, gather, &got), -77);
    assert_true(got.n <= 50000 && got.n > 50000 - 8193);
    inflater_free(inflater);
}

static void rubbish_is_told(void **state)
{
    static struct gathered got;
    struct inflater *inflater = NULL;
    (void)state;
    got.n = 0;
    got.most = sizeof got.p;
    assert_int_equal(inflater_take(&inflater, false, (const uint8_t *)"\xff\xff\xff", 3, true, gather, &got), -SOTH_EINVALID);
    inflater_free(inflater);
    inflater_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_taken),
        cmocka_unit_test(a_header_may_come_in_pieces),
        cmocka_unit_test(lengths_that_are_too_long),
        cmocka_unit_test(masks_are_byte_by_byte),
        cmocka_unit_test(ascii_is_known_behind_its_mask),
        cmocka_unit_test(every_character_of_few_bytes),
        cmocka_unit_test(text_of_any_bytes),
        cmocka_unit_test(codes_of_close),
        cmocka_unit_test(what_was_agreed_on),
        cmocka_unit_test(what_cannot_be_agreed_on),
        cmocka_unit_test(messages_come_back),
        cmocka_unit_test(a_window_outlives_final_blocks),
        cmocka_unit_test(who_takes_the_output_may_stop_it),
        cmocka_unit_test(rubbish_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
