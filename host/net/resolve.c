/* SPDX-License-Identifier: MPL-2.0 */
/* See resolve.h. */
#include "host/net/resolve.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/net/resolve_ares.h"

#define CACHE_SLOTS 1024u
#define MAX_SOCKETS 16
#define ALONE_MS 250u /* some servers never answer AAAA: then A is asked alone */

struct lookup { /* somebody who waits */
    struct lookup *next;
    struct query *query;
    resolve_done *done;
    void *arg;
};

struct query {
    struct query *next;
    struct resolver *resolver;
    struct lookup *waiting;
    struct event deadline, alone;
    unsigned asked; /* questions that c-ares still has */
    bool settled;   /* all who waited were told */
    char name[];
};

struct cached {
    char *name;
    uint64_t until_ms;
    struct resolve_result result;
};

struct socket {
    struct resolver *resolver;
    ares_socket_t fd; /* ARES_SOCKET_BAD: free */
    struct event *event;
};

struct resolver {
    struct event_base *base;
    ares_channel channel;
    bool channel_made;
    uint64_t timeout_ms, ttl_ms;
    struct event timer;
    struct query *queries;
    struct socket sockets[MAX_SOCKETS];
    struct cached cache[CACHE_SLOTS];
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

const char *resolve_library_version(void)
{
    return ares_version(NULL);
}

/* ---- cache ---- */

static struct cached *slot(struct resolver *r, const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    return &r->cache[hash % CACHE_SLOTS];
}

static const struct resolve_result *cache_get(struct resolver *r, const char *name)
{
    struct cached *c = slot(r, name);
    return c->name && strcmp(c->name, name) == 0 && now_ms() < c->until_ms ? &c->result : NULL;
}

static void cache_put(struct resolver *r, const char *name, const struct resolve_result *result, uint64_t ttl_ms)
{
    struct cached *c = slot(r, name);
    uint64_t keep = ttl_ms < r->ttl_ms ? ttl_ms : r->ttl_ms;
    char *copy = keep > 0 && result->count > 0 ? strdup(name) : NULL;
    if (!copy)
        return;
    free(c->name);
    *c = (struct cached){copy, now_ms() + keep, *result};
}

/* ---- answers ---- */

static void query_unlink(struct query *q)
{
    for (struct query **at = &q->resolver->queries; *at; at = &(*at)->next)
        if (*at == q) {
            *at = q->next;
            return;
        }
}

/* Tells all who wait. A callback may open or cancel look-ups: each is taken off before it is told. */
static void tell(struct query *q, const struct resolve_result *result)
{
    while (q->waiting) {
        struct lookup *l = q->waiting;
        q->waiting = l->next;
        resolve_done *done = l->done;
        void *arg = l->arg;
        free(l);
        done(arg, result);
    }
}

static void settle(struct query *q)
{
    if (q->settled)
        return;
    q->settled = true;
    event_del(&q->deadline);
    event_del(&q->alone);
    query_unlink(q);
}

static void answered(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct query *q = arg;
    struct resolve_result result = {.status = RESOLVE_OK};
    (void)timeouts;
    q->asked--;
    uint64_t ttl = info ? dns_collect(info, &result) : 0;
    bool more = result.count == 0 && q->asked > 0 && status != ARES_EDESTRUCTION;
    if (q->settled || more || status == ARES_EDESTRUCTION) {
        if (!more)
            settle(q);
        ares_freeaddrinfo(info);
        if (q->asked == 0)
            free(q);
        return;
    }
    settle(q);
    if (result.count == 0) {
        result.status = status == ARES_ETIMEOUT ? RESOLVE_TIMEOUT : RESOLVE_ERROR;
        result.detail = status == ARES_ETIMEOUT ? "dns:timeout" : status == ARES_SUCCESS ? "dns:NODATA" : dns_error_word(status);
    } else {
        cache_put(q->resolver, q->name, &result, ttl);
    }
    ares_freeaddrinfo(info);
    tell(q, &result);
    if (q->asked == 0)
        free(q);
}

static void ask(struct query *q, int family)
{
    struct ares_addrinfo_hints hints = {.ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = ARES_AI_NOSORT};
    q->asked++;
    ares_getaddrinfo(q->resolver->channel, q->name, NULL, &hints, answered, q); /* may answer at once, and then q may be gone */
}

static void too_late(evutil_socket_t fd, short what, void *arg)
{
    struct query *q = arg;
    const struct resolve_result result = {.status = RESOLVE_TIMEOUT, .detail = "dns:timeout"};
    (void)fd;
    (void)what;
    settle(q);
    tell(q, &result);
}

/* ---- c-ares on libevent ---- */

static void set_timer(struct resolver *r)
{
    struct timeval tv;
    if (ares_timeout(r->channel, NULL, &tv))
        evtimer_add(&r->timer, &tv);
    else
        evtimer_del(&r->timer);
}

static void ask_alone(evutil_socket_t fd, short what, void *arg)
{
    struct query *q = arg;
    struct resolver *r = q->resolver;
    (void)fd;
    (void)what;
    ask(q, AF_INET);
    set_timer(r);
}

static void timer_fired(evutil_socket_t fd, short what, void *arg)
{
    struct resolver *r = arg;
    (void)fd;
    (void)what;
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timer(r);
}

static void socket_ready(evutil_socket_t fd, short what, void *arg)
{
    struct resolver *r = ((struct socket *)arg)->resolver;
    ares_process_fd(r->channel, what & EV_READ ? fd : ARES_SOCKET_BAD, what & EV_WRITE ? fd : ARES_SOCKET_BAD);
    set_timer(r);
}

static struct socket *find_socket(struct resolver *r, ares_socket_t fd)
{
    for (size_t i = 0; i < MAX_SOCKETS; i++)
        if (r->sockets[i].fd == fd)
            return &r->sockets[i];
    return NULL;
}

static void socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct resolver *r = arg;
    struct socket *s = find_socket(r, fd);
    if (s && s->event) {
        event_free(s->event);
        s->event = NULL;
    }
    if (!readable && !writable) {
        if (s)
            s->fd = ARES_SOCKET_BAD;
        return;
    }
    if (!s && !(s = find_socket(r, ARES_SOCKET_BAD)))
        return; /* more sockets than servers: the query times out */
    s->fd = fd;
    s->event = event_new(r->base, fd, (short)(EV_PERSIST | (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0)), socket_ready, s);
    if (s->event)
        event_add(s->event, NULL);
}

struct resolver *resolver_new(struct event_base *base, const struct settings *settings)
{
    struct resolver *r = calloc(1, sizeof *r);
    if (!r || ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
        free(r);
        return NULL;
    }
    r->base = base;
    r->timeout_ms = settings->resolver_timeout;
    r->ttl_ms = settings->resolver_cache_ttl;
    for (size_t i = 0; i < MAX_SOCKETS; i++)
        r->sockets[i] = (struct socket){r, ARES_SOCKET_BAD, NULL};
    evtimer_assign(&r->timer, base, timer_fired, r);
    r->channel_made = dns_channel_open(&r->channel, settings, socket_state, r);
    if (!r->channel_made) {
        resolver_free(r);
        return NULL;
    }
    return r;
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    if (r->channel_made)
        ares_destroy(r->channel);
    event_del(&r->timer);
    for (size_t i = 0; i < CACHE_SLOTS; i++)
        free(r->cache[i].name);
    ares_library_cleanup();
    free(r);
}

/* ---- asking ---- */

static struct query *find_query(struct resolver *r, const char *host)
{
    for (struct query *q = r->queries; q; q = q->next)
        if (strcmp(q->name, host) == 0)
            return q;
    return NULL;
}

static struct query *new_query(struct resolver *r, const char *host)
{
    struct query *q = calloc(1, sizeof *q + strlen(host) + 1);
    struct timeval in = {(time_t)(r->timeout_ms / 1000), (suseconds_t)(r->timeout_ms % 1000 * 1000)};
    if (!q)
        return NULL;
    strcpy(q->name, host);
    q->resolver = r;
    q->next = r->queries;
    r->queries = q;
    evtimer_assign(&q->deadline, r->base, too_late, q);
    evtimer_add(&q->deadline, &in);
    struct timeval soon = {0, (suseconds_t)((r->timeout_ms < 2 * ALONE_MS ? r->timeout_ms / 2 : ALONE_MS) * 1000)};
    evtimer_assign(&q->alone, r->base, ask_alone, q);
    evtimer_add(&q->alone, &soon);
    return q;
}

/* RFC 6761 6.3: localhost and what is below it are this machine, whoever is asked. */
static bool is_localhost(const char *host)
{
    static const char name[] = "localhost";
    size_t n = strlen(host), m = sizeof name - 1;
    return n >= m && strcmp(host + n - m, name) == 0 && (n == m || host[n - m - 1] == '.');
}

static const struct resolve_result loopback = {
    .status = RESOLVE_OK,
    .addrs = {{.family = 6, .bytes = {[15] = 1}}, {.family = 4, .bytes = {127, 0, 0, 1}}},
    .count = 2,
};

struct lookup *resolve_open(struct resolver *r, const char *host, resolve_done *done, void *arg, int *failed)
{
    const struct resolve_result *known = is_localhost(host) ? &loopback : cache_get(r, host);
    *failed = 0;
    if (known) {
        done(arg, known);
        return NULL;
    }
    struct lookup *l = calloc(1, sizeof *l);
    struct query *q = l ? find_query(r, host) : NULL;
    bool fresh = l && !q;
    if (fresh)
        q = new_query(r, host);
    if (!q) {
        free(l);
        *failed = 1;
        return NULL;
    }
    *l = (struct lookup){q->waiting, q, done, arg};
    q->waiting = l;
    if (!fresh)
        return l;
    ask(q, AF_UNSPEC);
    set_timer(r);
    struct query *still = find_query(r, host);
    return still == q ? l : NULL;
}

void resolve_cancel(struct lookup *l)
{
    struct query *q = l->query;
    for (struct lookup **at = &q->waiting; *at; at = &(*at)->next)
        if (*at == l) {
            *at = l->next;
            break;
        }
    free(l); /* the query goes on: its answer is worth keeping */
}
