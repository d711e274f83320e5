/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a peer of HTTP/2 has allowed its flow to send of bodies, and what came: reads the frames of both directions and knows nothing else, so it
 * holds for peers that send nonsense, too. What was allowed is counted from above: each window as large as it ever was announced.
 */
#ifndef TESTS_UNIT_H2_METER_H
#define TESTS_UNIT_H2_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define H2_METER_STREAMS 256u /* ids below twice that are looked at */

struct h2_meter_reader { /* of the frames of one direction, in any pieces */
    uint8_t head[9], small[8]; /* a frame's head, a piece of its payload */
    unsigned have, small_have, preface;
    uint32_t left;             /* of the payload */
};

struct h2_meter {
    struct h2_meter_reader said, got;
    uint64_t window;  /* of a stream: the largest */
    uint64_t allowed[H2_METER_STREAMS], came[H2_METER_STREAMS]; /* by id / 2 of odd ones, 0 is for the others; allowed: beyond `window` */
    uint64_t all_allowed, all_came;
    const char *fault; /* the first that was too much; NULL = none */
};

void h2_meter_init(struct h2_meter *meter, bool is_client);
void h2_meter_said(struct h2_meter *meter, const uint8_t *p, size_t n); /* by the peer */
void h2_meter_got(struct h2_meter *meter, const uint8_t *p, size_t n);

#endif
