/* SPDX-License-Identifier: MPL-2.0 */
/* br (RFC 7932). */
#include "stage.h"

#include <brotli/decode.h>

enum { GZIP_FIRST = 0x1f, GZIP_SECOND = 0x8b };

/* The window that a stream announces in its first byte (RFC 7932 9.1), as a power of two; 0 = more than the RFC has. */
static unsigned window_bits(unsigned char first)
{
    unsigned high = first >> 1 & 7, low = first >> 4 & 7;
    if (!(first & 1))
        return 16;
    if (high)
        return 17 + high;
    return low == 0 ? 17 : low == 1 ? 0 : 8 + low;
}

static int open_br(struct stage *s, unsigned char first)
{
    unsigned bits = window_bits(first);
    if (bits == 0)
        return stage_failed(s, "corrupt");
    if (UINT64_C(1) << bits > s->max_window)
        return stage_failed(s, "max_window");
    s->lib = BrotliDecoderCreateInstance(NULL, NULL, NULL);
    return s->lib ? 0 : stage_failed(s, "nomem");
}

/* A stream that begins like gzip is held until its second byte says whether it is. 1: opened. */
static int begin(struct stage *s, struct soth_span *in)
{
    if (in->n > 0 && !s->held && (unsigned char)*in->p == GZIP_FIRST) {
        s->held = 1;
        stage_took(s, in, 1);
    }
    if (in->n == 0)
        return 0;
    if (s->held && (unsigned char)*in->p == GZIP_SECOND)
        return stage_failed(s, "wrong_coding");
    return open_br(s, s->held ? GZIP_FIRST : (unsigned char)*in->p) < 0 ? -1 : 1;
}

/* The byte that was held makes nothing yet. */
static void release(struct stage *s)
{
    const uint8_t byte = GZIP_FIRST, *from = &byte;
    size_t n = s->held, m = 0;
    uint8_t none, *to = &none;
    if (s->held)
        BrotliDecoderDecompressStream(s->lib, &n, &from, &m, &to, NULL);
    s->held = 0;
}

static int run_br(struct stage *s, struct soth_span *in, char **out, size_t *room)
{
    int begun;
    if (s->over)
        return in->n > 0 ? stage_failed(s, "trailing_garbage") : 0;
    if (!s->lib && (begun = begin(s, in)) <= 0)
        return begun;
    release(s);
    size_t n = in->n, m = *room;
    const uint8_t *from = (const uint8_t *)in->p;
    uint8_t *to = (uint8_t *)*out;
    BrotliDecoderResult r = BrotliDecoderDecompressStream(s->lib, &n, &from, &m, &to, NULL);
    stage_took(s, in, in->n - n);
    stage_made(s, out, room, *room - m);
    if (r == BROTLI_DECODER_RESULT_ERROR) {
        int code = BrotliDecoderGetErrorCode(s->lib);
        int memory = code <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES && code >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES;
        return stage_failed(s, memory ? "nomem" : "corrupt");
    }
    s->over = r == BROTLI_DECODER_RESULT_SUCCESS;
    return s->over && in->n > 0 ? stage_failed(s, "trailing_garbage") : 0;
}

static void close_br(struct stage *s)
{
    if (s->lib)
        BrotliDecoderDestroyInstance(s->lib);
    s->lib = NULL;
}

const struct stage_ops stage_br = {"br", CODING_BR, run_br, close_br};
