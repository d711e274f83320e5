/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Certificate and key come in, a counted WOLFSSL_CTX that any thread can make sessions of goes out, so that a session costs no
 * parsing. Never signs: see leaf_cache.c.
 */
#include "host/tls/leaf.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tls/cert.h"
#include "host/tls/material.h"
#include "host/tls/profile.h"

struct leaf {
    atomic_uint refs;
    WOLFSSL_CTX *tls;
    size_t der_size;
    uint8_t der[];
};

static struct leaf *leaf_alloc(const uint8_t *der, size_t der_size)
{
    struct leaf *leaf = malloc(sizeof *leaf + der_size);
    if (!leaf)
        return NULL;
    atomic_init(&leaf->refs, 1);
    leaf->tls = profile_server();
    leaf->der_size = der_size;
    memcpy(leaf->der, der, der_size);
    if (leaf->tls)
        return leaf;
    free(leaf);
    return NULL;
}

struct leaf *leaf_new(const uint8_t *chain, size_t chain_size, size_t cert_size, const uint8_t *key, size_t key_size)
{
    struct leaf *leaf = leaf_alloc(chain, cert_size);
    if (!leaf)
        return NULL;
    if (wolfSSL_CTX_use_certificate_chain_buffer_format(leaf->tls, chain, (long)chain_size, WOLFSSL_FILETYPE_ASN1) == WOLFSSL_SUCCESS &&
        wolfSSL_CTX_use_PrivateKey_buffer(leaf->tls, key, (long)key_size, WOLFSSL_FILETYPE_ASN1) == WOLFSSL_SUCCESS)
        return leaf;
    leaf_put(leaf);
    return NULL;
}

/* By hand, since not every build of wolfSSL compares them. Kinds of keys that we cannot read are left to wolfSSL. */
static int belong_together(const struct leaf *leaf, const char *key_pem, size_t n)
{
    struct cert_view cert;
    const char *fault;
    size_t spki_size;
    struct private_key *key = private_key_parse(key_pem, n, &fault);
    if (!key)
        return wolfSSL_CTX_check_private_key(leaf->tls) == WOLFSSL_SUCCESS;
    const uint8_t *spki = private_key_spki(key, &spki_size);
    int same = cert_parse(leaf->der, leaf->der_size, &cert) == 0 && cert.spki.n == spki_size && memcmp(cert.spki.p, spki, spki_size) == 0;
    private_key_free(key);
    return same;
}

static struct leaf *load_pem(const char *cert_path, const char *key_path, const char *cert, size_t cert_size, const char *key,
                             size_t key_size, char *err, size_t err_size)
{
    uint8_t *der;
    size_t der_size, first;
    if (material_certificates(cert, cert_size, &der, &der_size, &first) < 0) {
        snprintf(err, err_size, "%s: is not a PEM certificate", cert_path);
        return NULL;
    }
    struct leaf *leaf = leaf_alloc(der, first);
    free(der);
    if (!leaf)
        snprintf(err, err_size, "%s: out of memory", cert_path);
    else if (wolfSSL_CTX_use_certificate_chain_buffer(leaf->tls, (const uint8_t *)cert, (long)cert_size) != WOLFSSL_SUCCESS)
        snprintf(err, err_size, "%s: cannot be used as a server's certificate", cert_path);
    else if (wolfSSL_CTX_use_PrivateKey_buffer(leaf->tls, (const uint8_t *)key, (long)key_size, WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS)
        snprintf(err, err_size, "%s: is not an unencrypted PEM private key for %s", key_path, cert_path);
    else if (!belong_together(leaf, key, key_size))
        snprintf(err, err_size, "%s: is not the key of the certificate %s; give the two files that belong together", key_path, cert_path);
    else
        return leaf;
    leaf_put(leaf);
    return NULL;
}

struct leaf *leaf_from_files(const char *cert_path, const char *key_path, char *err, size_t err_size)
{
    char *cert = NULL, *key = NULL;
    size_t cert_size = 0, key_size = 0;
    struct leaf *leaf = NULL;
    if (material_read(cert_path, 0, &cert, &cert_size, err, err_size) == 0 &&
        material_read(key_path, 1, &key, &key_size, err, err_size) == 0)
        leaf = load_pem(cert_path, key_path, cert, cert_size, key, key_size, err, err_size);
    if (key)
        explicit_bzero(key, key_size);
    free(key);
    free(cert);
    return leaf;
}

struct leaf *leaf_ref(struct leaf *leaf)
{
    atomic_fetch_add_explicit(&leaf->refs, 1, memory_order_relaxed);
    return leaf;
}

void leaf_put(struct leaf *leaf)
{
    if (!leaf || atomic_fetch_sub_explicit(&leaf->refs, 1, memory_order_acq_rel) != 1)
        return;
    wolfSSL_CTX_free(leaf->tls);
    free(leaf);
}

WOLFSSL_CTX *leaf_context(const struct leaf *leaf)
{
    return leaf->tls;
}

struct soth_span leaf_der(const struct leaf *leaf)
{
    return (struct soth_span){(const char *)leaf->der, leaf->der_size};
}
