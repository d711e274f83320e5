/* SPDX-License-Identifier: MPL-2.0 */
/*
 * HTTP/2 codec of one connection (RFC 9113), on nghttp2: bytes in, one event per take; messages in, bytes appended to the caller's buffer.
 * No sockets, no clock of its own, never holds a body. Server role towards clients, client role towards origins.
 *
 * The order of work that an owner keeps to:
 *   1. h2_take until it used everything and the event is H2_NONE; act on each event.
 *   2. h2_output when h2_wants_output (also once after h2_new_*: the preface and SETTINGS are due).
 *   3. h2_take with n == 0 while h2_has_event: what was sent may have closed streams.
 * An owner whose socket does not take bytes stops taking input: that bounds what is due to be sent.
 *
 * Streams are named by their id. From its H2_HEAD (server) or h2_request (client) on a stream is the owner's until one of the two:
 * H2_CLOSED, the last event of every stream, exactly once; or the owner's own h2_reset (also when it returned -SOTH_ENOMEM), after which no
 * event of it comes. Then its memory is free and its id means nothing; functions that get an unknown id return -SOTH_ENOENT and do nothing.
 */
#ifndef HOST_HTTP_H2_H
#define HOST_HTTP_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/http/message.h"
#include "host/http/rewrite.h"
#include "host/mem/buffer.h"

struct h2;

enum h2_code {
#define H2_CODE(NAME, number, text) H2_##NAME = number,
#include "host/http/h2.def"
#undef H2_CODE
};
const char *h2_code_name(uint32_t code); /* "refused_stream"; "unknown" */

struct h2_limits {
    uint32_t max_header_list;        /* of one head or trailers, as RFC 7541 4.1 counts; also announced */
    uint32_t max_concurrent_streams; /* server: that the client may open; client: ours at most, whatever the origin allows */
    uint32_t stream_window;          /* bytes of a stream that the peer may send ahead of h2_consume; 0 = 1 MiB */
    uint32_t connection_window;      /* of all streams; 0 = 16 MiB */
    uint64_t zero_window_ns;         /* so long all that is open may wait for the peer's windows, nothing moving; 0 = for ever */
    bool strict_responses;           /* client: blanks around a value refuse the response; else they are cut, as in HTTP/1 */
    uint64_t *held_in_all;           /* NULL, or where the bytes of h2_unconsumed are counted for several codecs */
    bool connect_protocol;           /* server: extended CONNECT is announced and taken (RFC 8441) */
};

/* NULL without memory. Nothing is sent before the first h2_output. */
struct h2 *h2_new_server(const struct h2_limits *limits);
struct h2 *h2_new_client(const struct h2_limits *limits);
/* Closes nothing in an orderly way and reports nothing: streams that are open are forgotten. */
void h2_free(struct h2 *h2);

/* Do these bytes begin a connection with prior knowledge? 1 yes, 0 no, -SOTH_EAGAIN so far yes, but it is longer (24 bytes). */
int h2_preface(const uint8_t *p, size_t n);

/* ---- receiving ---- */

enum h2_event_type {
    H2_NONE,     /* all input was used, nothing more to tell */
    H2_HEAD,     /* message: a request (server), a final response (client) */
    H2_INTERIM,  /* client. message: a 1xx response */
    H2_BODY,     /* data: a part of the input, without padding. To be given back by h2_consume */
    H2_TRAILERS, /* message: only fields, ids, field_count */
    H2_END,      /* the peer has sent all of this message; follows the last of HEAD, BODY, TRAILERS, always */
    H2_CLOSED,   /* the stream is over and gone: code, cause, fault */
    H2_WRITABLE, /* a stream whose h2_body took less than it was given may get more */
    H2_PRIORITY, /* server. data: the priority field value of a PRIORITY_UPDATE (RFC 9218) for this stream; also of one that came before it */
    H2_SETTINGS, /* the peer's settings have come or changed: h2_peer_* */
    H2_GOAWAY,   /* the peer takes no streams above last_id, code. Ours above it follow as H2_CLOSED with refused_stream */
    H2_PONG,     /* answer to h2_ping, number: what was given there */
};

/* Why a stream closed. */
enum h2_cause {
    H2_BY_END,   /* both messages were complete */
    H2_BY_PEER,  /* RST_STREAM or GOAWAY with `code` */
    H2_BY_FAULT, /* it was wrong or over a limit, we have reset it with `code`: `fault` is the class */
    H2_BY_LOSS   /* the connection failed or ended: h2_lost, or h2_take has returned an error */
};

struct h2_event {
    enum h2_event_type type;
    int32_t stream;  /* 0 = the connection's own */
    void *user;      /* of the stream. NULL when there is none: a request that was wrong in its head gives H2_CLOSED without H2_HEAD */
    bool end;        /* H2_HEAD: no body and no trailers follow, H2_END is next */
    const struct message *message; /* until the thread's next h2_take of any codec; spans likewise */
    struct soth_span data;         /* until the input goes; H2_PRIORITY: until the next h2_take */
    enum h2_cause cause;
    uint32_t code;
    const char *fault; /* static. H2_BY_FAULT: the class; H2_BY_LOSS: the connection's, NULL or "" when it only ended */
    int32_t last_id;
    uint64_t number;
    bool unborn;       /* H2_CLOSED: it was wrong in its head, of which nothing was told */
    bool unprocessed;  /* H2_CLOSED: refused_stream, or above a GOAWAY's last id: the request may be sent again elsewhere (RFC 9113 8.7) */
};

/*
 * Takes from p[0..n) up to the next event; returns the bytes used (may be 0 with an event). At most one frame's work between two events.
 * n == 0 asks for events that are due without input. now_ns is any monotonic clock; floods are counted with it.
 *
 * Negative: the connection is over. -SOTH_EINVALID (the peer broke the protocol), -SOTH_ELIMIT (it flooded), -SOTH_ENOMEM; h2_fault says
 * which: "h2_protocol_error", ..., "h2_flood:ping". Before that each open stream had its H2_CLOSED (H2_BY_LOSS), and each later h2_take returns
 * the error again. A GOAWAY is due: h2_output, then close.
 */
ssize_t h2_take(struct h2 *h2, const uint8_t *p, size_t n, uint64_t now_ns, struct h2_event *event);
bool h2_has_event(const struct h2 *h2); /* h2_take with n == 0 has something */

/*
 * The message of H2_HEAD: `http2` is set, minor 1, method, target (:path; of CONNECT its authority), scheme, authority (p == NULL when only Host
 * was sent), host (the Host field alone, p == NULL when absent), protocol (extended CONNECT), status. Fields in order without pseudo-header
 * fields, names in lower case, ids filled; `cookie` crumbs joined in the place of the first. framing: NONE with `end`, LENGTH with a
 * Content-Length, else CHUNKED (what comes is its own framing; HTTP/1 gets it in chunks: rewrite's `reframe`). head_bytes is the size of
 * the header list. What guard.c refuses in HTTP/1 is refused here: the stream is reset (protocol_error; over max_header_list or 1024 fields
 * enhance_your_calm), H2_CLOSED tells the class in `fault` ("invalid_host", "header_too_large", "malformed_head", ...).
 */

/* n bytes of bodies are done with: the peer may send as many again. Each byte of each H2_BODY exactly once, also when the stream is closed
 * or reset meanwhile (then only the connection's window grows). What has no stream any more: any id. */
void h2_consume(struct h2 *h2, int32_t stream, size_t n);
/* Bytes of bodies that were given out and not yet consumed. */
uint64_t h2_unconsumed(const struct h2 *h2);
/* Windows from now on, for open streams too (memory pressure). Never below what the peer was promised before it has acknowledged it. */
int h2_set_windows(struct h2 *h2, uint32_t stream_window, uint32_t connection_window);

/* ---- streams ---- */

int h2_set_user(struct h2 *h2, int32_t stream, void *user);
void *h2_user(const struct h2 *h2, int32_t stream); /* NULL: none, or no such stream */
uint32_t h2_stream_count(const struct h2 *h2);      /* the owner's streams that are open */

/* ---- sending: 0 or a count, or -SOTH_ENOENT, -SOTH_EINVALID, -SOTH_ENOMEM, -SOTH_EAGAIN ---- */

struct h2_request {
    struct soth_span scheme;    /* "https" */
    struct soth_span authority; /* to be sent; p == NULL: the message's authority, else its Host */
    struct soth_span target;    /* :path; p == NULL: the message's. Empty and CONNECT without protocol: none is sent */
    struct soth_span protocol;  /* p != NULL: extended CONNECT whatever the message's method (only when h2_peer_connect_protocol) */
    bool reframe;               /* the body becomes another one: Content-Length is not sent */
    bool end;                   /* no body follows */
};
/*
 * Opens a stream. Removed: Connection and what it names, Keep-Alive, Proxy-*, Upgrade, HTTP2-Settings, Transfer-Encoding, Host, TE but
 * `trailers`; names in lower case; Cookie split into crumbs. Returns the stream's id. -SOTH_EAGAIN: no stream may be opened now
 * (h2_can_open). The message may be HTTP/1's or HTTP/2's.
 */
int32_t h2_request(struct h2 *h2, const struct message *msg, const struct h2_request *how, void *user);
/* May a stream be opened now: below both limits, no GOAWAY, ids left. When not because of the limit, it can after an H2_CLOSED or H2_SETTINGS. */
bool h2_can_open(const struct h2 *h2);
/* Will it ever? false: no GOAWAY either way, ids left, not failed. */
bool h2_is_leaving(const struct h2 *h2);

struct h2_response {
    bool reframe; /* as above */
    bool end;     /* no body and no trailers follow */
};
/* Status below 200: an interim response (never 101). Else the head, once. Fields as with h2_request. */
int h2_response(struct h2 *h2, int32_t stream, const struct message *msg, const struct h2_response *how);
/* A reply made by the proxy, as rewrite_reply writes it. Its body is copied and is the codec's to send, when the windows let it, with the
 * stream's end; the owner may leave meanwhile, and closes the connection when h2_owes no more. close, client_minor: not used. */
int h2_reply(struct h2 *h2, int32_t stream, const struct reply *reply);

/*
 * Body bytes: as many as the windows allow go into `out` in DATA frames, with what else is due before them; how many is returned. Nothing
 * is kept. Fewer than n: H2_WRITABLE comes when there is room. `end`: no more follows; it counts when all n were taken, and then it is
 * the codec's to send, even when no window is open now. `out` grows by n, 9 bytes for each 16 KiB and what was due; the owner bounds n.
 */
ssize_t h2_body(struct h2 *h2, int32_t stream, struct soth_span data, bool end, struct buffer *out);
/* What h2_body would take now. */
size_t h2_room(const struct h2 *h2, int32_t stream);
/* Trailers and the end; what may not be a trailer (rewrite.h) is left out, with nothing left it is the end alone. */
int h2_trailers(struct h2 *h2, int32_t stream, const struct message *trailers);
/* RST_STREAM. The stream is forgotten at once. Unsent body bytes are the owner's. */
int h2_reset(struct h2 *h2, int32_t stream, enum h2_code code);
/*
 * Server: the message of ours is complete (of a reply: is the codec's to complete), the peer's is not wanted. The stream is forgotten at once;
 * what still comes is dropped, and the peer may finish it within the window that it has, for not every client takes a response whose stream is
 * reset behind it. Who goes beyond that is told to stop (RST_STREAM with no_error, RFC 9113 8.1).
 */
int h2_leave(struct h2 *h2, int32_t stream);

enum h2_goaway {
    H2_GOAWAY_SOON, /* a notice: streams in flight are still taken (drain's first step; the second a round trip later) */
    H2_GOAWAY_LAST, /* none above those that have come; open ones go on */
    H2_GOAWAY_NOW   /* and the connection is over: h2_take gives H2_CLOSED of what is open, then -SOTH_EEOF; close after the output */
};
int h2_goaway(struct h2 *h2, enum h2_goaway how, enum h2_code code);
int h2_ping(struct h2 *h2, uint64_t number); /* H2_PONG */
/* Client: the priority of a stream, for an origin that wants to hear it; else nothing is sent. */
int h2_priority(struct h2 *h2, int32_t stream, struct soth_span value);

/* Everything due but bodies, appended to out. 0 or -SOTH_ENOMEM. */
int h2_output(struct h2 *h2, struct buffer *out);
bool h2_wants_output(const struct h2 *h2);

/* ---- the connection ---- */

/* The connection ended or broke: open streams get H2_CLOSED with H2_BY_LOSS, nothing is sent any more. */
void h2_lost(struct h2 *h2);
bool h2_owes(const struct h2 *h2); /* a reply's body waits for the peer's windows */
const char *h2_fault(const struct h2 *h2); /* "" = none */

/* Zero-window dwell ("h2_flood:zero_window"): when h2_check is due at the latest, 0 = not now. */
uint64_t h2_deadline_ns(const struct h2 *h2);
/* Tells the time, as h2_take does: before h2_body, when h2_take was not called in this step. 0, or the error that h2_take would return. */
int h2_check(struct h2 *h2, uint64_t now_ns);

/* What the peer has announced. */
uint32_t h2_peer_max_streams(const struct h2 *h2);
bool h2_peer_connect_protocol(const struct h2 *h2);
bool h2_peer_settled(const struct h2 *h2); /* its SETTINGS have come */

#endif
