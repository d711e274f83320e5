/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/grpc/frames.c modules/grpc/web.c modules/coding/ */
/* needs: CODING */
/*
 * The first byte chooses what the head said, the second where the rest is cut; the rest is one direction of a call, read whole, in two pieces and
 * byte by byte. What must hold: the same findings whatever the cut, none beyond the limit, all bytes are taken.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/target.h"
#include "host/mem/buffer.h"
#include "modules/grpc/frames.h"
#include "modules/grpc/web.h"

enum { CODED = 3, UNKNOWN = 4, TRAILERS = 8, TEXT = 16, KEEP = 32, SMALL = 64, SAMPLE = 128 };

struct run {
    struct frames f;
    struct buffer found;
    uint64_t taken;
};

static void note(struct run *run, const struct frames_found *found)
{
    const uint64_t numbers[] = {found->kind, found->class, found->sequence_no, found->offset, found->message_len, found->decompressed_len,
                                found->compressed, found->has_decompressed, found->data.p != NULL, found->data.n};
    MUST(found->offset <= run->taken);
    MUST(found->kind == FRAMES_MALFORMED || found->message_len <= run->f.max_message_bytes);
    MUST(found->decompressed_len <= run->f.max_message_bytes && found->data.n <= FRAMES_KEPT_MOST);
    MUST(found->kind == FRAMES_TRAILERS || found->data.n <= run->f.keep_most);
    target_append(&run->found, numbers, sizeof numbers);
    if (found->data.p)
        target_append(&run->found, found->data.p, found->data.n);
    struct soth_field field;
    for (uint32_t i = 0; found->kind == FRAMES_TRAILERS && found->data.p && web_trailer(found->data, i, &field); i++)
        MUST(field.name.n > 0 && field.name.n + field.value.n <= found->data.n);
}

static void feed(struct run *run, const char *p, size_t n)
{
    struct frames_found found;
    char *exact = malloc(n ? n : 1);
    int r;
    MUST(exact);
    memcpy(exact, p, n);
    struct soth_span in = {exact, n};
    run->taken += n;
    while ((r = frames_take(&run->f, &in, &found)) != FRAMES_MORE) {
        MUST(r > 0);
        note(run, &found);
    }
    MUST(in.n == 0);
    free(exact);
}

/* Through base64 where the call is gRPC-Web's text; what cannot be read ends it. */
static void feed_text(struct run *run, struct web_base64 *b, const char *p, size_t n, bool *bad)
{
    char made[3];
    for (size_t used; n > 0 && !*bad; p += used, n -= used) {
        int r = web_base64_take(b, p, n, &used, made);
        *bad = r < 0;
        if (r > 0)
            feed(run, made, (size_t)r);
        if (r < 0)
            break;
    }
}

static struct buffer play(const char *p, size_t n, size_t first, size_t every, int options)
{
    struct run run = {.f = {.max_message_bytes = options & SMALL ? 50 : 100000, .inflate = 1}};
    struct web_base64 b = {.have = 0};
    struct frames_found found;
    bool bad = false;
    run.f.coding = (uint8_t[]){0, CODING_GZIP, CODING_DEFLATE, CODING_ZSTD}[options & CODED];
    run.f.may_compress = run.f.coding || options & UNKNOWN;
    run.f.trailers = (options & TRAILERS) != 0;
    run.f.keep_most = !(options & KEEP) ? 0 : options & SAMPLE ? 7 : UINT64_MAX;
    for (size_t at = 0; at < n;) {
        const size_t piece = target_piece(at, n, first, every);
        if (options & TEXT)
            feed_text(&run, &b, p + at, piece, &bad);
        else
            feed(&run, p + at, piece);
        at += piece;
    }
    if (frames_end(&run.f, &found) != FRAMES_MORE)
        note(&run, &found);
    frames_fini(&run.f);
    return run.found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 70000)
        return 0;
    int options = data[0];
    const char *p = (const char *)data + 2;
    size_t n = size - 2, cut = n ? data[1] * n / 256 : 0;
    struct buffer whole = play(p, n, 0, 0, options);
    for (int way = 0; way < 3; way++) {
        struct buffer other = play(p, n, way == 0 ? cut : data[1], way == 2, options);
        MUST(target_same(&other, &whole));
        buffer_fini(&other);
    }
    buffer_fini(&whole);
    return 0;
}
