/* SPDX-License-Identifier: MPL-2.0 */
/* The insides of struct authority, shared by authority.c (files, description) and leaf.c (issuing, cache). Internal to this room. */
#ifndef HOST_TLS_ISSUER_H
#define HOST_TLS_ISSUER_H

#include <pthread.h>

#include "host/tls/authority.h"
#include "host/tls/cert.h"
#include "host/tls/wolf.h"

struct leaf_cache;

struct authority {
    unsigned refs; /* one thread's business */
    uint8_t *chain; /* the CA's certificate, then whatever else its file holds, DER */
    size_t chain_size, cert_size;
    struct cert_view cert; /* points into chain */
    struct private_key *key;
    struct private_key *leaf_key; /* one for all leaves */
    pthread_mutex_t signing;      /* guards key and rng */
    WC_RNG rng;
    uint32_t leaf_days, leaf_cache_capacity, rsa_leaves;
    struct leaf_cache *cache;
};

struct leaf_cache *leaf_cache_new(uint32_t capacity);
void leaf_cache_free(struct leaf_cache *cache);

#endif
