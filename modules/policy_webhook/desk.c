/* SPDX-License-Identifier: MPL-2.0 */
/*
 * See desk.h. A call is in the tree of calls while others may join it, and is freed by the service's thread alone, when it is over. A
 * waiter is in both trees of waiters until it is collected or cancelled. resume is called without the lock: the host has its own.
 */
#include "desk.h"

#include <pthread.h>
#include <search.h>
#include <stdlib.h>

#include "cache.h"
#include "reasons.h"

#define NS_A_MS UINT64_C(1000000)
#define CACHE_MOST 16384
#define CACHE_MOST_BYTES ((size_t)16 * 1024 * 1024)
#define REASONS_MOST 16384
#define RESUMED_AT_ONCE 64

struct call {
    struct job job; /* first: the service hands it back */
    char *key, *body;
    uint32_t hook;
    uint64_t join_until_ns; /* a call that hangs does not take others with it for ever */
    int listed;
    struct waiter *waiters;
};

struct waiter {
    struct soth_token token;
    uint64_t number, deadline_ns;
    struct call *call; /* NULL: it is over */
    struct waiter *next, *before;
    enum outcome outcome;
    struct answer answer;
};

struct desk {
    struct desk_config config;
    struct service *service;
    pthread_mutex_t lock;
    void *calls, *by_token, *by_number;
    uint64_t in_flight, last_number, failures;
    struct cache *cache;
    struct reasons *reasons;
};

/* ---- trees ---- */

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct call *)a)->key, ((const struct call *)b)->key);
}

static int order(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int by_token(const void *a, const void *b)
{
    const struct soth_token *x = &((const struct waiter *)a)->token, *y = &((const struct waiter *)b)->token;
    if (x->slot != y->slot)
        return order(x->slot, y->slot);
    return x->generation != y->generation ? order(x->generation, y->generation) : order(x->pause, y->pause);
}

static int by_number(const void *a, const void *b)
{
    return order(((const struct waiter *)a)->number, ((const struct waiter *)b)->number);
}

static void *find(void *const *tree, const void *wanted, int (*compare)(const void *, const void *))
{
    void *const *found = tfind(wanted, tree, compare);
    return found ? *found : NULL;
}

/* ---- waiters (lock) ---- */

static void leave_call(struct waiter *w)
{
    if (!w->call)
        return;
    *(w->before ? &w->before->next : &w->call->waiters) = w->next;
    if (w->next)
        w->next->before = w->before;
    w->call = NULL;
}

static void waiter_free(struct desk *desk, struct waiter *w)
{
    leave_call(w);
    tdelete(w, &desk->by_token, by_token);
    tdelete(w, &desk->by_number, by_number);
    free(w);
}

static struct waiter *waiter_new(struct desk *desk, struct call *call, struct soth_token token, uint64_t now)
{
    struct waiter *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->token = token;
    w->number = ++desk->last_number;
    w->deadline_ns = now + desk->config.timeout_ms * NS_A_MS;
    if (!tsearch(w, &desk->by_token, by_token) || !tsearch(w, &desk->by_number, by_number)) {
        waiter_free(desk, w);
        return NULL;
    }
    w->call = call;
    w->next = call->waiters;
    if (w->next)
        w->next->before = w;
    call->waiters = w;
    if (w->deadline_ns > atomic_load(&call->job.deadline_ns))
        atomic_store(&call->job.deadline_ns, w->deadline_ns);
    return w;
}

/* ---- calls ---- */

static void call_free(struct call *call)
{
    free(call->key);
    free(call->body);
    free(call);
}

static void unlist(struct desk *desk, struct call *call)
{
    if (call->listed)
        tdelete(call, &desk->calls, by_key);
    call->listed = 0;
}

/* (lock) The one that may be joined, or NULL. */
static struct call *find_call(struct desk *desk, const char *key, uint64_t now)
{
    const struct call wanted = {.key = (char *)(uintptr_t)key};
    struct call *call = find(&desk->calls, &wanted, by_key);
    return call && now < call->join_until_ns ? call : NULL;
}

static struct call *call_new(struct desk *desk, char *key, uint32_t hook, struct question *question, uint64_t flow_id, uint64_t now)
{
    struct call *call = calloc(1, sizeof *call);
    if (!call) {
        free(key);
        return NULL;
    }
    call->key = key;
    call->hook = hook;
    call->body = question_body(question, flow_id);
    call->join_until_ns = now + desk->config.timeout_ms * NS_A_MS;
    if (!call->body) {
        call_free(call);
        return NULL;
    }
    call->job.body = call->body;
    call->job.body_n = strlen(call->body);
    return call;
}

/* (lock) In place of one that is too old to be joined. Not being listed costs only that nobody joins. */
static void list(struct desk *desk, struct call *call)
{
    struct call *old = find(&desk->calls, call, by_key);
    if (old)
        unlist(desk, old);
    call->listed = tsearch(call, &desk->calls, by_key) != NULL;
}

/* (lock) */
static int ask(struct desk *desk, char *key, uint32_t hook, struct question *question, uint64_t flow_id, struct soth_token token)
{
    uint64_t now = desk->config.host->monotonic_ns();
    struct call *call = find_call(desk, key, now);
    if (call) {
        free(key);
        return waiter_new(desk, call, token, now) ? SOTH_PAUSE : -SOTH_ENOMEM;
    }
    if (desk->in_flight >= desk->config.max_in_flight) {
        free(key);
        return SOTH_BUSY;
    }
    call = call_new(desk, key, hook, question, flow_id, now);
    if (!call)
        return -SOTH_ENOMEM;
    if (!waiter_new(desk, call, token, now)) {
        call_free(call);
        return -SOTH_ENOMEM;
    }
    list(desk, call);
    desk->in_flight++;
    desk->config.host->count(desk->config.self, desk->config.calls_counter, 1);
    service_submit(desk->service, &call->job);
    return SOTH_PAUSE;
}

int desk_ask(struct desk *desk, char *key, uint32_t hook, struct question *question, uint64_t flow_id, struct soth_token token)
{
    pthread_mutex_lock(&desk->lock);
    int r = ask(desk, key, hook, question, flow_id, token);
    pthread_mutex_unlock(&desk->lock);
    return r;
}

enum desk_look desk_look(struct desk *desk, const char *key, struct answer *out)
{
    enum desk_look result = DESK_ASK;
    uint64_t now = desk->config.host->monotonic_ns();
    pthread_mutex_lock(&desk->lock);
    const struct answer *cached = desk->config.cache_ttl_ms ? cache_get(desk->cache, key, now) : NULL;
    if (cached) {
        *out = *cached;
        result = DESK_CACHED;
    } else if (desk->in_flight >= desk->config.max_in_flight && !find_call(desk, key, now)) {
        result = DESK_FULL;
    }
    pthread_mutex_unlock(&desk->lock);
    return result;
}

/* ---- answers ---- */

/* The first failure of a row is told, and the first answer after it. */
static void judge_service(struct desk *desk, const char *fault)
{
    pthread_mutex_lock(&desk->lock);
    uint64_t before = desk->failures;
    desk->failures = fault ? before + 1 : 0;
    pthread_mutex_unlock(&desk->lock);
    if (!fault != !before)
        desk->config.episode(desk->config.self, fault, before);
}

static const char late[] = "it does not answer in time";

/* (lock) */
static void keep(struct desk *desk, const struct call *call, const struct answer *answer)
{
    uint64_t most = desk->config.cache_ttl_ms, ms = answer->ttl_ms < most ? answer->ttl_ms : most;
    if (ms > 0)
        cache_put(desk->cache, call->key, answer, desk->config.host->monotonic_ns() + ms * NS_A_MS);
}

/* Some of those who wait for the call: their tokens and numbers. */
static size_t tell(struct desk *desk, struct call *call, enum outcome outcome, const struct answer *answer, struct soth_token *tokens,
                   uint64_t *numbers)
{
    size_t n = 0;
    pthread_mutex_lock(&desk->lock);
    for (; call->waiters && n < RESUMED_AT_ONCE; n++) {
        struct waiter *w = call->waiters;
        tokens[n] = w->token;
        numbers[n] = w->number;
        w->outcome = outcome;
        w->answer = *answer;
        leave_call(w);
    }
    pthread_mutex_unlock(&desk->lock);
    return n;
}

static void drop_number(struct desk *desk, uint64_t number)
{
    struct answer answer;
    desk_collect(desk, number, &answer);
}

static void finished(void *arg, struct job *job, enum outcome outcome, struct soth_span body, const char *fault)
{
    struct desk *desk = arg;
    struct call *call = (struct call *)job;
    struct answer answer = {.action = SOTH_ALLOW};
    struct soth_token tokens[RESUMED_AT_ONCE];
    uint64_t numbers[RESUMED_AT_ONCE];
    char reason[REASON_MOST];
    size_t n;
    if (outcome == OUTCOME_OK && (fault = answer_parse(body, call->hook, &answer, reason)))
        outcome = OUTCOME_ERROR;
    pthread_mutex_lock(&desk->lock);
    unlist(desk, call);
    desk->in_flight--;
    answer.reason = reasons_keep(desk->reasons, answer.reason);
    if (outcome == OUTCOME_OK)
        keep(desk, call, &answer);
    pthread_mutex_unlock(&desk->lock);
    if (outcome != OUTCOME_ABANDONED)
        judge_service(desk, outcome == OUTCOME_TIMEOUT ? late : fault);
    do {
        n = tell(desk, call, outcome, &answer, tokens, numbers);
        for (size_t i = 0; i < n; i++)
            if (desk->config.host->resume(tokens[i], numbers[i]) < 0)
                drop_number(desk, numbers[i]);
    } while (n == RESUMED_AT_ONCE);
    call_free(call);
}

enum outcome desk_collect(struct desk *desk, uint64_t number, struct answer *out)
{
    const struct waiter wanted = {.number = number};
    enum outcome outcome = OUTCOME_ERROR;
    pthread_mutex_lock(&desk->lock);
    struct waiter *w = find(&desk->by_number, &wanted, by_number);
    if (w) {
        outcome = w->outcome;
        *out = w->answer;
        waiter_free(desk, w);
    }
    pthread_mutex_unlock(&desk->lock);
    return outcome;
}

/* (lock) The call goes on only for somebody. */
static void leave(struct desk *desk, struct waiter *w)
{
    struct call *call = w->call;
    waiter_free(desk, w);
    if (!call || call->waiters)
        return;
    unlist(desk, call);
    service_abandon(desk->service, &call->job);
}

enum outcome desk_cancel(struct desk *desk, struct soth_token token)
{
    const struct waiter wanted = {.token = token};
    enum outcome outcome = OUTCOME_ABANDONED;
    int is_late = 0;
    pthread_mutex_lock(&desk->lock);
    struct waiter *w = find(&desk->by_token, &wanted, by_token);
    if (w) {
        if (desk->config.host->monotonic_ns() >= w->deadline_ns)
            outcome = OUTCOME_TIMEOUT;
        is_late = outcome == OUTCOME_TIMEOUT && w->call; /* else the service was judged when its call ended */
        leave(desk, w);
    }
    pthread_mutex_unlock(&desk->lock);
    if (is_late)
        judge_service(desk, late);
    return outcome;
}

/* ---- life ---- */

static void destroy(struct desk *desk)
{
    cache_free(desk->cache);
    reasons_free(desk->reasons);
    pthread_mutex_destroy(&desk->lock);
    free(desk);
}

int desk_open(const struct url *url, const struct desk_config *config, struct desk **out)
{
    struct desk *desk = calloc(1, sizeof *desk);
    if (!desk)
        return -SOTH_ENOMEM;
    desk->config = *config;
    pthread_mutex_init(&desk->lock, NULL);
    desk->cache = cache_new(CACHE_MOST, CACHE_MOST_BYTES);
    desk->reasons = reasons_new(REASONS_MOST);
    const struct service_calls calls = {config->host, finished, desk};
    int r = desk->cache && desk->reasons ? service_open(url, &calls, &desk->service) : -SOTH_ENOMEM;
    if (r < 0)
        destroy(desk);
    else
        *out = desk;
    return r;
}

void desk_close(struct desk *desk)
{
    if (!desk)
        return;
    service_close(desk->service);
    while (desk->by_number)
        waiter_free(desk, *(struct waiter **)desk->by_number);
    destroy(desk);
}
