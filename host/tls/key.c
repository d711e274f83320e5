/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Private keys by wolfCrypt. The DER forms are made once, when the key comes to be, so that users borrow them; secrets are wiped when
 * the key goes. Never reads or writes a file.
 */
#include <stdlib.h>
#include <string.h>

#include "host/tls/wolf.h"

#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/coding.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/rsa.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <soth/sdk.h>

#include "host/tls/key.h"
#include "host/tls/material.h"

#define DER_MAX 4096u
#define PASSPHRASE_ITERATIONS 100000

struct private_key {
    int is_rsa;
    union {
        ecc_key ecc;
        RsaKey rsa;
    };
    WC_RNG rng;
    uint8_t spki[1200], traditional[DER_MAX], pkcs8[DER_MAX];
    size_t spki_size, traditional_size, pkcs8_size;
};

static struct private_key *key_alloc(int is_rsa)
{
    struct private_key *key = calloc(1, sizeof *key);
    if (!key)
        return NULL;
    if (wc_InitRng(&key->rng) != 0) {
        free(key);
        return NULL;
    }
    key->is_rsa = is_rsa;
    int r = is_rsa ? wc_InitRsaKey(&key->rsa, NULL) : wc_ecc_init(&key->ecc);
    if (r == 0 && is_rsa)
        r = wc_RsaSetRNG(&key->rsa, &key->rng); /* blinding */
    if (r != 0) {
        wc_FreeRng(&key->rng);
        free(key);
        return NULL;
    }
    return key;
}

void private_key_free(struct private_key *key)
{
    if (!key)
        return;
    if (key->is_rsa)
        wc_FreeRsaKey(&key->rsa);
    else
        wc_ecc_free(&key->ecc);
    wc_FreeRng(&key->rng);
    explicit_bzero(key, sizeof *key);
    free(key);
}

static int export_ecc(struct private_key *key)
{
    int spki = wc_EccPublicKeyToDer(&key->ecc, key->spki, sizeof key->spki, 1);
    int der = wc_EccKeyToDer(&key->ecc, key->traditional, sizeof key->traditional);
    word32 pkcs8 = sizeof key->pkcs8;
    int r = wc_EccKeyToPKCS8(&key->ecc, key->pkcs8, &pkcs8);
    if (spki <= 0 || der <= 0 || r < 0)
        return -SOTH_EINVALID;
    key->spki_size = (size_t)spki;
    key->traditional_size = (size_t)der;
    key->pkcs8_size = pkcs8;
    return SOTH_OK;
}

static int export_rsa(struct private_key *key)
{
    int spki = wc_RsaKeyToPublicDer(&key->rsa, key->spki, sizeof key->spki);
    int der = wc_RsaKeyToDer(&key->rsa, key->traditional, sizeof key->traditional);
    word32 pkcs8 = sizeof key->pkcs8;
    if (spki <= 0 || der <= 0)
        return -SOTH_EINVALID;
    key->spki_size = (size_t)spki;
    key->traditional_size = (size_t)der;
    if (wc_CreatePKCS8Key(key->pkcs8, &pkcs8, key->traditional, (word32)der, RSAk, NULL, 0) <= 0)
        return -SOTH_EINVALID;
    key->pkcs8_size = pkcs8;
    return SOTH_OK;
}

static struct private_key *finish(struct private_key *key, int r)
{
    if (r == 0)
        r = key->is_rsa ? export_rsa(key) : export_ecc(key);
    if (r == 0)
        return key;
    private_key_free(key);
    return NULL;
}

struct private_key *private_key_new(enum key_kind kind)
{
    struct private_key *key = key_alloc(kind == KEY_RSA2048);
    if (!key)
        return NULL;
    int r = key->is_rsa ? wc_MakeRsaKey(&key->rsa, 2048, WC_RSA_EXPONENT, &key->rng)
                        : wc_ecc_make_key_ex(&key->rng, 32, &key->ecc, ECC_SECP256R1);
    return finish(key, r);
}

static struct private_key *parse_der(const uint8_t *der, size_t n)
{
    for (int is_rsa = 0; is_rsa <= 1; is_rsa++) {
        word32 at = 0;
        struct private_key *key = key_alloc(is_rsa);
        if (!key)
            return NULL;
        int r = is_rsa ? wc_RsaPrivateKeyDecode(der, &at, &key->rsa, (word32)n)
                       : wc_EccPrivateKeyDecode(der, &at, &key->ecc, (word32)n);
        if (r == 0 && !is_rsa && key->ecc.type == ECC_PRIVATEKEY_ONLY)
            r = wc_ecc_make_pub_ex(&key->ecc, NULL, &key->rng);
        key = finish(key, r);
        if (key)
            return key;
    }
    return NULL;
}

/* The DER inside a PEM text that says "ENCRYPTED PRIVATE KEY" (PKCS#8, PBES2); its size, or 0 with *fault. */
static size_t decrypt(const char *pem, const char *passphrase, uint8_t *der, size_t cap, const char **fault)
{
    static const char begin[] = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
    const char *from = strstr(pem, begin), *end = from ? strstr(from, "-----END ENCRYPTED PRIVATE KEY") : NULL;
    word32 n = (word32)cap;
    if (!from || !end) {
        *fault = "it is encrypted in the old format of OpenSSL, or cut short; convert it with `openssl pkcs8 -topk8 -in OLD -out NEW`";
        return 0;
    }
    if (!passphrase) {
        *fault = "it is encrypted; say where its passphrase is with ca.key_passphrase_file";
        return 0;
    }
    from += sizeof begin - 1;
    *fault = "what is between its BEGIN and END is not whole";
    if (Base64_Decode((const byte *)from, (word32)(end - from), der, &n) != 0)
        return 0;
    int r = wc_DecryptPKCS8Key(der, n, passphrase, (int)strlen(passphrase));
    if (r > 0)
        return (size_t)r;
    *fault = "the passphrase does not open it, or it is encrypted in a way that is not known here (PBES2 with AES is)";
    return 0;
}

struct private_key *private_key_open(const char *pem, size_t n, const char *passphrase, const char **fault)
{
    uint8_t der[DER_MAX];
    const char *begin = strstr(pem, "-----BEGIN EC PRIVATE KEY"); /* `openssl ecparam -genkey` puts the parameters first */
    begin = begin ? begin : pem;
    size_t size = 0;
    *fault = "it is not a PEM private key";
    if (strstr(pem, "ENCRYPTED")) {
        size = decrypt(pem, passphrase, der, sizeof der, fault);
    } else if (strstr(pem, "PRIVATE KEY-----")) {
        int r = wc_KeyPemToDer((const uint8_t *)begin, (int)(n - (size_t)(begin - pem)), der, sizeof der, NULL);
        size = r > 0 ? (size_t)r : 0;
        if (!size)
            *fault = "it is not a whole PEM private key";
    }
    if (!size)
        return NULL;
    struct private_key *key = parse_der(der, size);
    explicit_bzero(der, sizeof der);
    *fault = key ? NULL : "it is neither an ECDSA nor an RSA key that can be used here";
    return key;
}

struct private_key *private_key_parse(const char *pem, size_t n, const char **fault)
{
    return private_key_open(pem, n, NULL, fault);
}

char *private_key_pem(struct private_key *key, const char *passphrase)
{
    uint8_t sealed[DER_MAX + 512];
    word32 size = sizeof sealed;
    if (!passphrase)
        return material_pem(key->pkcs8, key->pkcs8_size, PKCS8_PRIVATEKEY_TYPE);
    int r = wc_EncryptPKCS8Key(key->pkcs8, (word32)key->pkcs8_size, sealed, &size, passphrase, (int)strlen(passphrase), PKCS5, PBES2,
                               AES256CBCb, NULL, 0, PASSPHRASE_ITERATIONS, &key->rng, NULL);
    return r > 0 ? material_pem(sealed, (size_t)r, PKCS8_ENC_PRIVATEKEY_TYPE) : NULL;
}

int private_key_is_rsa(const struct private_key *key)
{
    return key->is_rsa;
}

const uint8_t *private_key_spki(const struct private_key *key, size_t *n)
{
    *n = key->spki_size;
    return key->spki;
}

const uint8_t *private_key_traditional(const struct private_key *key, size_t *n)
{
    *n = key->traditional_size;
    return key->traditional;
}

const uint8_t *private_key_pkcs8(const struct private_key *key, size_t *n)
{
    *n = key->pkcs8_size;
    return key->pkcs8;
}

void private_key_id(const struct private_key *key, uint8_t id[20])
{
    uint8_t tag, digest[WC_SHA256_DIGEST_SIZE] = {0};
    size_t header, length, at;
    memset(id, 0, 20);
    if (der_parse_head(key->spki, key->spki_size, &tag, &at, &length) < 0)
        return;
    if (der_parse_head(key->spki + at, key->spki_size - at, &tag, &header, &length) < 0)
        return;
    at += header + length; /* the BIT STRING; its first byte counts unused bits */
    if (der_parse_head(key->spki + at, key->spki_size - at, &tag, &header, &length) < 0 || length < 2)
        return;
    wc_Sha256Hash(key->spki + at + header + 1, (word32)length - 1, digest);
    memcpy(id, digest, 20);
}

void private_key_algorithm(const struct private_key *key, struct der *der)
{
    static const uint8_t ecdsa_sha256[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
    static const uint8_t rsa_sha256[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b};
    size_t mark = der_open(der, DER_SEQUENCE);
    if (key->is_rsa) {
        der_put(der, DER_OID, rsa_sha256, sizeof rsa_sha256);
        der_put(der, 0x05, NULL, 0);
    } else {
        der_put(der, DER_OID, ecdsa_sha256, sizeof ecdsa_sha256);
    }
    der_close(der, mark);
}

static int sign_digest(struct private_key *key, const uint8_t *digest, uint8_t *signature, word32 *size)
{
    if (!key->is_rsa)
        return wc_ecc_sign_hash(digest, WC_SHA256_DIGEST_SIZE, signature, size, &key->rng, &key->ecc);
    uint8_t info[WC_SHA256_DIGEST_SIZE + 32];
    word32 n = wc_EncodeSignature(info, digest, WC_SHA256_DIGEST_SIZE, SHA256h);
    int r = wc_RsaSSL_Sign(info, n, signature, *size, &key->rsa, &key->rng);
    if (r > 0)
        *size = (word32)r;
    return r > 0 ? 0 : r;
}

int private_key_sign(struct private_key *key, const uint8_t *tbs, size_t n, struct der *out)
{
    uint8_t digest[WC_SHA256_DIGEST_SIZE], signature[1024];
    word32 size = sizeof signature;
    static const uint8_t no_unused_bits;
    if (wc_Sha256Hash(tbs, (word32)n, digest) != 0 || sign_digest(key, digest, signature, &size) != 0)
        return -SOTH_ETLS;
    size_t whole = der_open(out, DER_SEQUENCE);
    der_raw(out, tbs, n);
    private_key_algorithm(key, out);
    size_t bits = der_open(out, DER_BIT_STRING);
    der_raw(out, &no_unused_bits, 1);
    der_raw(out, signature, size);
    der_close(out, bits);
    der_close(out, whole);
    return out->failed ? -SOTH_ELIMIT : SOTH_OK;
}
