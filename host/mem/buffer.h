/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A growable byte buffer: bytes go in at the end and leave at the front. No sockets, no policy about sizes: whoever owns a
 * buffer bounds it. A failed allocation is sticky (`failed`), so that a chain of appends needs one check at its end; what
 * was in the buffer before stays valid.
 */
#ifndef HOST_MEM_BUFFER_H
#define HOST_MEM_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
    uint8_t *p; /* NULL until the first append */
    size_t off; /* first byte not yet consumed */
    size_t len; /* one past the last byte */
    size_t cap;
    bool failed;
};

static inline size_t buffer_size(const struct buffer *b) { return b->len - b->off; }
static inline const uint8_t *buffer_data(const struct buffer *b) { return b->p + b->off; }

/* Room for n more bytes at p + len; 0 or -SOTH_ENOMEM. Bytes written there are added with buffer_commit. */
int buffer_reserve(struct buffer *b, size_t n);
static inline void buffer_commit(struct buffer *b, size_t n) { b->len += n; }
/* Appends bytes; 0 or -SOTH_ENOMEM (also sets failed). */
int buffer_append(struct buffer *b, const void *p, size_t n);
int buffer_append_text(struct buffer *b, const char *text);
/* Decimal digits of a number. */
int buffer_append_number(struct buffer *b, uint64_t value);
/* Forgets the first n bytes (n <= size). */
void buffer_consume(struct buffer *b, size_t n);
/* Empties it and keeps the memory. */
static inline void buffer_clear(struct buffer *b) { b->off = b->len = 0; b->failed = false; }
/* Empties it and gives the memory back. */
void buffer_fini(struct buffer *b);

#endif
