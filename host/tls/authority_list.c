/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The certificates around a CA that clients should trust: its own, its successor's where one is prepared, and those that went before while they
 * are still trusted. Reads certificates only, never a key.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tls/issuer.h"
#include "host/tls/material.h"

#include <wolfssl/wolfcrypt/asn_public.h>

void ca_certificates_free(struct ca_certificates *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->v[i].der);
        free(list->v[i].crl);
    }
    free(list->v);
    *list = (struct ca_certificates){0};
}

static int is_listed(const struct ca_certificates *list, const uint8_t *der, size_t n)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->v[i].size == n && memcmp(list->v[i].der, der, n) == 0)
            return 1;
    return 0;
}

int ca_certificates_add(struct ca_certificates *list, const struct ca_certificate *certificate)
{
    struct ca_certificate *more = realloc(list->v, (list->n + 1) * sizeof *more);
    uint8_t *der = malloc(certificate->size), *crl = certificate->crl ? malloc(certificate->crl_size) : NULL;
    if (more)
        list->v = more;
    if (!more || !der || (certificate->crl && !crl)) {
        free(der);
        free(crl);
        return -SOTH_ENOMEM;
    }
    more[list->n] = *certificate;
    more[list->n].crl = crl ? memcpy(crl, certificate->crl, certificate->crl_size) : NULL;
    more[list->n++].der = memcpy(der, certificate->der, certificate->size);
    return SOTH_OK;
}

static int add(struct ca_certificates *list, enum ca_role role, const uint8_t *der, size_t n, int64_t until)
{
    struct cert_view view;
    if (is_listed(list, der, n))
        return SOTH_OK;
    if (cert_parse(der, n, &view) < 0)
        return -SOTH_EINVALID;
    struct ca_certificate c = {.role = role, .der = (uint8_t *)der, .size = n, .not_before = view.not_before, .not_after = view.not_after};
    c.trusted_until = until && until < view.not_after ? until : view.not_after;
    cert_name_text(view.subject, c.subject, sizeof c.subject);
    authority_fingerprint(der, n, c.sha256);
    return ca_certificates_add(list, &c);
}

/* The first certificate of a text, or all. */
static int add_pem(struct ca_certificates *list, enum ca_role role, const char *pem, size_t n, int64_t until, int all)
{
    uint8_t *der, tag;
    size_t size, first, header, length;
    int r = material_certificates(pem, n, &der, &size, &first);
    if (r < 0)
        return r;
    for (size_t at = 0; r == 0 && at < (all ? size : first); at += header + length) {
        r = der_parse_head(der + at, size - at, &tag, &header, &length);
        if (r == 0)
            r = add(list, role, der + at, header + length, until);
    }
    free(der);
    return r;
}

static int add_file(struct ca_certificates *list, enum ca_role role, const char *path, int all, char *err, size_t err_size)
{
    char *pem;
    size_t n;
    int r = material_read(path, 0, &pem, &n, err, err_size);
    if (r < 0)
        return r;
    r = add_pem(list, role, pem, n, 0, all);
    free(pem);
    if (r < 0)
        snprintf(err, err_size, "%s: is not a PEM certificate, or not a whole one", path);
    return r;
}

/* The last revocation list of the newest one, which follows it; before there were lists there was none. */
static void add_crl(struct ca_certificates *list, const char *pem)
{
    DerBuffer *der = NULL;
    const char *begin = strstr(pem, "-----BEGIN X509 CRL-----");
    struct ca_certificate *c = &list->v[list->n - 1];
    if (begin && wc_PemToDer((const uint8_t *)begin, (long)strlen(begin), CRL_TYPE, &der, NULL, NULL, NULL) == 0 && (c->crl = malloc(der->length)))
        memcpy(c->crl, der->buffer, c->crl_size = der->length);
    wc_FreeDer(&der);
}

/* Each certificate has its time in the line before it; one that has none, or whose time is over, is left out. */
static void add_previous(struct ca_certificates *list, const char *path, int64_t now)
{
    char *pem, why[256];
    size_t n;
    if (!material_exists(path) || material_read(path, 0, &pem, &n, why, sizeof why) < 0)
        return;
    for (char *at = strstr(pem, CA_TRUSTED_UNTIL); at;) {
        char *next = strstr(at + 1, CA_TRUSTED_UNTIL);
        int64_t until = strtoll(at + sizeof CA_TRUSTED_UNTIL - 1, NULL, 10);
        size_t before = list->n;
        if (next)
            next[-1] = '\0';
        bool added = until > now && add_pem(list, CA_PREVIOUS, at, strlen(at), until, 0) == 0 && list->n > before;
        if (added && list->v[before].not_after <= now)
            free(list->v[--list->n].der);
        else if (added)
            add_crl(list, at);
        at = next;
    }
    free(pem);
}

int authority_certificates(const struct authority_config *config, int64_t now, struct ca_certificates *out, char *err, size_t err_size)
{
    struct ca_files files;
    char why[256];
    *out = (struct ca_certificates){0};
    if (ca_files_init(&files, config) < 0) {
        snprintf(err, err_size, "out of memory");
        return -SOTH_ENOMEM;
    }
    int r = -SOTH_ENOENT;
    if (!material_exists(files.cert))
        snprintf(err, err_size, "%s: there is no certificate authority yet; make one with `soth-mitm ca init`", files.cert);
    else
        r = add_file(out, CA_CURRENT, files.cert, 1, err, err_size); /* one that is issued has its issuers behind it */
    if (r == 0 && material_exists(files.next_cert)) /* half of one is no successor, and none that matters */
        add_file(out, CA_NEXT, files.next_cert, 0, why, sizeof why);
    if (r == 0)
        add_previous(out, files.previous, now);
    ca_files_fini(&files);
    if (r < 0)
        ca_certificates_free(out);
    return r;
}

int authority_certificates_of(const char *path, struct ca_certificates *out, char *err, size_t err_size)
{
    *out = (struct ca_certificates){0};
    int r = add_file(out, CA_CURRENT, path, 1, err, err_size);
    if (r < 0)
        ca_certificates_free(out);
    return r;
}

char *ca_certificates_pem(const struct ca_certificates *list)
{
    char *text = NULL;
    size_t size;
    int whole = 1;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    for (size_t i = 0; i < list->n; i++) {
        char *pem = material_pem(list->v[i].der, list->v[i].size, CERT_TYPE);
        whole &= pem && fputs(pem, out) >= 0;
        free(pem);
    }
    if (fclose(out) == 0 && whole)
        return text;
    free(text);
    return NULL;
}
