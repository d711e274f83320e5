/* SPDX-License-Identifier: MPL-2.0 */
/* What the files of this room share about origins: whom we trust, what may be resumed. Internal to this room. */
#ifndef HOST_TLS_TRUST_H
#define HOST_TLS_TRUST_H

#include <pthread.h>
#include <stdatomic.h>

#include "host/tls/profile.h"
#include "host/tls/session.h"

struct trust_lane {
    pthread_mutex_t lock;
    WOLFSSL_CTX *tls;
};

struct client_identities;

struct trust {
    atomic_uint refs;
    uint32_t skip_verify;
    uint32_t profile; /* enum tls_profile */
    uint32_t revocation, client_auth;
    int has_crls;
    struct client_identities *identities; /* NULL: none are shown */
    struct keylog *keylog;
    unsigned lane_count;
    struct trust_lane *lanes;
    struct resume_store *store;
};

struct trust *trust_ref(struct trust *trust);
/* The calling thread's. A session keeps it: it may do its handshake from any thread. */
struct trust_lane *trust_lane(struct trust *trust);
/* wolfSSL_connect, alone in its lane; the verdict on the chain is in s->verify_code. */
int trust_handshake(struct session *s);

/* chain_check.c: a chain that wolfSSL found good, leaf first. 0, or the wolfSSL error for what the profile does not accept in it. */
int chain_check(const WOLFSSL_BUFFER_INFO *certs, int n, uint32_t profile);

/* revocation.c */
int revocation_load(WOLFSSL_CTX *tls, const char *path, char *err, size_t err_size); /* 0 or negative */
int revocation_check(WOLFSSL_CTX *tls, const WOLFSSL_BUFFER_INFO *leaf);             /* 0, or the wolfSSL error */

/* resume_store.c */
struct resume_store *resume_store_new(uint32_t capacity);
void resume_store_free(struct resume_store *store);
/* A cached session for the key becomes the caller's (TLS 1.3 tickets are for one use, RFC 8446 C.4); NULL when there is none. */
WOLFSSL_SESSION *resume_store_take(struct resume_store *store, const uint8_t *key);
/* Takes the session over. */
void resume_store_keep(struct resume_store *store, const uint8_t *key, WOLFSSL_SESSION *resumable);

#endif
