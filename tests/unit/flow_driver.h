/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A driver without sockets: does for one flow what host/net/conn.c does, with everything in memory and the clock a number. At every step
 * it checks what a flow promises - its events (flow_watch.h), nothing dialled and no byte for an origin before the decision, no byte for
 * a connection that is not there, no effect after the close, output in proportion to input, a deadline while it lives. The first promise
 * that is broken is kept as a sentence; the driver itself never fails. Either end can speak TLS of its own.
 */
#ifndef TESTS_UNIT_FLOW_DRIVER_H
#define TESTS_UNIT_FLOW_DRIVER_H

#include "flow_watch.h"
#include "flow_world.h"
#include "host/flow/flow.h"

struct driver_end { /* one of the two connections, seen from outside */
    struct buffer inbox; /* sent to us, not read yet */
    struct buffer got;   /* what the flow sent, without TLS */
    struct session *tls; /* the peer's, NULL = cleartext */
    struct buffer to_tls, from_tls; /* ciphertext: what it has not read yet, and what it wants to send */
    bool open;
    unsigned born;       /* the number of the connection */
    bool ends;           /* its end follows what is in the inbox, with `error` (0 = FIN) */
    int error;
    bool ended;          /* the flow was told */
    bool shut;           /* the flow sent its end */
};

struct driver_policy {
    struct verdict target, request;
    bool pauses;         /* it keeps every question waiting, until driver_resume or for 300 ms, which block */
    uint64_t pause_ms;   /* for so long instead; 0 = 300 */
    const char *blocked; /* any name that is this one is blocked, whatever `target` says */
    const char *blocked_path; /* a request for this one is blocked, whatever `request` says */
};

/* A stream of HTTP/2: a flow that has no client of its own, and an origin only when it does not share its connection's. */
#define DRIVER_KIN 64u
struct driver_kin {
    struct flow *flow; /* NULL after it closed, and at rest */
    struct driver_end origin;
    bool dialing, closed, reused, rests, refused;
    struct watch watch;
    struct buffer told; /* everything its own origins were sent without TLS */
};

struct driver {
    struct world *world;
    struct settings settings;
    struct settings_listen listen;
    struct settings_cidr loopback, denied;
    struct driver_policy policy;
    const char *refused_because;
    struct leaf *fixed_leaf; /* of the listener; borrowed */
    struct flow_counters counters;
    struct flow_env env;
    struct flow *flow; /* NULL before it is accepted and after it closed */
    struct driver_end end[2];
    struct driver_kin kin[DRIVER_KIN]; /* in the order in which they were opened; their flow_id is the place and 2 */
    unsigned kin_count;
    struct { struct flow_spare *origin; struct driver_end end; } spares[DRIVER_KIN]; /* connections that streams have left for others */
    unsigned spare_count, reused;
    bool blocked[2]; /* that side's socket takes nothing: it is all kept */
    struct watch watch;
    struct buffer log; /* a line an event: kind name=value ... */
    struct buffer told[2]; /* everything that either side was sent without TLS, whichever connection it was */
    unsigned dials, connections, origin_closes, retried_dials, rests;
    bool dialing, accepted, closed, aborted, lingers;
    uint64_t captures;       /* of each body, see driver_capture */
    uint64_t received, sent; /* wire bytes of both sides */
    void (*on_input)(void *arg, const struct driver *driver, const struct input *input); /* sees every input first; may be NULL */
    void *on_input_arg;
    void (*inside)(bool begins); /* a flow's step begins, has ended; may be NULL */
    char cleared[TARGET_MAX_HOST + 8]; /* host:port that the policy let through last, "" = none */
    uint64_t pause;                    /* the number of the last one */
    bool refused;                      /* it blocked the last request that it was asked about */
    unsigned forgotten;                /* questions that were given up */
    char fault[240];
};

/* An explicit listener, the settings as shipped (time-outs of some seconds); change what you need before driver_accept. */
void driver_init(struct driver *driver, struct world *world);
void driver_accept(struct driver *driver);
void driver_capture(struct driver *driver, uint64_t bytes); /* somebody wants so many bytes of each body, or BUS_PAYLOAD_FULL */
void driver_open(struct driver *driver); /* makes the flow alone: its first input is the caller's */
/* Frees the flow if it still lives: as when a worker ends. */
void driver_fini(struct driver *driver);

/* A module lets the flow go on; stale: one that nobody waits for. */
void driver_resume(struct driver *driver, bool stale);

/* The peer's acts: nothing reaches the flow by them. */
void driver_say(struct driver *driver, enum side side, const void *p, size_t n); /* through its TLS once that has begun */
void driver_hang_up(struct driver *driver, enum side side, int error); /* 0: FIN, else an errno */
void driver_close_notify(struct driver *driver, enum side side);       /* of its TLS */
void driver_client_tls(struct driver *driver, const char *sni, const char *alpn); /* begins a handshake; alpn in wire format */
/* Whoever is dialled next has TLS and a certificate for `host`, signed by our own CA. */
void driver_origin_tls(struct driver *driver, const char *host, const char *alpn);

/* What reaches the flow. All return false when it was not to be had: no flow, not wanted, nothing there. */
bool driver_read(struct driver *driver, enum side side, size_t most); /* one read of at most so many bytes, or the end */
bool driver_dialed(struct driver *driver);
bool driver_dial_failed(struct driver *driver, enum dial_failure failure, const char *detail);
bool driver_hung_up(struct driver *driver, enum side side); /* it has hung up, and is not read: a module keeps the flow waiting */
bool driver_break(struct driver *driver, enum side side, int error); /* a write met this error */
bool driver_time(struct driver *driver, uint64_t ms); /* passes; the deadline fires when it is due */
bool driver_deadline(struct driver *driver);          /* time passes until the deadline */
bool driver_step(struct driver *driver, struct input input);
void driver_block(struct driver *driver, enum side side, bool blocked); /* its socket is full, or has room again */
/* The same for a stream with an origin of its own. */
bool driver_kin_dialed(struct driver *driver, unsigned which);
bool driver_kin_dial_failed(struct driver *driver, unsigned which, enum dial_failure failure, const char *detail);
bool driver_kin_read(struct driver *driver, unsigned which, size_t most);

/* The log so far, NUL-terminated. */
const char *driver_log(struct driver *driver);

#endif
