/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/policy_webhook/ modules/match/path.c */
/* needs: JANSSON */
/* policy_webhook when the service or the client does not behave: what becomes of a flow. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf_text.h"
#include "webhook_rig.h"

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
        hook_open(i % 2 ? "on_timeout: open" : "on_timeout: closed");
        decider_says_raw(hook_decider, cases[i].raw, 1);
        int r = hook_ask("/");
        if (i % 2)
            assert_int_equal(r, SOTH_CONTINUE);
        else
            hook_is_blocked(r, "module_fault", "");
        assert_int_equal(hook_outcome("error"), 1);
        if (policy_log_count(cases[i].fault) != 1)
            print_error("case %zu: %s", i, fake.log);
        assert_int_equal(policy_log_count(cases[i].fault), 1);
        decider_says(hook_decider, "{\"action\":\"allow\"}");
        assert_int_equal(hook_ask("/"), SOTH_CONTINUE);
        assert_int_equal(policy_log_count("answers again"), 1);
        fake_close(&hook_policy);
    }
}

static void an_endless_answer(void **state)
{
    (void)state;
    static char raw[150000] = "HTTP/1.1 200 OK\r\n\r\n";
    memset(raw + strlen(raw), 'x', sizeof raw - 1 - strlen(raw));
    hook_open("");
    decider_says_raw(hook_decider, raw, 1);
    hook_is_blocked(hook_ask("/"), "module_fault", "");
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
        unsigned before = decider_connections(hook_decider);
        hook_open("");
        decider_says_raw(hook_decider, cases[i].raw, cases[i].then_close);
        for (int k = 0; k < 3; k++)
            hook_is_blocked(hook_ask("/"), "rule", "");
        assert_int_equal(decider_connections(hook_decider) - before, cases[i].connections);
        fake_close(&hook_policy);
    }
}

/* A kept connection may end while the next question is on its way: it is asked again on a new one. */
static void connections_that_do_not_last(void **state)
{
    (void)state;
    hook_open("");
    decider_says_raw(hook_decider, "HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"action\":\"block\"}", 1);
    for (int i = 0; i < 50; i++)
        hook_is_blocked(hook_ask("/"), "rule", "");
    assert_int_equal(hook_outcome("error"), 0);
    decider_says(hook_decider, "{\"action\":\"allow\"}");
    assert_int_equal(hook_ask("/"), SOTH_CONTINUE);
    decider_hangs_up(hook_decider);
    decider_wait_open(hook_decider, 0);
    assert_int_equal(hook_ask("/"), SOTH_CONTINUE);
    assert_int_equal(hook_outcome("error"), 0);
    /* but not for ever: one that never answers is an error */
    decider_holds(hook_decider, 1);
    struct soth_flow *flow = hook_asking("/held", SOTH_PAUSE);
    unsigned asked = decider_questions(hook_decider);
    decider_wait_questions(hook_decider, asked ? asked : 1);
    decider_says_raw(hook_decider, "", 1);
    decider_holds(hook_decider, 0);
    hook_is_blocked(hook_answered(flow, "/held"), "module_fault", "");
}

static void it_dies_and_comes_back(void **state)
{
    (void)state;
    char *folder = scratch_new(), path[128];
    snprintf(path, sizeof path, "%s/decide.sock", folder);
    struct decider *local = decider_new(path);
    hook_open_with(decider_url(local), "");
    assert_int_equal(hook_ask("/"), SOTH_CONTINUE);
    decider_dies(local);
    for (int i = 0; i < 3; i++)
        hook_is_blocked(hook_ask("/"), "module_fault", "");
    assert_int_equal(policy_log_count("warn "), 1);
    assert_non_null(strstr(fake.log, "fails: cannot connect: Connection refused; until it answers, on_timeout decides: closed\n"));
    decider_free(local);
    local = decider_new(path);
    for (int i = 0; i < 3; i++)
        assert_int_equal(hook_ask("/"), SOTH_CONTINUE);
    assert_int_equal(policy_log_count("info "), 1);
    assert_non_null(strstr(fake.log, "answers again, after 3 failures\n"));
    assert_int_equal(hook_outcome("error"), 3);
    assert_int_equal(hook_outcome("ok"), 4);
    fake_close(&hook_policy);
    decider_free(local);
    scratch_free(folder);
}

static void too_slow(void **state)
{
    (void)state;
    for (int open = 0; open <= 1; open++) {
        char config[128];
        snprintf(config, sizeof config, "url: %s\ntimeout: 30ms\non_timeout: %s", decider_url(hook_decider), open ? "open" : "closed");
        assert_int_equal(policy_open(&hook_policy, config), SOTH_OK);
        decider_holds(hook_decider, 1);
        struct soth_flow *flow = hook_asking("/", SOTH_PAUSE);
        assert_int_equal(flow->on_timeout, open);
        int r = hook_answered(flow, "/"); /* the module's own clock ends it when the host does not */
        if (open)
            assert_int_equal(r, SOTH_CONTINUE);
        else
            hook_is_blocked(r, "module_timeout", "");
        assert_int_equal(hook_outcome("timeout"), 1);
        assert_int_equal(policy_log_count("it does not answer in time"), 1);
        decider_wait_open(hook_decider, 0);
        fake_close(&hook_policy);
    }
}

static void the_host_ends_it(void **state)
{
    (void)state;
    hook_open("");
    decider_holds(hook_decider, 1);
    struct soth_flow *flow = hook_asking("/", SOTH_PAUSE);
    policy_clock_skew_ns = 61 * SECOND;
    policy_flow_cancel(&hook_policy, flow);
    assert_int_equal(hook_outcome("timeout") + hook_outcome("gone"), 1);
    decider_wait_open(hook_decider, 0);
    policy_flow_free(flow);
}

/* A call that hangs is joined by nobody once it is as old as a flow would wait: the service may answer a new one. */
static void a_call_that_hangs(void **state)
{
    (void)state;
    hook_open("");
    decider_holds(hook_decider, 1);
    struct soth_flow *first = hook_asking("/", SOTH_PAUSE);
    policy_clock_skew_ns = 40 * SECOND;
    struct soth_flow *second = hook_asking("/", SOTH_PAUSE);
    policy_clock_skew_ns = 70 * SECOND; /* the first is past its deadline, the second is not */
    policy_flow_cancel(&hook_policy, first);
    assert_int_equal(hook_outcome("timeout"), 1);
    struct soth_flow *third = hook_asking("/", SOTH_PAUSE);
    decider_wait_questions(hook_decider, 2);
    decider_holds(hook_decider, 0);
    assert_int_equal(hook_answered(second, "/"), SOTH_CONTINUE);
    assert_int_equal(hook_answered(third, "/"), SOTH_CONTINUE);
    policy_flow_free(first);
}

/* ---- a client that leaves ---- */

static void a_client_leaves(void **state)
{
    (void)state;
    hook_open("max_in_flight: 1");
    decider_holds(hook_decider, 1);
    struct soth_flow *flow = hook_asking("/", SOTH_PAUSE);
    decider_wait_questions(hook_decider, 1);
    policy_flow_cancel(&hook_policy, flow);
    policy_flow_free(flow);
    assert_int_equal(hook_outcome("gone"), 1);
    decider_wait_open(hook_decider, 0); /* nobody waits for this answer: its place is free again */
    decider_holds(hook_decider, 0);
    struct soth_message request = request_on(&hook_connect, "GET", "/");
    int r;
    flow = policy_flow_new();
    while ((r = answer_request(&hook_policy, flow, &request, &hook_decision)) == SOTH_BUSY)
        usleep(1000);
    assert_int_equal(r, SOTH_CONTINUE);
    policy_flow_free(flow);
    assert_int_equal(policy_log_count("fails"), 0);
}

static void one_of_two_leaves(void **state)
{
    (void)state;
    hook_open("");
    decider_holds(hook_decider, 1);
    struct soth_flow *stays = hook_asking("/", SOTH_PAUSE), *leaves = hook_asking("/", SOTH_PAUSE);
    policy_flow_cancel(&hook_policy, leaves);
    policy_flow_free(leaves);
    decider_holds(hook_decider, 0);
    assert_int_equal(hook_answered(stays, "/"), SOTH_CONTINUE);
    assert_int_equal(decider_questions(hook_decider), 1);
}

static void it_leaves_when_the_answer_is_there(void **state)
{
    (void)state;
    hook_open("");
    struct soth_flow *flow = hook_asking("/", SOTH_PAUSE);
    policy_flow_wait(flow);
    policy_flow_cancel(&hook_policy, flow);
    policy_flow_free(flow);
    assert_int_equal(hook_outcome("gone"), 1);
    assert_int_equal(hook_ask("/"), SOTH_CONTINUE);
}

/* The answer and the deadline meet: on_timeout has decided, and that is what is counted. */
static void the_deadline_passes_when_the_answer_is_there(void **state)
{
    (void)state;
    hook_open("");
    struct soth_flow *flow = hook_asking("/", SOTH_PAUSE);
    policy_flow_wait(flow);
    policy_clock_skew_ns = 61 * SECOND;
    policy_flow_cancel(&hook_policy, flow);
    policy_flow_free(flow);
    assert_int_equal(hook_outcome("timeout"), 1);
    assert_int_equal(policy_log_count("it does not answer in time"), 0);
}

/* The flow is gone and the host has said nothing: its resume is stale. */
static void a_stale_resume(void **state)
{
    (void)state;
    hook_open("");
    decider_holds(hook_decider, 1);
    policy_flow_free(hook_asking("/", SOTH_PAUSE));
    decider_holds(hook_decider, 0);
    assert_int_equal(hook_ask("/other"), SOTH_CONTINUE);
}

static void no_token(void **state)
{
    (void)state;
    hook_open("");
    policy_no_token = 1;
    hook_is_blocked(hook_ask("/"), "module_fault", "");
    assert_int_equal(decider_questions(hook_decider), 0);
}

static void closed_in_the_middle(void **state)
{
    (void)state;
    hook_open("");
    decider_holds(hook_decider, 1);
    struct soth_flow *flows[] = {hook_asking("/1", SOTH_PAUSE), hook_asking("/2", SOTH_PAUSE), hook_asking("/2", SOTH_PAUSE)};
    fake_close(&hook_policy);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(flows[i]->state, FLOW_RESUMED);
        policy_flow_free(flows[i]);
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
        while ((r = ask_request(&hook_policy, flow, &request, &said)) == SOTH_BUSY || (r == SOTH_PAUSE && !leaves))
            if (r == SOTH_PAUSE)
                policy_flow_wait(flow);
        if (r == SOTH_PAUSE)
            policy_flow_cancel(&hook_policy, flow);
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
    hook_open("cache_ttl: 1ms\nmax_in_flight: 4");
    decider_says(hook_decider, "{\"action\":\"block\",\"reason\":\"all\"}");
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, flows_of_one_worker, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(hook_outcome("ok") + hook_outcome("cached") + hook_outcome("gone"), THREADS * ROUNDS);
    assert_int_equal(hook_outcome("error") + hook_outcome("timeout"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, hook_begin, hook_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        TEST(many_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
