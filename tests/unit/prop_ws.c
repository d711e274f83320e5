/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Random conversations. Right ones: the frames and messages that were meant are the events that come out, masked, fragmented and compressed as they
 * are. Any others, rubbish included: whatever comes out, it is the same for every cut and every pace of a policy that judges the frames. PROP_CASES
 * (default 15) and PROP_SEED are read from the environment; the seed of a failing case is printed, and the fewest steps that still fail.
 * build: modules/ws/ws.c modules/ws/judge.c modules/ws/report.c modules/ws/talk.c modules/ws/turns.c modules/ws/framing.c modules/ws/mask.c modules/ws/utf8.c modules/ws/closing.c modules/ws/extension.c modules/ws/inflater.c sdk/testhost/config.c sdk/testhost/cursor.c sdk/testhost/decode.c sdk/testhost/decoder.c sdk/testhost/event.c sdk/testhost/exchange.c sdk/testhost/fields.c sdk/testhost/guard.c sdk/testhost/head.c sdk/testhost/host.c sdk/testhost/policy.c sdk/testhost/sink.c sdk/testhost/text.c sdk/testhost/tokens.c
 * needs: ZLIB
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "draw.h"
#include "host/mem/buffer.h"
#include "modules/ws/framing.h"
#include "sdk/testhost/testhost.h"

extern const struct soth_module soth_mitm_module;

#define STEPS_MOST 14
#define MESSAGE_MOST 60

/* A conversation: what is sent, and the events of frames and messages that belong to it. */
struct scene {
    struct buffer bytes[STEPS_MOST];
    struct testhost_step steps[STEPS_MOST];
    unsigned count;
    char wanted[32768];
    size_t said;
    z_stream z[2];
    bool deflates;
    unsigned frames, messages;
};

static void say(struct scene *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct scene *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    s->said += (size_t)vsnprintf(s->wanted + s->said, sizeof s->wanted - s->said, format, args);
    va_end(args);
    assert_true(s->said < sizeof s->wanted);
}

static const char *way(unsigned direction)
{
    return direction == SOTH_TO_SERVER ? "client_to_server" : "server_to_client";
}

/* ---- right ones ---- */

static void put_frame(struct scene *s, unsigned direction, uint8_t opcode, bool fin, uint8_t rsv, const uint8_t *p, size_t n)
{
    static const char *const labels[] = {"continuation", "text", "binary", "", "", "", "", "", "close", "ping", "pong"};
    uint8_t head[FRAMING_HEAD_MOST], key[4] = {(uint8_t)draw_below(256), (uint8_t)draw_below(256), (uint8_t)draw_below(256), (uint8_t)draw_below(256)};
    struct buffer *out = &s->bytes[s->count];
    bool masked = direction == SOTH_TO_SERVER;
    size_t size = framing_put(head, opcode, n, masked ? key : NULL);
    head[0] = (uint8_t)((fin ? 0x80 : 0) | rsv << 4 | opcode);
    buffer_append(out, head, size);
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = masked ? p[i] ^ key[i % 4] : p[i];
        buffer_append(out, &byte, 1);
    }
    say(s, "ws_frame direction=%s fin=%s masked=%s opcode_label=%s payload_len=%zu rsv=%u sequence_no=%u\n", way(direction), fin ? "true" : "false",
        masked ? "true" : "false", labels[opcode], n, rsv, ++s->frames);
}

static void put_control(struct scene *s, unsigned direction)
{
    static const uint8_t payload[] = "0123456789";
    put_frame(s, direction, draw_below(2) ? OP_PING : OP_PONG, true, 0, payload, draw_below(11));
}

static size_t squeeze(struct scene *s, unsigned direction, const uint8_t *p, size_t n, uint8_t *out, size_t room)
{
    z_stream *z = &s->z[direction];
    z->next_in = (uint8_t *)(uintptr_t)p;
    z->avail_in = (uInt)n;
    z->next_out = out;
    z->avail_out = (uInt)room;
    int r = deflate(z, Z_SYNC_FLUSH);
    if (r == Z_OK)
        return room - z->avail_out - 4;
    assert_int_equal(r, Z_BUF_ERROR); /* nothing, behind a flush: RFC 7692 7.2.3.6 */
    out[0] = 0;
    return 1;
}

static void put_message(struct scene *s, unsigned direction)
{
    static const char alphabet[] = "aaaabcdefg ";
    uint8_t text[MESSAGE_MOST], packed[MESSAGE_MOST + 100], *p = text;
    size_t length = draw_below(MESSAGE_MOST), n = length, at = 0;
    uint8_t opcode = draw_below(2) ? OP_TEXT : OP_BINARY;
    bool compressed = s->deflates && draw_below(3) > 0;
    unsigned frames = 0, pieces = 1 + draw_below(3);
    for (size_t i = 0; i < n; i++)
        text[i] = (uint8_t)alphabet[draw_below(sizeof alphabet - 1)];
    if (compressed) {
        n = squeeze(s, direction, text, n, packed, sizeof packed);
        p = packed;
    }
    for (unsigned i = 0; i < pieces; i++) {
        size_t piece = i + 1 == pieces ? n - at : draw_below((unsigned)(n - at) + 1);
        if (i > 0 && draw_below(3) == 0)
            put_control(s, direction);
        put_frame(s, direction, i ? OP_CONTINUATION : opcode, i + 1 == pieces, compressed && i == 0 ? RSV1 : 0, p + at, piece);
        at += piece;
        frames++;
    }
    say(s, "ws_message%s%.*s direction=%s frame_count=%u", length ? " data=" : "", (int)length, (const char *)text, way(direction), frames);
    if (compressed)
        say(s, " inflated_len=%zu", length);
    say(s, " message_no=%u opcode_label=%s payload_len=%zu\n", ++s->messages, opcode == OP_TEXT ? "text" : "binary", n);
}

static void think_right(struct scene *s, unsigned steps)
{
    s->deflates = draw_below(2);
    for (unsigned d = 0; d < 2; d++)
        assert_int_equal(deflateInit2(&s->z[d], 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    for (; s->count < steps; s->count++) {
        unsigned d = draw_below(2);
        for (unsigned i = 1 + draw_below(2); i > 0; i--) {
            if (draw_below(4) == 0)
                put_control(s, d);
            else
                put_message(s, d);
        }
        s->steps[s->count].direction = d;
    }
    deflateEnd(&s->z[0]);
    deflateEnd(&s->z[1]);
}

/* ---- others ---- */

static void think_wrong(struct scene *s, unsigned steps)
{
    s->deflates = draw_below(2);
    for (; s->count < steps; s->count++) {
        struct buffer *out = &s->bytes[s->count];
        uint8_t p[24];
        size_t n = draw_below(sizeof p);
        for (size_t i = 0; i < n; i++) /* no long lengths: what is too long to be judged makes a difference, and should */
            p[i] = (uint8_t)(draw_below(2) << 7 | draw_below(126));
        if (draw_below(5) > 0) { /* a header that means something */
            static const uint8_t first[] = {0x81, 0x01, 0x00, 0x80, 0x82, 0x88, 0x89, 0x8a, 0xc1, 0xc2, 0x83, 0x8b, 0xf1, 0x09, 0x41};
            uint8_t head[] = {first[draw_below(sizeof first)], (uint8_t)((draw_below(2) ? 0x80 : 0) | n), 1, 2, 3, 4};
            buffer_append(out, head, head[1] & 0x80 ? 6 : 2);
        }
        buffer_append(out, p, n);
        s->steps[s->count].direction = draw_below(2);
    }
}

/* ---- */

/* The lines of frames and messages; turns have a property of their own. */
static void filter(const char *events, char *out)
{
    for (const char *line = events; *line;) {
        size_t n = strcspn(line, "\n") + 1;
        if (strncmp(line, "ws_frame", 8) == 0 || strncmp(line, "ws_message", 10) == 0) {
            memcpy(out, line, n);
            out += n;
        }
        line += n;
    }
    *out = 0;
}

static bool play(uint64_t seed, unsigned most, bool right)
{
    static struct scene s;
    static char got[65536];
    memset(&s, 0, sizeof s);
    draw_begin(seed);
    unsigned steps = 1 + draw_below(STEPS_MOST - 1);
    steps = steps < most ? steps : most;
    if (right)
        think_right(&s, steps);
    else
        think_wrong(&s, steps);
    for (unsigned i = 0; i < s.count; i++)
        s.steps[i].bytes = (struct testhost_bytes){buffer_size(&s.bytes[i]) ? buffer_data(&s.bytes[i]) : (const uint8_t *)"", buffer_size(&s.bytes[i])};
    struct testhost *host = testhost_new(&soth_mitm_module, (const char *[]){"max_message_bytes=4k", NULL}, NULL);
    assert_non_null(host);
    /* to a policy rubbish that should be inflated is a limit */
    const unsigned unjudged = s.deflates && !right ? TESTHOST_FRAMES | TESTHOST_BLOCK : 0;
    struct testhost_case c = {
        .response = s.deflates ? "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nSec-WebSocket-Extensions: permessage-deflate"
                               : "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket",
        .steps = s.steps, .step_count = s.count, .leave_out = TESTHOST_LEAKS | TESTHOST_CLOSE | unjudged,
    };
    unsigned faults = testhost_decoder(host, &c);
    filter(testhost_events(host), got);
    bool good = faults == 0 && (!right || strcmp(got, s.wanted) == 0);
    if (!good)
        fprintf(stderr, "--- meant\n%s--- got\n%s", s.wanted, testhost_events(host));
    testhost_free(host);
    for (unsigned i = 0; i < s.count; i++)
        buffer_fini(&s.bytes[i]);
    return good;
}

static void run(bool right)
{
    unsigned long count = 15;
    const uint64_t seed = draw_seed(&count);
    for (unsigned long i = 0; i < count; i++) {
        unsigned most = STEPS_MOST;
        if (play(seed + i, most, right))
            continue;
        while (most > 1 && !play(seed + i, most - 1, right))
            most--;
        fail_msg("PROP_SEED=%llu, %u steps (see above)", (unsigned long long)(seed + i), most);
    }
}

static void what_was_meant_comes_out(void **state)
{
    (void)state;
    run(true);
}

static void whatever_comes_out_is_the_same_for_every_cut(void **state)
{
    (void)state;
    run(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_meant_comes_out),
        cmocka_unit_test(whatever_comes_out_is_the_same_for_every_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
