/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Configuration comes in, one shared client WOLFSSL_CTX with its roots goes out, and a bounded store of sessions to resume: taken out
 * to be offered, put back when a connection has earned a new one. The newest for a key is taken first, the oldest of all is dropped.
 * Certificates are judged by wolfSSL; here the verdict's number is kept, and overruled only by skip_verify.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tls/material.h"
#include "host/tls/profile.h"
#include "host/tls/session_state.h"

#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

struct kept {
    struct kept *chain;         /* same bucket, newest first */
    struct kept *newer, *older; /* by age */
    WOLFSSL_SESSION *resumable;
    uint8_t key[SESSION_KEY_SIZE];
};

struct trust {
    atomic_uint refs;
    WOLFSSL_CTX *tls;
    uint32_t skip_verify;
    pthread_mutex_t lock; /* of all below */
    struct kept **buckets;
    size_t bucket_count; /* a power of two */
    struct kept *newest, *oldest;
    size_t count, capacity;
};

/* A wolfSSL that is built to look like OpenSSL speaks in X509_V_ERR_ numbers, which are positive; ours are wolfSSL's own. */
static int native_code(int code)
{
    static const struct {
        int theirs, ours;
    } codes[] = {{2, ASN_NO_SIGNER_E}, {7, ASN_SIG_CONFIRM_E}, {9, ASN_BEFORE_DATE_E}, {10, ASN_AFTER_DATE_E}, {13, ASN_BEFORE_DATE_E},
                 {14, ASN_AFTER_DATE_E}, {18, ASN_SELF_SIGNED_E}, {19, ASN_SELF_SIGNED_E}, {20, ASN_NO_SIGNER_E}, {23, CRL_CERT_REVOKED}, {25, ASN_PATHLEN_SIZE_E},
                 {62, DOMAIN_NAME_MISMATCH}};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i].theirs == code)
            return codes[i].ours;
    return code;
}

/* Called once for a good chain, with what is wrong for a bad one. */
static int judge(int ok, WOLFSSL_X509_STORE_CTX *store)
{
    struct session *s = store->userCtx;
    if (!ok && s->verify_code == 0)
        s->verify_code = native_code(store->error);
    return ok || trust_skips_verify(s->trust);
}

static int load_extra(WOLFSSL_CTX *tls, const char *path, char *err, size_t err_size)
{
    char *pem;
    size_t n;
    if (material_read_roots(path, &pem, &n, err, err_size) < 0)
        return -SOTH_EIO;
    int r = wolfSSL_CTX_load_verify_buffer(tls, (const uint8_t *)pem, (long)n, WOLFSSL_FILETYPE_PEM);
    free(pem);
    if (r == WOLFSSL_SUCCESS)
        return SOTH_OK;
    snprintf(err, err_size, "%s: holds no PEM certificate of a CA that can be trusted (error %d)", path, r);
    return -SOTH_EINVALID;
}

/* One file of all roots where the system keeps one; wolfSSL's own way reads each of them three times (6 ms instead of 2). */
static int load_system(WOLFSSL_CTX *tls)
{
    static const char *const bundles[] = {
        "/etc/ssl/certs/ca-certificates.crt", /* Debian, Arch, Alpine */
        "/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora */
        "/etc/ssl/ca-bundle.pem",             /* openSUSE */
        "/etc/ssl/cert.pem",
    };
    for (size_t i = 0; i < sizeof bundles / sizeof bundles[0]; i++)
        if (wolfSSL_CTX_load_verify_locations_ex(tls, bundles[i], NULL, WOLFSSL_LOAD_FLAG_IGNORE_ERR | WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY) ==
            WOLFSSL_SUCCESS)
            return WOLFSSL_SUCCESS;
    return wolfSSL_CTX_load_system_CA_certs(tls);
}

static int load_roots(struct trust *trust, const struct trust_config *config, char *err, size_t err_size)
{
    if (config->use_system_store && load_system(trust->tls) != WOLFSSL_SUCCESS && !config->skip_verify) {
        snprintf(err, err_size, "the system's CA certificates cannot be loaded; install the package ca-certificates");
        return -SOTH_ENOENT;
    }
    if (config->extra_ca_file && config->extra_ca_file[0])
        return load_extra(trust->tls, config->extra_ca_file, err, err_size);
    return SOTH_OK;
}

struct trust *trust_new(const struct trust_config *config, char *err, size_t err_size)
{
    struct trust *trust = calloc(1, sizeof *trust);
    snprintf(err, err_size, "out of memory");
    if (!trust)
        return NULL;
    atomic_init(&trust->refs, 1);
    pthread_mutex_init(&trust->lock, NULL);
    trust->skip_verify = config->skip_verify;
    trust->capacity = config->session_cache;
    trust->bucket_count = 16;
    while (trust->bucket_count < trust->capacity && trust->bucket_count < 65536)
        trust->bucket_count *= 2;
    trust->buckets = calloc(trust->bucket_count, sizeof(struct kept *));
    trust->tls = profile_client();
    if (trust->buckets && trust->tls && load_roots(trust, config, err, err_size) == 0) {
        wolfSSL_CTX_set_verify(trust->tls, WOLFSSL_VERIFY_PEER, judge);
        return trust;
    }
    trust_free(trust);
    return NULL;
}

static struct kept **bucket_of(struct trust *trust, const uint8_t *key)
{
    return &trust->buckets[(key[0] | (size_t)key[1] << 8) & (trust->bucket_count - 1)];
}

/* Out of all lists; the caller frees it. */
static void unlink_kept(struct trust *trust, struct kept *k)
{
    struct kept **at = bucket_of(trust, k->key);
    while (*at != k)
        at = &(*at)->chain;
    *at = k->chain;
    *(k->newer ? &k->newer->older : &trust->newest) = k->older;
    *(k->older ? &k->older->newer : &trust->oldest) = k->newer;
    trust->count--;
}

void trust_free(struct trust *trust)
{
    if (!trust || atomic_fetch_sub_explicit(&trust->refs, 1, memory_order_acq_rel) != 1)
        return;
    while (trust->newest) {
        struct kept *k = trust->newest;
        unlink_kept(trust, k);
        wolfSSL_SESSION_free(k->resumable);
        free(k);
    }
    if (trust->tls)
        wolfSSL_CTX_free(trust->tls);
    free(trust->buckets);
    pthread_mutex_destroy(&trust->lock);
    free(trust);
}

struct trust *trust_ref(struct trust *trust)
{
    atomic_fetch_add_explicit(&trust->refs, 1, memory_order_relaxed);
    return trust;
}

WOLFSSL_CTX *trust_context(const struct trust *trust)
{
    return trust->tls;
}

uint32_t trust_skips_verify(const struct trust *trust)
{
    return trust->skip_verify;
}

WOLFSSL_SESSION *trust_take(struct trust *trust, const uint8_t key[SESSION_KEY_SIZE])
{
    WOLFSSL_SESSION *resumable = NULL;
    pthread_mutex_lock(&trust->lock);
    struct kept *k = *bucket_of(trust, key);
    while (k && memcmp(k->key, key, SESSION_KEY_SIZE) != 0)
        k = k->chain;
    if (k) {
        unlink_kept(trust, k);
        resumable = k->resumable;
    }
    pthread_mutex_unlock(&trust->lock);
    free(k);
    return resumable;
}

void trust_keep(struct trust *trust, const uint8_t key[SESSION_KEY_SIZE], WOLFSSL_SESSION *resumable)
{
    struct kept *dropped = NULL;
    struct kept *k = trust->capacity > 0 ? malloc(sizeof *k) : NULL;
    if (!k) {
        wolfSSL_SESSION_free(resumable);
        return;
    }
    *k = (struct kept){.resumable = resumable};
    memcpy(k->key, key, SESSION_KEY_SIZE);
    pthread_mutex_lock(&trust->lock);
    if (trust->count == trust->capacity) {
        dropped = trust->oldest;
        unlink_kept(trust, dropped);
    }
    struct kept **bucket = bucket_of(trust, key);
    k->chain = *bucket;
    *bucket = k;
    k->older = trust->newest;
    *(k->older ? &k->older->newer : &trust->oldest) = k;
    trust->newest = k;
    trust->count++;
    pthread_mutex_unlock(&trust->lock);
    if (dropped) {
        wolfSSL_SESSION_free(dropped->resumable);
        free(dropped);
    }
}
