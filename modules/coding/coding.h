/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Content codings (RFC 9110 8.4.1) taken off while the bytes come: gzip, deflate (with zlib's frame or without), br, zstd, and stacks of them.
 * What can be made of the bytes so far is made at once. Bytes in, bytes out, bounded: no I/O, no SDK but its spans and error numbers. A part
 * of several modules, none of its own.
 */
#ifndef CODING_CODING_H
#define CODING_CODING_H

#include <soth/sdk.h>

enum coding_id { CODING_GZIP = 1, CODING_DEFLATE, CODING_BR, CODING_ZSTD };
#define CODINGS_MOST 4u /* in a stack */

struct coding_list {
    uint8_t ids[CODINGS_MOST]; /* in the order in which they were applied */
    uint32_t n;
};
/* Adds the codings that a Content-Encoding field names; identity is none. 0; -SOTH_EUNSUPPORTED: one is unknown, or they are too many. */
int coding_list_add(struct coding_list *list, struct soth_span value);

struct coding_limits {
    uint64_t max_ratio;  /* bytes out per byte in, looked at from the first MB of output on; see docs/streams.md */
    uint64_t max_bytes;  /* of output; 0 = any */
    uint64_t max_window; /* memory that a coding may ask for to look back */
};

struct coding;
/* NULL: no memory. The list has at least one. Decoders are made when the first byte comes. */
struct coding *coding_new(const struct coding_list *list, const struct coding_limits *limits);
void coding_free(struct coding *coding); /* NULL is legal */

/* Takes bytes off `in` and makes at most `room` bytes; *made says how many, also when it fails. When *made == room there may be more to make
 * without further input. 0, or -SOTH_E... and coding_fault says why; then never again. */
int coding_take(struct coding *coding, struct soth_span *in, char *out, size_t room, size_t *made);
/* Nothing follows: 0, or -SOTH_EINVALID and the fault "truncated". */
int coding_end(struct coding *coding);
/* "wrong_coding", "corrupt", "trailing_garbage", "truncated", "nomem", or a limit: "max_ratio", "max_bytes", "max_window". */
const char *coding_fault(const struct coding *coding);
int coding_is_over_limit(const struct coding *coding); /* is the fault a limit? */

#endif
