/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Asks a decision service: the question goes out as JSON, the flow pauses, the answer resumes it. The hooks here never wait: they look at
 * what is known (desk.c) and return. What the service says beyond a decision - nothing, garbage, too late - is decided by on_timeout.
 */
#include <stdio.h>
#include <stdlib.h>

#include "desk.h"

struct webhook {
    const char *url;
    uint64_t timeout, cache_ttl;
    uint32_t on_timeout;
    int64_t max_in_flight;
    struct soth_strings on;
    const struct soth_host *host;
    struct desk *desk;
    struct url where;
    int ok, cached, timeouts, errors, busy, gone;
};

enum { CLOSED, OPEN }; /* the words of on_timeout; OPEN is 1 in soth_host.token too */

#define S struct webhook

static const struct soth_opt options[] = {
    SOTH_OPT_STRING(S, url, SOTH_REQUIRED,
                    "the decision service: http://host:port/path, or unix:/path of a socket on which it speaks HTTP"),
    SOTH_OPT_DURATION(S, timeout, "500ms", 1, 3600000, "how long a flow waits for its answer"),
    SOTH_OPT_ENUM(S, on_timeout, "closed|open", "closed",
                  "without an answer in time, or with an error for one: closed blocks (module_timeout, module_fault), open has no opinion"),
    SOTH_OPT_DURATION(S, cache_ttl, "0", 0, 86400000,
                      "how long an answer holds that does not say it (ttl_ms), and the most that it may say; 0 = every question is asked"),
    SOTH_OPT_INT(S, max_in_flight, "256", 1, 4096, "questions that may be open at once; further flows wait until one is answered"),
    SOTH_OPT_STRINGS(S, on, "[connect, request]",
                     "what it is asked about: connect (once a connection and name of it), request (each request)"),
    SOTH_OPT_END,
};

/* ---- configuration ---- */

static uint32_t hook_of(const char *word)
{
    return strcmp(word, "connect") == 0 ? SOTH_HOOK_CONNECT : strcmp(word, "request") == 0 ? SOTH_HOOK_REQUEST : 0;
}

static uint32_t hooks(void *arg)
{
    const struct webhook *self = arg;
    uint32_t all = 0;
    for (size_t i = 0; i < self->on.n; i++)
        all |= hook_of(self->on.v[i]);
    return all;
}

static int check(const struct soth_host *host, void *arg)
{
    struct webhook *self = arg;
    const char *why;
    char key[32];
    if (url_parse(self->url, &self->where, &why) < 0)
        return host->cfg_err(self, "url", "'%s' %s", self->url, why);
    for (size_t i = 0; i < self->on.n; i++)
        if (!hook_of(self->on.v[i])) {
            snprintf(key, sizeof key, "on[%zu]", i);
            return host->cfg_err(self, key, "'%s' is not allowed, allowed is connect, request or both", self->on.v[i]);
        }
    return self->on.n ? SOTH_OK : host->cfg_err(self, "on", "names nothing to ask about, allowed is connect, request or both");
}

static void episode(void *arg, const char *fault, uint64_t failures)
{
    struct webhook *self = arg;
    const char *name = self->where.socket[0] ? self->where.socket : self->where.authority;
    if (fault)
        self->host->log(self, SOTH_LOG_WARN, "the decision service %s fails: %s; until it answers, on_timeout decides: %s", name, fault,
                        self->on_timeout == OPEN ? "open" : "closed");
    else
        self->host->log(self, SOTH_LOG_INFO, "the decision service %s answers again, after %llu failures", name,
                        (unsigned long long)failures);
}

static int counter(struct webhook *self, const char *label)
{
    return self->host->counter(self, "questions", label,
                               "questions by outcome: ok (answered), cached, timeout, error, busy (put off), gone (the flow ended first)");
}

static int create(const struct soth_host *host, void *arg)
{
    struct webhook *self = arg;
    self->host = host;
    self->ok = counter(self, "ok");
    self->cached = counter(self, "cached");
    self->timeouts = counter(self, "timeout");
    self->errors = counter(self, "error");
    self->busy = counter(self, "busy");
    self->gone = counter(self, "gone");
    static const char calls[] = "questions sent to the decision service; those of one moment about one thing are one";
    const struct desk_config config = {
        .host = host,
        .self = self,
        .timeout_ms = self->timeout,
        .cache_ttl_ms = self->cache_ttl,
        .max_in_flight = (uint64_t)self->max_in_flight,
        .calls_counter = host->counter(self, "calls", NULL, calls),
        .episode = episode,
    };
    return desk_open(&self->where, &config, &self->desk);
}

static void destroy(void *arg)
{
    desk_close(((struct webhook *)arg)->desk);
}

/* ---- deciding ---- */

static int decide(struct soth_decision *out, const struct answer *answer)
{
    if (answer->action == SOTH_ALLOW)
        return SOTH_CONTINUE;
    out->action = answer->action;
    out->reason = "rule";
    out->rule_id = answer->reason;
    return SOTH_DECIDED;
}

static int without_answer(const struct webhook *self, struct soth_decision *out, const char *reason)
{
    if (self->on_timeout == OPEN)
        return SOTH_CONTINUE;
    out->action = SOTH_BLOCK;
    out->reason = reason;
    return SOTH_DECIDED;
}

static int failed(struct webhook *self, struct soth_decision *out)
{
    self->host->count(self, self->errors, 1);
    return without_answer(self, out, "module_fault");
}

static int collect(struct webhook *self, uint64_t number, struct soth_decision *out)
{
    struct answer answer;
    switch (desk_collect(self->desk, number, &answer)) {
    case OUTCOME_OK:
        self->host->count(self, self->ok, 1);
        return decide(out, &answer);
    case OUTCOME_TIMEOUT:
        self->host->count(self, self->timeouts, 1);
        return without_answer(self, out, "module_timeout");
    default:
        return failed(self, out);
    }
}

static int busy(struct webhook *self)
{
    self->host->count(self, self->busy, 1);
    return SOTH_BUSY;
}

/* The call ends at its deadline by itself (service.c). The host's is a little later: then a flow that is cancelled before it has left. */
#define GRACE_MS 100

/* Takes the key. */
static int ask(struct webhook *self, struct soth_flow *flow, uint32_t hook, struct question *question, char *key, struct soth_decision *out)
{
    const struct soth_token token = self->host->token(self, flow, (uint32_t)self->timeout + GRACE_MS, self->on_timeout);
    if (!token.generation) {
        free(key);
        return failed(self, out);
    }
    int r = desk_ask(self->desk, key, hook, question, self->host->flow_id(flow), token);
    return r == SOTH_BUSY ? busy(self) : r < 0 ? failed(self, out) : r;
}

static int look(struct webhook *self, struct soth_flow *flow, uint32_t hook, struct question *question, struct soth_decision *out)
{
    struct answer answer;
    char *key = question ? question_key(question) : NULL;
    if (!key)
        return failed(self, out);
    enum desk_look known = desk_look(self->desk, key, &answer);
    if (known == DESK_ASK)
        return ask(self, flow, hook, question, key, out);
    free(key);
    if (known == DESK_FULL)
        return busy(self);
    self->host->count(self, self->cached, 1);
    return decide(out, &answer);
}

static int judge(struct webhook *self, struct soth_flow *flow, const struct soth_connect *connect, const struct soth_message *request,
                 struct soth_decision *out)
{
    uint64_t number;
    if (self->host->resumed(flow, &number))
        return collect(self, number, out);
    struct question *question = question_new(connect, request);
    int r = look(self, flow, request ? SOTH_HOOK_REQUEST : SOTH_HOOK_CONNECT, question, out);
    question_free(question);
    return r;
}

static int connect_hook(void *self, struct soth_flow *flow, const struct soth_connect *connect, struct soth_decision *out)
{
    return judge(self, flow, connect, NULL, out);
}

static int request_hook(void *self, struct soth_flow *flow, const struct soth_message *request, struct soth_decision *out)
{
    return judge(self, flow, request->connect, request, out);
}

static void cancel(void *arg, struct soth_token token)
{
    struct webhook *self = arg;
    self->host->count(self, desk_cancel(self->desk, token) == OUTCOME_TIMEOUT ? self->timeouts : self->gone, 1);
}

SOTH_POLICY_MODULE(policy_webhook, "0.1.0", "MPL-2.0",
    .doc = "asks a decision service over HTTP about connections and requests",
    .options = options, .self_size = sizeof(struct webhook),
    .check = check, .create = create, .destroy = destroy,
    .hooks = hooks, .connect = connect_hook, .request = request_hook, .cancel = cancel);
