/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/policy_webhook/ modules/match/path.c */
/* needs: JANSSON */
/* policy_webhook against a decision service: what it asks and decides, and when it asks at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf_text.h"
#include "names.h"
#include "webhook_rig.h"

/* ---- what it decides ---- */

static void blocks_with_a_reason(void **state)
{
    (void)state;
    struct soth_flow *flow = policy_flow_new();
    struct soth_message request = request_on(&hook_connect, "GET", "/v1?q");
    hook_open("");
    decider_says(hook_decider, "{\"action\":\"block\",\"reason\":\"quota\"}");
    assert_int_equal(ask_request(&hook_policy, flow, &request, &hook_decision), SOTH_PAUSE);
    assert_in_range(flow->deadline_ms, 60000, 61000);
    assert_int_equal(flow->on_timeout, 0);
    policy_flow_wait(flow);
    hook_is_blocked(ask_request(&hook_policy, flow, &request, &hook_decision), "rule", "quota");
    assert_int_equal(hook_outcome("ok"), 1);
    char *said = decider_last(hook_decider), body[256];
    hook_begins(said, "POST /decide HTTP/1.1\r\nHost: 127.0.0.1:");
    snprintf(body, sizeof body,
             "\r\n\r\n{\"v\":1,\"hook\":\"request\",\"client\":\"192.0.2.7\",\"host\":\"api.example\",\"port\":443,\"sni\":null,"
             "\"method\":\"GET\",\"path\":\"/v1\",\"flow_id\":%d}", (int)flow->id);
    assert_non_null(strstr(said, body));
    assert_non_null(strstr(said, "Content-Type: application/json\r\n"));
    free(said);
    policy_flow_free(flow);
}

static void every_action_of_a_connection(void **state)
{
    (void)state;
    static const struct {
        const char *says;
        int result;
        uint32_t action;
    } cases[] = {
        {"{\"action\":\"allow\"}", SOTH_CONTINUE, 0},
        {"{\"action\":\"block\"}", SOTH_DECIDED, SOTH_BLOCK},
        {"{\"action\":\"tunnel\"}", SOTH_DECIDED, SOTH_TUNNEL},
        {"{\"action\":\"intercept\"}", SOTH_DECIDED, SOTH_INTERCEPT},
    };
    hook_open("");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct soth_flow *flow = policy_flow_new();
        decider_says(hook_decider, cases[i].says);
        assert_int_equal(answer_connect(&hook_policy, flow, &hook_connect, &hook_decision), cases[i].result);
        if (cases[i].result == SOTH_DECIDED) {
            assert_int_equal(hook_decision.action, cases[i].action);
            assert_string_equal(hook_decision.reason, "rule");
            assert_int_equal(hook_decision.rule_id.n, 0);
        }
        policy_flow_free(flow);
    }
    assert_int_equal(hook_outcome("ok"), 4);
    assert_int_equal(decider_connections(hook_decider), 1); /* kept alive */
}

static void asked_where_configured(void **state)
{
    (void)state;
    hook_open("");
    assert_int_equal(hook_policy.module->hooks(hook_policy.self), SOTH_HOOK_CONNECT | SOTH_HOOK_REQUEST);
    fake_close(&hook_policy);
    hook_open("on: request");
    assert_int_equal(hook_policy.module->hooks(hook_policy.self), SOTH_HOOK_REQUEST);
}

static void over_a_unix_socket(void **state)
{
    (void)state;
    char *folder = scratch_new(), path[128];
    snprintf(path, sizeof path, "%s/decide.sock", folder);
    struct decider *local = decider_new(path);
    decider_says(local, "{\"action\":\"block\",\"reason\":\"local\"}");
    hook_open_with(decider_url(local), "");
    hook_is_blocked(hook_ask("/"), "rule", "local");
    char *said = decider_last(local);
    hook_begins(said, "POST / HTTP/1.1\r\nHost: localhost\r\n");
    free(said);
    decider_free(local);
    scratch_free(folder);
}

/* ---- names ---- */

static char *named(const char *host)
{
    static char url[64];
    snprintf(url, sizeof url, "http://%s%s", host, strrchr(decider_url(hook_decider), ':'));
    return url;
}

static void by_name(void **state)
{
    (void)state;
    decider_says(hook_decider, "{\"action\":\"block\",\"reason\":\"named\"}");
    hook_open_with(named("two.test"), "");
    hook_is_blocked(hook_ask("/"), "rule", "named");
    hook_is_blocked(hook_ask("/x"), "rule", "named");
    assert_int_equal(decider_connections(hook_decider), 1);
    assert_int_equal(hook_outcome("error"), 0); /* its first address refuses, the second does not */
}

static void a_name_without_addresses(void **state)
{
    (void)state;
    hook_open_with("http://none.test/", "");
    hook_is_blocked(hook_ask("/"), "module_fault", "");
    hook_is_blocked(hook_ask("/"), "module_fault", "");
    assert_int_equal(policy_log_count("its name does not resolve: "), 1);
}

/* Nobody waits for a look-up longer than for an answer, and closing does not wait for it at all. */
static void a_look_up_that_hangs(void **state)
{
    (void)state;
    char config[128];
    snprintf(config, sizeof config, "url: %s\ntimeout: 20ms", named("late.test"));
    assert_int_equal(policy_open(&hook_policy, config), SOTH_OK);
    hook_is_blocked(hook_ask("/"), "module_timeout", "");
    fake_close(&hook_policy);
    hook_open_with(named("late.test"), "");
    struct soth_flow *flow = hook_asking("/", SOTH_PAUSE);
    names_release();
    assert_int_equal(hook_answered(flow, "/"), SOTH_CONTINUE);
}

/* ---- one answer for many ---- */

static void kept_answers(void **state)
{
    (void)state;
    hook_open("cache_ttl: 10s");
    decider_says(hook_decider, "{\"action\":\"block\",\"reason\":\"one\"}");
    hook_is_blocked(hook_ask("/a"), "rule", "one");
    decider_says(hook_decider, "{\"action\":\"block\",\"reason\":\"two\",\"ttl_ms\":3600000}");
    policy_flow_free(hook_asking("/a", SOTH_DECIDED)); /* without a pause */
    hook_is_blocked(SOTH_DECIDED, "rule", "one");
    hook_is_blocked(hook_ask("/b"), "rule", "two");
    hook_is_blocked(hook_ask("/a?another=query"), "rule", "one");
    assert_int_equal(decider_questions(hook_decider), 2);
    policy_clock_skew_ns = 10 * SECOND; /* what the service says is not believed for longer than cache_ttl */
    hook_is_blocked(hook_ask("/b"), "rule", "two");
    hook_is_blocked(hook_ask("/a"), "rule", "two");
    assert_int_equal(decider_questions(hook_decider), 4);
    assert_int_equal(hook_outcome("cached"), 2);
    assert_int_equal(fake_count("calls"), 4);
}

static void the_service_says_how_long(void **state)
{
    (void)state;
    hook_open("cache_ttl: 10s");
    decider_says(hook_decider, "{\"action\":\"allow\",\"ttl_ms\":0}");
    assert_int_equal(hook_ask("/a"), SOTH_CONTINUE);
    assert_int_equal(hook_ask("/a"), SOTH_CONTINUE);
    assert_int_equal(decider_questions(hook_decider), 2);
    decider_says(hook_decider, "{\"action\":\"allow\",\"ttl_ms\":2000}");
    assert_int_equal(hook_ask("/a"), SOTH_CONTINUE);
    assert_int_equal(hook_ask("/a"), SOTH_CONTINUE);
    assert_int_equal(decider_questions(hook_decider), 3);
    policy_clock_skew_ns = 2 * SECOND;
    assert_int_equal(hook_ask("/a"), SOTH_CONTINUE);
    assert_int_equal(decider_questions(hook_decider), 4);
}

static void nothing_is_kept_unless_asked_for(void **state)
{
    (void)state;
    hook_open("");
    decider_says(hook_decider, "{\"action\":\"allow\",\"ttl_ms\":60000}");
    assert_int_equal(hook_ask("/a"), SOTH_CONTINUE);
    assert_int_equal(hook_ask("/a"), SOTH_CONTINUE);
    assert_int_equal(decider_questions(hook_decider), 2);
}

static void errors_are_not_kept(void **state)
{
    (void)state;
    hook_open("cache_ttl: 10s");
    decider_says(hook_decider, "{}");
    hook_is_blocked(hook_ask("/a"), "module_fault", "");
    decider_says(hook_decider, "{\"action\":\"allow\"}");
    assert_int_equal(hook_ask("/a"), SOTH_CONTINUE);
}

static void one_call_for_one_moment(void **state)
{
    (void)state;
    struct soth_flow *flows[200];
    hook_open("max_in_flight: 1");
    decider_says(hook_decider, "{\"action\":\"block\",\"reason\":\"all\"}");
    decider_holds(hook_decider, 1);
    for (int i = 0; i < 200; i++)
        flows[i] = hook_asking("/same", SOTH_PAUSE);
    decider_holds(hook_decider, 0);
    for (int i = 0; i < 200; i++)
        hook_is_blocked(hook_answered(flows[i], "/same"), "rule", "all");
    assert_int_equal(decider_questions(hook_decider), 1);
    assert_int_equal(fake_count("calls"), 1);
    assert_int_equal(hook_outcome("ok"), 200);
}

static void answers_do_not_mix(void **state)
{
    (void)state;
    struct soth_flow *flows[20];
    char path[16];
    hook_open("");
    decider_holds(hook_decider, 1);
    decider_says(hook_decider, "{\"action\":\"block\",\"reason\":\"early\"}");
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "/%d", i);
        flows[i] = hook_asking(path, SOTH_PAUSE);
    }
    decider_wait_questions(hook_decider, 20);
    assert_int_equal(decider_connections(hook_decider), 20);
    decider_holds(hook_decider, 0);
    for (int i = 0; i < 20; i++)
        policy_flow_wait(flows[i]);
    decider_says(hook_decider, "{\"action\":\"block\",\"reason\":\"late\"}");
    hook_is_blocked(hook_ask("/new"), "rule", "late");
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "/%d", i);
        hook_is_blocked(hook_answered(flows[i], path), "rule", "early");
    }
}

static void too_many_at_once(void **state)
{
    (void)state;
    hook_open("max_in_flight: 2");
    decider_holds(hook_decider, 1);
    struct soth_flow *one = hook_asking("/1", SOTH_PAUSE), *two = hook_asking("/2", SOTH_PAUSE), *three = hook_asking("/3", SOTH_BUSY);
    struct soth_flow *joined = hook_asking("/1", SOTH_PAUSE);
    assert_int_equal(hook_outcome("busy"), 1);
    decider_holds(hook_decider, 0);
    assert_int_equal(hook_answered(one, "/1"), SOTH_CONTINUE);
    assert_int_equal(hook_answered(two, "/2"), SOTH_CONTINUE);
    assert_int_equal(hook_answered(joined, "/1"), SOTH_CONTINUE);
    struct soth_message request = request_on(&hook_connect, "GET", "/3");
    assert_int_equal(answer_request(&hook_policy, three, &request, &hook_decision), SOTH_CONTINUE);
    policy_flow_free(three);
}

/* ---- configuration ---- */

static void wrong_configurations(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{}", "config:1:1: url: is required: the decision service: http://host:port/path, or unix:/path of a socket on which it speaks HTTP\n"},
        {"url: decide.example", "config:1:6: url: 'decide.example' is neither http://host:port/path nor unix:/path\n"},
        {"url: http://a/\non: [connect, response]", "config:2:15: on[1]: 'response' is not allowed, allowed is connect, request or both\n"},
        {"url: http://a/\non: []", "config:2:5: on: names nothing to ask about, allowed is connect, request or both\n"},
        {"url: http://a/\nmax_in_flight: 0", "config:2:16: max_in_flight: 0 is out of range, allowed is 1 to 4096\n"},
        {"url: http://a/\ntimeout: 0", "config:2:10: timeout: 0 is out of range, allowed is 1ms to 1h\n"},
        {"url: http://a/\non_timeout: maybe", "config:2:13: on_timeout: 'maybe' is not allowed, allowed is one of: closed, open\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(policy_open(&hook_policy, cases[i][0]), -SOTH_ECONFIG);
        assert_string_equal(fake.wrong, cases[i][1]);
        fake_close(&hook_policy);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, hook_begin, hook_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(blocks_with_a_reason),
        TEST(every_action_of_a_connection),
        TEST(asked_where_configured),
        TEST(over_a_unix_socket),
        TEST(by_name),
        TEST(a_name_without_addresses),
        TEST(a_look_up_that_hangs),
        TEST(kept_answers),
        TEST(the_service_says_how_long),
        TEST(nothing_is_kept_unless_asked_for),
        TEST(errors_are_not_kept),
        TEST(one_call_for_one_moment),
        TEST(answers_do_not_mix),
        TEST(too_many_at_once),
        TEST(wrong_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
