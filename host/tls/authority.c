/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A certificate and a key file come in, an authority that can sign goes out; or both files are made. What is wrong with them is told in
 * sentences that name the file. Never repairs a file, never overwrites one.
 */
#include "host/tls/authority.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/tls/issuer.h"
#include "host/tls/material.h"

#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/sha256.h>

#define DAY INT64_C(86400)
#define CA_DAYS 3650

/* ---- making one ------------------------------------------------------------------------------------------------ */

static int random_serial(uint8_t serial[16])
{
    WC_RNG rng;
    if (wc_InitRng(&rng) != 0)
        return -SOTH_EIO;
    int r = wc_RNG_GenerateBlock(&rng, serial, 16);
    wc_FreeRng(&rng);
    serial[0] = (uint8_t)((serial[0] & 0x3f) | 0x40);
    return r == 0 ? SOTH_OK : -SOTH_EIO;
}

static int write_material(const struct authority_config *config, const struct private_key *key, const struct der *cert, char *err,
                          size_t err_size)
{
    size_t n;
    const uint8_t *pkcs8 = private_key_pkcs8(key, &n);
    char *key_pem = material_pem(pkcs8, n, PKCS8_PRIVATEKEY_TYPE);
    char *cert_pem = material_pem(cert->p, cert->len, CERT_TYPE);
    int r = -SOTH_ENOMEM;
    if (!key_pem || !cert_pem) {
        snprintf(err, err_size, "out of memory while making a CA");
        goto out;
    }
    r = material_write(config->key_path, 0600, key_pem, strlen(key_pem), err, err_size);
    if (r < 0)
        goto out;
    r = material_write(config->cert_path, 0644, cert_pem, strlen(cert_pem), err, err_size);
    if (r < 0)
        unlink(config->key_path);
out:
    if (key_pem)
        explicit_bzero(key_pem, strlen(key_pem));
    free(key_pem);
    free(cert_pem);
    return r;
}

int authority_create(const struct authority_config *config, char *err, size_t err_size)
{
    uint8_t bytes[CERT_DER_MAX];
    struct der cert = {.p = bytes, .cap = sizeof bytes};
    int64_t now = time(NULL);
    struct cert_terms terms = {.not_before = now - 2 * DAY, .not_after = now + CA_DAYS * DAY};
    const char *taken = material_exists(config->key_path) ? config->key_path : config->cert_path;
    if (material_exists(taken)) {
        snprintf(err, err_size, "%s: exists already; move it away to make a new CA", taken);
        return -SOTH_EINVALID;
    }
    struct private_key *key = private_key_new(KEY_P256);
    if (!key || random_serial(terms.serial) < 0 ||
        cert_make_ca(key, config->common_name, config->organization, &terms, &cert) < 0) {
        snprintf(err, err_size, "a CA named \"%.64s\" cannot be made: no randomness, no memory, or a name that is too long",
                 config->common_name);
        private_key_free(key);
        return -SOTH_ETLS;
    }
    int r = write_material(config, key, &cert, err, err_size);
    private_key_free(key);
    return r;
}

/* ---- loading one ----------------------------------------------------------------------------------------------- */

static int load_certificate(struct authority *a, const char *path, char *err, size_t err_size)
{
    char *pem;
    size_t n;
    int64_t now = time(NULL);
    int r = material_read(path, 0, &pem, &n, err, err_size);
    if (r < 0)
        return r;
    r = material_certificates(pem, n, &a->chain, &a->chain_size, &a->cert_size);
    free(pem);
    if (r < 0 || cert_parse(a->chain, a->cert_size, &a->cert) < 0) {
        snprintf(err, err_size, "%s: is not a PEM certificate", path);
        return -SOTH_EINVALID;
    }
    if (!a->cert.is_ca || !a->cert.may_sign)
        snprintf(err, err_size, "%s: is not a CA certificate that may sign others (basicConstraints CA:TRUE, keyUsage keyCertSign)", path);
    else if (now > a->cert.not_after)
        snprintf(err, err_size, "%s: has expired; move it and its key away to have a new one made, or give another one", path);
    else if (now < a->cert.not_before)
        snprintf(err, err_size, "%s: is not valid yet; check this machine's clock", path);
    else
        return SOTH_OK;
    return -SOTH_EINVALID;
}

static struct private_key *load_key(const char *path, char *err, size_t err_size)
{
    char *pem;
    size_t n;
    const char *fault;
    if (material_read(path, 1, &pem, &n, err, err_size) < 0)
        return NULL;
    struct private_key *key = private_key_parse(pem, n, &fault);
    if (!key)
        snprintf(err, err_size, "%s: cannot be used as a private key: %s", path, fault);
    explicit_bzero(pem, n);
    free(pem);
    return key;
}

static int check_pair(const struct authority *a, const struct authority_config *config, char *err, size_t err_size)
{
    size_t n;
    const uint8_t *spki = private_key_spki(a->key, &n);
    if (n == a->cert.spki.n && memcmp(spki, a->cert.spki.p, n) == 0)
        return SOTH_OK;
    snprintf(err, err_size, "%s: is not the key of the certificate %s; give the two files that belong together", config->key_path,
             config->cert_path);
    return -SOTH_EINVALID;
}

/* Both files, or with AUTHORITY_CREATE neither. */
static int find_files(const struct authority_config *config, unsigned flags, int *created, char *err, size_t err_size)
{
    int cert = material_exists(config->cert_path), key = material_exists(config->key_path);
    if (cert && key)
        return SOTH_OK;
    if (cert || key) {
        snprintf(err, err_size, "%s: is missing while %s exists; restore it, or remove both to have a new CA made",
                 cert ? config->key_path : config->cert_path, cert ? config->cert_path : config->key_path);
        return -SOTH_ENOENT;
    }
    if (!(flags & AUTHORITY_CREATE)) {
        snprintf(err, err_size, "%s: there is no CA; make one with `soth-mitm ca init`", config->cert_path);
        return -SOTH_ENOENT;
    }
    *created = 1;
    return authority_create(config, err, err_size);
}

/* Certificate and key, no leaves yet. */
static struct authority *load(const struct authority_config *config, char *err, size_t err_size)
{
    struct authority *a = calloc(1, sizeof *a);
    if (!a || wc_InitRng(&a->rng) != 0) {
        snprintf(err, err_size, "the CA cannot be loaded: out of memory or no randomness");
        free(a);
        return NULL;
    }
    pthread_mutex_init(&a->signing, NULL);
    a->refs = 1;
    a->leaf_days = config->leaf_days ? config->leaf_days : 30;
    a->leaf_cache_capacity = config->leaf_cache_capacity;
    a->rsa_leaves = config->rsa_leaves;
    if (load_certificate(a, config->cert_path, err, err_size) == SOTH_OK)
        a->key = load_key(config->key_path, err, err_size);
    if (a->key && check_pair(a, config, err, err_size) == SOTH_OK)
        return a;
    authority_free(a);
    return NULL;
}

static struct authority *prepare_leaves(struct authority *a, char *err, size_t err_size)
{
    if (!a)
        return NULL;
    a->leaf_key = private_key_new(a->rsa_leaves ? KEY_RSA2048 : KEY_P256);
    a->cache = leaf_cache_new(a->leaf_cache_capacity);
    if (a->leaf_key && a->cache)
        return a;
    snprintf(err, err_size, "the CA cannot be loaded: out of memory or no randomness");
    authority_free(a);
    return NULL;
}

struct authority *authority_open(const struct authority_config *config, unsigned flags, int *created, char *err, size_t err_size)
{
    int made = 0;
    err[0] = '\0';
    if (find_files(config, flags, &made, err, err_size) < 0)
        return NULL;
    struct authority *a = prepare_leaves(load(config, err, err_size), err, err_size);
    if (a && created)
        *created = made;
    return a;
}

static int is_same(const struct authority *a, const struct authority *b)
{
    size_t n, m;
    const uint8_t *p = private_key_pkcs8(a->key, &n), *q = private_key_pkcs8(b->key, &m);
    return n == m && memcmp(p, q, n) == 0 && a->chain_size == b->chain_size && memcmp(a->chain, b->chain, a->chain_size) == 0 &&
           a->leaf_days == b->leaf_days && a->leaf_cache_capacity == b->leaf_cache_capacity && a->rsa_leaves == b->rsa_leaves;
}

struct authority *authority_renew(struct authority *previous, const struct authority_config *config, char *err, size_t err_size)
{
    err[0] = '\0';
    struct authority *a = find_files(config, 0, NULL, err, err_size) < 0 ? NULL : load(config, err, err_size);
    if (!a || !is_same(a, previous))
        return prepare_leaves(a, err, err_size);
    authority_free(a);
    previous->refs++;
    return previous;
}

void authority_free(struct authority *a)
{
    if (!a || --a->refs > 0)
        return;
    leaf_cache_free(a->cache);
    private_key_free(a->leaf_key);
    private_key_free(a->key);
    free(a->chain);
    wc_FreeRng(&a->rng);
    pthread_mutex_destroy(&a->signing);
    free(a);
}

/* ---- describing one -------------------------------------------------------------------------------------------- */

static void time_text(int64_t seconds, char out[32])
{
    struct tm tm = {0};
    time_t t = (time_t)seconds;
    gmtime_r(&t, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void authority_describe(const struct authority *a, struct authority_info *out)
{
    uint8_t digest[WC_SHA256_DIGEST_SIZE] = {0};
    memset(out, 0, sizeof *out);
    cert_name_text(a->cert.subject, out->subject, sizeof out->subject);
    wc_Sha256Hash(a->chain, (word32)a->cert_size, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out->sha256 + 3 * i, 4, "%02X%s", digest[i], i + 1 < sizeof digest ? ":" : "");
    time_text(a->cert.not_before, out->not_before);
    time_text(a->cert.not_after, out->not_after);
    out->cert_der = a->chain;
    out->cert_der_size = a->cert_size;
}

char *authority_pem(const struct authority *a, int key)
{
    size_t n;
    const uint8_t *pkcs8 = private_key_pkcs8(a->key, &n);
    return key ? material_pem(pkcs8, n, PKCS8_PRIVATEKEY_TYPE) : material_pem(a->chain, a->cert_size, CERT_TYPE);
}
