/* SPDX-License-Identifier: MPL-2.0 */
/*
 * See service.h. The loop takes new jobs, gives each a connection that rests or a new one, steps those that poll names and ends what is
 * past its deadline. Everything but `incoming` and `stop` belongs to the thread.
 */
#include "service.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "conn.h"
#include "resolver.h"
#include "thread.h"

#define NS_A_MS UINT64_C(1000000)
#define REST_MOST_NS (30000 * NS_A_MS)      /* a connection that is not used so long is closed */
#define ADDRESSES_GOOD_NS (30000 * NS_A_MS) /* then the name is looked up again */
#define LATER_NS (10 * NS_A_MS)

struct service {
    struct url url;
    struct service_calls calls;
    pthread_t thread;
    int wake;
    pthread_mutex_t lock;
    struct job *incoming, **incoming_end;
    int stop;
    /* the thread's */
    struct job *waiting; /* for addresses, or for a moment */
    struct conn **conns;
    size_t conn_count, conn_room;
    struct pollfd *polled; /* room for all of them and one more */
    struct resolver *resolver;
    struct addresses addresses;
    unsigned good; /* the address that worked last */
    uint64_t addresses_until_ns;
    uint64_t now_ns;
    char fault[256];
};

/* ---- jobs ---- */

static void finish(struct service *s, struct job *job, enum outcome outcome, struct soth_span body, const char *fault)
{
    s->calls.finished(s->calls.arg, job, outcome, body, fault);
}

static void fail(struct service *s, struct job *job, const char *fault)
{
    finish(s, job, OUTCOME_ERROR, (struct soth_span){NULL, 0}, fault);
}

static int is_over(const struct service *s, struct job *job, enum outcome *outcome)
{
    *outcome = atomic_load(&job->abandoned) ? OUTCOME_ABANDONED : OUTCOME_TIMEOUT;
    return *outcome == OUTCOME_ABANDONED || s->now_ns >= atomic_load(&job->deadline_ns);
}

static void park(struct service *s, struct job *job)
{
    job->next = s->waiting;
    s->waiting = job;
}

static char *request_of(const struct service *s, const struct job *job, size_t *n)
{
    char *text = NULL;
    int size = asprintf(&text, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: soth-mitm\r\nAccept: application/json\r\n"
                               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%.*s",
                        s->url.path, s->url.authority, job->body_n, (int)job->body_n, job->body);
    *n = size < 0 ? 0 : (size_t)size;
    return size < 0 ? NULL : text;
}

/* ---- connections ---- */

static int make_room(struct service *s)
{
    if (s->conn_count < s->conn_room)
        return 1;
    size_t room = s->conn_room ? s->conn_room * 2 : 16;
    struct conn **conns = realloc(s->conns, room * sizeof *conns);
    if (conns)
        s->conns = conns;
    struct pollfd *polled = realloc(s->polled, (room + 1) * sizeof *polled);
    if (polled)
        s->polled = polled;
    if (conns && polled)
        s->conn_room = room;
    return conns && polled;
}

static void drop(struct service *s, size_t i)
{
    conn_free(s->conns[i]);
    s->conns[i] = s->conns[--s->conn_count];
}

/* The one that was used last rests least long: the others may time out. */
static struct conn *resting(const struct service *s)
{
    struct conn *best = NULL;
    for (size_t i = 0; i < s->conn_count; i++)
        if (s->conns[i]->state == CONN_IDLE && (!best || s->conns[i]->idle_since_ns > best->idle_since_ns))
            best = s->conns[i];
    return best;
}

static struct conn *connect_to(struct service *s, unsigned address)
{
    if (!make_room(s))
        return NULL;
    struct conn *conn = conn_new((const struct sockaddr *)&s->addresses.v[address].addr, s->addresses.v[address].len);
    if (!conn)
        return NULL;
    conn->address = address;
    s->conns[s->conn_count++] = conn;
    return conn;
}

/* 1: there are addresses; 0: they are on their way; negative: the name has none. Old ones do while new ones are looked up. */
static int has_addresses(struct service *s)
{
    if (s->resolver && s->now_ns >= s->addresses_until_ns && resolver_start(s->resolver) < 0)
        return -SOTH_ENOMEM;
    return s->addresses.n > 0;
}

static void start(struct service *s, struct job *job)
{
    enum outcome outcome;
    size_t n;
    if (is_over(s, job, &outcome)) {
        finish(s, job, outcome, (struct soth_span){NULL, 0}, NULL);
        return;
    }
    struct conn *conn = job->retried ? NULL : resting(s);
    int known = conn ? 1 : has_addresses(s);
    if (known == 0) {
        park(s, job);
        return;
    }
    char *request = known > 0 ? request_of(s, job, &n) : NULL;
    if (!conn && request)
        conn = connect_to(s, s->good);
    if (!conn || !request) {
        free(request);
        fail(s, job, "out of memory or descriptors");
        return;
    }
    conn_send(conn, job, request, n);
}

/* What came instead of an answer. The connection is gone afterwards; the job may go on on another one. */
static void not_answered(struct service *s, size_t i, enum conn_event event)
{
    struct conn *conn = s->conns[i];
    struct job *job = conn->job;
    if (event == CONN_REFUSED)
        s->good = (conn->address + 1) % s->addresses.n;
    snprintf(s->fault, sizeof s->fault, "%s%s", event == CONN_REFUSED ? "cannot connect: " : "", conn->fault ? conn->fault : "");
    drop(s, i);
    if (!job)
        return;
    job->retried |= event == CONN_STALE;
    if (event == CONN_LATER)
        park(s, job);
    else if (event == CONN_STALE || (event == CONN_REFUSED && ++job->tried < s->addresses.n))
        start(s, job);
    else
        fail(s, job, s->fault);
}

static void answered(struct service *s, size_t i)
{
    struct conn *conn = s->conns[i];
    struct soth_span body = {conn->reply.body, conn->reply.body_n};
    finish(s, conn->job, OUTCOME_OK, body, NULL);
    if (!conn_rest(conn, s->now_ns))
        drop(s, i);
}

/* ---- the loop ---- */

static void take_addresses(struct service *s)
{
    const char *why;
    int r = s->resolver ? resolver_take(s->resolver, &s->addresses, &why) : 0;
    if (r > 0) {
        s->good = 0;
        s->addresses_until_ns = s->now_ns + ADDRESSES_GOOD_NS;
    }
    if (r >= 0 || s->addresses.n > 0)
        return;
    snprintf(s->fault, sizeof s->fault, "its name does not resolve: %s", why);
    while (s->waiting) {
        struct job *job = s->waiting;
        s->waiting = job->next;
        fail(s, job, s->fault);
    }
}

/* false: the end. */
static int take_jobs(struct service *s)
{
    struct job *list, *again = s->waiting;
    pthread_mutex_lock(&s->lock);
    list = s->incoming;
    s->incoming = NULL;
    s->incoming_end = &s->incoming;
    int stop = s->stop;
    pthread_mutex_unlock(&s->lock);
    s->waiting = NULL;
    for (struct job *job = again, *next; job; job = next) {
        next = job->next;
        start(s, job);
    }
    for (struct job *job = list, *next; job; job = next) {
        next = job->next;
        start(s, job);
    }
    return !stop;
}

/* Jobs that are past their deadline or abandoned, connections that rested too long. */
static void end_overdue(struct service *s)
{
    enum outcome outcome = OUTCOME_TIMEOUT; /* gcc 14 does not see that is_over sets it */
    for (size_t i = s->conn_count; i-- > 0;) {
        struct conn *conn = s->conns[i];
        struct job *job = conn->job;
        if (job ? !is_over(s, job, &outcome) : s->now_ns - conn->idle_since_ns < REST_MOST_NS)
            continue;
        if (conn->state == CONN_CONNECTING)
            s->good = (conn->address + 1) % s->addresses.n;
        drop(s, i);
        if (job)
            finish(s, job, outcome, (struct soth_span){NULL, 0}, NULL);
    }
}

static int next_ms(const struct service *s)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < s->conn_count; i++) {
        const struct conn *conn = s->conns[i];
        uint64_t due = conn->job ? atomic_load(&conn->job->deadline_ns) : conn->idle_since_ns + REST_MOST_NS;
        at = due < at ? due : at;
    }
    for (const struct job *job = s->waiting; job; job = job->next) {
        uint64_t due = s->addresses.n ? s->now_ns + LATER_NS : atomic_load(&job->deadline_ns);
        at = due < at ? due : at;
    }
    if (at == UINT64_MAX)
        return -1;
    return at <= s->now_ns ? 0 : (int)((at - s->now_ns + NS_A_MS - 1) / NS_A_MS);
}

static void wait_for_events(struct service *s)
{
    s->polled[0] = (struct pollfd){.fd = s->wake, .events = POLLIN};
    for (size_t i = 0; i < s->conn_count; i++)
        s->polled[i + 1] = (struct pollfd){.fd = s->conns[i]->fd, .events = conn_wants(s->conns[i])};
    const size_t n = s->conn_count;
    int ready = poll(s->polled, n + 1, next_ms(s));
    s->now_ns = s->calls.host->monotonic_ns();
    if (ready > 0 && s->polled[0].revents) {
        eventfd_t count;
        eventfd_read(s->wake, &count);
    }
    for (size_t i = n; ready > 0 && i-- > 0;) { /* from the end: a connection that goes makes room for the last */
        if (!s->polled[i + 1].revents)
            continue;
        enum conn_event event = conn_step(s->conns[i]);
        if (event == CONN_ANSWERED)
            answered(s, i);
        else if (event != CONN_WAITS)
            not_answered(s, i, event);
    }
}

static void abandon_all(struct service *s)
{
    const struct soth_span none = {NULL, 0};
    while (s->conn_count > 0) {
        struct job *job = s->conns[s->conn_count - 1]->job;
        drop(s, s->conn_count - 1);
        if (job)
            finish(s, job, OUTCOME_ABANDONED, none, NULL);
    }
    for (struct job *job; (job = s->waiting);) {
        s->waiting = job->next;
        finish(s, job, OUTCOME_ABANDONED, none, NULL);
    }
}

static void *run(void *arg)
{
    struct service *s = arg;
    s->now_ns = s->calls.host->monotonic_ns();
    while (take_jobs(s)) {
        wait_for_events(s);
        take_addresses(s);
        end_overdue(s);
    }
    abandon_all(s);
    return NULL;
}

/* ---- from outside ---- */

static void set_unix(struct service *s)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, s->url.socket, sizeof addr.sun_path);
    memcpy(&s->addresses.v[0].addr, &addr, sizeof addr);
    s->addresses.v[0].len = sizeof addr;
    s->addresses.n = 1;
}

static void destroy(struct service *s)
{
    resolver_free(s->resolver);
    if (s->wake >= 0)
        close(s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s->conns);
    free(s->polled);
    free(s);
}

int service_open(const struct url *url, const struct service_calls *calls, struct service **out)
{
    struct service *s = calloc(1, sizeof *s);
    if (!s)
        return -SOTH_ENOMEM;
    s->url = *url;
    s->calls = *calls;
    s->incoming_end = &s->incoming;
    pthread_mutex_init(&s->lock, NULL);
    s->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int r = s->wake < 0 ? -SOTH_EIO : make_room(s) ? SOTH_OK : -SOTH_ENOMEM;
    if (url->socket[0])
        set_unix(s);
    else if (r == SOTH_OK && !resolver_literal(url->host, url->port, &s->addresses) &&
             !(s->resolver = resolver_new(url->host, url->port, s->wake)))
        r = -SOTH_ENOMEM;
    if (r == SOTH_OK)
        r = thread_start(&s->thread, run, s);
    if (r == SOTH_OK)
        *out = s;
    else
        destroy(s);
    return r;
}

void service_close(struct service *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = 1;
    pthread_mutex_unlock(&s->lock);
    eventfd_write(s->wake, 1);
    pthread_join(s->thread, NULL);
    destroy(s);
}

void service_submit(struct service *s, struct job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&s->lock);
    *s->incoming_end = job;
    s->incoming_end = &job->next;
    pthread_mutex_unlock(&s->lock);
    eventfd_write(s->wake, 1);
}

void service_abandon(struct service *s, struct job *job)
{
    atomic_store(&job->abandoned, 1);
    eventfd_write(s->wake, 1);
}
