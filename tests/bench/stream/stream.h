/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The bench's streams: an origin that sends server-sent events by schedule and echoes WebSocket messages, and the clients of both. One
 * thread each, epoll and OpenSSL, two processes: `stream serve` and `stream sse|ws`. They share the machine's monotonic clock: an event
 * carries the moment at which it was sent.
 */
#ifndef STREAM_H
#define STREAM_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../load.h"

struct peer {
    int fd;
    SSL *ssl;
    size_t have;          /* bytes in `bytes` */
    uint64_t began;       /* ws: when the message in flight was sent */
    uint64_t sent;        /* serve: events so far */
    bool streams, silent; /* serve: gets events, no more than one */
    bool echoes;          /* serve: is a WebSocket */
    void *deflate;        /* serve: z_stream, NULL = as it is */
    char bytes[16384];
};

struct stream_options {
    const char *host, *cert, *key, *ca, *sni, *connect, *header;
    int port, connections, size; /* size: of a message or an event's data */
    double rate, warmup, seconds;
    bool gzip, idle;
};

int serve(const struct stream_options *o);
int consume(const struct stream_options *o, bool ws);

/* peer.c */
uint64_t moment(void);
/* A frame's head in front of n bytes; returns its size. mask NULL: none. */
size_t frame_head(uint8_t *out, unsigned opcode, size_t n, const uint8_t *mask);
/* Size of the frame at p when all of it is there, else 0; *head is the size of its head. */
size_t frame_whole(const uint8_t *p, size_t n, size_t *head);
bool peer_send(struct peer *p, const void *bytes, size_t n); /* all of it, or false */
/* Appends what can be read; bytes read, 0 = nothing yet, -1 = the end. */
int peer_read(struct peer *p);
void peer_take(struct peer *p, size_t n); /* drops the first n bytes */
void peer_watch(struct peer *p, int epoll);

#endif
