/* SPDX-License-Identifier: MPL-2.0 */
/* zstd (RFC 8878), frames one after another included. */
#include "stage.h"

#include <zstd.h>
#include <zstd_errors.h>

enum { NO_FRAME, SOME_FRAMES };
#define BLOCK_HEADER 3u /* a block's header, that the library likes to see together with the block before */
#define BEGIN 5u        /* a frame's first bytes, after which it is known to be one; stage.held counts them */

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

/* How much of the input the library gets at once: a block at a time, the first bytes of a frame and the last of its last block one by one. Where a
 * fault is, and what was made in front of it, is the same then however the bytes are cut. */
static size_t piece(const struct stage *s, size_t want, size_t n)
{
    size_t most = want > BLOCK_HEADER && s->held == BEGIN ? want - BLOCK_HEADER : 1;
    if (s->full) /* first what has not gone out yet */
        return 0;
    return n < most ? n : most;
}

/* Of a frame's first bytes some have come. */
static void note_begin(struct stage *s, size_t taken)
{
    s->held = s->over ? 0 : s->held < BEGIN ? (uint8_t)(s->held + taken) : s->held;
}

/* Without input it is called only for what it had no room for: another call would begin a frame, and too many calls without any progress are an
 * error to the library. */
static int run_zstd(struct stage *s, struct soth_span *in, char **out, size_t *room)
{
    size_t want = 1, made;
    if (!s->lib && (in->n == 0 || open_zstd(s) < 0))
        return in->n == 0 ? 0 : -1;
    while (*room > 0 && (in->n > 0 || s->full)) {
        ZSTD_inBuffer from = {in->p, piece(s, want, in->n), 0};
        ZSTD_outBuffer to = {*out, *room, 0};
        size_t r = ZSTD_decompressStream(s->lib, &to, &from);
        if (ZSTD_isError(r)) {
            s->fault = fault_of(s, r);
            if (s->held == BEGIN) /* the library says nothing of what it took: it was what completes a header or a block */
                stage_took(s, in, from.size);
            return -1;
        }
        made = to.pos;
        stage_took(s, in, from.pos);
        stage_made(s, out, room, made);
        s->over = r == 0;
        s->full = *room == 0 && !s->over;
        s->state = s->over ? SOME_FRAMES : s->state;
        note_begin(s, from.pos);
        want = r ? r : 1;
        if (from.pos == 0 && made == 0 && from.size > 0)
            break;
    }
    return 0;
}

static void close_zstd(struct stage *s)
{
    ZSTD_freeDStream(s->lib);
    s->lib = NULL;
}

const struct stage_ops stage_zstd = {"zstd", CODING_ZSTD, run_zstd, close_zstd};
