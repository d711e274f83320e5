/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Compressed messages. The first byte chooses whether a context is kept, the second how messages are cut; each message begins with a byte
 * for its length. What must hold: whatever the bytes are, the same output and the same end of it for every cut; no more output than is wanted; what
 * zlib makes of the whole, as one stream or one after another, comes out of the messages.
 * build: modules/ws/inflater.c
 * needs: ZLIB
 */
#include <stdlib.h>
#include <string.h>

#include <soth/sdk.h>
#include <zlib.h>

#include "fuzz/target.h"
#include "modules/ws/inflater.h"

#define MOST 300000u
#define FULL (-77)

struct out {
    uint8_t *p;
    size_t n;
    int error;
};

static int put(void *arg, const uint8_t *p, size_t n)
{
    struct out *out = arg;
    MUST(n > 0);
    if (n > MOST - out->n)
        return FULL;
    memcpy(out->p + out->n, p, n);
    out->n += n;
    return 0;
}

static struct out play(const uint8_t *p, size_t n, bool fresh, size_t every)
{
    struct out out = {.p = malloc(MOST)};
    struct inflater *inflater = NULL;
    MUST(out.p);
    while (n > 0 && out.error == 0) {
        size_t message = *p, at = 0;
        p++;
        n--;
        message = message < n ? message : n;
        while (at < message && out.error == 0) {
            size_t piece = every && every < message - at ? every : message - at;
            out.error = inflater_take(&inflater, fresh, p + at, piece, false, put, &out);
            at += piece;
        }
        if (out.error == 0)
            out.error = inflater_take(&inflater, fresh, p, 0, true, put, &out);
        p += message;
        n -= message;
    }
    inflater_free(inflater);
    MUST(out.error == 0 || out.error == FULL || out.error == -SOTH_EINVALID);
    return out;
}

/* One stream; where it ends another begins, which knows the last 32 KiB of what is made. Returns inflate's last word. */
static int inflate_all(z_stream *z, const uint8_t *made)
{
    for (;;) {
        int r = inflate(z, Z_SYNC_FLUSH);
        size_t n = (size_t)(z->next_out - made), known = n < 32768 ? n : 32768;
        if (r != Z_STREAM_END || z->avail_in == 0)
            return r;
        MUST(inflateReset(z) == Z_OK);
        if (known > 0)
            MUST(inflateSetDictionary(z, z->next_out - known, (uInt)known) == Z_OK);
    }
}

/* The next message with its tail. Returns what is wrong with it: 0, or -SOTH_EINVALID. */
static int inflate_message(z_stream *z, uint8_t *in, const uint8_t *p, size_t n, const uint8_t *made)
{
    memcpy(in, p, n);
    memcpy(in + n, "\0\0\xff\xff", 4);
    z->next_in = in;
    z->avail_in = (uInt)n + 4;
    int r = inflate_all(z, made);
    if (r != Z_OK && r != Z_BUF_ERROR && r != Z_STREAM_END)
        return -SOTH_EINVALID;
    return r == Z_STREAM_END || (z->data_type & (128 | 63)) == 128 ? 0 : -SOTH_EINVALID; /* the tail is a block of its own */
}

/* All messages with their tails are one stream, each of them whole blocks of it. */
static void check_as_one(const uint8_t *p, size_t n, const struct out *out)
{
    z_stream z = {.zalloc = NULL};
    uint8_t in[255 + 4], *made = malloc(MOST + 1);
    int error = 0;
    MUST(made && inflateInit2(&z, -15) == Z_OK);
    z.next_out = made;
    z.avail_out = MOST + 1;
    while (n > 0 && error == 0 && z.avail_out > 0) {
        size_t message = *p;
        p++;
        n--;
        message = message < n ? message : n;
        error = inflate_message(&z, in, p, message, made);
        p += message;
        n -= message;
    }
    size_t n_made = MOST + 1 - z.avail_out;
    if (n_made <= MOST) {
        MUST(out->error == error);
        MUST(error < 0 || (out->n == n_made && memcmp(out->p, made, n_made) == 0));
    }
    inflateEnd(&z);
    free(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > 10000)
        return 0;
    bool fresh = data[0] >> 7;
    struct out whole = play(data + 2, size - 2, fresh, 0), other = play(data + 2, size - 2, fresh, 1 + data[1] % 16);
    MUST(whole.error == other.error);
    if (whole.error != FULL) /* the place where it is full depends on the pieces that it comes in */
        MUST(whole.n == other.n && memcmp(whole.p, other.p, whole.n) == 0);
    if (!fresh)
        check_as_one(data + 2, size - 2, &whole);
    free(whole.p);
    free(other.p);
    return 0;
}
