/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/match/path.c */
/* Paths by document (tests/golden/policy/path.md), and patterns for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "golden.h"
#include "modules/match/path.h"

static void paths_by_document(void **state)
{
    struct golden golden;
    (void)state;
    golden_open(&golden, "tests/golden/policy/path.md");
    for (size_t i = 0; i < golden.count; i++) {
        const struct golden_case *c = &golden.cases[i];
        const char *target = golden_text(c, "target"), *path = golden_text(c, "path");
        assert_non_null(target);
        assert_non_null(path);
        size_t n = strlen(target);
        char *exact = malloc(n), *got = malloc(n + 1); /* so that reading or writing beyond is seen */
        memcpy(exact, target, n);
        size_t size = path_normalize((struct soth_span){exact, n}, got);
        assert_true(size <= n);
        got[size] = 0;
        if (strcmp(got, path) != 0)
            fail_msg("%s: %s became %s, not %s", c->title, target, got, path);
        size_t again = path_normalize((struct soth_span){path, strlen(path)}, got);
        got[again] = 0;
        if (strcmp(got, path) != 0) /* what rules see is what a rule may be written like */
            fail_msg("%s: %s is not stable, it becomes %s", c->title, path, got);
        free(exact);
        free(got);
    }
    golden_close(&golden);
}

/* The obvious way to do it. */
static int plain_match(const char *pattern, const char *path)
{
    if (*pattern == 0)
        return *path == 0;
    if (*pattern == '*')
        return plain_match(pattern + 1, path) || (*path && plain_match(pattern, path + 1));
    return *path == *pattern && plain_match(pattern + 1, path + 1);
}

static void patterns_match_as_the_obvious_way(void **state)
{
    static const char letters[] = "ab*";
    char pattern[7], path[8];
    (void)state;
    for (unsigned p = 0; p < 729; p++) { /* every pattern of six over a, b and *, and shorter ones */
        unsigned v = p;
        for (unsigned i = 0; i < 6; i++, v /= 3)
            pattern[i] = letters[v % 3];
        pattern[p % 7] = 0;
        for (unsigned q = 0; q < 256; q++) {
            unsigned n = q % 8;
            for (unsigned i = 0; i < n; i++)
                path[i] = q >> i & 1 ? 'a' : 'b';
            path[n] = 0;
            if (path_match(pattern, path, n) != plain_match(pattern, path))
                fail_msg("%s on %s", pattern, path);
        }
    }
}

static void matching_takes_no_exponential_time(void **state)
{
    char pattern[101], path[5000];
    (void)state;
    for (unsigned i = 0; i < 100; i++)
        pattern[i] = i % 2 ? 'a' : '*';
    pattern[99] = 'b';
    pattern[100] = 0;
    memset(path, 'a', sizeof path);
    assert_false(path_match(pattern, path, sizeof path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_by_document),
        cmocka_unit_test(patterns_match_as_the_obvious_way),
        cmocka_unit_test(matching_takes_no_exponential_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
