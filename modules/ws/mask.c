/* SPDX-License-Identifier: MPL-2.0 */
/* See mask.h. The same code is compiled twice, where the processor may have AVX2: its 32-byte vectors are two of 16 bytes without it. */
#include "mask.h"

#include <string.h>

#ifdef __x86_64__
#define WITH_AVX2 __attribute__((target("avx2")))
#define HAS_AVX2 __builtin_cpu_supports("avx2")
#else
#define WITH_AVX2
#define HAS_AVX2 false
#endif
#define INLINE static inline __attribute__((always_inline))

#define HIGH UINT64_C(0x8080808080808080)

/* At any address. */
typedef uint64_t vector __attribute__((vector_size(32), aligned(1), may_alias));

/* The key as it meets the bytes from `offset` on, twice. */
INLINE uint64_t turned(const uint8_t key[4], uint64_t offset)
{
    unsigned bits = (unsigned)(offset & 3) * 8, left = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? bits : 32 - bits;
    uint32_t once;
    memcpy(&once, key, sizeof once);
    once = once << (left & 31) | once >> (-left & 31);
    return once * UINT64_C(0x100000001);
}

INLINE uint64_t load_eight(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void apply(uint8_t *out, const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset)
{
    const uint64_t wide = turned(key, offset);
    const vector keys = {wide, wide, wide, wide};
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        const vector *from = (const vector *)(p + i);
        vector *to = (vector *)(out + i);
        const vector a = from[0] ^ keys, b = from[1] ^ keys;
        to[0] = a;
        to[1] = b;
    }
    for (; i < n; i++)
        out[i] = p[i] ^ key[(offset + i) & 3];
}

INLINE bool hides_ascii(const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset)
{
    const uint64_t wide = turned(key, offset);
    const vector keys = {wide, wide, wide, wide};
    size_t i = 0;
    for (; i + 256 <= n; i += 256) {
        const vector *v = (const vector *)(p + i);
        const vector found = (v[0] ^ keys) | (v[1] ^ keys) | (v[2] ^ keys) | (v[3] ^ keys) | (v[4] ^ keys) | (v[5] ^ keys) | (v[6] ^ keys) | (v[7] ^ keys);
        if ((found[0] | found[1] | found[2] | found[3]) & HIGH)
            return false;
    }
    uint64_t found = 0;
    for (; i + 8 <= n; i += 8)
        found |= load_eight(p + i) ^ wide;
    for (; i < n; i++)
        found |= (uint64_t)(p[i] ^ key[(offset + i) & 3]);
    return (found & HIGH) == 0;
}

static WITH_AVX2 void apply_avx2(uint8_t *out, const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset)
{
    apply(out, p, n, key, offset);
}

static WITH_AVX2 bool hides_ascii_avx2(const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset)
{
    return hides_ascii(p, n, key, offset);
}

void mask_apply_plain(uint8_t *out, const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset)
{
    apply(out, p, n, key, offset);
}

bool mask_hides_ascii_plain(const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset)
{
    return hides_ascii(p, n, key, offset);
}

void mask_apply(uint8_t *out, const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset)
{
    if (HAS_AVX2)
        apply_avx2(out, p, n, key, offset);
    else
        apply(out, p, n, key, offset);
}

bool mask_hides_ascii(const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset)
{
    return HAS_AVX2 ? hides_ascii_avx2(p, n, key, offset) : hides_ascii(p, n, key, offset);
}
