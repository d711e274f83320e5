/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/match/pattern.c modules/match/pattern_set.c */
/* needs: IDN2 */
/* Host patterns by document (tests/golden/policy/pattern.md), and sets of them against the plain way to match. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "golden.h"
#include "modules/match/pattern.h"

static struct pattern_set *set_of(const char *const *patterns, size_t n, long *bad, const char **why)
{
    struct soth_strings texts = {patterns, n};
    return pattern_set_new(&texts, bad, why);
}

/* "host", "host:port", "[v6]" or "[v6]:port", as a policy is asked about it. */
static int set_has(const struct pattern_set *set, const char *line, size_t n)
{
    char *host = malloc(n + 1); /* on the heap, so that reading beyond is seen */
    const char *name = host;
    assert_non_null(host);
    memcpy(host, line, n);
    host[n] = 0;
    char *colon = strrchr(host, ':'), *bracket = strchr(host, ']');
    uint32_t port = 443;
    if (colon && (!bracket || colon > bracket)) {
        port = (uint32_t)strtoul(colon + 1, NULL, 10);
        *colon = 0;
    }
    if (bracket) {
        *bracket = 0;
        name++;
    }
    struct soth_span span = soth_span(name);
    struct soth_addr addr = pattern_address(span);
    int has = pattern_set_match(set, span, &addr, port);
    free(host);
    return has;
}

static void expect_lines(const struct golden_case *c, const struct pattern_set *set, const char *block, int expected)
{
    const char *text = golden_text(c, block);
    for (const char *line = text; line && *line;) {
        size_t n = strcspn(line, "\n");
        if (set_has(set, line, n) != expected)
            fail_msg("%s: %.*s %s %s", c->title, (int)n, line, expected ? "does not match" : "matches", golden_text(c, "pattern"));
        line += n + (line[n] != 0);
    }
}

static void play(const struct golden_case *c)
{
    const char *text = golden_text(c, "pattern"), *wrong = golden_text(c, "wrong"), *why = "";
    long bad;
    assert_non_null(text);
    char *exact = strdup(text); /* on the heap */
    const char *list[] = {exact};
    struct pattern_set *set = set_of(list, 1, &bad, &why);
    if (wrong) {
        if (set)
            fail_msg("%s: '%s' is taken", c->title, text);
        assert_string_equal(why, wrong);
        assert_int_equal(bad, 0);
    } else {
        if (!set)
            fail_msg("%s: '%s' %s", c->title, text, why);
        assert_non_null(golden_text(c, "matches"));
        expect_lines(c, set, "matches", 1);
        expect_lines(c, set, "not", 0);
    }
    pattern_set_free(set);
    free(exact);
}

static void patterns_by_document(void **state)
{
    struct golden golden;
    (void)state;
    golden_open(&golden, "tests/golden/policy/pattern.md");
    for (size_t i = 0; i < golden.count; i++)
        play(&golden.cases[i]);
    golden_close(&golden);
}

/* A blocked address is blocked in every spelling that the host lets a client use; this is what makes that so. */
static void addresses_of_hosts(void **state)
{
    (void)state;
    assert_int_equal(pattern_address(soth_span("10.0.0.1")).family, 4);
    assert_int_equal(pattern_address(soth_span("2001:db8::1")).family, 6);
    assert_int_equal(pattern_address(soth_span("example.com")).family, 0);
    assert_int_equal(pattern_address(soth_span("10.0.0")).family, 0);
    assert_int_equal(pattern_address((struct soth_span){NULL, 0}).family, 0);
    char longer[100];
    memset(longer, '1', sizeof longer);
    assert_int_equal(pattern_address((struct soth_span){longer, sizeof longer}).family, 0);
}

static void networks_and_ports_alone(void **state)
{
    struct soth_addr network, v4 = {.family = 4, .bytes = {10, 1, 2, 3}}, none = {0};
    uint32_t bits, port;
    (void)state;
    assert_true(pattern_parse_network("10.0.0.0/8", &network, &bits));
    assert_int_equal(bits, 8);
    assert_true(pattern_network_has(&network, bits, &v4));
    assert_false(pattern_network_has(&network, bits, &none)); /* a unix socket's client */
    assert_true(pattern_parse_network("::ffff:10.1.2.3", &network, &bits));
    assert_true(network.family == 4 && bits == 32);
    assert_true(pattern_network_has(&network, bits, &v4));
    assert_false(pattern_parse_network("10.0.0.0/8:22", &network, &bits));
    assert_false(pattern_parse_network("example.com", &network, &bits));
    assert_false(pattern_parse_network("", &network, &bits));
    assert_true(pattern_parse_port("65535", &port) && port == 65535);
    assert_false(pattern_parse_port("0", &port));
    assert_false(pattern_parse_port("65536", &port));
    assert_false(pattern_parse_port("", &port));
    assert_false(pattern_parse_port("000443", &port));
    assert_false(pattern_parse_port("-1", &port));
    assert_false(pattern_parse_port("4 4", &port));
}

static void an_empty_set_has_nothing(void **state)
{
    long bad;
    const char *why;
    (void)state;
    struct pattern_set *set = set_of(NULL, 0, &bad, &why);
    assert_non_null(set);
    assert_false(set_has(set, "example.com", 11));
    assert_false(set_has(NULL, "example.com", 11));
    pattern_set_free(set);
    pattern_set_free(NULL);
}

static void the_wrong_pattern_is_named(void **state)
{
    static const char *const list[] = {"a.test", "10.0.0.0/8", "b..test", "c.test"};
    long bad;
    const char *why;
    (void)state;
    assert_null(set_of(list, 4, &bad, &why));
    assert_int_equal(bad, 2);
    assert_string_equal(why, "has a label that is empty or longer than 63 characters");
}

/* The text of a pattern may be shorter than the name that it stands for. */
static void names_that_grow(void **state)
{
    static char texts[2000][32];
    static const char *list[2000];
    long bad;
    const char *why = "";
    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(texts[i], sizeof texts[i], "\xc3\xbc%u.\xc3\xa4.\xc3\xb6", i);
        list[i] = texts[i];
    }
    struct pattern_set *set = set_of(list, 2000, &bad, &why);
    if (!set)
        fail_msg("%s: %s", bad < 0 ? "no memory" : list[bad], why);
    assert_true(set_has(set, "xn--0-dha.xn--4ca.xn--nda", 25));
    pattern_set_free(set);
}

/* ---- against the plain way ---- */

static uint32_t seed = 1;

static uint32_t dice(uint32_t sides)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % sides;
}

static void random_name(char *out)
{
    static const char *const labels[] = {"a", "b", "ab", "x1"};
    *out = 0;
    for (unsigned i = 0, n = 1 + dice(3); i < n; i++) {
        strcat(out, labels[dice(4)]);
        strcat(out, ".");
    }
    strcat(out, dice(2) ? "test" : "com");
}

static int plain_has(const char *pattern, const char *host)
{
    size_t n = strlen(pattern), m = strlen(host), dots = pattern[0] == '*' ? 1 : 0;
    const char *tail = pattern + dots; /* ".x" or "x" */
    if (tail[0] != '.')
        return strcmp(pattern, host) == 0;
    n -= dots;
    return (m > n && strcmp(host + m - n, tail) == 0) || (dots == 0 && strcmp(host, tail + 1) == 0);
}

#define MANY 60
static void a_set_is_as_good_as_its_patterns_one_by_one(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        char texts[MANY][32], host[32], name[30];
        const char *list[MANY], *why = "";
        unsigned n = dice(MANY);
        long bad;
        for (unsigned i = 0; i < n; i++) {
            static const char *const prefixes[] = {"", ".", "*."};
            random_name(name);
            snprintf(texts[i], sizeof texts[i], "%s%s", prefixes[dice(3)], name);
            list[i] = texts[i];
        }
        struct pattern_set *set = set_of(list, n, &bad, &why);
        assert_non_null(set);
        for (unsigned tries = 0; tries < 100; tries++) {
            int expected = 0;
            random_name(host);
            for (unsigned i = 0; i < n; i++)
                expected |= plain_has(list[i], host);
            if (set_has(set, host, strlen(host)) != expected)
                fail_msg("round %u: %s, expected %d", round, host, expected);
        }
        pattern_set_free(set);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_by_document),
        cmocka_unit_test(addresses_of_hosts),
        cmocka_unit_test(networks_and_ports_alone),
        cmocka_unit_test(an_empty_set_has_nothing),
        cmocka_unit_test(the_wrong_pattern_is_named),
        cmocka_unit_test(names_that_grow),
        cmocka_unit_test(a_set_is_as_good_as_its_patterns_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
