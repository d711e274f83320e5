/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The chunked transfer coding (RFC 9112 7.1), strict, one event per call. Extensions are skipped and bounded. Inside this room only.
 * (llhttp reads chunks too, but tells positions only by pausing, which it does twice at the same place; a relay needs to know.)
 */
#ifndef HOST_HTTP_CHUNK_H
#define HOST_HTTP_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include <soth/sdk.h>

struct chunk {
    uint8_t state;   /* 0 = before a chunk size */
    uint8_t digits;
    uint16_t skipped; /* bytes of extensions of this chunk */
    uint64_t left;   /* payload bytes of this chunk still to come */
};

enum chunk_event { CHUNK_NEED, CHUNK_DATA, CHUNK_LAST };

/* Takes from p[0..n): *used says how much. CHUNK_DATA: *data is payload. CHUNK_LAST: the last chunk's line was read, trailers or the
 * empty line follow. -SOTH_EINVALID with *fault. */
int chunk_take(struct chunk *c, const char *p, size_t n, size_t *used, struct soth_span *data, const char **fault);

#endif
