/* SPDX-License-Identifier: MPL-2.0 */
/* Promises to go on: given inside a hook, kept by a resume of any thread, broken by a deadline or by a flow that is gone. */
#include "parts.h"

#include <errno.h>
#include <time.h>

/* A token's slot leads to the host it is of. */
#define HOSTS_MOST 64
static struct testhost *hosts[HOSTS_MOST];
static pthread_mutex_t hosts_lock = PTHREAD_MUTEX_INITIALIZER;

static uint32_t number_of(struct testhost *host)
{
    uint32_t found = HOSTS_MOST;
    pthread_mutex_lock(&hosts_lock);
    for (uint32_t i = 0; i < HOSTS_MOST && found == HOSTS_MOST; i++)
        if (hosts[i] == host || !hosts[i]) {
            hosts[i] = host;
            found = i;
        }
    pthread_mutex_unlock(&hosts_lock);
    return found;
}

void th_tokens_forget(struct testhost *host)
{
    pthread_mutex_lock(&hosts_lock);
    for (uint32_t i = 0; i < HOSTS_MOST; i++)
        if (hosts[i] == host)
            hosts[i] = NULL;
    pthread_mutex_unlock(&hosts_lock);
}

/* (lock) */
static struct promise *find(struct testhost *host, struct soth_token token)
{
    struct promise *p = &host->promises[token.slot % TOKENS_MOST];
    bool same = p->generation == token.generation && p->pause == token.pause && token.pause != 0;
    return same && (p->state == TOKEN_GIVEN || p->state == TOKEN_RESUMED) ? p : NULL;
}

struct soth_token th_token(void *self, struct soth_flow *view, uint32_t deadline_ms, uint32_t on_timeout)
{
    struct testhost *host = th_host_of(self);
    struct flow *flow = view->flow;
    struct soth_token none = {0, 0, 0};
    if (!flow->may_pause || flow->token.pause)
        return none;
    if (deadline_ms < 1 || deadline_ms > 3600000)
        th_fault(host, "token: a deadline of %u ms", (unsigned)deadline_ms);
    uint32_t number = number_of(host);
    pthread_mutex_lock(&host->lock);
    for (uint32_t i = 0; i < TOKENS_MOST && number < HOSTS_MOST; i++) {
        struct promise *p = &host->promises[i];
        if (p->state == TOKEN_GIVEN || p->state == TOKEN_RESUMED)
            continue;
        *p = (struct promise){TOKEN_GIVEN, p->generation + 1, ++host->pauses, 0, deadline_ms, on_timeout};
        flow->token = (struct soth_token){number * TOKENS_MOST + i, p->generation, p->pause};
        break;
    }
    pthread_mutex_unlock(&host->lock);
    return flow->token;
}

int th_resume(struct soth_token token, uint64_t arg)
{
    int r = -SOTH_ESTALE;
    pthread_mutex_lock(&hosts_lock);
    struct testhost *host = token.slot / TOKENS_MOST < HOSTS_MOST ? hosts[token.slot / TOKENS_MOST] : NULL;
    if (host) {
        pthread_mutex_lock(&host->lock);
        struct promise *p = find(host, token);
        if (p && p->state == TOKEN_GIVEN) {
            p->state = TOKEN_RESUMED;
            p->arg = arg;
            host->resumes++;
            pthread_cond_broadcast(&host->resumed);
            r = SOTH_OK;
        } else {
            host->stale++;
        }
        pthread_mutex_unlock(&host->lock);
    }
    pthread_mutex_unlock(&hosts_lock);
    return r;
}

int th_resumed(struct soth_flow *view, uint64_t *arg)
{
    if (!view->flow->was_resumed)
        return 0;
    *arg = view->flow->arg;
    return 1;
}

static void over(struct flow *flow, struct promise *p)
{
    p->state = TOKEN_OVER;
    flow->token = (struct soth_token){0, 0, 0};
}

static void cancel(struct testhost *host, struct soth_token token)
{
    if (host->module.cancel)
        host->module.cancel(host->self, token);
    if (th_resume(token, 0) == SOTH_OK)
        th_fault(host, "testhost: a token that was cancelled was still good");
}

#define PATIENCE_MS 3000u /* of a test, whatever the deadline */

static struct timespec until(uint32_t ms)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    ms = ms < PATIENCE_MS ? ms : PATIENCE_MS;
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

int th_token_wait(struct flow *flow, bool at_once, uint32_t *late)
{
    struct testhost *host = flow->host;
    struct soth_token token = flow->token;
    pthread_mutex_lock(&host->lock);
    struct promise *p = find(host, token);
    struct timespec deadline = until(host->nobody_resumes ? 1 : p->deadline_ms);
    while (!at_once && p->state == TOKEN_GIVEN && pthread_cond_timedwait(&host->resumed, &host->lock, &deadline) != ETIMEDOUT)
        ;
    bool resumed = !at_once && p->state == TOKEN_RESUMED;
    if (!at_once)
        host->nobody_resumes = !resumed; /* until the next question: waiting again and again would be in vain */
    flow->arg = p->arg;
    if (late)
        *late = p->on_timeout;
    over(flow, p);
    pthread_mutex_unlock(&host->lock);
    if (!resumed)
        cancel(host, token);
    return resumed;
}

void th_token_cancel(struct flow *flow)
{
    struct testhost *host = flow->host;
    struct soth_token token = flow->token;
    pthread_mutex_lock(&host->lock);
    struct promise *p = find(host, token);
    bool waited = p && p->state == TOKEN_GIVEN;
    if (p)
        over(flow, p);
    pthread_mutex_unlock(&host->lock);
    if (waited) /* one that was resumed at the last moment is just not called again */
        cancel(host, token);
}

void th_token_unused(struct flow *flow)
{
    if (!flow->token.pause)
        return;
    pthread_mutex_lock(&flow->host->lock);
    struct promise *p = find(flow->host, flow->token);
    if (p)
        over(flow, p);
    pthread_mutex_unlock(&flow->host->lock);
}
