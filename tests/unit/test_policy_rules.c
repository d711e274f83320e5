/* SPDX-License-Identifier: MPL-2.0 */
/* build: modules/policy_rules/policy_rules.c modules/policy_rules/check.c modules/match/pattern.c modules/match/pattern_set.c modules/match/path.c */
/* needs: IDN2 */
/* policy_rules as the host sees it: configured from YAML, asked through its operations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "fake_host.h"

extern const struct soth_module soth_mitm_module;

static struct fake_instance policy;

static int begin(void **state)
{
    (void)state;
    fake_reset();
    return 0;
}

static int end(void **state)
{
    (void)state;
    fake_close(&policy);
    return 0;
}

static void use(const char *config)
{
    fake_close(&policy);
    if (fake_open(&policy, &soth_mitm_module, config) != SOTH_OK)
        fail_msg("%s", fake.wrong);
}

/* ---- asking ---- */

struct asked {
    const char *host;
    uint32_t port; /* 0: 443 */
    const char *sni, *alpn, *ja4, *client;
    int hello; /* the ClientHello is known, whether or not it has names */
    uint32_t identity;
    const char *method, *target, *target_host; /* of a request */
};

static struct soth_addr address(const char *text)
{
    struct soth_addr addr = {0};
    if (text && inet_pton(AF_INET, text, addr.bytes) == 1)
        addr.family = 4;
    else if (text && inet_pton(AF_INET6, text, addr.bytes) == 1)
        addr.family = 6;
    return addr;
}

static struct soth_connect connection(const struct asked *a)
{
    return (struct soth_connect){
        .size = sizeof(struct soth_connect),
        .identity = a->identity,
        .host = soth_span(a->host),
        .port = a->port ? a->port : 443,
        .has_hello = (uint32_t)(a->hello || a->sni || a->alpn || a->ja4),
        .client = soth_span(a->client ? a->client : "127.0.0.1"),
        .client_addr = address(a->client ? a->client : "127.0.0.1"),
        .host_addr = address(a->host),
        .sni = soth_span(a->sni),
        .alpn = soth_span(a->alpn),
        .ja4 = soth_span(a->ja4),
    };
}

/* What was answered, in words: "block rule no-admin", "intercept default_intercept, default", "peek", "no opinion". */
static const char *in_words(int verdict, const struct soth_decision *d)
{
    static const char *const actions[] = {"intercept", "tunnel", "block", "allow"};
    static char words[200];
    if (verdict != SOTH_DECIDED)
        return verdict == SOTH_PEEK ? "peek" : verdict == SOTH_CONTINUE ? "no opinion" : "failed";
    assert_in_range(d->action, 0, 3);
    snprintf(words, sizeof words, "%s %s%s%.*s%s", actions[d->action], d->reason, d->rule_id.n ? " " : "", SOTH_SPAN(d->rule_id),
             d->is_default ? ", default" : "");
    return words;
}

static const char *ask_connect(struct asked a)
{
    struct soth_connect connect = connection(&a);
    struct soth_decision d = {.size = sizeof d, .action = 99, .is_default = 99};
    int verdict = policy.module->connect(policy.self, NULL, &connect, &d);
    return in_words(verdict, &d);
}
#define CONNECT(name, ...) ask_connect((struct asked){.host = (name), __VA_ARGS__})

static const char *ask_request(struct asked a)
{
    struct soth_connect connect = connection(&a);
    struct soth_decision d = {.size = sizeof d, .action = 99, .is_default = 99};
    size_t n = strlen(a.target);
    char *exact = malloc(n); /* so that reading beyond is seen */
    memcpy(exact, a.target, n);
    struct soth_message request = {
        .size = sizeof request,
        .connect = &connect,
        .target_host = soth_span(a.target_host ? a.target_host : a.host),
        .method = soth_span(a.method ? a.method : "GET"),
        .scheme = soth_span("https"),
        .target = {exact, n},
    };
    int verdict = policy.module->request(policy.self, NULL, &request, &d);
    free(exact);
    return in_words(verdict, &d);
}
#define REQUEST(name, ...) ask_request((struct asked){.host = (name), __VA_ARGS__})

/* ---- connections ---- */

static void without_configuration_all_is_intercepted(void **state)
{
    (void)state;
    use("{}");
    assert_string_equal(CONNECT("a.test"), "intercept default_intercept, default");
    assert_int_equal(policy.module->hooks(policy.self), SOTH_HOOK_CONNECT);
}

static void the_default_is_configured(void **state)
{
    (void)state;
    use("default: tunnel");
    assert_string_equal(CONNECT("a.test"), "tunnel default_tunnel, default");
    use("default: block");
    assert_string_equal(CONNECT("a.test"), "block default_block, default");
}

/* blocked > ignored > rules > default: whatever stands behind would have said something else. */
static void the_order_of_lists_and_rules(void **state)
{
    (void)state;
    use("default: block\n"
        "blocked_hosts: [one.test]\n"
        "ignore_hosts: [one.test, two.test]\n"
        "rules: [{id: r, action: intercept, host: [one.test, two.test, three.test]}]\n");
    assert_string_equal(CONNECT("one.test"), "block blocked_host");
    assert_string_equal(CONNECT("two.test"), "tunnel ignored_host");
    assert_string_equal(CONNECT("three.test"), "intercept rule r");
    assert_string_equal(CONNECT("four.test"), "block default_block, default");
}

static void lists_take_every_kind_of_pattern(void **state)
{
    (void)state;
    use("blocked_hosts: [\"*.ads.test\", 10.0.0.0/8, \"[2001:db8::1]:8443\"]\nignore_hosts: .bank.test\n");
    assert_string_equal(CONNECT("x.ads.test"), "block blocked_host");
    assert_string_equal(CONNECT("ads.test"), "intercept default_intercept, default");
    assert_string_equal(CONNECT("10.9.8.7"), "block blocked_host");
    assert_string_equal(CONNECT("::ffff:10.9.8.7"), "block blocked_host");
    assert_string_equal(CONNECT("2001:db8::1", .port = 8443), "block blocked_host");
    assert_string_equal(CONNECT("2001:db8::1"), "intercept default_intercept, default");
    assert_string_equal(CONNECT("bank.test"), "tunnel ignored_host");
}

static void the_first_rule_that_matches_decides(void **state)
{
    (void)state;
    use("rules:\n"
        "  - {id: one, action: tunnel, host: a.test, port: 8443}\n"
        "  - {id: two, action: block, host: a.test}\n"
        "  - {id: three, action: tunnel, host: .test}\n");
    assert_string_equal(CONNECT("a.test", .port = 8443), "tunnel rule one");
    assert_string_equal(CONNECT("a.test"), "block rule two");
    assert_string_equal(CONNECT("b.test"), "tunnel rule three");
    assert_string_equal(CONNECT("b.example"), "intercept default_intercept, default");
}

static void all_keys_must_match_and_one_value_of_each(void **state)
{
    (void)state;
    use("rules: [{id: r, action: block, host: [a.test, b.test], port: [443, 8443], client: [10.0.0.0/8, \"2001:db8::/32\"]}]\n");
    assert_string_equal(CONNECT("a.test", .client = "10.1.2.3"), "block rule r");
    assert_string_equal(CONNECT("b.test", .port = 8443, .client = "2001:db8::9"), "block rule r");
    assert_string_equal(CONNECT("a.test", .client = "::ffff:10.1.2.3"), "block rule r"); /* a dual-stack listener's IPv4 client */
    assert_string_equal(CONNECT("c.test", .client = "10.1.2.3"), "intercept default_intercept, default");
    assert_string_equal(CONNECT("a.test", .port = 80, .client = "10.1.2.3"), "intercept default_intercept, default");
    assert_string_equal(CONNECT("a.test", .client = "11.1.2.3"), "intercept default_intercept, default");
    assert_string_equal(CONNECT("a.test", .client = "2001:db9::9"), "intercept default_intercept, default");
}

/* A client behind a unix socket has no address: it is in no network. */
static void a_client_without_address(void **state)
{
    (void)state;
    use("rules: [{id: r, action: block, client: [0.0.0.0/0, \"::/0\"]}]\n");
    assert_string_equal(CONNECT("a.test", .client = "unix"), "intercept default_intercept, default");
    assert_string_equal(CONNECT("a.test", .client = "127.0.0.1"), "block rule r");
    assert_string_equal(CONNECT("a.test", .client = "::1"), "block rule r");
}

static void a_rule_without_keys_matches_everything(void **state)
{
    (void)state;
    use("rules: [{id: r, action: block}]\n");
    assert_string_equal(CONNECT("a.test"), "block rule r");
}

/* ---- the hello ---- */

static void a_rule_that_needs_the_hello_asks_for_it(void **state)
{
    (void)state;
    use("rules:\n"
        "  - {id: first, action: block, host: early.test}\n"
        "  - {id: hello, action: tunnel, host: .test, sni: \"*.pinned.test\"}\n"
        "  - {id: late, action: block, host: .test}\n");
    assert_string_equal(CONNECT("early.test"), "block rule first"); /* decided before the hello could matter */
    assert_string_equal(CONNECT("a.example"), "intercept default_intercept, default"); /* its other keys do not match */
    assert_string_equal(CONNECT("a.test"), "peek");
    assert_string_equal(CONNECT("a.test", .sni = "x.pinned.test"), "tunnel rule hello");
    assert_string_equal(CONNECT("a.test", .sni = "a.test"), "block rule late");
    assert_string_equal(CONNECT("a.test", .hello = 1), "block rule late"); /* no server name, or no TLS at all */
}

static void server_names_are_host_patterns(void **state)
{
    (void)state;
    use("rules: [{id: r, action: block, sni: [.a.test, \"b.test:8443\", 10.0.0.0/8]}]\n");
    assert_string_equal(CONNECT("x.test", .sni = "a.test"), "block rule r");
    assert_string_equal(CONNECT("x.test", .sni = "b.a.test"), "block rule r");
    assert_string_equal(CONNECT("x.test", .sni = "b.test", .port = 8443), "block rule r");
    assert_string_equal(CONNECT("x.test", .sni = "b.test"), "intercept default_intercept, default");
    assert_string_equal(CONNECT("x.test", .sni = "10.1.2.3"), "block rule r"); /* some clients send addresses */
    use("rules: [{id: r, action: block, sni: \"*\"}]\n");
    assert_string_equal(CONNECT("x.test", .sni = "a.test"), "block rule r");
    assert_string_equal(CONNECT("x.test", .hello = 1), "intercept default_intercept, default"); /* any name, but a name */
}

static void one_protocol_of_those_offered(void **state)
{
    (void)state;
    use("rules: [{id: r, action: tunnel, alpn: [h2, imap]}]\n");
    assert_string_equal(CONNECT("a.test"), "peek");
    assert_string_equal(CONNECT("a.test", .alpn = "h2"), "tunnel rule r");
    assert_string_equal(CONNECT("a.test", .alpn = "http/1.1,h2"), "tunnel rule r");
    assert_string_equal(CONNECT("a.test", .alpn = "h2,http/1.1"), "tunnel rule r");
    assert_string_equal(CONNECT("a.test", .alpn = "x,imap,y"), "tunnel rule r");
    assert_string_equal(CONNECT("a.test", .alpn = "h2c,xh2,http/1.1"), "intercept default_intercept, default");
    assert_string_equal(CONNECT("a.test", .hello = 1), "intercept default_intercept, default");
}

static void server_name_and_protocol_together(void **state)
{
    (void)state;
    use("rules: [{id: r, action: block, sni: a.test, alpn: h2}]\n");
    assert_string_equal(CONNECT("x.test", .sni = "a.test", .alpn = "h2"), "block rule r");
    assert_string_equal(CONNECT("x.test", .sni = "a.test", .alpn = "http/1.1"), "intercept default_intercept, default");
    assert_string_equal(CONNECT("x.test", .sni = "b.test", .alpn = "h2"), "intercept default_intercept, default");
}

#define CHROME "t13d1516h2_8daaf6152771_e5627efa2ab1"

static void fingerprints(void **state)
{
    (void)state;
    use("rules: [{id: r, action: block, ja4: [" CHROME ", \"t12*\", \"*_5b57614c22b0_*\"]}]\n");
    assert_string_equal(CONNECT("a.test"), "peek");
    assert_string_equal(CONNECT("a.test", .ja4 = CHROME), "block rule r");
    assert_string_equal(CONNECT("a.test", .ja4 = "t12d0202h2_dd521c41064d_000000000000"), "block rule r");
    assert_string_equal(CONNECT("a.test", .ja4 = "t13d1717h2_5b57614c22b0_3cbfd9057e0d"), "block rule r");
    assert_string_equal(CONNECT("a.test", .ja4 = "t13d1516h2_8daaf6152771_6d807ffa2a79"), "intercept default_intercept, default");
    assert_string_equal(CONNECT("a.test", .hello = 1), "intercept default_intercept, default"); /* no TLS */
    use("rules: [{id: r, action: tunnel, host: a.test, ja4: \"t13*\", alpn: h2}]\n");
    assert_string_equal(CONNECT("b.test"), "intercept default_intercept, default"); /* it cannot match: nothing waits */
    assert_string_equal(CONNECT("a.test", .ja4 = CHROME, .alpn = "h2"), "tunnel rule r");
    assert_string_equal(CONNECT("a.test", .ja4 = CHROME, .alpn = "http/1.1"), "intercept default_intercept, default");
    use("rules: [{id: r, action: block, ja4: \"*\"}]\n");
    assert_string_equal(CONNECT("a.test", .ja4 = CHROME), "block rule r");
    assert_string_equal(CONNECT("a.test", .hello = 1), "intercept default_intercept, default"); /* any fingerprint, but a fingerprint */
}

/* ---- further names of a connection ---- */

static void every_name_of_a_connection_is_judged(void **state)
{
    (void)state;
    use("blocked_hosts: evil.test\nignore_hosts: bank.test\nrules: [{id: r, action: block, host: bad.test}]\n");
    for (uint32_t identity = SOTH_ID_TARGET; identity <= SOTH_ID_AUTHORITY; identity++) {
        assert_string_equal(CONNECT("evil.test", .identity = identity, .hello = 1), "block blocked_host");
        assert_string_equal(CONNECT("bad.test", .identity = identity, .hello = 1), "block rule r");
        assert_string_equal(CONNECT("bank.test", .identity = identity, .hello = 1), "tunnel ignored_host");
        assert_string_equal(CONNECT("good.test", .identity = identity, .hello = 1), "intercept default_intercept, default");
    }
}

/* ---- requests ---- */

static void requests_are_asked_about_only_with_request_rules(void **state)
{
    (void)state;
    use("rules: [{id: c, action: block, host: a.test}, {id: q, action: block, method: POST}]\n");
    assert_int_equal(policy.module->hooks(policy.self), SOTH_HOOK_CONNECT | SOTH_HOOK_REQUEST);
    use("rules: [{id: c, action: block, host: a.test}]\n");
    assert_int_equal(policy.module->hooks(policy.self), SOTH_HOOK_CONNECT);
}

static void connection_rules_and_request_rules_do_not_mix(void **state)
{
    (void)state;
    use("blocked_hosts: blocked.test\n"
        "rules: [{id: q, action: block, host: a.test, method: POST}, {id: c, action: tunnel, host: a.test}, {id: p, action: allow, path: /x}]\n");
    assert_string_equal(CONNECT("a.test"), "tunnel rule c");
    assert_string_equal(REQUEST("a.test", .method = "POST", .target = "/"), "block rule q");
    assert_string_equal(REQUEST("a.test", .target = "/"), "no opinion");
    assert_string_equal(REQUEST("a.test", .target = "/x"), "allow rule p");
    assert_string_equal(REQUEST("blocked.test", .target = "/"), "no opinion"); /* that was decided for the connection */
}

static void methods_have_a_case(void **state)
{
    (void)state;
    use("rules: [{id: r, action: block, method: [DELETE, PURGE, m-x]}]\n");
    assert_string_equal(REQUEST("a.test", .method = "DELETE", .target = "/"), "block rule r");
    assert_string_equal(REQUEST("a.test", .method = "PURGE", .target = "/"), "block rule r");
    assert_string_equal(REQUEST("a.test", .method = "m-x", .target = "/"), "block rule r");
    assert_string_equal(REQUEST("a.test", .method = "delete", .target = "/"), "no opinion");
    assert_string_equal(REQUEST("a.test", .method = "DELETEX", .target = "/"), "no opinion");
    assert_string_equal(REQUEST("a.test", .method = "DEL", .target = "/"), "no opinion");
}

static void paths_are_compared_in_their_plain_form(void **state)
{
    (void)state;
    use("rules: [{id: pub, action: allow, path: /admin/public*}, {id: adm, action: block, path: [/admin*, \"*.php\"]}]\n");
    assert_string_equal(REQUEST("a.test", .target = "/admin"), "block rule adm");
    assert_string_equal(REQUEST("a.test", .target = "/x//..//%61dmin/y?q"), "block rule adm");
    assert_string_equal(REQUEST("a.test", .target = "/admin/public/x"), "allow rule pub");
    assert_string_equal(REQUEST("a.test", .target = "/admin/public/../x"), "block rule adm");
    assert_string_equal(REQUEST("a.test", .target = "/a/b.php?x"), "block rule adm");
    assert_string_equal(REQUEST("a.test", .target = "/a/b.php/"), "no opinion");
    assert_string_equal(REQUEST("a.test", .target = "/?/admin"), "no opinion");
}

static void grpc_calls_are_told_by_their_paths(void **state)
{
    (void)state;
    use("rules: [{id: get, action: allow, grpc_service: pkg.Svc, grpc_method: [Get, List*]}, {id: svc, action: block, grpc_service: pkg.*},\n"
        "        {id: del, action: block, grpc_method: Delete}]\n");
    assert_string_equal(REQUEST("a.test", .method = "POST", .target = "/pkg.Svc/Get"), "allow rule get");
    assert_string_equal(REQUEST("a.test", .method = "POST", .target = "/pkg.Svc/ListAll?x=/other.Svc/y"), "allow rule get");
    assert_string_equal(REQUEST("a.test", .method = "POST", .target = "/pkg.Svc/Getter"), "block rule svc");
    assert_string_equal(REQUEST("a.test", .method = "POST", .target = "/prefix/pkg.Other/Get"), "block rule svc");
    assert_string_equal(REQUEST("a.test", .method = "POST", .target = "/%70kg.Svc//Put"), "block rule svc");
    assert_string_equal(REQUEST("a.test", .method = "POST", .target = "/other.Svc/Delete"), "block rule del");
    assert_string_equal(REQUEST("a.test", .method = "POST", .target = "/other.Svc/Get"), "no opinion");
    assert_string_equal(REQUEST("a.test", .method = "POST", .target = "/Delete"), "no opinion");
    assert_string_equal(REQUEST("a.test", .method = "POST", .target = "/pkg.Svc/"), "no opinion");
}

static void long_paths_are_compared_whole(void **state)
{
    char target[5001];
    (void)state;
    use("rules: [{id: r, action: block, path: \"*/end\"}]\n");
    memset(target, 'x', sizeof target);
    target[0] = '/';
    memcpy(target + sizeof target - 5, "/end", 5);
    assert_string_equal(REQUEST("a.test", .target = target), "block rule r");
    target[sizeof target - 2] = 'x';
    assert_string_equal(REQUEST("a.test", .target = target), "no opinion");
}

/* The request's host, or the one that the connection was made for: a rule for either is a rule for the request. */
static void both_names_of_a_request_count(void **state)
{
    (void)state;
    use("rules: [{id: r, action: block, host: [api.test, 10.0.0.0/8], method: POST, port: 443, client: 127.0.0.0/8}]\n");
    assert_string_equal(REQUEST("api.test", .method = "POST", .target = "/", .target_host = "cdn.test"), "block rule r");
    assert_string_equal(REQUEST("cdn.test", .method = "POST", .target = "/", .target_host = "api.test"), "block rule r");
    assert_string_equal(REQUEST("cdn.test", .method = "POST", .target = "/", .target_host = "10.1.2.3"), "block rule r");
    assert_string_equal(REQUEST("10.1.2.3", .method = "POST", .target = "/", .target_host = "cdn.test"), "block rule r");
    assert_string_equal(REQUEST("cdn.test", .method = "POST", .target = "/"), "no opinion");
    assert_string_equal(REQUEST("api.test", .method = "POST", .target = "/", .port = 80), "no opinion");
    assert_string_equal(REQUEST("api.test", .method = "POST", .target = "/", .client = "10.0.0.1"), "no opinion");
}

/* ---- counters ---- */

static void decisions_are_counted_by_rule(void **state)
{
    (void)state;
    use("blocked_hosts: b.test\nignore_hosts: i.test\n"
        "rules: [{id: t, action: tunnel, host: t.test}, {id: x, action: intercept, host: x.test}, {id: q, action: block, method: POST}]\n");
    CONNECT("b.test");
    for (unsigned i = 0; i < 2; i++)
        CONNECT("i.test");
    for (unsigned i = 0; i < 3; i++)
        CONNECT("t.test");
    for (unsigned i = 0; i < 4; i++)
        CONNECT("x.test");
    for (unsigned i = 0; i < 5; i++)
        CONNECT("other.test");
    for (unsigned i = 0; i < 6; i++)
        REQUEST("a.test", .method = "POST", .target = "/");
    REQUEST("a.test", .target = "/");
    assert_int_equal(fake_count("decisions{blocked_host}"), 1);
    assert_int_equal(fake_count("decisions{ignored_host}"), 2);
    assert_int_equal(fake_count("decisions{t}"), 3);
    assert_int_equal(fake_count("decisions{x}"), 4);
    assert_int_equal(fake_count("decisions{default}"), 5);
    assert_int_equal(fake_count("decisions{q}"), 6);
    assert_int_equal(fake_count("bypasses{ignored_host}"), 2);
    assert_int_equal(fake_count("bypasses{t}"), 3);
    assert_int_equal(fake_count("bypasses{default}"), 0);
    assert_int_equal(fake_count("bypasses{x}"), 0);
}

static void a_default_that_tunnels_is_a_bypass(void **state)
{
    (void)state;
    use("default: tunnel");
    CONNECT("a.test");
    assert_int_equal(fake_count("decisions{default}"), 1);
    assert_int_equal(fake_count("bypasses{default}"), 1);
}

/* Of further names only what refuses the connection is one more decision. */
static void a_connection_counts_once(void **state)
{
    (void)state;
    use("blocked_hosts: b.test\nignore_hosts: i.test\nrules: [{id: t, action: tunnel, host: t.test}, {id: x, action: block, host: x.test}]\n");
    for (uint32_t identity = SOTH_ID_SNI; identity <= SOTH_ID_AUTHORITY; identity++) {
        CONNECT("i.test", .identity = identity, .hello = 1);
        CONNECT("t.test", .identity = identity, .hello = 1);
        CONNECT("other.test", .identity = identity, .hello = 1);
        CONNECT("b.test", .identity = identity, .hello = 1);
        CONNECT("x.test", .identity = identity, .hello = 1);
    }
    assert_int_equal(fake_count("decisions{ignored_host}"), 0);
    assert_int_equal(fake_count("decisions{t}"), 0);
    assert_int_equal(fake_count("decisions{default}"), 0);
    assert_int_equal(fake_count("bypasses{ignored_host}"), 0);
    assert_int_equal(fake_count("decisions{blocked_host}"), 2);
    assert_int_equal(fake_count("decisions{x}"), 2);
    use("default: block");
    CONNECT("a.test", .identity = SOTH_ID_SNI, .hello = 1); /* no name is refused by default */
    assert_int_equal(fake_count("decisions{default}"), 0);
}

/* All policies are asked again when one of them waited for the hello, those too that had said what they think. */
static void asked_twice_is_counted_once(void **state)
{
    (void)state;
    use("blocked_hosts: b.test\nignore_hosts: i.test\n"
        "rules: [{id: early, action: tunnel, host: e.test}, {id: h, action: tunnel, host: .late.test, sni: pin.test}]\n");
    static const char *const hosts[] = {"b.test", "i.test", "e.test", "other.test", "a.late.test"};
    for (unsigned i = 0; i < 5; i++) {
        CONNECT(hosts[i]);
        CONNECT(hosts[i], .sni = hosts[i]);
    }
    CONNECT("b.late.test");
    CONNECT("b.late.test", .sni = "pin.test");
    assert_int_equal(fake_count("decisions{blocked_host}"), 1);
    assert_int_equal(fake_count("decisions{ignored_host}"), 1);
    assert_int_equal(fake_count("decisions{early}"), 1);
    assert_int_equal(fake_count("decisions{default}"), 2); /* other.test, and a.late.test, which had to wait */
    assert_int_equal(fake_count("decisions{h}"), 1);
    assert_int_equal(fake_count("bypasses{h}"), 1);
    assert_int_equal(fake_count("bypasses{early}"), 1);
}

/* ---- configuration ---- */

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *config, *wrong;
    } mistakes[] = {
        {"blocked_hosts: [a.test, \"b..test\"]", "blocked_hosts[1]: 'b..test' has a label that is empty or longer than 63 characters\n"},
        {"ignore_hosts: [\"a.test:0\"]", "ignore_hosts[0]: 'a.test:0' has a port that is not a number from 1 to 65535\n"},
        {"rules: [{id: a, action: block}, {id: a, action: block}]", "rules[1].id: 'a' is the id of an earlier rule; ids are unique\n"},
        {"rules: [{id: default, action: block}]", "rules[0].id: 'default' is a word that counters have for something else\n"},
        {"rules: [{id: a, action: tunnel, path: /}]",
         "rules[0].action: 'tunnel' cannot be decided per request; a rule with method, path or grpc_* allows or blocks\n"},
        {"rules: [{id: a, action: allow}]", "rules[0].action: 'allow' goes with method, path or grpc_*; connection rules intercept, tunnel or block\n"},
        {"rules: [{id: a, action: block, path: /, sni: a.test}]", "rules[0].id: 'a' mixes sni, alpn or ja4 with method, path or grpc_*; write two rules\n"},
        {"rules: [{id: a, action: block, host: [\"*\", \"a b\"]}]", "rules[0].host: 'a b' has a character that host names do not have\n"},
        {"rules: [{id: a, action: block, sni: \"[::1\"}]", "rules[0].sni: '[::1' has no IPv6 address in its brackets\n"},
        {"rules: [{id: a, action: block, client: a.test}]", "rules[0].client: 'a.test' is not a network, expected is ADDRESS/BITS\n"},
        {"rules: [{id: a, action: block, port: [443, https]}]", "rules[0].port: 'https' is not a port from 1 to 65535\n"},
        {"rules: [{id: a, action: block, alpn: \"h2,http/1.1\"}]", "rules[0].alpn: 'h2,http/1.1' is not the name of a protocol (http/1.1, h2, ...)\n"},
        {"rules: [{id: a, action: block, alpn: \"\"}]", "rules[0].alpn: '' is empty\n"},
        {"rules: [{id: a, action: block, ja4: \"\"}]", "rules[0].ja4: '' is not a JA4 fingerprint: " CHROME ", or with * for any run of characters\n"},
        {"rules: [{id: a, action: block, ja4: t13d1516h2_8daaf6152771}]",
         "rules[0].ja4: 't13d1516h2_8daaf6152771' is not a JA4 fingerprint: " CHROME ", or with * for any run of characters\n"},
        {"rules: [{id: a, action: block, ja4: [\"*\", \"q13*\"]}]",
         "rules[0].ja4: 'q13*' would match nothing: a JA4 fingerprint of TLS over TCP looks like " CHROME "\n"},
        {"rules: [{id: a, action: block, ja4: t13d1516h2_8DAAF6152771_e5627efa2ab1}]",
         "rules[0].ja4: 't13d1516h2_8DAAF6152771_e5627efa2ab1' would match nothing: a JA4 fingerprint of TLS over TCP looks like " CHROME "\n"},
        {"rules: [{id: a, action: block, path: /, ja4: \"*\"}]", "rules[0].id: 'a' mixes sni, alpn or ja4 with method, path or grpc_*; write two rules\n"},
        {"rules: [{id: a, action: block, method: [GET, post]}]",
         "rules[0].method: 'post' would match nothing: methods have a case, this one is sent in capitals\n"},
        {"rules: [{id: a, action: block, method: \"GET /\"}]", "rules[0].method: 'GET /' is not a request method\n"},
        {"rules: [{id: a, action: block, method: CONNECT}]",
         "rules[0].method: 'CONNECT' is decided by connection rules: those without method and path\n"},
        {"rules: [{id: a, action: block, path: admin}]", "rules[0].path: 'admin' does not begin with / or *\n"},
        {"rules: [{id: a, action: tunnel, grpc_service: x}]",
         "rules[0].action: 'tunnel' cannot be decided per request; a rule with method, path or grpc_* allows or blocks\n"},
        {"rules: [{id: a, action: block, grpc_service: /pkg.Svc}]",
         "rules[0].grpc_service: '/pkg.Svc' has a character that names of services and methods do not have; write grpc_service: pkg.Svc, grpc_method: Get\n"},
        {"rules: [{id: a, action: block, grpc_method: \"\"}]", "rules[0].grpc_method: '' is empty\n"},
        {"rules: [{id: a, action: block, path: \"/a b\"}]",
         "rules[0].path: '/a b' has a character that paths do not have; in requests it is percent-encoded\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        fake_reset();
        assert_int_equal(fake_open(&policy, &soth_mitm_module, mistakes[i].config), -SOTH_ECONFIG);
        assert_string_equal(fake.wrong, mistakes[i].wrong);
        fake_close(&policy);
    }
}

/* A path that no request has after it was made plain would be a block that never comes. */
static void paths_that_would_match_nothing(void **state)
{
    static const char *const paths[] = {"/a?b", "/a#b", "//a", "/a//*", "/./a", "/a/..", "/*/../b", "/%61dmin", "/a%2fb", "/%7Euser"};
    char config[200];
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        snprintf(config, sizeof config, "rules: [{id: a, action: block, path: \"%s\"}]", paths[i]);
        fake_reset();
        assert_int_equal(fake_open(&policy, &soth_mitm_module, config), -SOTH_ECONFIG);
        if (!strstr(fake.wrong, "would match nothing: paths are compared without"))
            fail_msg("%s: %s", paths[i], fake.wrong);
        fake_close(&policy);
    }
    use("rules: [{id: a, action: block, path: [\"*\", \"/*\", \"/a%2Fb\", \"/%*\", \"/.a/..b/...\", \"/a/*.\"]}]");
}

static void a_big_configuration(void **state)
{
    size_t room = 4 << 20, n = 0;
    char *config = malloc(room), host[40];
    (void)state;
    assert_non_null(config);
    n += (size_t)snprintf(config, room, "blocked_hosts:\n");
    for (unsigned i = 0; i < 20000; i++)
        n += (size_t)snprintf(config + n, room - n, "- \"%shost-%u.example\"\n", i % 2 ? "*." : "", i);
    use(config);
    free(config);
    for (unsigned i = 0; i < 20000; i += 7) {
        snprintf(host, sizeof host, "%shost-%u.example", i % 2 ? "x." : "", i);
        assert_string_equal(CONNECT(host), "block blocked_host");
        snprintf(host, sizeof host, "%shost-%u.example", i % 2 ? "" : "x.", i);
        assert_string_equal(CONNECT(host), "intercept default_intercept, default");
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_configuration_all_is_intercepted),
        TEST(the_default_is_configured),
        TEST(the_order_of_lists_and_rules),
        TEST(lists_take_every_kind_of_pattern),
        TEST(the_first_rule_that_matches_decides),
        TEST(all_keys_must_match_and_one_value_of_each),
        TEST(a_client_without_address),
        TEST(a_rule_without_keys_matches_everything),
        TEST(a_rule_that_needs_the_hello_asks_for_it),
        TEST(server_names_are_host_patterns),
        TEST(one_protocol_of_those_offered),
        TEST(fingerprints), TEST(server_name_and_protocol_together),
        TEST(every_name_of_a_connection_is_judged),
        TEST(requests_are_asked_about_only_with_request_rules),
        TEST(connection_rules_and_request_rules_do_not_mix),
        TEST(methods_have_a_case),
        TEST(paths_are_compared_in_their_plain_form),
        TEST(grpc_calls_are_told_by_their_paths),
        TEST(long_paths_are_compared_whole),
        TEST(both_names_of_a_request_count),
        TEST(decisions_are_counted_by_rule),
        TEST(a_default_that_tunnels_is_a_bypass),
        TEST(a_connection_counts_once),
        TEST(asked_twice_is_counted_once),
        TEST(mistakes_are_named),
        TEST(paths_that_would_match_nothing),
        TEST(a_big_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
