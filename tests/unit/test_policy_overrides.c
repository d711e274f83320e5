/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/policy_overrides/policy_overrides.c modules/match/pattern.c modules/match/pattern_set.c */
/* needs: IDN2 */
/* policy_overrides: which connection gets which override, and what its configuration refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy_host.h"

static struct fake_instance policy;
static struct soth_flow *flow;

static int begin(void **state)
{
    (void)state;
    flow = policy_flow_new();
    return 0;
}

static int end(void **state)
{
    (void)state;
    policy_flow_free(flow);
    fake_close(&policy);
    return 0;
}

static const char some[] = "overrides:\n"
                           "- {rule_id: pinned, host_pattern: '*.bank.example', force_tunnel: true}\n"
                           "- {rule_id: old, host_pattern: 'old.example:8443', skip_upstream_verify: true, strict_header_mode: false}\n"
                           "- {rule_id: old-rest, host_pattern: old.example, strict_header_mode: true}\n"
                           "- {rule_id: lab, host_pattern: 10.0.0.0/8, skip_upstream_verify: true}\n";

#define HEADERS_AND_VERIFY (SOTH_OVERRIDE_LENIENT_HEADERS | SOTH_OVERRIDE_SKIP_UPSTREAM_VERIFY)

static void first_match_wins(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        uint32_t port;
        const char *rule_id;
        uint32_t action, bits;
    } cases[] = {
        {"www.bank.example", 443, "pinned", SOTH_TUNNEL, SOTH_OVERRIDE_FORCE_TUNNEL},
        {"bank.example", 443, NULL, 0, 0},
        {"old.example", 8443, "old", SOTH_ALLOW, HEADERS_AND_VERIFY},
        {"old.example", 443, "old-rest", SOTH_ALLOW, SOTH_OVERRIDE_STRICT_HEADERS},
        {"10.1.2.3", 22, "lab", SOTH_ALLOW, SOTH_OVERRIDE_SKIP_UPSTREAM_VERIFY},
        {"11.1.2.3", 22, NULL, 0, 0},
    };
    assert_int_equal(policy_open(&policy, some), SOTH_OK);
    assert_int_equal(policy.module->hooks(policy.self), SOTH_HOOK_CONNECT);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct soth_connect connect = connect_to(cases[i].host, cases[i].port);
        struct soth_decision d;
        int r = ask_connect(&policy, flow, &connect, &d);
        assert_int_equal(r, cases[i].rule_id ? SOTH_DECIDED : SOTH_CONTINUE);
        if (!cases[i].rule_id)
            continue;
        assert_int_equal(d.action, cases[i].action);
        assert_int_equal(d.overrides, cases[i].bits);
        assert_int_equal(d.is_default, 0);
        assert_string_equal(d.reason, "override");
        assert_true(soth_span_is(d.rule_id, cases[i].rule_id));
    }
    assert_int_equal(fake_count("overrides{old}"), 1);
    assert_int_equal(fake_count("overrides{lab}"), 1);
}

static void the_pattern_is_told(void **state)
{
    (void)state;
    struct soth_connect connect = connect_to("a.b.bank.example", 443);
    struct soth_decision d;
    assert_int_equal(policy_open(&policy, some), SOTH_OK);
    assert_int_equal(ask_connect(&policy, flow, &connect, &d), SOTH_DECIDED);
    assert_true(soth_span_is(d.override_pattern, "*.bank.example"));
}

/* SNI and Host are the client's choice: they must not switch the verification of another host off. */
static void only_the_target_counts(void **state)
{
    (void)state;
    struct soth_connect connect = connect_to("old.example", 8443);
    struct soth_decision d;
    assert_int_equal(policy_open(&policy, some), SOTH_OK);
    connect.identity = SOTH_ID_SNI;
    assert_int_equal(ask_connect(&policy, flow, &connect, &d), SOTH_CONTINUE);
    connect.identity = SOTH_ID_AUTHORITY;
    assert_int_equal(ask_connect(&policy, flow, &connect, &d), SOTH_CONTINUE);
    assert_int_equal(fake_count("overrides{old}"), 0);
}

static void nothing_to_override(void **state)
{
    (void)state;
    assert_int_equal(policy_open(&policy, "{}"), SOTH_OK);
    assert_int_equal(policy.module->hooks(policy.self), 0);
}

static void wrong_configurations(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"overrides:\n- {rule_id: a, host_pattern: h, force_tunnel: true}\n- {rule_id: a, host_pattern: i, force_tunnel: true}\n",
         "config:3:13: overrides[1].rule_id: 'a' is the rule_id of an earlier override; they are unique\n"},
        {"overrides: [{rule_id: a, host_pattern: 'a b', force_tunnel: true}]",
         "config:1:40: overrides[0].host_pattern: 'a b' has a character that host names do not have\n"},
        {"overrides: [{rule_id: a, host_pattern: h}]",
         "config:1:23: overrides[0].rule_id: 'a' changes nothing; set force_tunnel, disable_h2, strict_header_mode or skip_upstream_verify, or remove it\n"},
        {"overrides: [{rule_id: a, host_pattern: h, strict_header_mode: yes}]",
         "config:1:63: overrides[0].strict_header_mode: 'yes' is not allowed, allowed is one of: inherit, true, false\n"},
        {"overrides: [{rule_id: a, host_pattern: h, http3: true}]",
         "config:1:43: overrides[0].http3: unknown key, allowed here: rule_id, host_pattern, force_tunnel, disable_h2, strict_header_mode, "
         "skip_upstream_verify\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(policy_open(&policy, cases[i][0]), -SOTH_ECONFIG);
        assert_string_equal(fake.wrong, cases[i][1]);
        fake_close(&policy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(first_match_wins, begin, end),
        cmocka_unit_test_setup_teardown(the_pattern_is_told, begin, end),
        cmocka_unit_test_setup_teardown(only_the_target_counts, begin, end),
        cmocka_unit_test_setup_teardown(nothing_to_override, begin, end),
        cmocka_unit_test_setup_teardown(wrong_configurations, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
