/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The bench's load generator: one thread, epoll and OpenSSL. It drives every program of a scenario in the same way:
 * plain TCP or TLS 1.3, directly (a reverse proxy) or behind a CONNECT. It judges nothing; it counts and prints JSON.
 */
#ifndef LOAD_H
#define LOAD_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct load_options {
    const char *host; /* where TCP goes: an IPv4 address */
    int port;
    const char *connect; /* HOST:PORT of the CONNECT; NULL = none */
    const char *sni;     /* NULL = no TLS */
    const char *host_header;
    const char *path;
    const char *ca_file;  /* every certificate is verified against it; NULL = not verified */
    int connections;
    bool churn;           /* every request on a new connection */
    double slow;          /* bytes per second that are read at most; 0 = all; for one connection */
    double rate;          /* requests per second, by schedule; 0 = as fast as they come */
    double warmup, seconds;
};

/* Latencies in nanoseconds, log-linear with 1/128 resolution. */
struct load_hist {
    uint64_t count[64 * 128];
    uint64_t total;
};
void load_hist_add(struct load_hist *h, uint64_t ns);
/* The latency in microseconds below which `part` (0..1) of the samples lie. */
double load_hist_at(const struct load_hist *h, double part);

enum load_state { LOAD_CLOSED, LOAD_DIAL, LOAD_CONNECT, LOAD_TLS, LOAD_IDLE, LOAD_ANSWER };

struct load_conn {
    enum load_state state;
    int fd;
    bool wants_write;    /* EPOLLOUT is armed */
    SSL *ssl;
    uint64_t began;      /* ns: the intended start of the request in flight */
    size_t head_len;     /* bytes in head */
    uint64_t body_left;
    bool in_body;
    struct load_conn *next_free;
    char head[4096];
};

struct load {
    struct load_options opt;
    SSL_CTX *tls;
    int epoll;
    struct load_conn *conns;
    struct load_conn *free; /* idle connections, a stack */
    char request[1024];
    size_t request_len;
    char connect[512];
    size_t connect_len;
    bool running;  /* an idle connection starts its next request at once (or by schedule) */
    bool measured; /* what completes now is counted */
    unsigned busy; /* connections that are neither closed nor idle */
    uint64_t requests, bytes, opened, lost, errors;
    char fault[160]; /* the first error, in words */
    struct load_hist hist;
};

uint64_t load_now(void);

/* Starts the dial of a closed connection; with churn the latency counts from here. */
void load_conn_open(struct load *l, struct load_conn *c);
/* Sends the request on an idle connection. `began` is when it should have been sent. */
void load_conn_request(struct load *l, struct load_conn *c, uint64_t began);
/* Goes on with whatever epoll reported; ends in load_idle or load_gone. */
void load_conn_event(struct load *l, struct load_conn *c);
void load_conn_close(struct load *l, struct load_conn *c);

/* Called by load_conn: the connection has become idle (first = it is fresh) or was lost. */
void load_idle(struct load *l, struct load_conn *c, bool first);
void load_gone(struct load *l, struct load_conn *c, const char *why);

#endif
