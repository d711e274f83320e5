/* SPDX-License-Identifier: MPL-2.0 */
/* See resolver.h. What the thread and its owner share dies with the later of the two. */
#include "resolver.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "thread.h"

struct resolver {
    pthread_mutex_t lock;
    char host[256], port[8];
    int wake; /* -1: the owner is gone */
    int runs, is_over, error;
    struct addresses found;
};

struct resolver *resolver_new(const char *host, uint32_t port, int wake)
{
    struct resolver *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    pthread_mutex_init(&r->lock, NULL);
    snprintf(r->host, sizeof r->host, "%s", host);
    snprintf(r->port, sizeof r->port, "%u", port);
    r->wake = wake;
    return r;
}

static void destroy(struct resolver *r)
{
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    int runs = r->runs;
    r->wake = -1;
    pthread_mutex_unlock(&r->lock);
    if (!runs)
        destroy(r);
}

static int look_up(const char *host, const char *port, int flags, struct addresses *out)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *list = NULL;
    int error = getaddrinfo(host, port, &hints, &list);
    out->n = 0;
    for (const struct addrinfo *a = list; a && out->n < RESOLVER_MOST; a = a->ai_next) {
        memcpy(&out->v[out->n].addr, a->ai_addr, a->ai_addrlen);
        out->v[out->n++].len = a->ai_addrlen;
    }
    if (list)
        freeaddrinfo(list);
    return error;
}

int resolver_literal(const char *host, uint32_t port, struct addresses *out)
{
    char text[8];
    snprintf(text, sizeof text, "%u", port);
    return look_up(host, text, AI_NUMERICHOST | AI_NUMERICSERV, out) == 0 && out->n > 0;
}

static void *run(void *arg)
{
    struct resolver *r = arg;
    struct addresses found;
    int error = look_up(r->host, r->port, AI_NUMERICSERV, &found);
    pthread_mutex_lock(&r->lock);
    r->runs = 0;
    r->is_over = 1;
    r->error = error;
    r->found = found;
    int left = r->wake < 0;
    if (!left)
        eventfd_write(r->wake, 1);
    pthread_mutex_unlock(&r->lock);
    if (left)
        destroy(r);
    return NULL;
}

static int spawn(struct resolver *r)
{
    pthread_t thread;
    int error = thread_start(&thread, run, r);
    if (error == SOTH_OK)
        pthread_detach(thread);
    return error;
}

int resolver_start(struct resolver *r)
{
    pthread_mutex_lock(&r->lock);
    int result = r->runs ? SOTH_OK : spawn(r);
    if (result == SOTH_OK)
        r->runs = 1;
    pthread_mutex_unlock(&r->lock);
    return result;
}

int resolver_take(struct resolver *r, struct addresses *out, const char **why)
{
    pthread_mutex_lock(&r->lock);
    int result = r->is_over;
    r->is_over = 0;
    if (result && (r->error || r->found.n == 0)) {
        *why = r->error ? gai_strerror(r->error) : "no addresses";
        result = -SOTH_ENOENT;
    } else if (result) {
        *out = r->found;
    }
    pthread_mutex_unlock(&r->lock);
    return result;
}
