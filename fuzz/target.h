/* SPDX-License-Identifier: MPL-2.0 */
/* What every target has: its entry, what must hold, how an input is cut, and outcomes that are compared byte by byte. */
#ifndef FUZZ_TARGET_H
#define FUZZ_TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/mem/buffer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)   \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

static inline void target_append(struct buffer *out, const void *p, size_t n)
{
    MUST(buffer_append(out, p, n) == 0);
}

/* With their length: what is put apart never looks like what was put together. */
static inline void target_put(struct buffer *out, const void *p, size_t n)
{
    target_append(out, &n, sizeof n);
    target_append(out, p, n);
}

static inline bool target_same(const struct buffer *a, const struct buffer *b)
{
    return buffer_size(a) == buffer_size(b) && (buffer_size(a) == 0 || memcmp(buffer_data(a), buffer_data(b), buffer_size(a)) == 0);
}

/* Length of the piece that begins at `at`: pieces of `every` bytes, or one of `first` bytes and the rest, or (both 0) the whole. */
static inline size_t target_piece(size_t at, size_t n, size_t first, size_t every)
{
    size_t piece = every ? every : at < first ? first - at : n - at;
    return piece < n - at ? piece : n - at;
}

#endif
