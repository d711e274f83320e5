/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The origin. The path says what is wanted: /sse is a stream of events, /sse.gz the same compressed, /idle one that says nothing after
 * its first event, /ws an echo.
 */
#include "stream.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { MOST = 4096, EVENT_MAX = 8192 };

struct server {
    const struct stream_options *opt;
    SSL_CTX *tls;
    int epoll, listener, count;
    struct peer *peers[MOST];
};

static void leave(struct server *s, struct peer *p)
{
    for (int i = 0; i < s->count; i++)
        if (s->peers[i] == p)
            s->peers[i] = s->peers[--s->count];
    if (p->deflate)
        deflateEnd(p->deflate);
    free(p->deflate);
    SSL_free(p->ssl);
    close(p->fd);
    free(p);
}

/* One at a time, to its end: clients connect before anything is measured. */
static void enter(struct server *s)
{
    int fd = accept(s->listener, NULL, NULL), one = 1;
    struct peer *p = calloc(1, sizeof *p);
    struct timeval patience = {.tv_sec = 5};

    if (fd < 0 || !p || s->count == MOST) {
        free(p);
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    p->fd = fd;
    p->ssl = SSL_new(s->tls);
    SSL_set_fd(p->ssl, fd);
    s->peers[s->count++] = p;
    if (SSL_accept(p->ssl) != 1)
        leave(s, p);
    else
        peer_watch(p, s->epoll);
}

static void accept_key(const char *key, char out[32])
{
    char text[128];
    unsigned char digest[SHA_DIGEST_LENGTH];

    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    SHA1((unsigned char *)text, strlen(text), digest);
    EVP_EncodeBlock((unsigned char *)out, digest, sizeof digest);
}

static bool answer(struct peer *p, const char *head)
{
    char reply[512], key[32];
    const char *sent = strcasestr(head, "\r\nSec-WebSocket-Key: ");

    if (sent) {
        accept_key(sent + 21, key);
        snprintf(reply, sizeof reply, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                      "Sec-WebSocket-Accept: %s\r\n\r\n", key);
        p->echoes = true;
        return peer_send(p, reply, strlen(reply));
    }
    if (strncmp(head, "GET /sse.gz ", 12) == 0) {
        z_stream *z = calloc(1, sizeof *z);
        if (!z || deflateInit2(z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK)
            return false;
        p->deflate = z;
    }
    p->streams = true;
    p->silent = strncmp(head, "GET /idle ", 10) == 0;
    snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n%sTransfer-Encoding: chunked\r\n\r\n",
             p->deflate ? "Content-Encoding: gzip\r\n" : "");
    return peer_send(p, reply, strlen(reply));
}

static bool echo(struct peer *p)
{
    size_t head, whole;

    while ((whole = frame_whole((uint8_t *)p->bytes, p->have, &head)) > 0) {
        uint8_t out[16384], *mask = (uint8_t *)p->bytes + head - 4;
        size_t n = whole - head, at = frame_head(out, (unsigned)p->bytes[0] & 15, n, NULL);
        if (at + n > sizeof out)
            return false;
        for (size_t i = 0; i < n; i++)
            out[at + i] = (uint8_t)p->bytes[head + i] ^ mask[i % 4];
        if (!peer_send(p, out, at + n))
            return false;
        peer_take(p, whole);
    }
    return true;
}

static void on_bytes(struct server *s, struct peer *p)
{
    int n;
    bool well = true;

    while ((n = peer_read(p)) > 0 && well) {
        if (p->echoes) {
            well = echo(p);
            continue;
        }
        char *end = p->have < sizeof p->bytes ? (p->bytes[p->have] = 0, strstr(p->bytes, "\r\n\r\n")) : NULL;
        if (end && !p->streams) {
            well = answer(p, p->bytes);
            p->have = 0;
        }
    }
    if (n < 0 || !well)
        leave(s, p);
}

static size_t compress_event(struct peer *p, char *event, size_t n, size_t room)
{
    char copy[EVENT_MAX];
    z_stream *z = p->deflate;

    memcpy(copy, event, n);
    z->next_in = (Bytef *)copy;
    z->avail_in = (uInt)n;
    z->next_out = (Bytef *)event;
    z->avail_out = (uInt)room;
    deflate(z, Z_SYNC_FLUSH);
    return room - z->avail_out;
}

/* Text whose bytes differ, as those of a model do: a stream of one letter would compress to nothing. */
static void fill(char *p, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        p[i] = "etaoin shrdlucmfwypv,gbk"[seed >> 33 & 15];
    }
}

static bool send_event(const struct stream_options *o, struct peer *p)
{
    char out[EVENT_MAX + 32], *event = out + 16;
    int n = snprintf(event, 64, "id: %llu\ndata: %llu ", (unsigned long long)++p->sent, (unsigned long long)moment());
    fill(event + n, (size_t)o->size, p->sent);
    n += o->size;
    memcpy(event + n, "\n\n", 2);
    size_t size = (size_t)n + 2;
    if (p->deflate)
        size = compress_event(p, event, size, EVENT_MAX);
    char head[16];
    int head_size = snprintf(head, sizeof head, "%zx\r\n", size);
    memcpy(event - head_size, head, (size_t)head_size);
    memcpy(event + size, "\r\n", 2);
    return peer_send(p, event - head_size, size + (size_t)head_size + 2);
}

/* The next stream in turn gets its event: they are spread evenly, as those of many users are. */
static void tick(struct server *s, uint64_t number)
{
    struct peer *streams[MOST];
    int n = 0;

    for (int i = 0; i < s->count; i++)
        if (s->peers[i]->streams && !(s->peers[i]->silent && s->peers[i]->sent > 0))
            streams[n++] = s->peers[i];
    if (n > 0 && !send_event(s->opt, streams[number % (uint64_t)n]))
        leave(s, streams[number % (uint64_t)n]);
}

int serve(const struct stream_options *o)
{
    struct server s = {.opt = o, .epoll = epoll_create1(EPOLL_CLOEXEC)};
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event e = {.events = EPOLLIN}, events[64];
    int one = 1;
    uint64_t number = 0, due = moment(), step = (uint64_t)(1e9 / (o->rate * o->connections));

    s.tls = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(s.tls, o->cert) != 1 || SSL_CTX_use_PrivateKey_file(s.tls, o->key, SSL_FILETYPE_PEM) != 1) {
        fprintf(stderr, "stream: cannot use %s and %s\n", o->cert, o->key);
        return 2;
    }
    s.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(s.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(s.listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(s.listener, 1024) < 0) {
        perror("stream: listen");
        return 1;
    }
    epoll_ctl(s.epoll, EPOLL_CTL_ADD, s.listener, &e);
    for (;;) {
        uint64_t now = moment(), left = due > now ? due - now : 0;
        struct timespec wait = {.tv_sec = 0, .tv_nsec = (long)left};
        int n = epoll_pwait2(s.epoll, events, 64, &wait, NULL);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                on_bytes(&s, events[i].data.ptr);
            else
                enter(&s);
        }
        for (now = moment(); due <= now; due += step)
            tick(&s, number++);
    }
}
