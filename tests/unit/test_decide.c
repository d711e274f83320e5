/* SPDX-License-Identifier: MPL-2.0 */
/* What several policies say becomes one verdict. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/event/bus.h"
#include "host/flow/hook.h"
#include "host/log.h"
#include "host/module/hostapi.h"
#include "host/module/instance.h"
#include "host/module/mailbox.h"
#include "host/module/registry.h"

/* A policy that answers what `self` says. */
struct answer {
    int result;
    uint32_t action, is_default;
    int asked;
    struct soth_token token; /* of a result SOTH_PAUSE */
    uint64_t cancelled;      /* the number of the pause that was */
};

static int answer(struct answer *a, struct soth_decision *out, const char *reason)
{
    a->asked++;
    out->action = a->action;
    out->is_default = a->is_default;
    out->reason = reason;
    return a->result;
}

static int on_connect(void *self, struct soth_flow *flow, const struct soth_connect *connect, struct soth_decision *out)
{
    struct answer *a = self;
    (void)connect;
    if (a->result == SOTH_PAUSE)
        a->token = api_token(self, flow, 1000, 0);
    return answer(self, out, "rule");
}

static void on_cancel(void *self, struct soth_token token)
{
    struct answer *a = self;
    a->cancelled = token.pause;
}

static int on_request(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    (void)flow;
    (void)request;
    return answer(self, out, NULL);
}

#define MOST 4
static struct conf_module confs[MOST];
static struct instance *instances[MOST];
static struct registry registry;

static int begin(void **state)
{
    static const char *const names[MOST] = {"a", "b", "c", "d"};
    (void)state;
    log_level(-1); /* failures are told to the operator: not here */
    registry = (struct registry){.v = instances};
    for (unsigned i = 0; i < MOST; i++) {
        confs[i] = (struct conf_module){.name = names[i]};
        instances[i] = calloc(1, sizeof *instances[i] + sizeof(struct answer));
        assert_non_null(instances[i]);
        instances[i]->conf = &confs[i];
        instances[i]->registry = &registry;
        instances[i]->hooks = SOTH_HOOK_CONNECT | SOTH_HOOK_REQUEST;
        instances[i]->module.connect = on_connect;
        instances[i]->module.request = on_request;
    }
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MOST; i++)
        free(instances[i]);
    return 0;
}

static struct answer *policy(int result, uint32_t action, uint32_t is_default)
{
    struct answer *a = (struct answer *)(void *)instances[registry.n++]->self;
    *a = (struct answer){.result = result, .action = action, .is_default = is_default};
    return a;
}
#define SAYS(action) policy(SOTH_DECIDED, action, 0)
#define DEFAULT(action) policy(SOTH_DECIDED, action, 1)

static struct verdict connect_verdict(uint32_t has_hello)
{
    struct soth_connect connect = {.size = sizeof connect, .has_hello = has_hello};
    struct question q = {.hook = SOTH_HOOK_CONNECT, .connect = &connect};
    struct soth_flow flow = {0};
    struct ask ask = {0};
    assert_int_equal(registry_ask(&registry, &flow, &ask, &q), ASK_DONE);
    return ask.verdict;
}

static struct verdict request_verdict(void)
{
    struct soth_message request = {.size = sizeof request};
    struct question q = {.hook = SOTH_HOOK_REQUEST, .message = &request};
    struct soth_flow flow = {0};
    struct ask ask = {0};
    assert_int_equal(registry_ask(&registry, &flow, &ask, &q), ASK_DONE);
    return ask.verdict;
}

static void without_opinions(void **state)
{
    (void)state;
    struct verdict v = connect_verdict(0);
    assert_int_equal(v.action, SOTH_INTERCEPT);
    assert_true(v.is_default);
    assert_string_equal(v.reason, "default_intercept");
    assert_string_equal(v.policy_module, "");
    policy(SOTH_CONTINUE, SOTH_BLOCK, 0);
    v = connect_verdict(0);
    assert_int_equal(v.action, SOTH_INTERCEPT);
    assert_int_equal(request_verdict().action, SOTH_ALLOW);
}

static void block_beats_tunnel_beats_intercept(void **state)
{
    static const uint32_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        registry.n = 0;
        SAYS(orders[i][0]);
        SAYS(orders[i][1]);
        assert_int_equal(connect_verdict(0).action, orders[i][0] > orders[i][1] ? orders[i][0] : orders[i][1]);
        SAYS(orders[i][2]);
        struct verdict v = connect_verdict(0);
        assert_int_equal(v.action, SOTH_BLOCK);
        assert_false(v.is_default);
        for (unsigned k = 0; k < 3; k++)
            if (orders[i][k] == SOTH_BLOCK)
                assert_string_equal(v.policy_module, confs[k].name);
    }
}

static void an_explicit_decision_beats_a_default(void **state)
{
    (void)state;
    DEFAULT(SOTH_BLOCK);
    SAYS(SOTH_INTERCEPT);
    struct verdict v = connect_verdict(0);
    assert_int_equal(v.action, SOTH_INTERCEPT);
    assert_false(v.is_default);
    assert_string_equal(v.policy_module, "b");
    DEFAULT(SOTH_BLOCK);
    assert_int_equal(connect_verdict(0).action, SOTH_INTERCEPT);
    registry.n = 0;
    DEFAULT(SOTH_TUNNEL);
    DEFAULT(SOTH_BLOCK);
    v = connect_verdict(0);
    assert_int_equal(v.action, SOTH_BLOCK);
    assert_true(v.is_default);
}

static void of_equals_the_first_is_named(void **state)
{
    (void)state;
    SAYS(SOTH_TUNNEL);
    SAYS(SOTH_TUNNEL);
    assert_string_equal(connect_verdict(0).policy_module, "a");
}

static void requests_are_blocked_or_allowed(void **state)
{
    (void)state;
    SAYS(SOTH_ALLOW);
    struct verdict v = request_verdict();
    assert_int_equal(v.action, SOTH_ALLOW);
    assert_string_equal(v.policy_module, "a");
    assert_string_equal(v.reason, "rule"); /* a module that names none */
    SAYS(SOTH_BLOCK);
    assert_int_equal(request_verdict().action, SOTH_BLOCK);
}

static void the_hello_is_waited_for(void **state)
{
    (void)state;
    policy(SOTH_PEEK, 0, 0);
    assert_true(connect_verdict(0).needs_hello);
    assert_false(connect_verdict(1).needs_hello);
    SAYS(SOTH_TUNNEL);
    struct verdict v = connect_verdict(0);
    assert_true(v.needs_hello);
    assert_int_equal(v.action, SOTH_TUNNEL);
    SAYS(SOTH_BLOCK); /* is final */
    v = connect_verdict(0);
    assert_false(v.needs_hello);
    assert_int_equal(v.action, SOTH_BLOCK);
}

static void a_default_block_waits_for_the_hello(void **state)
{
    (void)state;
    DEFAULT(SOTH_BLOCK);
    struct answer *peek = policy(SOTH_PEEK, 0, 0);
    struct verdict v = connect_verdict(0);
    assert_true(v.needs_hello);
    assert_int_not_equal(v.action, SOTH_BLOCK);
    peek->result = SOTH_CONTINUE;
    v = connect_verdict(1);
    assert_int_equal(v.action, SOTH_BLOCK);
}

static void who_is_not_subscribed_is_not_asked(void **state)
{
    (void)state;
    struct answer *a = SAYS(SOTH_BLOCK);
    instances[0]->hooks = SOTH_HOOK_REQUEST;
    assert_int_equal(connect_verdict(0).action, SOTH_INTERCEPT);
    assert_int_equal(a->asked, 0);
    assert_int_equal(request_verdict().action, SOTH_BLOCK);
}

static void a_failing_policy_counts_as_its_on_error(void **state)
{
    (void)state;
    policy(SOTH_FAIL, SOTH_TUNNEL, 0);
    assert_int_equal(connect_verdict(0).action, SOTH_INTERCEPT); /* open: left out */
    instances[0]->closed_on_error = true;
    struct verdict v = connect_verdict(0);
    assert_int_equal(v.action, SOTH_BLOCK);
    assert_false(v.is_default);
    assert_string_equal(v.reason, "module_fault");
    assert_string_equal(v.policy_module, "a");
    assert_int_equal(request_verdict().action, SOTH_BLOCK);
}

static void an_action_that_does_not_exist_is_a_failure(void **state)
{
    (void)state;
    SAYS(SOTH_ALLOW); /* is for requests */
    instances[0]->closed_on_error = true;
    assert_string_equal(connect_verdict(0).reason, "module_fault");
    registry.n = 0;
    SAYS(SOTH_TUNNEL); /* is for connections */
    assert_string_equal(request_verdict().reason, "module_fault");
    registry.n = 0;
    SAYS(77);
    assert_string_equal(connect_verdict(0).reason, "module_fault");
}

static void failures_in_a_row_open_the_breaker(void **state)
{
    (void)state;
    struct answer *a = policy(SOTH_FAIL, 0, 0);
    for (unsigned i = 0; i < INSTANCE_MAX_FAILURES - 1; i++)
        connect_verdict(0);
    a->result = SOTH_CONTINUE; /* a success ends the row */
    connect_verdict(0);
    a->result = SOTH_FAIL;
    for (unsigned i = 0; i < 3 * INSTANCE_MAX_FAILURES; i++)
        connect_verdict(0);
    assert_int_equal(a->asked, 2 * INSTANCE_MAX_FAILURES);
    a->result = SOTH_CONTINUE; /* for good */
    connect_verdict(0);
    assert_int_equal(a->asked, 2 * INSTANCE_MAX_FAILURES);
    instances[0]->closed_on_error = true;
    assert_int_equal(connect_verdict(0).action, SOTH_BLOCK);
    assert_int_equal(request_verdict().action, SOTH_BLOCK);
}

static void nothing(void *arg)
{
    (void)arg;
}

/* What it waited for is not the next policy's. */
static void one_that_is_switched_off_while_it_waits_is_left_out(void **state)
{
    struct soth_connect connect = {.size = sizeof connect};
    struct question q = {.hook = SOTH_HOOK_CONNECT, .connect = &connect};
    struct bus_port port = {.monotonic_ns = 1};
    struct soth_flow flow = {.bus = &port, .owner = &port, .mailbox = mailbox_new(nothing, NULL)};
    struct ask ask = {0};
    (void)state;
    struct answer *a = policy(SOTH_PAUSE, 0, 0), *b = SAYS(SOTH_TUNNEL);
    instances[0]->module.cancel = on_cancel;
    assert_int_equal(registry_ask(&registry, &flow, &ask, &q), ASK_WAIT);
    instances[0]->failures = INSTANCE_MAX_FAILURES;
    ask.pause.state = PAUSE_LATE;
    assert_int_equal(registry_ask(&registry, &flow, &ask, &q), ASK_DONE);
    assert_int_equal(ask.verdict.action, SOTH_TUNNEL);
    assert_string_equal(ask.verdict.policy_module, "b");
    assert_true(a->asked == 1 && b->asked == 1 && a->cancelled == a->token.pause);
    assert_int_equal(mailbox_post(a->token, 0), -SOTH_ESTALE);
    mailbox_free(flow.mailbox);
}

/* ---- the event of it ---- */

static unsigned faults;

static int count_faults(void *instance, const struct soth_batch *batch, uint32_t *done, uint32_t *retry_ms)
{
    (void)instance;
    (void)retry_ms;
    for (*done = 0; *done < batch->count; ++*done) {
        const struct soth_event *e = batch->events[*done];
        faults++;
        assert_int_equal(e->kind, SOTH_EV_MODULE_FAULT);
        assert_true(soth_span_is(e->attrs[1].text, "connect") && soth_span_is(e->attrs[2].text, "a"));
    }
    return SOTH_OK;
}

static void faults_are_events(void **state)
{
    struct bus_sink_ops ops = {count_faults, NULL, NULL};
    struct bus_queue_config queue = {.max_events = 1024, .max_bytes = 1 << 20, .on_full = QUEUE_DROP_NEWEST};
    (void)state;
    registry.bus = bus_new();
    bus_add_sink(registry.bus, "faults", NULL, &ops, UINT64_C(1) << SOTH_EV_MODULE_FAULT, &queue);
    bus_start(registry.bus);
    policy(SOTH_FAIL, 0, 0);
    for (unsigned i = 0; i < 3 * INSTANCE_MAX_FAILURES; i++)
        connect_verdict(0);
    assert_int_equal(bus_stop(registry.bus, 5000), 0);
    assert_int_equal(faults, 2); /* the first, and the last that was asked */
    bus_free(registry.bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_opinions, begin, end),
        cmocka_unit_test_setup_teardown(block_beats_tunnel_beats_intercept, begin, end),
        cmocka_unit_test_setup_teardown(an_explicit_decision_beats_a_default, begin, end),
        cmocka_unit_test_setup_teardown(of_equals_the_first_is_named, begin, end),
        cmocka_unit_test_setup_teardown(requests_are_blocked_or_allowed, begin, end),
        cmocka_unit_test_setup_teardown(the_hello_is_waited_for, begin, end),
        cmocka_unit_test_setup_teardown(a_default_block_waits_for_the_hello, begin, end),
        cmocka_unit_test_setup_teardown(who_is_not_subscribed_is_not_asked, begin, end),
        cmocka_unit_test_setup_teardown(a_failing_policy_counts_as_its_on_error, begin, end),
        cmocka_unit_test_setup_teardown(an_action_that_does_not_exist_is_a_failure, begin, end),
        cmocka_unit_test_setup_teardown(failures_in_a_row_open_the_breaker, begin, end),
        cmocka_unit_test_setup_teardown(one_that_is_switched_off_while_it_waits_is_left_out, begin, end),
        cmocka_unit_test_setup_teardown(faults_are_events, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
