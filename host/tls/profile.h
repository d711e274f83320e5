/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The one place that says which versions, suites, groups and key sizes we speak (the table of profiles in contract section 6), as ready
 * WOLFSSL_CTXs for sessions over memory. Internal to this room.
 */
#ifndef HOST_TLS_PROFILE_H
#define HOST_TLS_PROFILE_H

#include <stdint.h>

#include "host/tls/session.h"
#include "host/tls/wolf.h"

/* For sessions of our own: I/O over memory, tickets through session_tickets. NULL = out of memory. A server's context is that of the
 * default profile, shared by all of them; profile_apply makes one session of it another's. */
WOLFSSL_CTX *profile_server(void);
WOLFSSL_CTX *profile_client(uint32_t profile, uint32_t min_rsa_bits); /* enum tls_profile; 0 = the profile's */
/* 0 or negative. */
int profile_apply(WOLFSSL *server, uint32_t profile);

/* What the contexts above call. */
int session_io_recv(WOLFSSL *tls, char *p, int n, void *session);
int session_io_send(WOLFSSL *tls, char *p, int n, void *session);
int session_tickets_callback(WOLFSSL *tls, unsigned char name[WOLFSSL_TICKET_NAME_SZ], unsigned char iv[WOLFSSL_TICKET_IV_SZ],
                             unsigned char mac[WOLFSSL_TICKET_MAC_SZ], int seal, unsigned char *ticket, int n, int *out_n, void *unused);

#endif
