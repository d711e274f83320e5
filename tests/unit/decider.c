/* SPDX-License-Identifier: MPL-2.0 */
/* One thread, one poll loop: connections are read until a whole question is there, then the answer is written. */
#include "decider.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MOST 512

struct peer {
    int fd;
    char in[8192];
    size_t n;
    int asked; /* a whole question is there */
};

struct decider {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int listener, pipe[2];
    char url[160], answer[200000], last[8192];
    size_t answer_n;
    int then_close, holds, hangs_up, dies, ends;
    unsigned connections, questions, open;
    struct peer *peers[MOST];
};

/* ---- the thread (lock held, but for poll) ---- */

static void part(struct decider *d, unsigned i)
{
    close(d->peers[i]->fd);
    free(d->peers[i]);
    d->peers[i] = d->peers[--d->open];
    pthread_cond_broadcast(&d->changed);
}

static void part_all(struct decider *d)
{
    while (d->open > 0)
        part(d, d->open - 1);
}

static void take_peer(struct decider *d)
{
    int fd = accept(d->listener, NULL, NULL);
    struct peer *peer = fd < 0 || d->open == MOST ? NULL : calloc(1, sizeof *peer);
    if (!peer) {
        if (fd >= 0)
            close(fd);
        return;
    }
    peer->fd = fd;
    d->peers[d->open++] = peer;
    d->connections++;
    pthread_cond_broadcast(&d->changed);
}

/* The length of the question that is there, 0: not whole yet. */
static size_t question_size(const struct peer *peer)
{
    const char *end = memmem(peer->in, peer->n, "\r\n\r\n", 4);
    const char *length = end ? strcasestr(peer->in, "Content-Length:") : NULL;
    if (!length)
        return 0;
    size_t size = (size_t)(end + 4 - peer->in) + strtoul(length + strlen("Content-Length:"), NULL, 10);
    return peer->n >= size ? size : 0;
}

/* false: the connection is over. */
static int hear(struct decider *d, struct peer *peer)
{
    ssize_t n = recv(peer->fd, peer->in + peer->n, sizeof peer->in - 1 - peer->n, MSG_DONTWAIT);
    if (n <= 0)
        return 0;
    peer->n += (size_t)n;
    peer->in[peer->n] = 0;
    if (!question_size(peer))
        return 1;
    peer->asked = 1;
    d->questions++;
    memcpy(d->last, peer->in, sizeof d->last);
    pthread_cond_broadcast(&d->changed);
    return 1;
}

static int answer(struct decider *d, struct peer *peer)
{
    size_t sent = 0;
    while (sent < d->answer_n) {
        ssize_t n = send(peer->fd, d->answer + sent, d->answer_n - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return 0;
        sent += (size_t)n;
    }
    peer->asked = 0;
    peer->n = 0;
    return !d->then_close;
}

/* 0: the end. */
static int turn(struct decider *d, const struct pollfd *polled, unsigned n)
{
    char byte[16];
    if (polled[0].revents && read(d->pipe[0], byte, sizeof byte) < 0)
        return 0;
    if (d->dies && d->listener >= 0) {
        close(d->listener);
        d->listener = -1;
    }
    if (d->dies || d->hangs_up || d->ends)
        part_all(d);
    d->hangs_up = 0;
    if (d->ends)
        return 0;
    for (unsigned i = d->open < n ? d->open : n; i-- > 0;) {
        struct peer *peer = d->peers[i];
        if ((polled[i + 2].revents && polled[i + 2].fd == peer->fd && !hear(d, peer)) || (peer->asked && !d->holds && !answer(d, peer)))
            part(d, i);
    }
    if (polled[1].revents & POLLIN && d->listener >= 0)
        take_peer(d);
    pthread_cond_broadcast(&d->changed);
    return 1;
}

static void *run(void *arg)
{
    struct decider *d = arg;
    struct pollfd polled[MOST + 2];
    int goes_on = 1;
    while (goes_on) {
        pthread_mutex_lock(&d->lock);
        unsigned n = d->open;
        polled[0] = (struct pollfd){.fd = d->pipe[0], .events = POLLIN};
        polled[1] = (struct pollfd){.fd = d->listener, .events = POLLIN};
        for (unsigned i = 0; i < n; i++)
            polled[i + 2] = (struct pollfd){.fd = d->peers[i]->fd, .events = POLLIN};
        pthread_mutex_unlock(&d->lock);
        poll(polled, n + 2, -1);
        pthread_mutex_lock(&d->lock);
        goes_on = turn(d, polled, n);
        pthread_mutex_unlock(&d->lock);
    }
    return NULL;
}

/* ---- from outside ---- */

static void tell(struct decider *d, int *what, int value)
{
    pthread_mutex_lock(&d->lock);
    *what = value;
    pthread_mutex_unlock(&d->lock);
    if (write(d->pipe[1], "x", 1) < 0)
        abort();
}

static int listen_unix(struct decider *d, const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
    unlink(path);
    d->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(d->url, sizeof d->url, "unix:%s", path);
    return bind(d->listener, (struct sockaddr *)&addr, sizeof addr) == 0;
}

static int listen_tcp(struct decider *d)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    d->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(d->listener, (struct sockaddr *)&addr, sizeof addr) != 0 || getsockname(d->listener, (struct sockaddr *)&addr, &len) != 0)
        return 0;
    snprintf(d->url, sizeof d->url, "http://127.0.0.1:%u/decide", ntohs(addr.sin_port));
    return 1;
}

struct decider *decider_new(const char *path)
{
    struct decider *d = calloc(1, sizeof *d);
    if (!d || pipe(d->pipe) != 0 || !(path ? listen_unix(d, path) : listen_tcp(d)) || listen(d->listener, MOST) != 0)
        abort();
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
    decider_says(d, "{\"action\":\"allow\"}");
    if (pthread_create(&d->thread, NULL, run, d) != 0)
        abort();
    return d;
}

void decider_free(struct decider *d)
{
    tell(d, &d->ends, 1);
    pthread_join(d->thread, NULL);
    if (d->listener >= 0)
        close(d->listener);
    close(d->pipe[0]);
    close(d->pipe[1]);
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->changed);
    free(d);
}

const char *decider_url(const struct decider *d)
{
    return d->url;
}

void decider_says_raw(struct decider *d, const char *bytes, int then_close)
{
    pthread_mutex_lock(&d->lock);
    snprintf(d->answer, sizeof d->answer, "%s", bytes);
    d->answer_n = strlen(d->answer);
    d->then_close = then_close;
    pthread_mutex_unlock(&d->lock);
}

void decider_says(struct decider *d, const char *body)
{
    char raw[4096];
    snprintf(raw, sizeof raw, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
    decider_says_raw(d, raw, 0);
}

void decider_holds(struct decider *d, int on)
{
    tell(d, &d->holds, on);
}

void decider_hangs_up(struct decider *d)
{
    tell(d, &d->hangs_up, 1);
}

void decider_dies(struct decider *d)
{
    tell(d, &d->dies, 1);
    pthread_mutex_lock(&d->lock);
    while (d->listener >= 0)
        pthread_cond_wait(&d->changed, &d->lock);
    pthread_mutex_unlock(&d->lock);
}

static unsigned get(struct decider *d, const unsigned *what)
{
    pthread_mutex_lock(&d->lock);
    unsigned value = *what;
    pthread_mutex_unlock(&d->lock);
    return value;
}

unsigned decider_connections(struct decider *d)
{
    return get(d, &d->connections);
}

unsigned decider_questions(struct decider *d)
{
    return get(d, &d->questions);
}

/* Until *what is at least n, or, with `exactly`, n. */
static void wait_for(struct decider *d, const unsigned *what, unsigned n, int exactly)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 60;
    pthread_mutex_lock(&d->lock);
    while (exactly ? *what != n : *what < n)
        if (pthread_cond_timedwait(&d->changed, &d->lock, &end) != 0)
            abort();
    pthread_mutex_unlock(&d->lock);
}

void decider_wait_questions(struct decider *d, unsigned n)
{
    wait_for(d, &d->questions, n, 0);
}

void decider_wait_open(struct decider *d, unsigned n)
{
    wait_for(d, &d->open, n, 1);
}

char *decider_last(struct decider *d)
{
    pthread_mutex_lock(&d->lock);
    char *copy = strdup(d->last);
    pthread_mutex_unlock(&d->lock);
    return copy;
}
