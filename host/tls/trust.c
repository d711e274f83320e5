/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Configuration comes in, client WOLFSSL_CTXs with their roots go out. Certificates are judged by wolfSSL and by chain_check; here the
 * verdict's number is kept, and overruled only by skip_verify.
 *
 * wolfSSL keeps every intermediate CA of a chain that it found good, for all sessions of a context. Chains are judged by what they bring
 * themselves, whoever asked before: so what was kept is dropped after each handshake, under a lock that no other handshake of that context
 * is in. There are several contexts ("lanes"), one per thread, so that nobody waits for that lock.
 */
#include "host/tls/trust.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/tls/client_identity.h"
#include "host/tls/material.h"
#include "host/tls/session_state.h"

#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#define LANES_MOST 16u

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

/* What the library does not look at. The list of the leaf's CA it does, but not where a staple was announced. */
static int judge_more(const struct session *s, const WOLFSSL_X509_STORE_CTX *store)
{
    int code = chain_check(store->certs, store->totalCerts, s->trust->profile);
    return code == 0 && s->trust->has_crls ? revocation_check(s->lane->tls, &store->certs[0]) : code;
}

/* Called once for a good chain, with what is wrong for a bad one. */
static int judge(int ok, WOLFSSL_X509_STORE_CTX *store)
{
    struct session *s = store->userCtx;
    int code = ok ? 0 : native_code(store->error);
    if (code == CRL_MISSING)
        code = 0;
    if (code == 0 && store->error_depth == 0)
        code = judge_more(s, store);
    s->chained = store->totalCerts > 1;
    if (code != 0 && s->verify_code == 0)
        s->verify_code = code;
    return code == 0 || s->trust->skip_verify;
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

static int load_roots(WOLFSSL_CTX *tls, const struct trust_config *config, char *err, size_t err_size)
{
    if (config->use_system_store && load_system(tls) != WOLFSSL_SUCCESS && !config->skip_verify) {
        snprintf(err, err_size, "the system's CA certificates cannot be loaded; install the package ca-certificates");
        return -SOTH_ENOENT;
    }
    if (config->extra_ca_file && config->extra_ca_file[0])
        return load_extra(tls, config->extra_ca_file, err, err_size);
    return SOTH_OK;
}

#ifdef HAVE_CRL_IO
/* Some builds would fetch lists from where certificates say, and wait for them. */
static int no_lookup(WOLFSSL_CRL *crl, const char *url, int n)
{
    (void)crl;
    (void)url;
    (void)n;
    return -1;
}
#endif

static int open_revocation(WOLFSSL_CTX *tls, const struct trust_config *config, char *err, size_t err_size)
{
    bool good = (config->crl_count == 0 || wolfSSL_CTX_EnableCRL(tls, WOLFSSL_CRL_CHECKALL) == WOLFSSL_SUCCESS) &&
                (config->revocation == REVOCATION_OFF || wolfSSL_CTX_EnableOCSPStapling(tls) == WOLFSSL_SUCCESS) &&
                (config->revocation != REVOCATION_ENFORCE || wolfSSL_CTX_EnableOCSPMustStaple(tls) == WOLFSSL_SUCCESS);
    if (!good) {
        snprintf(err, err_size, "the TLS library was built without revocation lists or OCSP stapling: set revocation_policy_mode: off");
        return -SOTH_EINVALID;
    }
#ifdef HAVE_CRL_IO
    wolfSSL_CTX_SetCRL_IOCb(tls, no_lookup);
#endif
    for (size_t i = 0; i < config->crl_count; i++)
        if (revocation_load(tls, config->crl_files[i], err, err_size) < 0)
            return -SOTH_EINVALID;
    return SOTH_OK;
}

static int open_lane(struct trust_lane *lane, const struct trust_config *config, char *err, size_t err_size)
{
    pthread_mutex_init(&lane->lock, NULL);
    lane->tls = profile_client(config->profile, config->min_rsa_bits);
    if (!lane->tls) {
        snprintf(err, err_size, "out of memory");
        return -SOTH_ENOMEM;
    }
    wolfSSL_CTX_set_verify(lane->tls, WOLFSSL_VERIFY_PEER, judge);
    int r = load_roots(lane->tls, config, err, err_size);
    return r < 0 ? r : open_revocation(lane->tls, config, err, err_size);
}

struct trust *trust_new(const struct trust_config *config, char *err, size_t err_size)
{
    struct trust *trust = calloc(1, sizeof *trust);
    unsigned lanes = config->lanes == 0 ? 1 : config->lanes < LANES_MOST ? config->lanes : LANES_MOST;
    snprintf(err, err_size, "out of memory");
    if (!trust)
        return NULL;
    atomic_init(&trust->refs, 1);
    trust->skip_verify = config->skip_verify;
    trust->profile = config->profile;
    trust->revocation = config->revocation;
    trust->client_auth = config->client_auth;
    trust->has_crls = config->crl_count > 0;
    trust->keylog = config->keylog;
    if (config->client_auth != CLIENT_AUTH_NEVER &&
        !(trust->identities = client_identities_new(config->identities, config->identity_count, err, err_size))) {
        trust_free(trust);
        return NULL;
    }
    trust->store = resume_store_new(config->session_cache);
    trust->lanes = trust->store ? calloc(lanes, sizeof *trust->lanes) : NULL;
    while (trust->lanes && trust->lane_count < lanes)
        if (open_lane(&trust->lanes[trust->lane_count++], config, err, err_size) < 0)
            break;
        else if (trust->lane_count == lanes)
            return trust;
    trust_free(trust);
    return NULL;
}

void trust_free(struct trust *trust)
{
    if (!trust || atomic_fetch_sub_explicit(&trust->refs, 1, memory_order_acq_rel) != 1)
        return;
    resume_store_free(trust->store);
    client_identities_free(trust->identities);
    for (unsigned i = 0; i < trust->lane_count; i++) {
        if (trust->lanes[i].tls)
            wolfSSL_CTX_free(trust->lanes[i].tls);
        pthread_mutex_destroy(&trust->lanes[i].lock);
    }
    free(trust->lanes);
    free(trust);
}

struct trust *trust_ref(struct trust *trust)
{
    atomic_fetch_add_explicit(&trust->refs, 1, memory_order_relaxed);
    return trust;
}

struct trust_lane *trust_lane(struct trust *trust)
{
    static atomic_uint threads;
    static _Thread_local unsigned number; /* of this thread, from 1 */
    if (number == 0)
        number = 1 + atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed);
    return &trust->lanes[number % trust->lane_count];
}

int trust_handshake(struct session *s)
{
    struct trust_lane *lane = s->lane;
    pthread_mutex_lock(&lane->lock);
    size_t before = s->flight;
    s->chained = 0;
    s->flight = 0;
    int r = wolfSSL_connect(s->tls);
    if (s->flight == 0)
        s->flight = before;
    if (s->chained)
        wolfSSL_CertManagerUnloadIntermediateCerts(wolfSSL_CTX_GetCertManager(lane->tls));
    pthread_mutex_unlock(&lane->lock);
    return r;
}
