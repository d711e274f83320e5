/* SPDX-License-Identifier: MPL-2.0 */
/*
 * For tests of flows with decoders: one that finds records which end with a semicolon (the end of a message ends the last one), perhaps one that
 * writes each byte twice, and a policy that judges records when there is one: it blocks those with an X, and one with a P waits for
 * driver_resume.
 */
#ifndef TESTS_UNIT_FLOW_LINES_H
#define TESTS_UNIT_FLOW_LINES_H

#include "flow_rig.h"
#include "host/chain/chain.h"

struct lines {
    struct driver *driver;
    bool judged;       /* there is a policy */
    bool reads_trailers, doubles;
    bool closed;       /* the decoder fails at a '!', and that closes the exchange */
    uint32_t peeks;    /* SOTH_HOOK_...: a policy wants to see all of the body first */
    struct soth_module modules[2];
    struct decoder decoders[2];
    struct chain_env chains;
    enum ask_result (*ask)(void *policy, struct soth_flow *flow, struct ask *ask, const struct question *q);
    struct buffer told;
};

/* From here on the driver's flow has them; the lines' settings are there already. */
void lines_begin(struct lines *lines, struct driver *driver);
void lines_fini(struct lines *lines);
/* The events about bodies since the last call, without what all of them say. */
const char *lines_told(struct lines *lines);

#endif
