/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The library says of a staple in TLS 1.2 only that it is bad, not that it says "revoked". There it comes in plaintext (CertificateStatus,
 * RFC 6066 8): the bytes of handshake records are followed for it. Internal to this room; pure.
 */
#ifndef HOST_TLS_STAPLE_WATCH_H
#define HOST_TLS_STAPLE_WATCH_H

#include <stddef.h>
#include <stdint.h>

struct staple_watch;
struct staple_watch *staple_watch_new(void); /* NULL: out of memory */
void staple_watch_free(struct staple_watch *watch);
/* Contents of handshake records, cut anyhow. */
void staple_watch_feed(struct staple_watch *watch, const uint8_t *p, size_t n);
/* 1: a response came, and it says "revoked" of the first certificate it is about. Whether it is signed is the library's to say. */
int staple_watch_revoked(const struct staple_watch *watch);
/* The same of the DER of an OCSPResponse (RFC 6960). */
int staple_says_revoked(const uint8_t *der, size_t n);

#endif
