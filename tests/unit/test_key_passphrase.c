/* SPDX-License-Identifier: MPL-2.0 */
/* A CA's key under a passphrase: ours and OpenSSL's, opened, wrong, missing, and those that are made. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/tls/authority.h"
#include "host/tls/session.h"
#include "tls_files.h"

static struct tls_files files;
static char passphrase[160], err[512];

static int set_up(void **state)
{
    (void)state;
    tls_files_init(&files);
    snprintf(passphrase, sizeof passphrase, "%s/passphrase", files.dir);
    return 0;
}

static int tear_down(void **state)
{
    char command[512];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s/deep %s", files.dir, passphrase);
    assert_int_equal(system(command), 0);
    tls_files_fini(&files);
    return 0;
}

static void must(int r)
{
    if (r < 0)
        fail_msg("%s", err);
}

static void encrypted_keys(void **state)
{
    struct authority_config config = tls_files_config(&files), without = config;
    (void)state;
    config.key_passphrase_file = passphrase;
    assert_null(authority_open(&config, AUTHORITY_CREATE, NULL, err, sizeof err));
    assert_non_null(strstr(err, passphrase));
    tls_files_write(passphrase, "correct horse\nnot this\n", 0644);
    assert_null(authority_open(&config, AUTHORITY_CREATE, NULL, err, sizeof err));
    assert_non_null(strstr(err, "chmod 600"));
    assert_true(access(files.key, F_OK) != 0); /* nothing was made with it */
    assert_int_equal(chmod(passphrase, 0600), 0);
    authority_free(tls_files_open(&config));
    char *key = tls_files_read(files.key);
    assert_non_null(strstr(key, "BEGIN ENCRYPTED PRIVATE KEY"));
    free(key);
    authority_free(tls_files_open(&config));
    must(authority_rotate(&config, 0, err, sizeof err));
    key = tls_files_read(files.key);
    assert_non_null(strstr(key, "BEGIN ENCRYPTED PRIVATE KEY"));
    free(key);
    assert_null(authority_open(&without, 0, NULL, err, sizeof err));
    assert_non_null(strstr(err, "ca.key_passphrase_file"));
    tls_files_write(passphrase, "wrong horse", 0600);
    assert_null(authority_open(&config, 0, NULL, err, sizeof err));
    assert_true(strstr(err, "does not open it") && strstr(err, files.key) && strstr(err, passphrase) && !strstr(err, "horse"));
    tls_files_write(passphrase, "\ncorrect horse", 0600);
    assert_null(authority_open(&config, 0, NULL, err, sizeof err));
    assert_non_null(strstr(err, "first line"));
}

static int shell(const char *format, ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    return system(command);
}

/* What OpenSSL encrypts we open, and the other way round. */
static void encrypted_by_others(void **state)
{
    static const char *const how[] = {"-v2 aes-256-cbc", "-v2 aes-128-cbc -v2prf hmacWithSHA1", "-v2 aes-256-cbc -iter 100000"};
    struct authority_config config = tls_files_config(&files);
    char plain[160];
    (void)state;
    if (shell("command -v openssl >/dev/null 2>&1") != 0) {
        print_message("skipped: there is no openssl command\n");
        skip();
    }
    snprintf(plain, sizeof plain, "%s/plain", files.dir);
    authority_free(tls_files_open(&config));
    tls_files_write(passphrase, "correct horse", 0600);
    assert_int_equal(shell("mv %s %s", files.key, plain), 0);
    config.key_passphrase_file = passphrase;
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        assert_int_equal(shell("umask 077; openssl pkcs8 -topk8 -in %s -out %s -passout file:%s %s", plain, files.key, passphrase, how[i]), 0);
        authority_free(tls_files_open(&config));
    }
    must(authority_rotate(&config, 0, err, sizeof err));
    assert_int_equal(shell("openssl pkey -in %s -passin file:%s -pubout | cmp -s - /dev/stdin <<X\n$(openssl x509 -in %s -noout -pubkey)\nX\n",
                           files.key, passphrase, files.cert), 0);
    assert_int_not_equal(shell("openssl pkey -in %s -passin pass:wrong -noout 2>/dev/null", files.key), 0);
    unlink(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(encrypted_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(encrypted_by_others, set_up, tear_down),
    };
    if (tls_library_init() < 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tls_library_fini();
    return failed;
}
