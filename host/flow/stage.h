/* SPDX-License-Identifier: MPL-2.0 */
/* The stages of a flow, in the order in which a connection goes through them, and what each does with an input. Handlers see
 * application bytes: TLS was taken off before (leg.c). A NULL handler ignores the input. */
#ifndef HOST_FLOW_STAGE_H
#define HOST_FLOW_STAGE_H

#include "host/flow/parts.h"

#define ENDED_WITHOUT_NOTIFY (-1) /* TLS ended without close_notify; otherwise 0 (clean) or an errno */

struct stage {
    enum phase phase;
    void (*data)(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n);
    void (*ended)(struct flow *flow, struct effects *fx, enum side side, int error);
    void (*dialed)(struct flow *flow, struct effects *fx);
    void (*dial_failed)(struct flow *flow, struct effects *fx, const struct input *input);
    void (*secured)(struct flow *flow, struct effects *fx, enum side side);
    void (*tls_failed)(struct flow *flow, struct effects *fx, enum side side);
    void (*timer)(struct flow *flow, struct effects *fx);
    void (*drain)(struct flow *flow, struct effects *fx);
    void (*called)(struct flow *flow, struct effects *fx); /* by its connection, or by one of its streams */
};

extern const struct stage stage_connect;     /* state_connect.c: the first head of a proxy connection */
extern const struct stage stage_peek;        /* state_peek.c: after the 200, what do the first bytes look like? */
extern const struct stage stage_dial_tunnel; /* state_tunnel.c: the origin of a tunnel is being dialled */
extern const struct stage stage_tunnel_peek; /* state_tunnel.c: a tunnel whose first bytes are read before they are sent */
extern const struct stage stage_tunnel;      /* state_tunnel.c: bytes both ways */
extern const struct stage stage_tls_origin;  /* state_tls.c: dial and handshake with the origin */
extern const struct stage stage_tls_client;  /* state_tls.c: handshake with the client */
extern const struct stage stage_http;        /* state_http.c: exchanges */
extern const struct stage stage_h2;          /* state_h2.c: a connection of HTTP/2, whose exchanges are streams */
extern const struct stage stage_upgraded;    /* state_tunnel.c: bytes both ways through TLS, after 101 */
extern const struct stage stage_closing;     /* flow_end.c: nothing is expected any more */

/* flow.c */
void stage_enter(struct flow *flow, const struct stage *stage, uint64_t timeout_ms);
void flow_forget(struct flow *flow); /* frees it; nobody hears that it was there */
void flow_arm(struct flow *flow, uint64_t timeout_ms);
void flow_read(struct flow *flow, enum side side, bool on);
void flow_dial(struct flow *flow, struct effects *fx);
uint64_t flow_dial_timeout(const struct flow *flow); /* ms */
int flow_hold(struct flow *flow, const uint8_t *p, size_t n); /* keeps client bytes, stops reading the client */
/* Ends the flow after what was sent has left. The first call decides the code; a flow that was refused as a whole (flow->refusal) ends
 * with the refusal's, whatever became of it then. `detail` is copied, may be NULL. */
void flow_close(struct flow *flow, struct effects *fx, enum close_code code, const char *detail);
/* The same, but nothing more is sent: the client must not take what it has for complete. */
void flow_cut(struct flow *flow, struct effects *fx, enum close_code code, const char *detail);
void flow_close_phase(struct flow *flow, struct effects *fx, enum close_code code); /* detail = phase */

/* flow_wait.c: a module keeps the flow waiting (flow->ask), nothing is read until go_on is called; what has come and what is due then */
void flow_deliver_held(struct flow *flow, struct effects *fx); /* what came meanwhile, where nothing waits any more */
void flow_wait(struct flow *flow, void (*go_on)(struct flow *flow, struct effects *fx));
void flow_stop_waiting(struct flow *flow); /* go_on is forgotten, reading and the stage's deadline are as before */
void flow_resumed(struct flow *flow, struct effects *fx, const struct input *in);
void flow_timed_out(struct flow *flow, struct effects *fx);

/* hangup.c: a peer has left while a module keeps the flow waiting */
void flow_hung_up(struct flow *flow, struct effects *fx, enum side side, int error);
void flow_client_gone(struct flow *flow, struct effects *fx);

/* leg.c */
void leg_write(struct flow *flow, struct effects *fx, enum side side, const void *p, size_t n);
void leg_flush(struct flow *flow, struct effects *fx, enum side side); /* what was staged becomes records */
void leg_receive(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n);
void leg_deliver(struct flow *flow, struct effects *fx, enum side side, const uint8_t *p, size_t n);
void leg_deliver_end(struct flow *flow, struct effects *fx, enum side side, int error);
void leg_transport_ended(struct flow *flow, struct effects *fx, enum side side, int error);
void leg_finish(struct flow *flow, struct effects *fx, enum side side); /* close_notify */
void leg_reset_origin(struct flow *flow, struct effects *fx);           /* forgets the origin connection, closes it */
void leg_lend_output(struct flow *flow, struct effects *fx);
void leg_forget_origin(struct flow *flow, struct effects *fx);          /* the same, but what has come of its stream stays */
void leg_fini(struct leg *leg);
static inline struct leg *leg_of(struct flow *flow, enum side side) { return side == SIDE_CLIENT ? &flow->client : &flow->origin; }

/* What its events say from here on. */
static inline void flow_tell_target(struct flow *flow)
{
    event_source_to(&flow->source, (struct soth_span){flow->target.host, flow->target.host_len}, flow->target.port);
}

/* fsm.c */
bool fsm_event(enum flow_state *state, unsigned protocol, unsigned kind); /* false: illegal here */
bool fsm_knows(unsigned kind); /* false: a kind that modules alone publish, whenever they like */
const char *flow_state_name(enum flow_state state);

/* exchange_chain.c: a decoder may keep one direction of an exchange waiting */
bool chained_stuck(const struct flow *flow, enum side side);
bool chained_resumed(struct flow *flow, struct effects *fx, uint64_t pause, uint64_t arg); /* false: nobody waits for it */
uint64_t chained_deadline(const struct flow *flow); /* 0 = none */
void chained_timer(struct flow *flow, struct effects *fx);
void chained_go_on(struct flow *flow, struct effects *fx);
void chained_unjam(struct flow *flow, struct effects *fx, enum side side); /* what came from that side can go on: the other has room */
void chained_free(struct flow *flow, bool complete);
void chained_leave(struct flow *flow, struct effects *fx); /* the proxy ends: both peers are told, where their protocol has words for it */
/* Nobody gets the rest of the request any more. true: it was all here, and only waited to be sent on. */
bool chained_gives_up(struct flow *flow);

/* emit.c */
void emit_connect_received(struct flow *flow);
void emit_parse_failed(struct flow *flow, const char *code, const char *detail);
void emit_connect_decision(struct flow *flow); /* and budget_denied when that is why */
void emit_tls_started(struct flow *flow, enum side side);
void emit_tls_succeeded(struct flow *flow, enum side side, int cache_hit);
void emit_tls_failed(struct flow *flow, enum side side, const struct tls_failure *failure);
void emit_request_headers(struct flow *flow, const struct message *msg, struct soth_span authority, struct soth_span origin_form);
void emit_response_headers(struct flow *flow, const struct message *msg, bool interim);
void emit_trailers(struct flow *flow, enum side side, const struct message *msg);
void emit_body(struct flow *flow, enum side side); /* reports the bytes relayed since the last call */
void emit_body_end(struct flow *flow, enum side side); /* and, to those who capture content, that there are no more */
void emit_body_payload(struct flow *flow, enum side side, struct soth_span payload); /* the same of these bytes, with them */
void emit_decision(struct flow *flow, unsigned kind, const struct verdict *verdict); /* request_decision, response_decision */
void emit_for_module(struct soth_flow *view, unsigned kind, const struct soth_attr *attrs, size_t n);
void emit_form_for_module(struct soth_flow *view, const struct form *form, const union soth_value *values, uint64_t present);
void emit_stream_closed(struct flow *flow);

/* decide.c */
/* All of them: WAIT means that a module keeps the flow waiting; the caller ends its step with flow_wait and asks the same again then. */
/* Judges flow->target (allow_clients, limits, deny_upstreams, policies). REFUSED: flow->refusal and flow->verdict are set. */
enum decision decide_target(struct flow *flow, bool has_hello);
/* Judges a second name of the connection (SOTH_ID_SNI, SOTH_ID_AUTHORITY) that differs from the target. */
enum decision decide_identity(struct flow *flow, unsigned identity, struct soth_span name);
/* What hooks see of a head; `connect` and `authority` are what *out leads to. Left to the caller: target, body, a response's request. */
void decide_describe(const struct flow *flow, const struct message *msg, struct soth_message *out, struct soth_connect *connect,
                     struct target *authority);
/* A block of one message. */
void decide_refuse_message(const struct verdict *v, struct refusal *why);
enum decision decide_refuse_by_policy(struct flow *flow, const struct verdict *v); /* of the connection; REFUSED */
/* Judges one request or response. REFUSED: *why is set. BODY: flow->ask.need_bytes of the body are wanted first. */
enum decision decide_request(struct flow *flow, const struct message *msg, struct soth_span origin_form, struct refusal *why);
enum decision decide_response(struct flow *flow, const struct message *msg, struct refusal *why);

struct head; /* see exchange.h */
/* remap.c: modules with a rewrite hook change targets and heads before anybody judges them */
/* REFUSED: the hook failed and is closed on error; *v is a block. */
enum decision remap_connect(struct flow *flow, struct verdict *v);
/* A request's head, which would go to head->target; flow->wish has the target that was wished for. */
enum decision remap_request(struct flow *flow, const struct message *msg, const struct head *head, struct verdict *v);
enum decision remap_response(struct flow *flow, const struct message *msg, struct verdict *v);
/* What the client calls its peer: the name it asked for, whatever it was mapped to. */
struct soth_span remap_named(const struct flow *flow);
bool remap_parse(const struct target_wish *wish, const struct target *from, struct target *out);

/* answer.c */
void refusal_set(struct refusal *refusal, int status, const char *error, const char *words, enum close_code code, const char *detail);
void refusal_dial(struct refusal *refusal, const struct input *input);
/* A cleartext or intercepted HTTP reply for a request. */
void answer_write(struct flow *flow, struct effects *fx, const struct refusal *refusal, uint8_t minor, bool head_only, bool close);

/* state_connect.c, state_peek.c, state_tls.c, state_tunnel.c, state_http.c: entries used by other stages */
void connect_begin(struct flow *flow, struct effects *fx);
void peek_begin(struct flow *flow, struct effects *fx);
void reverse_begin(struct flow *flow, struct effects *fx);
void tunnel_dial(struct flow *flow, struct effects *fx, bool reply_due);
void tunnel_begin(struct flow *flow, struct effects *fx);
void tls_origin_begin(struct flow *flow, struct effects *fx);
void tls_client_begin(struct flow *flow, struct effects *fx);
void tls_origin_handshake(struct flow *flow, struct effects *fx); /* starts TLS on the dialled connection */
struct soth_span tls_origin_sni(const struct flow *flow);          /* the name that the origin is told */
bool tls_sni_lacks(const struct flow *flow, struct refusal *why);  /* true: it must be told one and there is none */
void tls_origin_secured(struct flow *flow);                       /* reports success */
/* false: another connection is being dialled, without the session that failed */
bool tls_origin_failed(struct flow *flow, struct effects *fx);
void tls_client_failed(struct flow *flow, struct effects *fx); /* ends the flow */
void http_begin(struct flow *flow, struct effects *fx);
void http_arm(struct flow *flow);    /* the deadline of where the exchange is now */
void stream_begin(struct flow *flow); /* a stream's exchange, whose head waits in its strand */
void http_no_more_requests(struct flow *flow, struct effects *fx); /* the client has ended, no exchange is left */
void http_cleartext(struct flow *flow, struct effects *fx);   /* the first bytes are held: HTTP/1, or HTTP/2 with prior knowledge */
void http_first_bytes(struct flow *flow, struct effects *fx); /* takes flow->held */
void stream_orphaned(struct flow *flow, struct effects *fx); /* its connection ends, and it with it */
void upgraded_begin(struct flow *flow, struct effects *fx);
/* Of a peer that is a stream: what it says, and that it was reset. */
void upgraded_event(struct flow *flow, struct effects *fx, enum side side, const struct h1_event *event);
void upgraded_lost(struct flow *flow, struct effects *fx, const struct strand *strand);
void upgraded_finish(struct flow *flow, struct effects *fx, enum side side); /* everything of that side has been relayed */
/* exchange_*.c: one exchange, client to origin and back */
bool exchange_waits(const struct flow *flow);   /* is there a request that no origin has got yet, nor was it answered? */
bool exchange_is_last(const struct flow *flow); /* the client has ended its side and nothing of it is left to read */
void exchange_client(struct flow *flow, struct effects *fx, const uint8_t *p, size_t n);
void exchange_origin(struct flow *flow, struct effects *fx, const uint8_t *p, size_t n);
/* One event of a codec; the second returns false when the origin's codec is not in charge any more. */
void exchange_client_event(struct flow *flow, struct effects *fx, const struct h1_event *event);
bool exchange_origin_event(struct flow *flow, struct effects *fx, const struct h1_event *event);
bool exchange_takes_request(const struct flow *flow);  /* may the client's next event be taken now? */
bool exchange_takes_response(const struct flow *flow); /* and the origin's? */
/* A peer that is a stream of HTTP/2 was reset, or lost with its connection. */
void exchange_stream_closed(struct flow *flow, struct effects *fx, const struct strand *strand);
void exchange_client_gone(struct flow *flow, struct effects *fx, const struct strand *strand);
void exchange_connect(struct flow *flow, struct effects *fx);      /* an origin connection for the request that waits */
void exchange_origin_ready(struct flow *flow, struct effects *fx); /* dialled and, where wanted, secured */
void exchange_resume(struct flow *flow, struct effects *fx);       /* client bytes that were held go on */
void exchange_over(struct flow *flow, struct effects *fx);         /* both directions are done */
/* Method, target and host of the request that it answers; the target as it was relayed, or as the client named it. */
void exchange_of_response(const struct flow *flow, struct soth_message *out, struct soth_connect *connect, struct target *authority, bool named);
void exchange_peek_ended(struct flow *flow, struct effects *fx); /* a response that ends with its connection, peeked at, is complete */
void exchange_drop_head(struct exchange *ex); /* what was kept of the head at hand */
void exchange_drop_outgoing(struct exchange *ex); /* no retry any more */
void exchange_names(const struct exchange *ex, struct soth_span parts[EXCHANGE_LINE_PARTS]); /* exchange.line, out of `again` */
void exchange_fini(struct exchange *ex);
/* Answers the request in hand without an origin. The connection goes on when its framing allows, else it is closed with `code`. */
void exchange_answer(struct flow *flow, struct effects *fx, const struct refusal *why);
/* The origin broke the exchange: 502 when nothing was relayed yet, else the response is cut. */
void exchange_origin_broken(struct flow *flow, struct effects *fx, const char *error, const char *detail);

#endif
