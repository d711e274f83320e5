/* SPDX-License-Identifier: MPL-2.0 */
/* A decision service for tests: a small HTTP server on a thread of its own, loopback or a Unix socket, that answers as it is told. */
#ifndef TESTS_UNIT_DECIDER_H
#define TESTS_UNIT_DECIDER_H

struct decider;

/* path NULL: a port of 127.0.0.1. Answers 200 {"action":"allow"} until told otherwise. */
struct decider *decider_new(const char *path);
void decider_free(struct decider *decider);
const char *decider_url(const struct decider *decider); /* for the configuration */

/* What every question from now on is answered with: a body (status 200 and a length are added), or raw bytes. */
void decider_says(struct decider *decider, const char *body);
void decider_says_raw(struct decider *decider, const char *bytes, int then_close);
/* Questions are read and not answered until it lets go of them. */
void decider_holds(struct decider *decider, int on);
/* Ends every connection without another byte, and goes on listening. */
void decider_hangs_up(struct decider *decider);
/* Nobody listens any more; the connections end. */
void decider_dies(struct decider *decider);

unsigned decider_connections(struct decider *decider);
unsigned decider_questions(struct decider *decider);
void decider_wait_questions(struct decider *decider, unsigned n); /* until so many have come */
/* Until so many connections are open. */
void decider_wait_open(struct decider *decider, unsigned n);
/* The last request, head and body; malloc'd. */
char *decider_last(struct decider *decider);

#endif
