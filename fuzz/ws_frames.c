/* SPDX-License-Identifier: MPL-2.0 */
/*
 * WebSocket bytes. The first byte chooses what is wanted and what was negotiated, the second where the rest is cut; each piece of the rest begins with a
 * byte for its direction and length. What must hold: the same frames and messages whatever the cut, every byte belongs to a frame, limits are kept.
 * build: modules/ws/talk.c modules/ws/framing.c modules/ws/mask.c modules/ws/utf8.c modules/ws/closing.c modules/ws/extension.c modules/ws/inflater.c
 * needs: ZLIB
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "modules/ws/talk.h"

#define MAX_MESSAGE 3000u

enum { TEXT = 1, INFLATE = 2, DATA = 4, FRAMES = 8, DEFLATE = 16, FRESH = 32, UNKNOWN = 64, SAMPLE = 128 };
#define SAMPLED 7u /* bytes */

struct run {
    struct talk talk;
    struct bytes log;
    int error;
    uint64_t taken[2]; /* bytes, by direction */
};

static void put(struct run *run, const void *p, size_t n)
{
    MUST(bytes_add(&run->log, p, n));
}

static void put_text(struct run *run, const char *text)
{
    put(run, text ? text : "-", text ? strlen(text) + 1 : 2);
}

static void note(struct run *run, unsigned direction, const struct talk_frame *f)
{
    const uint64_t numbers[] = {direction, f->number, f->head->opcode, f->head->length, f->head->fin, f->head->rsv, f->begins, f->stray, f->closing.code};
    put(run, numbers, sizeof numbers);
    put_text(run, f->violation);
    put(run, f->payload.p, f->payload.n);
    if (f->message) {
        const struct message *m = f->message;
        const uint64_t about[] = {m->number, m->frames, m->bytes, m->readable ? m->inflated : 0, m->compressed, m->readable};
        MUST(m->bytes <= MAX_MESSAGE && m->inflated <= MAX_MESSAGE && m->data.n <= MAX_MESSAGE && m->data.n <= m->most);
        put(run, about, sizeof about);
        put_text(run, m->violation);
        put(run, m->data.p, m->data.n);
    }
}

static void feed(struct run *run, unsigned direction, const uint8_t *p, size_t n)
{
    while (n > 0 && run->error == 0) {
        struct talk_frame frame;
        bool whole;
        uint8_t *exact = malloc(n);
        MUST(exact);
        memcpy(exact, p, n);
        ssize_t used = talk_take(&run->talk, direction, exact, n, &frame, &whole);
        MUST(used < 0 || (used > 0 && (size_t)used <= n));
        run->error = used < 0 ? (int)used : 0;
        if (used > 0) {
            p += used;
            n -= (size_t)used;
            run->taken[direction] += (uint64_t)used;
        }
        if (run->error == 0 && whole)
            note(run, direction, &frame);
        MUST(whole || run->error || n == 0);
        free(exact);
        if (run->error == 0 && whole)
            talk_release(&run->talk, direction);
    }
}

static void begin(struct run *run, unsigned options)
{
    *run = (struct run){.error = 0};
    run->talk.max_message = MAX_MESSAGE;
    run->talk.wants = (struct talk_wants){.text = options & TEXT, .inflate = options & INFLATE, .frames = options & FRAMES,
                                           .data = !(options & DATA) ? 0 : options & SAMPLE ? SAMPLED : UINT64_MAX};
    if (options & DEFLATE)
        extension_read(&run->talk.extension, soth_span(options & FRESH ? "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
                                                                       : "permessage-deflate; server_max_window_bits=9"));
    if (options & UNKNOWN)
        extension_read(&run->talk.extension, soth_span("x-other"));
}

/* every: pieces of so many bytes; 0: cut at `cut`. */
static void play(struct run *run, unsigned options, const uint8_t *p, size_t n, size_t every, size_t cut)
{
    begin(run, options);
    while (n > 0 && run->error == 0) {
        unsigned direction = *p >> 7;
        size_t piece = *p & 0x7f, at = 0;
        p++;
        n--;
        piece = piece < n ? piece : n;
        while (at < piece) {
            size_t one = every ? every : cut > 0 && at == 0 ? cut : piece;
            one = one < piece - at ? one : piece - at;
            feed(run, direction, p + at, one);
            at += one;
        }
        p += piece;
        n -= piece;
    }
}

static void finish(struct run *run)
{
    bytes_free(&run->log);
    talk_fini(&run->talk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run whole, other;
    if (size < 2 || size > 20000)
        return 0;
    play(&whole, data[0], data + 2, size - 2, 0, 0);
    for (unsigned way = 0; way < 2; way++) {
        play(&other, data[0], data + 2, size - 2, way, data[1]);
        MUST(other.error == whole.error && other.log.n == whole.log.n);
        MUST(whole.log.n == 0 || memcmp(other.log.p, whole.log.p, whole.log.n) == 0);
        MUST(whole.error || (other.taken[0] == whole.taken[0] && other.taken[1] == whole.taken[1]));
        finish(&other);
    }
    finish(&whole);
    return 0;
}
