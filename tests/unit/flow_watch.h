/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The promises about the events of one flow (contract section 5), checked event by event: numbers without a gap, the order
 * connect_received < connect_decision < tls_handshake_* < request_headers < request_body_chunk ... < stream_closed, one decision for
 * each connect_received, body offsets that add up, exchange numbers from 1, attributes sorted and named in events.def, and nothing after
 * stream_closed. Knows nothing of the flow but its events.
 */
#ifndef TESTS_UNIT_FLOW_WATCH_H
#define TESTS_UNIT_FLOW_WATCH_H

#include <stdbool.h>

#include <soth/sdk.h>

struct watch_part { /* of the exchange at hand, one direction */
    uint64_t bytes;
    bool head, trailers, over;
};

struct watch {
    uint64_t sequence, flow_id, exchange_no;
    unsigned received, decided, unparsed, closed;
    bool shaking[2]; /* a handshake with the client, the origin was started and has not ended */
    bool blocked;    /* the last decision's action */
    bool is_stream;  /* of HTTP/2: what it has of a connection's events it has from its parent */
    struct watch_part request, response;
    char fault[200]; /* the first promise that was broken, "" = none */
};

void watch_event(struct watch *watch, const struct soth_event *event);
/* After stream_closed should have come. */
void watch_end(struct watch *watch);
/* An attribute's text or number; absent: {NULL, 0} and 0. */
struct soth_span watch_text(const struct soth_event *event, const char *name);
uint64_t watch_number(const struct soth_event *event, const char *name);

#endif
