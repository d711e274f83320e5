/* SPDX-License-Identifier: MPL-2.0 */
/* Revocation lists: leaves say where theirs is, openssl accepts it, it is made anew in time, and it outlives its CA's key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/tls/authority.h"
#include "host/tls/issuer.h"
#include "host/tls/material.h"
#include "host/tls/session.h"
#include "tls_files.h"

#include <wolfssl/wolfcrypt/asn_public.h>

#define DAY INT64_C(86400)

static struct tls_files files;
static char leaf_path[128], crl_path[128], err[512];

static int set_up(void **state)
{
    (void)state;
    tls_files_init(&files);
    snprintf(leaf_path, sizeof leaf_path, "%s/leaf.pem", files.dir);
    snprintf(crl_path, sizeof crl_path, "%s/ca.crl", files.dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(leaf_path);
    unlink(crl_path);
    tls_files_fini(&files);
    return 0;
}

static struct authority *must_open(void)
{
    struct authority_config config = tls_files_config(&files);
    return tls_files_open(&config);
}

static void write_pem(const char *path, const uint8_t *der, size_t n, int type)
{
    char *pem = material_pem(der, n, type);
    assert_non_null(pem);
    unlink(path);
    tls_files_write(path, pem, 0644);
    free(pem);
}

/* The name in the leaf's URL. */
static void name_in_leaf(struct authority *a, char name[CERT_KEY_NAME])
{
    int hit;
    struct leaf *leaf = leaf_get(a, soth_span("a.test"), time(NULL), &hit);
    assert_non_null(leaf);
    struct soth_span der = leaf_der(leaf);
    write_pem(leaf_path, (const uint8_t *)der.p, der.n, CERT_TYPE);
    const char *url = memmem(der.p, der.n, CERT_CRL_URL, sizeof CERT_CRL_URL - 1);
    name[0] = '\0';
    if (url) {
        const char *end = memmem(url, (size_t)(der.p + der.n - url), ".crl", 4);
        assert_non_null(end);
        url += sizeof CERT_CRL_URL - 1;
        assert_true(end - url < (long)CERT_KEY_NAME);
        snprintf(name, CERT_KEY_NAME, "%.*s", (int)(end - url), url);
    }
    leaf_put(leaf);
}

struct list {
    uint8_t *der;
    size_t n;
};

static struct list must_get(struct authority *a, const char *name, int64_t now)
{
    struct list list;
    assert_int_equal(authority_crl(a, soth_span(name), now, &list.der, &list.n), 0);
    return list;
}

static void is_none(struct authority *a, const char *name, int64_t now)
{
    struct list list = {NULL, 0};
    assert_int_equal(authority_crl(a, soth_span(name), now, &list.der, &list.n), -SOTH_ENOENT);
    assert_null(list.der);
}

static void verify_with(const struct list *list, const char *ca_path)
{
    char command[1024];
    write_pem(crl_path, list->der, list->n, CRL_TYPE);
    snprintf(command, sizeof command,
             "! command -v openssl >/dev/null || openssl verify -x509_strict -crl_check -CAfile %s -CRLfile %s %s >/dev/null", ca_path, crl_path, leaf_path);
    if (system(command) != 0)
        fail_msg("%s", command);
}

static void good_for_openssl(void **state)
{
    char name[CERT_KEY_NAME];
    (void)state;
    for (int rsa = 0; rsa < 2; rsa++) {
        if (rsa)
            tls_files_make_ca(&files, KEY_RSA2048, time(NULL) - 9 * DAY, time(NULL) + 9 * DAY);
        struct authority *a = must_open();
        name_in_leaf(a, name);
        assert_int_equal(strlen(name), 40);
        struct list list = must_get(a, name, time(NULL)), current = must_get(a, "", time(NULL));
        assert_int_equal(list.n, current.n);
        assert_memory_equal(list.der, current.der, list.n);
        verify_with(&list, files.cert);
        is_none(a, "00", time(NULL));
        free(list.der);
        free(current.der);
        authority_free(a);
        unlink(files.cert);
        unlink(files.key);
    }
}

static void made_anew_in_time(void **state)
{
    int64_t now = time(NULL);
    (void)state;
    struct authority *a = must_open();
    struct list first = must_get(a, "", now), same = must_get(a, "", now + DAY / 2 - 1), later = must_get(a, "", now + DAY / 2);
    assert_int_equal(first.n, same.n);
    assert_memory_equal(first.der, same.der, first.n);
    assert_true(first.n != later.n || memcmp(first.der, later.der, first.n) != 0);
    struct list earlier = must_get(a, "", now - DAY); /* the clock was put back */
    assert_true(earlier.n != later.n || memcmp(earlier.der, later.der, earlier.n) != 0);
    free(first.der);
    free(same.der);
    free(later.der);
    free(earlier.der);
    authority_free(a);
}

/* Its last list lies beside its certificate for as long as that is trusted. */
static void after_a_rotation(void **state)
{
    char old[CERT_KEY_NAME], new[CERT_KEY_NAME], previous[192];
    struct authority_config config = tls_files_config(&files);
    int64_t now = time(NULL);
    (void)state;
    struct authority *a = must_open();
    name_in_leaf(a, old);
    for (int i = 0; i < 2; i++) { /* that of a CA before the one before stays, too */
        assert_int_equal(authority_rotate(&config, 0, err, sizeof err), 0);
        struct authority *b = authority_renew(a, &config, err, sizeof err);
        assert_non_null(b);
        authority_free(a);
        a = b;
        struct list list = must_get(a, old, now);
        snprintf(previous, sizeof previous, "%s.previous", files.cert);
        if (i == 0)
            verify_with(&list, previous);
        free(list.der);
    }
    free(must_get(a, old, now + CA_OVERLAP_DAYS * DAY - 60).der);
    is_none(a, old, now + CA_OVERLAP_DAYS * DAY + 60);
    name_in_leaf(a, new);
    assert_string_not_equal(old, new);
    assert_int_equal(authority_rotate(&config, AUTHORITY_FORGET, err, sizeof err), 0);
    struct authority *b = authority_renew(a, &config, err, sizeof err);
    authority_free(a);
    is_none(b, old, now);
    is_none(b, new, now);
    authority_free(b);
}

/* A CA that may sign certificates alone signs no list, and its leaves promise none. */
static void not_every_ca_may(void **state)
{
    char command[1024], name[CERT_KEY_NAME];
    (void)state;
    if (system("command -v openssl >/dev/null 2>&1") != 0)
        skip();
    snprintf(command, sizeof command,
             "mkdir -p %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s -out %s -days 9 -subj /CN=x -addext keyUsage=critical,keyCertSign "
             "2>/dev/null && chmod 600 %s", files.parent, files.key, files.cert, files.key);
    assert_int_equal(system(command), 0);
    struct authority *a = must_open();
    name_in_leaf(a, name);
    assert_string_equal(name, "");
    is_none(a, "", time(NULL));
    authority_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(good_for_openssl, set_up, tear_down),
        cmocka_unit_test_setup_teardown(made_anew_in_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(after_a_rotation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(not_every_ca_may, set_up, tear_down),
    };
    if (tls_library_init() < 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tls_library_fini();
    return failed;
}
