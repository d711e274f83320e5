/* SPDX-License-Identifier: MPL-2.0 */
/*
 * HTTP/1 codec, one direction of one connection (RFC 9112): bytes in, one event per take. llhttp parses, guard.c refuses what
 * llhttp lets through. Never buffers a body; a head that is spread over several reads is collected, bounded by
 * max_head_bytes, and the memory is given back after it.
 */
#ifndef HOST_HTTP_H1_H
#define HOST_HTTP_H1_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/http/message.h"

struct h1;

struct h1_limits {
    uint32_t max_head_bytes; /* start line and fields; trailers too */
    bool strict_responses;   /* false: the repairs of RFC 9112 that decisions.md lists, responses only */
};

enum h1_event_type { H1_NONE, H1_HEAD, H1_BODY, H1_TRAILERS, H1_END };

struct h1_event {
    enum h1_event_type type;
    const struct message *message;   /* H1_HEAD, and H1_TRAILERS: only fields, ids, field_count. Until the thread's next h1_take of any codec */
    struct soth_span data;           /* H1_BODY: payload without framing, a part of the input */
};

struct h1 *h1_new_request(const struct h1_limits *limits);  /* reads requests from a client */
struct h1 *h1_new_response(const struct h1_limits *limits); /* reads responses from an origin */
void h1_free(struct h1 *h1);

/* Responses: what the next one answers, to be told before its head is taken. HEAD has no body; CONNECT neither with 2xx. */
void h1_answers(struct h1 *h1, bool head, bool connect);

/*
 * Takes from p[0..n) up to the next event. Returns the bytes used (may be 0 with an event, e.g. H1_END), or -SOTH_EINVALID,
 * -SOTH_ELIMIT, -SOTH_ENOMEM: then h1_fault says which class ("te_and_cl", "obs_fold", "header_too_large", ...) and h1_status which
 * reply fits (400, 431; 0 for responses). H1_NONE: all used up, nothing complete. After H1_END the next take begins the next
 * message. A 1xx response yields H1_HEAD and then H1_END, as does every message without a body. Leading empty lines before a request
 * are skipped (RFC 9112 2.2). Garbage that cannot be a head is refused as soon as that is certain, not at the end of the head.
 */
ssize_t h1_take(struct h1 *h1, const uint8_t *p, size_t n, struct h1_event *event);

/* The connection ended. 1: that was the end of an until-close body (event H1_END); 0: between messages, nothing is lost;
 * -SOTH_EEOF: inside a message (h1_fault "truncated_head" or "truncated_body"). */
int h1_eof(struct h1 *h1, struct h1_event *event);

/* True when no byte of a next message was seen yet. */
bool h1_idle(const struct h1 *h1);
/* After a head: from here on the bytes are not HTTP (upgrade, CONNECT). The codec is not used any more. */
const char *h1_fault(const struct h1 *h1);
int h1_status(const struct h1 *h1);

#endif
