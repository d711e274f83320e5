/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A CA's successor: made ready, put in its place, by command and by age; what clients should trust meanwhile. And what
 * is left when the one who does it is stopped, or fails, at each of its steps: every call that changes a file passes through here.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/tls/authority.h"
#include "host/tls/cert.h"
#include "host/tls/material.h"
#include "host/tls/session.h"
#include "tls_files.h"

#define DAY INT64_C(86400)

static struct tls_files files;
static char next_cert[160], next_key[160], err[512];

/* ---- every step that changes a file ---- */

static enum { COUNT, DIE, FAIL } mode;
static long steps, stop_at;

/* Is it this step's turn? With DIE the process ends here, as by SIGKILL: nothing is cleaned up. */
static int stops(void)
{
    if (++steps != stop_at || mode == COUNT)
        return 0;
    if (mode == DIE)
        _exit(77);
    errno = EIO;
    return 1;
}

int rename(const char *from, const char *to)
{
    return stops() ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path)
{
    return stops() ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int fsync(int fd)
{
    return stops() ? -1 : (int)syscall(SYS_fsync, fd);
}

int fchmod(int fd, mode_t bits)
{
    return stops() ? -1 : (int)syscall(SYS_fchmod, fd, bits);
}

ssize_t write(int fd, const void *p, size_t n)
{
    if (fd > 2 && steps + 1 == stop_at && n > 1) /* half of it arrives */
        n /= 2;
    ssize_t r = syscall(SYS_write, fd, p, n);
    return fd > 2 && stops() ? -1 : r;
}

/* ---- a CA in a directory ---- */

static int set_up(void **state)
{
    (void)state;
    mode = COUNT;
    tls_files_init(&files);
    snprintf(next_cert, sizeof next_cert, "%s.next", files.cert);
    snprintf(next_key, sizeof next_key, "%s.next", files.key);
    return 0;
}

static int tear_down(void **state)
{
    char command[256];
    (void)state;
    mode = COUNT;
    snprintf(command, sizeof command, "rm -rf %s/deep", files.dir);
    assert_int_equal(system(command), 0);
    tls_files_fini(&files);
    return 0;
}

static void must(int r)
{
    if (r < 0)
        fail_msg("%s", err);
}

static void fingerprint(char out[96])
{
    struct authority_config config = tls_files_config(&files);
    struct authority_info info;
    struct authority *a = tls_files_open(&config);
    authority_describe(a, &info);
    strcpy(out, info.sha256);
    authority_free(a);
}

static struct ca_certificates listed(int64_t now)
{
    struct authority_config config = tls_files_config(&files);
    struct ca_certificates list;
    must(authority_certificates(&config, now, &list, err, sizeof err));
    return list;
}

static int role_of(const struct ca_certificates *list, const char *sha256)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->v[i].sha256, sha256) == 0)
            return (int)list->v[i].role;
    return -1;
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

/* ---- by command ---- */

static void successor(void **state)
{
    struct authority_config config = tls_files_config(&files);
    char first[96], second[96], third[96];
    int made = -1;
    (void)state;
    fingerprint(first);
    must(authority_prepare(&config, &made, err, sizeof err));
    assert_int_equal(made, 1);
    assert_int_equal(mode_of(next_key), 0600);
    assert_int_equal(mode_of(next_cert), 0644);
    struct ca_certificates list = listed(time(NULL));
    assert_int_equal(list.n, 2);
    assert_int_equal(role_of(&list, first), CA_CURRENT);
    assert_int_equal(list.v[1].role, CA_NEXT);
    strcpy(second, list.v[1].sha256);
    ca_certificates_free(&list);
    must(authority_prepare(&config, &made, err, sizeof err));
    assert_int_equal(made, 0); /* the one that clients have been given stays */
    must(authority_rotate(&config, 0, err, sizeof err));
    list = listed(time(NULL));
    assert_int_equal(list.n, 2);
    assert_int_equal(role_of(&list, second), CA_CURRENT);
    assert_int_equal(role_of(&list, first), CA_PREVIOUS);
    int64_t until = list.v[1].trusted_until;
    assert_true(until > time(NULL) + (CA_OVERLAP_DAYS - 1) * DAY && until <= time(NULL) + CA_OVERLAP_DAYS * DAY);
    ca_certificates_free(&list);
    assert_true(access(next_cert, F_OK) != 0 && access(next_key, F_OK) != 0);
    assert_int_equal(mode_of(files.key), 0600);
    must(authority_rotate(&config, 0, err, sizeof err)); /* without preparing */
    fingerprint(third);
    list = listed(time(NULL));
    assert_int_equal(list.n, 3);
    assert_int_equal(role_of(&list, third), CA_CURRENT);
    assert_int_equal(role_of(&list, second), CA_PREVIOUS);
    assert_int_equal(role_of(&list, first), CA_PREVIOUS);
    ca_certificates_free(&list);
    list = listed(time(NULL) + CA_OVERLAP_DAYS * DAY + 1);
    assert_int_equal(list.n, 1); /* the overlap is over */
    ca_certificates_free(&list);
    must(authority_rotate(&config, AUTHORITY_FORGET, err, sizeof err));
    list = listed(time(NULL));
    assert_int_equal(list.n, 1); /* a stolen key is not trusted for another day */
    ca_certificates_free(&list);
}

/* What of a previous CA that would expire within the overlap? */
static void overlap_ends_with_the_certificate(void **state)
{
    struct authority_config config = tls_files_config(&files);
    int64_t now = time(NULL);
    (void)state;
    tls_files_make_ca(&files, KEY_RSA2048, now - 10 * DAY, now + 3 * DAY);
    must(authority_rotate(&config, 0, err, sizeof err));
    struct ca_certificates list = listed(now);
    assert_int_equal(list.n, 2);
    assert_int_equal(list.v[1].trusted_until, now + 3 * DAY);
    ca_certificates_free(&list);
    list = listed(now + 4 * DAY);
    assert_int_equal(list.n, 1);
    ca_certificates_free(&list);
    char *key = tls_files_read(files.key);
    assert_true(strlen(key) > 1000); /* RSA begets RSA */
    free(key);
}

static void an_expired_ca_can_be_rotated(void **state)
{
    struct authority_config config = tls_files_config(&files);
    int64_t now = time(NULL);
    (void)state;
    tls_files_make_ca(&files, KEY_P256, now - 10 * DAY, now - DAY);
    assert_null(authority_open(&config, 0, NULL, err, sizeof err));
    assert_non_null(strstr(err, "ca rotate"));
    must(authority_rotate(&config, 0, err, sizeof err));
    authority_free(tls_files_open(&config));
    struct ca_certificates list = listed(now);
    assert_int_equal(list.n, 1);
    ca_certificates_free(&list);
}

static void refused(const struct authority_config *config, const char *says)
{
    err[0] = 0;
    assert_true(authority_rotate(config, 0, err, sizeof err) < 0);
    if (!strstr(err, says))
        fail_msg("\"%s\" does not say \"%s\"", err, says);
}

static void what_cannot_be_rotated(void **state)
{
    struct authority_config config = tls_files_config(&files), one = config;
    char first[96], second[96];
    (void)state;
    refused(&config, "ca init"); /* there is none: no directory, no file */
    fingerprint(first);
    one.key_path = one.cert_path;
    refused(&one, "needs two files");
    assert_int_equal(chmod(files.key, 0644), 0);
    refused(&config, "chmod 600");
    assert_int_equal(chmod(files.key, 0600), 0);
    char *cert = tls_files_read(files.cert), *key = tls_files_read(files.key);
    tls_files_make_ca(&files, KEY_P256, time(NULL) - DAY, time(NULL) + DAY);
    tls_files_write(files.cert, cert, 0644);
    refused(&config, "belong together"); /* somebody else's key is not overwritten */
    tls_files_write(files.key, key, 0600);
    free(cert);
    free(key);
    tls_files_write(next_key, "half", 0600); /* what lies there is no successor: a new one is made */
    tls_files_write(next_cert, "half", 0644);
    must(authority_rotate(&config, 0, err, sizeof err));
    fingerprint(second);
    assert_string_not_equal(first, second);
}

/* ---- stopped anywhere ---- */

/* The files are of the one CA or of the other, whole; and the next rotation ends well. Returns whether it is the new one. */
static int is_usable(const char *before)
{
    struct authority_config config = tls_files_config(&files);
    char now_there[96], after[96];
    mode = COUNT;
    fingerprint(now_there);
    assert_int_equal(mode_of(files.key), 0600);
    int is_new = strcmp(now_there, before) != 0;
    struct ca_certificates list = listed(time(NULL));
    assert_int_equal(role_of(&list, before), is_new ? CA_PREVIOUS : CA_CURRENT); /* never forgotten */
    ca_certificates_free(&list);
    must(authority_rotate(&config, 0, err, sizeof err));
    fingerprint(after);
    assert_string_not_equal(after, now_there);
    assert_true(access(next_cert, F_OK) != 0 && access(next_key, F_OK) != 0);
    return is_new;
}

/* Rotates in a child that ends at this step. false: it came to the end before. */
static int dies_at(long step)
{
    struct authority_config config = tls_files_config(&files);
    int status;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        mode = DIE;
        steps = 0;
        stop_at = step;
        _exit(authority_rotate(&config, 0, err, sizeof err) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77));
    return WEXITSTATUS(status) == 77;
}

static void a_crash_at_any_step(void **state)
{
    char before[96];
    int old = 0, new = 0;
    long step = 1;
    (void)state;
    for (;; step++) {
        fingerprint(before);
        if (!dies_at(step))
            break;
        *(is_usable(before) ? &new : &old) += 1;
    }
    print_message("a rotation has %ld steps: stopped there, %d leave the old CA and %d the new one\n", step - 1, old, new);
    assert_true(step > 12 && old > 8 && new >= 2);
}

/* Between the two renames, seen from outside: a key beside a certificate that is not its own. */
static void a_half_done_switch_is_ended(void **state)
{
    struct authority_config config = tls_files_config(&files);
    char first[96], second[96];
    (void)state;
    fingerprint(first);
    must(authority_prepare(&config, NULL, err, sizeof err));
    assert_int_equal(rename(next_key, files.key), 0);
    struct authority *a = tls_files_open(&config); /* as a proxy at its start does */
    struct authority_info info;
    authority_describe(a, &info);
    strcpy(second, info.sha256);
    authority_free(a);
    assert_string_not_equal(first, second);
    assert_true(access(next_cert, F_OK) != 0);
    fingerprint(first);
    assert_string_equal(first, second);
}

static void a_failure_at_any_step(void **state)
{
    struct authority_config config = tls_files_config(&files);
    char before[96];
    int failed = 0;
    (void)state;
    for (long step = 1;; step++) {
        fingerprint(before);
        mode = FAIL;
        steps = 0;
        stop_at = step;
        err[0] = 0;
        int r = authority_rotate(&config, 0, err, sizeof err);
        int reached = steps >= step;
        assert_true(r == 0 || strlen(err) > 20);
        failed += r != 0;
        mode = COUNT;
        if (!reached)
            break;
        is_usable(before);
    }
    assert_true(failed > 10);
}

/* ---- by age ---- */

static int issuer_is(struct authority *a, const char *host, int64_t now, const struct ca_certificate *ca)
{
    struct cert_view leaf, issuer;
    int hit;
    struct leaf *l = leaf_get(a, soth_span(host), now, &hit);
    assert_non_null(l);
    struct soth_span der = leaf_der(l);
    assert_int_equal(cert_parse((const uint8_t *)der.p, der.n, &leaf), 0);
    assert_int_equal(cert_parse(ca->der, ca->size, &issuer), 0);
    /* both CAs have the same name: the leaf's authorityKeyIdentifier tells */
    int found = memmem(der.p, der.n, issuer.key_id.p, issuer.key_id.n) != NULL;
    leaf_put(l);
    return found;
}

static void by_age(void **state)
{
    struct authority_config config = tls_files_config(&files);
    int64_t now = time(NULL), made = now - 2 * DAY; /* our CAs are backdated by two days: it is new */
    int hit;
    (void)state;
    tls_files_make_ca(&files, KEY_P256, made, now + 1000 * DAY);
    config.rotate_after = 100 * DAY;
    struct authority *a = tls_files_open(&config);
    assert_int_equal(authority_due(a, now), 75 * DAY);
    assert_int_equal(authority_tend(a, now + 74 * DAY, err, sizeof err), AUTHORITY_STAYS);
    assert_true(access(next_cert, F_OK) != 0);
    assert_int_equal(authority_tend(a, now + 75 * DAY, err, sizeof err), AUTHORITY_PREPARED);
    assert_int_equal(authority_due(a, now + 75 * DAY), 25 * DAY);
    assert_int_equal(authority_tend(a, now + 76 * DAY, err, sizeof err), AUTHORITY_STAYS);
    struct ca_certificates list = listed(now);
    assert_int_equal(list.n, 2);
    struct leaf *in_use = leaf_get(a, soth_span("used.test"), now, &hit);
    assert_int_equal(issuer_is(a, "used.test", now, &list.v[0]), 1);
    assert_int_equal(authority_tend(a, now + 100 * DAY, err, sizeof err), AUTHORITY_ROTATED);
    assert_int_equal(issuer_is(a, "used.test", now, &list.v[1]), 1); /* the one that was prepared signs */
    assert_true(leaf_der(in_use).n > 0);                             /* what is in use stays */
    leaf_put(in_use);
    assert_int_equal(authority_due(a, list.v[1].not_before + 2 * DAY), 75 * DAY); /* from when it was made, which may be a second ago */
    ca_certificates_free(&list);
    assert_true(authority_expires(a) > now + 3000 * DAY);
    authority_free(a);
}

static void somebody_was_faster(void **state)
{
    struct authority_config config = tls_files_config(&files);
    int64_t now = time(NULL);
    char by_hand[96];
    struct authority_info info;
    (void)state;
    tls_files_make_ca(&files, KEY_P256, now - 2 * DAY, now + 1000 * DAY);
    config.rotate_after = 100 * DAY;
    struct authority *a = tls_files_open(&config);
    must(authority_rotate(&config, 0, err, sizeof err));
    fingerprint(by_hand);
    assert_int_equal(authority_tend(a, now + 100 * DAY, err, sizeof err), AUTHORITY_ROTATED);
    authority_describe(a, &info);
    assert_string_equal(info.sha256, by_hand); /* not a third one */
    authority_free(a);
}

static void age_that_cannot_be(void **state)
{
    struct authority_config config = tls_files_config(&files);
    int64_t now = time(NULL);
    struct authority_info before, after;
    (void)state;
    tls_files_make_ca(&files, KEY_P256, now - 2 * DAY, now + 1000 * DAY);
    config.rotate_after = 100 * DAY;
    struct authority *a = tls_files_open(&config);
    authority_describe(a, &before);
    mode = FAIL;
    steps = 0;
    stop_at = 3;
    assert_true(authority_tend(a, now + 100 * DAY, err, sizeof err) < 0);
    mode = COUNT;
    authority_describe(a, &after);
    assert_string_equal(before.sha256, after.sha256); /* it goes on signing with what it has */
    assert_int_equal(authority_tend(a, now + 100 * DAY, err, sizeof err), AUTHORITY_ROTATED);
    authority_free(a);
}

struct race {
    struct authority *authority;
    atomic_int stop;
};

static void *sign_on(void *arg)
{
    struct race *race = arg;
    long n = 0, failed = 0;
    while (!atomic_load(&race->stop)) {
        char host[32];
        int hit;
        snprintf(host, sizeof host, "h%ld.test", n++ % 20);
        struct leaf *leaf = leaf_get(race->authority, soth_span(host), time(NULL), &hit);
        failed += !leaf || leaf_der(leaf).n == 0;
        leaf_put(leaf);
    }
    return (void *)failed;
}

/* Workers sign all the time; nobody waits, nobody fails. */
static void while_others_sign(void **state)
{
    struct authority_config config = tls_files_config(&files);
    pthread_t threads[2];
    void *failed;
    (void)state;
    config.rotate_after = 100 * DAY;
    struct race race = {.authority = tls_files_open(&config)};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign_on, &race), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(authority_tend(race.authority, time(NULL) + 100 * DAY, err, sizeof err), AUTHORITY_ROTATED);
    atomic_store(&race.stop, 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    authority_free(race.authority);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(successor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(overlap_ends_with_the_certificate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_expired_ca_can_be_rotated, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_rotated, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_crash_at_any_step, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_half_done_switch_is_ended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failure_at_any_step, set_up, tear_down),
        cmocka_unit_test_setup_teardown(by_age, set_up, tear_down),
        cmocka_unit_test_setup_teardown(somebody_was_faster, set_up, tear_down),
        cmocka_unit_test_setup_teardown(age_that_cannot_be, set_up, tear_down),
        cmocka_unit_test_setup_teardown(while_others_sign, set_up, tear_down),
    };
    if (tls_library_init() < 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tls_library_fini();
    return failed;
}
