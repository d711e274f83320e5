/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The life of a flow as bytes: two that choose listener, settings and policy, then operations - a peer says one of some texts or raw bytes, the
 * flow reads so many of them, a dial ends, time passes, somebody hangs up, a drain. Any bytes are a program: what cannot be done at the moment is
 * passed over. tests/unit/prop_flow.c makes them by chance, fuzz/flow_step.c by coverage.
 */
#ifndef TESTS_UNIT_FLOW_PROGRAM_H
#define TESTS_UNIT_FLOW_PROGRAM_H

#include "flow_driver.h"

#define PROGRAM_HEAD 2u

/* The low four bits of an operation's first byte; the high four are its argument. */
enum program_op {
    OP_CLIENT_SAYS,  /* text `argument` */
    OP_CLIENT_SAYS2, /* text 16 + `argument` */
    OP_ORIGIN_SAYS,
    OP_CLIENT_RAW,   /* `argument` + 1 bytes follow */
    OP_ORIGIN_RAW,
    OP_READ_CLIENT,  /* one read of a size from a table */
    OP_READ_ORIGIN,
    OP_READ_ALL,     /* both, in reads of that size, until nothing moves */
    OP_DIALED,
    OP_DIAL_FAILED,
    OP_TIME,         /* from a table */
    OP_DEADLINE,     /* the flow's next deadline passes */
    OP_HANG_UP,      /* bit 0: which side, bit 1: with a reset, bit 2: a flow that waits is told, too */
    OP_BREAK,        /* a write to that side fails */
    OP_POLICY,       /* what it says from now on */
    OP_SPECIAL       /* drain, abort, TLS */
};
enum program_special {
    SPECIAL_DRAIN,
    SPECIAL_ABORT,
    SPECIAL_HELLO,        /* ClientHello bytes for a.test, and nothing behind them */
    SPECIAL_OTHER_HELLO,  /* for b.test */
    SPECIAL_CLIENT_TLS,   /* a real handshake for a.test; this and the following only where TLS is allowed */
    SPECIAL_CLIENT_TLS_B, /* for b.test */
    SPECIAL_ORIGIN_TLS,   /* the next connection to an origin has TLS */
    SPECIAL_ORIGIN_TLS_B, /* with another name */
    SPECIAL_CLIENT_NOTIFY,
    SPECIAL_ORIGIN_NOTIFY,
    SPECIAL_PAUSE,  /* policies keep everything waiting from now on */
    SPECIAL_NO_PAUSE,
    SPECIAL_RESUME, /* the last that waits may go on */
    SPECIAL_STALE   /* a resume that nobody waits for */
};
#define OPERATION(op, argument) (uint8_t)((op) | (argument) << 4)

/* Where the operation at `at` ends; at most n. */
size_t program_next(const uint8_t *program, size_t n, size_t at);
/* Runs it from accept to the end, which is an abort when nothing else was. false: a promise was broken, *driver->fault says which. The flow is
 * closed in any case; the driver keeps its log, call driver_fini for it. */
bool program_run(struct driver *driver, struct world *world, const uint8_t *program, size_t n, bool tls);
/* Its parts: the driver as the head wants it, and the operations after driver_accept. */
void program_begin(struct driver *driver, struct world *world, const uint8_t *program, size_t n);
bool program_go_on(struct driver *driver, const uint8_t *program, size_t n, bool tls);
/* A line an operation. */
void program_print(const uint8_t *program, size_t n, struct buffer *out);

#endif
