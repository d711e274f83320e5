/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Heads on their way out (RFC 9110 7.6, RFC 9112): always serialised anew from the parsed message, order and case of the fields
 * kept, hop-by-hop fields of the sender's connection removed, those of ours added. Pure: message in, bytes out.
 */
#ifndef HOST_HTTP_REWRITE_H
#define HOST_HTTP_REWRITE_H

#include "host/http/message.h"
#include "host/mem/buffer.h"

struct rewrite_request {
    struct soth_span target; /* origin-form to send */
    struct soth_span host;   /* p != NULL: Host is replaced by this (or added in front when absent) */
    bool keep_upgrade;       /* relay Upgrade and Connection: upgrade (never h2c) */
    bool reframe;            /* the body becomes another one: it goes in chunks, whatever framed it */
};
/* What the receiver gets after a head. */
enum rewrite_framing {
    REWRITE_NONE,
    REWRITE_LENGTH,
    REWRITE_CHUNKED,
    REWRITE_UNTIL_CLOSE /* raw bytes, then the connection ends */
};

/* Request line and fields for the origin, HTTP/1.1. Removed: Connection and the fields it names (never framing fields, Host or Content-*),
 * Keep-Alive, Proxy-*, Upgrade and HTTP2-Settings unless kept, TE but `trailers` (then with Connection: TE). Framing as in the message. */
int rewrite_request_head(struct buffer *out, const struct message *msg, const struct rewrite_request *how);

struct rewrite_response {
    uint8_t client_minor;  /* HTTP version of the request that is answered */
    bool close;            /* the connection to the client ends after it: Connection: close */
    bool keep_alive_10;    /* an HTTP/1.0 client asked for keep-alive and gets it: Connection: keep-alive */
    bool keep_upgrade;     /* 101: Upgrade and Connection: upgrade are relayed */
    bool reframe;          /* the body becomes another one: a length is not known */
    bool no_body;          /* reply to HEAD: framing fields stay as the origin sent them, no body follows */
    enum rewrite_framing framing;
};
/* How a response with this framing reaches that client: chunked becomes until-close for HTTP/1.0. Sets how->framing and how->close. */
void rewrite_plan_response(const struct message *msg, struct rewrite_response *how);
int rewrite_response_head(struct buffer *out, const struct message *msg, const struct rewrite_response *how);

/* Body parts in the receiver's framing. Chunk sizes and extensions are ours; trailers that may not be trailers (RFC 9110 6.5.1:
 * framing, routing, authentication, Host, ...) are dropped. */
int rewrite_chunk_begin(struct buffer *out, size_t n); /* "N\r\n"; the payload follows, then: */
int rewrite_chunk_end(struct buffer *out);             /* "\r\n" */
int rewrite_last_chunk(struct buffer *out, const struct message *trailers /* may be NULL */);

/* What of a head leaves its connection: not hop-by-hop, not named by Connection, no Transfer-Encoding; for heads that are written otherwise. */
bool rewrite_field_goes(const struct message *msg, uint32_t i);
bool rewrite_may_be_trailer(const struct soth_field *field);
bool rewrite_accepts_trailers(const struct message *msg); /* TE: trailers */

/* A reply made by the proxy. Proxy-Status: soth-mitm; error=ERROR (RFC 9209), Content-Length, Cache-Control: no-store, Connection: close when asked.
 * error may be NULL. head_only: the request was HEAD. extra: further header lines with CRLF, or NULL. */
struct reply {
    int status;
    const char *error;
    const char *content_type;
    struct soth_span body;
    const char *extra;
    bool close;
    bool head_only;
    uint8_t client_minor;
};
int rewrite_reply(struct buffer *out, const struct reply *reply);
const char *rewrite_status_text(int status);

#endif
