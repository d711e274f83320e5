/* SPDX-License-Identifier: MPL-2.0 */
/* See frames.h. */
#include "frames.h"

#include <stdlib.h>

#define FLAG_COMPRESSED 1u
#define FLAG_TRAILERS 0x80u
#define PIECE 8192u

const char *frames_class_name(enum frames_class class)
{
    static const char *const names[] = {"", "invalid_compressed_flag", "message_too_large", "truncated_prefix", "length_mismatch"};
    return names[class];
}

void frames_fini(struct frames *f)
{
    coding_free(f->open);
    free(f->kept);
    f->open = NULL;
    f->kept = NULL;
    f->kept_room = 0;
}

/* ---- findings ---- */

static int found(const struct frames *f, struct frames_found *out, enum frames_kind kind)
{
    *out = (struct frames_found){.kind = kind, .sequence_no = f->sequence_no, .offset = f->begun, .message_len = f->length, .compressed = f->compressed};
    return kind;
}

static int malformed(struct frames *f, struct frames_found *out, enum frames_class class)
{
    f->broken = 1;
    found(f, out, FRAMES_MALFORMED);
    out->class = class;
    return FRAMES_MALFORMED;
}

/* ---- a message's bytes ---- */

static int room_for_most(struct frames *f)
{
    if (f->most <= f->kept_room)
        return 1;
    char *bigger = realloc(f->kept, f->most);
    if (!bigger)
        return 0;
    f->kept = bigger;
    f->kept_room = f->most;
    return 1;
}

static int keep(struct frames *f, const char *p, size_t n)
{
    if ((f->open ? f->inflated : f->length) > FRAMES_KEPT_MOST) /* too long for one who looks at it whole */
        f->keeps = 0;
    n = n < f->most - f->kept_n ? n : f->most - f->kept_n;
    if (!f->keeps || n == 0)
        return SOTH_OK;
    if (!room_for_most(f))
        return -SOTH_ENOMEM;
    memcpy(f->kept + f->kept_n, p, n);
    f->kept_n += (uint32_t)n;
    return SOTH_OK;
}

static void stop_inflating(struct frames *f)
{
    coding_free(f->open);
    f->open = NULL;
    f->keeps = 0;
}

/* What it was compressed from. A coding that breaks costs only that: the message goes on by its length. 1: it is too large. */
static int inflate(struct frames *f, struct soth_span in)
{
    char piece[PIECE];
    size_t made = 1;
    while (in.n > 0 || made > 0) {
        int r = coding_take(f->open, &in, piece, sizeof piece, &made);
        f->inflated += made;
        if (r == SOTH_OK && keep(f, piece, made) < 0)
            return -SOTH_ENOMEM;
        if (r == SOTH_OK)
            continue;
        int large = coding_is_over_limit(f->open) && strcmp(coding_fault(f->open), "max_window") != 0;
        stop_inflating(f);
        return large;
    }
    return SOTH_OK;
}

static int absorb(struct frames *f, struct soth_span *in, size_t n)
{
    struct soth_span part = {in->p, n};
    in->p += n;
    in->n -= n;
    f->offset += n;
    f->left -= (uint32_t)n;
    if (f->open)
        return inflate(f, part);
    return keep(f, part.p, n);
}

/* ---- the prefix ---- */

static int begin_inflating(struct frames *f)
{
    const struct coding_limits limits = {.max_ratio = UINT64_MAX, .max_bytes = f->max_message_bytes, .max_window = 8u << 20};
    const struct coding_list list = {{f->coding}, 1};
    f->inflated = 0;
    if (!f->compressed || f->is_trailers || !f->coding || !(f->inflate || f->keeps)) {
        f->keeps = f->keeps && !f->compressed; /* what cannot be decompressed is of no use */
        return SOTH_OK;
    }
    f->open = coding_new(&list, &limits);
    return f->open ? SOTH_OK : -SOTH_ENOMEM;
}

static int read_prefix(struct frames *f, struct frames_found *out)
{
    uint8_t flag = f->head[0], most = f->trailers ? FLAG_TRAILERS | FLAG_COMPRESSED : FLAG_COMPRESSED;
    f->length = f->left = (uint32_t)f->head[1] << 24 | (uint32_t)f->head[2] << 16 | (uint32_t)f->head[3] << 8 | f->head[4];
    f->compressed = flag & FLAG_COMPRESSED;
    f->is_trailers = (flag & FLAG_TRAILERS) != 0;
    f->sequence_no += !(f->is_trailers && f->trailers);
    if ((flag & ~most) || (f->compressed && !f->may_compress))
        return malformed(f, out, CLASS_INVALID_COMPRESSED_FLAG);
    if (f->length > f->max_message_bytes || (f->is_trailers && f->length > FRAMES_KEPT_MOST))
        return malformed(f, out, CLASS_MESSAGE_TOO_LARGE);
    f->keeps = f->keep_most > 0 || f->is_trailers;
    f->most = f->keep_most < FRAMES_KEPT_MOST && !f->is_trailers ? (uint32_t)f->keep_most : FRAMES_KEPT_MOST;
    f->kept_n = 0;
    return begin_inflating(f);
}

static void take_prefix(struct frames *f, struct soth_span *in)
{
    if (f->head_have == 0)
        f->begun = f->offset;
    size_t n = FRAMES_HEAD - f->head_have < in->n ? FRAMES_HEAD - f->head_have : in->n;
    memcpy(f->head + f->head_have, in->p, n);
    f->head_have += (uint8_t)n;
    f->offset += n;
    in->p += n;
    in->n -= n;
}

/* ---- the whole ---- */

static int complete(struct frames *f, struct frames_found *out)
{
    f->head_have = 0;
    found(f, out, f->is_trailers ? FRAMES_TRAILERS : FRAMES_MESSAGE);
    if (f->open && coding_end(f->open) == SOTH_OK) {
        out->decompressed_len = f->inflated;
        out->has_decompressed = 1;
    } else if (f->open) {
        f->keeps = 0;
    }
    if (f->keeps)
        out->data = (struct soth_span){f->kept_n ? f->kept : "", f->kept_n};
    coding_free(f->open);
    f->open = NULL;
    return out->kind;
}

int frames_take(struct frames *f, struct soth_span *in, struct frames_found *out)
{
    if (f->broken)
        *in = (struct soth_span){in->p + in->n, 0};
    while (in->n > 0) {
        if (f->head_have < FRAMES_HEAD) {
            take_prefix(f, in);
            int r = f->head_have == FRAMES_HEAD ? read_prefix(f, out) : SOTH_OK;
            if (r != SOTH_OK)
                return r;
        }
        size_t n = in->n < f->left ? in->n : f->left;
        int r = n > 0 ? absorb(f, in, n) : SOTH_OK;
        if (r < 0)
            return r;
        if (r > 0)
            return malformed(f, out, CLASS_MESSAGE_TOO_LARGE);
        if (f->head_have == FRAMES_HEAD && f->left == 0)
            return complete(f, out);
    }
    return FRAMES_MORE;
}

int frames_end(struct frames *f, struct frames_found *out)
{
    if (f->broken || f->head_have == 0)
        return FRAMES_MORE;
    f->begun = f->offset;
    if (f->head_have == FRAMES_HEAD)
        return malformed(f, out, CLASS_LENGTH_MISMATCH);
    f->length = 0;
    f->sequence_no++;
    return malformed(f, out, CLASS_TRUNCATED_PREFIX);
}
