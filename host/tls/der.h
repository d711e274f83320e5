/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Writes DER (X.690) front to back into a fixed block. Lengths are put in when an element is closed. Running out of room is sticky:
 * check der.failed (or der_size) once at the end.
 */
#ifndef HOST_TLS_DER_H
#define HOST_TLS_DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DER_BOOLEAN = 0x01, DER_INTEGER = 0x02, DER_BIT_STRING = 0x03, DER_OCTET_STRING = 0x04, DER_OID = 0x06, DER_UTF8_STRING = 0x0c,
    DER_PRINTABLE_STRING = 0x13, DER_UTC_TIME = 0x17, DER_GENERALIZED_TIME = 0x18, DER_SEQUENCE = 0x30, DER_SET = 0x31,
    DER_CONTEXT = 0x80,            /* | number: primitive, context-specific */
    DER_CONTEXT_CONSTRUCTED = 0xa0 /* | number */
};

struct der {
    uint8_t *p;
    size_t cap;
    size_t len;
    bool failed;
};

/* Begins an element; what is written until der_close(der, mark) is its contents. */
size_t der_open(struct der *der, uint8_t tag);
void der_close(struct der *der, size_t mark);
/* One whole primitive element. */
void der_put(struct der *der, uint8_t tag, const void *p, size_t n);
/* Bytes that are DER already. */
void der_raw(struct der *der, const void *p, size_t n);
/* An unsigned big-endian number: leading zeros are cut, one is added where the first bit is set. */
void der_unsigned(struct der *der, const uint8_t *p, size_t n);
void der_true(struct der *der);
/* Seconds since 1970: UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 4.1.2.5). */
void der_time(struct der *der, int64_t seconds);
/* Reads an UTCTime or GeneralizedTime element; 0 or -SOTH_EINVALID. */
int der_parse_time(const uint8_t *p, size_t n, int64_t *seconds);
/* Reads the tag and length at the front of p; 0 or -SOTH_EINVALID. The contents are at p + *header, *length of them, all within n. */
int der_parse_head(const uint8_t *p, size_t n, uint8_t *tag, size_t *header, size_t *length);

#endif
