/* SPDX-License-Identifier: MPL-2.0 */
/* UTF-8 (RFC 3629) in pieces cut anywhere. Pure. */
#ifndef WS_UTF8_H
#define WS_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed is the beginning of a text. */
struct utf8 {
    uint8_t left;      /* bytes that the character at hand still needs */
    uint8_t low, high; /* between which the next one must be */
};

bool utf8_take(struct utf8 *utf8, const uint8_t *p, size_t n); /* false: it is none, whatever follows */
static inline bool utf8_whole(const struct utf8 *utf8) { return utf8->left == 0; } /* it may end here */

#endif
