/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Values of named keys in a body, as bytes: "key": value as JSON has it, key=value as a form has it. They become asterisks, of the same length, so
 * that places in the body stay what they are. Nothing is parsed: where text looks like that, it counts. Cut anywhere; sans-I/O.
 */
#ifndef HOST_HTTP_MASK_H
#define HOST_HTTP_MASK_H

#include <stdbool.h>
#include <stdint.h>

#include <soth/sdk.h>

#define MASK_KEY_MOST 64u /* bytes of a key */

struct mask {
    uint8_t where;      /* 0: at the beginning */
    uint8_t n;          /* of the word */
    bool escaped;
    bool too_long;      /* the word is longer than any key */
    uint32_t depth;     /* of brackets within a value */
    char word[MASK_KEY_MOST];
};

/* The next n bytes; `p` is overwritten. Keys are compared without case. */
void mask_values(struct mask *mask, const struct soth_strings *keys, char *p, size_t n);

#endif
