/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A peer of a flow that speaks HTTP/2: the client of a connection, its origin, or the origin of one stream. What it hears is a log, a line
 * an event: "1 head 200", "1 body hello", "1 trailers x-t=1", "1 end", "1 closed cancel", "goaway no_error 3". Bodies of one stream that
 * follow each other share a line. Built on the codec itself, in its other role.
 */
#ifndef TESTS_UNIT_H2_PEER_H
#define TESTS_UNIT_H2_PEER_H

#include "flow_driver.h"
#include "h2_meter.h"
#include "host/http/h2.h"

struct h2_peer {
    struct driver *driver;
    struct driver_end *end;
    struct h2 *h2;
    bool is_client;
    bool holds;          /* what it gets is not consumed: its windows fill */
    bool mute;           /* reads nothing at all */
    bool lies;           /* it was made to send what its codec does not know of: what it thinks of the flow's frames says nothing */
    struct h2_meter meter; /* bodies that it gets, of what it allows */
    const char *unwanted;  /* a request for this path breaks a promise; NULL: none does */
    uint64_t body_bytes; /* got in all */
    size_t held;         /* not consumed yet */
    int32_t heard[64];   /* streams whose head has come (origin), the first of them */
    unsigned heard_count;
    int32_t last_body;   /* stream of the log's last line, when that is a body */
    struct buffer log;
};

/* kin: -1 the connection's own side, else the origin of that stream. window: of a stream, 0 = the codec's. */
void h2_peer_init(struct h2_peer *peer, struct driver *driver, enum side side, int kin, uint32_t window);
/* An origin that takes extended CONNECT (RFC 8441). */
void h2_peer_init_connecting(struct h2_peer *peer, struct driver *driver, int kin);
void h2_peer_fini(struct h2_peer *peer);
/* Takes what it was sent and sends what it has to say. true: it did something. */
bool h2_peer_turn(struct h2_peer *peer);
/* Any bytes, past the codec. */
void h2_peer_raw(struct h2_peer *peer, const void *p, size_t n);
/* fields: "name: value\n..." */
int32_t h2_peer_ask(struct h2_peer *peer, const char *method, const char *path, const char *authority, const char *fields, bool end);
int32_t h2_peer_connect(struct h2_peer *peer, const char *protocol, const char *path, const char *authority, const char *fields);
void h2_peer_respond(struct h2_peer *peer, int32_t stream, unsigned status, const char *fields, bool end);
size_t h2_peer_body(struct h2_peer *peer, int32_t stream, const char *p, size_t n, bool end); /* how much the windows took */
void h2_peer_trailers(struct h2_peer *peer, int32_t stream, const char *fields);
void h2_peer_consume(struct h2_peer *peer); /* what it holds */
/* The log since the last time, until the next call. */
const char *h2_peer_log(struct h2_peer *peer);

#endif
