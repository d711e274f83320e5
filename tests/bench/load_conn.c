/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One connection of the load generator: dial, CONNECT, TLS, then request after request. Bytes of the answer are counted
 * and dropped. It understands exactly what the bench's origin sends: HTTP/1.1 with a Content-Length.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WAIT = -1, LOST = -2 };

static char slab[256 * 1024];

static void arm(struct load *l, struct load_conn *c, bool write)
{
    struct epoll_event e = {.events = write ? EPOLLOUT : EPOLLIN, .data.ptr = c};

    if (c->wants_write == write)
        return;
    c->wants_write = write;
    epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &e);
}

static void fail(struct load *l, const char *what, const char *detail)
{
    l->errors++;
    if (!l->fault[0])
        snprintf(l->fault, sizeof l->fault, "%s: %.100s", what, detail);
}

void load_conn_open(struct load *l, struct load_conn *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)l->opt.port)};
    struct epoll_event e = {.events = EPOLLOUT, .data.ptr = c};
    int one = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || inet_pton(AF_INET, l->opt.host, &to.sin_addr) != 1) {
        fprintf(stderr, "load: socket: %s\n", strerror(errno));
        exit(1);
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->state = LOAD_DIAL;
    c->began = load_now();
    c->head_len = 0;
    c->wants_write = true;
    l->busy++;
    epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
        load_gone(l, c, strerror(errno));
}

void load_conn_close(struct load *l, struct load_conn *c)
{
    if (c->state == LOAD_CLOSED)
        return;
    if (c->state != LOAD_IDLE)
        l->busy--;
    if (c->ssl) {
        SSL_shutdown(c->ssl);
        SSL_free(c->ssl);
        c->ssl = NULL;
    }
    close(c->fd);
    c->state = LOAD_CLOSED;
}

/* A slow reader: the thread sleeps as long as the bytes would have taken. */
static void dawdle(double bytes, double rate)
{
    double seconds = bytes / rate;
    struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};

    nanosleep(&t, NULL);
}

/* Bytes read, WAIT, or LOST. */
static ssize_t pull(struct load_conn *c, char *into, size_t room)
{
    if (c->ssl) {
        int n = SSL_read(c->ssl, into, (int)room);
        if (n > 0)
            return n;
        return SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ ? WAIT : LOST;
    }
    ssize_t n = recv(c->fd, into, room, 0);
    if (n > 0)
        return n;
    return n < 0 && errno == EAGAIN ? WAIT : LOST;
}

static void now_idle(struct load *l, struct load_conn *c, bool first)
{
    c->state = LOAD_IDLE;
    c->head_len = 0;
    c->in_body = false;
    l->busy--;
    load_idle(l, c, first);
}

static void start_tls(struct load *l, struct load_conn *c)
{
    c->head_len = 0;
    if (!l->tls) {
        now_idle(l, c, true);
        return;
    }
    c->state = LOAD_TLS;
    c->ssl = SSL_new(l->tls);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_tlsext_host_name(c->ssl, l->opt.sni);
    SSL_set1_host(c->ssl, l->opt.sni);
    load_conn_event(l, c);
}

static void on_dialled(struct load *l, struct load_conn *c)
{
    int fault = 0;
    socklen_t size = sizeof fault;

    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &fault, &size);
    if (fault) {
        load_gone(l, c, strerror(fault));
        return;
    }
    arm(l, c, false);
    if (!l->connect_len) {
        start_tls(l, c);
        return;
    }
    c->state = LOAD_CONNECT;
    if (send(c->fd, l->connect, l->connect_len, MSG_NOSIGNAL) != (ssize_t)l->connect_len)
        load_gone(l, c, "CONNECT not sent");
}

/* Appends to the head; the offset behind the empty line, 0 while it is incomplete, LOST when it cannot be right. */
static ssize_t take_head(struct load_conn *c, const char *bytes, size_t n)
{
    size_t had = c->head_len, room = sizeof c->head - 1 - had;
    size_t part = n < room ? n : room;
    char *end;

    memcpy(c->head + had, bytes, part);
    c->head_len += part;
    c->head[c->head_len] = 0;
    end = strstr(c->head, "\r\n\r\n");
    if (!end)
        return part < n ? LOST : 0;
    end[2] = 0;
    return end + 4 - c->head - (ssize_t)had;
}

static void on_connect_reply(struct load *l, struct load_conn *c)
{
    char bytes[2048];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);

    if (n < 0 && errno == EAGAIN)
        return;
    ssize_t used = n > 0 ? take_head(c, bytes, (size_t)n) : LOST;
    if (used == 0)
        return;
    if (used < 0 || strncmp(c->head + 8, " 200", 4) != 0) {
        load_gone(l, c, n > 0 ? c->head : "closed in CONNECT");
        return;
    }
    start_tls(l, c);
}

static void on_handshake(struct load *l, struct load_conn *c)
{
    int n = SSL_connect(c->ssl);

    if (n == 1) {
        arm(l, c, false);
        now_idle(l, c, true);
        return;
    }
    switch (SSL_get_error(c->ssl, n)) {
    case SSL_ERROR_WANT_READ:
        arm(l, c, false);
        break;
    case SSL_ERROR_WANT_WRITE:
        arm(l, c, true);
        break;
    default: {
        char text[120];
        ERR_error_string_n(ERR_get_error(), text, sizeof text);
        load_gone(l, c, text);
    }
    }
}

void load_conn_request(struct load *l, struct load_conn *c, uint64_t began)
{
    int n;

    c->began = began;
    c->state = LOAD_ANSWER;
    l->busy++;
    if (c->ssl)
        n = SSL_write(c->ssl, l->request, (int)l->request_len);
    else
        n = (int)send(c->fd, l->request, l->request_len, MSG_NOSIGNAL);
    if (n != (int)l->request_len)
        load_gone(l, c, "request not sent");
}

/* Reads the status line and the length; false when the answer is not one that the bench expects. */
static bool begin_body(struct load *l, struct load_conn *c)
{
    const char *length = strcasestr(c->head, "\r\nContent-Length:");

    if (strncmp(c->head + 8, " 200", 4) != 0 || !length) {
        c->head[strcspn(c->head, "\r\n")] = 0;
        fail(l, "answer", c->head);
        return false;
    }
    c->body_left = strtoull(length + 17, NULL, 10);
    c->in_body = true;
    return true;
}

static void completed(struct load *l, struct load_conn *c)
{
    if (l->measured) {
        l->requests++;
        load_hist_add(&l->hist, load_now() - c->began);
    }
    now_idle(l, c, false);
}

static void on_answer(struct load *l, struct load_conn *c)
{
    while (c->state == LOAD_ANSWER) {
        char *at = slab;
        ssize_t n = pull(c, slab, sizeof slab);

        if (n == WAIT)
            return;
        if (n < 0) {
            load_gone(l, c, "closed in an answer");
            return;
        }
        if (l->opt.slow > 0)
            dawdle((double)n, l->opt.slow);
        if (l->measured)
            l->bytes += (uint64_t)n;
        if (!c->in_body) {
            ssize_t used = take_head(c, at, (size_t)n);
            if (used == 0)
                continue;
            if (used < 0 || !begin_body(l, c)) {
                load_gone(l, c, "not an answer");
                return;
            }
            at += used;
            n -= used;
        }
        c->body_left -= (uint64_t)n < c->body_left ? (uint64_t)n : c->body_left;
        if (!c->body_left) {
            completed(l, c);
            if (!c->ssl || !SSL_has_pending(c->ssl))
                return; /* spares a read that would only say "not yet" */
        }
    }
}

/* Tickets after the handshake are read and dropped; an end is noted. */
static void on_idle_bytes(struct load *l, struct load_conn *c)
{
    if (pull(c, slab, sizeof slab) == LOST)
        load_gone(l, c, NULL);
}

void load_conn_event(struct load *l, struct load_conn *c)
{
    switch (c->state) {
    case LOAD_DIAL:
        on_dialled(l, c);
        break;
    case LOAD_CONNECT:
        on_connect_reply(l, c);
        break;
    case LOAD_TLS:
        on_handshake(l, c);
        break;
    case LOAD_ANSWER:
        on_answer(l, c);
        break;
    case LOAD_IDLE:
        on_idle_bytes(l, c);
        break;
    case LOAD_CLOSED:
        break;
    }
}

void load_gone(struct load *l, struct load_conn *c, const char *why)
{
    if (why)
        fail(l, "connection lost", why);
    else
        l->lost++;
    load_conn_close(l, c);
    if (l->errors > 1000) {
        fprintf(stderr, "load: too many errors, the first: %s\n", l->fault);
        exit(1);
    }
    if (l->running)
        load_conn_open(l, c);
}
