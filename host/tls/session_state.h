/* SPDX-License-Identifier: MPL-2.0 */
/* The insides of struct session and what its files share: session.c (handshake, data), session_client.c (towards an origin), session_report.c
 * (what is said of it), session_io.c (wolfSSL's callbacks), trust.c and tickets.c. Internal to this room. Kept small: there is one per idle
 * connection and side. */
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
    struct trust_lane *lane;         /* client side: its context */
    const struct client_identity *identity; /* client side: shown if asked for, NULL = none */
    uint8_t *ticket;                 /* client side: a copy of the one that was offered, NULL = none, or too long */
    uint32_t ticket_size;
    struct keylog *keylog;
    struct staple_watch *staple;     /* client side, while a staple may come in plaintext */
    size_t flight;                   /* bytes written by the last step of the handshake that wrote any */
    uint8_t key[SESSION_KEY_SIZE];   /* server: what tickets are bound to; client: of the session cache */
    int error, verify_code, sys_errno;
    int8_t alert_level;  /* of the plaintext alert below */
    int16_t alert_sniffed; /* description, -1 = none */
    uint8_t record[5], record_have; /* header of the record being received, while the handshake lasts */
    uint16_t record_left;
    uint8_t ended : 1, timed_out : 1, done : 1, shut : 1, offered : 1, saved : 1, closed : 1;
    uint8_t chained : 1;    /* the peer sent more than one certificate */
    uint8_t spoke : 1;      /* a whole record of the handshake came from the peer: it does speak TLS */
    uint8_t talked : 1;     /* application data came */
    uint8_t staple_asked : 1, started : 1;
};

/* 16 bytes of SHA-256 of the parts, each with its length. */
void session_key(uint8_t key[SESSION_KEY_SIZE], const struct soth_span *parts, size_t count);

struct session *session_alloc(WOLFSSL_CTX *context); /* of either side; NULL: no memory */

/* session_client.c: around its handshake. */
void session_ask_staple(struct session *session);     /* once, before the first step: wishes may come until then */
int session_kept_back(const struct session *session); /* with client_auth required: our certificate was not in our last flight */
void session_save_resumable(struct session *session); /* what can be resumed, as soon as there is something */

/* session_io.c: after wolfSSL gave up at the header of an alert in plaintext, reads the alert's two bytes from what is lent. 1 while
 * they have not all come. */
int session_io_awaits_alert(struct session *session);

#endif
