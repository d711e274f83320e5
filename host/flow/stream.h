/* SPDX-License-Identifier: MPL-2.0 */
/*
 * HTTP/2 in the flow. A connection is a flow (state_h2.c), each of its streams another one, its child: an exchange with a strand at one end
 * or at both. A strand hands the events of its stream to the exchange when that can take them, and gives the stream's window back when the
 * other peer has got the bytes. A connection and its streams never run inside each other's steps: they call each other (family.c).
 */
#ifndef HOST_FLOW_STREAM_H
#define HOST_FLOW_STREAM_H

#include "host/flow/stage.h"

struct session;

/* ---- family.c: a connection, its streams, and who is to be stepped next ---- */
struct flow *family_make(struct flow *parent, int32_t id); /* a stream that has not joined yet; NULL without memory */
void family_join(struct flow *parent, struct kin *kin);
void family_replace(struct kin *old, struct kin *kin); /* the same stream, awake or at rest */
void family_part(struct kin *kin);
struct flow *family_awake(struct kin *kin); /* NULL: it is at rest */
void family_leave(struct flow *flow);  /* a flow is freed */
void family_orphan(struct flow *flow); /* the connection ends: its streams end with it */
void family_call(struct flow *flow);   /* it has something to do */
void family_call_kin(struct flow_env *env, struct kin *kin);
void family_call_waiting(struct flow *flow); /* the streams that wait for the connection's origin */
void family_call_jammed(struct flow *flow, enum side side); /* those that wait for that side's socket */
static inline struct flow *family_connection(struct flow *flow) { return flow->parent ? flow->parent : flow; }

/* ---- rest.c: streams for which there is nothing to do ---- */
/* A stream begins, with H2_HEAD. NULL without memory. */
struct kin *rest_begin(struct flow *line, const struct h2_event *head);
/* true: it is kept, or is not worth waking anybody; else wake it, and tell it again. */
bool rest_hears(struct kin *kin, enum side side, const struct h2_event *event);
/* The flow in its place. NULL without memory: then it has ended. */
struct flow *rest_wake(struct kin *kin);
void rest_end(struct kin *kin, enum close_code code, const char *detail);
void rest_timer(struct flow *line); /* those whose deadline has come are called */

/* ---- mux.c: the codec of a connection and its streams ---- */
bool mux_open(struct flow *flow, enum side side); /* HTTP/2 begins on that leg; false: no memory */
void mux_take(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n);
void mux_flush(struct flow *flow, struct effects *fx); /* frames that are due leave; what that brings is taken */
void mux_lost(struct flow *flow, enum side side);      /* the connection has ended: its streams hear of it */

/* ---- windows.c: how much peers may send ahead ---- */
struct window_size {
    uint32_t stream, connection;
};
const struct window_size *windows_begin(struct flow *flow, enum side side);
void windows_fit(struct flow *flow, enum side side); /* to what is held now */

/* ---- stream.c: one stream ---- */
struct strand *strand_open(struct flow *flow, enum side side, struct flow *line, int32_t id); /* NULL without memory */
/* Forgets it: resets what is not over, with that code unless another one was set. */
void strand_drop(struct flow *flow, enum side side, enum h2_code code);
void strand_event(struct flow *flow, enum side side, const struct h2_event *event); /* keeps it until the exchange takes it */
bool strand_listens(const struct strand *strand);
void strand_write(struct flow *flow, enum side side, struct soth_span data);
void strand_end(struct flow *flow, enum side side, const struct message *trailers); /* NULL: none */
bool strand_waits(const struct flow *flow, enum side side); /* does something from that side wait, for whatever? */
bool strand_is_ready(const struct flow *flow); /* is there something to be taken? */
/* Takes what waits on both sides, as far as the exchange goes. At the end of every step. */
void strand_pump(struct flow *flow, struct effects *fx);
void strand_pump_side(struct flow *flow, struct effects *fx, enum side side);
struct h2 *strand_codec(const struct flow *flow, enum side side); /* NULL: it is closed */
struct buffer *strand_frames(const struct flow *flow, enum side side);

/* The client's wish for its response: goes on to an origin that has the request, else it is kept until then. */
void strand_priority(struct flow *flow, struct soth_span value);

/* ---- stream_origin.c: the origin of a stream ---- */
/* An exchange is over: may another stream use its connection to the origin? */
bool stream_leaves_origin(const struct flow *flow);
bool stream_shares(const struct flow *flow); /* does it use its connection's origin? */
void stream_connect(struct flow *flow, struct effects *fx);
/* An exchange's request opens a stream to the origin that speaks HTTP/2. false: it was given up. */
bool stream_request(struct flow *flow, struct effects *fx);
/* The origin's connection takes no stream now: until its codec says so, but not for longer than that many ms; then the answer is 504. */
void stream_wait_for_room(struct flow *flow);
uint64_t stream_room_timeout(const struct flow *flow);
bool stream_knows_h2(const struct flow *flow); /* a cleartext origin: is it known to speak HTTP/2? */

/* ---- alpn.c ---- */
struct alpn_offer {
    const char *wire; /* as in a ClientHello */
    const char *text; /* for events; NULL = nothing is offered */
};
const struct alpn_offer *alpn_for_origin(const struct flow *flow);
const char *alpn_for_client(const struct flow *flow); /* the one protocol, "" = none */
bool alpn_is_h2(struct session *tls);                 /* was h2 agreed on? NULL: no */

/* ---- state_h2.c ---- */
int h2_begins(const struct flow *flow); /* do the bytes that are held begin HTTP/2? As h2_preface; 0 when it is switched off */
void h2_begin(struct flow *flow, struct effects *fx);
void h2_origin_gone(struct flow *flow, struct effects *fx); /* the connection's origin closed, or is of no more use */
void h2_stream_gone(struct flow *flow);                     /* a stream has ended */

#endif
