/* SPDX-License-Identifier: MPL-2.0 */
/* zstd (RFC 8878), frames one after another included. */
#include "stage.h"

#include <zstd.h>
#include <zstd_errors.h>

enum { NO_FRAME, SOME_FRAMES };
#define BLOCK_HEADER 3u /* a block's header, that the library likes to see together with the block before */

static int open_zstd(struct stage *s)
{
    int bits = 10;
    while (bits < 31 && UINT64_C(2) << bits <= s->max_window)
        bits++;
    s->lib = ZSTD_createDStream();
    if (!s->lib || ZSTD_isError(ZSTD_DCtx_setParameter(s->lib, ZSTD_d_windowLogMax, bits)))
        return stage_failed(s, "nomem");
    return 0;
}

static const char *fault_of(const struct stage *s, size_t result)
{
    switch (ZSTD_getErrorCode(result)) {
    case ZSTD_error_frameParameter_windowTooLarge:
        return "max_window";
    case ZSTD_error_memory_allocation:
        return "nomem";
    case ZSTD_error_prefix_unknown:
        return s->state == SOME_FRAMES ? "trailing_garbage" : "wrong_coding";
    default:
        return "corrupt";
    }
}

/* One block at a time: what a fault in the next one leaves is the same however the bytes are cut. */
static int run_zstd(struct stage *s, struct soth_span *in, char **out, size_t *room)
{
    size_t want = 1, taken, made;
    if (!s->lib && (in->n == 0 || open_zstd(s) < 0))
        return in->n == 0 ? 0 : -1;
    do {
        size_t n = want > BLOCK_HEADER ? want - BLOCK_HEADER : want;
        ZSTD_inBuffer from = {in->p, in->n < n ? in->n : n, 0};
        ZSTD_outBuffer to = {*out, *room, 0};
        if (from.size == 0 && s->over)
            return 0; /* another call would begin a frame */
        size_t r = ZSTD_decompressStream(s->lib, &to, &from);
        taken = from.pos;
        made = to.pos;
        if (ZSTD_isError(r))
            return stage_failed(s, fault_of(s, r));
        stage_took(s, in, taken);
        stage_made(s, out, room, made);
        s->over = r == 0;
        s->state = s->over ? SOME_FRAMES : s->state;
        want = r ? r : 1;
    } while (*room > 0 && (taken > 0 || made > 0));
    return 0;
}

static void close_zstd(struct stage *s)
{
    ZSTD_freeDStream(s->lib);
    s->lib = NULL;
}

const struct stage_ops stage_zstd = {"zstd", CODING_ZSTD, run_zstd, close_zstd};
