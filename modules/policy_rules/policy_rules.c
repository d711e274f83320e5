/* SPDX-License-Identifier: MPL-2.0 */
/*
 * policy_rules: the shipped policy. Lists of blocked and of ignored hosts, then rules in order, then a default. A connection or a request
 * comes in as names and addresses, a decision goes out. Keeps no state but counters.
 */
#include <stdlib.h>

#include "../match/path.h"
#include "../match/pattern.h"
#include "rules.h"

static const struct soth_opt rule_options[] = {
    SOTH_OPT_STRING(struct rule, id, SOTH_REQUIRED, "unique name, in events as rule_id"),
    {"action", SOTH_OPT_T_ENUM, SOTH_REQUIRED, offsetof(struct rule, action), "", 0, 0, "intercept|tunnel|block|allow", NULL, 0,
     "connection rules: intercept, tunnel, block; request rules: allow, block"},
    SOTH_OPT_STRINGS(struct rule, host, "[]", "host patterns"),
    SOTH_OPT_STRINGS(struct rule, port, "[]", "ports"),
    SOTH_OPT_STRINGS(struct rule, client, "[]", "networks of clients"),
    SOTH_OPT_STRINGS(struct rule, sni, "[]", "host patterns for the ClientHello's server name"),
    SOTH_OPT_STRINGS(struct rule, alpn, "[]", "protocols, one of which the ClientHello must offer"),
    SOTH_OPT_STRINGS(struct rule, ja4, "[]", "JA4 fingerprints of ClientHellos, * matches any run of characters"),
    SOTH_OPT_STRINGS(struct rule, method, "[]", "request methods; makes it a request rule"),
    SOTH_OPT_STRINGS(struct rule, path, "[]", "request paths, * matches any run of characters; makes it a request rule"),
    SOTH_OPT_STRINGS(struct rule, grpc_service, "[]", "services of gRPC calls (pkg.Svc), * matches any run of characters; makes it a request rule"),
    SOTH_OPT_STRINGS(struct rule, grpc_method, "[]", "methods of gRPC calls, * matches any run of characters; makes it a request rule"),
    SOTH_OPT_END,
};

static const struct soth_opt options[] = {
    {"default", SOTH_OPT_T_ENUM, 0, offsetof(struct policy, default_action), "intercept", 0, 0, "intercept|tunnel|block", NULL, 0,
     "what happens when nothing matches"},
    SOTH_OPT_STRINGS(struct policy, ignore_hosts, "[]", "host patterns that are tunnelled unread"),
    SOTH_OPT_STRINGS(struct policy, blocked_hosts, "[]", "host patterns that are blocked; beats everything else"),
    SOTH_OPT_LIST(struct policy, rules, rule_options, struct rule, "the first rule whose keys all match decides"),
    SOTH_OPT_END,
};

static const char decisions_help[] = "decisions of this policy by rule: of a list, of a rule by its id, of the default";
static const char bypasses_help[] = "connections that it had tunnelled unread, by rule";

/* ---- instances ---- */

static struct pattern_set *compile_set(const struct soth_strings *texts)
{
    long index;
    const char *why;
    return pattern_set_new(texts, &index, &why);
}

static int compile_rule(struct policy *self, size_t i)
{
    const struct rule *r = (const struct rule *)self->rules.items + i;
    struct compiled *c = &self->compiled[i];
    c->host = compile_set(&r->host);
    c->sni = compile_set(&r->sni);
    c->networks = calloc(r->client.n + 1, sizeof *c->networks);
    c->bits = calloc(r->client.n + 1, sizeof *c->bits);
    c->is_request = (uint8_t)is_request_rule(r);
    c->wants_hello = r->sni.n > 0 || r->alpn.n > 0 || r->ja4.n > 0;
    c->counter = self->host->counter(self, "decisions", r->id, decisions_help);
    c->bypass_counter = r->action == ACTION_TUNNEL ? self->host->counter(self, "bypasses", r->id, bypasses_help) : -1;
    self->has_request_rules |= c->is_request;
    if (!c->host || !c->sni || !c->networks || !c->bits)
        return -SOTH_ENOMEM;
    for (size_t k = 0; k < r->client.n; k++)
        pattern_parse_network(r->client.v[k], &c->networks[k], &c->bits[k]);
    return SOTH_OK;
}

static void destroy(void *arg)
{
    struct policy *self = arg;
    for (size_t i = 0; self->compiled && i < self->rules.n; i++) {
        pattern_set_free(self->compiled[i].host);
        pattern_set_free(self->compiled[i].sni);
        free(self->compiled[i].networks);
        free(self->compiled[i].bits);
    }
    free(self->compiled);
    pattern_set_free(self->ignored);
    pattern_set_free(self->blocked);
}

static int create(const struct soth_host *host, void *arg)
{
    struct policy *self = arg;
    int r = SOTH_OK;
    self->host = host;
    self->count_blocked = host->counter(self, "decisions", "blocked_host", decisions_help);
    self->count_ignored = host->counter(self, "decisions", "ignored_host", decisions_help);
    self->count_default = host->counter(self, "decisions", "default", decisions_help);
    self->count_bypassed = host->counter(self, "bypasses", "ignored_host", bypasses_help);
    self->count_tunnelled = host->counter(self, "bypasses", "default", bypasses_help);
    self->ignored = compile_set(&self->ignore_hosts);
    self->blocked = compile_set(&self->blocked_hosts);
    self->compiled = calloc(self->rules.n + 1, sizeof *self->compiled);
    if (!self->ignored || !self->blocked || !self->compiled)
        r = -SOTH_ENOMEM;
    for (size_t i = 0; r == SOTH_OK && i < self->rules.n; i++)
        r = compile_rule(self, i);
    if (r < 0)
        destroy(self);
    return r;
}

static uint32_t hooks(void *arg)
{
    return SOTH_HOOK_CONNECT | (((struct policy *)arg)->has_request_rules ? SOTH_HOOK_REQUEST : 0);
}

/* ---- connections ---- */

static int match_port(const struct rule *r, uint32_t port)
{
    uint32_t wanted;
    for (size_t i = 0; i < r->port.n; i++)
        if (pattern_parse_port(r->port.v[i], &wanted) && wanted == port)
            return 1;
    return r->port.n == 0;
}

static int match_client(const struct rule *r, const struct compiled *c, const struct soth_addr *addr)
{
    for (size_t i = 0; i < r->client.n; i++)
        if (pattern_network_has(&c->networks[i], c->bits[i], addr))
            return 1;
    return r->client.n == 0;
}

static int match_alpn(const struct rule *r, struct soth_span offered)
{
    for (size_t i = 0; i < r->alpn.n; i++) {
        size_t n = strlen(r->alpn.v[i]);
        for (size_t at = 0; at + n <= offered.n; at++)
            if (memcmp(offered.p + at, r->alpn.v[i], n) == 0 && (at == 0 || offered.p[at - 1] == ',') &&
                (at + n == offered.n || offered.p[at + n] == ','))
                return 1;
    }
    return r->alpn.n == 0;
}

static int match_ja4(const struct rule *r, struct soth_span print)
{
    for (size_t i = 0; i < r->ja4.n; i++)
        if (print.n && path_match(r->ja4.v[i], print.p, print.n))
            return 1;
    return r->ja4.n == 0;
}

/* What does not need the hello. */
static int match_connection(const struct rule *r, const struct compiled *c, const struct soth_connect *conn)
{
    if (r->host.n && !pattern_set_match(c->host, conn->host, &conn->host_addr, conn->port))
        return 0;
    return match_port(r, conn->port) && match_client(r, c, &conn->client_addr);
}

static int match_hello(const struct rule *r, const struct compiled *c, const struct soth_connect *conn)
{
    struct soth_addr addr = pattern_address(conn->sni); /* some clients send an address as name */
    if (r->sni.n && (conn->sni.n == 0 || !pattern_set_match(c->sni, conn->sni, &addr, conn->port)))
        return 0;
    return match_alpn(r, conn->alpn) && match_ja4(r, conn->ja4);
}

static const struct soth_span nothing = {NULL, 0};

static int decide(struct soth_decision *out, uint32_t action, const char *reason, struct soth_span rule_id)
{
    out->action = action;
    out->reason = reason;
    out->rule_id = rule_id;
    out->is_default = 0;
    return SOTH_DECIDED;
}

/*
 * Which judgement counts, since a connection is judged more than once: by its target, again when a policy waited for the hello, and by each
 * further name that it turns out to have. Of the further names only what refuses the connection counts; of the target what was said first,
 * and with the hello what had to wait for it.
 */
static int is_counted(const struct soth_connect *conn, uint32_t action, int waited)
{
    if (conn->identity != SOTH_ID_TARGET)
        return action == SOTH_BLOCK;
    return waited || !conn->has_hello;
}

static void count(struct policy *self, uint32_t action, int decisions, int bypasses)
{
    self->host->count(self, decisions, 1);
    if (action == SOTH_TUNNEL)
        self->host->count(self, bypasses, 1);
}

static int by_default(struct policy *self, const struct soth_connect *conn, int waited, struct soth_decision *out)
{
    static const char *const reasons[] = {"default_intercept", "default_tunnel", "default_block"};
    if (conn->identity == SOTH_ID_TARGET && is_counted(conn, self->default_action, waited)) /* no name is refused by default */
        count(self, self->default_action, self->count_default, self->count_tunnelled);
    decide(out, self->default_action, reasons[self->default_action], nothing);
    out->is_default = 1;
    return SOTH_DECIDED;
}

static int by_rules(struct policy *self, const struct soth_connect *conn, struct soth_decision *out)
{
    const struct rule *rules = self->rules.items;
    int waited = 0;
    for (size_t i = 0; i < self->rules.n; i++) {
        const struct compiled *c = &self->compiled[i];
        if (c->is_request || !match_connection(&rules[i], c, conn))
            continue;
        if (c->wants_hello && !conn->has_hello)
            return SOTH_PEEK;
        waited |= c->wants_hello;
        if (c->wants_hello && !match_hello(&rules[i], c, conn))
            continue;
        if (is_counted(conn, rules[i].action, waited))
            count(self, rules[i].action, c->counter, c->bypass_counter);
        return decide(out, rules[i].action, "rule", soth_span(rules[i].id));
    }
    return by_default(self, conn, waited, out);
}

static int connect_hook(void *arg, struct soth_flow *flow, const struct soth_connect *conn, struct soth_decision *out)
{
    struct policy *self = arg;
    (void)flow;
    if (pattern_set_match(self->blocked, conn->host, &conn->host_addr, conn->port)) {
        if (is_counted(conn, SOTH_BLOCK, 0))
            count(self, SOTH_BLOCK, self->count_blocked, -1);
        return decide(out, SOTH_BLOCK, "blocked_host", nothing);
    }
    if (pattern_set_match(self->ignored, conn->host, &conn->host_addr, conn->port)) {
        if (is_counted(conn, SOTH_TUNNEL, 0))
            count(self, SOTH_TUNNEL, self->count_ignored, self->count_bypassed);
        return decide(out, SOTH_TUNNEL, "ignored_host", nothing);
    }
    return by_rules(self, conn, out);
}

/* ---- requests ---- */

static int match_method(const struct rule *r, struct soth_span method)
{
    for (size_t i = 0; i < r->method.n; i++)
        if (soth_span_is(method, r->method.v[i]))
            return 1;
    return r->method.n == 0;
}

static int match_path(const struct rule *r, const char *path, size_t n)
{
    for (size_t i = 0; i < r->path.n; i++)
        if (path_match(r->path.v[i], path, n))
            return 1;
    return r->path.n == 0;
}

static int match_name(const struct soth_strings *patterns, struct soth_span name)
{
    for (size_t i = 0; i < patterns->n; i++)
        if (name.p && path_match(patterns->v[i], name.p, name.n))
            return 1;
    return patterns->n == 0;
}

/* By the path alone: some servers take a call whatever its Content-Type says. */
static int match_call(const struct rule *r, const char *path, size_t n)
{
    struct soth_span service, method;
    if (r->grpc_service.n == 0 && r->grpc_method.n == 0)
        return 1;
    path_call((struct soth_span){path, n}, &service, &method);
    return service.p && method.p && match_name(&r->grpc_service, service) && match_name(&r->grpc_method, method);
}

static int match_request(const struct rule *r, const struct compiled *c, const struct soth_message *request, const char *path, size_t n)
{
    const struct soth_connect *conn = request->connect;
    const struct soth_addr target = pattern_address(request->target_host);
    if (r->host.n && !pattern_set_match(c->host, conn->host, &conn->host_addr, conn->port) &&
        !pattern_set_match(c->host, request->target_host, &target, conn->port))
        return 0;
    return match_port(r, conn->port) && match_client(r, c, &conn->client_addr) && match_method(r, request->method) && match_path(r, path, n) &&
           match_call(r, path, n);
}

static int request_hook(void *arg, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    (void)flow;
    struct policy *self = arg;
    const struct rule *rules = self->rules.items;
    char small[1024], *path = request->target.n <= sizeof small ? small : malloc(request->target.n);
    int result = SOTH_CONTINUE;
    if (!path)
        return -SOTH_ENOMEM;
    size_t n = path_normalize(request->target, path);
    for (size_t i = 0; i < self->rules.n; i++) {
        const struct compiled *c = &self->compiled[i];
        if (!c->is_request || !match_request(&rules[i], c, request, path, n))
            continue;
        self->host->count(self, c->counter, 1);
        result = decide(out, rules[i].action == ACTION_BLOCK ? SOTH_BLOCK : SOTH_ALLOW, "rule", soth_span(rules[i].id));
        break;
    }
    if (path != small)
        free(path);
    return result;
}

SOTH_POLICY_MODULE(policy_rules, "0.1.0", "MPL-2.0",
    .doc = "lists of hosts and ordered rules: intercept, tunnel or block",
    .options = options, .self_size = sizeof(struct policy),
    .check = rules_check, .create = create, .destroy = destroy,
    .hooks = hooks, .connect = connect_hook, .request = request_hook);
