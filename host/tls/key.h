/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A private key, ECDSA or RSA: made or read from PEM, used to sign certificates. Internal to this room. Signing with one key from two
 * threads at once is the caller's to prevent.
 */
#ifndef HOST_TLS_KEY_H
#define HOST_TLS_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "host/tls/der.h"

struct private_key;

enum key_kind { KEY_P256, KEY_RSA2048 };

/* NULL on failure. */
struct private_key *private_key_new(enum key_kind kind);
/* From PEM (PKCS#8, SEC 1 or PKCS#1, unencrypted). NULL with *fault, static text. */
struct private_key *private_key_parse(const char *pem, size_t n, const char **fault);
/* The same, or PKCS#8 that this passphrase opens (NULL = there is none). */
struct private_key *private_key_open(const char *pem, size_t n, const char *passphrase, const char **fault);
/* PKCS#8 as PEM, malloc'd and to be wiped; encrypted unless the passphrase is NULL. NULL on failure. */
char *private_key_pem(struct private_key *key, const char *passphrase);
void private_key_free(struct private_key *key);

int private_key_is_rsa(const struct private_key *key);
/* The SubjectPublicKeyInfo, borrowed. */
const uint8_t *private_key_spki(const struct private_key *key, size_t *n);
/* The private key as DER in its traditional form (SEC 1, PKCS#1) for wolfSSL, and as PKCS#8 for people. Borrowed. */
const uint8_t *private_key_traditional(const struct private_key *key, size_t *n);
const uint8_t *private_key_pkcs8(const struct private_key *key, size_t *n);
/* RFC 7093 method 1: the first 20 bytes of SHA-256 of the public key's bits. */
void private_key_id(const struct private_key *key, uint8_t id[20]);
/* The AlgorithmIdentifier of our signatures: it belongs into a TBSCertificate. */
void private_key_algorithm(const struct private_key *key, struct der *der);
/* Wraps [tbs, tbs + n) with algorithm and signature into a certificate at out. 0 or negative. */
int private_key_sign(struct private_key *key, const uint8_t *tbs, size_t n, struct der *out);

#endif
