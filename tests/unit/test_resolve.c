/* SPDX-License-Identifier: MPL-2.0 */
/* host/net/resolve.c against a name server of the test's own: what is asked, how often, and what each answer is called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dns_server.h"
#include "host/net/resolve.h"

static const struct dns_record records[] = {
    {"both.test", DNS_ANSWER, 60, "192.0.2.1 192.0.2.2", "2001:db8::1"},
    {"four.test", DNS_ANSWER, 60, "192.0.2.4", NULL},
    {"brief.test", DNS_ANSWER, 0, "192.0.2.5", NULL},
    {"empty.test", DNS_ANSWER, 60, NULL, NULL},
    {"broken.test", DNS_SERVFAIL, 0, NULL, NULL},
    {"refused.test", DNS_REFUSED, 0, NULL, NULL},
    {"silent.test", DNS_SILENT, 0, NULL, NULL},
    {"deaf.test", DNS_SILENT_SIX, 60, "192.0.2.6", "2001:db8::6"},
    {NULL, DNS_ANSWER, 0, NULL, NULL},
};

struct rig {
    struct event_base *base;
    struct dns_server dns;
    const char *servers[1];
    struct settings settings;
    struct resolver *resolver;
    unsigned told;
    struct resolve_result last;
};

static void rig_open(struct rig *rig, uint64_t timeout_ms, uint64_t ttl_ms)
{
    memset(rig, 0, sizeof *rig);
    rig->base = event_base_new();
    dns_server_start(&rig->dns, rig->base, records);
    rig->servers[0] = rig->dns.address;
    rig->settings.resolvers = (struct soth_strings){rig->servers, 1};
    rig->settings.resolver_timeout = timeout_ms;
    rig->settings.resolver_cache_ttl = ttl_ms;
    rig->resolver = resolver_new(rig->base, &rig->settings);
    assert_non_null(rig->resolver);
}

static void rig_close(struct rig *rig)
{
    resolver_free(rig->resolver);
    dns_server_free(&rig->dns);
    event_base_free(rig->base);
}

static void told(void *arg, const struct resolve_result *result)
{
    struct rig *rig = arg;
    rig->told++;
    rig->last = *result;
}

static struct lookup *ask(struct rig *rig, const char *name)
{
    int failed;
    struct lookup *lookup = resolve_open(rig->resolver, name, told, rig, &failed);
    assert_int_equal(failed, 0);
    return lookup;
}

static void wait_for(struct rig *rig, unsigned answers)
{
    while (rig->told < answers)
        assert_int_equal(event_base_loop(rig->base, EVLOOP_ONCE), 0);
}

static void test_words(void **state)
{
    static const struct {
        const char *name, *detail;
        enum resolve_status status;
    } cases[] = {
        {"nobody.test", "dns:NXDOMAIN", RESOLVE_ERROR},  {"empty.test", "dns:NODATA", RESOLVE_ERROR},
        {"broken.test", "dns:SERVFAIL", RESOLVE_ERROR},  {"refused.test", "dns:REFUSED", RESOLVE_ERROR},
        {"silent.test", "dns:timeout", RESOLVE_TIMEOUT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig rig;
        rig_open(&rig, cases[i].status == RESOLVE_TIMEOUT ? 600 : 10000, 60000);
        ask(&rig, cases[i].name);
        wait_for(&rig, 1);
        assert_int_equal(rig.last.status, cases[i].status);
        assert_string_equal(rig.last.detail, cases[i].detail);
        assert_int_equal(rig.last.count, 0);
        unsigned queries = rig.dns.queries; /* a failure is asked anew */
        assert_true(queries > 0);
        ask(&rig, cases[i].name);
        wait_for(&rig, 2);
        assert_true(rig.dns.queries > queries);
        rig_close(&rig);
    }
}

static void test_both_families_once(void **state)
{
    struct rig rig;
    unsigned four = 0, six = 0;
    (void)state;
    rig_open(&rig, 10000, 60000);
    assert_non_null(ask(&rig, "both.test"));
    assert_non_null(ask(&rig, "both.test"));
    assert_non_null(ask(&rig, "both.test"));
    wait_for(&rig, 3);
    assert_int_equal(rig.dns.queries, 2); /* AAAA and A, shared by three */
    assert_int_equal(rig.last.count, 3);
    for (size_t i = 0; i < rig.last.count; i++) {
        four += rig.last.addrs[i].family == 4;
        six += rig.last.addrs[i].family == 6;
    }
    assert_int_equal(four, 2);
    assert_int_equal(six, 1);
    assert_null(ask(&rig, "both.test")); /* known: told at once */
    assert_int_equal(rig.told, 4);
    assert_int_equal(rig.dns.queries, 2);
    rig_close(&rig);
}

static void test_not_kept(void **state)
{
    static const struct {
        const char *name;
        uint64_t ttl_ms;
    } cases[] = {{"brief.test", 60000}, {"four.test", 0}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct rig rig;
        rig_open(&rig, 10000, cases[i].ttl_ms);
        ask(&rig, cases[i].name);
        wait_for(&rig, 1);
        unsigned queries = rig.dns.queries;
        assert_non_null(ask(&rig, cases[i].name));
        wait_for(&rig, 2);
        assert_int_equal(rig.dns.queries, 2 * queries);
        rig_close(&rig);
    }
}

static void test_cancelled(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 10000, 60000);
    struct lookup *gone = ask(&rig, "four.test");
    ask(&rig, "four.test");
    resolve_cancel(gone);
    wait_for(&rig, 1);
    assert_int_equal(rig.told, 1);
    resolve_cancel(ask(&rig, "both.test")); /* nobody waits, the answer is kept all the same */
    ask(&rig, "brief.test");
    wait_for(&rig, 2);
    resolve_cancel(ask(&rig, "silent.test")); /* freed while it is asked */
    rig_close(&rig);
}

static void test_half_an_answer(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 1000, 60000);
    ask(&rig, "deaf.test"); /* A came, AAAA never does */
    wait_for(&rig, 1);
    assert_int_equal(rig.last.status, RESOLVE_OK);
    assert_int_equal(rig.last.count, 1);
    assert_int_equal(rig.last.addrs[0].family, 4);
    assert_null(ask(&rig, "deaf.test"));
    ask(&rig, "silent.test");
    wait_for(&rig, 3);
    assert_string_equal(rig.last.detail, "dns:timeout");
    rig_close(&rig); /* questions that nobody waits for are still open */
}

static void test_localhost_is_not_asked(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 10000, 60000);
    assert_null(ask(&rig, "localhost"));
    assert_null(ask(&rig, "a.localhost"));
    assert_int_equal(rig.told, 2);
    assert_int_equal(rig.last.count, 2);
    assert_int_equal(rig.dns.queries, 0);
    ask(&rig, "notlocalhost");
    wait_for(&rig, 3);
    assert_string_equal(rig.last.detail, "dns:NXDOMAIN");
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),     cmocka_unit_test(test_both_families_once),     cmocka_unit_test(test_not_kept),
        cmocka_unit_test(test_cancelled), cmocka_unit_test(test_localhost_is_not_asked),
        cmocka_unit_test(test_half_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
