/* SPDX-License-Identifier: MPL-2.0 */
/* A server's codec and the peer that the test is: what it says, as lines of h2_wire.h, and what came of it, with a clock that the test turns. */
#ifndef TESTS_UNIT_H2_SERVER_H
#define TESTS_UNIT_H2_SERVER_H

#include "h2_wire.h"
#include "host/http/h2.h"

#define MS 1000000ull
#define SECOND (1000 * MS)

struct h2_server {
    struct h2 *h2;
    struct h2_wire wire;
    struct buffer in, out;
    uint64_t now;
    int error;           /* of h2_take */
    size_t heads, closed, bodies, writable;
    enum h2_cause cause; /* of the last stream that closed */
    bool deaf;           /* does not read what is sent */
};

/* The peer has sent its preface and this line. Without limits of one's own: 64 KiB of header list, 100 streams. */
void h2s_begin_with(struct h2_server *w, const struct h2_limits *limits, const char *settings);
void h2s_begin(struct h2_server *w);
void h2s_end(struct h2_server *w);
/* What the peer says next, and a request of it; nobody hears of it before h2s_play, which takes all of it and, but for a deaf peer, sends what is
 * due. */
void h2s_say(struct h2_server *w, const char *lines);
void h2s_request(struct h2_server *w, int32_t id, const char *method, const char *flags);
void h2s_play(struct h2_server *w);
void h2s_send_due(struct h2_server *w);
/* 200; whole: and no body. */
void h2s_respond(struct h2_server *w, int32_t id, bool whole);
/* Plays: that is the end of the connection, for this flood. */
void h2s_ends_as(struct h2_server *w, const char *fault);

#endif
