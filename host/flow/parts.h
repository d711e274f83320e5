/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The inside of a flow, shared by the files of this room only. A flow is in one stage at a time; a stage is a table of what to do
 * with each input. Stages change by stage_enter, which also sets the deadline and what is read.
 */
#ifndef HOST_FLOW_PARTS_H
#define HOST_FLOW_PARTS_H

#include <stddef.h>

#include "host/chain/chain.h"
#include "host/flow/flow.h"
#include "host/http/edit.h"
#include "host/http/h1.h"
#include "host/http/h2.h"
#include "host/http/pack.h"
#include "host/http/rewrite.h"
#include "host/tls/hello.h"

enum flow_state {
#define FLOW_STATE(NAME, text) FLOW_##NAME,
#include "host/flow/state.def"
#undef FLOW_STATE
    FLOW_STATE_COUNT
};

enum phase {
#define PHASE(NAME, text) PHASE_##NAME,
#include "host/flow/phase.def"
#undef PHASE
    PHASE_COUNT
};
const char *phase_name(enum phase phase);

/* One of the two connections. */
struct leg {
    struct session *tls; /* NULL: cleartext */
    struct h1 *h1;       /* reads requests (client) or responses (origin) */
    struct h2 *h2;       /* HTTP/2 on this connection, both ways; NULL = it is not spoken */
    uint8_t window_level; /* of h2 (windows.c) */
    uint32_t h2_no;      /* how many there have been on this leg */
    struct pack_common *sent; /* origin with h2: of the last request that was put to rest */
    struct buffer frames; /* what h2 and its streams have to send, until the connection's next step */
    bool open;
    bool secure;         /* the TLS handshake is done */
    bool ended;          /* the peer will send nothing more */
    bool shut;           /* we have sent our end */
    bool used;           /* origin: an exchange was completed on this connection */
    bool end_held;       /* its end came while a module kept the flow waiting */
    int end_error;
    uint64_t bytes;      /* application bytes received */
};

/* The answer for a request that will not be relayed, or for a connection that has none to relay to. */
struct refusal {
    int status;          /* 0 = none */
    const char *error;   /* Proxy-Status */
    const char *words;   /* the reason, for people and for templates */
    struct soth_span rule_id;
    bool is_policy;      /* answered with block_response */
    bool retry_after;
    enum close_code code;
    char detail[96];     /* reason_detail */
};

enum part { PART_HEAD, PART_BODY, PART_DONE };

enum decision { DECISION_GO, DECISION_HELLO, DECISION_BODY, DECISION_WAIT, DECISION_REFUSED };

struct peek {
    uint32_t need;       /* bytes; 0 = nobody peeks */
    bool complete;       /* all of the body is here */
    struct buffer bytes;
};

/* One request and its response. */
#define EXCHANGE_LINE_PARTS 4
struct exchange {
    const char *grpc_type; /* the request is a gRPC call: the Content-Type of an answer of ours; NULL = it is none */
    uint8_t request, response; /* enum part */
    bool active : 1;           /* a request head was read and the exchange is not over */
    bool discard : 1;          /* the request's body is read and dropped: it was answered by us */
    bool ends_early : 1;       /* answered before its end: the rest of the request is not wanted */
    bool head_method : 1, expects : 1, wants_upgrade : 1, upgraded : 1, close_client : 1, origin_keeps : 1;
    bool response_begun : 1, request_sent : 1, retried : 1, safe : 1;
    bool ready : 1;            /* the head for the origin is there: it may be sent */
    bool told : 1;             /* the request's arrival was reported */
    bool remapped : 1;         /* a module sends it elsewhere than its connection */
    bool reframe : 1;          /* a decoder may change the request's body: its length is not known */
    bool spent : 1;            /* `again` is kept only for the names in it: it may not be sent again */
    bool named : 1;            /* they stand for `line` */
    bool changes[2];           /* by side: a decoder may change its body: what is said about the old one is not sent */
    bool told_end[2];          /* by side: the event that its body is complete was told */
    bool websocket : 1;        /* the request opens a WebSocket, whichever HTTP it came in */
    uint8_t client_minor;
    uint8_t step;          /* how far the request's judgement has come (exchange_request.c) */
    uint8_t judged;        /* enum decision: what its last finished step said */
    uint8_t request_framing; /* enum framing */
    char marks_end[1];
#define EXCHANGE_MARKS offsetof(struct exchange, marks_end) /* what is above is kept at rest (rest.c) */
    struct rewrite_response plan;
    uint64_t request_offset, response_offset; /* of body bytes already reported */
    uint64_t request_chunk, response_chunk;   /* body bytes not yet reported */
    uint64_t announced[2]; /* by side: the length of the body, as its head says; 0 = it does not */
    struct mask *masks;    /* of the bodies' captured content, by side, when there are redact_keys; NULL = none yet */
    char *accept;          /* the Sec-WebSocket-Accept of its key, where one of the peers speaks HTTP/2; NULL = not needed */
    uint64_t decoded[2];   /* by side: bytes that came out of the body's content coding, already reported */
    struct buffer target;  /* origin-form target when it is not a part of the head as read */
    struct message *outgoing; /* the request's head as it is sent, kept until a response begins (retry); NULL = none */
    struct pack *again;    /* the same of a stream that was at rest; NULL = none */
    struct buffer line;    /* of the request, for those who judge the response: method, target as sent, host, target as the client named it */
    uint32_t line_sizes[EXCHANGE_LINE_PARTS];
    struct message *asked; /* copy of the head that is being judged, while a module keeps it waiting */
    struct head_edit *edit; /* what modules changed in the head at hand */
    struct message *trailers[2]; /* of a message whose end is not sent yet, by side; NULL = none */
    struct chain *chain;   /* decoders; NULL = none */
    bool stuck[2];         /* a decoder keeps this side's body waiting, */
    bool full[2];          /* for the other side to take what there is; */
    bool jam[2];           /* what came from this side waits for the other's window; */
    bool ending[2];        /* its end was read meanwhile */
    bool late[2];          /* a policy may hold this side's bytes back: they are told when they are relayed, not when they come */
    bool late_begun;       /* some of the request's have come */
    bool told_trailers[2];
    uint64_t to_come[2];   /* of this side's body, so that its decoders hear of the end with the last byte; 0 = they hear of it when it comes */
    struct peek peek;      /* the beginning of a body that a policy wants to see before it judges the head */
};

/* A peer of an exchange that is a stream of HTTP/2 (stream.c): what has come of it and waits, and what it has no window for. */
#define STRAND_HEADS 8u
struct strand {
    struct flow *line;          /* whose connection carries it; NULL: that is gone */
    uint32_t line_no;           /* h2_no of that */
    int32_t id;                 /* 0 = it is closed */
    struct message *heads[STRAND_HEADS]; /* of an origin several: interim ones, then the final one */
    uint32_t head_count;
    struct buffer body;         /* then this, */
    struct message *trailers;   /* this, */
    bool end;                   /* this, */
    bool heard;                 /* which was taken */
    bool closed;                /* and this: why */
    bool unprocessed;
    enum h2_cause cause;
    uint32_t code;
    const char *fault;
    bool pumping;               /* its events are being taken */
    bool ended;                 /* our side of it is complete */
    size_t owed;                /* body bytes that were taken; its window grows when the other peer has them */
    struct buffer out;          /* for it, while its window is full */
    uint32_t reset_with;        /* code of the reset, should there be one */
};

/* What the origin of an HTTP/2 connection speaks. */
enum origin_kind { ORIGIN_UNKNOWN, ORIGIN_H1, ORIGIN_H2 };

/* A connection of HTTP/2: what its streams have in common. */
struct mux {
    enum origin_kind kind;
    bool wants_origin;       /* a stream waits for a connection that nobody has begun to make */
    bool failed;             /* it could not be made: those who wait are answered with `refusal` */
    bool parting;            /* the client was told that no further streams are taken */
    bool dismissed;          /* it has said that it opens none */
    bool grace;              /* parting: streams that are on their way are still taken */
    bool linger, abort, flush_origin; /* of the end, which waits for the streams' */
    struct refusal refusal;
    struct pack_common *asked; /* of the last request */
};

struct stage; /* see stage.h */

/* A flow's place among its relatives, and among those who have something to do; a stream has it at rest, too (rest.c). */
#define KIN                                                                                                                          \
    struct flow *parent;                     /* of a stream: its connection; NULL = this is a connection, or it has gone */          \
    struct kin *younger, *elder;             /* streams of the same connection, the newest first */                                  \
    struct kin *due_next, *due_previous;     /* family.c */                                                                          \
    int32_t stream_id;                       /* of the client's stream; 0 = this is a connection */                                  \
    bool is_due, rests;                      /* rests: it is a struct rest, else a struct flow */
struct kin {
    KIN
};

struct flow {
    union {
        struct kin kin;
        struct {
            KIN
        };
    };
    struct flow_env *env;
    const struct settings_listen *listen;
    struct leaf *fixed_leaf;
    const struct stage *stage;
    struct event_source source;
    struct soth_flow hooks;    /* what modules get as this flow */
    struct ask ask;            /* the question that is open */
    void (*go_on)(struct flow *flow, struct effects *fx); /* NULL, or: a module keeps the flow waiting; this goes on */
    uint64_t left_ns;          /* of the stage's deadline, meanwhile; 0 = none */
    uint64_t gone_ns;          /* its client has ended its side meanwhile, and counts as gone from then on; 0 = it has not */
    uint8_t step;              /* how far the judgement of the connection has come */
    enum decision judged;      /* what its last finished step said */
    struct target_wish wish;   /* of rewrite hooks, while they run */
    char *named;               /* the host that the client named, when a module has mapped it to another; NULL = target.host */
    struct target *pinned;     /* the connection's target while one request goes elsewhere; NULL = it does not */
    enum flow_state state;
    enum phase phase;
    struct leg client, origin;
    struct kin *children;      /* streams, the newest first, */
    uint32_t child_count;      /* so many */
    uint64_t rest_ns;          /* none of those at rest has a deadline before this; 0 = they have none */
    struct mux *mux;           /* of a connection of HTTP/2 */
    struct strand *strand[2];  /* peers that are streams of HTTP/2; NULL = HTTP/1 */
    uint8_t congested;         /* bit per side: its socket takes no more at the moment */
    bool is_stream;
    bool late;                 /* a stream that was woken because its deadline has come */
    bool own_origin;           /* a stream that does not share its connection's origin */
    bool waits_line;           /* a stream whose request waits for its connection's origin */
    bool expects_preface;      /* cleartext, and its first bytes are too few to tell HTTP/1 from HTTP/2 */
    bool waits_room;           /* it has a connection to its origin, which takes no more streams at the moment */
    bool moved;                /* a stream: something of it has come or gone since its deadline was set */
    bool h1_only;              /* its origin is not to speak HTTP/2: an upgrade is wanted */
    struct target target;      /* CONNECT target, absolute-form target, or reverse upstream */
    struct hello *hello;       /* while it is needed: from peek to the client's handshake */
    struct buffer held;        /* client bytes not yet processed (bounded by two reads) */
    struct buffer held_origin; /* the same of the origin, while a module keeps the flow waiting */
    struct exchange exchange;
    uint32_t exchange_no;
    struct verdict verdict;
    struct refusal refusal;
    char *priority;            /* of a stream: what its client's last PRIORITY_UPDATE said, while no origin has it; NULL = none */
    uint64_t started_ns, deadline_ns;
    struct soth_addr client_addr;
    char *sni;                 /* server name of the client's hello, NULL = none */
    enum close_code close_code;
    char close_detail[96];
    bool proxy_requests;       /* cleartext requests in absolute form, each with its own target */
    bool origin_tls;
    bool quiet;                /* peek: nobody spoke for a while, the origin is watched too */
    bool reply_due;            /* tunnel: the 200 is sent when the dial succeeded */
    int cache_hit;             /* of the leaf in use */
    uint8_t staple;            /* enum staple: one of the origin's was refused, and it is tried again without */
    bool heard, asked;         /* since HTTP began on this connection a byte, a request head was read */
    bool decision_due, closing, draining, dialing, client_left, rejected_likely, tls_retry;
    const char *limit;         /* a limit refuses this flow: its name */
    const char *mismatch;      /* authority_mismatch attribute of connect_decision: "audit", "allow" or NULL */
    uint8_t reading;           /* bit per side */
    uint8_t read_then;         /* the same, for when the wait is over */
    char client_text[];
};

/* Does its client's connection use TLS? */
static inline bool flow_is_secure(const struct flow *flow) { return (flow->parent ? flow->parent : flow)->client.tls != NULL; }

#endif
