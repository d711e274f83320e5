/* SPDX-License-Identifier: MPL-2.0 */
/* One exchange, shared by exchange_*.c. */
#ifndef HOST_FLOW_EXCHANGE_H
#define HOST_FLOW_EXCHANGE_H

#include "host/flow/stage.h"
#include "host/flow/talk.h"

struct head {
    struct target target;       /* where the request goes */
    struct soth_span origin_form;
    struct soth_span named_form; /* origin_form as the client named it */
    struct soth_span authority; /* for events and judgement */
    struct soth_span host;      /* to be sent; p == NULL: as the client sent it */
    char text[TARGET_MAX_HOST + 16];   /* of what the client's target says */
    char mapped[TARGET_MAX_HOST + 16]; /* of another place that it is sent to */
};

/* exchange_head.c */
void exchange_request_head(struct flow *flow, struct effects *fx, const struct message *msg); /* a head has come */
void exchange_request_judge(struct flow *flow, struct effects *fx, const struct message *msg); /* goes on where it was */
/* Answers the request in hand with a page of our own (status, content_type, body, extra are given). The connection goes on when it can. */
void exchange_reply(struct flow *flow, struct effects *fx, struct reply *reply);
void exchange_bad_request(struct flow *flow, struct effects *fx, int status, const char *fault);
/* "host", "[v6]:8443": how a target is written in a Host field. */
struct soth_span exchange_authority_text(const struct target *target, uint16_t default_port, char *text, size_t size);

/* exchange_request.c, exchange_response.c: what comes out of the chain */
void exchange_request_write(struct flow *flow, struct effects *fx, struct soth_span data);
void exchange_request_finish(struct flow *flow, struct effects *fx);
void exchange_response_write(struct flow *flow, struct effects *fx, struct soth_span data);
void exchange_response_finish(struct flow *flow, struct effects *fx);

/* exchange_body.c. `side` is where bytes come from. */
/* A policy wants to see the beginning of the body before it judges the head. true: here it is, judge again. */
bool exchange_peek(struct flow *flow, struct effects *fx, struct soth_span data, bool complete);
void exchange_trailers(struct flow *flow, struct effects *fx, enum side side, const struct message *msg);
/* All of a message was relayed: its last chunk and its trailers are told, once. */
void exchange_tell_end(struct flow *flow, enum side side);
/* Before the trailers are sent: what holds for the body before a decoder changed it is taken out. false: the flow was cut. */
bool exchange_trailers_go(struct flow *flow, struct effects *fx, enum side side);
/* Has some of the request's body come? */
static inline bool exchange_body_begun(const struct exchange *ex)
{
    return ex->late_begun || ex->request_offset + ex->request_chunk > 0;
}

/* exchange_chain.c. `side` is where bytes come from. */
/* A head, before it goes on. false: a decoder that must not fail has failed; the exchange was answered or the flow cut. */
bool chained_match(struct flow *flow, struct effects *fx, const struct message *msg, struct soth_span origin_form);
bool chained_changes(const struct flow *flow, enum side side); /* may the body become another one? */
void chained_data(struct flow *flow, struct effects *fx, enum side side, struct soth_span data);
/* The end, and exchange.trailers before it. The last chunk and the trailers are told, and *_finish follows, now or when everything is out. */
void chained_end(struct flow *flow, struct effects *fx, enum side side);

/* exchange_judge.c: GO, WAIT, BODY, or REFUSED (answered) */
enum decision exchange_remap(struct flow *flow, struct effects *fx, const struct message *msg, struct head *head);
enum decision exchange_judge(struct flow *flow, struct effects *fx, const struct message *msg, const struct head *head);

#endif
