/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a flow is told and what it answers. One input in, effects out: flow_step never touches a socket or a clock, and the driver
 * runs the effects after the step returned.
 */
#ifndef HOST_FLOW_INPUT_H
#define HOST_FLOW_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <soth/sdk.h>

#include "host/mem/buffer.h"

enum side { SIDE_CLIENT, SIDE_ORIGIN };

enum input_type {
    INPUT_ACCEPTED,    /* the client's connection exists */
    INPUT_DATA,        /* side, data: bytes that were read */
    INPUT_EOF,         /* side, error: the peer ended (0) or broke (errno) its connection */
    INPUT_DIALED,      /* the origin's connection exists */
    INPUT_DIAL_FAILED, /* failure, detail */
    INPUT_TIMER,       /* the flow's deadline has passed */
    INPUT_WRITABLE,    /* side: it has taken everything, and flow_wants_room asked for that */
    INPUT_REUSED,      /* the origin's connection exists: flow_take_origin has given it */
    INPUT_CALLED,      /* flow_take_due named it: its connection or a stream of it has something for it */
    INPUT_RESUMED,     /* pause, arg: a module lets the flow go on */
    INPUT_HUNG_UP,     /* side, error: while flow_waits the peer ended its side (0), what it sent before may still be unread; or it broke the
                          connection (errno), of the origin's with nothing left to be read */
    INPUT_DRAIN,       /* finish what you are doing and end */
    INPUT_ABORT        /* end now: shutdown_drain */
};

/* Why there is no connection to the origin; the answer to the client depends on it. */
enum dial_failure {
    DIAL_FAILURE_DNS,
    DIAL_FAILURE_DNS_TIMEOUT,
    DIAL_FAILURE_DENIED,
    DIAL_FAILURE_LOOP,
    DIAL_FAILURE_REFUSED,
    DIAL_FAILURE_UNREACHABLE,
    DIAL_FAILURE_TIMEOUT,
    DIAL_FAILURE_OTHER
};

struct input {
    enum input_type type;
    enum side side;
    const uint8_t *data;
    size_t size;
    int error;
    enum dial_failure failure;
    const char *detail; /* static text */
    uint64_t pause, arg;
};

/* The driver lends one, emptied, with every step. */
struct effects {
    struct buffer *out[2];       /* SEND: bytes for each side, in order */
    const uint8_t *direct[2];    /* SEND: a part of the input to be sent as it is, after out */
    size_t direct_size[2];
    bool close_origin;           /* CLOSE the origin's connection (before dial) */
    bool spare_origin;           /* the origin's connection is left for a stream: flow_give_origin (before dial and close) */
    bool dial;                   /* DIAL flow_dial_target; a spare connection of its parent will do */
    bool shut[2];                /* SHUT: FIN to that side once everything was sent */
    bool close;                  /* CLOSE both once everything was sent, then free the flow */
    bool flush_origin;           /* with close: the origin still gets what was sent to it */
    bool linger;                 /* with close: read on for a moment, so that the client gets what was sent */
    bool abort;                  /* with close: end with RST, so that a cut stream does not look finished */
};

#endif
