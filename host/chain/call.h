/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Calling a decoder: what its services find in struct soth_flow is set up, and taken away again. What is done for every piece that passes is here, so
 * that it becomes one piece of code with the loop that does it.
 */
#ifndef HOST_CHAIN_CALL_H
#define HOST_CHAIN_CALL_H

#include "host/chain/parts.h"
#include "host/module/site.h"

/* hook: a literal. */
static inline void call_enter(struct call *call, struct soth_flow *flow, struct pause *pause, const struct decoder *decoder, const char *hook)
{
    call->judged = call->chain && call->place && gate_applies(call->chain, call->place);
    flow->state = call->place ? call->place->state : NULL;
    flow->chain = call;
    flow->pause = flow->mailbox ? pause : NULL;
    site_enter_module(decoder->site, hook);
}

static inline void call_leave(struct soth_flow *flow)
{
    site_leave();
    flow->state = NULL;
    flow->chain = NULL;
    flow->pause = NULL;
}

/* What the module sees is what counts. */
static inline void cursor_show(struct cursor *c)
{
    c->open.in = (struct soth_span){(const char *)c->in, c->left};
    c->open.room = c->room;
    c->open.offset = c->lane->in + c->taken;
}

/* What is the same for all calls of one run; then cursor_init for each. */
static inline void cursor_open(struct cursor *c, unsigned direction)
{
    c->open.size = sizeof c->open;
    c->open.direction = direction;
    c->open.reserved = 0;
}

static inline void cursor_init(struct cursor *c, struct lane *lane, const uint8_t *p, size_t n, uint32_t flags)
{
    c->lane = lane;
    c->in = p ? p : (const uint8_t *)"";
    c->left = n;
    c->room = CHAIN_ROOM;
    c->taken = c->made = c->lent_size = 0;
    c->lent = NULL;
    c->blind = c->gated_tap = c->no_memory = false;
    c->stopped = 0;
    c->open.flags = flags;
    cursor_show(c);
}

/* The call has all but its place. */
static inline __attribute__((always_inline)) int call_data(struct call *call, struct place *place, struct pause *pause)
{
    struct soth_flow *flow = call->chain->flow;
    const struct decoder *decoder = place->decoder;
    call->place = place;
    call_enter(call, flow, pause, decoder, "data");
    int r = decoder->module->data(decoder->self, flow, &call->cursor->open);
    call_leave(flow);
    if ((++place->calls & 1023) == 0)
        place_count(place);
    return r;
}

#endif
