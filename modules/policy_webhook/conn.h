/* SPDX-License-Identifier: MPL-2.0 */
/* One connection to the decision service: it connects, sends one question, reads its answer, waits for the next. Never blocks. */
#ifndef POLICY_WEBHOOK_CONN_H
#define POLICY_WEBHOOK_CONN_H

#include <sys/socket.h>

#include "reply.h"

enum conn_state { CONN_IDLE, CONN_CONNECTING, CONN_SENDING, CONN_READING };

enum conn_event {
    CONN_WAITS,   /* for conn_wants */
    CONN_ANSWERED, /* reply.body is complete; conn_rest follows */
    CONN_REFUSED, /* the connection could not be made; fault */
    CONN_LATER,   /* a Unix socket whose owner has not taken those before: try again in a moment */
    CONN_STALE,   /* it had been kept alive, and ended before a byte of the answer came: ask again on a new one */
    CONN_BROKEN   /* fault */
};

struct job;

struct conn {
    int fd;
    enum conn_state state;
    unsigned address;       /* the one it goes to */
    uint8_t used;           /* it has carried an answer before */
    uint8_t heard;          /* bytes of this answer came */
    uint8_t later;
    uint64_t idle_since_ns;
    struct job *job;        /* NULL: idle */
    char *out;              /* the request, malloc'd */
    size_t out_n, sent;
    struct reply reply;
    const char *fault;
    char text[128];         /* what fault may lead to */
};

/* Begins to connect; NULL without memory or descriptors. */
struct conn *conn_new(const struct sockaddr *addr, socklen_t len);
void conn_free(struct conn *conn);
/* Takes a request (malloc'd, owned from here on). */
void conn_send(struct conn *conn, struct job *job, char *request, size_t n);
/* What to poll for. */
short conn_wants(const struct conn *conn);
/* Goes as far as it can. */
enum conn_event conn_step(struct conn *conn);
/* After CONN_ANSWERED: gets it ready for the next question. 1, or 0 when it must be closed. */
int conn_rest(struct conn *conn, uint64_t now_ns);

#endif
