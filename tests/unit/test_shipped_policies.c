/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The shipped policies as their .so files are, driven by the test host that modules of others are driven by: from several threads, with
 * resumes that come twice, late or from elsewhere, with flows that go away while they wait.
 * build: sdk/testhost/
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "decider.h"
#include "modules/transform_headers/rules.h"
#include "sdk/testhost/testhost.h"

static const struct soth_module *shipped(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.so", getenv("SOTH_MODULES"), name);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle)
        fail_msg("%s", dlerror());
    return dlsym(handle, "soth_mitm_module");
}

static void policy_rules(void **state)
{
    (void)state;
    static const char *const config[] = {"blocked_hosts=[.ads.test]", "ignore_hosts=[bank.test]", NULL};
    struct testhost *host = testhost_new(shipped("policy_rules"), config, NULL);
    testhost_policy(host, &(struct testhost_question){.hook = SOTH_HOOK_CONNECT, .host = "x.ads.test"}, SOTH_BLOCK);
    testhost_policy(host, &(struct testhost_question){.hook = SOTH_HOOK_CONNECT, .host = "bank.test"}, SOTH_TUNNEL);
    testhost_policy(host, &(struct testhost_question){.hook = SOTH_HOOK_CONNECT}, SOTH_INTERCEPT);
    assert_int_equal(testhost_free(host), 0);
}

/* As the option table lays them out. */
struct override {
    const char *rule_id, *host_pattern;
    uint8_t force_tunnel, disable_h2, skip_upstream_verify;
    uint32_t strict_header_mode;
};

static void two_overrides(void *self)
{
    static const struct override overrides[] = {{"tunnel", "bank.test", 1, 0, 0, 0}, {"lab", ".lab.test", 0, 0, 1, 2}};
    *(struct soth_list *)self = (struct soth_list){overrides, 2};
}

static void policy_overrides(void **state)
{
    (void)state;
    struct testhost *host = testhost_new(shipped("policy_overrides"), NULL, two_overrides);
    struct soth_decision decision;
    testhost_policy(host, &(struct testhost_question){.hook = SOTH_HOOK_CONNECT, .host = "bank.test"}, SOTH_TUNNEL);
    testhost_policy(host, &(struct testhost_question){.hook = SOTH_HOOK_CONNECT, .host = "other.test"}, SOTH_ALLOW);
    assert_int_equal(testhost_ask(host, &(struct testhost_question){.hook = SOTH_HOOK_CONNECT, .host = "a.lab.test"}, &decision, NULL),
                     SOTH_DECIDED);
    assert_int_equal(decision.overrides, SOTH_OVERRIDE_SKIP_UPSTREAM_VERIFY | SOTH_OVERRIDE_LENIENT_HEADERS);
    assert_int_equal(testhost_free(host), 0);
}

static void policy_webhook(void **state)
{
    (void)state;
    static const char *const cached[] = {"cache_ttl=0", "cache_ttl=1m"};
    for (int i = 0; i < 2; i++) {
        struct decider *decider = decider_new(NULL);
        char url[80];
        snprintf(url, sizeof url, "url=%s", decider_url(decider));
        decider_says(decider, "{\"action\":\"block\",\"reason\":\"said\"}");
        struct testhost *host = testhost_new(shipped("policy_webhook"), (const char *[]){url, "timeout=20s", cached[i], NULL}, NULL);
        testhost_policy(host, &(struct testhost_question){.hook = SOTH_HOOK_CONNECT}, SOTH_BLOCK);
        testhost_policy(host, &(struct testhost_question){.hook = SOTH_HOOK_REQUEST, .request = "GET /x HTTP/1.1\nHost: a.test"},
                        SOTH_BLOCK);
        testhost_expect(host, decider_questions(decider) >= 2, "the service is asked");
        assert_int_equal(testhost_free(host), 0);
        decider_free(decider);
    }
}

static void one_rule(void *self)
{
    static const char *const host[] = {"a.test"}, *const set[] = {"X-Set", "one"}, *const removed[] = {"Cookie"};
    static struct rule rule = {.host = {host, 1}, .set = {set, 2}, .remove = {removed, 1}};
    rule.map_to = (struct map_to){"b.test", 8443, "/v2*"};
    rule.secret = (struct secret){"", "", "", ""};
    *(struct soth_list *)self = (struct soth_list){&rule, 1};
}

static void transform_headers(void **state)
{
    (void)state;
    struct testhost *host = testhost_new(shipped("transform_headers"), NULL, one_rule);
    const struct testhost_question request = {.hook = SOTH_HOOK_REWRITE,
                                              .request = "GET /x?q HTTP/1.1\nHost: a.test\nCookie: c\nX-Set: old"};
    assert_int_equal(testhost_ask(host, &request, NULL, NULL), SOTH_CONTINUE);
    assert_string_equal(testhost_target(host), "b.test:8443 /v2/x?q");
    assert_non_null(strstr(testhost_head(host), "X-Set: one"));
    assert_null(strstr(testhost_head(host), "Cookie"));
    testhost_policy(host, &request, SOTH_ALLOW);
    assert_int_equal(testhost_free(host), 0);
}

/* Names come borrowed: what is remembered of them must be a copy. */
static void policy_tls_learning(void **state)
{
    (void)state;
    testhost_setting("tls_learning", 2);
    testhost_setting("tls_bypass_ttl", 900000);
    struct testhost *host = testhost_new(shipped("policy_tls_learning"), (const char *[]){"hosts=[.bank.test]", "threshold=2", NULL}, NULL);
    const struct testhost_question question = {.hook = SOTH_HOOK_CONNECT, .host = "a.bank.test"}, other = {.hook = SOTH_HOOK_CONNECT, .host = "b.bank.test"};
    struct soth_lesson lesson = {.size = sizeof lesson};
    const struct soth_signal signal = {
        .authoritative = 1, .peer = "downstream", .reason = "unknown_ca", .source = "native_authoritative", .provider = "soth-mitm",
        .rejected_ca = "certain", .host = soth_span("a.bank.test"), .client = soth_span("192.0.2.1:4711"), .alert = 48, .port = 443, .lesson = &lesson,
    };
    testhost_policy(host, &question, SOTH_ALLOW);
    testhost_signal(host, &signal);
    assert_string_equal(lesson.reason_code, "counted");
    testhost_signal(host, &signal);
    assert_string_equal(lesson.reason_code, "threshold_reached");
    testhost_policy(host, &question, SOTH_TUNNEL);
    testhost_policy(host, &other, SOTH_ALLOW);
    assert_int_equal(testhost_count(host, "lessons"), 2);
    assert_int_equal(testhost_free(host), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policy_tls_learning),
        cmocka_unit_test(policy_rules),
        cmocka_unit_test(policy_overrides),
        cmocka_unit_test(policy_webhook),
        cmocka_unit_test(transform_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
