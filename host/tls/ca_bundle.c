/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The CA's certificates and the system's roots come in, files for clients that look into no store of the system go out, beside the CA. A file is
 * there whole or as it was. The system itself is not changed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/tls/issuer.h"
#include "host/tls/material.h"

void ca_bundle_free(struct ca_bundle *b)
{
    free(b->bundle);
    free(b->trust);
    free(b->java);
    *b = (struct ca_bundle){0};
}

/* A file beside the CA's certificate; malloc'd, absolute when the directory can be resolved. */
static char *beside(const char *cert_path, const char *name)
{
    char *whole = realpath(cert_path, NULL), *out = NULL;
    const char *path = whole ? whole : cert_path, *slash = strrchr(path, '/');
    if (asprintf(&out, "%.*s%s", slash ? (int)(slash + 1 - path) : 0, path, name) < 0)
        out = NULL;
    free(whole);
    return out;
}

static int name_files(struct ca_bundle *b, const struct authority_config *config, char *err, size_t err_size)
{
    *b = (struct ca_bundle){beside(config->cert_path, "bundle.pem"), beside(config->cert_path, "trust.pem"),
                            beside(config->cert_path, "java-trust.p12"), 0};
    if (b->bundle && b->trust && b->java)
        return SOTH_OK;
    snprintf(err, err_size, "out of memory");
    ca_bundle_free(b);
    return -SOTH_ENOMEM;
}

char *ca_system_roots(const char *root, size_t *n)
{
    /* the files themselves before links to them: below another root those may lead out of it */
    static const char *const places[] = {"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
                                         "/var/lib/ca-certificates/ca-bundle.pem", "/etc/ssl/certs/ca-certificates.crt",
                                         "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char path[4096], why[256], *text;
        if ((size_t)snprintf(path, sizeof path, "%s%s", root, places[i]) < sizeof path && material_exists(path) &&
            material_read_roots(path, &text, n, why, sizeof why) == 0) {
            if (*n > 0)
                return text;
            free(text);
        }
    }
    *n = 0;
    return NULL;
}

static int write_bundle(const char *path, const char *roots, size_t n, const char *own, char *err, size_t err_size)
{
    char *all = NULL;
    const char *gap = n && roots[n - 1] != '\n' ? "\n" : "";
    int size = asprintf(&all, "%s%s%s", n ? roots : "", gap, own);
    if (size < 0) {
        snprintf(err, err_size, "%s: out of memory", path);
        return -SOTH_ENOMEM;
    }
    int r = material_replace(path, 0644, all, (size_t)size, err, err_size);
    free(all);
    return r;
}

/* One of the system's roots that cannot be read is left out: it is none that anybody relies on. */
static size_t split_roots(const char *pem, size_t n, uint8_t **der, struct soth_span **spans)
{
    size_t size = 0, first, header, length, count = 0;
    uint8_t tag;
    *der = NULL;
    *spans = NULL;
    if (!n || material_certificates(pem, n, der, &size, &first) < 0)
        return 0;
    for (size_t at = 0; at < size && der_parse_head(*der + at, size - at, &tag, &header, &length) == 0; at += header + length) {
        struct soth_span *more = realloc(*spans, (count + 1) * sizeof **spans);
        if (!more)
            break;
        *spans = more;
        more[count++] = (struct soth_span){(const char *)*der + at, header + length};
    }
    return count;
}

/* Of roots and ours. */
static int make_p12(const struct soth_span *roots, size_t count, const struct ca_certificates *list, const char *password, uint8_t **out,
                    size_t *size)
{
    struct soth_span *all = calloc(count + list->n, sizeof *all);
    WC_RNG rng;
    int r = -SOTH_ENOMEM;
    if (all && wc_InitRng(&rng) == 0) {
        if (count)
            memcpy(all, roots, count * sizeof *all);
        for (size_t i = 0; i < list->n; i++)
            all[count + i] = (struct soth_span){(const char *)list->v[i].der, list->v[i].size};
        r = p12_make(all, count + list->n, NULL, &rng, password, out, size);
        wc_FreeRng(&rng);
    }
    free(all);
    return r;
}

int ca_certificates_p12(const struct ca_certificates *list, const char *password, uint8_t **out, size_t *out_size)
{
    return make_p12(NULL, 0, list, password, out, out_size);
}

static int write_java(const char *path, const char *roots, size_t n, const struct ca_certificates *list, char *err, size_t err_size)
{
    uint8_t *der, *p12 = NULL;
    struct soth_span *spans;
    size_t count = split_roots(roots, n, &der, &spans), size = 0;
    int r = make_p12(spans, count, list, CA_JAVA_PASSWORD, &p12, &size);
    free(spans);
    free(der);
    if (r < 0)
        snprintf(err, err_size, "%s: cannot be made: out of memory or no randomness", path);
    else
        r = material_replace(path, 0644, p12, size, err, err_size);
    free(p12);
    return r;
}

int ca_bundle_write(const struct authority_config *config, int64_t now, struct ca_bundle *out, char *err, size_t err_size)
{
    struct ca_certificates list;
    size_t n = 0;
    *out = (struct ca_bundle){0};
    int r = authority_certificates(config, now, &list, err, err_size);
    if (r < 0)
        return r;
    char *own = ca_certificates_pem(&list), *roots = ca_system_roots("", &n);
    r = own ? name_files(out, config, err, err_size) : -SOTH_ENOMEM;
    if (r == 0)
        r = write_bundle(out->bundle, roots, n, own, err, err_size);
    if (r == 0)
        r = material_replace(out->trust, 0644, own, strlen(own), err, err_size);
    if (r == 0)
        r = write_java(out->java, roots, n, &list, err, err_size);
    out->has_roots = n > 0;
    free(own);
    free(roots);
    ca_certificates_free(&list);
    if (r < 0)
        ca_bundle_free(out);
    return r;
}

int ca_bundle_refresh(const struct authority_config *config, int64_t now, char *err, size_t err_size)
{
    struct ca_bundle b;
    int r = name_files(&b, config, err, err_size);
    if (r < 0)
        return r;
    int wanted = material_exists(b.bundle);
    ca_bundle_free(&b);
    if (!wanted)
        return SOTH_OK;
    r = ca_bundle_write(config, now, &b, err, err_size);
    ca_bundle_free(&b);
    return r;
}
