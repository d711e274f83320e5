/* SPDX-License-Identifier: MPL-2.0 */
/* See utf8.h. Runs of ASCII are looked at many bytes at a time. */
#include "utf8.h"

#include <string.h>

#define HIGH UINT64_C(0x8080808080808080)

typedef uint64_t vector __attribute__((vector_size(16)));

static inline vector load(const uint8_t *p)
{
    vector v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline vector seen(const uint8_t *p)
{
    return load(p) | load(p + 16) | load(p + 32) | load(p + 48);
}

static inline bool is_ascii(vector seen)
{
    return ((seen[0] | seen[1]) & HIGH) == 0;
}

/* Length of the ASCII at the beginning, or less. */
static size_t ascii(const uint8_t *p, size_t n)
{
    size_t i = 0;
    while (i + 256 <= n && is_ascii(seen(p + i) | seen(p + i + 64) | seen(p + i + 128) | seen(p + i + 192)))
        i += 256;
    while (i + 16 <= n && is_ascii(load(p + i)))
        i += 16;
    while (i < n && p[i] < 0x80)
        i++;
    return i;
}

/* The first byte of a character of several. Overlong forms, surrogates and what is beyond U+10FFFF show in the second byte. */
static bool lead(struct utf8 *u, uint8_t byte)
{
    if (byte < 0xc2 || byte > 0xf4)
        return false;
    u->left = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    u->low = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    u->high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
    return true;
}

bool utf8_take(struct utf8 *u, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (u->left == 0) {
            i += ascii(p + i, n - i);
            if (i < n && !lead(u, p[i]))
                return false;
            continue;
        }
        if (p[i] < u->low || p[i] > u->high)
            return false;
        u->left--;
        u->low = 0x80;
        u->high = 0xbf;
    }
    return true;
}
