/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/transform_headers/ modules/match/pattern.c modules/match/pattern_set.c modules/match/path.c */
/* needs: IDN2 */
/* transform_headers: what becomes of heads and targets, where secrets go and where they do not, what its configuration refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf_text.h"
#include "policy_host.h"

static struct fake_instance policy;
static struct soth_flow *flow;
static struct soth_connect connect;

static int begin(void **state)
{
    (void)state;
    flow = policy_flow_new();
    connect = connect_to("api.example", 443);
    return 0;
}

static int end(void **state)
{
    (void)state;
    policy_flow_free(flow);
    fake_close(&policy);
    return 0;
}

static void open_rules(const char *rules)
{
    char config[2048];
    snprintf(config, sizeof config, "rules:\n%s", rules);
    if (policy_open(&policy, config) != SOTH_OK)
        print_error("%s", fake.wrong);
    assert_true(policy.created);
}

/* The flow's head and target as they were made of a request. */
static void request(const char *target)
{
    struct soth_message message = request_on(&connect, "GET", target);
    flow->host[0] = flow->path[0] = 0;
    flow->port = 0;
    flow->targets = 0;
    assert_int_equal(ask_rewrite(&policy, flow, &message), SOTH_OK);
}

static void fields(const char *before, const char *target, const char *after)
{
    char copy[512], *line = copy;
    snprintf(copy, sizeof copy, "%s", before);
    flow->field_count = 0;
    for (char *next; *line; line = next) {
        char *colon = strchr(line, ':');
        next = strchr(line, '\n');
        *colon = *next++ = 0;
        policy_flow_field(flow, line, colon + 2);
    }
    request(target);
    assert_string_equal(policy_flow_fields(flow), after);
}

/* ---- fields ---- */

static void set_add_remove(void **state)
{
    (void)state;
    open_rules("- host: api.example\n  set: {X-A: one, x-b: 'two words'}\n  add: {X-C: [1, 2], X-A: more}\n  remove: [Cookie, X-Gone]\n");
    fields("", "/", "X-A: one\nx-b: two words\nX-C: 1\nX-C: 2\nX-A: more\n");
    fields("cookie: a\nx-a: mine\nAccept: */*\nX-A: again\nCookie: b\n", "/",
           "Accept: */*\nX-A: one\nx-b: two words\nX-C: 1\nX-C: 2\nX-A: more\n");
    assert_int_equal(flow->targets, 0);
    assert_int_equal(fake_count("changed{request}"), 2);
}

static void every_rule_that_matches(void **state)
{
    (void)state;
    open_rules("- {host: .example, set: {X-A: first, X-B: first}}\n- {path: /v1/*, set: {X-B: second}}\n"
               "- {host: other.test, set: {X-C: no}}\n");
    fields("", "/v1/x", "X-A: first\nX-B: second\n");
    fields("", "//v1/./%78?q=/v2", "X-A: first\nX-B: second\n"); /* paths as policy_rules compares them */
    fields("", "/v2", "X-A: first\nX-B: first\n");
    connect = connect_to("nobody.test", 443);
    fields("", "/v2", "");
    assert_int_equal(fake_count("changed{request}"), 3);
}

static void responses(void **state)
{
    (void)state;
    struct soth_message response = request_on(&connect, "GET", "/v1/x");
    response.direction = SOTH_TO_CLIENT;
    open_rules("- {host: api.example, path: /v1/*, set: {X-Q: no}, set_response: {Cache-Control: no-store}, add_response: {Via: soth},\n"
               "   remove_response: [Server]}\n");
    policy_flow_field(flow, "server", "x/1");
    assert_int_equal(ask_rewrite(&policy, flow, &response), SOTH_OK);
    assert_string_equal(policy_flow_fields(flow), "Cache-Control: no-store\nVia: soth\n");
    response.target_host = soth_span("elsewhere.test"); /* its request was mapped */
    assert_int_equal(ask_rewrite(&policy, flow, &response), SOTH_OK);
    assert_int_equal(fake_count("changed{response}"), 2);
    flow->field_count = 0;
    response.target = soth_span("/v2");
    assert_int_equal(ask_rewrite(&policy, flow, &response), SOTH_OK);
    assert_string_equal(policy_flow_fields(flow), "");
    assert_int_equal(fake_count("changed{response}"), 2);
}

static void fields_that_the_host_refuses(void **state)
{
    (void)state;
    struct soth_message message = request_on(&connect, "GET", "/");
    char names[FLOW_FIELDS][8];
    open_rules("- add: {X-A: b}\n");
    for (int i = 0; i < FLOW_FIELDS; i++) {
        snprintf(names[i], sizeof names[i], "n%d", i);
        policy_flow_field(flow, names[i], "v");
    }
    assert_int_equal(ask_rewrite(&policy, flow, &message), -SOTH_ENOMEM);
}

static void nothing_to_do(void **state)
{
    (void)state;
    assert_int_equal(policy_open(&policy, "{}"), SOTH_OK);
    assert_int_equal(policy.module->hooks(policy.self), 0);
    fake_close(&policy);
    open_rules("- set: {a: b}\n");
    assert_int_equal(policy.module->hooks(policy.self), SOTH_HOOK_REWRITE);
}

/* ---- whose requests ---- */

/* The Host field is the client's choice, the connection is where the bytes go: what is meant for one server goes to no other. */
static void both_names_must_match(void **state)
{
    (void)state;
    struct soth_message message = request_on(&connect, "GET", "/");
    open_rules("- {host: 'api.example:443', set: {X-Key: k}}\n");
    message.target_host = soth_span("evil.test");
    assert_int_equal(ask_rewrite(&policy, flow, &message), SOTH_OK);
    assert_string_equal(policy_flow_fields(flow), "");
    message.target_host = soth_span("api.example");
    connect.port = 8443; /* another server on the same host; a Host field without a port does not make it the one on 443 */
    assert_int_equal(ask_rewrite(&policy, flow, &message), SOTH_OK);
    assert_string_equal(policy_flow_fields(flow), "");
    connect.port = 443;
    assert_int_equal(ask_rewrite(&policy, flow, &message), SOTH_OK);
    assert_string_equal(policy_flow_fields(flow), "X-Key: k\n");
    connect.host = soth_span("other.test"); /* to the right server, under another name */
    assert_int_equal(ask_rewrite(&policy, flow, &message), SOTH_OK);
    assert_string_equal(policy_flow_fields(flow), "X-Key: k\n");
    assert_int_equal(fake_count("changed{request}"), 1);
}

static void where_a_rule_has_sent_the_connection(void **state)
{
    (void)state;
    struct soth_message message = request_on(&connect, "GET", "/");
    open_rules("- {host: 'api.example:443', map_to: {host: staging.test, port: 8443}}\n- {host: api.example, set: {X-Key: k}}\n");
    message.target_host = soth_span("staging.test");
    connect.port = 8443;
    assert_int_equal(ask_rewrite(&policy, flow, &message), SOTH_OK);
    assert_string_equal(policy_flow_fields(flow), "X-Key: k\n");
    connect.port = 8444;
    assert_int_equal(ask_rewrite(&policy, flow, &message), SOTH_OK);
    assert_int_equal(fake_count("changed{request}"), 1);
    connect.port = 8443;
    policy_flow_field(flow, "X-Host", "this is no Host field:1");
    message.target_host = soth_span("elsewhere.test");
    assert_int_equal(ask_rewrite(&policy, flow, &message), SOTH_OK);
    assert_int_equal(fake_count("changed{request}"), 1);
}

/* ---- targets ---- */

static void connections(void **state)
{
    (void)state;
    struct soth_message message = request_on(&connect, "CONNECT", "api.example:443");
    open_rules("- {host: api.example, path: /v1/*, map_to: {host: not.here}}\n"
               "- {host: 'api.example:443', map_to: {host: 'Staging.Test.', port: 8443}}\n"
               "- {host: api.example, map_to: {port: 1}}\n- {host: v6.example, map_to: {host: '2001:DB8::1'}}\n");
    assert_int_equal(ask_rewrite(&policy, flow, &message), SOTH_OK);
    assert_string_equal(flow->host, "staging.test");
    assert_int_equal(flow->port, 8443);
    assert_string_equal(flow->path, "");
    assert_int_equal(flow->targets, 1);
    connect = connect_to("v6.example", 443);
    assert_int_equal(ask_rewrite(&policy, flow, &message), SOTH_OK);
    assert_string_equal(flow->host, "[2001:db8::1]");
    connect = connect_to("other.example", 443);
    assert_int_equal(ask_rewrite(&policy, flow, &message), SOTH_OK);
    assert_int_equal(flow->targets, 2);
    assert_int_equal(fake_count("changed{connect}"), 2);
    assert_string_equal(policy_flow_fields(flow), "");
}

static void requests_go_elsewhere(void **state)
{
    (void)state;
    static const struct {
        const char *target, *host;
        uint32_t port;
        const char *path;
    } cases[] = {
        {"/v1/items?x=/v1/1", "legacy.test", 0, "/old/items?x=/v1/1"},
        {"/v1/", "legacy.test", 0, "/old/"},
        {"//v1/a/../%62%2fc", "legacy.test", 0, "/old/b%2Fc"},
        {"/v1/\xc3\xa4 \x7f", "legacy.test", 0, "/old/%C3%A4%20%7F"},
        {"/fixed/x?q", "", 8080, "/there?mine"},
        {"/all/x", "", 0, "/base/all/x"},
        {"*", "", 0, ""},
    };
    open_rules("- {host: api.example, path: /v1/*, map_to: {host: legacy.test, path: /old/*}}\n"
               "- {host: api.example, path: /fixed*, map_to: {port: 8080, path: '/there?mine'}}\n"
               "- {host: api.example, map_to: {path: /base*}}\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        request(cases[i].target);
        assert_int_equal(flow->targets, 1); /* the first of those that match */
        assert_string_equal(flow->host, cases[i].host);
        assert_int_equal(flow->port, cases[i].port);
        assert_string_equal(flow->path, cases[i].path);
    }
}

static void slashes_meet_once(void **state)
{
    (void)state;
    open_rules("- {path: '/a*', map_to: {path: '/b/*'}}\n- {map_to: {path: '/c/*'}}\n");
    request("/a/x");
    assert_string_equal(flow->path, "/b/x");
    request("/ax");
    assert_string_equal(flow->path, "/b/x");
    request("/x/y");
    assert_string_equal(flow->path, "/c/x/y");
}

static void long_paths(void **state)
{
    (void)state;
    char target[1500];
    open_rules("- {path: '*/end', set: {X-End: yes}}\n");
    memset(target, 'x', sizeof target);
    target[0] = '/';
    strcpy(target + sizeof target - 5, "/end");
    request(target);
    assert_string_equal(policy_flow_fields(flow), "X-End: yes\n");
}

/* ---- secrets ---- */

static void secret_file(const char *text, mode_t mode, const char *more)
{
    char *folder = scratch_new(), *file = scratch_file(folder, "key", text, mode), rules[512];
    snprintf(rules, sizeof rules, "rules:\n- {host: api.example, path: /v1/*, secret: {header: Authorization, file: '%s'%s}}\n", file,
             more);
    policy_open(&policy, rules);
    free(file);
    scratch_free(folder);
}

static void a_secret_for_one_host_and_path(void **state)
{
    (void)state;
    secret_file("s3cr3t\n", 0600, ", format: 'Bearer {secret}!'");
    assert_true(policy.created);
    fields("", "/v1/x", "Authorization: Bearer s3cr3t!\n");
    fields("AUTHORIZATION: the client's\nauthorization: again\n", "/v1/x", "Authorization: Bearer s3cr3t!\n");
    fields("Authorization: the client's\n", "/v2", "Authorization: the client's\n");
    connect = connect_to("other.example", 443);
    fields("", "/v1/x", "");
}

static void a_secret_as_it_is(void **state)
{
    (void)state;
    secret_file("two words\r\n", 0400, "");
    assert_true(policy.created);
    fields("", "/v1/x", "Authorization: two words\n");
}

static void a_secret_of_the_environment(void **state)
{
    (void)state;
    setenv("TEST_API_KEY", "from-env", 1);
    open_rules("- {host: api.example, secret: {header: X-Api-Key, env: TEST_API_KEY}}\n");
    unsetenv("TEST_API_KEY");
    fields("", "/", "X-Api-Key: from-env\n");
}

static void secrets_that_cannot_be_had(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        mode_t mode;
        const char *why;
    } cases[] = {
        {"s3cr3t", 0644, "/key can be read or written by group or others: chmod 600 it\n"},
        {"s3cr3t", 0620, "/key can be read or written by group or others: chmod 600 it\n"},
        {"", 0600, "/key is empty\n"},
        {"\n", 0600, "/key is empty\n"},
        {"s3cr3t\nmore", 0600, "/key has more than one line, or a control character in it\n"},
        {"s3cr3t\x01", 0600, "/key has more than one line, or a control character in it\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        secret_file(cases[i].text, cases[i].mode, "");
        assert_false(policy.created);
        assert_non_null(strstr(fake.wrong, cases[i].why));
        assert_int_equal(strncmp(fake.wrong, "config:2:", 9), 0);
        assert_null(strstr(fake.wrong, "s3cr3t"));
        fake_close(&policy);
    }
    static const char *const others[][2] = {
        {"file: /nowhere/key", "config:1:65: rules[0].secret.file: /nowhere/key cannot be read: No such file or directory\n"},
        {"file: /dev/null", "config:1:65: rules[0].secret.file: /dev/null is not a regular file\n"},
        {"env: NOT_THERE_AT_ALL", "config:1:64: rules[0].secret.env: NOT_THERE_AT_ALL is not in the environment\n"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char config[256];
        snprintf(config, sizeof config, "rules: [{host: a, secret: {format: '{secret}', header: X, %s}}]", others[i][0]);
        assert_int_equal(policy_open(&policy, config), -SOTH_ECONFIG);
        assert_string_equal(fake.wrong, others[i][1]);
        fake_close(&policy);
    }
}

/* `check` opens nothing: it may run where the secret is not. */
static void check_reads_no_secret(void **state)
{
    (void)state;
    assert_int_equal(policy_open(&policy, "rules: [{host: a, secret: {header: X, file: /nowhere/key}}]"), -SOTH_ECONFIG);
    assert_int_equal(policy.module->check(&policy_host, policy.self), SOTH_OK);
}

/* ---- configuration ---- */

static void wrong_configurations(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{host: a}", "1:9: rules[0]: changes nothing; give it set, add, remove, map_to, secret or one of the *_response keys"},
        {"{host: 'a b', set: {a: b}}", "1:16: rules[0].host[0]: 'a b' has a character that host names do not have"},
        {"{path: [/, x], set: {a: b}}", "1:20: rules[0].path[1]: 'x' does not begin with / or *"},
        {"{set: {'a b': c}}", "1:23: rules[0].set.a b: 'a b' is not the name of a field"},
        {"{add: {'': c}}", "1:20: rules[0].add.: '' is not the name of a field"},
        {"{set: {Host: c}}", "1:22: rules[0].set.Host: 'Host' cannot be changed as a field; map_to changes where a request goes"},
        {"{set_response: {Content-Length: 1}}",
         "1:41: rules[0].set_response.Content-Length: 'Content-Length' frames the message or belongs to the connection and cannot be changed"},
        {"{remove: [Cookie, Proxy-Authorization]}",
         "1:27: rules[0].remove[1]: 'Proxy-Authorization' frames the message or belongs to the connection and cannot be changed"},
        {"{remove_response: 'a:'}", "1:27: rules[0].remove_response[0]: 'a:' is not the name of a field"},
        {"{add_response: {X: \"a\\r\\nB: c\"}}", "1:28: rules[0].add_response.X: 'its value' has a control character, which a field cannot have"},
        {"{set: {X: a, x: b}}", "1:15: rules[0].set: 'x' is set twice; one value is set, more are added (add)"},
        {"{set: {X: [a, b]}}", "1:15: rules[0].set: 'X' is set twice; one value is set, more are added (add)"},
        {"{map_to: {host: 'a:1'}}", "1:25: rules[0].map_to.host: 'a:1' is not one host; a port has its own key"},
        {"{map_to: {host: '*.a'}}", "1:25: rules[0].map_to.host: '*.a' is not one host; a port has its own key"},
        {"{map_to: {host: 10.0.0.0/8}}", "1:25: rules[0].map_to.host: '10.0.0.0/8' is not one host; a port has its own key"},
        {"{map_to: {host: '*'}}", "1:25: rules[0].map_to.host: '*' is not one host; a port has its own key"},
        {"{map_to: {port: 0}}", "1:25: rules[0].map_to.port: 0 is out of range, allowed is 1 to 65535"},
        {"{map_to: {path: a}}", "1:25: rules[0].map_to.path: 'a' does not begin with /"},
        {"{map_to: {path: '/a b'}}", "1:25: rules[0].map_to.path: '/a b' has a character that has no place in a path"},
        {"{map_to: {path: '/*/a'}}", "1:25: rules[0].map_to.path: '/*/a' may have one * only, at its end, and no query then"},
        {"{map_to: {path: '/a?b=*'}}", "1:25: rules[0].map_to.path: '/a?b=*' may have one * only, at its end, and no query then"},
        {"{path: [/a/*, /b], map_to: {path: '/a/*'}}",
         "1:43: rules[0].map_to.path: '/a/*' ends with * for what a path pattern's * takes, so each pattern of the rule needs one, at its end"},
        {"{host: a, secret: {file: /x}}", "1:27: rules[0].secret: 'header' is missing: the field that gets the secret"},
        {"{host: a, secret: {header: X}}", "1:27: rules[0].secret: 'X' needs one of file and env: where the secret is"},
        {"{host: a, secret: {header: X, file: /x, env: Y}}", "1:27: rules[0].secret: 'X' needs one of file and env: where the secret is"},
        {"{host: a, secret: {header: Connection, env: Y}}",
         "1:36: rules[0].secret.header: 'Connection' frames the message or belongs to the connection and cannot be changed"},
        {"{host: a, secret: {header: X, env: Y, format: Bearer}}",
         "1:55: rules[0].secret.format: 'Bearer' must say {secret} once, where the secret stands"},
        {"{host: a, secret: {header: X, env: Y, format: '{secret}{secret}'}}",
         "1:55: rules[0].secret.format: '{secret}{secret}' must say {secret} once, where the secret stands"},
        {"{secret: {header: X, env: Y}}", "1:18: rules[0].secret: 'X' would go to every host; a rule with a secret needs host"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char config[256], wanted[320];
        snprintf(config, sizeof config, "rules: [%s]", cases[i][0]);
        snprintf(wanted, sizeof wanted, "config:%s\n", cases[i][1]);
        assert_int_equal(policy_open(&policy, config), -SOTH_ECONFIG);
        assert_string_equal(fake.wrong, wanted);
        fake_close(&policy);
    }
}

/* What the host refuses to change is refused before it comes to that; the two lists are one. */
static void fields_of_the_host(void **state)
{
    (void)state;
    static const char *const names[] = {
#define FIELD(NAME, text) text,
#include "host/http/field.def"
#undef FIELD
        "proxy-anything",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char config[128];
        int free_to_change = strcmp(names[i], "content-type") == 0 || strcmp(names[i], "content-encoding") == 0;
        snprintf(config, sizeof config, "rules: [{set: {%s: x}}]", names[i]);
        assert_int_equal(policy_open(&policy, config), free_to_change ? SOTH_OK : -SOTH_ECONFIG);
        fake_close(&policy);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(set_add_remove),
        TEST(every_rule_that_matches),
        TEST(responses),
        TEST(fields_that_the_host_refuses),
        TEST(nothing_to_do),
        TEST(both_names_must_match),
        TEST(where_a_rule_has_sent_the_connection),
        TEST(connections),
        TEST(requests_go_elsewhere),
        TEST(slashes_meet_once),
        TEST(long_paths),
        TEST(a_secret_for_one_host_and_path),
        TEST(a_secret_as_it_is),
        TEST(a_secret_of_the_environment),
        TEST(secrets_that_cannot_be_had),
        TEST(check_reads_no_secret),
        TEST(wrong_configurations),
        TEST(fields_of_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
