/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A ClientHello's message, read across the borders of its records without a copy. The records are known to be whole. A fault, once set,
 * stays: everything read after it is 0. Inside this room only.
 */
#ifndef HOST_TLS_HELLO_READ_H
#define HOST_TLS_HELLO_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HELLO_RECORD_HEADER 5u
#define HELLO_MESSAGE_HEADER 4u

enum {
    HELLO_EXT_SERVER_NAME = 0,
    HELLO_EXT_GROUPS = 10,
    HELLO_EXT_POINT_FORMATS = 11,
    HELLO_EXT_SIGNATURES = 13,
    HELLO_EXT_ALPN = 16,
    HELLO_EXT_SESSION_TICKET = 35,
    HELLO_EXT_PRE_SHARED_KEY = 41,
    HELLO_EXT_SUPPORTED_VERSIONS = 43
};

struct hello_reader {
    const uint8_t *p; /* records, known to be whole */
    size_t off;
    size_t record; /* message bytes left in the current record */
    size_t left;   /* message bytes left in the current scope */
    const char *fault;
};

static inline size_t hello_be16(const uint8_t *p)
{
    return (size_t)p[0] << 8 | p[1];
}

/* Bytes of the message in these whole records. */
size_t hello_message_size(const uint8_t *p, size_t n);
/* to NULL: skipped. */
bool hello_read_bytes(struct hello_reader *r, void *to, size_t n);
/* A big-endian number of 1 to 3 bytes; 0 with the fault set when there are not that many. */
size_t hello_read_number(struct hello_reader *r, size_t bytes);
/* Narrows the reader to a vector's contents; what is left of the outer scope comes back from here and goes to hello_leave. */
size_t hello_enter(struct hello_reader *r, size_t length_bytes);
/* Bytes that are left over are the fault. */
void hello_leave(struct hello_reader *r, size_t outer, const char *fault);

#endif
