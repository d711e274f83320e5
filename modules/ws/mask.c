/* SPDX-License-Identifier: MPL-2.0 */
/* See mask.h. 32 or 64 bytes at a time. */
#include "mask.h"

#include <string.h>

typedef uint64_t vector __attribute__((vector_size(16)));

#define HIGH UINT64_C(0x8080808080808080)

/* The key as it meets the bytes from `offset` on, twice. */
static inline uint64_t turned(const uint8_t key[4], uint64_t offset)
{
    uint8_t twice[8];
    uint64_t wide;
    for (unsigned i = 0; i < 8; i++)
        twice[i] = key[(offset + i) & 3];
    memcpy(&wide, twice, sizeof wide);
    return wide;
}

static inline vector load(const uint8_t *p)
{
    vector v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t load_eight(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

void mask_apply(uint8_t *out, const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset)
{
    const uint64_t wide = turned(key, offset);
    const vector keys = {wide, wide};
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const vector a = load(p + i) ^ keys, b = load(p + i + 16) ^ keys;
        memcpy(out + i, &a, sizeof a);
        memcpy(out + i + 16, &b, sizeof b);
    }
    for (; i < n; i++)
        out[i] = p[i] ^ key[(offset + i) & 3];
}

/* 64 bytes, each once. */
static inline vector seen(const uint8_t *p, vector keys)
{
    return (load(p) ^ keys) | (load(p + 16) ^ keys) | (load(p + 32) ^ keys) | (load(p + 48) ^ keys);
}

bool mask_hides_ascii(const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset)
{
    const uint64_t wide = turned(key, offset);
    const vector keys = {wide, wide};
    size_t i = 0;
    for (; i + 256 <= n; i += 256) {
        const vector found = seen(p + i, keys) | seen(p + i + 64, keys) | seen(p + i + 128, keys) | seen(p + i + 192, keys);
        if ((found[0] | found[1]) & HIGH)
            return false;
    }
    uint64_t found = 0;
    for (; i + 8 <= n; i += 8)
        found |= load_eight(p + i) ^ wide;
    for (; i < n; i++)
        found |= (uint64_t)(p[i] ^ key[(offset + i) & 3]);
    return (found & HIGH) == 0;
}
