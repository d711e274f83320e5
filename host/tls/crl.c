/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Revocation lists: a CA and the time come in, the list that it has signed lately, or signs now, goes out. Nobody is ever on it: leaves are short-lived,
 * and a CA that was stolen is taken out of the stores. The last list of a CA before its key goes is in its entry of the files (authority_make.c).
 */
#include <stdlib.h>
#include <string.h>

#include "host/tls/issuer.h"

#define DAY INT64_C(86400)
#define EVERY (DAY / 2) /* a new one */

static int copy(const uint8_t *p, size_t n, uint8_t **out, size_t *size)
{
    if (!p)
        return -SOTH_ENOENT;
    *out = malloc(n);
    if (!*out)
        return -SOTH_ENOMEM;
    memcpy(*out, p, *size = n);
    return SOTH_OK;
}

/* Under the signing lock. */
static int sign(struct issuer *a, int64_t now)
{
    uint8_t bytes[CERT_DER_MAX];
    struct der der = {.p = bytes, .cap = sizeof bytes};
    struct cert_terms terms = {.not_before = now - CA_BACKDATED, .not_after = now + CA_CRL_DAYS * DAY};
    if (terms.not_before < a->cert.not_before)
        terms.not_before = a->cert.not_before;
    for (size_t i = 0; i < 8; i++) /* its number, which only grows */
        terms.serial[sizeof terms.serial - 1 - i] = (uint8_t)((uint64_t)now >> 8 * i);
    int r = cert_make_crl(a->key, &a->cert, &terms, &der);
    uint8_t *crl = r == 0 ? malloc(der.len) : NULL;
    if (!crl)
        return r < 0 ? r : -SOTH_ENOMEM;
    free(a->crl);
    a->crl = memcpy(crl, der.p, der.len);
    a->crl_size = der.len;
    a->crl_made = now;
    return SOTH_OK;
}

int issuer_crl(struct issuer *a, int64_t now, uint8_t **out, size_t *size)
{
    if (!a->cert.may_sign_crl)
        return -SOTH_ENOENT;
    pthread_mutex_lock(&a->signing);
    bool fresh = a->crl && now >= a->crl_made && now < a->crl_made + EVERY;
    int r = fresh ? SOTH_OK : sign(a, now);
    if (r == SOTH_OK)
        r = copy(a->crl, a->crl_size, out, size);
    pthread_mutex_unlock(&a->signing);
    return r;
}

static bool is_named(const struct cert_view *ca, struct soth_span name)
{
    char own[CERT_KEY_NAME];
    cert_key_name(ca, own);
    return soth_span_is(name, own);
}

/* Of those before. */
static int kept_crl(struct authority *a, struct soth_span name, int64_t now, uint8_t **out, size_t *size)
{
    struct cert_view view;
    int r = -SOTH_ENOENT;
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; r == -SOTH_ENOENT && i < a->trusted.n; i++) {
        const struct ca_certificate *c = &a->trusted.v[i];
        if (c->trusted_until > now && cert_parse(c->der, c->size, &view) == 0 && is_named(&view, name))
            r = copy(c->crl, c->crl_size, out, size);
    }
    pthread_mutex_unlock(&a->lock);
    return r;
}

int authority_crl(struct authority *a, struct soth_span key_name, int64_t now, uint8_t **out, size_t *size)
{
    struct issuer *issuer = authority_issuer(a);
    bool current = key_name.n == 0 || is_named(&issuer->cert, key_name);
    int r = current ? issuer_crl(issuer, now, out, size) : kept_crl(a, key_name, now, out, size);
    issuer_put(issuer);
    return r;
}
