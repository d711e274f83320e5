/* SPDX-License-Identifier: MPL-2.0 */
/* The clients: one measures how old events are when they arrive, the other how long an echo takes. Quiet points as in load.c. */
#include "stream.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

struct client {
    const struct stream_options *opt;
    SSL_CTX *tls;
    int epoll;
    bool ws, running, measured;
    struct peer *peers;
    uint64_t requests, bytes, lost;
    struct load_hist hist;
    uint8_t message[8192];
    size_t message_size;
};

static void give_up(const char *what)
{
    fprintf(stderr, "stream: %s\n", what);
    exit(1);
}

static double cpu_seconds(void)
{
    struct rusage r;

    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

/* Reads a head byte by byte, so that nothing behind it is taken. */
static void head(struct peer *p, bool tls, char *into, size_t room)
{
    size_t n = 0;

    while (n < 4 || memcmp(into + n - 4, "\r\n\r\n", 4) != 0) {
        if (n == room - 1 || (tls ? SSL_read(p->ssl, into + n, 1) : (int)recv(p->fd, into + n, 1, 0)) != 1)
            give_up("the connection ended in a head");
        n++;
    }
    into[n] = 0;
    if (strncmp(into + 8, " 200", 4) != 0 && strncmp(into + 8, " 101", 4) != 0)
        give_up(into);
}

static void enter(struct client *c, struct peer *p)
{
    const struct stream_options *o = c->opt;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 10};
    char text[4096];
    int one = 1;

    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(p->fd, (struct sockaddr *)&to, sizeof to) < 0)
        give_up("cannot connect");
    if (o->connect) {
        int n = snprintf(text, sizeof text, "CONNECT %.200s HTTP/1.1\r\nHost: %.200s\r\n\r\n", o->connect, o->connect);
        if (send(p->fd, text, (size_t)n, MSG_NOSIGNAL) != n)
            give_up("CONNECT not sent");
        head(p, false, text, sizeof text);
    }
    p->ssl = SSL_new(c->tls);
    SSL_set_fd(p->ssl, p->fd);
    SSL_set_tlsext_host_name(p->ssl, o->sni);
    if (SSL_connect(p->ssl) != 1)
        give_up("no TLS");
    int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: %.200s\r\n%s\r\n", c->ws ? "/ws" : o->idle ? "/idle" : o->gzip ? "/sse.gz" : "/sse", o->header,
                     c->ws ? "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                             "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" : "Accept: text/event-stream\r\n");
    if (!peer_send(p, text, (size_t)n))
        give_up("request not sent");
    head(p, true, text, sizeof text);
    if (o->gzip && (!(p->deflate = calloc(1, sizeof(z_stream))) || inflateInit2(p->deflate, 47) != Z_OK))
        give_up("no memory");
    peer_watch(p, c->epoll);
}

static void send_message(struct client *c, struct peer *p)
{
    p->began = moment();
    if (!peer_send(p, c->message, c->message_size))
        give_up("message not sent");
}

static void sample(struct client *c, uint64_t since)
{
    if (!c->measured)
        return;
    c->requests++;
    load_hist_add(&c->hist, moment() - since);
}

/* Text of events: every "data: NS " has the moment at which it was sent. What is not whole yet stays; how much was used. */
static size_t events_in(struct client *c, const char *text, size_t n)
{
    const char *at = text, *end = text + n, *data;

    while ((data = memmem(at, (size_t)(end - at), "data: ", 6)) && memchr(data + 6, ' ', (size_t)(end - data) - 6)) {
        sample(c, strtoull(data + 6, NULL, 10));
        at = data + 6;
    }
    return data ? (size_t)(data - text) : n > 5 ? n - 5 : 0;
}

/* The body's chunks are whole events here, and a chunk's size line is no part of the compressed bytes. */
static void inflate_chunks(struct client *c, struct peer *p)
{
    for (;;) {
        char text[16384], *line = memchr(p->bytes, '\n', p->have);
        size_t size = line ? strtoul(p->bytes, NULL, 16) : 0, start = line ? (size_t)(line + 1 - p->bytes) : 0;
        if (!line || p->have < start + size + 2)
            return;
        z_stream *z = p->deflate;
        z->next_in = (Bytef *)p->bytes + start;
        z->avail_in = (uInt)size;
        z->next_out = (Bytef *)text;
        z->avail_out = sizeof text;
        if (inflate(z, Z_SYNC_FLUSH) != Z_OK)
            give_up("not gzip");
        events_in(c, text, sizeof text - z->avail_out);
        peer_take(p, start + size + 2);
    }
}

static void echoes(struct client *c, struct peer *p)
{
    size_t head_size, whole;

    while ((whole = frame_whole((uint8_t *)p->bytes, p->have, &head_size)) > 0) {
        peer_take(p, whole);
        sample(c, p->began);
        if (c->running)
            send_message(c, p);
    }
}

static void on_bytes(struct client *c, struct peer *p)
{
    int n;

    while ((n = peer_read(p)) > 0) {
        if (c->measured)
            c->bytes += (uint64_t)n;
        if (c->ws)
            echoes(c, p);
        else if (p->deflate)
            inflate_chunks(c, p);
        else
            peer_take(p, events_in(c, p->bytes, p->have));
        if (SSL_pending(p->ssl) == 0)
            return;
    }
    if (n < 0)
        give_up("a stream ended");
}

static void run_for(struct client *c, double seconds)
{
    uint64_t end = moment() + (uint64_t)(seconds * 1e9), now;
    struct epoll_event events[64];

    c->running = true;
    for (int i = 0; c->ws && i < c->opt->connections; i++)
        send_message(c, &c->peers[i]);
    while ((now = moment()) < end + (c->ws ? 200000000u : 0)) {
        if (now >= end)
            c->running = false; /* the echoes in flight come home */
        struct timespec wait = {.tv_sec = 0, .tv_nsec = 20000000};
        int n = epoll_pwait2(c->epoll, events, 64, &wait, NULL);
        for (int i = 0; i < n; i++)
            on_bytes(c, events[i].data.ptr);
    }
    c->running = false;
}

static void wait_for_line(void)
{
    int k;

    do
        k = getchar();
    while (k != EOF && k != '\n');
    if (k == EOF)
        exit(1);
}

static void measure(struct client *c)
{
    if (!c->ws)
        run_for(c, 0.1); /* what waited in sockets meanwhile is old */
    double cpu = cpu_seconds();
    uint64_t began = moment();

    c->measured = true;
    run_for(c, c->opt->seconds);
    c->measured = false;
    printf("{\"requests\": %llu, \"bytes\": %llu, \"opened\": 0, \"lost\": 0, \"errors\": 0, \"unsent\": 0, \"seconds\": %.4f, "
           "\"load_cpu\": %.4f, \"p50_us\": %.1f, \"p95_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"fault\": \"\"}\n",
           (unsigned long long)c->requests, (unsigned long long)c->bytes, (double)(moment() - began) / 1e9, cpu_seconds() - cpu,
           load_hist_at(&c->hist, 0.5), load_hist_at(&c->hist, 0.95), load_hist_at(&c->hist, 0.99), load_hist_at(&c->hist, 0.999));
}

int consume(const struct stream_options *o, bool ws)
{
    static struct client c;
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};

    c = (struct client){.opt = o, .ws = ws, .epoll = epoll_create1(EPOLL_CLOEXEC), .tls = SSL_CTX_new(TLS_client_method())};
    c.peers = calloc((size_t)o->connections, sizeof *c.peers);
    if (!c.peers || SSL_CTX_load_verify_locations(c.tls, o->ca, NULL) != 1)
        give_up("cannot read the CA");
    SSL_CTX_set_verify(c.tls, SSL_VERIFY_PEER, NULL);
    c.message_size = frame_head(c.message, 1, (size_t)o->size, mask);
    for (int i = 0; i < o->size; i++)
        c.message[c.message_size + (size_t)i] = (uint8_t)('a' + i % 26) ^ mask[i % 4];
    c.message_size += (size_t)o->size;
    for (int i = 0; i < o->connections; i++)
        enter(&c, &c.peers[i]);
    run_for(&c, o->warmup);
    puts("ready");
    wait_for_line();
    measure(&c);
    wait_for_line();
    for (int i = 0; i < o->connections; i++) {
        SSL_shutdown(c.peers[i].ssl);
        close(c.peers[i].fd);
    }
    puts("closed");
    wait_for_line();
    return 0;
}
