/* SPDX-License-Identifier: MPL-2.0 */
/* What leaves cost: wolfSSL's memory is counted while an authority signs for many more hosts than its cache holds. */
#include <stdarg.h>
#include <setjmp.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "host/tls/authority.h"
#include "host/tls/session.h"
#include "tls_files.h"

#include "host/tls/wolf.h"

static struct tls_files files;

static struct authority *must_open(uint32_t capacity, uint32_t days)
{
    struct authority_config config = tls_files_config(&files);
    config.leaf_cache_capacity = capacity;
    config.leaf_days = days;
    return tls_files_open(&config);
}

static int get(struct authority *a, const char *host, int64_t now)
{
    int hit = -1;
    struct leaf *leaf = leaf_get(a, soth_span(host), now, &hit);
    assert_non_null(leaf);
    leaf_put(leaf);
    return hit;
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_stays_in_its_bounds)};
    if (tls_library_init() < 0)
        return 1;
    tls_files_init(&files);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tls_files_fini(&files);
    tls_library_fini();
    return failed;
}
