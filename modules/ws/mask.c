/* SPDX-License-Identifier: MPL-2.0 */
/* See mask.h. 32 bytes at a time. */
#include "mask.h"

#include <string.h>

typedef uint64_t vector __attribute__((vector_size(16)));

void mask_apply(uint8_t *out, const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset)
{
    uint8_t turned[8];
    uint64_t wide;
    for (unsigned i = 0; i < 8; i++)
        turned[i] = key[(offset + i) & 3];
    memcpy(&wide, turned, 8);
    size_t i = 0;
    const vector keys = {wide, wide};
    for (; i + 32 <= n; i += 32) {
        vector a, b;
        memcpy(&a, p + i, 16);
        memcpy(&b, p + i + 16, 16);
        a ^= keys;
        b ^= keys;
        memcpy(out + i, &a, 16);
        memcpy(out + i + 16, &b, 16);
    }
    for (; i < n; i++)
        out[i] = p[i] ^ turned[i & 7];
}
