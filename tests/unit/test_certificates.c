/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What we sign, judged by OpenSSL's command line: strict X.509 verification of CA and leaves, names and addresses, RSA and ECDSA on either
 * level, an intermediate CA, PKCS#12. Skips, saying so, where there is no openssl.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/tls/authority.h"
#include "host/tls/material.h"
#include "host/tls/session.h"
#include "session_pair.h"
#include "tls_files.h"

#include "host/tls/wolf.h"

#include <wolfssl/wolfcrypt/asn_public.h>

static struct tls_files files;
static char leaf_path[128], err[512];

static int set_up(void **state)
{
    (void)state;
    tls_files_init(&files);
    snprintf(leaf_path, sizeof leaf_path, "%s/leaf.pem", files.dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(leaf_path);
    tls_files_fini(&files);
    return 0;
}

static int shell(const char *format, ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_true(n > 0 && (size_t)n < sizeof command);
    return system(command);
}

static void need_openssl(void)
{
    if (shell("command -v openssl >/dev/null 2>&1") == 0)
        return;
    print_message("skipped: there is no openssl command\n");
    skip();
}

static struct authority *must_open(uint32_t rsa_leaves)
{
    struct authority_config config = tls_files_config(&files);
    config.rsa_leaves = rsa_leaves;
    return tls_files_open(&config);
}

static void write_leaf(struct authority *a, const char *host)
{
    int hit;
    struct leaf *leaf = leaf_get(a, soth_span(host), time(NULL), &hit);
    assert_non_null(leaf);
    struct soth_span der = leaf_der(leaf);
    char *pem = material_pem((const uint8_t *)der.p, der.n, CERT_TYPE);
    tls_files_write(leaf_path, pem, 0644);
    free(pem);
    leaf_put(leaf);
}

static void verify(struct authority *a, const char *host, const char *option, const char *value)
{
    write_leaf(a, host);
    if (shell("openssl verify -x509_strict -purpose sslserver -CAfile %s %s '%s' %s >/dev/null", files.cert, option, value, leaf_path) != 0)
        fail_msg("the leaf for %s does not verify", host);
    assert_int_not_equal(shell("openssl verify -x509_strict -purpose sslserver -CAfile %s -verify_hostname other.test %s >/dev/null 2>&1",
                               files.cert, leaf_path), 0);
}

static void verify_all(struct authority *a)
{
    static const char longest[] = "a23456789.b23456789.c23456789.d23456789.e23456789.f23456789.g23456789.h23456789.example.test";
    verify(a, "a.test", "-verify_hostname", "a.test");
    verify(a, "*.x.test", "-verify_hostname", "any.x.test");
    verify(a, "localhost", "-verify_hostname", "localhost");
    verify(a, "xn--bcher-kva.test", "-verify_hostname", "xn--bcher-kva.test");
    verify(a, "192.0.2.7", "-verify_ip", "192.0.2.7");
    verify(a, "2001:db8::7", "-verify_ip", "2001:db8::7");
    verify(a, longest, "-verify_hostname", longest);
    verify(a, "a23456789.b23456789.c23456789.d23456789.e23456789.f23456789.1234", "-verify_hostname",
           "a23456789.b23456789.c23456789.d23456789.e23456789.f23456789.1234"); /* 64 characters: the longest common name */
}

static void created_ca(void **state)
{
    (void)state;
    need_openssl();
    for (uint32_t rsa = 0; rsa <= 1; rsa++) {
        struct authority *a = must_open(rsa);
        assert_int_equal(shell("openssl verify -x509_strict -CAfile %s %s >/dev/null", files.cert, files.cert), 0);
        verify_all(a);
        assert_int_equal(shell("openssl x509 -in %s -noout -text | grep -q '%s'", leaf_path, rsa ? "rsaEncryption" : "prime256v1"), 0);
        assert_int_equal(shell("openssl x509 -in %s -noout -text | grep -A1 'Key Usage: critical' | grep -q 'Digital Signature'", leaf_path), 0);
        authority_free(a);
    }
}

static void rsa_ca(void **state)
{
    (void)state;
    need_openssl();
    tls_files_make_ca(&files, KEY_RSA2048, time(NULL) - 60, time(NULL) + 86400);
    struct authority *a = must_open(0);
    verify_all(a);
    assert_int_equal(shell("openssl x509 -in %s -noout -text | grep -q sha256WithRSAEncryption", leaf_path), 0);
    authority_free(a);
}

/* CAs as OpenSSL makes them, in each of its formats of private keys. */
static void foreign_ca(void **state)
{
    static const char *const keys[] = {
        "openssl ecparam -name prime256v1 -genkey",             /* parameters, then SEC 1 */
        "openssl ecparam -name secp384r1 -genkey -noout",       /* SEC 1 */
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        "openssl genrsa -traditional 2048",                     /* PKCS#1 */
    };
    (void)state;
    need_openssl();
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        tls_files_write(files.key, "", 0600);
        assert_int_equal(shell("umask 077; %s > %s 2>/dev/null", keys[i], files.key), 0);
        assert_int_equal(shell("openssl req -x509 -key %s -out %s -days 9 -subj '/C=DE/O=Some Ltd/CN=Some CA' -addext keyUsage=critical,keyCertSign",
                               files.key, files.cert), 0);
        struct authority *a = must_open(0);
        struct authority_info info;
        authority_describe(a, &info);
        assert_string_equal(info.subject, "C=DE, O=Some Ltd, CN=Some CA");
        verify(a, "a.test", "-verify_hostname", "a.test");
        assert_int_equal(shell("openssl x509 -in %s -noout -issuer | grep -Eq 'CN ?= ?Some CA'", leaf_path), 0);
        authority_free(a);
    }
}

/* We are an intermediate CA: clients that know the root alone must be sent what lies between. */
static void intermediate_ca(void **state)
{
    char root[160], root_key[160];
    struct pair pair = {0};
    int hit, c, s;
    (void)state;
    need_openssl();
    snprintf(root, sizeof root, "%s/root.pem", files.dir);
    snprintf(root_key, sizeof root_key, "%s/root.key", files.dir);
    tls_files_write(files.key, "", 0600);
    assert_int_equal(shell("openssl req -x509 -newkey rsa:2048 -nodes -keyout %s -out %s -days 9 -subj /CN=root 2>/dev/null", root_key, root), 0);
    assert_int_equal(shell("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 > %s", files.key), 0);
    assert_int_equal(shell("openssl req -new -key %s -subj /CN=between -addext basicConstraints=critical,CA:TRUE -addext "
                           "keyUsage=critical,keyCertSign | openssl x509 -req -copy_extensions copyall -CA %s -CAkey %s -set_serial 7 -days 9 "
                           "-out %s 2>/dev/null", files.key, root, root_key, files.cert), 0);
    assert_int_equal(shell("cat %s >> %s", root, files.cert), 0);
    struct authority *a = must_open(0);
    struct trust *trust = trust_new(&(struct trust_config){.extra_ca_file = root, .profile = TLS_PROFILE_DEFAULT}, err, sizeof err);
    struct session_tickets *tickets = session_tickets_new();
    struct leaf *leaf = leaf_get(a, soth_span("a.test"), time(NULL), &hit);
    assert_true(trust && tickets && leaf);
    pair.server = session_server_new(leaf, tickets, soth_span("a.test"), soth_span(""), TLS_PROFILE_DEFAULT);
    pair.client = session_client_new(trust, soth_span("a.test"), 443, soth_span("a.test"), soth_span(""));
    session_output(pair.server, &pair.to_client);
    session_output(pair.client, &pair.to_server);
    pair_handshake(&pair, 0, &c, &s);
    assert_int_equal(c, 1);
    assert_int_equal(s, 1);
    pair_close(&pair);
    leaf_put(leaf);
    session_tickets_free(tickets);
    trust_free(trust);
    authority_free(a);
    unlink(root);
    unlink(root_key);
}

static void p12(void **state)
{
    (void)state;
    need_openssl();
    struct authority *a = must_open(0);
    for (int with_key = 0; with_key <= 1; with_key++)
        for (int i = 0; i < 2; i++) {
            const char *password = i ? "a b\"c~" : "";
            uint8_t *out;
            size_t n;
            assert_int_equal(authority_p12(a, with_key, password, &out, &n), 0);
            FILE *file = fopen(leaf_path, "wb");
            assert_non_null(file);
            assert_int_equal(fwrite(out, 1, n, file), n);
            assert_int_equal(fclose(file), 0);
            free(out);
            assert_int_equal(shell("openssl pkcs12 -in %s -passin 'pass:%s' -nodes 2>/dev/null | openssl x509 | cmp -s - %s", leaf_path, password,
                                   files.cert), 0);
            int key = shell("openssl pkcs12 -in %s -passin 'pass:%s' -nodes -nocerts 2>/dev/null | grep -q 'PRIVATE KEY'", leaf_path, password);
            assert_int_equal(key == 0, with_key);
            assert_int_not_equal(shell("openssl pkcs12 -in %s -passin pass:wrong -nodes >/dev/null 2>&1", leaf_path), 0);
        }
    authority_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(created_ca, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rsa_ca, set_up, tear_down),
        cmocka_unit_test_setup_teardown(foreign_ca, set_up, tear_down),
        cmocka_unit_test_setup_teardown(intermediate_ca, set_up, tear_down),
        cmocka_unit_test_setup_teardown(p12, set_up, tear_down),
    };
    if (tls_library_init() < 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tls_library_fini();
    return failed;
}
