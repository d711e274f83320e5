/* SPDX-License-Identifier: MPL-2.0 */
/* See buffer.h. Growth is by doubling; consumed bytes are reclaimed by moving only when room is needed. */
#include "host/mem/buffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <soth/sdk.h>

int buffer_reserve(struct buffer *b, size_t n)
{
    if (b->cap - b->len >= n)
        return SOTH_OK;
    if (b->off > 0) {
        memmove(b->p, b->p + b->off, b->len - b->off);
        b->len -= b->off;
        b->off = 0;
        if (b->cap - b->len >= n)
            return SOTH_OK;
    }
    size_t want = b->cap ? b->cap : 256;
    while (want - b->len < n) {
        if (want > SIZE_MAX / 2) {
            b->failed = true;
            return -SOTH_ENOMEM;
        }
        want *= 2;
    }
    uint8_t *p = realloc(b->p, want);
    if (!p) {
        b->failed = true;
        return -SOTH_ENOMEM;
    }
    b->p = p;
    b->cap = want;
    return SOTH_OK;
}

int buffer_append(struct buffer *b, const void *p, size_t n)
{
    if (n == 0)
        return SOTH_OK;
    int r = buffer_reserve(b, n);
    if (r < 0)
        return r;
    memcpy(b->p + b->len, p, n);
    b->len += n;
    return SOTH_OK;
}

int buffer_append_text(struct buffer *b, const char *text)
{
    return buffer_append(b, text, strlen(text));
}

int buffer_append_number(struct buffer *b, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    return buffer_append(b, digits + at, sizeof digits - at);
}

void buffer_consume(struct buffer *b, size_t n)
{
    assert(n <= b->len - b->off);
    b->off += n;
    if (b->off == b->len)
        b->off = b->len = 0;
}

void buffer_fini(struct buffer *b)
{
    free(b->p);
    *b = (struct buffer){0};
}
