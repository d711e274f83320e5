/* SPDX-License-Identifier: MPL-2.0 */
/* Masking (RFC 6455 5.3): the same operation puts it on and takes it off. Pure. */
#ifndef WS_MASK_H
#define WS_MASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* out may be p. offset: of p[0] in the payload of its frame. */
void mask_apply(uint8_t *out, const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset);

/* Would it put nothing but ASCII there? */
bool mask_hides_ascii(const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset);

/* What they are on a processor without AVX2, on any processor. */
void mask_apply_plain(uint8_t *out, const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset);
bool mask_hides_ascii_plain(const uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset);

#endif
