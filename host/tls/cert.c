/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Names, keys and terms come in, signed certificates in DER go out. wolfCrypt's own maker writes the CA's basicConstraints not critical,
 * which strict verifiers refuse, and needs a 23 KB struct a call: hence by hand. Never decides how long something is valid.
 */
#include "host/tls/cert.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum { NAME_ORGANIZATION = 10, NAME_COMMON_NAME = 3 };
enum { EXT_SUBJECT_KEY_ID = 14, EXT_KEY_USAGE = 15, EXT_SUBJECT_ALT_NAME = 17, EXT_BASIC_CONSTRAINTS = 19, EXT_CRL_NUMBER = 20,
       EXT_DISTRIBUTION_POINTS = 31, EXT_AUTHORITY_KEY_ID = 35, EXT_EXTENDED_KEY_USAGE = 37 };

#define COMMON_NAME_MAX 64u /* ub-common-name, RFC 5280 appendix A */

/* id-ce and id-at: 2.5.29.number and 2.5.4.number */
static void put_oid(struct der *der, uint8_t arc, uint8_t number)
{
    const uint8_t oid[] = {0x55, arc, number};
    der_put(der, DER_OID, oid, sizeof oid);
}

static size_t open_extension(struct der *der, uint8_t number, int critical)
{
    size_t mark = der_open(der, DER_SEQUENCE);
    put_oid(der, 0x1d, number);
    if (critical)
        der_true(der);
    return mark;
}

/* An extension whose value is DER that is known beforehand. */
static void put_extension(struct der *der, uint8_t number, int critical, const void *value, size_t n)
{
    size_t mark = open_extension(der, number, critical);
    der_put(der, DER_OCTET_STRING, value, n);
    der_close(der, mark);
}

static void put_subject_key_id(struct der *der, const struct private_key *key)
{
    uint8_t value[22] = {DER_OCTET_STRING, 20};
    private_key_id(key, value + 2);
    put_extension(der, EXT_SUBJECT_KEY_ID, 0, value, sizeof value);
}

static void put_authority_key_id(struct der *der, const void *id, size_t n)
{
    size_t mark = open_extension(der, EXT_AUTHORITY_KEY_ID, 0);
    size_t octets = der_open(der, DER_OCTET_STRING), sequence = der_open(der, DER_SEQUENCE);
    der_put(der, DER_CONTEXT | 0, id, n);
    der_close(der, sequence);
    der_close(der, octets);
    der_close(der, mark);
}

static void put_attribute(struct der *der, uint8_t number, const char *p, size_t n)
{
    size_t set = der_open(der, DER_SET), sequence = der_open(der, DER_SEQUENCE);
    put_oid(der, 0x04, number);
    der_put(der, DER_UTF8_STRING, p, n);
    der_close(der, sequence);
    der_close(der, set);
}

static void put_name(struct der *der, struct soth_span common_name, struct soth_span organization)
{
    size_t mark = der_open(der, DER_SEQUENCE);
    if (common_name.n > 0)
        put_attribute(der, NAME_COMMON_NAME, common_name.p, common_name.n);
    if (organization.n > 0)
        put_attribute(der, NAME_ORGANIZATION, organization.p, organization.n);
    der_close(der, mark);
}

/* Version 3, serial, algorithm: the beginning of every TBSCertificate. */
static void put_head(struct der *der, const struct private_key *issuer_key, const struct cert_terms *terms)
{
    static const uint8_t version[] = {DER_CONTEXT_CONSTRUCTED | 0, 3, DER_INTEGER, 1, 2};
    der_raw(der, version, sizeof version);
    der_unsigned(der, terms->serial, sizeof terms->serial);
    private_key_algorithm(issuer_key, der);
}

static void put_validity(struct der *der, const struct cert_terms *terms)
{
    size_t mark = der_open(der, DER_SEQUENCE);
    der_time(der, terms->not_before);
    der_time(der, terms->not_after);
    der_close(der, mark);
}

static void put_spki(struct der *der, const struct private_key *key)
{
    size_t n;
    const uint8_t *spki = private_key_spki(key, &n);
    der_raw(der, spki, n);
}

int cert_make_ca(struct private_key *key, const char *common_name, const char *organization, const struct cert_terms *terms,
                 struct der *out)
{
    static const uint8_t ca_true_path_0[] = {DER_SEQUENCE, 6, DER_BOOLEAN, 1, 0xff, DER_INTEGER, 1, 0};
    static const uint8_t cert_sign_crl_sign[] = {DER_BIT_STRING, 2, 1, 0x06};
    uint8_t tbs_bytes[CERT_DER_MAX], id[20];
    struct der tbs = {.p = tbs_bytes, .cap = sizeof tbs_bytes};
    size_t whole = der_open(&tbs, DER_SEQUENCE);
    put_head(&tbs, key, terms);
    put_name(&tbs, soth_span(common_name), soth_span(organization));
    put_validity(&tbs, terms);
    put_name(&tbs, soth_span(common_name), soth_span(organization));
    put_spki(&tbs, key);
    size_t tagged = der_open(&tbs, DER_CONTEXT_CONSTRUCTED | 3), list = der_open(&tbs, DER_SEQUENCE);
    private_key_id(key, id);
    put_extension(&tbs, EXT_BASIC_CONSTRAINTS, 1, ca_true_path_0, sizeof ca_true_path_0);
    put_extension(&tbs, EXT_KEY_USAGE, 1, cert_sign_crl_sign, sizeof cert_sign_crl_sign);
    put_subject_key_id(&tbs, key);
    put_authority_key_id(&tbs, id, sizeof id);
    der_close(&tbs, list);
    der_close(&tbs, tagged);
    der_close(&tbs, whole);
    return tbs.failed ? -SOTH_ELIMIT : private_key_sign(key, tbs.p, tbs.len, out);
}

static void put_alt_name(struct der *der, struct soth_span host)
{
    char text[INET6_ADDRSTRLEN];
    uint8_t addr[16];
    size_t mark = open_extension(der, EXT_SUBJECT_ALT_NAME, 0);
    size_t octets = der_open(der, DER_OCTET_STRING), list = der_open(der, DER_SEQUENCE);
    size_t bytes = 0;
    if (host.n < sizeof text) {
        memcpy(text, host.p, host.n);
        text[host.n] = '\0';
        bytes = inet_pton(AF_INET, text, addr) == 1 ? 4 : inet_pton(AF_INET6, text, addr) == 1 ? 16 : 0;
    }
    if (bytes > 0)
        der_put(der, DER_CONTEXT | 7, addr, bytes);
    else
        der_put(der, DER_CONTEXT | 2, host.p, host.n);
    der_close(der, list);
    der_close(der, octets);
    der_close(der, mark);
}

/* One point, one name: where the issuer's revocation list is. Some clients (Windows) refuse certificates that say nothing of it. */
static void put_crl_url(struct der *der, const struct cert_view *issuer)
{
    char url[sizeof CERT_CRL_URL + CERT_KEY_NAME + 4], name[CERT_KEY_NAME];
    cert_key_name(issuer, name);
    int n = snprintf(url, sizeof url, CERT_CRL_URL "%s.crl", name);
    size_t mark = open_extension(der, EXT_DISTRIBUTION_POINTS, 0);
    size_t octets = der_open(der, DER_OCTET_STRING), list = der_open(der, DER_SEQUENCE), point = der_open(der, DER_SEQUENCE);
    size_t where = der_open(der, DER_CONTEXT_CONSTRUCTED | 0), full_name = der_open(der, DER_CONTEXT_CONSTRUCTED | 0);
    der_put(der, DER_CONTEXT | 6, url, (size_t)n);
    der_close(der, full_name);
    der_close(der, where);
    der_close(der, point);
    der_close(der, list);
    der_close(der, octets);
    der_close(der, mark);
}

static void put_issuer_key_id(struct der *der, const struct cert_view *issuer, const struct private_key *issuer_key)
{
    uint8_t id[20];
    private_key_id(issuer_key, id);
    if (issuer->key_id.n > 0)
        put_authority_key_id(der, issuer->key_id.p, issuer->key_id.n);
    else
        put_authority_key_id(der, id, sizeof id);
}

static void put_leaf_extensions(struct der *der, const struct cert_view *issuer, const struct private_key *subject_key,
                                const struct private_key *issuer_key, struct soth_span host)
{
    static const uint8_t not_a_ca[] = {DER_SEQUENCE, 0};
    static const uint8_t sign[] = {DER_BIT_STRING, 2, 7, 0x80};
    static const uint8_t sign_and_encipher[] = {DER_BIT_STRING, 2, 5, 0xa0};
    static const uint8_t server_auth[] = {DER_SEQUENCE, 10, DER_OID, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1};
    size_t tagged = der_open(der, DER_CONTEXT_CONSTRUCTED | 3), list = der_open(der, DER_SEQUENCE);
    put_extension(der, EXT_BASIC_CONSTRAINTS, 1, not_a_ca, sizeof not_a_ca);
    put_extension(der, EXT_KEY_USAGE, 1, private_key_is_rsa(subject_key) ? sign_and_encipher : sign, sizeof sign);
    put_extension(der, EXT_EXTENDED_KEY_USAGE, 0, server_auth, sizeof server_auth);
    put_subject_key_id(der, subject_key);
    put_issuer_key_id(der, issuer, issuer_key);
    put_alt_name(der, host);
    if (issuer->may_sign_crl)
        put_crl_url(der, issuer);
    der_close(der, list);
    der_close(der, tagged);
}

int cert_make_leaf(struct private_key *issuer_key, const struct cert_view *issuer, const struct private_key *subject_key,
                   struct soth_span host, const struct cert_terms *terms, struct der *out)
{
    uint8_t tbs_bytes[CERT_DER_MAX];
    struct der tbs = {.p = tbs_bytes, .cap = sizeof tbs_bytes};
    struct soth_span name = host.n <= COMMON_NAME_MAX ? host : (struct soth_span){0};
    size_t whole = der_open(&tbs, DER_SEQUENCE);
    put_head(&tbs, issuer_key, terms);
    der_raw(&tbs, issuer->subject.p, issuer->subject.n);
    put_validity(&tbs, terms);
    put_name(&tbs, name, soth_span(name.n > 0 ? "" : "soth-mitm"));
    put_spki(&tbs, subject_key);
    put_leaf_extensions(&tbs, issuer, subject_key, issuer_key, host);
    der_close(&tbs, whole);
    return tbs.failed ? -SOTH_ELIMIT : private_key_sign(issuer_key, tbs.p, tbs.len, out);
}

int cert_make_crl(struct private_key *issuer_key, const struct cert_view *issuer, const struct cert_terms *terms, struct der *out)
{
    static const uint8_t version_2[] = {DER_INTEGER, 1, 1};
    uint8_t tbs_bytes[CERT_DER_MAX];
    struct der tbs = {.p = tbs_bytes, .cap = sizeof tbs_bytes};
    size_t whole = der_open(&tbs, DER_SEQUENCE);
    der_raw(&tbs, version_2, sizeof version_2);
    private_key_algorithm(issuer_key, &tbs);
    der_raw(&tbs, issuer->subject.p, issuer->subject.n);
    der_time(&tbs, terms->not_before);
    der_time(&tbs, terms->not_after); /* a list of nobody is left out, RFC 5280 5.1.2.6 */
    size_t tagged = der_open(&tbs, DER_CONTEXT_CONSTRUCTED | 0), list = der_open(&tbs, DER_SEQUENCE);
    put_issuer_key_id(&tbs, issuer, issuer_key);
    size_t mark = open_extension(&tbs, EXT_CRL_NUMBER, 0), octets = der_open(&tbs, DER_OCTET_STRING);
    der_unsigned(&tbs, terms->serial, sizeof terms->serial);
    der_close(&tbs, octets);
    der_close(&tbs, mark);
    der_close(&tbs, list);
    der_close(&tbs, tagged);
    der_close(&tbs, whole);
    return tbs.failed ? -SOTH_ELIMIT : private_key_sign(issuer_key, tbs.p, tbs.len, out);
}
