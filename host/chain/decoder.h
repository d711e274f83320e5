/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One decoder instance as the chain sees it. module/decoders.c makes one for each decoder of a configuration generation, in the order in
 * which they look at a message; all workers share it, and it outlives the flows of the generation.
 */
#ifndef HOST_CHAIN_DECODER_H
#define HOST_CHAIN_DECODER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <soth/sdk.h>

/* Summed up when a decoder leaves an exchange, and now and then before that. */
struct decoder_counts {
    atomic_uint_fast64_t calls, bytes_in, bytes_out; /* of data */
    atomic_uint_fast64_t failures;                   /* it was detached, or its message was closed, because of it */
    atomic_uint_fast64_t faults;                     /* it broke its contract without harm: a TAP that wanted to wait */
};

struct decoder {
    const struct soth_module *module;
    void *self;
    const char *name;  /* of the instance */
    const char *site;  /* the same text, for whoever may read it after the instance has gone (module/site.h) */
    unsigned position; /* among all instances; modulo 64 its bit in soth_flow.detached */
    bool closed;       /* on_error: a failure closes instead of detaching */
    bool closes_on_overflow; /* its option on_overflow: a reached limit does */
    atomic_bool told;  /* of its faults: once */
    struct decoder_counts counts;
};

/* "content_decode", "protocol_frame_parse", "payload_sanitize" */
const char *decoder_stage_name(uint32_t stage);

#endif
