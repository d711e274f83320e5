/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a module's hook gets as its flow (struct soth_flow): the services of the flow that a hook may use, and where they take effect.
 * Set up by whoever calls the hook, used by the functions of struct soth_host (module/hostapi*.c). One worker's thread.
 */
#ifndef HOST_FLOW_HOOK_H
#define HOST_FLOW_HOOK_H

#include "host/event/bus.h"
#include "host/flow/ask.h"

struct mailbox;
struct head_edit;
struct message;

/* A target that a rewrite hook wishes for. */
struct target_wish {
    bool any;
    char host[256];
    size_t host_len;
    uint16_t port;
    char *path; /* malloc'd; NULL = as it is */
};

struct soth_flow {
    struct bus_port *bus;
    struct event_source *source;
    void *owner;                 /* of the flow: what the mailbox leads to (net/conn.c) */
    struct mailbox *mailbox;     /* NULL: nobody may pause */
    uint32_t slot, generation;   /* in the mailbox; generation 0 = none yet */
    uint64_t pauses;             /* given out so far */
    uint64_t detached;           /* bit per position of an instance: never called again */
    struct pause *pause;         /* of the hook that runs; NULL: it may not pause */
    const struct message *message; /* the head that the running hook is about; NULL: none */
    struct head_edit **edit;     /* changes to it; NULL: it may not be changed */
    struct target_wish *wish;    /* NULL: the target may not be changed */
    void *state;                 /* of the running decoder, for this exchange */
    void *chain;                 /* the running decoder's place (chain/) */
    void *judged;                /* the chain whose frame is being judged; NULL: none is */
    bool over;                   /* a decoder has told how the stream ended: */
    const char *over_why;        /* NULL = as its protocol wants it */
    uint64_t exchange_no;        /* 0 = none */
    uint16_t protocol;           /* of the exchange's stream, as a decoder has told (SOTH_PROTO_SSE, ...); 0 = nobody has */
    /* Emits as the flow: counts an illegal transition, adds exchange_no. */
    void (*emit)(struct soth_flow *view, unsigned kind, const struct soth_attr *attrs, size_t n);
    /* The same of values of a form; NULL: emit alone. */
    void (*emit_form)(struct soth_flow *view, const struct form *form, const union soth_value *values, uint64_t present);
};

#endif
