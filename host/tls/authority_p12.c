/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Certificates come in, a PKCS#12 file (RFC 7292) goes out: they lie in the clear, marked as trusted for Java, a key (when asked for) under
 * PBES2 with AES-256, all authenticated with HMAC-SHA-256. wolfCrypt's own maker cannot leave the key out.
 */
#include <stdlib.h>
#include <string.h>

#include "host/tls/issuer.h"

#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/pwdbased.h>

#define ITERATIONS 10000
#define PASSWORD_MAX 128u
#define KDF_FOR_MAC 3 /* RFC 7292 B.3 */

static const uint8_t oid_data[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01};
static const uint8_t oid_key_bag[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x02};
static const uint8_t oid_cert_bag[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03};
static const uint8_t oid_x509[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01};
static const uint8_t oid_local_key_id[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x15};
static const uint8_t oid_java_trusted[] = {0x60, 0x86, 0x48, 0x01, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 0x01, 0x01};
static const uint8_t oid_any_usage[] = {0x55, 0x1d, 0x25, 0x00};
static const uint8_t oid_sha256[] = {0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01};

/* An attribute with one value, which is a primitive. */
static void put_attribute(struct der *der, const uint8_t *oid, size_t oid_size, uint8_t tag, const void *value, size_t n)
{
    size_t sequence = der_open(der, DER_SEQUENCE);
    der_put(der, DER_OID, oid, oid_size);
    size_t set = der_open(der, DER_SET);
    der_put(der, tag, value, n);
    der_close(der, set);
    der_close(der, sequence);
}

/* id: of the key it belongs to; NULL = it is a certificate to trust. */
static void put_cert_bag(struct der *der, struct soth_span certificate, const uint8_t *id)
{
    size_t bag = der_open(der, DER_SEQUENCE);
    der_put(der, DER_OID, oid_cert_bag, sizeof oid_cert_bag);
    size_t value = der_open(der, DER_CONTEXT_CONSTRUCTED | 0), cert = der_open(der, DER_SEQUENCE);
    der_put(der, DER_OID, oid_x509, sizeof oid_x509);
    size_t tagged = der_open(der, DER_CONTEXT_CONSTRUCTED | 0);
    der_put(der, DER_OCTET_STRING, certificate.p, certificate.n);
    der_close(der, tagged);
    der_close(der, cert);
    der_close(der, value);
    size_t attributes = der_open(der, DER_SET);
    if (id)
        put_attribute(der, oid_local_key_id, sizeof oid_local_key_id, DER_OCTET_STRING, id, 20);
    else
        put_attribute(der, oid_java_trusted, sizeof oid_java_trusted, DER_OID, oid_any_usage, sizeof oid_any_usage);
    der_close(der, attributes);
    der_close(der, bag);
}

static int put_key_bag(struct der *der, struct issuer *a, const char *password, const uint8_t id[20])
{
    uint8_t sealed[CERT_DER_MAX + 512];
    word32 sealed_size = sizeof sealed;
    size_t n;
    const uint8_t *pkcs8 = private_key_pkcs8(a->key, &n);
    pthread_mutex_lock(&a->signing);
    int r = wc_EncryptPKCS8Key((byte *)pkcs8, (word32)n, sealed, &sealed_size, password, (int)strlen(password), PKCS5, PBES2, AES256CBCb,
                               NULL, 0, ITERATIONS, &a->rng, NULL);
    pthread_mutex_unlock(&a->signing);
    if (r <= 0)
        return -SOTH_ETLS;
    size_t bag = der_open(der, DER_SEQUENCE);
    der_put(der, DER_OID, oid_key_bag, sizeof oid_key_bag);
    size_t value = der_open(der, DER_CONTEXT_CONSTRUCTED | 0);
    der_raw(der, sealed, (size_t)r);
    der_close(der, value);
    size_t attributes = der_open(der, DER_SET);
    put_attribute(der, oid_local_key_id, sizeof oid_local_key_id, DER_OCTET_STRING, id, 20);
    der_close(der, attributes);
    der_close(der, bag);
    return SOTH_OK;
}

/* The AuthenticatedSafe: one ContentInfo of type data with all bags. */
static int put_safe(struct der *der, const struct soth_span *certs, size_t count, struct issuer *key, const char *password)
{
    uint8_t id[20];
    int r = SOTH_OK;
    if (key)
        private_key_id(key->key, id);
    size_t safe = der_open(der, DER_SEQUENCE), info = der_open(der, DER_SEQUENCE);
    der_put(der, DER_OID, oid_data, sizeof oid_data);
    size_t tagged = der_open(der, DER_CONTEXT_CONSTRUCTED | 0), octets = der_open(der, DER_OCTET_STRING);
    size_t bags = der_open(der, DER_SEQUENCE);
    for (size_t i = 0; i < count; i++)
        put_cert_bag(der, certs[i], key && i == 0 ? id : NULL);
    if (key)
        r = put_key_bag(der, key, password, id);
    der_close(der, bags);
    der_close(der, octets);
    der_close(der, tagged);
    der_close(der, info);
    der_close(der, safe);
    return r;
}

static int put_mac(struct der *der, WC_RNG *rng, const char *password, const struct der *safe)
{
    uint8_t salt[16], key[WC_SHA256_DIGEST_SIZE], mac[WC_SHA256_DIGEST_SIZE], wide[2 * PASSWORD_MAX + 2] = {0};
    const uint8_t iterations[2] = {ITERATIONS >> 8, ITERATIONS & 0xff};
    Hmac hmac;
    size_t n = strlen(password);
    for (size_t i = 0; i < n; i++) /* UTF-16, big-endian, with its final zero; ASCII is checked by the caller */
        wide[2 * i + 1] = (uint8_t)password[i];
    int r = wc_RNG_GenerateBlock(rng, salt, sizeof salt);
    if (r == 0)
        r = wc_PKCS12_PBKDF(key, wide, (int)(2 * n + 2), salt, sizeof salt, ITERATIONS, sizeof key, WC_SHA256, KDF_FOR_MAC);
    if (r != 0 || wc_HmacInit(&hmac, NULL, INVALID_DEVID) != 0)
        return -SOTH_ETLS;
    r = wc_HmacSetKey(&hmac, WC_SHA256, key, sizeof key);
    if (r == 0)
        r = wc_HmacUpdate(&hmac, safe->p, (word32)safe->len);
    if (r == 0)
        r = wc_HmacFinal(&hmac, mac);
    wc_HmacFree(&hmac);
    explicit_bzero(wide, sizeof wide);
    explicit_bzero(key, sizeof key);
    size_t data = der_open(der, DER_SEQUENCE), info = der_open(der, DER_SEQUENCE), algorithm = der_open(der, DER_SEQUENCE);
    der_put(der, DER_OID, oid_sha256, sizeof oid_sha256);
    der_put(der, 0x05, NULL, 0);
    der_close(der, algorithm);
    der_put(der, DER_OCTET_STRING, mac, sizeof mac);
    der_close(der, info);
    der_put(der, DER_OCTET_STRING, salt, sizeof salt);
    der_unsigned(der, iterations, sizeof iterations);
    der_close(der, data);
    return r == 0 ? SOTH_OK : -SOTH_ETLS;
}

static int usable_password(const char *password)
{
    size_t n = strlen(password);
    for (size_t i = 0; i < n; i++)
        if (password[i] < 0x20 || password[i] > 0x7e)
            return 0;
    return n <= PASSWORD_MAX;
}

int p12_make(const struct soth_span *certs, size_t count, struct issuer *key, WC_RNG *rng, const char *password, uint8_t **out, size_t *out_size)
{
    static const uint8_t version = 3;
    size_t cap = 2 * CERT_DER_MAX;
    for (size_t i = 0; i < count; i++)
        cap += certs[i].n + 128;
    struct der safe = {.p = malloc(cap), .cap = cap}, pfx = {.p = malloc(cap), .cap = cap};
    int r = -SOTH_ENOMEM;
    if (!safe.p || !pfx.p)
        goto out;
    r = usable_password(password) ? put_safe(&safe, certs, count, key, password) : -SOTH_EINVALID;
    if (r < 0)
        goto out;
    size_t whole = der_open(&pfx, DER_SEQUENCE);
    der_unsigned(&pfx, &version, 1);
    size_t info = der_open(&pfx, DER_SEQUENCE);
    der_put(&pfx, DER_OID, oid_data, sizeof oid_data);
    size_t tagged = der_open(&pfx, DER_CONTEXT_CONSTRUCTED | 0);
    der_put(&pfx, DER_OCTET_STRING, safe.p, safe.len);
    der_close(&pfx, tagged);
    der_close(&pfx, info);
    r = put_mac(&pfx, rng, password, &safe);
    der_close(&pfx, whole);
    if (r == 0 && (safe.failed || pfx.failed))
        r = -SOTH_ELIMIT;
out:
    free(safe.p);
    if (r < 0) {
        free(pfx.p);
        return r;
    }
    *out = pfx.p;
    *out_size = pfx.len;
    return SOTH_OK;
}

int authority_p12(struct authority *authority, int with_key, const char *password, uint8_t **out, size_t *out_size)
{
    WC_RNG rng;
    if (wc_InitRng(&rng) != 0)
        return -SOTH_EIO;
    struct issuer *issuer = authority_issuer(authority);
    struct soth_span cert = {(const char *)issuer->chain, issuer->cert_size};
    int r = p12_make(&cert, 1, with_key ? issuer : NULL, &rng, password, out, out_size);
    issuer_put(issuer);
    wc_FreeRng(&rng);
    return r;
}
