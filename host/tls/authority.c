/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The authority of a running proxy: it has one issuer at a time, and takes another one when the files hold another, or when the CA's age asks for
 * it. Leaves that are in use stay as they are.
 */
#include "host/tls/authority.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/tls/issuer.h"
#include "host/tls/material.h"

#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/sha256.h>

#define DAY INT64_C(86400)

/* Both files, or with AUTHORITY_CREATE neither. */
static int find_files(const struct ca_files *f, const struct authority_config *config, unsigned flags, int *created, char *err, size_t err_size)
{
    int cert = material_exists(f->cert), key = material_exists(f->key);
    if (cert && key)
        return SOTH_OK;
    if (cert || key) {
        snprintf(err, err_size, "%s: is missing while %s exists; restore it, or remove both to have a new CA made", cert ? f->key : f->cert,
                 cert ? f->cert : f->key);
        return -SOTH_ENOENT;
    }
    if (!(flags & AUTHORITY_CREATE)) {
        snprintf(err, err_size, "%s: there is no CA; make one with `soth-mitm ca init`", f->cert);
        return -SOTH_ENOENT;
    }
    *created = 1;
    return authority_create(config, err, err_size);
}

static struct authority *authority_new(const struct authority_config *config, char *err, size_t err_size)
{
    struct authority *a = calloc(1, sizeof *a);
    snprintf(err, err_size, "the CA cannot be loaded: out of memory");
    if (!a)
        return NULL;
    a->refs = 1;
    a->config = *config;
    pthread_mutex_init(&a->lock, NULL);
    a->common_name = strdup(config->common_name ? config->common_name : "");
    a->organization = strdup(config->organization ? config->organization : "");
    if (!a->common_name || !a->organization || ca_files_init(&a->files, config) < 0) {
        authority_free(a);
        return NULL;
    }
    a->config.cert_path = a->files.cert;
    a->config.key_path = a->files.key;
    a->config.key_passphrase_file = a->files.passphrase;
    a->config.common_name = a->common_name;
    a->config.organization = a->organization;
    err[0] = '\0';
    return a;
}

/* What clients should trust, as the files have it now. What cannot be read is no loss: the certificate that signs is known. */
static void list_trusted(struct authority *a)
{
    struct ca_certificates list;
    char why[256];
    if (authority_certificates(&a->config, time(NULL), &list, why, sizeof why) < 0)
        return;
    pthread_mutex_lock(&a->lock);
    struct ca_certificates old = a->trusted;
    a->trusted = list;
    pthread_mutex_unlock(&a->lock);
    ca_certificates_free(&old);
}

/* With its issuer, which has no leaves yet. */
static struct authority *load(const struct authority_config *config, unsigned flags, int *made, char *err, size_t err_size)
{
    struct authority *a = authority_new(config, err, err_size);
    if (a && find_files(&a->files, config, flags, made, err, err_size) == 0)
        a->issuer = issuer_load(&a->files, config, 0, err, err_size);
    if (a && a->issuer && config->rotate_after && !issuer_is_own(a->issuer)) {
        snprintf(err, err_size, "%s: is issued by another CA, so no successor of it can be made here; take ca.rotate_after out", a->files.cert);
    } else if (a && a->issuer) {
        list_trusted(a);
        return a;
    }
    authority_free(a);
    return NULL;
}

static struct authority *prepare_leaves(struct authority *a, char *err, size_t err_size)
{
    if (a && issuer_prepare(a->issuer, err, err_size) == 0)
        return a;
    authority_free(a);
    return NULL;
}

struct authority *authority_open(const struct authority_config *config, unsigned flags, int *created, char *err, size_t err_size)
{
    int made = 0;
    struct authority *a = prepare_leaves(load(config, flags, &made, err, err_size), err, err_size);
    if (a && created)
        *created = made;
    return a;
}

static int same_issuer(const struct issuer *a, const struct issuer *b)
{
    size_t n, m;
    const uint8_t *p = private_key_pkcs8(a->key, &n), *q = private_key_pkcs8(b->key, &m);
    return n == m && memcmp(p, q, n) == 0 && a->chain_size == b->chain_size && memcmp(a->chain, b->chain, a->chain_size) == 0;
}

static int same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static int is_same(const struct authority *a, const struct authority *b)
{
    const struct authority_config *c = &a->config, *d = &b->config;
    return same_issuer(a->issuer, b->issuer) && same_text(c->cert_path, d->cert_path) && same_text(c->key_path, d->key_path) &&
           same_text(c->key_passphrase_file, d->key_passphrase_file) && same_text(c->common_name, d->common_name) &&
           same_text(c->organization, d->organization) && a->issuer->leaf_days == b->issuer->leaf_days &&
           c->leaf_cache_capacity == d->leaf_cache_capacity && c->rsa_leaves == d->rsa_leaves && c->rotate_after == d->rotate_after;
}

/* Its leaves are what `previous` would sign: they go on being used, whatever else is new. */
static void share_issuer(struct authority *a, const struct authority *previous)
{
    const struct issuer *b = previous->issuer;
    if (!same_issuer(a->issuer, b) || a->issuer->leaf_days != b->leaf_days || a->issuer->leaf_cache_capacity != b->leaf_cache_capacity ||
        a->issuer->rsa_leaves != b->rsa_leaves)
        return;
    issuer_put(a->issuer);
    a->issuer = authority_issuer((struct authority *)previous);
}

struct authority *authority_renew(struct authority *previous, const struct authority_config *config, char *err, size_t err_size)
{
    int made = 0;
    struct authority *a = load(config, 0, &made, err, err_size);
    if (!a)
        return NULL;
    if (is_same(a, previous)) {
        list_trusted(previous); /* a successor may have been prepared */
        authority_free(a);
        previous->refs++;
        return previous;
    }
    share_issuer(a, previous);
    return a->issuer->cache ? a : prepare_leaves(a, err, err_size);
}

void authority_free(struct authority *a)
{
    if (!a || --a->refs > 0)
        return;
    issuer_put(a->issuer);
    ca_certificates_free(&a->trusted);
    ca_files_fini(&a->files);
    free(a->common_name);
    free(a->organization);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

struct issuer *authority_issuer(struct authority *a)
{
    pthread_mutex_lock(&a->lock);
    struct issuer *issuer = a->issuer;
    atomic_fetch_add_explicit(&issuer->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&a->lock);
    return issuer;
}

int authority_trusted(struct authority *a, int64_t now, struct ca_certificates *out)
{
    int r = SOTH_OK;
    *out = (struct ca_certificates){0};
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; r == SOTH_OK && i < a->trusted.n; i++)
        if (a->trusted.v[i].role == CA_CURRENT || a->trusted.v[i].trusted_until > now)
            r = ca_certificates_add(out, &a->trusted.v[i]);
    pthread_mutex_unlock(&a->lock);
    if (r < 0)
        ca_certificates_free(out);
    return r;
}

/* ---- by age ---------------------------------------------------------------------------------------------------- */

/* Takes what is in the files. */
static int take_over(struct authority *a, char *err, size_t err_size)
{
    struct issuer *next = issuer_load(&a->files, &a->config, 0, err, err_size);
    if (!next)
        return -SOTH_EINVALID;
    if (same_issuer(next, a->issuer)) {
        issuer_put(next);
        return AUTHORITY_STAYS;
    }
    if (issuer_prepare(next, err, err_size) < 0) {
        issuer_put(next);
        return -SOTH_ENOMEM;
    }
    pthread_mutex_lock(&a->lock);
    struct issuer *gone = a->issuer;
    a->issuer = next;
    pthread_mutex_unlock(&a->lock);
    issuer_put(gone);
    list_trusted(a);
    return AUTHORITY_ROTATED;
}

/* The age at which a successor is made ready. */
static int64_t prepare_after(const struct authority *a)
{
    int64_t ahead = a->config.rotate_after / 4;
    return a->config.rotate_after - (ahead < CA_OVERLAP_DAYS * DAY ? ahead : CA_OVERLAP_DAYS * DAY);
}

static int64_t age(const struct authority *a, int64_t now)
{
    return now - (a->issuer->cert.not_before + CA_BACKDATED);
}

int64_t authority_due(const struct authority *a, int64_t now)
{
    if (!a->config.rotate_after)
        return -1;
    int64_t until = (a->prepared ? a->config.rotate_after : prepare_after(a)) - age(a, now);
    return until > 0 ? until : 0;
}

static int rotate_now(struct authority *a, char *err, size_t err_size)
{
    int r = take_over(a, err, err_size); /* somebody may have been faster */
    if (r == AUTHORITY_STAYS)
        r = authority_rotate(&a->config, 0, err, err_size);
    return r == SOTH_OK ? take_over(a, err, err_size) : r;
}

int authority_tend(struct authority *a, int64_t now, char *err, size_t err_size)
{
    int made = 0, r = SOTH_OK;
    if (authority_due(a, now) != 0)
        return AUTHORITY_STAYS;
    if (age(a, now) >= a->config.rotate_after) {
        r = rotate_now(a, err, err_size);
        a->prepared = r == AUTHORITY_ROTATED ? 0 : a->prepared;
        return r;
    }
    r = authority_prepare(&a->config, &made, err, err_size);
    a->prepared = r == SOTH_OK;
    list_trusted(a);
    return r < 0 ? r : made ? AUTHORITY_PREPARED : AUTHORITY_STAYS;
}

int64_t authority_expires(const struct authority *a)
{
    return a->issuer->cert.not_after;
}

/* ---- describing one -------------------------------------------------------------------------------------------- */

void ca_time_text(int64_t seconds, char out[32])
{
    struct tm tm = {0};
    time_t t = (time_t)seconds;
    gmtime_r(&t, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void authority_fingerprint(const uint8_t *der, size_t n, char out[96])
{
    uint8_t digest[WC_SHA256_DIGEST_SIZE] = {0};
    wc_Sha256Hash(der, (word32)n, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out + 3 * i, 4, "%02X%s", digest[i], i + 1 < sizeof digest ? ":" : "");
}

void authority_describe(const struct authority *authority, struct authority_info *out)
{
    const struct issuer *a = authority->issuer;
    memset(out, 0, sizeof *out);
    cert_name_text(a->cert.subject, out->subject, sizeof out->subject);
    authority_fingerprint(a->chain, a->cert_size, out->sha256);
    ca_time_text(a->cert.not_before, out->not_before);
    ca_time_text(a->cert.not_after, out->not_after);
    out->cert_der = a->chain;
    out->cert_der_size = a->cert_size;
}

char *authority_pem(const struct authority *authority, int key)
{
    const struct issuer *a = authority->issuer;
    return key ? private_key_pem(a->key, NULL) : material_pem(a->chain, a->cert_size, CERT_TYPE);
}
