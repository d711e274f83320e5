/* SPDX-License-Identifier: MPL-2.0 */
/*
 * New CAs: the first one, the successor of one, and the successor in its place. Writes files, each whole or not at all, and never over one that
 * is in use but by renaming (ca_files.c).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/tls/issuer.h"
#include "host/tls/material.h"

#include <wolfssl/wolfcrypt/asn_public.h>

#define DAY INT64_C(86400)
#define CA_DAYS 3650

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

static int make(const struct ca_files *files, const struct authority_config *config, const char *cert_path, const char *key_path,
                enum key_kind kind, char *err, size_t err_size)
{
    uint8_t bytes[CERT_DER_MAX];
    struct der cert = {.p = bytes, .cap = sizeof bytes};
    int64_t now = time(NULL);
    struct cert_terms terms = {.not_before = now - CA_BACKDATED, .not_after = now + CA_DAYS * DAY};
    struct private_key *key = private_key_new(kind);
    if (!key || random_serial(terms.serial) < 0 ||
        cert_make_ca(key, config->common_name, config->organization, &terms, &cert) < 0) {
        snprintf(err, err_size, "a CA named \"%.64s\" cannot be made: no randomness, no memory, or a name that is too long",
                 config->common_name);
        private_key_free(key);
        return -SOTH_ETLS;
    }
    int r = ca_files_write_pair(files, cert_path, key_path, key, &cert, err, err_size);
    private_key_free(key);
    return r;
}

int authority_create(const struct authority_config *config, char *err, size_t err_size)
{
    struct ca_files files;
    const char *taken = material_exists(config->key_path) ? config->key_path : config->cert_path;
    if (material_exists(taken)) {
        snprintf(err, err_size, "%s: exists already; move it away to make a new CA", taken);
        return -SOTH_EINVALID;
    }
    if (ca_files_init(&files, config) < 0) {
        snprintf(err, err_size, "out of memory while making a CA");
        return -SOTH_ENOMEM;
    }
    int r = make(&files, config, files.cert, files.key, KEY_P256, err, err_size);
    ca_files_fini(&files);
    return r;
}

/* ---- rotation ---- */

/* What a rotation works on, under the files' lock. */
struct rotation {
    const struct authority_config *config;
    struct ca_files files;
    struct issuer *current;
    int lock;
    char *err;
    size_t err_size;
};

static void end(struct rotation *r)
{
    issuer_put(r->current);
    ca_files_unlock(r->lock);
    ca_files_fini(&r->files);
}

static int begin(struct rotation *r, const struct authority_config *config, char *err, size_t err_size)
{
    *r = (struct rotation){.config = config, .lock = -1, .err = err, .err_size = err_size};
    if (ca_files_init(&r->files, config) < 0) {
        snprintf(err, err_size, "out of memory while making a CA");
        return -SOTH_ENOMEM;
    }
    if (!material_exists(r->files.cert) && !material_exists(r->files.key))
        snprintf(err, err_size, "%s: there is no CA to rotate; make one with `soth-mitm ca init`", r->files.cert);
    else if (strcmp(r->files.cert, r->files.key) == 0)
        snprintf(err, err_size, "%s: holds certificate and key; a CA that is rotated needs two files", r->files.cert);
    else if ((r->lock = ca_files_lock(&r->files, err, err_size)) >= 0)
        r->current = issuer_load(&r->files, config, ISSUER_LOCKED | ISSUER_EXPIRED, err, err_size);
    if (r->current && issuer_is_own(r->current))
        return SOTH_OK;
    if (r->current)
        snprintf(err, err_size, "%s: is issued by another CA, which has to issue its successor; put both files in its place and reload",
                 r->files.cert);
    end(r);
    return -SOTH_EINVALID;
}

/* A successor that lies ready: whole, a pair, and not what is there already. */
static int is_ready(const struct rotation *r)
{
    char why[256];
    struct ca_files next = r->files;
    next.cert = r->files.next_cert;
    next.key = r->files.next_key;
    if (!material_exists(next.cert) || !material_exists(next.key))
        return 0;
    struct issuer *successor = issuer_load(&next, r->config, ISSUER_LOCKED, why, sizeof why);
    int ready = successor && issuer_is_own(successor);
    issuer_put(successor);
    return ready;
}

static int prepare(struct rotation *r, int *made)
{
    *made = 0;
    if (is_ready(r))
        return SOTH_OK;
    ca_files_drop_next(&r->files);
    *made = 1;
    enum key_kind kind = private_key_is_rsa(r->current->key) ? KEY_RSA2048 : KEY_P256;
    return make(&r->files, r->config, r->files.next_cert, r->files.next_key, kind, r->err, r->err_size);
}

/* The CA's key goes with this rotation: its last revocation list, PEM. Those before it have theirs. NULL where there is none. */
static char *last_crl(const struct rotation *r, const struct ca_certificate *c, int64_t now)
{
    uint8_t *der = NULL;
    size_t n = 0;
    char *pem = NULL;
    if (c->role == CA_PREVIOUS)
        return c->crl ? material_pem(c->crl, c->crl_size, CRL_TYPE) : NULL;
    if (c->size == r->current->cert_size && memcmp(c->der, r->current->chain, c->size) == 0 && issuer_crl(r->current, now, &der, &n) == 0)
        pem = material_pem(der, n, CRL_TYPE);
    free(der);
    return pem;
}

/* The certificates that are trusted for a while longer: those that were before, and the current one. */
static int retire(const struct rotation *r, int64_t now)
{
    struct ca_certificates list;
    char *text = NULL, when[32];
    size_t size = 0;
    int result = authority_certificates(r->config, now, &list, r->err, r->err_size);
    if (result < 0)
        return result;
    FILE *out = open_memstream(&text, &size);
    for (size_t i = 0; out && i < list.n; i++) {
        struct ca_certificate *c = &list.v[i];
        if (c->role == CA_NEXT)
            continue;
        int64_t until = c->role == CA_PREVIOUS ? c->trusted_until : now + CA_OVERLAP_DAYS * DAY;
        ca_time_text(until = until < c->not_after ? until : c->not_after, when);
        char *pem = material_pem(c->der, c->size, CERT_TYPE), *crl = last_crl(r, c, now);
        fprintf(out, CA_TRUSTED_UNTIL "%lld (%s)\n%s%s", (long long)until, when, pem ? pem : "", crl ? crl : "");
        free(pem);
        free(crl);
    }
    if (!out || fclose(out) != 0) {
        snprintf(r->err, r->err_size, "%s: out of memory", r->files.previous);
        result = -SOTH_ENOMEM;
    } else {
        result = material_replace(r->files.previous, 0644, text, size, r->err, r->err_size);
    }
    free(text);
    ca_certificates_free(&list);
    return result;
}

static int forget(const struct rotation *r)
{
    if (unlink(r->files.previous) == 0 || errno == ENOENT)
        return SOTH_OK;
    snprintf(r->err, r->err_size, "%s: cannot be removed: %s", r->files.previous, strerror(errno));
    return -SOTH_EIO;
}

int authority_prepare(const struct authority_config *config, int *made, char *err, size_t err_size)
{
    struct rotation r;
    int new = 0, result = begin(&r, config, err, err_size);
    if (result < 0)
        return result;
    result = prepare(&r, &new);
    end(&r);
    if (made)
        *made = new;
    return result;
}

int authority_rotate(const struct authority_config *config, unsigned flags, char *err, size_t err_size)
{
    struct rotation r;
    int made, result = begin(&r, config, err, err_size);
    if (result < 0)
        return result;
    result = prepare(&r, &made);
    if (result == 0)
        result = flags & AUTHORITY_FORGET ? forget(&r) : retire(&r, time(NULL));
    if (result == 0)
        result = ca_files_switch(&r.files, err, err_size);
    end(&r);
    return result;
}
