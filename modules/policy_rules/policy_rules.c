/* SPDX-License-Identifier: MPL-2.0 */
/*
 * policy_rules: the shipped policy. Lists of blocked and of ignored hosts, then rules in order, then a default. A connection or a request
 * comes in as names and addresses, a decision goes out. Keeps no state but counters.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../match/path.h"
#include "../match/pattern.h"

enum rule_action { ACTION_INTERCEPT, ACTION_TUNNEL, ACTION_BLOCK, ACTION_ALLOW };

struct rule { /* as configured; item of `rules` */
    const char *id;
    uint32_t action;
    struct soth_strings host, port, client, sni, alpn, method, path;
};

struct compiled {
    struct pattern_set *host, *sni;
    struct soth_addr *networks;
    uint32_t *bits;
    int counter, bypass_counter;
    uint8_t is_request, wants_hello;
};

struct policy {
    uint32_t default_action;
    struct soth_strings ignore_hosts, blocked_hosts;
    struct soth_list rules;
    const struct soth_host *host;
    struct pattern_set *ignored, *blocked;
    struct compiled *compiled;
    int count_blocked, count_ignored, count_default, count_bypassed, count_tunnelled;
    uint8_t has_request_rules;
};

static const struct soth_opt rule_options[] = {
    SOTH_OPT_STRING(struct rule, id, SOTH_REQUIRED, "unique name, in events as rule_id"),
    {"action", SOTH_OPT_T_ENUM, SOTH_REQUIRED, offsetof(struct rule, action), "", 0, 0, "intercept|tunnel|block|allow", NULL, 0,
     "connection rules: intercept, tunnel, block; request rules: allow, block"},
    SOTH_OPT_STRINGS(struct rule, host, "[]", "host patterns"),
    SOTH_OPT_STRINGS(struct rule, port, "[]", "ports"),
    SOTH_OPT_STRINGS(struct rule, client, "[]", "networks of clients"),
    SOTH_OPT_STRINGS(struct rule, sni, "[]", "host patterns for the ClientHello's server name"),
    SOTH_OPT_STRINGS(struct rule, alpn, "[]", "protocols, one of which the ClientHello must offer"),
    SOTH_OPT_STRINGS(struct rule, method, "[]", "request methods; makes it a request rule"),
    SOTH_OPT_STRINGS(struct rule, path, "[]", "request paths, * matches any run of characters; makes it a request rule"),
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

/* ---- configuration ---- */

static int is_request_rule(const struct rule *r)
{
    return r->method.n > 0 || r->path.n > 0;
}

static int bad(const struct soth_host *host, void *self, size_t rule, const char *key, const char *value, const char *why)
{
    char path[64];
    snprintf(path, sizeof path, "rules[%zu].%s", rule, key);
    return host->cfg_err(self, path, "'%s' %s", value, why);
}

static int check_patterns(const struct soth_host *host, void *self, size_t i, const char *key, const struct soth_strings *texts)
{
    struct pattern p;
    const char *why;
    for (size_t k = 0; k < texts->n; k++)
        if (pattern_parse(texts->v[k], &p, &why) < 0)
            return bad(host, self, i, key, texts->v[k], why);
    return SOTH_OK;
}

static int check_rule(const struct soth_host *host, struct policy *self, size_t i)
{
    const struct rule *rules = self->rules.items, *r = &rules[i];
    struct soth_addr addr;
    uint32_t bits;
    int result;
    for (size_t k = 0; k < i; k++)
        if (strcmp(rules[k].id, r->id) == 0)
            return bad(host, self, i, "id", r->id, "is the id of an earlier rule; ids are unique");
    if (*r->id == 0)
        return bad(host, self, i, "id", r->id, "is empty");
    if (is_request_rule(r) && r->action != ACTION_BLOCK && r->action != ACTION_ALLOW)
        return bad(host, self, i, "action", "intercept or tunnel", "cannot be decided per request; a rule with method or path allows or blocks");
    if (!is_request_rule(r) && r->action == ACTION_ALLOW)
        return bad(host, self, i, "action", "allow", "goes with method or path; connection rules intercept, tunnel or block");
    if (is_request_rule(r) && (r->sni.n || r->alpn.n))
        return bad(host, self, i, "id", r->id, "mixes sni or alpn with method or path; write two rules");
    if ((result = check_patterns(host, self, i, "host", &r->host)) < 0 || (result = check_patterns(host, self, i, "sni", &r->sni)) < 0)
        return result;
    for (size_t k = 0; k < r->client.n; k++)
        if (!pattern_parse_network(r->client.v[k], &addr, &bits))
            return bad(host, self, i, "client", r->client.v[k], "is not a network, expected is ADDRESS/BITS");
    for (size_t k = 0; k < r->port.n; k++)
        if (!pattern_parse_port(r->port.v[k], &bits))
            return bad(host, self, i, "port", r->port.v[k], "is not a port from 1 to 65535");
    for (size_t k = 0; k < r->path.n; k++)
        if (r->path.v[k][0] != '/' && r->path.v[k][0] != '*')
            return bad(host, self, i, "path", r->path.v[k], "does not begin with / or *");
    return SOTH_OK;
}

static int check_list(const struct soth_host *host, void *self, const char *key, const struct soth_strings *texts)
{
    struct pattern p;
    const char *why;
    for (size_t i = 0; i < texts->n; i++)
        if (pattern_parse(texts->v[i], &p, &why) < 0) {
            char path[64];
            snprintf(path, sizeof path, "%s[%zu]", key, i);
            return host->cfg_err(self, path, "'%s' %s", texts->v[i], why);
        }
    return SOTH_OK;
}

static int check(const struct soth_host *host, void *arg)
{
    struct policy *self = arg;
    int r = check_list(host, self, "ignore_hosts", &self->ignore_hosts);
    if (r == SOTH_OK)
        r = check_list(host, self, "blocked_hosts", &self->blocked_hosts);
    for (size_t i = 0; r == SOTH_OK && i < self->rules.n; i++)
        r = check_rule(host, self, i);
    return r;
}

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
    c->wants_hello = r->sni.n > 0 || r->alpn.n > 0;
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

/* ---- matching ---- */

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

/* What does not need the hello. */
static int match_connection(const struct rule *r, const struct compiled *c, const struct soth_connect *conn)
{
    if (r->host.n && !pattern_set_match(c->host, conn->host, &conn->host_addr, conn->port))
        return 0;
    return match_port(r, conn->port) && match_client(r, c, &conn->client_addr);
}

static int match_hello(const struct rule *r, const struct compiled *c, const struct soth_connect *conn)
{
    static const struct soth_addr none = {0};
    if (r->sni.n && (conn->sni.n == 0 || !pattern_set_match(c->sni, conn->sni, &none, conn->port)))
        return 0;
    return match_alpn(r, conn->alpn);
}

static int decide(struct soth_decision *out, uint32_t action, const char *reason, struct soth_span rule_id)
{
    out->action = action;
    out->reason = reason;
    out->rule_id = rule_id;
    out->is_default = 0;
    return SOTH_DECIDED;
}

/* A connection is judged by its target, then by each further name that it turns out to have: of the further names only what refuses
 * the connection is a decision that counts. */
static void count(struct policy *self, const struct soth_connect *conn, uint32_t action, int decisions, int bypasses)
{
    if (conn->identity != SOTH_ID_TARGET && action != SOTH_BLOCK)
        return;
    self->host->count(self, decisions, 1);
    if (action == SOTH_TUNNEL)
        self->host->count(self, bypasses, 1);
}

static int by_default(struct policy *self, const struct soth_connect *conn, struct soth_decision *out)
{
    static const char *const reasons[] = {"default_intercept", "default_tunnel", "default_block"};
    struct soth_span none = {NULL, 0};
    if (conn->identity == SOTH_ID_TARGET)
        count(self, conn, self->default_action, self->count_default, self->count_tunnelled);
    decide(out, self->default_action, reasons[self->default_action], none);
    out->is_default = 1;
    return SOTH_DECIDED;
}

static int connect_hook(void *arg, struct soth_flow *flow, const struct soth_connect *conn, struct soth_decision *out)
{
    (void)flow;
    struct policy *self = arg;
    const struct rule *rules = self->rules.items;
    struct soth_span none = {NULL, 0};
    if (pattern_set_match(self->blocked, conn->host, &conn->host_addr, conn->port)) {
        count(self, conn, SOTH_BLOCK, self->count_blocked, -1);
        return decide(out, SOTH_BLOCK, "blocked_host", none);
    }
    if (pattern_set_match(self->ignored, conn->host, &conn->host_addr, conn->port)) {
        count(self, conn, SOTH_TUNNEL, self->count_ignored, self->count_bypassed);
        return decide(out, SOTH_TUNNEL, "ignored_host", none);
    }
    for (size_t i = 0; i < self->rules.n; i++) {
        const struct compiled *c = &self->compiled[i];
        if (c->is_request || !match_connection(&rules[i], c, conn))
            continue;
        if (c->wants_hello && !conn->has_hello)
            return SOTH_PEEK;
        if (c->wants_hello && !match_hello(&rules[i], c, conn))
            continue;
        count(self, conn, rules[i].action, c->counter, c->bypass_counter);
        return decide(out, rules[i].action, "rule", soth_span(rules[i].id));
    }
    return by_default(self, conn, out);
}

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

static int match_request(const struct rule *r, const struct compiled *c, const struct soth_message *request, const char *path, size_t n)
{
    const struct soth_connect *conn = request->connect;
    const struct soth_addr target = pattern_address(request->target_host);
    if (r->host.n && !pattern_set_match(c->host, conn->host, &conn->host_addr, conn->port) &&
        !pattern_set_match(c->host, request->target_host, &target, conn->port))
        return 0;
    return match_port(r, conn->port) && match_client(r, c, &conn->client_addr) && match_method(r, request->method) && match_path(r, path, n);
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
    .check = check, .create = create, .destroy = destroy,
    .hooks = hooks, .connect = connect_hook, .request = request_hook);
