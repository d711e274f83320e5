/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/policy_webhook/question.c modules/policy_webhook/url.c modules/policy_webhook/cache.c modules/policy_webhook/reasons.c modules/match/path.c */
/* needs: JANSSON */
/* What a decision service is asked and may answer, where it may be, and how long its answers are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "judged.h"
#include "modules/policy_webhook/cache.h"
#include "modules/policy_webhook/reasons.h"
#include "modules/policy_webhook/url.h"

/* ---- questions ---- */

static void is_asked(const struct soth_connect *connect, const struct soth_message *request, const char *key, const char *body)
{
    struct question *question = question_new(connect, request);
    assert_non_null(question);
    char *got = question_key(question);
    assert_string_equal(got, key);
    free(got);
    got = question_body(question, UINT64_C(9007199254740993));
    assert_string_equal(got, body);
    free(got);
    question_free(question);
}

static void questions(void **state)
{
    (void)state;
    struct soth_connect connect = connect_to("api.example", 443);
    is_asked(&connect, NULL,
             "{\"v\":1,\"hook\":\"connect\",\"client\":\"192.0.2.7\",\"host\":\"api.example\",\"port\":443,\"sni\":null,\"method\":null,"
             "\"path\":null}",
             "{\"v\":1,\"hook\":\"connect\",\"client\":\"192.0.2.7\",\"host\":\"api.example\",\"port\":443,\"sni\":null,\"method\":null,"
             "\"path\":null,\"flow_id\":9007199254740993}");
    struct soth_message request = request_on(&connect, "GET", "//v1/./%69tems/../x?key=secret#part");
    connect.sni = soth_span("sni.example");
    is_asked(&connect, &request,
             "{\"v\":1,\"hook\":\"request\",\"client\":\"192.0.2.7\",\"host\":\"api.example\",\"port\":443,\"sni\":\"sni.example\","
             "\"method\":\"GET\",\"path\":\"/v1/x\"}",
             "{\"v\":1,\"hook\":\"request\",\"client\":\"192.0.2.7\",\"host\":\"api.example\",\"port\":443,\"sni\":\"sni.example\","
             "\"method\":\"GET\",\"path\":\"/v1/x\",\"flow_id\":9007199254740993}");
}

/* Bytes of peers are any bytes; the question is JSON whatever they are. */
static void hostile_bytes(void **state)
{
    (void)state;
    struct soth_connect connect = connect_to("h", 1);
    struct soth_message request = request_on(&connect, "G\"ET", "/a\"b\\c\x01\xff\xc3\xa4 d");
    memset(&connect.client_addr, 0, sizeof connect.client_addr);
    connect.client = soth_span("unix:/run/x y");
    connect.sni = (struct soth_span){"a\0b\n", 4};
    is_asked(&connect, &request,
             "{\"v\":1,\"hook\":\"request\",\"client\":\"unix:/run/x%20y\",\"host\":\"h\",\"port\":1,\"sni\":\"a%00b%0A\","
             "\"method\":\"G\\\"ET\",\"path\":\"/a\\\"b\\\\c%01%FF%C3%A4%20d\"}",
             "{\"v\":1,\"hook\":\"request\",\"client\":\"unix:/run/x%20y\",\"host\":\"h\",\"port\":1,\"sni\":\"a%00b%0A\","
             "\"method\":\"G\\\"ET\",\"path\":\"/a\\\"b\\\\c%01%FF%C3%A4%20d\",\"flow_id\":9007199254740993}");
}

/* ---- answers ---- */

#define C SOTH_HOOK_CONNECT
#define R SOTH_HOOK_REQUEST

static void answers(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        uint32_t hook, action;
        const char *reason;
        uint64_t ttl_ms;
    } cases[] = {
        {"{\"action\":\"allow\"}", C, SOTH_ALLOW, "", TTL_ABSENT},
        {"{\"action\":\"allow\"}", R, SOTH_ALLOW, "", TTL_ABSENT},
        {"{\"action\":\"block\",\"reason\":\"quota\",\"ttl_ms\":0}", R, SOTH_BLOCK, "quota", 0},
        {" {\"ttl_ms\" : 60000 , \"action\":\"block\"}\n", C, SOTH_BLOCK, "", 60000},
        {"{\"action\":\"intercept\",\"reason\":null,\"ttl_ms\":null}", C, SOTH_INTERCEPT, "", TTL_ABSENT},
        {"{\"action\":\"tunnel\",\"reason\":\"\"}", C, SOTH_TUNNEL, "", TTL_ABSENT},
        {"{\"action\":\"block\",\"more\":[1,{}]}", C, SOTH_BLOCK, "", TTL_ABSENT},
        {"{\"action\":\"block\",\"reason\":\"a\\nb\\u007f\xc3\xa4\"}", C, SOTH_BLOCK, "a b \xc3\xa4", TTL_ABSENT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer answer;
        char reason[REASON_MOST];
        assert_null(answer_parse(soth_span(cases[i].json), cases[i].hook, &answer, reason));
        assert_int_equal(answer.action, cases[i].action);
        assert_int_equal(answer.reason.n, strlen(cases[i].reason));
        assert_true(answer.reason.n ? soth_span_is(answer.reason, cases[i].reason) : !answer.reason.p);
        assert_int_equal(answer.ttl_ms, cases[i].ttl_ms);
    }
}

static void wrong_answers(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        uint32_t hook;
        const char *fault;
    } cases[] = {
        {"", C, "its answer is not a JSON object"},
        {"block", C, "its answer is not a JSON object"},
        {"[\"block\"]", C, "its answer is not a JSON object"},
        {"\"block\"", C, "its answer is not a JSON object"},
        {"{\"action\":\"block\"} {}", C, "its answer is not a JSON object"},
        {"{\"action\":\"block\"", C, "its answer is not a JSON object"},
        {"{\"action\":\"block\",\"action\":\"allow\"}", C, "its answer is not a JSON object"},
        {"{\"action\":\"block\",\"reason\":\"\\u0000\"}", C, "its answer is not a JSON object"},
        {"{\"action\":\"block\",\"reason\":\"\xff\"}", C, "its answer is not a JSON object"},
        {"{}", C, "its answer has no action"},
        {"{\"action\":null}", C, "its answer has no action"},
        {"{\"action\":1}", C, "its answer has no action"},
        {"{\"action\":\"deny\"}", C, "its answer has an unknown action"},
        {"{\"action\":\"Block\"}", C, "its answer has an unknown action"},
        {"{\"action\":\"tunnel\"}", R, "its answer has an action that a request cannot have"},
        {"{\"action\":\"intercept\"}", R, "its answer has an action that a request cannot have"},
        {"{\"action\":\"block\",\"reason\":7}", C, "its answer has a reason that is not text"},
        {"{\"action\":\"block\",\"ttl_ms\":-1}", C, "its answer has a ttl_ms that is not a whole number from 0 up"},
        {"{\"action\":\"block\",\"ttl_ms\":1.5}", C, "its answer has a ttl_ms that is not a whole number from 0 up"},
        {"{\"action\":\"block\",\"ttl_ms\":\"1\"}", C, "its answer has a ttl_ms that is not a whole number from 0 up"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer answer;
        char reason[REASON_MOST];
        const char *fault = answer_parse(soth_span(cases[i].json), cases[i].hook, &answer, reason);
        assert_non_null(fault);
        assert_string_equal(fault, cases[i].fault);
    }
}

static void long_reasons_are_cut(void **state)
{
    (void)state;
    char json[1024] = "{\"action\":\"block\",\"reason\":\"x", reason[REASON_MOST];
    struct answer answer;
    for (int i = 0; i < 200; i++)
        strcat(json, "\xc3\xa4"); /* two bytes each: the 255th is the last of one ... */
    strcat(json, "\"}");
    assert_null(answer_parse(soth_span(json), C, &answer, reason));
    assert_int_equal(answer.reason.n, 255);
    memmove(strchr(json, 'x'), strchr(json, 'x') + 1, strlen(strchr(json, 'x')));
    assert_null(answer_parse(soth_span(json), C, &answer, reason)); /* ... or the first */
    assert_int_equal(answer.reason.n, 254);
    assert_memory_equal(answer.reason.p + 252, "\xc3\xa4", 2);
}

static void reasons_are_kept(void **state)
{
    (void)state;
    char text[16] = "quota";
    struct reasons *reasons = reasons_new(2);
    struct soth_span quota = reasons_keep(reasons, soth_span(text));
    strcpy(text, "other");
    assert_true(soth_span_is(quota, "quota"));
    assert_ptr_equal(reasons_keep(reasons, soth_span("quota")).p, quota.p);
    assert_null(reasons_keep(reasons, (struct soth_span){NULL, 0}).p);
    assert_true(soth_span_is(reasons_keep(reasons, (struct soth_span){"quotation", 4}), "quot"));
    assert_null(reasons_keep(reasons, soth_span("one too many")).p);
    assert_ptr_equal(reasons_keep(reasons, soth_span("quota")).p, quota.p);
    reasons_free(reasons);
}

/* ---- where it is ---- */

static void urls(void **state)
{
    (void)state;
    static const struct {
        const char *text, *socket, *host;
        uint32_t port;
        const char *authority, *path;
    } cases[] = {
        {"http://decide.example:8181/v1/decide?x=1", "", "decide.example", 8181, "decide.example:8181", "/v1/decide?x=1"},
        {"http://decide.example", "", "decide.example", 80, "decide.example", "/"},
        {"http://127.0.0.1:1?x", "", "127.0.0.1", 1, "127.0.0.1:1", "/?x"},
        {"http://[::1]:65535/", "", "::1", 65535, "[::1]:65535", "/"},
        {"http://[2001:db8::1]", "", "2001:db8::1", 80, "[2001:db8::1]", "/"},
        {"unix:/run/decide.sock", "/run/decide.sock", "", 0, "localhost", "/"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct url url;
        const char *why = NULL;
        assert_int_equal(url_parse(cases[i].text, &url, &why), SOTH_OK);
        assert_string_equal(url.socket, cases[i].socket);
        assert_string_equal(url.host, cases[i].host);
        assert_int_equal(url.port, cases[i].port);
        assert_string_equal(url.authority, cases[i].authority);
        assert_string_equal(url.path, cases[i].path);
    }
}

static void wrong_urls(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"decide.example:8181", "is neither http://host:port/path nor unix:/path"},
        {"https://decide.example/", "asks for TLS, which is not spoken to the service; give it a Unix socket or an address of this machine"},
        {"http://", "has no host"},
        {"http://:80/", "has no host"},
        {"http://a b/", "has no host"},
        {"http://[::1/", "has no host"},
        {"http://[x]/", "has no host"},
        {"http://a:0/", "has a port that is not a number from 1 to 65535"},
        {"http://a:65536/", "has a port that is not a number from 1 to 65535"},
        {"http://a:000080/", "has a port that is not a number from 1 to 65535"},
        {"http://a:/", "has a port that is not a number from 1 to 65535"},
        {"http://[::1]x/", "has a port that is not a number from 1 to 65535"},
        {"http://me:pass@a/", "holds a name or password; the service is not asked with one"},
        {"http://a/b c", "has a character that has no place in an URL's path"},
        {"http://a/b#c", "has a character that has no place in an URL's path"},
        {"http://a/b\r\nX: y", "has a character that has no place in an URL's path"},
        {"unix:decide.sock", "has no absolute path behind unix:"},
        {"unix:/", "has no absolute path behind unix:"},
        {"unix:/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "is too long for a Unix socket, 107 bytes are allowed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct url url;
        const char *why = NULL;
        assert_true(url_parse(cases[i][0], &url, &why) < 0);
        assert_string_equal(why, cases[i][1]);
    }
}

/* ---- answers that are kept ---- */

static const struct answer *has(struct cache *cache, const char *key, const char *reason, uint64_t now)
{
    const struct answer *answer = cache_get(cache, key, now);
    assert_true(!answer == !reason);
    if (answer)
        assert_true(soth_span_is(answer->reason, reason));
    return answer;
}

static void put(struct cache *cache, const char *key, const char *reason, uint64_t until)
{
    const struct answer answer = {.action = SOTH_BLOCK, .reason = soth_span(reason)};
    cache_put(cache, key, &answer, until);
}

static void kept_until(void **state)
{
    (void)state;
    struct cache *cache = cache_new(10, 100000);
    put(cache, "a", "one", 100);
    has(cache, "a", "one", 99);
    has(cache, "b", NULL, 99);
    has(cache, "a", NULL, 100);
    assert_int_equal(cache_count(cache), 0);
    put(cache, "a", "two", 300);
    put(cache, "a", "three", 200);
    assert_int_equal(cache_count(cache), 1);
    has(cache, "a", "three", 199);
    cache_free(cache);
}

static void least_used_goes_first(void **state)
{
    (void)state;
    struct cache *cache = cache_new(3, 100000);
    put(cache, "a", "a", 9);
    put(cache, "b", "b", 9);
    put(cache, "c", "c", 9);
    has(cache, "a", "a", 1);
    put(cache, "d", "d", 9);
    has(cache, "b", NULL, 1);
    has(cache, "a", "a", 1);
    has(cache, "c", "c", 1);
    has(cache, "d", "d", 1);
    cache_free(cache);
}

static void bounded_in_bytes(void **state)
{
    (void)state;
    struct cache *cache = cache_new(1000, 3000);
    char key[5000];
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "%0500d", i);
        put(cache, key, "x", 9);
        has(cache, key, "x", 1);
        assert_true(cache_count(cache) <= 5);
    }
    assert_true(cache_count(cache) >= 3);
    memset(key, 'x', sizeof key - 1);
    key[sizeof key - 1] = 0;
    put(cache, key, "too big", 9);
    has(cache, key, NULL, 1);
    assert_true(cache_count(cache) >= 3);
    cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions),
        cmocka_unit_test(hostile_bytes),
        cmocka_unit_test(answers),
        cmocka_unit_test(wrong_answers),
        cmocka_unit_test(long_reasons_are_cut),
        cmocka_unit_test(reasons_are_kept),
        cmocka_unit_test(urls),
        cmocka_unit_test(wrong_urls),
        cmocka_unit_test(kept_until),
        cmocka_unit_test(least_used_goes_first),
        cmocka_unit_test(bounded_in_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
