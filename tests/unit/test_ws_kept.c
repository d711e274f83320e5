/* SPDX-License-Identifier: MPL-2.0 */
/*
 * How much of WebSocket messages is kept in memory: as much as somebody wants of each, whatever the messages have. Counted in bytes.
 * build: modules/ws/talk.c modules/ws/framing.c modules/ws/mask.c modules/ws/utf8.c modules/ws/closing.c modules/ws/extension.c modules/ws/inflater.c
 * needs: ZLIB
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "modules/ws/mask.h"
#include "modules/ws/talk.h"

#define MIB (UINT64_C(1) << 20)
#define WHOLE (16 * MIB)
#define PIECE 65536u

struct rig {
    struct talk talk;
    struct talk_frame frame; /* the last one that was complete */
    bool whole;
    size_t kept; /* the most that there ever was */
};

static void feed(struct rig *rig, const uint8_t *p, size_t n)
{
    const struct talk_side *side = &rig->talk.side[SOTH_TO_SERVER];
    while (n > 0) {
        ssize_t used = talk_take(&rig->talk, SOTH_TO_SERVER, p, n, &rig->frame, &rig->whole);
        size_t kept = side->message.data.room + side->payload.room;
        assert_true(used > 0);
        rig->kept = kept > rig->kept ? kept : rig->kept;
        p += used;
        n -= (size_t)used;
    }
}

static const uint8_t key[4] = {1, 2, 3, 4};

static void head(struct rig *rig, uint8_t first, uint64_t length)
{
    uint8_t bytes[FRAMING_HEAD_MOST];
    size_t n = framing_put(bytes, first & 15, length, key);
    bytes[0] = first;
    feed(rig, bytes, n);
}

/* A message of `length` bytes, in so many frames. */
static void say(struct rig *rig, uint8_t opcode, uint64_t length, unsigned frames)
{
    static uint8_t text[PIECE];
    uint64_t each = length / frames;
    for (unsigned i = 0; i < frames; i++) {
        head(rig, (uint8_t)((i + 1 == frames ? 0x80 : 0) | (i == 0 ? opcode : OP_CONTINUATION)), each);
        for (uint64_t at = 0; at < each; at += PIECE) {
            memset(text, 'x', sizeof text);
            mask_apply(text, text, PIECE, key, at);
            feed(rig, text, each - at < PIECE ? (size_t)(each - at) : PIECE);
        }
    }
    assert_true(rig->whole && rig->frame.message && rig->frame.message->bytes == length);
}

static void a_sample_of_a_large_message(void **state)
{
    static const uint8_t opcodes[] = {OP_TEXT, OP_BINARY};
    static const unsigned frames[] = {1, 256};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct rig rig = {.talk = {.max_message = WHOLE, .wants = {.text = true, .data = 64}}};
        say(&rig, opcodes[i % 2], WHOLE, frames[i / 2]);
        const struct message *m = rig.frame.message;
        assert_int_equal(m->data.n, 64);
        for (unsigned k = 0; k < 64; k++)
            assert_int_equal(m->data.p[k], 'x');
        assert_null(m->violation);
        assert_true(rig.kept <= 256);
        talk_fini(&rig.talk);
    }
}

/* Where all of it is wanted that is what is kept; where nothing is, nothing. */
static void everything_and_nothing(void **state)
{
    (void)state;
    struct rig rig = {.talk = {.max_message = WHOLE, .wants = {.text = true, .data = UINT64_MAX}}};
    say(&rig, OP_TEXT, WHOLE, 1);
    assert_int_equal(rig.frame.message->data.n, WHOLE);
    talk_fini(&rig.talk);
    rig = (struct rig){.talk = {.max_message = WHOLE, .wants = {.text = true}}};
    say(&rig, OP_TEXT, WHOLE, 1);
    assert_int_equal(rig.kept, 0);
    talk_fini(&rig.talk);
}

/* Behind the sample a text is still read for what is wrong in it. */
static void a_fault_behind_the_sample(void **state)
{
    struct rig rig = {.talk = {.max_message = WHOLE, .wants = {.text = true, .data = 3}}};
    uint8_t text[] = "abcdef\xff";
    (void)state;
    head(&rig, 0x81, 7);
    mask_apply(text, text, 7, key, 0);
    feed(&rig, text, 7);
    assert_string_equal(rig.frame.message->violation, "invalid_utf8");
    assert_int_equal(rig.frame.message->data.n, 3);
    talk_fini(&rig.talk);
}

static void a_sample_of_what_is_compressed(void **state)
{
    static uint8_t zeros[PIECE], packed[2 * PIECE];
    struct rig rig = {.talk = {.max_message = WHOLE, .wants = {.text = true, .inflate = true, .data = 64}}};
    z_stream z = {.zalloc = NULL};
    size_t n = 0;
    (void)state;
    extension_read(&rig.talk.extension, soth_span("permessage-deflate"));
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    for (uint64_t at = 0; at < WHOLE; at += PIECE) {
        z.next_in = zeros;
        z.avail_in = PIECE;
        z.next_out = packed + n;
        z.avail_out = (uInt)(sizeof packed - n);
        assert_int_equal(deflate(&z, at + PIECE < WHOLE ? Z_NO_FLUSH : Z_SYNC_FLUSH), Z_OK);
        n = sizeof packed - z.avail_out;
    }
    deflateEnd(&z);
    head(&rig, 0xc2, n - 4);
    mask_apply(packed, packed, n - 4, key, 0);
    feed(&rig, packed, n - 4);
    assert_true(rig.whole && rig.frame.message->inflated == WHOLE);
    assert_int_equal(rig.frame.message->data.n, 64);
    assert_true(rig.kept <= 256);
    talk_fini(&rig.talk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sample_of_a_large_message),
        cmocka_unit_test(everything_and_nothing),
        cmocka_unit_test(a_fault_behind_the_sample),
        cmocka_unit_test(a_sample_of_what_is_compressed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
