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
    uint8_t at;         /* of the next byte in `last` */
    uint8_t text;       /* bytes since the last quote */
    uint8_t escape;     /* bytes of an escape that are to come */
    bool in_text;       /* the last quote has opened something */
    bool behind_key;    /* and it stands behind a key: is there a colon? */
    uint32_t depth;     /* of brackets within a value */
    char last[MASK_KEY_MOST + 1]; /* what stands before, and one byte before a key: a ring */
};

/* The next n bytes; `p` is overwritten. Keys are compared without case. */
void mask_values(struct mask *mask, const struct soth_strings *keys, char *p, size_t n);

#endif
