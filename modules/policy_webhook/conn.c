/* SPDX-License-Identifier: MPL-2.0 */
/* See conn.h. */
#include "conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct conn *conn_new(const struct sockaddr *addr, socklen_t len)
{
    struct conn *conn = calloc(1, sizeof *conn);
    if (!conn)
        return NULL;
    conn->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0) {
        free(conn);
        return NULL;
    }
    if (addr->sa_family != AF_UNIX)
        setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    reply_init(&conn->reply);
    conn->state = CONN_CONNECTING;
    if (connect(conn->fd, addr, len) == 0)
        conn->state = CONN_SENDING;
    else if (errno == EAGAIN)
        conn->later = 1;
    else if (errno != EINPROGRESS)
        conn->fault = strerror_r(errno, conn->text, sizeof conn->text);
    return conn;
}

void conn_free(struct conn *conn)
{
    if (!conn)
        return;
    close(conn->fd);
    reply_fini(&conn->reply);
    free(conn->out);
    free(conn);
}

void conn_send(struct conn *conn, struct job *job, char *request, size_t n)
{
    conn->job = job;
    conn->out = request;
    conn->out_n = n;
    conn->sent = 0;
    conn->heard = 0;
    if (conn->state == CONN_IDLE)
        conn->state = CONN_SENDING;
}

short conn_wants(const struct conn *conn)
{
    return conn->state == CONN_CONNECTING ? POLLOUT : conn->state == CONN_SENDING ? POLLIN | POLLOUT : POLLIN;
}

static enum conn_event broken(struct conn *conn, const char *fault)
{
    conn->fault = fault;
    return conn->used && !conn->heard ? CONN_STALE : CONN_BROKEN;
}

static enum conn_event failed(struct conn *conn, int error)
{
    return broken(conn, strerror_r(error, conn->text, sizeof conn->text));
}

static enum conn_event finish_connect(struct conn *conn)
{
    int error = 0;
    socklen_t len = sizeof error;
    struct pollfd p = {.fd = conn->fd, .events = POLLOUT};
    if (conn->fault || conn->later)
        return conn->later ? CONN_LATER : CONN_REFUSED;
    if (poll(&p, 1, 0) <= 0)
        return CONN_WAITS;
    getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error) {
        conn->fault = strerror_r(error, conn->text, sizeof conn->text);
        return CONN_REFUSED;
    }
    conn->state = CONN_SENDING;
    return CONN_WAITS;
}

static enum conn_event send_more(struct conn *conn)
{
    while (conn->sent < conn->out_n) {
        ssize_t n = send(conn->fd, conn->out + conn->sent, conn->out_n - conn->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? CONN_WAITS : failed(conn, errno);
        conn->sent += (size_t)n;
    }
    conn->state = CONN_READING;
    return CONN_WAITS;
}

/* More than one answer came, or one that nobody asked for: the connection cannot be trusted for another question. */
static enum conn_event take(struct conn *conn, const char *p, size_t n)
{
    size_t used;
    conn->heard = 1;
    int r = reply_feed(&conn->reply, p, n, &used);
    if (r < 0) {
        conn->fault = conn->reply.fault;
        return CONN_BROKEN;
    }
    if (r == 1 && used < n)
        conn->reply.closes = 1;
    return r == 1 ? CONN_ANSWERED : CONN_WAITS;
}

static enum conn_event ended(struct conn *conn)
{
    if (!conn->heard)
        return broken(conn, "it ends the connection without an answer");
    if (reply_end(&conn->reply) == 1)
        return CONN_ANSWERED;
    conn->fault = conn->reply.fault;
    return CONN_BROKEN;
}

static enum conn_event read_more(struct conn *conn)
{
    char bytes[16384];
    for (;;) {
        ssize_t n = recv(conn->fd, bytes, sizeof bytes, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? CONN_WAITS : failed(conn, errno);
        enum conn_event event = n ? take(conn, bytes, (size_t)n) : ended(conn);
        if (event != CONN_WAITS)
            return event;
    }
}

enum conn_event conn_step(struct conn *conn)
{
    enum conn_event event = conn->state == CONN_CONNECTING ? finish_connect(conn) : CONN_WAITS;
    if (event == CONN_WAITS && conn->state == CONN_SENDING)
        event = send_more(conn);
    if (conn->state == CONN_IDLE) /* whatever comes now, nobody asked for */
        return CONN_BROKEN;
    if (event == CONN_STALE || event == CONN_BROKEN || conn->state == CONN_CONNECTING)
        return event;
    return read_more(conn);
}

int conn_rest(struct conn *conn, uint64_t now_ns)
{
    int keeps = !conn->reply.closes && conn->sent == conn->out_n;
    reply_fini(&conn->reply);
    free(conn->out);
    conn->out = NULL;
    conn->out_n = conn->sent = 0;
    conn->job = NULL;
    conn->used = 1;
    conn->state = CONN_IDLE;
    conn->idle_since_ns = now_ns;
    return keeps;
}
