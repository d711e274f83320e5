/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Changes heads and targets before anybody judges them, by rules of host and path: fields are set, added and removed, a credential is put
 * where the client has none, a connection or a request goes to another place. Every rule that matches takes effect, in order; of the
 * targets the first one does. Secrets are in the fields that go out, and nowhere else.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "../match/path.h"
#include "../match/pattern.h"
#include "rules.h"

#define R struct rule

static const struct soth_opt map_options[] = {
    SOTH_OPT_STRING(struct map_to, host, 0, "the host to go to instead"),
    SOTH_OPT_INT(struct map_to, port, "", 1, 65535, "the port to go to instead"),
    SOTH_OPT_STRING(struct map_to, path, 0,
                    "the path to ask for instead; * at its end is what the path pattern's * took, the query stays unless this has its own"),
    SOTH_OPT_END,
};

static const struct soth_opt secret_options[] = {
    SOTH_OPT_STRING(struct secret, header, 0, "the field that gets it, in place of whatever the client sent under that name"),
    SOTH_OPT_PATH(struct secret, file, 0, "a file with the secret, which group and others cannot read; read at start and reload"),
    SOTH_OPT_STRING(struct secret, env, 0, "the environment variable with the secret"),
    SOTH_OPT_STRING_DEF(struct secret, format, "'{secret}'", "the field's value, \"Bearer {secret}\" for example"),
    SOTH_OPT_END,
};

static const struct soth_opt rule_options[] = {
    SOTH_OPT_STRINGS(R, host, "[]",
                     "host patterns as in policy_rules; both the request's host and the connection's target must match, none given: all"),
    SOTH_OPT_STRINGS(R, path, "[]", "request paths as in policy_rules, * matches any run of characters; none given: all"),
    SOTH_OPT_PAIRS(R, set, "request fields and their values, in place of all of that name"),
    SOTH_OPT_PAIRS(R, add, "request fields that are added; a list adds several"),
    SOTH_OPT_STRINGS(R, remove, "[]", "request fields that are removed, before set and add"),
    SOTH_OPT_PAIRS(R, set_response, "the same for responses"),
    SOTH_OPT_PAIRS(R, add_response, "the same for responses"),
    SOTH_OPT_STRINGS(R, remove_response, "[]", "the same for responses"),
    SOTH_OPT_MAP(R, map_to, map_options,
                 "where it goes instead; without path also connections (CONNECT). The decision sees the new target"),
    SOTH_OPT_MAP(R, secret, secret_options, "a credential that the client never holds; needs host"),
    SOTH_OPT_END,
};

const struct soth_opt transform_options[] = {
    SOTH_OPT_LIST(struct transform, rules, rule_options, R, "all that match take effect, in order; of their map_to the first"),
    SOTH_OPT_END,
};

/* ---- life ---- */

static void compile_map(const struct rule *r, struct compiled *c)
{
    struct pattern pattern;
    const char *why;
    if (!*r->map_to.host || pattern_parse(r->map_to.host, &pattern, &why) < 0)
        return;
    char text[INET6_ADDRSTRLEN] = "";
    c->map_addr = pattern.addr;
    if (pattern.addr.family)
        inet_ntop(pattern.addr.family == 4 ? AF_INET : AF_INET6, pattern.addr.bytes, text, sizeof text);
    snprintf(c->map_host, sizeof c->map_host, pattern.addr.family == 6 ? "[%s]" : "%s", pattern.addr.family ? text : pattern.name);
}

static int compile(struct transform *self, size_t i)
{
    const struct rule *r = rule_at(self, i);
    struct compiled *c = &self->compiled[i];
    const char *why;
    long index;
    c->host = pattern_set_new(&r->host, &index, &why);
    if (!c->host)
        return -SOTH_ENOMEM;
    compile_map(r, c);
    if (*r->secret.header && !(c->secret = secret_read(self->host, self, i, &r->secret, &c->secret_n)))
        return -SOTH_ECONFIG;
    return SOTH_OK;
}

static void destroy(void *arg)
{
    struct transform *self = arg;
    for (size_t i = 0; self->compiled && i < self->rules.n; i++) {
        pattern_set_free(self->compiled[i].host);
        secret_free(self->compiled[i].secret, self->compiled[i].secret_n);
    }
    free(self->compiled);
}

static int create(const struct soth_host *host, void *arg)
{
    static const char help[] = "heads and connections that a rule has changed: connect, request, response";
    struct transform *self = arg;
    int r = SOTH_OK;
    self->host = host;
    self->connections = host->counter(self, "changed", "connect", help);
    self->requests = host->counter(self, "changed", "request", help);
    self->responses = host->counter(self, "changed", "response", help);
    self->compiled = calloc(self->rules.n + 1, sizeof *self->compiled);
    if (!self->compiled)
        return -SOTH_ENOMEM;
    for (size_t i = 0; r == SOTH_OK && i < self->rules.n; i++)
        r = compile(self, i);
    if (r < 0)
        destroy(self);
    return r;
}

static uint32_t hooks(void *arg)
{
    return ((struct transform *)arg)->rules.n ? SOTH_HOOK_REWRITE : 0;
}

/* ---- matching ---- */

/* What a head is about. A client chooses its Host field freely; the connection's target is where its bytes go. */
struct about {
    struct soth_span host, target; /* the request's host, the connection's target */
    struct soth_addr host_addr, target_addr;
    uint32_t said_port, port;      /* of the Host field, resp. of its scheme; of the connection */
    int is_response;
    char *path;                    /* normalised */
    size_t path_n;
};

static uint32_t port_said(const struct transform *self, struct soth_flow *flow, const struct soth_message *message)
{
    const struct soth_span host = self->host->hdr_get(flow, "host", 0);
    uint32_t port = 0;
    size_t n = host.n;
    while (n > 0 && host.p[n - 1] >= '0' && host.p[n - 1] <= '9')
        n--;
    for (size_t i = n; i < host.n && host.n - n <= 5; i++)
        port = port * 10 + (uint32_t)(host.p[i] - '0');
    if (n > 0 && n < host.n && host.p[n - 1] == ':')
        return port;
    return soth_span_is(message->scheme, "https") ? 443 : 80;
}

static int names(const struct compiled *c, const struct about *a)
{
    return pattern_set_match(c->host, a->host, &a->host_addr, a->port) || pattern_set_match(c->host, a->host, &a->host_addr, a->said_port);
}

static int same(struct soth_span a, struct soth_span b)
{
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

/* The host that a rule maps to, as connections are named: without brackets. "" when it maps to none. */
static struct soth_span mapped_host(const struct compiled *c)
{
    struct soth_span host = soth_span(c->map_host);
    return c->map_addr.family == 6 ? (struct soth_span){host.p + 1, host.n - 2} : host;
}

static int leads_to(const struct rule *r, const struct compiled *c, const struct about *a)
{
    return same(a->target, *c->map_host ? mapped_host(c) : a->host) && (!r->map_to.port || a->port == (uint32_t)r->map_to.port);
}

/* Is the connection where a rule has sent the connections to this host? */
static int was_mapped(const struct transform *self, const struct about *a)
{
    for (size_t i = 0; i < self->rules.n; i++) {
        const struct rule *r = rule_at(self, i);
        const struct compiled *c = &self->compiled[i];
        if (maps_connection(r) && (r->host.n == 0 || names(c, a)) && leads_to(r, c, a))
            return 1;
    }
    return 0;
}

static int match_host(const struct transform *self, size_t i, const struct about *a)
{
    const struct compiled *c = &self->compiled[i];
    if (rule_at(self, i)->host.n == 0)
        return 1;
    if (a->is_response) /* of a request that may have gone anywhere; nothing leaves with it that its client must not see */
        return names(c, a);
    return names(c, a) && (pattern_set_match(c->host, a->target, &a->target_addr, a->port) || was_mapped(self, a));
}

/* The first pattern that matches; NULL: none does. "" when the rule has none. */
static const char *match_path(const struct rule *r, const struct about *a)
{
    for (size_t i = 0; i < r->path.n; i++)
        if (path_match(r->path.v[i], a->path, a->path_n))
            return r->path.v[i];
    return r->path.n ? NULL : "";
}

/* ---- changing ---- */

static int change(const struct transform *self, struct soth_flow *flow, const struct soth_strings *remove, const struct soth_strings *set,
                  const struct soth_strings *add)
{
    const struct soth_host *host = self->host;
    int r = SOTH_OK;
    for (size_t i = 0; r >= 0 && i < remove->n; i++)
        r = host->hdr_del(flow, remove->v[i]);
    for (size_t i = 0; r >= 0 && i + 1 < set->n; i += 2)
        r = host->hdr_set(flow, set->v[i], soth_span(set->v[i + 1]));
    for (size_t i = 0; r >= 0 && i + 1 < add->n; i += 2)
        r = host->hdr_add(flow, add->v[i], soth_span(add->v[i + 1]));
    return r < 0 ? r : SOTH_OK;
}

static int map_request(const struct transform *self, struct soth_flow *flow, size_t i, const struct about *a, const char *pattern,
                       const struct soth_message *request)
{
    const struct rule *r = rule_at(self, i);
    const int has_path = a->path_n && a->path[0] == '/'; /* "OPTIONS *" has none */
    char *path = NULL;
    if (*r->map_to.path && has_path)
        path = target_map(r->map_to.path, *pattern ? pattern : NULL, a->path, a->path_n, request->target);
    if (*r->map_to.path && has_path && !path)
        return -SOTH_ENOMEM;
    int result = self->host->set_target(flow, soth_span(self->compiled[i].map_host), (uint32_t)r->map_to.port, soth_span(path));
    free(path);
    return result;
}

static int has_map(const struct rule *r)
{
    return *r->map_to.host || r->map_to.port || *r->map_to.path;
}

static int apply_request(const struct transform *self, struct soth_flow *flow, size_t i)
{
    const struct rule *r = rule_at(self, i);
    const struct compiled *c = &self->compiled[i];
    int result = change(self, flow, &r->remove, &r->set, &r->add);
    if (result == SOTH_OK && c->secret)
        result = self->host->hdr_set(flow, r->secret.header, (struct soth_span){c->secret, c->secret_n});
    return result < 0 ? result : SOTH_OK;
}

static int rewrite_request(struct transform *self, struct soth_flow *flow, const struct soth_message *request, const struct about *a)
{
    int result = SOTH_OK, mapped = 0, changed = 0;
    for (size_t i = 0; result == SOTH_OK && i < self->rules.n; i++) {
        const struct rule *r = rule_at(self, i);
        const char *pattern = match_host(self, i, a) ? match_path(r, a) : NULL;
        if (!pattern)
            continue;
        changed = 1;
        result = apply_request(self, flow, i);
        if (result == SOTH_OK && has_map(r) && !mapped++)
            result = map_request(self, flow, i, a, pattern, request);
    }
    self->host->count(self, self->requests, (uint64_t)changed);
    return result;
}

static int rewrite_response(struct transform *self, struct soth_flow *flow, const struct about *a)
{
    int result = SOTH_OK, changed = 0;
    for (size_t i = 0; result == SOTH_OK && i < self->rules.n; i++) {
        const struct rule *r = rule_at(self, i);
        if (r->set_response.n + r->add_response.n + r->remove_response.n == 0 || !match_host(self, i, a) || !match_path(r, a))
            continue;
        changed = 1;
        result = change(self, flow, &r->remove_response, &r->set_response, &r->add_response);
    }
    self->host->count(self, self->responses, (uint64_t)changed);
    return result;
}

static int rewrite_connect(struct transform *self, struct soth_flow *flow, const struct soth_connect *connect)
{
    const struct soth_span as_it_is = {NULL, 0};
    for (size_t i = 0; i < self->rules.n; i++) {
        const struct rule *r = rule_at(self, i);
        const struct compiled *c = &self->compiled[i];
        if (!maps_connection(r) || (r->host.n && !pattern_set_match(c->host, connect->host, &connect->host_addr, connect->port)))
            continue;
        self->host->count(self, self->connections, 1);
        return self->host->set_target(flow, soth_span(c->map_host), (uint32_t)r->map_to.port, as_it_is);
    }
    return SOTH_OK;
}

static int rewrite_message(struct transform *self, struct soth_flow *flow, const struct soth_message *message)
{
    char small[1024];
    struct about about = {
        .host = message->connect->host,
        .target = message->target_host,
        .host_addr = message->connect->host_addr,
        .target_addr = pattern_address(message->target_host),
        .said_port = port_said(self, flow, message),
        .port = message->connect->port,
        .is_response = message->direction == SOTH_TO_CLIENT,
        .path = message->target.n <= sizeof small ? small : malloc(message->target.n),
    };
    if (!about.path)
        return -SOTH_ENOMEM;
    about.path_n = path_normalize(message->target, about.path);
    int r = about.is_response ? rewrite_response(self, flow, &about) : rewrite_request(self, flow, message, &about);
    if (about.path != small)
        free(about.path);
    return r;
}

static int rewrite(void *arg, struct soth_flow *flow, const struct soth_message *message)
{
    struct transform *self = arg;
    if (message->direction == SOTH_TO_SERVER && soth_span_is(message->method, "CONNECT"))
        return rewrite_connect(self, flow, message->connect);
    return rewrite_message(self, flow, message);
}

SOTH_POLICY_MODULE(transform_headers, "0.1.0", "MPL-2.0",
    .doc = "sets, adds and removes header fields, injects credentials, maps targets",
    .options = transform_options, .self_size = sizeof(struct transform),
    .check = transform_check, .create = create, .destroy = destroy,
    .hooks = hooks, .rewrite = rewrite);
