/* SPDX-License-Identifier: MPL-2.0 */
/* An instance and a call, shared by grpc.c (which exchanges are calls, their bytes) and tell.c (their events). */
#ifndef GRPC_GRPC_H
#define GRPC_GRPC_H

#include "frames.h"
#include "web.h"

enum { OVERFLOW_DETACH, OVERFLOW_CLOSE };

struct grpc {
    uint64_t max_message_bytes;
    struct soth_strings path_patterns;
    uint8_t grpc_web;
    uint32_t on_overflow;
    const struct soth_host *host;
};

#define NAME_MOST 255u

struct name {
    uint32_t n; /* 0: there is none */
    char text[NAME_MOST];
};

/* One call. */
struct state {
    struct frames frames[2]; /* by direction */
    struct web_base64 base64[2];
    char rest[2][3];         /* decoded from base64 and not yet framed */
    uint8_t rest_n[2];
    uint8_t is_text[2];      /* base64 */
    uint8_t by_path;         /* how it was found */
    uint64_t events;         /* grpc_event_sequence */
    struct name service, method;
};

/* Of the message whose head is at hand; p == NULL: it has none. */
struct soth_span grpc_field(struct grpc *g, struct soth_flow *flow, const char *name);

void tell_request(struct grpc *g, struct soth_flow *flow, struct state *s);
void tell_response(struct grpc *g, struct soth_flow *flow, struct state *s, const struct soth_message *message);
/* The next two: SOTH_CONTINUE, what a policy makes of the message (a hold, a block), or that the exchange is not looked at any more. */
int tell_message(struct grpc *g, struct soth_flow *flow, struct state *s, uint32_t direction, const struct frames_found *found);
int tell_malformed(struct grpc *g, struct soth_flow *flow, struct state *s, uint32_t direction, const struct frames_found *found);
/* A status, in trailers or in the text of gRPC-Web's. */
void tell_trailers(struct grpc *g, struct soth_flow *flow, struct state *s, const struct soth_message *message);
void tell_web_status(struct grpc *g, struct soth_flow *flow, struct state *s, struct soth_span text);

#endif
