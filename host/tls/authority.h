/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The certificate authority and the leaves it signs. Loads the CA from disk (PEM certificate + PEM private key) or creates
 * one (ECDSA P-256, key file 0600, passes `openssl verify -x509_strict`: critical BasicConstraints and KeyUsage, SKI, AKI).
 * Leaves are made per host, cached (bounded LRU) and made anew before they expire. Thread-safe.
 */
#ifndef HOST_TLS_AUTHORITY_H
#define HOST_TLS_AUTHORITY_H

#include <stddef.h>
#include <stdint.h>

#include <soth/sdk.h>

struct authority;
struct leaf; /* refcounted: certificate chain and key ready for handshakes (a WOLFSSL_CTX) */

struct authority_config {
    const char *cert_path;
    const char *key_path;
    const char *common_name;  /* of a new CA only: a loaded CA signs under the subject it has */
    const char *organization;
    uint32_t leaf_cache_capacity; /* 0 = none */
    uint32_t leaf_days;           /* whole validity of a leaf incl. two days of backdating */
    uint32_t rsa_leaves;          /* 1 = compat profile: RSA-2048 leaf key */
};

#define AUTHORITY_CREATE 1u /* make a CA when neither file exists */

/*
 * NULL on failure, with a sentence for the operator in err (which file, what is wrong, what to do): one file without the
 * other, key readable by group or others, not a CA, key and certificate that do not belong together, expired, garbage.
 * *created (optional) tells whether a CA was made.
 */
struct authority *authority_open(const struct authority_config *config, unsigned flags, int *created, char *err, size_t err_size);
/* The same from files that may have changed, never making any: when certificate, key and configuration are what `previous` has, it is
 * previous once more, with its leaves. */
struct authority *authority_renew(struct authority *previous, const struct authority_config *config, char *err, size_t err_size);
void authority_free(struct authority *authority); /* as often as it was got; always by the same thread */

/* Writes a new CA to the paths (which must not exist; parent directories are made 0700). 0 or negative with err. */
int authority_create(const struct authority_config *config, char *err, size_t err_size);

/* For `ca show` and `ca export`. Borrowed until authority_free. */
struct authority_info {
    char subject[256]; /* "CN=..., O=..." */
    char sha256[96];   /* AA:BB:... of the DER */
    char not_before[32], not_after[32]; /* RFC 3339, UTC */
    const uint8_t *cert_der;
    size_t cert_der_size;
};
void authority_describe(const struct authority *authority, struct authority_info *out);
/* The CA certificate (key 0) or the unencrypted PKCS#8 key (key 1) as PEM text, malloc'd, NUL-terminated; NULL on failure. */
char *authority_pem(const struct authority *authority, int key);
/* PKCS#12 with the certificate, and the key when with_key; 0 and malloc'd *out, or negative. password: at most 128 printable
 * ASCII characters, may be "" (-SOTH_EINVALID otherwise). */
int authority_p12(const struct authority *authority, int with_key, const char *password, uint8_t **out, size_t *out_size);

/*
 * A leaf for a host name ("*.x.test" too) or an address in text form (then an iPAddress SAN). One reference for the caller,
 * or NULL. *hit: 1 from the cache, 0 newly signed. `now` is wall-clock seconds.
 */
struct leaf *leaf_get(struct authority *authority, struct soth_span host, int64_t now, int *hit);
/* A fixed certificate and key from PEM files, for listeners with cert_path; NULL with err. */
struct leaf *leaf_from_files(const char *cert_path, const char *key_path, char *err, size_t err_size);
void leaf_put(struct leaf *leaf);
/* The leaf's DER certificate, borrowed while the reference is held. */
struct soth_span leaf_der(const struct leaf *leaf);

#endif
