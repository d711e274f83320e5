/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A certificate and a key file come in, an issuer that can sign goes out. What is wrong with them is told in sentences that name the file.
 * Never repairs a file; only a rotation that was cut short between its two last steps is ended here.
 */
#include "host/tls/issuer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/tls/material.h"

static int load_certificate(struct issuer *a, const char *path, unsigned flags, char *err, size_t err_size)
{
    char *pem;
    size_t n;
    int64_t now = time(NULL);
    int r = material_read(path, 0, &pem, &n, err, err_size);
    if (r < 0)
        return r;
    free(a->chain);
    r = material_certificates(pem, n, &a->chain, &a->chain_size, &a->cert_size);
    bool swapped = r < 0 && strstr(pem, " PRIVATE KEY-----") && !strstr(pem, "-----BEGIN CERTIFICATE-----");
    explicit_bzero(pem, n);
    free(pem);
    if (r < 0)
        a->chain = NULL;
    if (swapped) {
        snprintf(err, err_size, "%s: holds a private key where the CA's certificate is expected: are the two files swapped?", path);
        return -SOTH_EINVALID;
    }
    if (r < 0 || cert_parse(a->chain, a->cert_size, &a->cert) < 0) {
        snprintf(err, err_size, "%s: is not a PEM certificate, or not a whole one", path);
        return -SOTH_EINVALID;
    }
    if (!a->cert.is_ca || !a->cert.may_sign)
        snprintf(err, err_size, "%s: is not a CA certificate that may sign others (basicConstraints CA:TRUE, keyUsage keyCertSign)", path);
    else if (now > a->cert.not_after && !(flags & ISSUER_EXPIRED))
        snprintf(err, err_size, "%s: has expired; `soth-mitm ca rotate` makes its successor, or give another one", path);
    else if (now < a->cert.not_before)
        snprintf(err, err_size, "%s: is not valid yet; check this machine's clock", path);
    else
        return SOTH_OK;
    return -SOTH_EINVALID;
}

static int is_pair(const struct issuer *a)
{
    size_t n;
    const uint8_t *spki = private_key_spki(a->key, &n);
    return n == a->cert.spki.n && memcmp(spki, a->cert.spki.p, n) == 0;
}

int issuer_is_own(const struct issuer *a)
{
    return a->cert.subject.n == a->cert.issuer.n && memcmp(a->cert.subject.p, a->cert.issuer.p, a->cert.subject.n) == 0;
}

static int load_pair(struct issuer *a, const struct ca_files *f, unsigned flags, char *err, size_t err_size)
{
    int r = load_certificate(a, f->cert, flags, err, err_size);
    if (r < 0)
        return r;
    private_key_free(a->key);
    a->key = NULL;
    a->key = ca_files_read_key(f, f->key, err, err_size);
    return a->key ? SOTH_OK : -SOTH_EINVALID;
}

/* Stopped after the key and before the certificate: the successor's certificate is there, and it is this key's. Read under the lock. */
static int end_rotation(struct issuer *a, const struct ca_files *f, unsigned flags, char *err, size_t err_size)
{
    struct issuer next = {.key = a->key};
    char why[256];
    int r = load_pair(a, f, flags, err, err_size);
    if (r < 0 || is_pair(a))
        return r;
    next.key = a->key;
    if (material_exists(f->next_cert) && load_certificate(&next, f->next_cert, flags, why, sizeof why) == 0 && is_pair(&next))
        r = ca_files_switch(f, err, err_size);
    free(next.chain);
    return r < 0 ? r : load_pair(a, f, flags, err, err_size);
}

static int check_pair(struct issuer *a, const struct ca_files *f, unsigned flags, char *err, size_t err_size)
{
    if (!is_pair(a)) {
        int locked = flags & ISSUER_LOCKED ? 0 : ca_files_lock(f, err, err_size);
        int r = locked < 0 ? locked : end_rotation(a, f, flags, err, err_size);
        if (!(flags & ISSUER_LOCKED))
            ca_files_unlock(locked);
        if (r < 0)
            return r;
    }
    if (is_pair(a))
        return SOTH_OK;
    snprintf(err, err_size, "%s: is not the key of the certificate %s; give the two files that belong together", f->key, f->cert);
    return -SOTH_EINVALID;
}

struct issuer *issuer_load(const struct ca_files *f, const struct authority_config *config, unsigned flags, char *err, size_t err_size)
{
    struct issuer *a = calloc(1, sizeof *a);
    if (!a || wc_InitRng(&a->rng) != 0) {
        snprintf(err, err_size, "the CA cannot be loaded: out of memory or no randomness");
        free(a);
        return NULL;
    }
    pthread_mutex_init(&a->signing, NULL);
    atomic_init(&a->refs, 1);
    a->leaf_days = config->leaf_days ? config->leaf_days : 30;
    a->leaf_cache_capacity = config->leaf_cache_capacity;
    a->rsa_leaves = config->rsa_leaves;
    if (load_pair(a, f, flags, err, err_size) == 0 && check_pair(a, f, flags, err, err_size) == 0)
        return a;
    issuer_put(a);
    return NULL;
}

int issuer_prepare(struct issuer *a, char *err, size_t err_size)
{
    a->leaf_key = private_key_new(a->rsa_leaves ? KEY_RSA2048 : KEY_P256);
    a->cache = leaf_cache_new(a->leaf_cache_capacity);
    if (a->leaf_key && a->cache)
        return SOTH_OK;
    snprintf(err, err_size, "the CA cannot be loaded: out of memory or no randomness");
    return -SOTH_ENOMEM;
}

void issuer_put(struct issuer *a)
{
    if (!a || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
        return;
    leaf_cache_free(a->cache);
    private_key_free(a->leaf_key);
    private_key_free(a->key);
    free(a->chain);
    free(a->crl);
    wc_FreeRng(&a->rng);
    pthread_mutex_destroy(&a->signing);
    free(a);
}
