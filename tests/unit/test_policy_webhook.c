/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/policy_webhook/policy_webhook.c modules/policy_webhook/desk.c modules/policy_webhook/question.c modules/policy_webhook/cache.c modules/policy_webhook/reasons.c modules/policy_webhook/service.c modules/policy_webhook/conn.c modules/policy_webhook/reply.c modules/policy_webhook/resolver.c modules/policy_webhook/url.c modules/match/path.c */
/* needs: JANSSON */
/* policy_webhook against a decision service: what it decides, and what becomes of a flow when the service or the client does not behave. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf_text.h"
#include "decider.h"
#include "names.h"
#include "policy_host.h"

#define SECOND UINT64_C(1000000000)

static struct fake_instance policy;
static struct decider *decider;
static struct soth_connect connect;
static struct soth_decision decision;

static int begin(void **state)
{
    (void)state;
    policy_clock_skew_ns = 0;
    policy_no_token = 0;
    decider = decider_new(NULL);
    connect = connect_to("api.example", 443);
    return 0;
}

static int end(void **state)
{
    (void)state;
    fake_close(&policy);
    decider_free(decider);
    return 0;
}

static void open_with(const char *url, const char *more)
{
    char config[512];
    snprintf(config, sizeof config, "url: %s\ntimeout: 60s\n%s", url, more);
    if (policy_open(&policy, config) != SOTH_OK)
        print_error("%s", fake.wrong);
    assert_true(policy.created);
}

static void open_policy(const char *more)
{
    open_with(decider_url(decider), more);
}

/* One flow's question about a path, answered. */
static int ask_path(const char *path)
{
    struct soth_flow *flow = policy_flow_new();
    struct soth_message request = request_on(&connect, "GET", path);
    int r = answer_request(&policy, flow, &request, &decision);
    policy_flow_free(flow);
    return r;
}

/* A flow that has asked; what its hook said. */
static struct soth_flow *asking(const char *path, int wanted)
{
    struct soth_flow *flow = policy_flow_new();
    struct soth_message request = request_on(&connect, "GET", path);
    assert_int_equal(ask_request(&policy, flow, &request, &decision), wanted);
    return flow;
}

/* Goes on with it, and ends it. */
static int answered(struct soth_flow *flow, const char *path)
{
    struct soth_message request = request_on(&connect, "GET", path);
    policy_flow_wait(flow);
    int r = answer_request(&policy, flow, &request, &decision);
    policy_flow_free(flow);
    return r;
}

static void is_blocked(int r, const char *reason, const char *rule_id)
{
    assert_int_equal(r, SOTH_DECIDED);
    assert_int_equal(decision.action, SOTH_BLOCK);
    assert_int_equal(decision.is_default, 0);
    assert_string_equal(decision.reason, reason);
    assert_int_equal(decision.rule_id.n, strlen(rule_id));
    assert_true(decision.rule_id.n == 0 || soth_span_is(decision.rule_id, rule_id));
}

static void begins(const char *text, const char *with)
{
    if (strncmp(text, with, strlen(with)) != 0)
        fail_msg("%s", text);
}

static uint64_t outcome(const char *label)
{
    char name[64];
    snprintf(name, sizeof name, "questions{%s}", label);
    return fake_count(name);
}

/* ---- what it decides ---- */

static void blocks_with_a_reason(void **state)
{
    (void)state;
    struct soth_flow *flow = policy_flow_new();
    struct soth_message request = request_on(&connect, "GET", "/v1?q");
    open_policy("");
    decider_says(decider, "{\"action\":\"block\",\"reason\":\"quota\"}");
    assert_int_equal(ask_request(&policy, flow, &request, &decision), SOTH_PAUSE);
    assert_in_range(flow->deadline_ms, 60000, 61000);
    assert_int_equal(flow->on_timeout, 0);
    policy_flow_wait(flow);
    is_blocked(ask_request(&policy, flow, &request, &decision), "rule", "quota");
    assert_int_equal(outcome("ok"), 1);
    char *said = decider_last(decider), body[256];
    begins(said, "POST /decide HTTP/1.1\r\nHost: 127.0.0.1:");
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
    open_policy("");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct soth_flow *flow = policy_flow_new();
        decider_says(decider, cases[i].says);
        assert_int_equal(answer_connect(&policy, flow, &connect, &decision), cases[i].result);
        if (cases[i].result == SOTH_DECIDED) {
            assert_int_equal(decision.action, cases[i].action);
            assert_string_equal(decision.reason, "rule");
            assert_int_equal(decision.rule_id.n, 0);
        }
        policy_flow_free(flow);
    }
    assert_int_equal(outcome("ok"), 4);
    assert_int_equal(decider_connections(decider), 1); /* kept alive */
}

static void asked_where_configured(void **state)
{
    (void)state;
    open_policy("");
    assert_int_equal(policy.module->hooks(policy.self), SOTH_HOOK_CONNECT | SOTH_HOOK_REQUEST);
    fake_close(&policy);
    open_policy("on: request");
    assert_int_equal(policy.module->hooks(policy.self), SOTH_HOOK_REQUEST);
}

static void over_a_unix_socket(void **state)
{
    (void)state;
    char *folder = scratch_new(), path[128];
    snprintf(path, sizeof path, "%s/decide.sock", folder);
    struct decider *local = decider_new(path);
    decider_says(local, "{\"action\":\"block\",\"reason\":\"local\"}");
    open_with(decider_url(local), "");
    is_blocked(ask_path("/"), "rule", "local");
    char *said = decider_last(local);
    begins(said, "POST / HTTP/1.1\r\nHost: localhost\r\n");
    free(said);
    decider_free(local);
    scratch_free(folder);
}

/* ---- names ---- */

static char *named(const char *host)
{
    static char url[64];
    snprintf(url, sizeof url, "http://%s%s", host, strrchr(decider_url(decider), ':'));
    return url;
}

static void by_name(void **state)
{
    (void)state;
    decider_says(decider, "{\"action\":\"block\",\"reason\":\"named\"}");
    open_with(named("two.test"), "");
    is_blocked(ask_path("/"), "rule", "named");
    is_blocked(ask_path("/x"), "rule", "named");
    assert_int_equal(decider_connections(decider), 1);
    assert_int_equal(outcome("error"), 0); /* its first address refuses, the second does not */
}

static void a_name_without_addresses(void **state)
{
    (void)state;
    open_with("http://none.test/", "");
    is_blocked(ask_path("/"), "module_fault", "");
    is_blocked(ask_path("/"), "module_fault", "");
    assert_int_equal(policy_log_count("its name does not resolve: "), 1);
}

/* Nobody waits for a look-up longer than for an answer, and closing does not wait for it at all. */
static void a_look_up_that_hangs(void **state)
{
    (void)state;
    char config[128];
    snprintf(config, sizeof config, "url: %s\ntimeout: 20ms", named("late.test"));
    assert_int_equal(policy_open(&policy, config), SOTH_OK);
    is_blocked(ask_path("/"), "module_timeout", "");
    fake_close(&policy);
    open_with(named("late.test"), "");
    struct soth_flow *flow = asking("/", SOTH_PAUSE);
    names_release();
    assert_int_equal(answered(flow, "/"), SOTH_CONTINUE);
}

/* ---- one answer for many ---- */

static void kept_answers(void **state)
{
    (void)state;
    open_policy("cache_ttl: 10s");
    decider_says(decider, "{\"action\":\"block\",\"reason\":\"one\"}");
    is_blocked(ask_path("/a"), "rule", "one");
    decider_says(decider, "{\"action\":\"block\",\"reason\":\"two\",\"ttl_ms\":3600000}");
    policy_flow_free(asking("/a", SOTH_DECIDED)); /* without a pause */
    is_blocked(SOTH_DECIDED, "rule", "one");
    is_blocked(ask_path("/b"), "rule", "two");
    is_blocked(ask_path("/a?another=query"), "rule", "one");
    assert_int_equal(decider_questions(decider), 2);
    policy_clock_skew_ns = 10 * SECOND; /* what the service says is not believed for longer than cache_ttl */
    is_blocked(ask_path("/b"), "rule", "two");
    is_blocked(ask_path("/a"), "rule", "two");
    assert_int_equal(decider_questions(decider), 4);
    assert_int_equal(outcome("cached"), 2);
    assert_int_equal(fake_count("calls"), 4);
}

static void the_service_says_how_long(void **state)
{
    (void)state;
    open_policy("cache_ttl: 10s");
    decider_says(decider, "{\"action\":\"allow\",\"ttl_ms\":0}");
    assert_int_equal(ask_path("/a"), SOTH_CONTINUE);
    assert_int_equal(ask_path("/a"), SOTH_CONTINUE);
    assert_int_equal(decider_questions(decider), 2);
    decider_says(decider, "{\"action\":\"allow\",\"ttl_ms\":2000}");
    assert_int_equal(ask_path("/a"), SOTH_CONTINUE);
    assert_int_equal(ask_path("/a"), SOTH_CONTINUE);
    assert_int_equal(decider_questions(decider), 3);
    policy_clock_skew_ns = 2 * SECOND;
    assert_int_equal(ask_path("/a"), SOTH_CONTINUE);
    assert_int_equal(decider_questions(decider), 4);
}

static void nothing_is_kept_unless_asked_for(void **state)
{
    (void)state;
    open_policy("");
    decider_says(decider, "{\"action\":\"allow\",\"ttl_ms\":60000}");
    assert_int_equal(ask_path("/a"), SOTH_CONTINUE);
    assert_int_equal(ask_path("/a"), SOTH_CONTINUE);
    assert_int_equal(decider_questions(decider), 2);
}

static void errors_are_not_kept(void **state)
{
    (void)state;
    open_policy("cache_ttl: 10s");
    decider_says(decider, "{}");
    is_blocked(ask_path("/a"), "module_fault", "");
    decider_says(decider, "{\"action\":\"allow\"}");
    assert_int_equal(ask_path("/a"), SOTH_CONTINUE);
}

static void one_call_for_one_moment(void **state)
{
    (void)state;
    struct soth_flow *flows[200];
    open_policy("max_in_flight: 1");
    decider_says(decider, "{\"action\":\"block\",\"reason\":\"all\"}");
    decider_holds(decider, 1);
    for (int i = 0; i < 200; i++)
        flows[i] = asking("/same", SOTH_PAUSE);
    decider_holds(decider, 0);
    for (int i = 0; i < 200; i++)
        is_blocked(answered(flows[i], "/same"), "rule", "all");
    assert_int_equal(decider_questions(decider), 1);
    assert_int_equal(fake_count("calls"), 1);
    assert_int_equal(outcome("ok"), 200);
}

static void answers_do_not_mix(void **state)
{
    (void)state;
    struct soth_flow *flows[20];
    char path[16];
    open_policy("");
    decider_holds(decider, 1);
    decider_says(decider, "{\"action\":\"block\",\"reason\":\"early\"}");
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "/%d", i);
        flows[i] = asking(path, SOTH_PAUSE);
    }
    decider_wait_questions(decider, 20);
    assert_int_equal(decider_connections(decider), 20);
    decider_holds(decider, 0);
    for (int i = 0; i < 20; i++)
        policy_flow_wait(flows[i]);
    decider_says(decider, "{\"action\":\"block\",\"reason\":\"late\"}");
    is_blocked(ask_path("/new"), "rule", "late");
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "/%d", i);
        is_blocked(answered(flows[i], path), "rule", "early");
    }
}

static void too_many_at_once(void **state)
{
    (void)state;
    open_policy("max_in_flight: 2");
    decider_holds(decider, 1);
    struct soth_flow *one = asking("/1", SOTH_PAUSE), *two = asking("/2", SOTH_PAUSE), *three = asking("/3", SOTH_BUSY);
    struct soth_flow *joined = asking("/1", SOTH_PAUSE);
    assert_int_equal(outcome("busy"), 1);
    decider_holds(decider, 0);
    assert_int_equal(answered(one, "/1"), SOTH_CONTINUE);
    assert_int_equal(answered(two, "/2"), SOTH_CONTINUE);
    assert_int_equal(answered(joined, "/1"), SOTH_CONTINUE);
    struct soth_message request = request_on(&connect, "GET", "/3");
    assert_int_equal(answer_request(&policy, three, &request, &decision), SOTH_CONTINUE);
    policy_flow_free(three);
}

/* ---- a service that does not behave ---- */

static void garbage(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *fault;
    } cases[] = {
        {"garbage\r\n\r\n", "what it answers is not HTTP/1.1"},
        {"HTTP/1.1 503 Sorry\r\nContent-Length: 0\r\n\r\n", "its status is not 200"},
        {"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "its status is not 200"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nblock", "its answer is not a JSON object"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"action\":\"tunnel\"}\n", "its answer has an action that a request cannot have"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "its answer is not a JSON object"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{", "its answer is too long"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"action\":", "it ends the connection in the middle of its answer"},
        {"", "it ends the connection without an answer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        open_policy(i % 2 ? "on_timeout: open" : "on_timeout: closed");
        decider_says_raw(decider, cases[i].raw, 1);
        int r = ask_path("/");
        if (i % 2)
            assert_int_equal(r, SOTH_CONTINUE);
        else
            is_blocked(r, "module_fault", "");
        assert_int_equal(outcome("error"), 1);
        if (policy_log_count(cases[i].fault) != 1)
            print_error("case %zu: %s", i, fake.log);
        assert_int_equal(policy_log_count(cases[i].fault), 1);
        decider_says(decider, "{\"action\":\"allow\"}");
        assert_int_equal(ask_path("/"), SOTH_CONTINUE);
        assert_int_equal(policy_log_count("answers again"), 1);
        fake_close(&policy);
    }
}

static void an_endless_answer(void **state)
{
    (void)state;
    static char raw[150000] = "HTTP/1.1 200 OK\r\n\r\n";
    memset(raw + strlen(raw), 'x', sizeof raw - 1 - strlen(raw));
    open_policy("");
    decider_says_raw(decider, raw, 1);
    is_blocked(ask_path("/"), "module_fault", "");
    assert_int_equal(policy_log_count("its answer is too long"), 1);
}

static void answers_in_other_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *raw;
        int then_close;
        unsigned connections; /* for three questions */
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\"action\"\r\n9\r\n:\"block\"}\r\n0\r\n\r\n", 0, 1},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"action\":\"block\"}", 0, 1},
        {"HTTP/1.1 200 OK\r\n\r\n{\"action\":\"block\"}", 1, 3},
        {"HTTP/1.0 200 OK\r\nContent-Length: 18\r\n\r\n{\"action\":\"block\"}", 1, 3},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 18\r\n\r\n{\"action\":\"block\"}", 1, 3},
        {"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"action\":\"block\"}and more", 0, 3}, /* is not asked twice on one connection */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned before = decider_connections(decider);
        open_policy("");
        decider_says_raw(decider, cases[i].raw, cases[i].then_close);
        for (int k = 0; k < 3; k++)
            is_blocked(ask_path("/"), "rule", "");
        assert_int_equal(decider_connections(decider) - before, cases[i].connections);
        fake_close(&policy);
    }
}

/* A kept connection may end while the next question is on its way: it is asked again on a new one. */
static void connections_that_do_not_last(void **state)
{
    (void)state;
    open_policy("");
    decider_says_raw(decider, "HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"action\":\"block\"}", 1);
    for (int i = 0; i < 50; i++)
        is_blocked(ask_path("/"), "rule", "");
    assert_int_equal(outcome("error"), 0);
    decider_says(decider, "{\"action\":\"allow\"}");
    assert_int_equal(ask_path("/"), SOTH_CONTINUE);
    decider_hangs_up(decider);
    decider_wait_open(decider, 0);
    assert_int_equal(ask_path("/"), SOTH_CONTINUE);
    assert_int_equal(outcome("error"), 0);
    /* but not for ever: one that never answers is an error */
    decider_holds(decider, 1);
    struct soth_flow *flow = asking("/held", SOTH_PAUSE);
    unsigned asked = decider_questions(decider);
    decider_wait_questions(decider, asked ? asked : 1);
    decider_says_raw(decider, "", 1);
    decider_holds(decider, 0);
    is_blocked(answered(flow, "/held"), "module_fault", "");
}

static void it_dies_and_comes_back(void **state)
{
    (void)state;
    char *folder = scratch_new(), path[128];
    snprintf(path, sizeof path, "%s/decide.sock", folder);
    struct decider *local = decider_new(path);
    open_with(decider_url(local), "");
    assert_int_equal(ask_path("/"), SOTH_CONTINUE);
    decider_dies(local);
    for (int i = 0; i < 3; i++)
        is_blocked(ask_path("/"), "module_fault", "");
    assert_int_equal(policy_log_count("warn "), 1);
    assert_non_null(strstr(fake.log, "fails: cannot connect: Connection refused; until it answers, on_timeout decides: closed\n"));
    decider_free(local);
    local = decider_new(path);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ask_path("/"), SOTH_CONTINUE);
    assert_int_equal(policy_log_count("info "), 1);
    assert_non_null(strstr(fake.log, "answers again, after 3 failures\n"));
    assert_int_equal(outcome("error"), 3);
    assert_int_equal(outcome("ok"), 4);
    fake_close(&policy);
    decider_free(local);
    scratch_free(folder);
}

static void too_slow(void **state)
{
    (void)state;
    for (int open = 0; open <= 1; open++) {
        char config[128];
        snprintf(config, sizeof config, "url: %s\ntimeout: 30ms\non_timeout: %s", decider_url(decider), open ? "open" : "closed");
        assert_int_equal(policy_open(&policy, config), SOTH_OK);
        decider_holds(decider, 1);
        struct soth_flow *flow = asking("/", SOTH_PAUSE);
        assert_int_equal(flow->on_timeout, open);
        int r = answered(flow, "/"); /* the module's own clock ends it when the host does not */
        if (open)
            assert_int_equal(r, SOTH_CONTINUE);
        else
            is_blocked(r, "module_timeout", "");
        assert_int_equal(outcome("timeout"), 1);
        assert_int_equal(policy_log_count("it does not answer in time"), 1);
        decider_wait_open(decider, 0);
        fake_close(&policy);
    }
}

static void the_host_ends_it(void **state)
{
    (void)state;
    open_policy("");
    decider_holds(decider, 1);
    struct soth_flow *flow = asking("/", SOTH_PAUSE);
    policy_clock_skew_ns = 61 * SECOND;
    policy_flow_cancel(&policy, flow);
    assert_int_equal(outcome("timeout") + outcome("gone"), 1);
    decider_wait_open(decider, 0);
    policy_flow_free(flow);
}

/* A call that hangs is joined by nobody once it is as old as a flow would wait: the service may answer a new one. */
static void a_call_that_hangs(void **state)
{
    (void)state;
    open_policy("");
    decider_holds(decider, 1);
    struct soth_flow *first = asking("/", SOTH_PAUSE);
    policy_clock_skew_ns = 40 * SECOND;
    struct soth_flow *second = asking("/", SOTH_PAUSE);
    policy_clock_skew_ns = 70 * SECOND; /* the first is past its deadline, the second is not */
    policy_flow_cancel(&policy, first);
    assert_int_equal(outcome("timeout"), 1);
    struct soth_flow *third = asking("/", SOTH_PAUSE);
    decider_wait_questions(decider, 2);
    decider_holds(decider, 0);
    assert_int_equal(answered(second, "/"), SOTH_CONTINUE);
    assert_int_equal(answered(third, "/"), SOTH_CONTINUE);
    policy_flow_free(first);
}

/* ---- a client that leaves ---- */

static void a_client_leaves(void **state)
{
    (void)state;
    open_policy("max_in_flight: 1");
    decider_holds(decider, 1);
    struct soth_flow *flow = asking("/", SOTH_PAUSE);
    decider_wait_questions(decider, 1);
    policy_flow_cancel(&policy, flow);
    policy_flow_free(flow);
    assert_int_equal(outcome("gone"), 1);
    decider_wait_open(decider, 0); /* nobody waits for this answer: its place is free again */
    decider_holds(decider, 0);
    struct soth_message request = request_on(&connect, "GET", "/");
    int r;
    flow = policy_flow_new();
    while ((r = answer_request(&policy, flow, &request, &decision)) == SOTH_BUSY)
        usleep(1000);
    assert_int_equal(r, SOTH_CONTINUE);
    policy_flow_free(flow);
    assert_int_equal(policy_log_count("fails"), 0);
}

static void one_of_two_leaves(void **state)
{
    (void)state;
    open_policy("");
    decider_holds(decider, 1);
    struct soth_flow *stays = asking("/", SOTH_PAUSE), *leaves = asking("/", SOTH_PAUSE);
    policy_flow_cancel(&policy, leaves);
    policy_flow_free(leaves);
    decider_holds(decider, 0);
    assert_int_equal(answered(stays, "/"), SOTH_CONTINUE);
    assert_int_equal(decider_questions(decider), 1);
}

static void it_leaves_when_the_answer_is_there(void **state)
{
    (void)state;
    open_policy("");
    struct soth_flow *flow = asking("/", SOTH_PAUSE);
    policy_flow_wait(flow);
    policy_flow_cancel(&policy, flow);
    policy_flow_free(flow);
    assert_int_equal(outcome("gone"), 1);
    assert_int_equal(ask_path("/"), SOTH_CONTINUE);
}

/* The answer and the deadline meet: on_timeout has decided, and that is what is counted. */
static void the_deadline_passes_when_the_answer_is_there(void **state)
{
    (void)state;
    open_policy("");
    struct soth_flow *flow = asking("/", SOTH_PAUSE);
    policy_flow_wait(flow);
    policy_clock_skew_ns = 61 * SECOND;
    policy_flow_cancel(&policy, flow);
    policy_flow_free(flow);
    assert_int_equal(outcome("timeout"), 1);
    assert_int_equal(policy_log_count("it does not answer in time"), 0);
}

/* The flow is gone and the host has said nothing: its resume is stale. */
static void a_stale_resume(void **state)
{
    (void)state;
    open_policy("");
    decider_holds(decider, 1);
    policy_flow_free(asking("/", SOTH_PAUSE));
    decider_holds(decider, 0);
    assert_int_equal(ask_path("/other"), SOTH_CONTINUE);
}

static void no_token(void **state)
{
    (void)state;
    open_policy("");
    policy_no_token = 1;
    is_blocked(ask_path("/"), "module_fault", "");
    assert_int_equal(decider_questions(decider), 0);
}

static void closed_in_the_middle(void **state)
{
    (void)state;
    open_policy("");
    decider_holds(decider, 1);
    struct soth_flow *flows[] = {asking("/1", SOTH_PAUSE), asking("/2", SOTH_PAUSE), asking("/2", SOTH_PAUSE)};
    fake_close(&policy);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(flows[i]->state, FLOW_RESUMED);
        policy_flow_free(flows[i]);
    }
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
        assert_int_equal(policy_open(&policy, cases[i][0]), -SOTH_ECONFIG);
        assert_string_equal(fake.wrong, cases[i][1]);
        fake_close(&policy);
    }
}

/* ---- many at once ---- */

#define THREADS 4
#define ROUNDS 150

static void *flows_of_one_worker(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct soth_flow *flow = policy_flow_new();
        struct soth_connect here = connect_to("api.example", 443);
        struct soth_decision said;
        char path[16];
        int r, leaves = rand_r(&seed) % 4 == 0;
        snprintf(path, sizeof path, "/%d", rand_r(&seed) % 8);
        struct soth_message request = request_on(&here, "GET", path);
        while ((r = ask_request(&policy, flow, &request, &said)) == SOTH_BUSY || (r == SOTH_PAUSE && !leaves))
            if (r == SOTH_PAUSE)
                policy_flow_wait(flow);
        if (r == SOTH_PAUSE)
            policy_flow_cancel(&policy, flow);
        else if (r != SOTH_DECIDED || said.action != SOTH_BLOCK || !soth_span_is(said.rule_id, "all"))
            abort();
        policy_flow_free(flow);
    }
    return NULL;
}

static void many_workers(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    open_policy("cache_ttl: 1ms\nmax_in_flight: 4");
    decider_says(decider, "{\"action\":\"block\",\"reason\":\"all\"}");
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, flows_of_one_worker, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(outcome("ok") + outcome("cached") + outcome("gone"), THREADS * ROUNDS);
    assert_int_equal(outcome("error") + outcome("timeout"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

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
        TEST(garbage),
        TEST(an_endless_answer),
        TEST(answers_in_other_shapes),
        TEST(connections_that_do_not_last),
        TEST(it_dies_and_comes_back),
        TEST(too_slow),
        TEST(the_host_ends_it),
        TEST(a_call_that_hangs),
        TEST(a_client_leaves),
        TEST(one_of_two_leaves),
        TEST(it_leaves_when_the_answer_is_there),
        TEST(the_deadline_passes_when_the_answer_is_there),
        TEST(a_stale_resume),
        TEST(no_token),
        TEST(closed_in_the_middle),
        TEST(wrong_configurations),
        TEST(many_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
