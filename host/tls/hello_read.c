/* SPDX-License-Identifier: MPL-2.0 */
/* See hello_read.h. */
#include "host/tls/hello_read.h"

#include <string.h>

size_t hello_message_size(const uint8_t *p, size_t n)
{
    size_t size = 0;
    for (size_t at = 0; at + HELLO_RECORD_HEADER <= n; at += HELLO_RECORD_HEADER + hello_be16(p + at + 3))
        size += hello_be16(p + at + 3);
    return size;
}

bool hello_read_bytes(struct hello_reader *r, void *to, size_t n)
{
    uint8_t *at = to;
    if (r->fault || n > r->left) {
        if (!r->fault)
            r->fault = "a length in the hello exceeds what holds it";
        return false;
    }
    r->left -= n;
    while (n > 0) {
        if (r->record == 0) {
            r->record = hello_be16(r->p + r->off + 3);
            r->off += HELLO_RECORD_HEADER;
        }
        size_t part = n < r->record ? n : r->record;
        if (at) {
            memcpy(at, r->p + r->off, part);
            at += part;
        }
        r->off += part;
        r->record -= part;
        n -= part;
    }
    return true;
}

size_t hello_read_number(struct hello_reader *r, size_t bytes)
{
    uint8_t b[3] = {0};
    if (!hello_read_bytes(r, b + 3 - bytes, bytes))
        return 0;
    return (size_t)b[0] << 16 | (size_t)b[1] << 8 | b[2];
}

size_t hello_enter(struct hello_reader *r, size_t length_bytes)
{
    size_t length = hello_read_number(r, length_bytes);
    if (length > r->left) {
        r->fault = r->fault ? r->fault : "a length in the hello exceeds what holds it";
        length = r->left;
    }
    size_t outer = r->left - length;
    r->left = length;
    return outer;
}

void hello_leave(struct hello_reader *r, size_t outer, const char *fault)
{
    if (r->left > 0 && !r->fault)
        r->fault = fault;
    r->left = outer;
}
