/* SPDX-License-Identifier: MPL-2.0 */
/* flow_driver.h for tests with cmocka: one world a program, every promise that is broken fails the running test, expectations in a line. */
#ifndef TESTS_UNIT_FLOW_RIG_H
#define TESTS_UNIT_FLOW_RIG_H

#include "flow_driver.h"

#define HTTP11 "\x08http/1.1"

/* Of a cmocka group. */
int rig_set_up(void **state);
int rig_tear_down(void **state);
extern struct world rig_world;

void rig_init(struct driver *driver); /* then change settings, policy or listener; then driver_accept */
void rig_fini(struct driver *driver); /* ends the flow if it lives; all promises must have been kept */

/* Reads both ends until nothing moves: the client's first. Fails when a promise was broken. */
void rig_run(struct driver *driver);
/* A peer says something or goes, and the flow hears of it. */
void rig_say(struct driver *driver, enum side side, const char *text);
void rig_say_bytes(struct driver *driver, enum side side, const void *p, size_t n);
void rig_hang_up(struct driver *driver, enum side side, int error);
void rig_hung_up(struct driver *driver, enum side side, int error); /* while a module keeps the flow waiting */
/* These must have been waited for. */
void rig_dialed(struct driver *driver);
void rig_dial_failed(struct driver *driver, enum dial_failure failure, const char *detail);
void rig_time(struct driver *driver, uint64_t ms);
void rig_deadline(struct driver *driver, uint64_t ms); /* the deadline is in so many ms, and passes */
void rig_step(struct driver *driver, enum input_type type);

/* A CONNECT that is let through, up to its TLS with both sides: a request may follow. */
void rig_intercepted(struct driver *driver, const char *host);

/* What was sent to a side since the last time, as text that is valid until the next call for that side. */
const char *rig_take(struct driver *driver, enum side side);
/* The value of an attribute in the last event of that kind, "" when there is none; and how many events of the kind there were. */
const char *rig_attr(struct driver *driver, const char *kind, const char *name);
unsigned rig_count(struct driver *driver, const char *kind);

void rig_expect_sent(struct driver *driver, enum side side, const char *text);
/* The client got a reply of ours, and nothing else: this status, this Proxy-Status error, `part` somewhere in head or body. */
void rig_expect_reply(struct driver *driver, int status, const char *error, const char *part);
void rig_expect_nothing_sent(struct driver *driver);
/* The flow ended for this reason; detail NULL = it has none. */
void rig_expect_closed(struct driver *driver, const char *code, const char *detail);
void rig_expect_open(struct driver *driver);

#endif
