/* SPDX-License-Identifier: MPL-2.0 */
/* host/tls/authority.h: CA files that are right and wrong, leaves, their cache. The certificates themselves: test_certificates.c. */
#include <stdarg.h>
#include <setjmp.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/tls/authority.h"
#include "host/tls/cert.h"
#include "host/tls/session.h"
#include "tls_files.h"

#include "host/tls/wolf.h"

#define DAY 86400

static struct tls_files files;
static char err[512];

static int set_up(void **state)
{
    (void)state;
    tls_files_init(&files);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tls_files_fini(&files);
    return 0;
}

static struct authority *open_with(uint32_t capacity, uint32_t days, unsigned flags)
{
    struct authority_config config = tls_files_config(&files);
    config.leaf_cache_capacity = capacity;
    config.leaf_days = days;
    return authority_open(&config, flags, NULL, err, sizeof err);
}

static struct authority *must_open(uint32_t capacity, uint32_t days)
{
    struct authority *a = open_with(capacity, days, AUTHORITY_CREATE);
    if (!a)
        fail_msg("%s", err);
    return a;
}

static void refused(const char *says, const char *says_too)
{
    struct authority *a = open_with(8, 30, AUTHORITY_CREATE);
    assert_null(a);
    if (!strstr(err, says) || !strstr(err, says_too))
        fail_msg("\"%s\" does not say \"%s\" and \"%s\"", err, says, says_too);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void created_once(void **state)
{
    struct authority_config config = tls_files_config(&files);
    struct authority_info first, second;
    int created = -1;
    (void)state;
    umask(002);
    assert_null(authority_open(&config, 0, &created, err, sizeof err));
    assert_non_null(strstr(err, "ca init"));
    struct authority *a = authority_open(&config, AUTHORITY_CREATE, &created, err, sizeof err);
    assert_non_null(a);
    assert_int_equal(created, 1);
    assert_int_equal(mode_of(files.key), 0600);
    assert_int_equal(mode_of(files.cert), 0644);
    assert_int_equal(mode_of(files.parent), 0700);
    authority_describe(a, &first);
    assert_string_equal(first.subject, "CN=soth test CA, O=soth");
    assert_int_equal(strlen(first.sha256), 95);
    authority_free(a);
    config.common_name = "another name"; /* a loaded CA keeps its own */
    a = authority_open(&config, AUTHORITY_CREATE, &created, err, sizeof err);
    assert_non_null(a);
    assert_int_equal(created, 0);
    authority_describe(a, &second);
    assert_string_equal(first.subject, second.subject);
    assert_string_equal(first.sha256, second.sha256);
    assert_string_equal(first.not_after, second.not_after);
    authority_free(a);
    assert_true(authority_create(&config, err, sizeof err) < 0);
    assert_non_null(strstr(err, "exists already"));
}

static void half_is_refused(void **state)
{
    (void)state;
    authority_free(must_open(8, 30));
    assert_int_equal(unlink(files.cert), 0);
    refused(files.cert, "missing");
    tls_files_write(files.cert, "x", 0644);
    assert_int_equal(unlink(files.key), 0);
    refused(files.key, "missing");
}

static void open_key_is_refused(void **state)
{
    (void)state;
    authority_free(must_open(8, 30));
    assert_int_equal(chmod(files.key, 0640), 0);
    refused(files.key, "chmod 600");
    assert_int_equal(chmod(files.key, 0604), 0);
    refused(files.key, "0604");
    assert_int_equal(chmod(files.key, 0400), 0);
    authority_free(must_open(8, 30));
}

static void garbage_is_refused(void **state)
{
    (void)state;
    authority_free(must_open(8, 30));
    char *key = tls_files_read(files.key);
    tls_files_write(files.key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0600);
    refused(files.key, "cannot be used");
    tls_files_write(files.key, "", 0600);
    refused(files.key, "not a PEM private key");
    tls_files_write(files.key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", 0600);
    refused(files.key, "encrypted");
    tls_files_write(files.key, key, 0600);
    tls_files_write(files.cert, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", 0644);
    refused(files.cert, "not a PEM certificate");
    tls_files_write(files.cert, "hello", 0644);
    refused(files.cert, "not a PEM certificate");
    assert_int_equal(unlink(files.cert), 0);
    assert_int_equal(mkdir(files.cert, 0700), 0);
    refused(files.cert, "not a regular file");
    assert_int_equal(rmdir(files.cert), 0);
    free(key);
}

static void wrong_pairs_are_refused(void **state)
{
    int64_t now = time(NULL);
    (void)state;
    tls_files_make_ca(&files, KEY_P256, now - 10 * DAY, now - DAY);
    refused(files.cert, "expired");
    tls_files_make_ca(&files, KEY_P256, now + DAY, now + 10 * DAY);
    refused(files.cert, "clock");
    tls_files_make_ca(&files, KEY_P256, now - DAY, now + 10 * DAY);
    char *key = tls_files_read(files.key);
    tls_files_make_ca(&files, KEY_P256, now - DAY, now + 10 * DAY);
    tls_files_write(files.key, key, 0600);
    refused(files.key, "belong together");
    free(key);
    tls_files_make_leaf_as_ca(&files);
    refused(files.cert, "not a CA");
}

/* Own DER of a leaf, parsed; the leaf is held by the caller. */
static struct cert_view view_of(const struct leaf *leaf)
{
    struct cert_view view;
    struct soth_span der = leaf_der(leaf);
    assert_int_equal(cert_parse((const uint8_t *)der.p, der.n, &view), 0);
    return view;
}

static void validity(void **state)
{
    int64_t now = time(NULL);
    int hit;
    (void)state;
    for (uint32_t days = 1; days <= 30; days += 29) {
        struct authority *a = must_open(8, days);
        struct leaf *leaf = leaf_get(a, soth_span("a.test"), now, &hit);
        assert_non_null(leaf);
        struct cert_view view = view_of(leaf);
        assert_true(view.not_before < now && view.not_after > now && view.not_after - view.not_before <= (int64_t)days * DAY);
        assert_true(view.not_before >= now - 2 * DAY);
        leaf_put(leaf);
        authority_free(a);
    }
    tls_files_make_ca(&files, KEY_P256, now - 3600, now + 5 * DAY);
    struct authority *a = must_open(8, 30);
    struct leaf *leaf = leaf_get(a, soth_span("a.test"), now, &hit);
    struct cert_view view = view_of(leaf);
    assert_true(view.not_after == now + 5 * DAY && view.not_before == now - 3600);
    leaf_put(leaf);
    authority_free(a);
}

static int get(struct authority *a, const char *host, int64_t now)
{
    int hit = -1;
    struct leaf *leaf = leaf_get(a, soth_span(host), now, &hit);
    assert_non_null(leaf);
    leaf_put(leaf);
    return hit;
}

static void cache(void **state)
{
    int64_t now = time(NULL);
    int hit;
    (void)state;
    struct authority *a = must_open(2, 30);
    assert_int_equal(get(a, "a.test", now), 0);
    assert_int_equal(get(a, "a.test", now), 1);
    assert_int_equal(get(a, "b.test", now), 0);
    assert_int_equal(get(a, "a.test", now), 1);
    assert_int_equal(get(a, "c.test", now), 0); /* b.test goes */
    assert_int_equal(get(a, "a.test", now), 1);
    assert_int_equal(get(a, "b.test", now), 0);
    assert_int_equal(get(a, "b.test", now + 18 * DAY), 1);
    assert_int_equal(get(a, "b.test", now + 19 * DAY), 0); /* made anew before it expires */
    assert_int_equal(get(a, "b.test", now + 19 * DAY), 1);
    assert_int_equal(get(a, "b.test", now - 5 * DAY), 0); /* the clock went back: not valid yet */
    struct leaf *held = leaf_get(a, soth_span("held.test"), now, &hit);
    assert_int_equal(get(a, "d.test", now), 0);
    assert_int_equal(get(a, "e.test", now), 0);
    assert_true(leaf_der(held).n > 0); /* dropped from the cache, but ours */
    authority_free(a);
    leaf_put(held);
    a = must_open(0, 30);
    assert_int_equal(get(a, "a.test", now), 0);
    assert_int_equal(get(a, "a.test", now), 0);
    authority_free(a);
}

/* ---- memory ---- */

static long allocated; /* by wolfSSL, not freed yet: contexts of leaves, keys, what signing wants */

static void *counted_malloc(size_t n)
{
    void *p = malloc(n);
    allocated += p ? (long)malloc_usable_size(p) : 0;
    return p;
}

static void counted_free(void *p)
{
    allocated -= p ? (long)malloc_usable_size(p) : 0;
    free(p);
}

static void *counted_realloc(void *p, size_t n)
{
    long before = p ? (long)malloc_usable_size(p) : 0;
    void *q = realloc(p, n);
    allocated += q ? (long)malloc_usable_size(q) - before : 0;
    return q;
}

/* What a cache of so many leaves holds after so many distinct hosts. */
static long held_after(uint32_t capacity, unsigned hosts)
{
    char host[64];
    long at_first = allocated;
    struct authority *a = must_open(capacity, 30);
    long before = allocated;
    for (unsigned i = 0; i < hosts; i++) {
        snprintf(host, sizeof host, "host-%u.some-long-enough.example.test", i);
        assert_int_equal(get(a, host, time(NULL)), 0);
    }
    long held = allocated - before;
    if (capacity && hosts > capacity) { /* the last ones are the ones that are there */
        assert_int_equal(get(a, host, time(NULL)), 1);
        snprintf(host, sizeof host, "host-%u.some-long-enough.example.test", hosts - capacity);
        assert_int_equal(get(a, host, time(NULL)), 1);
        snprintf(host, sizeof host, "host-%u.some-long-enough.example.test", hosts - capacity - 1);
        assert_int_equal(get(a, host, time(NULL)), 0);
    }
    authority_free(a);
    assert_int_equal(allocated, at_first); /* and nothing is left */
    return held;
}

/* 10,000 hosts cost what leaf_cache_capacity leaves cost. */
static void memory_stays_in_its_bounds(void **state)
{
    (void)state;
    wolfSSL_Malloc_cb m;
    wolfSSL_Free_cb f;
    wolfSSL_Realloc_cb r;
    authority_free(must_open(8, 30)); /* what the library sets up once */
    assert_int_equal(wolfSSL_GetAllocators(&m, &f, &r), 0);
    assert_int_equal(wolfSSL_SetAllocators(counted_malloc, counted_free, counted_realloc), 0);
    long few = held_after(64, 64), many = held_after(64, 10000), none = held_after(0, 1000), twice = held_after(128, 10000);
    wolfSSL_SetAllocators(m, f, r);
    print_message("held: %ld bytes by 64 leaves, %ld after 10000 hosts, %ld without a cache, %ld by 128 leaves\n", few, many, none, twice);
    assert_true(few > 64 * 1000); /* it is counted at all */
    assert_true(many <= few + few / 10);
    assert_true(twice > many + many / 2 && twice <= 2 * many + many / 5);
    assert_true(none < few / 64);
}

static struct authority *must_renew(struct authority *previous, uint32_t capacity, uint32_t days)
{
    struct authority_config config = tls_files_config(&files);
    config.leaf_cache_capacity = capacity;
    config.leaf_days = days;
    struct authority *a = authority_renew(previous, &config, err, sizeof err);
    if (!a)
        fail_msg("%s", err);
    return a;
}

static void renewed(void **state)
{
    int64_t now = time(NULL);
    (void)state;
    struct authority *a = must_open(8, 30);
    assert_int_equal(get(a, "a.test", now), 0);
    struct authority *same = must_renew(a, 8, 30);
    assert_ptr_equal(same, a);
    assert_int_equal(get(same, "a.test", now), 1);
    authority_free(a);
    assert_int_equal(get(same, "a.test", now), 1); /* as often as it was got */
    struct authority *shorter = must_renew(same, 8, 10), *smaller = must_renew(same, 4, 30);
    assert_true(shorter != same && smaller != same);
    struct authority_config older = tls_files_config(&files);
    older.rotate_after = 1000 * DAY;
    struct authority *aging = authority_renew(same, &older, err, sizeof err);
    assert_true(aging && aging != same);
    assert_int_equal(get(aging, "a.test", now), 1); /* what does not concern leaves leaves them where they are */
    authority_free(aging);
    assert_int_equal(get(shorter, "a.test", now), 0);
    tls_files_make_ca(&files, KEY_P256, now - 3600, now + 100 * DAY);
    struct authority *other = must_renew(same, 8, 30);
    assert_ptr_not_equal(other, same);
    assert_int_equal(get(other, "a.test", now), 0);
    unlink(files.key);
    struct authority_config config = {.cert_path = files.cert, .key_path = files.key};
    assert_null(authority_renew(same, &config, err, sizeof err));
    assert_non_null(strstr(err, "is missing while"));
    unlink(files.cert);
    assert_null(authority_renew(same, &config, err, sizeof err));
    assert_non_null(strstr(err, "there is no CA")); /* none is made */
    authority_free(other);
    authority_free(smaller);
    authority_free(shorter);
    authority_free(same);
}

static void odd_hosts(void **state)
{
    char name[300];
    int hit;
    (void)state;
    struct authority *a = must_open(4, 30);
    memset(name, 'a', sizeof name);
    assert_null(leaf_get(a, (struct soth_span){name, 254}, time(NULL), &hit));
    assert_null(leaf_get(a, (struct soth_span){name, 0}, time(NULL), &hit));
    assert_null(leaf_get(a, soth_span("a b"), time(NULL), &hit));
    assert_null(leaf_get(a, soth_span("b\xc3\xbc"), time(NULL), &hit));
    struct leaf *leaf = leaf_get(a, (struct soth_span){name, 253}, time(NULL), &hit);
    assert_non_null(leaf);
    leaf_put(leaf);
    authority_free(a);
}

static void exports(void **state)
{
    uint8_t *p12;
    size_t n;
    (void)state;
    struct authority *a = must_open(4, 30);
    char *cert = authority_pem(a, 0), *key = authority_pem(a, 1), *file = tls_files_read(files.key);
    assert_int_equal(strncmp(cert, "-----BEGIN CERTIFICATE-----\n", 28), 0);
    assert_string_equal(key, file);
    assert_int_equal(authority_p12(a, 1, "\xff", &p12, &n), -SOTH_EINVALID);
    assert_int_equal(authority_p12(a, 0, "", &p12, &n), 0);
    free(p12);
    free(cert);
    free(key);
    free(file);
    authority_free(a);
}

static void given_files(void **state)
{
    (void)state;
    authority_free(must_open(4, 30));
    struct leaf *leaf = leaf_from_files(files.cert, files.key, err, sizeof err);
    if (!leaf)
        fail_msg("%s", err);
    assert_int_equal(view_of(leaf).is_ca, 1);
    leaf_put(leaf);
    assert_null(leaf_from_files("/nonexistent/x", files.key, err, sizeof err));
    assert_non_null(strstr(err, "/nonexistent/x"));
    assert_int_equal(chmod(files.key, 0644), 0);
    assert_null(leaf_from_files(files.cert, files.key, err, sizeof err));
    assert_non_null(strstr(err, "chmod 600"));
    char *cert = tls_files_read(files.cert);
    tls_files_make_ca(&files, KEY_P256, time(NULL) - DAY, time(NULL) + DAY);
    tls_files_write(files.cert, cert, 0644);
    assert_null(leaf_from_files(files.cert, files.key, err, sizeof err));
    assert_non_null(strstr(err, "belong together"));
    tls_files_write(files.cert, "x", 0644);
    assert_null(leaf_from_files(files.cert, files.key, err, sizeof err));
    assert_non_null(strstr(err, files.cert));
    free(cert);
}

static void *many(void *authority)
{
    char host[32];
    for (int i = 0; i < 40; i++) {
        int hit;
        snprintf(host, sizeof host, "h%d.test", i % 7);
        struct leaf *leaf = leaf_get(authority, soth_span(host), time(NULL), &hit);
        if (!leaf)
            return authority;
        leaf_put(leaf);
    }
    return NULL;
}

static void threads(void **state)
{
    pthread_t thread[4];
    (void)state;
    struct authority *a = must_open(4, 30);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, many, a), 0);
    for (size_t i = 0; i < 4; i++) {
        void *failed;
        assert_int_equal(pthread_join(thread[i], &failed), 0);
        assert_null(failed);
    }
    authority_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(created_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(half_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(open_key_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(garbage_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_pairs_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(validity, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_stays_in_its_bounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(renewed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(odd_hosts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(exports, set_up, tear_down),
        cmocka_unit_test_setup_teardown(given_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads, set_up, tear_down),
    };
    if (tls_library_init() < 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tls_library_fini();
    return failed;
}
