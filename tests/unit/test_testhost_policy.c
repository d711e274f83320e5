/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The host for tests of modules asks policies in every way, and finds those that answer wrongly.
 * build: sdk/testhost/
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

#include "testhost_rig.h"

/* Asks a thread of its own, which resumes; what it keeps for that it forgets when it hears of a cancel. */
struct asker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct soth_token tokens[64];
    unsigned count;
    bool stop;
    atomic_uint resumed, cancelled, stale;
};
static struct asker asker;
static atomic_uint answer_action;

static void *resumes(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&asker.lock);
    while (!asker.stop) {
        if (asker.count == 0) {
            pthread_cond_wait(&asker.work, &asker.lock);
            continue;
        }
        struct soth_token token = asker.tokens[--asker.count];
        pthread_mutex_unlock(&asker.lock);
        if (rig_api->resume(token, 77) == SOTH_OK)
            asker.resumed++;
        else
            asker.stale++;
        assert_int_equal(rig_api->resume(token, 78), -SOTH_ESTALE); /* doubled */
        pthread_mutex_lock(&asker.lock);
    }
    pthread_mutex_unlock(&asker.lock);
    return NULL;
}

static int starts(const struct soth_host *host, void *self)
{
    rig_keeps_host(host, self);
    memset(&asker, 0, sizeof asker);
    pthread_mutex_init(&asker.lock, NULL);
    pthread_cond_init(&asker.work, NULL);
    return pthread_create(&asker.thread, NULL, resumes, NULL) ? -SOTH_EIO : SOTH_OK;
}

static void stops(void *self)
{
    (void)self;
    pthread_mutex_lock(&asker.lock);
    asker.stop = true;
    pthread_cond_signal(&asker.work);
    pthread_mutex_unlock(&asker.lock);
    pthread_join(asker.thread, NULL);
}

static int asks(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    uint64_t arg;
    (void)request;
    if (rig_api->resumed(flow, &arg)) {
        assert_int_equal(arg, 77);
        out->action = answer_action;
        out->reason = "rule";
        out->rule_id = soth_span("r1");
        return SOTH_DECIDED;
    }
    struct soth_token token = rig_api->token(self, flow, 1000, 0);
    assert_int_equal(rig_api->token(self, flow, 1000, 0).pause, 0); /* there is one a hook */
    pthread_mutex_lock(&asker.lock);
    if (asker.count == 64) {
        pthread_mutex_unlock(&asker.lock);
        return SOTH_BUSY;
    }
    asker.tokens[asker.count++] = token;
    pthread_cond_signal(&asker.work);
    pthread_mutex_unlock(&asker.lock);
    return SOTH_PAUSE;
}

static void is_cancelled(void *self, struct soth_token token)
{
    (void)self;
    pthread_mutex_lock(&asker.lock);
    for (unsigned i = 0; i < asker.count; i++)
        if (asker.tokens[i].pause == token.pause)
            asker.tokens[i--] = asker.tokens[--asker.count];
    asker.cancelled++;
    pthread_mutex_unlock(&asker.lock);
}

#define POLICY(...) {SOTH_PREFIX(SOTH_KIND_POLICY), .name = "judge", .version = "1", .license = "MIT", __VA_ARGS__}

static void a_policy_that_asks_elsewhere(void **state)
{
    static const struct soth_module module = POLICY(.create = starts, .destroy = stops, .request = asks, .cancel = is_cancelled);
    struct testhost_question q = {.hook = SOTH_HOOK_REQUEST, .request = "GET /a HTTP/1.1\nHost: a.test"};
    struct soth_decision d;
    (void)state;
    answer_action = SOTH_BLOCK;
    struct testhost *host = testhost_new(&module, NULL, NULL);
    assert_int_equal(testhost_ask(host, &q, &d, NULL), SOTH_DECIDED);
    assert_int_equal(d.action, SOTH_BLOCK);
    assert_true(soth_span_is(d.rule_id, "r1"));
    assert_int_equal(testhost_policy(host, &q, SOTH_BLOCK), 0);
    assert_true(asker.resumed > 100);
    assert_true(asker.cancelled > 0);
    rig_hush(true);
    assert_int_not_equal(testhost_policy(host, &q, SOTH_ALLOW), 0);
    rig_hush(false);
    testhost_free(host);
}

static int nobody_answers(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    (void)request;
    (void)out;
    return rig_api->token(self, flow, 3, 1).generation ? SOTH_PAUSE : SOTH_FAIL;
}

static unsigned cancels;

static void counts_cancels(void *self, struct soth_token token)
{
    (void)self;
    (void)token;
    cancels++;
}

static void a_deadline_passes(void **state)
{
    static const struct soth_module module = POLICY(.create = rig_keeps_host, .request = nobody_answers, .cancel = counts_cancels);
    struct testhost_question q = {.hook = SOTH_HOOK_REQUEST};
    uint32_t late = 7;
    (void)state;
    struct testhost *host = testhost_new(&module, NULL, NULL);
    assert_int_equal(testhost_ask(host, &q, NULL, &late), -SOTH_ESTALE);
    assert_int_equal(late, 1);
    assert_int_equal(cancels, 1);
    assert_int_equal(testhost_free(host), 0);
}

static int peeks(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    (void)self;
    (void)flow;
    if (request->body.n < 4 && !request->body_complete) {
        out->need_bytes = 4;
        return SOTH_PEEK;
    }
    out->action = request->body.n >= 4 && memcmp(request->body.p, "evil", 4) == 0 ? SOTH_BLOCK : SOTH_ALLOW;
    return SOTH_DECIDED;
}

static int wants_hello(void *self, struct soth_flow *flow, const struct soth_connect *connect, struct soth_decision *out)
{
    (void)self;
    (void)flow;
    if (!connect->has_hello)
        return SOTH_PEEK;
    out->action = soth_span_is(connect->sni, "bad.test") && connect->client_addr.bytes[3] == 9 ? SOTH_BLOCK : SOTH_TUNNEL;
    return SOTH_DECIDED;
}

static void peeks_are_answered(void **state)
{
    static const struct soth_module module = POLICY(.request = peeks, .connect = wants_hello);
    struct testhost_question evil = {.hook = SOTH_HOOK_REQUEST, .body = TESTHOST_TEXT("evil twin")};
    struct testhost_question good = {.hook = SOTH_HOOK_REQUEST, .body = TESTHOST_TEXT("ok")};
    struct testhost_question bad = {.hook = SOTH_HOOK_CONNECT, .sni = "bad.test", .client = "192.0.2.9:1", .no_hello = 1};
    struct testhost_question fine = {.hook = SOTH_HOOK_CONNECT, .sni = "fine.test", .no_hello = 1};
    (void)state;
    struct testhost *host = testhost_new(&module, NULL, NULL);
    assert_int_equal(testhost_policy(host, &evil, SOTH_BLOCK), 0);
    assert_int_equal(testhost_policy(host, &good, SOTH_ALLOW), 0);
    assert_int_equal(testhost_policy(host, &bad, SOTH_BLOCK), 0);
    assert_int_equal(testhost_policy(host, &fine, SOTH_TUNNEL), 0);
    assert_int_equal(testhost_free(host), 0);
}

static int on_rewrite(void *self, struct soth_flow *flow, const struct soth_message *message)
{
    (void)self;
    (void)message;
    if (!soth_span_is(rig_api->hdr_get(flow, "x-key", 0), "old"))
        return SOTH_FAIL;
    rig_api->hdr_set(flow, "X-Key", soth_span("new"));
    rig_api->hdr_add(flow, "X-More", soth_span("1"));
    if (rig_api->hdr_del(flow, "cookie") != 2 || rig_api->hdr_set(flow, "Host", soth_span("x")) != -SOTH_EPERM ||
        rig_api->hdr_add(flow, "Bad Name", soth_span("x")) != -SOTH_EINVALID || rig_api->hdr_add(flow, "A", soth_span("x\ny")) != -SOTH_EINVALID)
        return SOTH_FAIL;
    return rig_api->set_target(flow, soth_span("b.test"), 8443, soth_span("/new"));
}

static void heads_are_changed(void **state)
{
    static const struct soth_module module = POLICY(.create = rig_keeps_host, .rewrite = on_rewrite);
    struct testhost_question q = {.hook = SOTH_HOOK_REWRITE, .request = "GET /a HTTP/1.1\nHost: a.test\nX-Key: old\nCookie: a\nAccept: */*\ncookie: b"};
    (void)state;
    struct testhost *host = testhost_new(&module, NULL, NULL);
    assert_int_equal(testhost_ask(host, &q, NULL, NULL), SOTH_CONTINUE);
    assert_string_equal(testhost_head(host), "Host: a.test\nAccept: */*\nX-Key: new\nX-More: 1\n");
    assert_string_equal(testhost_target(host), "b.test:8443 /new");
    assert_int_equal(testhost_free(host), 0);
}

static int judges_frames(void *self, struct soth_flow *flow, const struct soth_frame *frame, struct soth_decision *out)
{
    (void)self;
    (void)flow;
    out->action = frame->payload.n && frame->payload.p[0] == 'X' ? SOTH_BLOCK : SOTH_ALLOW;
    return SOTH_DECIDED;
}

static int injected_result;
static int adds_a_message(void *self, struct soth_flow *flow, const struct soth_frame *frame, struct soth_decision *out)
{
    struct soth_frame more = {.size = sizeof more, .direction = frame->direction ^ 1, .kind = SOTH_EV_WS_MESSAGE, .payload = soth_span("more\n")};
    (void)out;
    if (soth_span_is(frame->payload, "nowhere"))
        more.direction = 2;
    injected_result = rig_api->inject(self, flow, &more);
    return SOTH_CONTINUE;
}

static void what_is_injected_is_seen(void **state)
{
    static const struct soth_module module = POLICY(.create = rig_keeps_host, .frame = adds_a_message);
    struct testhost_question q = {.hook = SOTH_HOOK_FRAME};
    struct soth_decision d;
    (void)state;
    q.frame.kind = SOTH_EV_WS_MESSAGE;
    q.frame.payload = soth_span("hello");
    struct testhost *host = testhost_new(&module, NULL, NULL);
    assert_int_equal(testhost_ask(host, &q, &d, NULL), SOTH_CONTINUE);
    assert_int_equal(injected_result, SOTH_OK);
    assert_string_equal(testhost_injected(host), "server_to_client ws_message more\\n\n");
    assert_int_equal(testhost_faults(host), 0);
    q.frame.payload = soth_span("nowhere");
    rig_hush(true);
    testhost_ask(host, &q, &d, NULL);
    assert_int_equal(testhost_free(host), 1);
    rig_hush(false);
    assert_int_equal(injected_result, -SOTH_EINVALID);
}

static void frames_are_judged(void **state)
{
    static const struct soth_module module = POLICY(.frame = judges_frames);
    struct testhost_question q = {.hook = SOTH_HOOK_FRAME};
    (void)state;
    q.frame.kind = SOTH_EV_RESPONSE_BODY_CHUNK;
    q.frame.payload = soth_span("X!");
    struct testhost *host = testhost_new(&module, NULL, NULL);
    assert_int_equal(testhost_policy(host, &q, SOTH_BLOCK), 0);
    q.frame.payload = soth_span("ok");
    assert_int_equal(testhost_policy(host, &q, SOTH_ALLOW), 0);
    assert_int_equal(testhost_free(host), 0);
}

static int decides_oddly(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    (void)self;
    (void)flow;
    (void)request;
    out->action = SOTH_TUNNEL;
    return SOTH_DECIDED;
}

static int peeks_for_nothing(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    (void)self;
    (void)flow;
    (void)request;
    (void)out;
    return SOTH_PEEK;
}

static int says_drop(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    (void)self;
    (void)flow;
    (void)request;
    (void)out;
    return SOTH_DROP;
}

static int always_busy(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    (void)self;
    (void)flow;
    (void)request;
    (void)out;
    return SOTH_BUSY;
}

static void wrong_policies_are_found(void **state)
{
    static const struct soth_module modules[] = {POLICY(.request = decides_oddly), POLICY(.request = peeks_for_nothing), POLICY(.request = says_drop),
                                                 POLICY(.request = always_busy)};
    struct testhost_question q = {.hook = SOTH_HOOK_REQUEST, .body = TESTHOST_TEXT("body")};
    (void)state;
    rig_hush(true);
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        struct testhost *host = testhost_new(&modules[i], NULL, NULL);
        testhost_ask(host, &q, NULL, NULL);
        if (testhost_free(host) == 0)
            fail_msg("policy %zu", i);
    }
    rig_hush(false);
}

static void signals_go_both_ways(void **state)
{
    struct soth_signal signal = {.size = sizeof signal, .peer = "downstream", .reason = "unknown_ca", .source = "native_authoritative",
                                 .host = soth_span("a.test")};
    (void)state;
    struct testhost *host = testhost_new(&(const struct soth_module)POLICY(.create = rig_keeps_host, .request = decides_oddly), NULL, NULL);
    testhost_signal(host, &signal); /* nobody listens */
    assert_int_equal(rig_api->signal(testhost_self(host), &signal), SOTH_OK);
    assert_string_equal(testhost_signals(host), "downstream unknown_ca native_authoritative a.test\n");
    testhost_expect(host, 1, "nothing");
    assert_int_equal(testhost_faults(host), 0);
    rig_hush(true);
    testhost_expect(host, 0, "something");
    rig_hush(false);
    assert_int_equal(testhost_free(host), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_policy_that_asks_elsewhere),
        cmocka_unit_test(a_deadline_passes),
        cmocka_unit_test(peeks_are_answered),
        cmocka_unit_test(heads_are_changed),
        cmocka_unit_test(frames_are_judged),
        cmocka_unit_test(what_is_injected_is_seen),
        cmocka_unit_test(wrong_policies_are_found),
        cmocka_unit_test(signals_go_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
