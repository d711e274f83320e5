/* SPDX-License-Identifier: MPL-2.0 */
/* The insides of struct session and what its files share: session.c (handshake, data), session_io.c (wolfSSL's callbacks), trust.c and
 * tickets.c. Internal to this room. Kept small: there is one per idle connection and side. */
#ifndef HOST_TLS_SESSION_STATE_H
#define HOST_TLS_SESSION_STATE_H

#include "host/tls/session.h"
#include "host/tls/wolf.h"

#define SESSION_KEY_SIZE 16u

struct session {
    WOLFSSL *tls;
    const uint8_t *in; /* lent ciphertext */
    size_t in_size;
    struct buffer *out;
    struct leaf *leaf;               /* server side, else NULL */
    struct session_tickets *tickets; /* server side, may be NULL */
    struct trust *trust;             /* client side, else NULL */
    uint8_t key[SESSION_KEY_SIZE];   /* server: what tickets are bound to; client: of the session cache */
    int error, verify_code, sys_errno;
    int8_t alert_level;  /* of the plaintext alert below */
    int16_t alert_sniffed; /* description, -1 = none */
    uint8_t record[5], record_have; /* header of the record being received, while the handshake lasts */
    uint16_t record_left;
    uint8_t ended : 1, timed_out : 1, done : 1, shut : 1, offered : 1, saved : 1, closed : 1;
};

/* 16 bytes of SHA-256 of the parts, each with its length. */
void session_key(uint8_t key[SESSION_KEY_SIZE], const struct soth_span *parts, size_t count);

/* session_io.c: after wolfSSL gave up at the header of an alert in plaintext, reads the alert's two bytes from what is lent. 1 while
 * they have not all come. */
int session_io_awaits_alert(struct session *session);

/* trust.c */
struct trust *trust_ref(struct trust *trust);
WOLFSSL_CTX *trust_context(const struct trust *trust);
uint32_t trust_skips_verify(const struct trust *trust);
/* A cached session for the key becomes the caller's (TLS 1.3 tickets are for one use, RFC 8446 C.4); NULL when there is none. */
WOLFSSL_SESSION *trust_take(struct trust *trust, const uint8_t key[SESSION_KEY_SIZE]);
/* Takes the session over. */
void trust_keep(struct trust *trust, const uint8_t key[SESSION_KEY_SIZE], WOLFSSL_SESSION *resumable);

#endif
