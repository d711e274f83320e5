/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Certificates as DER: written by hand so that they pass `openssl verify -x509_strict` (RFC 5280 profile), and read as far as an issuer
 * must know itself. Internal to this room.
 */
#ifndef HOST_TLS_CERT_H
#define HOST_TLS_CERT_H

#include <stddef.h>
#include <stdint.h>

#include <soth/sdk.h>

#include "host/tls/key.h"

#define CERT_DER_MAX 4096u

/* What an issuer's certificate says; all spans point into its DER. */
struct cert_view {
    struct soth_span subject; /* Name, DER */
    struct soth_span issuer;  /* Name, DER */
    struct soth_span spki;
    struct soth_span signature; /* AlgorithmIdentifier of the issuer's signature, DER */
    struct soth_span key_id; /* contents of the subjectKeyIdentifier; absent: {NULL, 0} */
    int64_t not_before, not_after;
    uint8_t is_ca;         /* basicConstraints CA:TRUE */
    uint8_t is_ca_critical;
    uint8_t may_sign;      /* keyUsage absent or with keyCertSign */
    uint8_t may_sign_crl; /* keyUsage absent or with cRLSign */
};

#define CERT_CRL_URL "http://soth.mitm/crl/" /* and the CA's key name, ".crl": answered by the proxy, host/flow/onboarding.c */
#define CERT_KEY_NAME 65u

/* 0 or -SOTH_EINVALID. */
int cert_parse(const uint8_t *der, size_t n, struct cert_view *out);
/* The CA's key in hex: its subjectKeyIdentifier, or without a handy one the beginning of its SHA-256. */
void cert_key_name(const struct cert_view *ca, char out[CERT_KEY_NAME]);
/* A Name as text, "CN=a, O=b"; cut to size. */
void cert_name_text(struct soth_span name, char *out, size_t size);

struct cert_terms {
    uint8_t serial[16];
    int64_t not_before, not_after;
};

/* A self-signed CA into out. 0 or negative. */
int cert_make_ca(struct private_key *key, const char *common_name, const char *organization, const struct cert_terms *terms,
                 struct der *out);
/* A server certificate for host (a name, "*.name" or an address as text) and subject_key, signed by issuer_key; it says where the issuer's
 * revocation list is when the issuer may sign one. 0 or negative. */
int cert_make_leaf(struct private_key *issuer_key, const struct cert_view *issuer, const struct private_key *subject_key,
                   struct soth_span host, const struct cert_terms *terms, struct der *out);
/* The issuer's revocation list, version 2, of nobody; terms->serial is its number. 0 or negative. */
int cert_make_crl(struct private_key *issuer_key, const struct cert_view *issuer, const struct cert_terms *terms, struct der *out);

#endif
