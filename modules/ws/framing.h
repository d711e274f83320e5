/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Frame headers (RFC 6455 5.2): bytes in any pieces go in, one header comes out. What a header says is taken as it is; whether it may say that is
 * judged in talk.c. Pure.
 */
#ifndef WS_FRAMING_H
#define WS_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAMING_HEAD_MOST 14u
#define FRAMING_CONTROL_MOST 125u /* payload of a control frame */

enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };
#define RSV1 4u

struct frame_head {
    uint64_t length;
    uint8_t opcode, rsv; /* rsv: RSV1 is 4, RSV3 is 1 */
    bool fin, masked;
    bool minimal;        /* the length has the shortest form */
    uint8_t key[4];      /* zeros when it is not masked */
};

/* A header that is not complete yet. Zeroed is empty. */
struct framing {
    uint8_t bytes[FRAMING_HEAD_MOST];
    uint8_t have;
};

/* Returns the bytes used; *whole when *head is complete, else all of them were used. */
size_t framing_take(struct framing *framing, const uint8_t *p, size_t n, struct frame_head *head, bool *whole);

/* Writes a header with FIN; key NULL: not masked. Returns its length. */
size_t framing_put(uint8_t out[FRAMING_HEAD_MOST], uint8_t opcode, uint64_t length, const uint8_t key[4]);

static inline bool opcode_is_control(uint8_t opcode) { return (opcode & 8) != 0; }

#endif
