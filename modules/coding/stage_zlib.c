/* SPDX-License-Identifier: MPL-2.0 */
/*
 * gzip (RFC 1952), members one after another included, and deflate, which is zlib's frame (RFC 1950) to the standard and bare deflate (RFC
 * 1951) to some servers: the first two bytes tell.
 */
#include "stage.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { WITHIN, BEHIND, PADDING }; /* gzip: in a member, after one, in the zeros after one */

static int open_at(struct stage *s, int bits)
{
    z_stream *z = calloc(1, sizeof *z);
    if (!z || inflateInit2(z, bits) != Z_OK) {
        free(z);
        return stage_failed(s, "nomem");
    }
    s->lib = z;
    return 0;
}

static void close_zlib(struct stage *s)
{
    if (s->lib)
        inflateEnd(s->lib);
    free(s->lib);
    s->lib = NULL;
}

/* One call; `ended`: the stream is complete. */
static int inflate_once(struct stage *s, struct soth_span *in, char **out, size_t *room, int *ended)
{
    z_stream *z = s->lib;
    size_t n = in->n < UINT32_MAX ? in->n : UINT32_MAX, m = *room < UINT32_MAX ? *room : UINT32_MAX;
    z->next_in = (Bytef *)(uintptr_t)in->p;
    z->avail_in = (uInt)n;
    z->next_out = (Bytef *)*out;
    z->avail_out = (uInt)m;
    int r = inflate(z, Z_NO_FLUSH);
    stage_took(s, in, n - z->avail_in);
    stage_made(s, out, room, m - z->avail_out);
    *ended = r == Z_STREAM_END;
    if (r == Z_MEM_ERROR)
        return stage_failed(s, "nomem");
    return r == Z_OK || r == Z_STREAM_END || r == Z_BUF_ERROR ? 0 : stage_failed(s, "corrupt");
}

/* ---- gzip ---- */

/* Behind a member: another one, or zeros as padding. 1: another one begins. */
static int next_member(struct stage *s, struct soth_span *in)
{
    while (in->n > 0 && *in->p == 0) {
        s->state = PADDING;
        stage_took(s, in, 1);
    }
    if (in->n == 0)
        return 0;
    if (s->state == PADDING || *in->p != 0x1f)
        return stage_failed(s, "trailing_garbage");
    inflateReset(s->lib);
    s->state = WITHIN;
    s->over = 0;
    return 1;
}

static int run_gzip(struct stage *s, struct soth_span *in, char **out, size_t *room)
{
    int r, ended;
    if (!s->lib && (in->n == 0 || open_at(s, 15 + 16) < 0))
        return in->n == 0 ? 0 : -1;
    for (;;) {
        if (s->state != WITHIN && (r = next_member(s, in)) <= 0)
            return r;
        if (inflate_once(s, in, out, room, &ended) < 0) {
            if (s->out == 0 && s->in <= 2)
                s->fault = "wrong_coding";
            return -1;
        }
        if (!ended)
            return 0;
        s->state = BEHIND;
        s->over = 1;
    }
}

const struct stage_ops stage_gzip = {"gzip", CODING_GZIP, run_gzip, close_zlib};

/* ---- deflate ---- */

enum { NO_BYTE, ONE_BYTE, OPENED };

static int begins_zlib(unsigned char first)
{
    return (first & 15) == 8 && first >> 4 <= 7;
}

/* Decides by the first two bytes what it is, and opens that. The first is held meanwhile. 1: opened. */
static int choose(struct stage *s, struct soth_span *in)
{
    unsigned char c;
    if (in->n == 0)
        return 0;
    c = (unsigned char)*in->p;
    if (s->state == NO_BYTE) {
        s->held_byte = c;
        s->held = 1;
        stage_took(s, in, 1);
        s->state = ONE_BYTE;
    }
    if (!begins_zlib(s->held_byte))
        c = 1; /* whatever follows */
    else if (in->n == 0)
        return 0;
    else
        c = (s->held_byte * 256u + (unsigned char)*in->p) % 31 != 0;
    s->state = OPENED;
    return open_at(s, c ? -15 : 15) < 0 ? -1 : 1;
}

/* Nothing at all could be made of it: it is something else, gzip mostly. */
static int not_deflate(struct stage *s)
{
    if (s->out == 0 && strcmp(s->fault, "corrupt") == 0)
        s->fault = "wrong_coding";
    return -1;
}

static int run_deflate(struct stage *s, struct soth_span *in, char **out, size_t *room)
{
    int ended = 0;
    if (s->over)
        return in->n > 0 ? stage_failed(s, "trailing_garbage") : 0;
    if (!s->lib) {
        int r = choose(s, in);
        if (r <= 0)
            return r;
    }
    if (s->held) {
        struct soth_span one = {(const char *)&s->held_byte, 1};
        s->in--; /* counted already */
        if (inflate_once(s, &one, out, room, &ended) < 0)
            return not_deflate(s);
        s->held = 0;
    }
    if (!ended && inflate_once(s, in, out, room, &ended) < 0)
        return not_deflate(s);
    s->over = (uint8_t)ended;
    return ended && in->n > 0 ? stage_failed(s, "trailing_garbage") : 0;
}

const struct stage_ops stage_deflate = {"deflate", CODING_DEFLATE, run_deflate, close_zlib};
