/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One flow: a client connection from accept to stream_closed, with the origin connection it has at the moment. Sans-I/O: the
 * driver feeds inputs and runs effects (input.h). Single-threaded: a flow never leaves its worker. A stream of HTTP/2 is a flow, too: its
 * parent has the client's connection.
 */
#ifndef HOST_FLOW_FLOW_H
#define HOST_FLOW_FLOW_H

#include "host/conf/settings.h"
#include "host/event/bus.h"
#include "host/flow/hook.h"
#include "host/flow/input.h"
#include "host/http/connect.h"
#include "host/tls/session.h"

struct flow;
struct kin;

enum close_code {
#define CLOSE_CODE(NAME, text) CLOSE_##NAME,
#include "host/flow/close.def"
#undef CLOSE_CODE
    CLOSE_CODE_COUNT
};
const char *close_code_name(enum close_code code);

/* Counted per worker, summed by the reader; SIGUSR2 prints them. */
struct flow_counters {
    uint64_t flows, active, illegal_transitions, decisions[3], exchanges, origin_reused, origin_retries, stale_resumes, leaf_hits, leaf_misses;
    uint64_t h2_body_bytes, h2_window_changes; /* held of bodies; windows made larger or smaller for that */
    uint64_t closed[CLOSE_CODE_COUNT];
};

/* What a worker's flows share. Everything is borrowed and outlives them; scratch memory is used inside one step only. */
struct flow_env {
    const struct settings *settings;
    struct bus_port *bus;
    struct authority *authority;
    struct trust *trust;
    struct trust *trust_any; /* verifies nothing: for hosts that an override says so of */
    struct session_tickets *tickets;
    struct keylog *keylog;   /* NULL = none */
    struct tls_failure_stats *failures;
    struct flow_counters *counters;
    uint8_t *plain; /* scratch for plaintext, plain_size bytes */
    size_t plain_size;
    struct buffer staged[2]; /* plaintext on its way into TLS records, emptied by every step */
    void *dialer;            /* for is_own: is that address one of our listeners? */
    bool (*is_own)(void *dialer, const struct soth_addr *addr, uint16_t port);
    uint32_t hooks;          /* SOTH_HOOK_... any policy takes part in */
    void *policy;            /* of the functions below: module/registry.h has their contracts */
    enum ask_result (*ask)(void *policy, struct soth_flow *flow, struct ask *ask, const struct question *q);
    void (*forget)(void *policy, struct soth_flow *flow, struct ask *ask); /* at the flow's end: its tokens are stale, too */
    struct chain_env *chains; /* NULL: there are no decoders */
    void (*rewrite)(void *policy, struct soth_flow *flow, const struct soth_message *message, struct verdict *out);
    void (*signal)(void *policy, const struct soth_signal *signal);
    struct mailbox *mailbox; /* NULL: hooks may not pause */
    uint64_t body_bytes_most; /* of h2_body_bytes: windows get smaller before that; 0 = any number */
    unsigned window_level;    /* windows.c */
    uint32_t awake;          /* a connection with no more streams than this lets them stay flows: it is the many that must be small */
    struct kin *due_first, *due_last; /* of flow_take_due */
};

/* What is known of a connection when it is accepted; strings are copied. */
struct flow_origin_of {
    uint64_t flow_id;
    void *owner;                 /* whom the mailbox gives resumes for this flow to */
    const char *client;
    struct soth_addr client_addr;
    const struct settings_listen *listen;
    struct leaf *fixed_leaf;     /* of a listener with cert_path; NULL otherwise */
    const char *refused_because; /* NULL, or a limit's name: the flow is answered 503 */
};

struct flow *flow_new(struct flow_env *env, const struct flow_origin_of *what);
/* Emits connect_decision when it is still due, then stream_closed. The only place that does. */
void flow_free(struct flow *flow);

void flow_step(struct flow *flow, const struct input *input, struct effects *fx);

/* May the driver read from that side now? (PAUSE and RESUME as a state.) */
bool flow_wants(const struct flow *flow, enum side side);
/* When INPUT_TIMER is due, in monotonic ns; 0 = never. */
uint64_t flow_deadline(const struct flow *flow);
/* At the deadline: a peer was still taking what it had been sent at `when_ns`. true: the deadline is about silence, and was put off. */
bool flow_moved(struct flow *flow, uint64_t when_ns);
/* Where to dial after effects.dial. Borrowed until the next step. */
struct dial_target {
    const char *host;
    const struct soth_addr *addr;
    uint16_t port;
};
void flow_dial_target(const struct flow *flow, struct dial_target *out);
uint64_t flow_id(const struct flow *flow);
/* A decoder waits until that side has taken what was sent: INPUT_WRITABLE is due when nothing is pending. */
bool flow_wants_room(const struct flow *flow, enum side side);
/* A module keeps it waiting: nothing is read until INPUT_RESUMED or INPUT_TIMER. */
bool flow_waits(const struct flow *flow);

/*
 * Streams. After every step the driver takes the flows that are due, until there are none, and steps each with INPUT_CALLED. One without an
 * owner is new: it is adopted first, or freed. A connection with streams closes (effects.close) when the last of them was freed.
 */
struct flow *flow_take_due(struct flow_env *env);
void *flow_owner(const struct flow *flow);
void flow_adopt(struct flow *flow, uint64_t id, void *owner); /* id: of one that has none yet (flow_id); others keep theirs */
/*
 * A stream that waits for its origin, and for which there is nothing to do: true, and it has become a note of its connection's, the flow is gone,
 * and its owner is to forget it. When something comes for it flow_take_due gives another flow, which has its number and no owner. The deadline
 * of its connection counts for it.
 */
bool flow_rest(struct flow *flow);
bool flow_is_stream(const struct flow *flow);
void *flow_parent_owner(const struct flow *flow); /* NULL: it is no stream, or its connection has gone */
/*
 * Origins of HTTP/1: what one stream has used another one may use after it. The driver keeps the socket with what the flow knows of the
 * connection, as long as it is silent and the parent lives.
 */
struct flow_spare;
struct flow_spare *flow_give_origin(struct flow *flow); /* NULL without memory: the socket is closed */
bool flow_can_take(const struct flow *flow, const struct flow_spare *spare);
void flow_take_origin(struct flow *flow, struct flow_spare *spare); /* then INPUT_REUSED */
/* Bytes that came for it while nobody used it. false: it cannot be used, for they are more than what TLS sends for itself (tickets). */
bool flow_spare_hears(struct flow_spare *spare, const uint8_t *p, size_t n);
void flow_spare_free(struct flow_spare *spare);
/* After what a step had for that side: does its socket keep some of it? */
void flow_congested(struct flow *flow, enum side side, bool congested);
/* HTTP/2 reads one side whatever the other does: each of its streams has windows of its own. */
bool flow_reads_alone(const struct flow *flow);

#endif
