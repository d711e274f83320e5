/* SPDX-License-Identifier: MPL-2.0 */
/*
 * For tests of HTTP/2 in a flow: one flow between a client and an origin in memory, which a program has once (flow_rig.h, h2_peer.h). A peer
 * without `h2` has not begun, or speaks something else.
 */
#ifndef TESTS_UNIT_H2_TALK_H
#define TESTS_UNIT_H2_TALK_H

#include "flow_rig.h"
#include "h2_peer.h"

struct h2_talk {
    struct driver driver;
    struct h2_peer client, origin;
};

extern struct h2_talk talk;

/* HTTP/2 is on, and nothing else is changed: change settings or policy then, and call one of the next. talk_end: the flow's promises were kept. */
void talk_begin(void);
void talk_end(void);

/* The client speaks it with prior knowledge: inside a CONNECT (accepts the flow if the test has not), or to the listener itself. */
void talk_connect(void);
void talk_speak(void);
/* Begins: the client speaks HTTP/1 inside TLS, and the origin that is being dialled HTTP/2. */
void talk_client_of_http1(void);
/* The origin that was dialled is connected, and speaks. window: of a stream, 0 = the codec's; connecting: it takes extended CONNECT. */
void talk_answered(uint32_t window);
void talk_answered_connecting(void);

/* Begins, up to a GET that both have talked about: streams that follow find a connection. */
void talk_warm(void);

/* Until nothing moves: the flow, both peers, and the origins that streams have of their own. */
void talk_run(void);
/* And then this is what that peer has heard since the last time. */
void talk_expect(struct h2_peer *peer, const char *wanted);

#endif
