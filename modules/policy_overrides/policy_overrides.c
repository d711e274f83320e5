/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Exceptions for single hosts, each with a rule_id that the event connect_decision names: tunnel it unopened, be lenient or strict about
 * its HTTP heads, speak no HTTP/2 with it, do not verify its certificate. The first override whose host_pattern matches the connection's target is the one; what the
 * other policies block stays blocked (the host combines them). Further names of a connection, which its client chooses (SNI, Host), get
 * none.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../match/pattern.h"

enum header_mode { MODE_INHERIT, MODE_STRICT, MODE_LENIENT }; /* the words inherit, true, false */

struct override {
    const char *rule_id, *host_pattern;
    uint8_t force_tunnel, disable_h2, skip_upstream_verify;
    uint32_t strict_header_mode;
};

struct overrides {
    struct soth_list overrides;
    const struct soth_host *host;
    struct pattern_set **patterns;
    int *counters;
};

static const struct soth_opt override_options[] = {
    SOTH_OPT_STRING(struct override, rule_id, SOTH_REQUIRED, "unique name, in events as override_rule_id"),
    SOTH_OPT_STRING(struct override, host_pattern, SOTH_REQUIRED,
                    "host pattern, compared with the connection's target: host, *.host, .host, network, each with an optional :port"),
    SOTH_OPT_BOOL(struct override, force_tunnel, "false", "relay the connection unopened"),
    SOTH_OPT_BOOL(struct override, disable_h2, "false", "HTTP/1.1 alone, with the host and with its clients"),
    SOTH_OPT_ENUM(struct override, strict_header_mode, "inherit|true|false", "inherit",
                  "for this host, instead of strict_header_mode of soth-mitm.yaml"),
    SOTH_OPT_BOOL(struct override, skip_upstream_verify, "false",
                  "accept whatever certificate the origin shows; only for what cannot be mended"),
    SOTH_OPT_END,
};

static const struct soth_opt options[] = {
    SOTH_OPT_LIST(struct overrides, overrides, override_options, struct override, "the first one whose host_pattern matches is taken"),
    SOTH_OPT_END,
};

/* ---- configuration ---- */

static const struct override *at(const struct overrides *self, size_t i)
{
    return (const struct override *)self->overrides.items + i;
}

static int bad(const struct soth_host *host, void *self, size_t i, const char *key, const char *value, const char *why)
{
    char path[64];
    snprintf(path, sizeof path, "overrides[%zu].%s", i, key);
    return host->cfg_err(self, path, "'%s' %s", value, why);
}

static uint32_t bits_of(const struct override *o)
{
    return (o->force_tunnel ? SOTH_OVERRIDE_FORCE_TUNNEL : 0) | (o->disable_h2 ? SOTH_OVERRIDE_DISABLE_H2 : 0) |
           (o->skip_upstream_verify ? SOTH_OVERRIDE_SKIP_UPSTREAM_VERIFY : 0) |
           (o->strict_header_mode == MODE_STRICT ? SOTH_OVERRIDE_STRICT_HEADERS : 0) |
           (o->strict_header_mode == MODE_LENIENT ? SOTH_OVERRIDE_LENIENT_HEADERS : 0);
}

static int check_one(const struct soth_host *host, struct overrides *self, size_t i)
{
    const struct override *o = at(self, i);
    struct pattern pattern;
    const char *why;
    for (size_t k = 0; k < i; k++)
        if (strcmp(at(self, k)->rule_id, o->rule_id) == 0)
            return bad(host, self, i, "rule_id", o->rule_id, "is the rule_id of an earlier override; they are unique");
    if (pattern_parse(o->host_pattern, &pattern, &why) < 0)
        return bad(host, self, i, "host_pattern", o->host_pattern, why);
    if (bits_of(o) == 0)
        return bad(host, self, i, "rule_id", o->rule_id,
                   "changes nothing; set force_tunnel, disable_h2, strict_header_mode or skip_upstream_verify, or remove it");
    return SOTH_OK;
}

static int check(const struct soth_host *host, void *arg)
{
    struct overrides *self = arg;
    int r = SOTH_OK;
    for (size_t i = 0; r == SOTH_OK && i < self->overrides.n; i++)
        r = check_one(host, self, i);
    return r;
}

static void destroy(void *arg)
{
    struct overrides *self = arg;
    for (size_t i = 0; self->patterns && i < self->overrides.n; i++)
        pattern_set_free(self->patterns[i]);
    free(self->patterns);
    free(self->counters);
}

static int create(const struct soth_host *host, void *arg)
{
    struct overrides *self = arg;
    int ok;
    self->host = host;
    self->patterns = calloc(self->overrides.n + 1, sizeof *self->patterns);
    self->counters = calloc(self->overrides.n + 1, sizeof *self->counters);
    ok = self->patterns && self->counters;
    for (size_t i = 0; ok && i < self->overrides.n; i++) {
        const struct soth_strings one = {&at(self, i)->host_pattern, 1};
        const char *why;
        long index;
        self->patterns[i] = pattern_set_new(&one, &index, &why);
        self->counters[i] = host->counter(self, "overrides", at(self, i)->rule_id, "connections that got this override, by rule_id");
        ok = self->patterns[i] && self->counters[i] >= 0;
    }
    if (!ok)
        destroy(self);
    return ok ? SOTH_OK : -SOTH_ENOMEM;
}

static uint32_t hooks(void *arg)
{
    return ((struct overrides *)arg)->overrides.n ? SOTH_HOOK_CONNECT : 0;
}

/* ---- deciding ---- */

static int connect_hook(void *arg, struct soth_flow *flow, const struct soth_connect *connect, struct soth_decision *out)
{
    struct overrides *self = arg;
    size_t i = 0;
    (void)flow;
    if (connect->identity != SOTH_ID_TARGET)
        return SOTH_CONTINUE;
    while (i < self->overrides.n && !pattern_set_match(self->patterns[i], connect->host, &connect->host_addr, connect->port))
        i++;
    if (i == self->overrides.n)
        return SOTH_CONTINUE;
    const struct override *o = at(self, i);
    out->action = o->force_tunnel ? SOTH_TUNNEL : SOTH_ALLOW;
    out->reason = "override";
    out->rule_id = soth_span(o->rule_id);
    out->overrides = bits_of(o);
    out->override_pattern = soth_span(o->host_pattern);
    self->host->count(self, self->counters[i], 1);
    return SOTH_DECIDED;
}

SOTH_POLICY_MODULE(policy_overrides, "0.1.0", "MPL-2.0",
    .doc = "exceptions for single hosts: tunnel, no HTTP/2, header strictness, origin verification",
    .options = options, .self_size = sizeof(struct overrides),
    .check = check, .create = create, .destroy = destroy,
    .hooks = hooks, .connect = connect_hook);
