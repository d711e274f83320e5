/* SPDX-License-Identifier: MPL-2.0 */
/*
 * TLS failures come in as signals; hosts whose clients have refused our certificates for certain, often enough, are tunnelled for a while
 * (tls_learning: bypass) or only counted (observe). Learns from what soth-mitm and mitmproxy have seen themselves, never from what somebody has
 * inferred, and bypasses only what its list names: a client can send whatever alert it likes.
 */
#include <stdlib.h>

#include "learning.h"

static const struct soth_opt options[] = {
    SOTH_OPT_STRINGS(struct learning, hosts, "[]",
                     "host patterns that may be bypassed; required with tls_learning: bypass. With observe and without a list all hosts are counted"),
    SOTH_OPT_INT(struct learning, threshold, "3", 1, 1000, "certain refusals of our certificate before a host is tunnelled; an hour without one ends the count"),
    SOTH_OPT_BOOL(struct learning, per_client, "true", "counted and bypassed for each client address by itself"),
    SOTH_OPT_INT(struct learning, max_hosts, "4096", 1, 1000000, "hosts (with per_client: pairs of host and client) that are remembered"),
    SOTH_OPT_PATH(struct learning, state_path, 0, "file that keeps what is learnt over restarts; none: a restart forgets it"),
    SOTH_OPT_END,
};

static const struct {
    const char *text;
    uint32_t applied;
} reasons[] = {
#define LESSON(NAME, text, applied, meaning) {text, applied},
#include "reason.def"
#undef LESSON
};

/* ---- instances ---- */

static void read_settings(struct learning *self, const struct soth_host *host)
{
    self->host = host;
    self->mode = MODE_OBSERVE;
    self->ttl_ms = 15 * 60 * 1000;
    host->setting(self, "tls_learning", &self->mode); /* a host without them has these */
    host->setting(self, "tls_bypass_ttl", &self->ttl_ms);
}

static int check(const struct soth_host *host, void *arg)
{
    struct learning *self = arg;
    struct pattern pattern;
    const char *why;
    read_settings(self, host);
    for (size_t i = 0; i < self->hosts.n; i++) {
        char key[32];
        snprintf(key, sizeof key, "hosts[%zu]", i);
        if (pattern_parse(self->hosts.v[i], &pattern, &why) < 0)
            return host->cfg_err(self, key, "'%s' %s", self->hosts.v[i], why);
    }
    if (self->mode == MODE_BYPASS && self->hosts.n == 0)
        return host->cfg_err(self, "hosts", "tls_learning: bypass needs to know which hosts may be bypassed: a client can forge its alerts");
    return SOTH_OK;
}

static void destroy(void *arg)
{
    struct learning *self = arg;
    keeper_stop(self);
    if (self->memory)
        memory_put(self->memory);
    pattern_set_free(self->listed);
}

static void make_metrics(struct learning *self)
{
    static const char lessons[] = "TLS failures that were looked at, by what became of them";
    const struct soth_host *host = self->host;
    for (size_t i = 0; i < REASON_COUNT; i++)
        self->count[i] = host->counter(self, "lessons", reasons[i].text, lessons);
    self->count_tunnelled = host->counter(self, "bypasses", NULL, "connections that were tunnelled because their host is bypassed");
    self->count_state_errors = host->counter(self, "state_errors", NULL, "times that the state file could not be written");
    self->gauge_entries = host->gauge(self, "entries", NULL, "hosts that are remembered, or pairs of host and client");
    self->gauge_active = host->gauge(self, "active", NULL, "those of them that are tunnelled now");
}

static int create(const struct soth_host *host, void *arg)
{
    struct learning *self = arg;
    const char *why;
    long bad;
    int fresh = 0, r = -SOTH_ENOMEM;
    read_settings(self, host);
    make_metrics(self);
    self->listed = pattern_set_new(&self->hosts, &bad, &why);
    self->memory = memory_get(host->name(self), &fresh);
    if (self->listed && self->memory)
        r = keeper_start(self, fresh);
    if (r < 0)
        destroy(self);
    return r;
}

static uint32_t hooks(void *arg)
{
    return ((struct learning *)arg)->mode == MODE_OFF ? 0 : SOTH_HOOK_CONNECT | SOTH_HOOK_SIGNAL;
}

static int is_listed(const struct learning *self, struct soth_span host, const struct soth_addr *addr, uint32_t port)
{
    if (self->hosts.n == 0)
        return self->mode == MODE_OBSERVE;
    return pattern_set_match(self->listed, host, addr, port);
}

/* "192.0.2.1:4711" without its port; of a unix socket all. Nothing: clients are not told apart. */
static struct soth_span client_of(const struct learning *self, struct soth_span text)
{
    if (!self->per_client)
        return (struct soth_span){"", 0};
    size_t n = text.n;
    if (n >= 5 && memcmp(text.p, "unix:", 5) == 0)
        return text;
    while (n > 0 && text.p[n - 1] >= '0' && text.p[n - 1] <= '9')
        n--;
    return (struct soth_span){text.p, n > 0 && text.p[n - 1] == ':' ? n - 1 : text.n};
}

/* ---- learning ---- */

static int same(const char *text, const char *word)
{
    return text && strcmp(text, word) == 0;
}

/* What can be said without looking at what is known. REASON_COUNT: it may count. */
static enum reason judge(const struct learning *self, const struct soth_signal *s)
{
    if (!s->authoritative || same(s->source, "hudsucker_inferred"))
        return REASON_INFERRED_SOURCE;
    if (!same(s->source, "native_authoritative") && !same(s->source, "mitmproxy_authoritative"))
        return REASON_UNKNOWN_SOURCE;
    if (!same(s->peer, "downstream"))
        return REASON_UPSTREAM_FAILURE;
    if (!same(s->rejected_ca, "certain"))
        return same(s->rejected_ca, "likely") ? REASON_REJECTION_LIKELY : REASON_NO_REJECTION;
    if (s->host.n == 0)
        return REASON_NO_HOST;
    struct soth_addr addr = pattern_address(s->host);
    return is_listed(self, s->host, &addr, s->port) ? REASON_COUNT : REASON_HOST_NOT_LISTED;
}

/* With the lock. */
static enum reason count_it(struct learning *self, struct store_entry *e, uint64_t flow_id, uint64_t now)
{
    struct memory *m = self->memory;
    if (store_is_active(&m->store, e, now))
        return REASON_BYPASS_ACTIVE;
    if (flow_id && flow_id <= e->bar)
        return REASON_OVERLAPPING;
    e->bar = atomic_load_explicit(&m->last_flow, memory_order_relaxed);
    uint64_t failures = store_count(&m->store, e, now);
    memory_changed(m);
    if (failures < (uint64_t)self->threshold)
        return REASON_COUNTED;
    if (self->mode == MODE_BYPASS) {
        store_activate(&m->store, e, now, self->ttl_ms);
        memory_changed(m);
        return REASON_THRESHOLD_REACHED;
    }
    e->failures = 0;
    return REASON_WOULD_BYPASS;
}

static enum reason learn(struct learning *self, const struct soth_signal *s)
{
    struct memory *m = self->memory;
    struct store_entry *evicted = NULL, *copy = NULL;
    uint64_t now = self->host->monotonic_ns();
    enum reason reason = REASON_NO_MEMORY;
    keeper_expire(self, now);
    pthread_mutex_lock(&m->lock);
    struct store_entry *e = store_get(&m->store, s->host, client_of(self, s->client), (size_t)self->max_hosts, &evicted);
    if (e)
        reason = count_it(self, e, s->flow_id, now);
    if (reason == REASON_THRESHOLD_REACHED && (copy = malloc(sizeof *e + e->host_len + e->client_len)))
        memcpy(copy, e, sizeof *e + e->host_len + e->client_len);
    keeper_gauges(self);
    pthread_mutex_unlock(&m->lock);
    if (evicted && evicted->expires_ns)
        keeper_tell(self, SOTH_EV_TLS_BYPASS_EXPIRED, evicted, "evicted");
    if (copy)
        keeper_tell(self, SOTH_EV_TLS_BYPASS_ACTIVATED, copy, "peer_rejected_ca");
    free(evicted);
    free(copy);
    return reason;
}

static void signal_hook(void *arg, const struct soth_signal *signal)
{
    struct learning *self = arg;
    enum reason reason = judge(self, signal);
    if (reason == REASON_COUNT)
        reason = learn(self, signal);
    self->host->count(self, self->count[reason], 1);
    if (!signal->lesson)
        return;
    signal->lesson->applied = reasons[reason].applied;
    signal->lesson->reason_code = reasons[reason].text;
}

/* ---- bypassing ---- */

/* Bypasses that were read from the state file are told when the first connection comes: only then is it certain that somebody listens. */
static void tell_restored(struct learning *self)
{
    struct memory *m = self->memory;
    unsigned n = atomic_exchange(&self->restored, 0);
    if (n == 0)
        return;
    pthread_mutex_lock(&m->lock);
    for (const struct store_entry *e = m->store.active.oldest; e; e = e->newer)
        keeper_tell(self, SOTH_EV_TLS_BYPASS_ACTIVATED, e, "restored");
    keeper_gauges(self);
    pthread_mutex_unlock(&m->lock);
}

static void saw(struct memory *m, uint64_t flow_id)
{
    uint_fast64_t last = atomic_load_explicit(&m->last_flow, memory_order_relaxed);
    while (last < flow_id && !atomic_compare_exchange_weak_explicit(&m->last_flow, &last, flow_id, memory_order_relaxed, memory_order_relaxed))
        ;
}

static int is_bypassed(struct learning *self, const struct soth_connect *connect, struct soth_span host, const struct soth_addr *addr)
{
    struct memory *m = self->memory;
    if (!is_listed(self, host, addr, connect->port))
        return 0;
    pthread_mutex_lock(&m->lock);
    struct store_entry *e = store_find(&m->store, host, client_of(self, connect->client));
    int yes = e && store_is_active(&m->store, e, self->host->monotonic_ns());
    pthread_mutex_unlock(&m->lock);
    return yes;
}

static int connect_hook(void *arg, struct soth_flow *flow, const struct soth_connect *connect, struct soth_decision *out)
{
    struct learning *self = arg;
    struct soth_span host = connect->host;
    struct soth_addr addr = connect->host_addr;
    saw(self->memory, self->host->flow_id(flow));
    if (atomic_load_explicit(&self->restored, memory_order_relaxed))
        tell_restored(self);
    if (self->mode != MODE_BYPASS || atomic_load_explicit(&self->memory->active, memory_order_relaxed) == 0)
        return SOTH_CONTINUE;
    if (connect->identity == SOTH_ID_TARGET && addr.family) { /* its name, if it has one, is in the hello */
        if (!connect->has_hello)
            return SOTH_PEEK;
        if (connect->sni.n) {
            host = connect->sni;
            addr = pattern_address(host);
        }
    }
    if (!is_bypassed(self, connect, host, &addr))
        return SOTH_CONTINUE;
    if (connect->identity == SOTH_ID_TARGET)
        self->host->count(self, self->count_tunnelled, 1);
    out->action = SOTH_TUNNEL;
    out->reason = "tls_bypass";
    return SOTH_DECIDED;
}

SOTH_POLICY_MODULE(policy_tls_learning, "0.1.0", "MPL-2.0",
    .doc = "tunnels, for a while, hosts whose clients refuse our certificates",
    .options = options, .self_size = sizeof(struct learning),
    .check = check, .create = create, .destroy = destroy,
    .hooks = hooks, .connect = connect_hook, .signal = signal_hook);
