/* SPDX-License-Identifier: MPL-2.0 */
/* See mask.h. Eight bytes at a time; the compiler makes vectors of the inner loop. */
#include "mask.h"

#include <string.h>

void mask_apply(uint8_t *out, const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset)
{
    uint8_t turned[8];
    uint64_t wide;
    for (unsigned i = 0; i < 8; i++)
        turned[i] = key[(offset + i) & 3];
    memcpy(&wide, turned, 8);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        uint64_t words[4];
        memcpy(words, p + i, 32);
        for (unsigned k = 0; k < 4; k++)
            words[k] ^= wide;
        memcpy(out + i, words, 32);
    }
    for (; i < n; i++)
        out[i] = p[i] ^ turned[i & 7];
}
