/* SPDX-License-Identifier: MPL-2.0 */
/* See tls_files.h. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/tls/cert.h"
#include "host/tls/material.h"
#include "tls_files.h"

#include "host/tls/wolf.h"

#include <wolfssl/wolfcrypt/asn_public.h>

void tls_files_init(struct tls_files *f)
{
    strcpy(f->dir, "/tmp/soth-ca-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->parent, sizeof f->parent, "%s/deep/er", f->dir);
    snprintf(f->cert, sizeof f->cert, "%s/ca.pem", f->parent);
    snprintf(f->key, sizeof f->key, "%s/ca.key", f->parent);
}

void tls_files_fini(struct tls_files *f)
{
    char middle[80];
    snprintf(middle, sizeof middle, "%s/deep", f->dir);
    unlink(f->cert);
    unlink(f->key);
    rmdir(f->parent);
    rmdir(middle);
    assert_int_equal(rmdir(f->dir), 0);
}

struct authority_config tls_files_config(const struct tls_files *f)
{
    return (struct authority_config){.cert_path = f->cert, .key_path = f->key, .common_name = "soth test CA", .organization = "soth",
                                     .leaf_cache_capacity = 8, .leaf_days = 30};
}

struct authority *tls_files_open(const struct authority_config *config)
{
    char err[512];
    struct authority *a = authority_open(config, AUTHORITY_CREATE, NULL, err, sizeof err);
    if (!a)
        fail_msg("%s", err);
    return a;
}

void tls_files_write(const char *path, const char *text, mode_t mode)
{
    char err[256];
    unlink(path);
    if (material_write(path, (int)mode, text, strlen(text), err, sizeof err) < 0)
        fail_msg("%s", err);
}

char *tls_files_read(const char *path)
{
    char err[256], *text = NULL;
    size_t n;
    if (material_read(path, 0, &text, &n, err, sizeof err) < 0)
        fail_msg("%s", err);
    return text;
}

static void write_pair(const struct tls_files *f, const struct private_key *key, const struct der *cert)
{
    size_t n;
    const uint8_t *pkcs8 = private_key_pkcs8(key, &n);
    char *key_pem = material_pem(pkcs8, n, PKCS8_PRIVATEKEY_TYPE), *cert_pem = material_pem(cert->p, cert->len, CERT_TYPE);
    assert_non_null(key_pem);
    assert_non_null(cert_pem);
    tls_files_write(f->key, key_pem, 0600);
    tls_files_write(f->cert, cert_pem, 0644);
    free(key_pem);
    free(cert_pem);
}

void tls_files_make_ca(const struct tls_files *f, enum key_kind kind, int64_t not_before, int64_t not_after)
{
    uint8_t bytes[CERT_DER_MAX];
    struct der cert = {.p = bytes, .cap = sizeof bytes};
    const struct cert_terms terms = {.serial = {0x41, 2, 3}, .not_before = not_before, .not_after = not_after};
    struct private_key *key = private_key_new(kind);
    assert_non_null(key);
    assert_int_equal(cert_make_ca(key, "made by hand", "", &terms, &cert), 0);
    write_pair(f, key, &cert);
    private_key_free(key);
}

void tls_files_make_leaf_as_ca(const struct tls_files *f)
{
    uint8_t ca_bytes[CERT_DER_MAX], bytes[CERT_DER_MAX];
    struct der ca = {.p = ca_bytes, .cap = sizeof ca_bytes}, cert = {.p = bytes, .cap = sizeof bytes};
    const struct cert_terms terms = {.serial = {0x41, 2, 3}, .not_before = time(NULL) - 60, .not_after = time(NULL) + 86400};
    struct cert_view issuer;
    struct private_key *ca_key = private_key_new(KEY_P256), *key = private_key_new(KEY_P256);
    assert_non_null(ca_key);
    assert_non_null(key);
    assert_int_equal(cert_make_ca(ca_key, "issuer", "", &terms, &ca), 0);
    assert_int_equal(cert_parse(ca.p, ca.len, &issuer), 0);
    assert_int_equal(cert_make_leaf(ca_key, &issuer, key, soth_span("a.test"), &terms, &cert), 0);
    write_pair(f, key, &cert);
    private_key_free(ca_key);
    private_key_free(key);
}
