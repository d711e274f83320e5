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

static inline void cursor_init(struct cursor *c, struct lane *lane, unsigned direction, const uint8_t *p, size_t n, uint32_t flags)
{
    c->lane = lane;
    c->in = p ? p : (const uint8_t *)"";
    c->left = n;
    c->room = CHAIN_ROOM;
    c->taken = c->made = c->lent_size = 0;
    c->lent = NULL;
    c->blind = c->gated_tap = c->no_memory = false;
    c->stopped = 0;
    c->open.size = sizeof c->open;
    c->open.direction = direction;
    c->open.flags = flags;
    c->open.reserved = 0;
    cursor_show(c);
}

static inline int call_data(const struct run *run, struct place *place, struct cursor *cursor, struct pause *pause)
{
    struct soth_flow *flow = run->chain->flow;
    const struct decoder *decoder = place->decoder;
    struct call call = {run->chain, place, run->direction, cursor};
    call_enter(&call, flow, pause, decoder, "data");
    int r = decoder->module->data(decoder->self, flow, &cursor->open);
    call_leave(flow);
    if ((++place->calls & 1023) == 0)
        place_count(place);
    return r;
}

#endif
