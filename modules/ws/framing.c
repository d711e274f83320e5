/* SPDX-License-Identifier: MPL-2.0 */
/* See framing.h. */
#include "framing.h"

#include <string.h>

/* Bytes of the length that follows, by the seven bits that announce it. */
static inline unsigned length_size(unsigned code)
{
    return code == 126 ? 2 : code == 127 ? 8 : 0;
}

/* Length of a header by its first two bytes. */
static inline size_t head_size(const uint8_t *p)
{
    return 2 + length_size(p[1] & 0x7f) + (p[1] & 0x80 ? 4 : 0);
}

static inline uint64_t big_endian(const uint8_t *p, unsigned bytes)
{
    uint64_t n = 0;
    while (bytes-- > 0)
        n = n << 8 | *p++;
    return n;
}

static void read_head(const uint8_t *p, struct frame_head *head)
{
    unsigned code = p[1] & 0x7f, bytes = length_size(code);
    head->fin = p[0] >> 7;
    head->rsv = p[0] >> 4 & 7;
    head->opcode = p[0] & 15;
    head->masked = p[1] >> 7;
    head->length = bytes == 0 ? code : bytes == 2 ? big_endian(p + 2, 2) : big_endian(p + 2, 8);
    head->minimal = bytes == 0 || head->length > (bytes == 2 ? 125u : 0xffffu);
    memset(head->key, 0, 4);
    if (head->masked)
        memcpy(head->key, p + 2 + bytes, 4);
}

/* A header that came in pieces: its bytes are put together. */
static size_t gather(struct framing *framing, const uint8_t *p, size_t n, bool *whole)
{
    size_t used = 0;
    *whole = false;
    while (used < n && !*whole) {
        framing->bytes[framing->have++] = p[used++];
        *whole = framing->have >= 2 && framing->have >= head_size(framing->bytes);
    }
    if (*whole)
        framing->have = 0;
    return used;
}

size_t framing_take(struct framing *framing, const uint8_t *p, size_t n, struct frame_head *head, bool *whole)
{
    size_t used = n >= 2 ? head_size(p) : SIZE_MAX;
    *whole = true;
    if (framing->have > 0 || n < used) {
        used = gather(framing, p, n, whole);
        p = framing->bytes;
    }
    if (*whole)
        read_head(p, head);
    return used;
}

size_t framing_put(uint8_t out[FRAMING_HEAD_MOST], uint8_t opcode, uint64_t length, const uint8_t key[4])
{
    unsigned bytes = length < 126 ? 0 : length < 65536 ? 2 : 8;
    size_t n = 2;
    out[0] = 0x80 | opcode;
    out[1] = (uint8_t)((key ? 0x80 : 0) | (bytes == 0 ? length : bytes == 2 ? 126 : 127));
    while (bytes > 0)
        out[n++] = (uint8_t)(length >> 8 * --bytes);
    if (key) {
        memcpy(out + n, key, 4);
        n += 4;
    }
    return n;
}
