/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A connection and how it ends, shared by conn.c (while it has a flow) and conn_end.c (afterwards). When its flow has closed, what was
 * sent last still goes out, for as long as somebody takes it; then the client may get a moment to notice the end.
 */
#ifndef HOST_NET_CONN_END_H
#define HOST_NET_CONN_END_H

#include "host/net/conn.h"
#include "host/net/link.h"

struct conn {
    struct worker_io *io;
    struct worker_env *env; /* what it began with */
    struct flow *flow; /* NULL: closed, the last bytes are on their way */
    struct dial *dial;
    struct conn *next, *previous;
    struct spare *spares; /* of the streams of an HTTP/2 connection (spare.h) */
    unsigned spare_count;
    bool reused;          /* the last dial was met by one of them */
    uint64_t armed_ns;
    uint64_t moved_ns; /* when a peer was last seen taking what it had been sent */
    bool linger, abort, holds_slot; /* of max_concurrent_flows */
    uint32_t dropped; /* bytes that came after the end */
    struct link link[2];
    struct event timer;
};

void conn_timer(struct conn *conn, uint64_t ms);
void conn_forget(struct conn *conn); /* it has no flow and no socket: a stream at rest */
/* Everything, at once; a flow that is left is freed. */
void conn_free(struct conn *conn);
/* The flow asked for it (fx->close): frees it. The connection goes when its last bytes have. */
void conn_close(struct conn *conn, const struct effects *fx);

/* Without a flow: */
void conn_drop_input(struct conn *conn);                         /* the client's socket can be read: it lingers */
void conn_drained(struct conn *conn, enum side side, int error); /* what was pending on that side has left, or never will */
void conn_end_late(struct conn *conn);                           /* the timer fired */
bool conn_end_now(struct conn *conn);                            /* nobody waits any longer; whether bytes were on their way still */

#endif
