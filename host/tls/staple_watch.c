/* SPDX-License-Identifier: MPL-2.0 */
/* See staple_watch.h. Keeps the one message that it looks for, bounded, and nothing of the others. */
#include "host/tls/staple_watch.h"

#include <stdlib.h>
#include <string.h>

#include "host/mem/buffer.h"
#include "host/tls/der.h"

#define STAPLE_MOST 65536u

enum { CERTIFICATE_STATUS = 22, STATUS_HEAD = 4, MESSAGE_HEAD = 4 };

struct staple_watch {
    uint8_t head[MESSAGE_HEAD];
    uint32_t have, left; /* of the head; of the message's contents */
    struct buffer status;
};

struct staple_watch *staple_watch_new(void)
{
    return calloc(1, sizeof(struct staple_watch));
}

void staple_watch_free(struct staple_watch *watch)
{
    if (!watch)
        return;
    buffer_fini(&watch->status);
    free(watch);
}

void staple_watch_feed(struct staple_watch *watch, const uint8_t *p, size_t n)
{
    while (n > 0) {
        size_t part = 1;
        if (watch->have < MESSAGE_HEAD) {
            watch->head[watch->have++] = *p;
            if (watch->have == MESSAGE_HEAD)
                watch->left = (uint32_t)(watch->head[1] << 16 | watch->head[2] << 8 | watch->head[3]);
        } else {
            part = n < watch->left ? n : watch->left;
            if (watch->head[0] == CERTIFICATE_STATUS && buffer_size(&watch->status) + part <= STAPLE_MOST)
                buffer_append(&watch->status, p, part); /* a part that is lost makes it a response that says nothing */
            watch->left -= (uint32_t)part;
        }
        p += part;
        n -= part;
        if (watch->have == MESSAGE_HEAD && watch->left == 0)
            watch->have = 0;
    }
}

int staple_watch_revoked(const struct staple_watch *watch)
{
    const struct buffer *status = &watch->status; /* type, length of three bytes, response */
    return buffer_size(status) > STATUS_HEAD && staple_says_revoked(buffer_data(status) + STATUS_HEAD, buffer_size(status) - STATUS_HEAD);
}

/* ---- OCSPResponse ---- */

struct place {
    const uint8_t *p;
    size_t n;
};

/* The contents of the next element, which is stepped over; it must have the tag, or any where that is 0. */
static struct place next(struct place *at, uint8_t tag)
{
    uint8_t found;
    size_t header, length;
    if (der_parse_head(at->p, at->n, &found, &header, &length) < 0 || (tag && found != tag)) {
        *at = (struct place){NULL, 0};
        return *at;
    }
    struct place contents = {at->p + header, length};
    at->p += header + length;
    at->n -= header + length;
    return contents;
}

int staple_says_revoked(const uint8_t *der, size_t n)
{
    struct place all = {der, n};
    struct place response = next(&all, DER_SEQUENCE);
    next(&response, 0); /* responseStatus */
    struct place tagged = next(&response, DER_CONTEXT_CONSTRUCTED | 0);
    struct place bytes = next(&tagged, DER_SEQUENCE);
    next(&bytes, DER_OID);
    struct place octets = next(&bytes, DER_OCTET_STRING);
    struct place basic = next(&octets, DER_SEQUENCE);
    struct place data = next(&basic, DER_SEQUENCE);
    if (data.n > 0 && data.p[0] == (DER_CONTEXT_CONSTRUCTED | 0))
        next(&data, 0); /* version */
    next(&data, 0);     /* responderID */
    next(&data, DER_GENERALIZED_TIME);
    struct place responses = next(&data, DER_SEQUENCE);
    struct place single = next(&responses, DER_SEQUENCE);
    next(&single, DER_SEQUENCE); /* certID */
    return single.n > 0 && single.p[0] == (DER_CONTEXT_CONSTRUCTED | 1);
}
