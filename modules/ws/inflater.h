/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Messages under permessage-deflate (RFC 7692 7.2.2) in one direction, for observers: what is relayed stays as it is. Output comes in pieces of
 * a fixed size, so that memory does not depend on what the input becomes; zlib's window is made with the first message. It always has 32 KiB: with the
 * smaller one that was agreed on, whether a sender that exceeds it can be read would depend on how its bytes are cut.
 */
#ifndef WS_INFLATER_H
#define WS_INFLATER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inflater; /* NULL: nothing was inflated yet */

/* Gets a piece of output; negative: stop, it is inflater_take's result. */
typedef int inflater_put(void *arg, const uint8_t *p, size_t n);

/* Compressed bytes of a message, whose last ones are `end`. `fresh`: each message begins without what was before.
 * 0; -SOTH_EINVALID: this is no deflate stream, and what follows cannot be read either unless fresh; -SOTH_ENOMEM; put's result. */
int inflater_take(struct inflater **inflater, bool fresh, const uint8_t *p, size_t n, bool end, inflater_put *put, void *arg);
void inflater_free(struct inflater *inflater); /* NULL is legal */

#endif
