/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The insides of struct authority. An issuer is one CA certificate with its key and the leaves that it has signed; it never changes. An
 * authority has one at a time, counted: who signs with it keeps it while another takes its place. Internal to this room.
 */
#ifndef HOST_TLS_ISSUER_H
#define HOST_TLS_ISSUER_H

#include <pthread.h>
#include <stdatomic.h>

#include "host/tls/authority.h"
#include "host/tls/ca_files.h"
#include "host/tls/cert.h"
#include "host/tls/wolf.h"

struct leaf_cache;

struct issuer {
    atomic_uint refs;
    uint8_t *chain; /* the CA's certificate, then whatever else its file holds, DER */
    size_t chain_size, cert_size;
    struct cert_view cert; /* points into chain */
    struct private_key *key;
    struct private_key *leaf_key; /* one for all leaves; NULL until issuer_prepare */
    pthread_mutex_t signing;      /* guards key and rng */
    WC_RNG rng;
    uint32_t leaf_days, leaf_cache_capacity, rsa_leaves;
    uint8_t *crl; /* its revocation list, DER; guarded by signing */
    size_t crl_size;
    int64_t crl_made;
    struct leaf_cache *cache;
};

struct authority {
    unsigned refs; /* one thread's business */
    struct ca_files files;
    struct authority_config config; /* its texts are ours */
    char *common_name, *organization;
    int prepared;                   /* the successor is ready */
    pthread_mutex_t lock;           /* guards issuer and trusted */
    struct issuer *issuer;
    struct ca_certificates trusted; /* around it; guarded by the lock */
};

#define ISSUER_LOCKED 1u  /* the caller has the files' lock */
#define ISSUER_EXPIRED 2u /* one that has expired will do */
/* The certificate and key in the files, checked, without leaves yet. Ends a rotation that was cut short, under the files' lock. NULL with err. */
struct issuer *issuer_load(const struct ca_files *files, const struct authority_config *config, unsigned flags, char *err, size_t err_size);
/* What it takes to sign leaves: their key and a place for them. 0 or negative with err. */
int issuer_prepare(struct issuer *issuer, char *err, size_t err_size);
void issuer_put(struct issuer *issuer);
int issuer_is_own(const struct issuer *issuer); /* self-signed: a successor can be made */
/* Its revocation list of now, DER, malloc'd; -SOTH_ENOENT where its certificate does not let it sign one. Any thread. */
int issuer_crl(struct issuer *issuer, int64_t now, uint8_t **out, size_t *size);
/* The authority's issuer of now; a reference for the caller. */
struct issuer *authority_issuer(struct authority *authority);

#define CA_BACKDATED (2 * INT64_C(86400)) /* clocks of clients that are behind */
int ca_certificates_add(struct ca_certificates *list, const struct ca_certificate *certificate); /* a copy */
void authority_fingerprint(const uint8_t *der, size_t n, char out[96]);

struct leaf_cache *leaf_cache_new(uint32_t capacity);
void leaf_cache_free(struct leaf_cache *cache);

/* PKCS#12 of certificates and perhaps the issuer's key, which then belongs to the first one; authority_p12 says the rest. */
int p12_make(const struct soth_span *certs, size_t count, struct issuer *key, WC_RNG *rng, const char *password, uint8_t **out, size_t *out_size);

#endif
