/* SPDX-License-Identifier: MPL-2.0 */
#include "webhook_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct fake_instance hook_policy;
struct decider *hook_decider;
struct soth_connect hook_connect;
struct soth_decision hook_decision;

int hook_begin(void **state)
{
    (void)state;
    policy_clock_skew_ns = 0;
    policy_no_token = 0;
    hook_decider = decider_new(NULL);
    hook_connect = connect_to("api.example", 443);
    return 0;
}

int hook_end(void **state)
{
    (void)state;
    fake_close(&hook_policy);
    decider_free(hook_decider);
    return 0;
}

void hook_open_with(const char *url, const char *more)
{
    char config[512];
    snprintf(config, sizeof config, "url: %s\ntimeout: 60s\n%s", url, more);
    if (policy_open(&hook_policy, config) != SOTH_OK)
        print_error("%s", fake.wrong);
    assert_true(hook_policy.created);
}

void hook_open(const char *more)
{
    hook_open_with(decider_url(hook_decider), more);
}

/* One flow's question about a path, answered. */
int hook_ask(const char *path)
{
    struct soth_flow *flow = policy_flow_new();
    struct soth_message request = request_on(&hook_connect, "GET", path);
    int r = answer_request(&hook_policy, flow, &request, &hook_decision);
    policy_flow_free(flow);
    return r;
}

/* A flow that has asked; what its hook said. */
struct soth_flow *hook_asking(const char *path, int wanted)
{
    struct soth_flow *flow = policy_flow_new();
    struct soth_message request = request_on(&hook_connect, "GET", path);
    assert_int_equal(ask_request(&hook_policy, flow, &request, &hook_decision), wanted);
    return flow;
}

/* Goes on with it, and ends it. */
int hook_answered(struct soth_flow *flow, const char *path)
{
    struct soth_message request = request_on(&hook_connect, "GET", path);
    policy_flow_wait(flow);
    int r = answer_request(&hook_policy, flow, &request, &hook_decision);
    policy_flow_free(flow);
    return r;
}

void hook_is_blocked(int r, const char *reason, const char *rule_id)
{
    assert_int_equal(r, SOTH_DECIDED);
    assert_int_equal(hook_decision.action, SOTH_BLOCK);
    assert_int_equal(hook_decision.is_default, 0);
    assert_string_equal(hook_decision.reason, reason);
    assert_int_equal(hook_decision.rule_id.n, strlen(rule_id));
    assert_true(hook_decision.rule_id.n == 0 || soth_span_is(hook_decision.rule_id, rule_id));
}

void hook_begins(const char *text, const char *with)
{
    if (strncmp(text, with, strlen(with)) != 0)
        fail_msg("%s", text);
}

uint64_t hook_outcome(const char *label)
{
    char name[64];
    snprintf(name, sizeof name, "questions{%s}", label);
    return fake_count(name);
}
