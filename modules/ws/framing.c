/* SPDX-License-Identifier: MPL-2.0 */
/* See framing.h. */
#include "framing.h"

#include <string.h>

/* Length of a header by its first two bytes. */
static size_t head_size(const uint8_t *p)
{
    unsigned length = p[1] & 0x7f;
    return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + (p[1] & 0x80 ? 4 : 0);
}

static const uint8_t *read_length(const uint8_t *p, unsigned code, struct frame_head *head)
{
    unsigned bytes = code == 127 ? 8 : 2;
    uint64_t length = 0;
    for (unsigned i = 0; i < bytes; i++)
        length = length << 8 | *p++;
    head->length = length;
    head->minimal = length > (code == 127 ? 0xffffu : 125u);
    return p;
}

static void read_head(const uint8_t *p, struct frame_head *head)
{
    unsigned code = p[1] & 0x7f;
    head->fin = p[0] >> 7;
    head->rsv = p[0] >> 4 & 7;
    head->opcode = p[0] & 15;
    head->masked = p[1] >> 7;
    head->length = code;
    head->minimal = true;
    p += 2;
    if (code > 125)
        p = read_length(p, code, head);
    memset(head->key, 0, 4);
    if (head->masked)
        memcpy(head->key, p, 4);
}

size_t framing_take(struct framing *framing, const uint8_t *p, size_t n, struct frame_head *head, bool *whole)
{
    size_t used = 0, size = n >= 2 ? head_size(p) : SIZE_MAX;
    *whole = true;
    if (framing->have == 0 && n >= size) {
        read_head(p, head);
        return size;
    }
    while (used < n) {
        framing->bytes[framing->have++] = p[used++];
        if (framing->have < 2 || framing->have < head_size(framing->bytes))
            continue;
        read_head(framing->bytes, head);
        framing->have = 0;
        return used;
    }
    *whole = false;
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
