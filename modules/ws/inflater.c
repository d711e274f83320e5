/* SPDX-License-Identifier: MPL-2.0 */
/* See inflater.h. */
#include "inflater.h"

#include <stdlib.h>

#include <soth/sdk.h>
#include <zlib.h>

#define PIECE 8192u

struct inflater {
    z_stream z;
    bool between; /* blocks */
};

static struct inflater *made(void)
{
    struct inflater *inflater = calloc(1, sizeof *inflater);
    if (inflater && inflateInit2(&inflater->z, -15) != Z_OK) {
        free(inflater);
        return NULL;
    }
    return inflater;
}

/* zlib's data_type: 128 is between blocks, the lower six bits count those that are left of a byte. */
static bool is_between(const z_stream *z)
{
    return (z->data_type & (128 | 63)) == 128;
}

/*
 * Any block may have BFINAL, and the next one begins at the next byte (RFC 7692 7.2.1, 7.2.3.4). To zlib that is the end of a stream, but the window
 * goes on: it is that of all messages (7.2.2). inflateResetKeep leaves it where it is; with inflateGetDictionary and inflateSetDictionary 32 KiB were
 * copied twice for a block that can have two bytes.
 */
static int run(struct inflater *inflater, const uint8_t *p, size_t n, inflater_put *put, void *arg)
{
    uint8_t out[PIECE];
    z_stream *z = &inflater->z;
    z->next_in = (uint8_t *)(uintptr_t)p;
    z->avail_in = (uInt)n;
    do {
        z->next_out = out;
        z->avail_out = PIECE;
        int r = inflate(z, Z_SYNC_FLUSH);
        int wish = z->avail_out < PIECE ? put(arg, out, PIECE - z->avail_out) : 0; /* also what came before an error */
        if (wish < 0)
            return wish;
        if (r == Z_MEM_ERROR)
            return -SOTH_ENOMEM;
        if (r != Z_OK && r != Z_BUF_ERROR && r != Z_STREAM_END)
            return -SOTH_EINVALID;
        if (r != Z_BUF_ERROR)
            inflater->between = r == Z_STREAM_END || is_between(z);
        if (r == Z_STREAM_END && inflateResetKeep(z) != Z_OK)
            return -SOTH_EINVALID;
        if (r == Z_BUF_ERROR && z->avail_out == PIECE)
            break;
    } while (z->avail_in > 0 || z->avail_out == 0);
    return 0;
}

int inflater_take(struct inflater **at, bool fresh, const uint8_t *p, size_t n, bool end, inflater_put *put, void *arg)
{
    static const uint8_t tail[] = {0, 0, 0xff, 0xff};
    if (!*at && !(*at = made()))
        return -SOTH_ENOMEM;
    int r = 0;
    while (n > 0 && r == 0) {
        size_t piece = n < 1u << 30 ? n : 1u << 30;
        r = run(*at, p, piece, put, arg);
        p += piece;
        n -= piece;
    }
    if (end && r == 0)
        r = run(*at, tail, sizeof tail, put, arg);
    if (end && r == 0 && !(*at)->between)
        r = -SOTH_EINVALID; /* what made it whole is no block of its own, but was taken for a part of one */
    if (end && r == 0 && fresh && inflateReset(&(*at)->z) != Z_OK)
        r = -SOTH_EINVALID;
    return r;
}

void inflater_free(struct inflater *inflater)
{
    if (!inflater)
        return;
    inflateEnd(&inflater->z);
    free(inflater);
}
