/* SPDX-License-Identifier: MPL-2.0 */
/* Bytes that grow. Zeroed is empty. */
#ifndef WS_BYTES_H
#define WS_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <soth/sdk.h>

struct bytes {
    uint8_t *p;
    size_t n, room;
};

static inline bool bytes_room(struct bytes *b, size_t n)
{
    if (n <= b->room - b->n)
        return true;
    size_t room = b->room ? b->room * 2 : 256;
    while (room - b->n < n)
        room *= 2;
    uint8_t *p = realloc(b->p, room);
    if (!p)
        return false;
    b->p = p;
    b->room = room;
    return true;
}

static inline bool bytes_add(struct bytes *b, const uint8_t *p, size_t n)
{
    if (n == 0)
        return true;
    if (!bytes_room(b, n))
        return false;
    memcpy(b->p + b->n, p, n);
    b->n += n;
    return true;
}

/* Asked for at every frame, of what is mostly empty. */
static inline void bytes_free(struct bytes *b)
{
    if (!b->p)
        return;
    free(b->p);
    *b = (struct bytes){0};
}

/* {NULL, 0} when there are none. */
static inline struct soth_span bytes_span(const struct bytes *b) { return (struct soth_span){b->n ? (const char *)b->p : NULL, b->n}; }

#endif
